"""Measure generation, print one table and the promises; exit status 1 where one was not kept.

The command line: ``tests/benchmarks/generate/run [--quick] [--corpus DIR]``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.generate.suite import CASES, FULL, QUICK, floors, measure
from tests.benchmarks.report import floors_table, missed, number, table

if TYPE_CHECKING:
    from tests.benchmarks.generate.suite import Results

_HEAD = ("client", "requests/s", "with start /s", "CPU ms a request", "peak MB")


def results_table(results: Results) -> list[str]:
    """One line a client; where start-up cannot be told apart, it is in the CPU and there is no steady rate."""
    lines = []
    for case in CASES:
        found = results[case.label]
        if isinstance(found, str):
            lines.append([case.label, "not measured", "", "", ""])
            continue
        steady = number(found["steady"]) if case.skip else ""
        lines.append([case.label, steady, *(number(found[name]) for name in ("rate", "cpu_ms", "rss_mb"))])
    return table(_HEAD, lines, "lrrrr")


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/generate/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 requests once; under a minute when peers are there")
    parser.add_argument("--corpus", type=Path, help="where peers' environments are kept (default: a temporary folder)")
    options = parser.parse_args()
    size, full = (QUICK, False) if options.quick else (FULL, True)
    home = options.corpus or Path(tempfile.gettempdir()) / f"svit-benchmarks-{os.getuid()}"
    home.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    results = measure(size, home.resolve(), tell=lambda label: print(f"… {label}", file=sys.stderr, flush=True))
    found = floors(results)
    print(
        f"{datetime.now(UTC):%Y-%m-%d}: {size.requests:,} requests of 5 KB, 20 ms, {size.at_once} at once, "
        f"{os.cpu_count()} cores, load {load:.1f} before, {os.getloadavg()[0]:.1f} after, median of {size.repeats}.\n"
    )
    print("\n".join([*results_table(results), "", *floors_table(found, full=full)]))
    for label, why in results.items():
        if isinstance(why, str):
            print(f"\n{label} was not measured: {why}")
    return 1 if missed(found, full=full) else 0


if __name__ == "__main__":
    sys.exit(main())
