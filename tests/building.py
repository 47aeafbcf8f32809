"""`svit build` as a process that can be caught at work: it reads photos from a slow server."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.servers import FileServer

FEW = ("conversation", "referring_qa")  # configurations; six files, split up
SPLIT_UP = {"row_group": 32, "shard_bytes": 1}  # a row group a file


class Slow:
    """`svit build` with the options of SPLIT_UP; killed at the end of the block if it still runs."""

    def __init__(self, corpus, root, *options):
        self.root = root
        self._server = FileServer(corpus, latency=0.15)
        command = [Path(sys.executable).with_name("svit"), "build", root, "--configs", ",".join(FEW), *options]
        command += [f"--{name.replace('_', '-')}={value}" for name, value in SPLIT_UP.items()]
        command += ["--data-dir", self._server.__enter__().url, "--cache-dir", root.parent / "slow-cache"]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate()
        self._server.__exit__(*exception)

    def writers(self):
        """Process ids of workers that have an unfinished file open."""
        return [
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdecimal() and any(name.startswith(str(self.root)) for name in _unfinished(process))
        ]


def _unfinished(process):
    try:
        names = [str(link.readlink()) for link in (process / "fd").iterdir()]
    except OSError:  # it ended meanwhile, or is another user's
        return []
    return [name for name in names if name.endswith(".writing")]


def wait_for(value, seconds=60):
    """Return the first true value of a function."""
    deadline = time.monotonic() + seconds
    while not (found := value()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)
    return found


def content(root):
    """All files below a folder, by path; nothing hidden or half written may be among them."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def shards(files):
    """Of such a content only the Parquet files; the manifest and the card also say where sources came from."""
    return {path: data for path, data in files.items() if path.endswith(".parquet")}
