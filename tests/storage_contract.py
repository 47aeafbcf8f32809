"""What every place that ``Storage`` reads must do, whatever serves it.

A subclass gives the fixture ``shelf``: a real place where files can be put. It inherits the tests.
"""

from __future__ import annotations

import io
import os
import pickle
import random
import select
import signal
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import pytest

from svit_datasets.errors import SourceChanged, SourceNotFound
from svit_datasets.storage import ByteRange, Storage

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = random.Random(0).randbytes(700_000)  # more than a first block of an opened file, and no pattern in it
OTHER = random.Random(1).randbytes(len(DATA))  # of the same size
SIZE = len(DATA)


class Shelf(Protocol):
    """A real place with files."""

    storage: Storage  # reads the shelf

    def put(self, name: str, data: bytes) -> str:
        """Make or replace a file; its URL."""

    def url(self, name: str) -> str:
        """The URL of a file, there or not."""


class StorageContract:
    lists = True  # whether the place can tell what it holds

    @pytest.fixture
    def shelf(self) -> Shelf:
        raise NotImplementedError

    @pytest.fixture
    def url(self, shelf):
        return shelf.put("folder/data.bin", DATA)

    # stat and list

    def test_stat_tells_the_size(self, shelf, url):
        info = shelf.storage.stat(url)
        assert (info.url, info.size) == (url, SIZE)

    def test_stat_of_an_empty_file(self, shelf):
        assert shelf.storage.stat(shelf.put("folder/empty.bin", b"")).size == 0

    def test_fingerprint_stays_while_the_file_does(self, shelf, url):
        first = shelf.storage.stat(url)
        shelf.put("folder/neighbour.bin", b"new")
        assert first.fingerprint
        assert shelf.storage.stat(url).fingerprint == first.fingerprint

    def test_fingerprint_changes_with_the_content(self, shelf, url):
        first = shelf.storage.stat(url)
        shelf.put("folder/data.bin", OTHER)
        assert shelf.storage.stat(url).fingerprint != first.fingerprint

    @pytest.mark.parametrize("name", ["folder/none.bin", "none/data.bin", "folder/data.bin/below"])
    @pytest.mark.parametrize("operation", ["stat", "read", "open"])
    def test_missing_file(self, shelf, url, name, operation):
        missing = shelf.url(name)
        with pytest.raises(SourceNotFound) as caught:
            getattr(shelf.storage, operation)(missing)
        assert isinstance(caught.value, FileNotFoundError)
        assert name in str(caught.value)

    def test_a_folder_is_no_file(self, shelf, url):
        with pytest.raises(SourceNotFound):
            shelf.storage.stat(shelf.url("folder"))

    def test_list(self, shelf, url):
        shelf.put("folder/a.bin", b"a")
        shelf.put("folder/below/c.bin", b"c")
        expected = ["a.bin", "below", "data.bin"] if self.lists else None
        assert shelf.storage.list(shelf.url("folder")) == expected
        assert shelf.storage.list(shelf.url("none")) == ([] if self.lists else None)

    # read

    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (0, SIZE),
            (0, 1),
            (SIZE - 1, SIZE),
            (1, SIZE - 1),
            (12_345, 54_321),
            (0, 0),
            (77, 77),
            (SIZE, SIZE),
            (0, None),
        ],
    )
    def test_read_is_exact(self, shelf, url, start, stop):
        assert shelf.storage.read(url, start, stop) == DATA[start:stop]

    def test_read_of_an_empty_file(self, shelf):
        url = shelf.put("folder/empty.bin", b"")
        assert shelf.storage.read(url) == shelf.storage.read(url, 0, 0) == b""

    @pytest.mark.parametrize("start", [SIZE - 10, SIZE, SIZE + 10])
    def test_a_range_beyond_the_end_means_another_file(self, shelf, url, start):
        begun = time.monotonic()
        with pytest.raises(SourceChanged, match=r"data\.bin"):
            shelf.storage.read(url, start, start + 20)
        assert time.monotonic() - begun < 2  # it does not pass by itself, so it is not tried again

    def test_read_of_the_planned_file(self, shelf, url):
        info = shelf.storage.stat(url)
        assert shelf.storage.read(url, 10, 20, info.fingerprint) == DATA[10:20]

    @pytest.mark.parametrize("stop", [20, None])
    def test_read_of_another_file_than_planned(self, shelf, url, stop):
        info = shelf.storage.stat(url)
        shelf.put("folder/data.bin", OTHER)
        with pytest.raises(SourceChanged, match=r"data\.bin"):
            shelf.storage.read(url, 0, stop, info.fingerprint)

    @pytest.mark.parametrize("name", ["folder/with space.bin", "folder/100%25.bin", "folder/größe#1.bin"])
    def test_any_name(self, shelf, name):
        url = shelf.put(name, DATA)
        assert shelf.storage.stat(url).size == SIZE
        assert shelf.storage.read(url, 5, 9) == DATA[5:9]

    # read_ranges

    def test_ranges_come_in_the_order_asked_for(self, shelf, url):
        starts = random.Random(2).sample(range(SIZE - 5_000), 300)
        ranges = [ByteRange(url, start, start + start % 5_000) for start in starts]
        expected = [DATA[part.start : part.stop] for part in ranges]
        assert list(shelf.storage.read_ranges(ranges)) == expected
        assert list(shelf.storage.read_ranges(ranges[:20], in_flight=1)) == expected[:20]
        assert list(shelf.storage.read_ranges(ranges[:20], in_flight_bytes=1)) == expected[:20]
        assert list(shelf.storage.read_ranges([])) == []

    def test_whole_files_are_ranges_too(self, shelf, url):
        small = shelf.put("folder/small.bin", b"small")
        assert list(shelf.storage.read_ranges([ByteRange(url), ByteRange(small)])) == [DATA, b"small"]

    def test_one_lost_range_loses_no_other(self, shelf, url):
        missing = shelf.url("folder/none.bin")
        first, lost, last = shelf.storage.read_ranges(
            [ByteRange(url, 0, 9), ByteRange(missing, 0, 9), ByteRange(url, 9, 19)]
        )
        assert (first, last) == (DATA[:9], DATA[9:19])
        assert isinstance(lost, SourceNotFound)

    def test_ranges_are_asked_for_lazily(self, shelf, url):
        taken = []

        def ranges():
            for start in range(100):
                taken.append(start)
                yield ByteRange(url, start, start + 10)

        answers = shelf.storage.read_ranges(ranges(), in_flight=4)
        assert taken == []
        assert next(answers) == DATA[:10]
        assert len(taken) <= 5
        assert next(answers) == DATA[1:11]
        assert len(taken) <= 6
        answers.close()
        assert shelf.storage.read(url, 0, 3) == DATA[:3]

    def test_alternates_are_tried_where_a_file_is_missing(self, shelf, url):
        missing = [shelf.url(f"folder/none{number}.bin") for number in range(2)]
        found, lost = shelf.storage.read_ranges(
            [ByteRange(missing[0], 0, 9, alternates=(missing[1], url)), ByteRange(missing[0], alternates=(missing[1],))]
        )
        assert found == DATA[:9]
        assert isinstance(lost, SourceNotFound)
        assert "none0" in str(lost)
        assert "none1" in str(lost)

    # open

    def test_open_reads_in_sequence(self, shelf, url):
        with shelf.storage.open(url) as file:
            pieces = list(iter(lambda: file.read(33_333), b""))
            assert file.tell() == SIZE
            assert file.read() == b""
        assert b"".join(pieces) == DATA

    def test_open_seeks(self, shelf, url):
        expected, places = io.BytesIO(DATA), random.Random(3)
        with shelf.storage.open(url) as file:
            assert file.seekable()
            assert file.readable()
            for _ in range(40):
                whence = places.choice([io.SEEK_SET, io.SEEK_END])
                offset = places.randrange(SIZE) - (SIZE if whence == io.SEEK_END else 0)
                assert file.seek(offset, whence) == expected.seek(offset, whence) == file.tell()
                size = places.choice([0, 1, 1_000, 300_000])
                assert file.read(size) == expected.read(size)
            file.seek(0)
            assert file.read() == DATA

    def test_open_serves_a_zip(self, shelf):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.json", "[1]")
            archive.writestr("b.bin", DATA)
        with shelf.storage.open(shelf.put("folder/a.zip", packed.getvalue())) as file, zipfile.ZipFile(file) as archive:
            assert archive.read("a.json") == b"[1]"
            assert archive.read("b.bin") == DATA

    def test_open_of_an_empty_file(self, shelf):
        with shelf.storage.open(shelf.put("folder/empty.bin", b"")) as file:
            assert file.read() == b""

    # threads and processes

    def test_it_pickles_after_use(self, shelf, url):
        shelf.storage.read(url, 0, 1)
        copy = pickle.loads(pickle.dumps(shelf.storage))
        assert copy == shelf.storage
        assert copy.read(url, 10, 20) == DATA[10:20]

    def test_several_threads_read_at_once(self, shelf, url):
        def read(start):
            return shelf.storage.read(url, start, start + 1_000)

        with ThreadPoolExecutor(8) as threads:
            starts = range(0, SIZE - 1_000, 9_973)
            assert list(threads.map(read, starts)) == [DATA[start : start + 1_000] for start in starts]

    def test_it_survives_a_fork(self, shelf, url):
        assert shelf.storage.read(url, 0, 10) == DATA[:10]  # connections are open in the parent
        ranges = [ByteRange(url, start, start + 5) for start in range(0, 100, 5)]
        assert in_forked_child(lambda: b"".join(shelf.storage.read_ranges(ranges))) == DATA[:100]
        assert shelf.storage.read(url, 10, 20) == DATA[10:20]


def in_forked_child(work: Callable[[], bytes], *, seconds: float = 30.0) -> bytes:
    """What `work` gives in a child made by fork; the child ends in any case."""
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork beside threads; torch's DataLoader makes just that
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(receiving)
        try:
            answer = work()
        except BaseException as error:  # noqa: BLE001 - told to the parent, whatever it is
            answer = f"child: {error!r}".encode()
        os.write(sending, answer)
        os._exit(0)
    os.close(sending)
    try:
        assert select.select([receiving], [], [], seconds)[0], f"the child gave no answer in {seconds} s"
        return os.read(receiving, 1 << 16)
    finally:
        os.close(receiving)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
