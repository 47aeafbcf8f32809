"""In a case's own process: what it took. Needs the standard library alone, so any peer's environment can run it.

A case is a generator function of its setting. It yields once an item: an int is the id of a row that is there, a float
an amount (MB). Heavy imports stand inside the cases, because what a case imports is part of what it costs. Who starts
such processes, and what the server saw meanwhile, is in ``runner``.

    echo '{"case": "decoded", "started": 0, …}' | python -m tests.benchmarks.streaming.peers.webdataset_tar
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    Items = Generator[int | float, None, None]
    Case = Callable[[dict[str, Any]], Items]

MB = 1_000_000


def main(cases: Iterable[Case]) -> None:
    """Run the case that the setting on standard input names; print what it took as one line of JSON, the last."""
    setting = json.load(sys.stdin)
    named = {case.__name__: case for case in cases}
    print("\n" + json.dumps(measured(named[setting["case"]], setting)), flush=True)


def measured(case: Case, setting: dict[str, Any]) -> dict[str, Any]:
    """Run a case to its end, or to `limit` items, and say what it took.

    ``rate`` counts from the process's start. ``steady`` and ``cpu_ms`` leave out the first `skip` items and what went
    before: at least as many as may be under way when the first one comes, or they would pass for quick. CPU is that of
    this process and of its children that have ended. Memory is the peak of this process alone (VmHWM: unlike ru_maxrss
    it does not begin with the parent's).
    """
    skip = setting.get("skip", 1)
    done, skipped, ids = 0.0, 0.0, []
    first, begun, cpu_begun = 0.0, time.monotonic(), _cpu()
    running = case(setting)
    for number, item in enumerate(running, 1):
        done += item if isinstance(item, float) else 1
        ids.append(item)
        if number == 1:
            first = time.monotonic()
        if number == skip:
            skipped, begun, cpu_begun = done, time.monotonic(), _cpu()
        if number == setting.get("limit"):
            break
    end = time.monotonic()
    peak = _peak_memory()
    running.close()
    steady = max(done - skipped, 1e-9)  # of a single row nothing is steady
    return {
        "done": done,
        "first_s": first - setting["started"],
        "rate": done / (end - setting["started"]),
        "steady": steady / max(end - begun, 1e-9),
        "cpu_ms": 1000 * (_cpu() - cpu_begun) / steady,
        "rss_mb": peak / MB,
        **({"ids": ids} if setting.get("tell_ids") else {}),
    }


def _cpu() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _peak_memory() -> int:
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except FileNotFoundError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
