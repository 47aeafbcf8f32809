"""The cache holds whole things or nothing: also after failures, kills, a full disk, and among several processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from svit_datasets.cache import build_once, cache_root, write_atomically
from svit_datasets.errors import CacheError
from tests.storage_contract import in_forked_child

NOBODY = 65534


def write_two(folder):
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")


def left_in(folder):
    """All that lies there, but for locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@contextmanager
def forked(work):
    """A child that runs `work`; its process id. It is killed at the end if it still runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads, as torch's DataLoader makes it
        child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_root_is_beside_what_hugging_face_keeps(tmp_path):
    assert cache_root(tmp_path) == cache_root(str(tmp_path)) == tmp_path / "svit-sources"
    assert cache_root(None) == Path(os.environ["HF_HOME"]) / "svit-sources"
    assert cache_root("~/x") == Path.home() / "x" / "svit-sources"


def test_a_folder_is_built_once(tmp_path):
    folder, built = tmp_path / "cache" / "text" / "x", []

    def build(temporary):
        assert temporary.parent == folder.parent  # a rename does not cross file systems
        assert not folder.exists()
        built.append(temporary)
        write_two(temporary)

    assert build_once(folder, build) == build_once(folder, build) == folder
    assert len(built) == 1
    assert left_in(folder.parent) == ["x"]
    assert (folder / "b").read_text() == "b"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_a_build_that_fails_leaves_nothing(tmp_path, error):
    def build(temporary):
        write_two(temporary)
        raise error

    with pytest.raises(type(error)) as caught:
        build_once(tmp_path / "x", build)
    assert caught.value is error
    assert left_in(tmp_path) == []
    assert build_once(tmp_path / "x", write_two).is_dir()


def test_a_killed_build_is_nothing_and_the_next_one_removes_it(tmp_path):
    reading, writing = os.pipe()

    def work():
        def build(temporary):
            (temporary / "a").write_text("half")
            os.write(writing, b"x")
            signal.pause()

        build_once(tmp_path / "x", build)

    with forked(work):
        assert os.read(reading, 1) == b"x"
    assert [name.startswith("x.building-") for name in left_in(tmp_path)] == [True]
    assert build_once(tmp_path / "x", write_two) == tmp_path / "x"
    assert left_in(tmp_path) == ["x"]
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["a", "b"]


def test_a_second_process_waits_for_the_first(tmp_path):
    reading, writing = os.pipe()
    go_on, let_go = os.pipe()

    def work():
        def build(temporary):
            os.write(writing, b"x")
            os.read(go_on, 1)
            write_two(temporary)

        build_once(tmp_path / "x", build)

    with forked(work):
        assert os.read(reading, 1) == b"x"

        def second():
            os.write(let_go, b"x")
            build_once(tmp_path / "x", lambda _: pytest.fail("built a second time"))
            return b"found"

        assert in_forked_child(second) == b"found"
    assert left_in(tmp_path) == ["x"]


def test_threads_build_once_too(tmp_path):
    built, together = [], threading.Barrier(8)

    def build(temporary):
        built.append(temporary)
        write_two(temporary)

    def work(_):
        together.wait(20)
        return build_once(tmp_path / "x", build)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(work, range(8))) == {tmp_path / "x"}
    assert len(built) == 1


def test_a_small_file_is_the_old_or_the_new(tmp_path):
    path = tmp_path / "below" / "a.bin"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert left_in(path.parent) == ["a.bin"]
    path.unlink()
    path.mkdir()
    (path / "occupied").touch()
    with pytest.raises(OSError, match=r"a\.bin"):
        write_atomically(path, b"cannot replace a folder")
    assert left_in(path.parent) == ["a.bin"]


def test_what_one_user_wrote_others_may_read(tmp_path):
    """As for any file that is simply opened: only the umask decides."""
    build_once(tmp_path / "folder", write_two)
    write_atomically(tmp_path / "file", b"a")
    (tmp_path / "usual").touch()
    usual = stat.S_IMODE((tmp_path / "usual").stat().st_mode)
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) & 0o055 == 0o055
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == usual


def test_no_space_left_on_the_device(tmp_path):
    """/dev/full is a real device without space; a table's file is a link to it here."""

    def build(temporary):
        (temporary / "table").symlink_to("/dev/full")
        with (temporary / "table").open("wb") as file:
            file.write(b"x" * 100_000)

    with pytest.raises(CacheError, match=r"x: no space left on the device\. Nothing partial was kept: .*cache_dir="):
        build_once(tmp_path / "x", build)
    assert left_in(tmp_path) == []


LIMITED = """
import resource, sys
from pathlib import Path
from svit_datasets.cache import build_once, write_atomically
from svit_datasets.errors import CacheError

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))  # what "ulimit -f" sets
write, given = {
    "folder": (build_once, lambda folder: (folder / "table").write_bytes(bytes(200_000))),
    "file": (write_atomically, bytes(200_000)),
}[sys.argv[1]]
try:
    write(Path(sys.argv[2]), given)
except CacheError as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_file_that_may_not_become_so_large(tmp_path, what):
    command = [sys.executable, "-c", LIMITED, what, str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(
        f"{tmp_path}/x: files may not become that large here (ulimit -f). Nothing partial was kept: "
    )
    assert "cache_dir=" in done.stdout
    assert left_in(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("mode", [0o555, 0o700], ids=["listed", "closed"])
@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_cache_that_may_not_be_written(mode, what):
    with tempfile.TemporaryDirectory() as outside:  # pytest's own folders are closed to others
        cache = Path(outside)
        cache.chmod(mode)

        def work():
            os.setuid(NOBODY)
            try:
                if what == "folder":
                    build_once(cache / "x", write_two)
                else:
                    write_atomically(cache / "x", b"a")
            except CacheError as error:
                return str(error).encode()
            return b"written"

        expected = b"the cache cannot be written (Permission denied). Name another place with cache_dir="
        assert expected in in_forked_child(work)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_cache_that_is_a_file(tmp_path, what):
    (tmp_path / "cache").write_text("a file of the user's")
    write, given = {"folder": (build_once, write_two), "file": (write_atomically, b"a")}[what]
    with pytest.raises(CacheError, match="cache_dir="):
        write(tmp_path / "cache" / "below" / "x", given)
