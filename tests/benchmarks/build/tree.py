"""A command in, what its whole tree of processes took out: processor time and memory, also of what outlives a parent.

Processes whose parent has ended come to this process, which waits for them: so their time is counted too. Ray's node
does not wait for its workers, and the kernel forgets what they used; so processes are also looked at four times a
second, and the larger of the two sums counts. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_EVERY = 0.25  # seconds between two looks at memory


@dataclass(frozen=True, slots=True)
class Took:
    """What a command took."""

    wall: float  # seconds
    cpu: float  # seconds, user and system, of all processes
    peak: int  # bytes; memory of all processes together, shared pages once


def took(command: list[str], told: str, environment: dict[str, str], folder: Path) -> Took:
    """Run a command to its end.

    Raises:
        RuntimeError: its exit status was not 0.
    """
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    others = set(_descendants())
    before, begun = _cpu(), time.monotonic()
    peaks, seen = [0], {}
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(peaks, seen, others, ended), daemon=True)
    with (folder / "errors").open("w+") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors, text=True, env=environment)
        watcher.start()
        process.stdin.write(told)
        process.stdin.close()
        status = process.wait()
        wall = time.monotonic() - begun
        ended.set()
        watcher.join()
        _reap(others)
        if status:
            errors.seek(0)
            raise RuntimeError(f"{told}: exit status {status}\n{errors.read()[-2000:]}")
    return Took(wall, max(_cpu() - before, sum(seen.values())), max(peaks))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reap(others: set[int]) -> None:
    """Wait for what the command left behind, and for nothing else; what does not end by itself is ended."""
    deadline = time.monotonic() + 10
    while left := [pid for pid in _descendants() if pid not in others]:
        for pid in left:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # it is a grandchild yet
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)


def _watch(peaks: list[int], seen: dict[int, float], others: set[int], ended: threading.Event) -> None:
    while not ended.wait(_EVERY):
        pids = [pid for pid in _descendants() if pid not in others]
        peaks.append(sum(map(_memory, pids)))
        for pid in pids:
            seen[pid] = max(seen.get(pid, 0.0), _used(pid))


def _used(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _descendants() -> list[int]:
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, new = [], [os.getpid()]
    while new:
        new = [pid for pid, parent in parents.items() if parent in new]
        found += new
    return found


def _memory(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(rollup.partition("\nPss:")[2].split()[0]) * 1024 if "\nPss:" in rollup else 0
