"""One range of a local file: opened when it is told of, read when it is taken, and never two files mixed."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from svit_datasets.errors import AccessDenied, SourceChanged, SourceNotFound
from svit_datasets.local_range import LocalRange

DATA = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "photos.zip"
    file.write_bytes(DATA)
    return file


def stamp(path):
    return str(path.stat().st_mtime)


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, len(DATA)), (700, 9_000), (len(DATA) - 1, len(DATA)), (5, 5)])
def test_a_range_is_exact(path, start, stop):
    assert LocalRange(str(path), start, stop, stamp(path)).result() == DATA[start:stop]


def test_a_whole_file(path):
    assert LocalRange(str(path), 0, None, "").result() == DATA


def test_a_file_that_is_replaced_after_it_was_told_of_is_read_as_it_was(path):
    begun = LocalRange(str(path), 10, 20, stamp(path))
    other = path.with_name("other")
    other.write_bytes(DATA[::-1])
    os.utime(other, (1, 1))
    other.replace(path)
    assert begun.result() == DATA[10:20]
    with pytest.raises(SourceChanged, match="changed while it was read"):
        LocalRange(str(path), 10, 20, str(1.5)).result()


def test_a_file_that_is_written_to_after_it_was_told_of_is_another_one(path):
    begun = LocalRange(str(path), 10, 20, stamp(path))
    path.write_bytes(DATA)
    os.utime(path, (1, 1))
    with pytest.raises(SourceChanged, match="changed while it was read"):
        begun.result()


def test_a_range_behind_the_end(path):
    with pytest.raises(SourceChanged, match=f"ends at byte {len(DATA):,}"):
        LocalRange(str(path), 0, len(DATA) + 1, "").result()


def test_what_cannot_be_opened_is_an_error_of_the_one_who_takes_it(tmp_path):
    for name, error in (("nothing", SourceNotFound), ("folder", SourceNotFound)):
        (tmp_path / "folder").mkdir(exist_ok=True)
        begun = LocalRange(str(tmp_path / name), 0, 1, "")
        with pytest.raises(error, match=name):
            begun.result()


def test_more_ranges_than_files_may_be_open(path):
    """Those that find no descriptor free are opened when it is their turn; the first ones have closed theirs then."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open(path, os.O_RDONLY)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 20, limits[1]))
    try:
        begun = [LocalRange(str(path), at, at + 1, stamp(path)) for at in range(60)]
        assert b"".join(one.result() for one in begun) == DATA[:60]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(path):
    path.chmod(0)
    with pytest.raises(AccessDenied):
        LocalRange(str(path), 0, 1, "").result()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed in /proc, which is Linux's")
def test_a_file_is_open_no_longer_than_needed(path):
    def opened():
        return sum(os.path.realpath(link) == str(path.resolve()) for link in Path("/proc/self/fd").iterdir())

    taken, given_up, empty = (LocalRange(str(path), 0, stop, "") for stop in (9, 9, 0))
    assert opened() == 2
    taken.result()
    given_up.cancel()
    empty.cancel()
    assert not opened()
