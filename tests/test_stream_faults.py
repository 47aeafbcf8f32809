"""What a stream goes through and leaves behind: failing servers, spoilt photos, stops, other processes, memory."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zipfile
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import aiohttp
import pytest

from svit_datasets import stream
from svit_datasets.errors import BadImage, RangeNotSupported, SourceChanged, SourceUnreachable, TooManyFailures
from svit_datasets.reader import Stream
from svit_datasets.sample import write_sample
from svit_datasets.storage import Storage
from tests.servers import Fault, FileServer

MB = 1 << 20


def change_photos(root, change):
    """Write both zips anew, each photo as ``change(name, data)`` gives it."""
    for name in ("images.zip", "images2.zip"):
        path = root / "raw" / name
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, change(Path(member).stem, data))
                archive.writestr(f"{member}.txt", bytes(70_000))  # so that no two photos are fetched as one range


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """24 photos of up to 1 MB, each a range of its own."""
    root = tmp_path_factory.mktemp("faults") / "sample"
    write_sample(root, images=24)
    numbers = random.Random(3)
    comment = b"\xff\xfe\xff\xff" + bytes(65_533)

    def swell(name, data):
        return data[:2] + comment * numbers.randrange(16) + data[2:]

    change_photos(root, swell)
    return root


@pytest.fixture(scope="module")
def make(corpus):
    def call(name="referring_qa", **options):
        usual = {"data_dir": corpus, "cache_dir": corpus.parent / "cache", "holdout": None, "decode": None}
        return stream(name, **(usual | options))

    return call


@pytest.fixture
def server(corpus):
    with FileServer(corpus) as server:
        yield server


def hasty(reader, **options):
    """The same stream with a storage that does not wait long."""
    storage = Storage(**({"timeout": 0.5, "attempts": 10, "backoff": 0.002} | options))
    return Stream(replace(reader._work, storage=storage))


def key(row):
    return row["id"] if "id" in row else row["image_id"]


def keys(rows):
    return [key(row) for row in rows]


def contents(rows):
    return Counter((key(row), row["image"]) for row in rows)


# A failing server ----------------------------------------------------------------------------------------------------

MIXED = [
    Fault("status", code=503),
    Fault("status", code=429, headers={"Retry-After": "0"}),
    Fault("reset", keep=1_000),
    Fault("reset", keep=None),
    Fault("short", keep=5_000),
    Fault("wrong_length", keep=700),
    Fault("wrong_content_range"),
]
RARE = [  # each takes its time, and three whole files for one range are a server that has none
    Fault("no_range"),
    Fault("stall", keep=3_000),
    Fault("slow", keep=3_000, seconds=0.1),
    Fault("status", code=429, headers={"Retry-After": "1"}),
]
RARE_SHARE = 0.02


@pytest.fixture(scope="module")
def small_photos(tmp_path_factory):
    """96 photos of about 35 KB, each a range of its own: what a request costs beside its bytes."""
    root = tmp_path_factory.mktemp("small") / "sample"
    write_sample(root, images=96)
    change_photos(root, lambda _, data: data)
    return root


def test_every_row_arrives_once_where_a_tenth_of_the_requests_fails(make, small_photos):
    """Over 10,000 requests, every kind of fault but a changed file, and each photo to the byte."""
    expected = contents(make(data_dir=small_photos))
    photos = len(expected)
    epochs = -(-10_000 // photos)
    numbers = random.Random(11)
    with FileServer(small_photos) as server:
        reader = hasty(make(data_dir=server.url), timeout=0.25)
        server.log.reset()
        for epoch in range(epochs):
            for at in numbers.sample(range(photos), photos // 9 + 1):
                kinds = RARE if numbers.random() < RARE_SHARE else MIXED
                server.faults.add(replace(numbers.choice(kinds), match=r"images2?\.zip", after=at))
            reader.set_epoch(epoch)
            assert contents(reader) == expected
        fired = Counter(fault.kind for fault in server.faults.fired)
        requests = len(server.log.requests)
    assert requests >= epochs * photos + fired.total() - fired["slow"]  # what is slow is not asked for again
    assert 0.1 * requests < fired.total() < 0.12 * requests
    assert set(fired) == {fault.kind for fault in MIXED + RARE}
    assert reader.report().counts == {}


@pytest.mark.parametrize("on_missing_image", ["error", "skip"])
def test_a_server_that_ignores_ranges_is_told_of(make, server, on_missing_image):
    """No policy for photos hides it: what fails is the source."""
    reader = hasty(make(data_dir=server.url, on_missing_image=on_missing_image))
    server.faults.add(Fault("no_range", match=r"images", after=5, times=None))
    with pytest.raises(RangeNotSupported, match=r"images2?\.zip: the server ignores Range requests \(status 200"):
        list(reader)


def test_a_source_that_changes_is_told_of_and_never_mixed(make, server):
    expected = contents(make())
    for after in (0, 5, 20):
        server.faults.clear()
        reader = hasty(make(data_dir=server.url))
        server.faults.add(Fault("changed_etag", match=r"images", after=after, times=None, other_bytes=True))
        seen = []
        with pytest.raises(SourceChanged, match=r"changed while it was read .*Nothing of the two was mixed"):
            seen.extend(reader)
        assert contents(seen) <= expected


def test_a_server_that_says_nothing_any_more_ends_in_an_error(make, server):
    reader = hasty(make(data_dir=server.url), timeout=0.2, attempts=3)
    server.faults.add(Fault("stall", match=r"images", keep=2_000, times=None))
    begun = time.monotonic()
    with pytest.raises(SourceUnreachable, match=r"no byte came within the time-out\. Gave up after 3 attempts"):
        list(reader)
    assert time.monotonic() - begun < 5
    server.faults.clear()
    assert len(list(reader)) == len(reader)


def test_a_failed_source_can_be_gone_on_from(make, server):
    """The state is behind the last row that came."""
    expected = keys(make())
    reader = hasty(make(data_dir=server.url, max_in_flight_bytes=1), attempts=1)
    server.faults.add(Fault("status", match=r"images", after=17))
    seen = []
    with pytest.raises(SourceUnreachable, match="status 503"):
        seen.extend(key(row) for row in iter(reader))
    other = hasty(make(data_dir=server.url))
    other.load_state_dict(reader.state_dict())
    assert seen + keys(other) == expected


# Spoilt photos -------------------------------------------------------------------------------------------------------

SPOILT = {
    "cut": lambda data: data[: len(data) // 2],
    "text": lambda data: b"<html>no photo</html>",
    "empty": lambda data: b"",
    "pixels": lambda data: data[:-20_000] + b"\xff\xd9",  # whole to look at, but its pixels end early
    "nonsense": lambda data: data[:2] + b"\xff\xc0\x00\x0b\x08\x01\x00\x01\x00\x01\x01\x11\x00\xff\xd9",
}


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """(root, ids of the spoilt photos): some at the ends, two side by side; "nonsense" fails only when decoded."""
    root = tmp_path_factory.mktemp("spoilt") / "sample"
    write_sample(root, images=24)
    order = keys(stream("referring_qa", data_dir=root, cache_dir=root.parent / "c", holdout=None, decode=None))
    chosen = {order[0]: "cut", order[4]: "nonsense", order[5]: "empty", order[11]: "nonsense", order[-1]: "text"}
    chosen |= {order[-2]: "nonsense", order[14]: "nonsense", order[15]: "nonsense"}
    change_photos(root, lambda name, data: SPOILT.get(chosen.get(int(name)), bytes)(data))
    return root, set(chosen)


@pytest.mark.parametrize("decode", ["pil", "numpy"])
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("name", ["referring_qa", "all"])
def test_spoilt_photos_follow_the_policy(make, spoilt, name, decode, threads):
    root, bad = spoilt
    rows = "conversation" if name == "all" else "image"
    options = {"data_dir": root, "decode": decode, "rows": rows, "decode_threads": threads, "order": "storage"}
    whole = keys(make(name, **options | {"data_dir": root, "decode": None, "on_missing_image": "null"}))
    left = [each for each in whole if int(str(each).partition("/")[0]) not in bad]
    assert keys(make(name, on_missing_image="skip", **options)) == left
    reader = make(name, on_missing_image="null", **options)
    found = list(reader)
    assert keys(found) == whole
    for row in found:
        assert (row["image"] is None) == (row["width"] is None) == (row["image_id"] in bad)
    assert reader.report().counts == {"bad_image": len(bad)}


def test_a_spoilt_photo_is_an_error_that_names_it(make, spoilt):
    root, bad = spoilt
    for threads in (0, 2):
        options = {"data_dir": root, "decode": "pil", "decode_threads": threads}
        for image_id in sorted(bad):
            with pytest.raises(BadImage, match=rf'image {image_id}: .*{image_id}\.jpg: .*on_missing_image="skip"'):
                list(make(image_ids=[image_id], **options))


def test_a_turned_byte_is_found_by_its_checksum_or_delivered_unverified(make, tmp_path):
    """In the middle of a photo's data, where lengths and headers are right and Pillow decodes it all the same."""
    root = tmp_path / "sample"
    write_sample(root, images=4)
    whole = {row["image_id"]: row["image"] for row in make(data_dir=root)}
    bad = sorted(whole)[1]
    turned = whole[bad][:-500] + bytes([whole[bad][-500] ^ 0x10]) + whole[bad][-499:]
    for path in (root / "raw").glob("*.zip"):
        path.write_bytes(path.read_bytes().replace(whole[bad], turned))
    with pytest.raises(BadImage, match=rf"image {bad}: .*/{bad}\.jpg: the CRC-32"):
        list(make(data_dir=root))
    left = {row["image_id"]: row["image"] for row in make(data_dir=root, on_missing_image="skip")}
    assert left == {image_id: data for image_id, data in whole.items() if image_id != bad}
    unverified = make(data_dir=root, verify=False)
    assert {row["image_id"]: row["image"] for row in unverified} == whole | {bad: turned}
    assert unverified.report().counts == {}
    assert [row["image"].mode for row in make(data_dir=root, verify=False, decode="pil")] == ["RGB"] * len(whole)


@pytest.mark.parametrize("policy", ["skip", "null"])
@pytest.mark.parametrize("order", ["storage", "shuffled"])
def test_a_resume_beside_spoilt_photos_loses_nothing(make, spoilt, policy, order):
    root, _ = spoilt
    options = {"data_dir": root, "decode": "numpy", "on_missing_image": policy, "order": order}
    whole = keys(make(**options))
    for stop in range(0, len(whole) + 1, 1 + (order == "storage")):
        reader = make(**options)
        iterator = iter(reader)
        head = keys(islice(iterator, stop))
        other = make(**options)
        other.load_state_dict(reader.state_dict())
        assert head + keys(other) == whole


def test_a_hundred_spoilt_photos_in_a_row_are_an_error_but_not_a_hundred_rows(make, spoilt):
    """Rows of one photo fail together: what counts is photos, and one that is decoded ends a run."""
    root, bad = spoilt
    reader = make("all", rows="conversation", data_dir=root, decode="pil", on_missing_image="skip")
    for epoch in range(15):  # 15 times 8 spoilt photos, with good ones between them
        reader.set_epoch(epoch)
        try:
            rows = list(reader)
        except TooManyFailures as error:
            pytest.fail(f"epoch {epoch}: {error}")
        assert {row["image_id"] for row in rows}.isdisjoint(bad)


def test_what_a_decoder_of_the_users_raises_is_passed_on_and_its_row_can_be_tried_again(make):
    class Choosy(Exception):
        pass

    seen = []

    def decode(data):
        seen.append(data)
        if len(seen) == 7:
            raise Choosy("not this one")
        return len(data)

    for threads in (0, 2):
        seen.clear()
        reader = make(decode=decode, decode_threads=threads)
        came = []
        with pytest.raises(Choosy, match="not this one"):
            came.extend(map(key, iter(reader)))
        other = make()
        other.load_state_dict(reader.state_dict())
        assert came + keys(other) == keys(make())


# What is left behind -------------------------------------------------------------------------------------------------


def ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("svit-")]


def sockets():
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing is closed by now
            found += str(entry.readlink()).startswith("socket:")
    return found


def fail():
    raise ZeroDivisionError


def consume(iterator, what):
    for _ in iterator:
        what()


ENDS = {  # what a consumer does at the first row, and how it gets to know
    "abandoned": (None, None),
    "error": (fail, ZeroDivisionError),
    "interrupt": (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt),
}


def ended(reader, end):
    """Begin to read, and end at the first row."""
    what, error = ENDS[end]
    iterator = iter(reader)
    if error is None:
        next(iterator)
    else:
        with pytest.raises(error):
            consume(iterator, what)
    del iterator
    gc.collect(1)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files where Linux lists them")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", ["disk", "http"])
def test_an_end_before_the_end_leaves_nothing(make, server, tmp_path, monkeypatch, end, place):  # noqa: PLR0917 - fixtures
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    options = {"data_dir": server.url} if place == "http" else {}
    reader = make(decode="numpy", cache_dir=tmp_path / "cache", **options)
    kept = sorted(tmp_path.rglob("*"))
    server.latency = 0.005
    counts = []
    for _ in range(20):
        ended(reader, end)
        assert ours() == []
        counts.append(sockets())
    assert max(counts[10:]) <= max(counts[:10]) + 4, counts
    assert sorted(tmp_path.rglob("*")) == kept
    assert len(keys(reader)) == len(reader)


def patient_for_less(seconds):
    """Storage options under which a connection that nobody uses is closed sooner than after aiohttp's 15 seconds."""

    async def client(**options):
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=seconds), **options)

    return {"http": {"get_client": client}}


@pytest.mark.parametrize("end", ENDS)
def test_an_end_before_the_end_leaves_no_connection(make, server, end):
    """What is under way is dropped at once; what is idle closes when nobody has used it for a while."""
    reader = make(data_dir=server.url, storage_options=patient_for_less(0.2))
    server.latency = 0.005
    for _ in range(3):
        ended(reader, end)
        assert server.connections > 0, "there is something to close"
    deadline = time.monotonic() + 5
    while server.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.connections == 0
    assert len(keys(reader)) == len(reader)


def test_ctrl_c_ends_a_reader_that_waits_for_a_silent_server(make, server):
    """At once, not after the time-out of a minute."""
    reader = make(data_dir=server.url)
    server.faults.add(Fault("stall", match=r"images", times=None))
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    begun = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(iter(reader))
    assert time.monotonic() - begun < 5
    gc.collect()
    assert ours() == []
    server.faults.clear()
    assert len(list(reader)) == len(reader)


# Processes -----------------------------------------------------------------------------------------------------------


def rest(reader, pipe):
    pipe.send([reader.state_dict()["todo"], keys(reader)])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_stream_goes_on_in_another_process(make, method):
    """Forked in the middle of an iteration, or pickled: there it begins anew, and here it goes on."""
    context = multiprocessing.get_context(method)
    reader = make("all", rows="conversation", order="shuffled", decode="pil")
    iterator = iter(reader)
    head = [key(next(iterator)) for _ in range(50)]
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=rest, args=(reader, there), daemon=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # what is tested
        child.start()
    there.close()  # so that a child that dies is the end of the pipe
    assert here.poll(60), "the other process is stuck"
    todo, found = here.recv()
    child.join(30)
    assert child.exitcode == 0
    assert head + keys(iterator) == found
    assert todo == [[50, len(found)]]


def test_a_loaded_state_travels_with_the_stream(make):
    """As a DataLoader's worker gets it."""
    reader = make()
    iterator = iter(reader)
    head = [key(next(iterator)) for _ in range(5)]
    other = make()
    other.load_state_dict(reader.state_dict())
    data = pickle.dumps(other)
    assert len(data) < 100_000
    assert head + keys(pickle.loads(data)) == keys(make())


SCRIPT = """
import sys
from pathlib import Path
from svit_datasets import stream

def peak():  # MB; ru_maxrss would count the parent's memory too
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024

options = {"data_dir": sys.argv[1], "cache_dir": sys.argv[2], "holdout": None, "decode": "numpy"}
reader = stream("all", **options, max_in_flight_bytes=1)
begun = peak()
rows = sum(row["image"].nbytes > 0 for _ in range(3) for row in reader)
unwanted = sorted({"datasets", "torch"} & set(sys.modules))
print(rows, peak() - begun, unwanted)
"""


def test_memory_is_bounded_and_neither_datasets_nor_torch_is_imported(corpus, make):
    """Beside a window of 4 MB and the one in use come a few decoded photos: not all that is read three times."""
    command = [sys.executable, "-c", SCRIPT, str(corpus), str(corpus.parent / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    rows, grown, unwanted = done.stdout.split(maxsplit=2)
    assert (int(rows), unwanted.strip()) == (3 * len(make("all")), "[]")
    assert int(grown) < 40  # MB


# What is read --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["storage", "shuffled"])
def test_a_resume_reads_only_what_is_left(corpus, make, order):
    """What was on its way when it stopped is read again; what was handed out is not, but for one window."""
    window = 4 * MB if order == "storage" else 8 * MB
    with FileServer(corpus) as server:
        options = {"data_dir": server.url, "order": order, "window_bytes": 8 * MB}
        reader = make(**options)
        server.log.reset()
        sizes = [len(row["image"]) for row in reader]
        requests = len(server.log.requests)
        for stop in (1, 9, 20, len(sizes) - 1, len(sizes)):
            iterator = iter(reader)
            assert len(list(islice(iterator, stop))) == stop
            state = reader.state_dict()
            del iterator
            again = make(**options)
            again.load_state_dict(state)
            server.log.reset()
            assert len(list(again)) == len(sizes) - stop
            assert sum(sizes[stop:]) <= server.log.body_bytes <= sum(sizes[stop:]) + window
            assert len(server.log.requests) <= requests + 2  # a window without its first photos has more gaps


# A worker that is killed ---------------------------------------------------------------------------------------------


class Killer:
    """A decoder that kills its process at one photo, as the kernel does when memory ends."""

    def __init__(self, photo):
        self.photo = photo

    def __call__(self, data):
        if data == self.photo:
            os.kill(os.getpid(), signal.SIGKILL)
        return data


@pytest.mark.torch
@pytest.mark.skipif(find_spec("torchdata") is None, reason="torch==2.13.0 and torchdata are not installed")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # a fork beside threads
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata calls what torch gave up
@pytest.mark.parametrize("place", ["disk", "http"])
def test_a_killed_worker_is_told_of_in_time_and_its_last_state_goes_on(make, server, place):
    """The loader says so long before its time-out, and what it saved before the end resumes without a loss."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    usual = {"order": "shuffled", "data_dir": server.url} if place == "http" else {"order": "shuffled"}
    whole = [(key(row), row["image"]) for row in make(**usual)]
    options = {"num_workers": 2, "batch_size": None, "timeout": 60}
    rows = StatefulDataLoader(make(decode=Killer(whole[-2][1]), **usual), **options)
    seen, states = [], [rows.state_dict()]
    begun = time.monotonic()

    def take_all():
        for row in rows:
            seen.append(key(row))
            states.append(rows.state_dict())

    with pytest.raises(RuntimeError, match=r"DataLoader worker .*(killed by signal: Killed|exited unexpectedly)"):
        take_all()
    assert time.monotonic() - begun < 30
    assert 0 < len(seen) < len(whole)
    for at in {0, len(seen) // 2, len(seen)}:
        other = StatefulDataLoader(make(**usual), **options)
        other.load_state_dict(states[at])
        assert sorted(seen[:at] + keys(other)) == sorted(name for name, _ in whole)
