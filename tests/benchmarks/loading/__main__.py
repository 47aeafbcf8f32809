"""Measure loading, print one table and the promises; exit status 1 where one was not kept.

The command line: ``tests/benchmarks/loading/run [--quick] [--corpus DIR]``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.loading.suite import FULL, QUICK, floors, measure
from tests.benchmarks.report import floors_table, missed, number, table

if TYPE_CHECKING:
    from tests.benchmarks.loading.suite import Results

_HEAD = ("case", "steady /s", "with start /s", "first s", "CPU ms", "peak MB", "requests", "KB")


def results_table(results: Results) -> list[str]:
    """One line a case; CPU, requests and KB are of a photo, or of a MB of JSON."""
    lines = []
    for label, found in results.items():
        many, asked = found["done"] > 1, found["requests"] > 0  # of a single row no rate is told
        figures = [found[name] if many else None for name in ("steady", "rate")]
        figures += [found["first_s"], found["cpu_ms"] if many else None]
        figures += [found["rss_mb"] if label != "svit demo" else None]  # which runs in a process of its own
        figures += [found["requests"] / found["done"] if asked else None]
        figures += [found["body_bytes"] / found["done"] / 1000 if asked else None]
        lines.append([label, *map(number, figures)])
    return table(_HEAD, lines, "l" + "r" * 7)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/loading/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 photos and 20 MB of JSON once, under a minute")
    parser.add_argument("--corpus", type=Path, help="where the corpus is kept (default: under the temporary folder)")
    options = parser.parse_args()
    size, full = (QUICK, False) if options.quick else (FULL, True)
    home = options.corpus or Path(tempfile.gettempdir()) / f"svit-benchmarks-{os.getuid()}"
    load = os.getloadavg()[0]  # before: what we do ourselves is no other work
    results = measure(size, home.resolve(), tell=lambda label: print(f"… {label}", file=sys.stderr, flush=True))
    found = floors(results)
    print(
        f"{datetime.now(UTC):%Y-%m-%d}: {size.images:,} photos, {size.json_mb} MB of JSON, {os.cpu_count()} cores, "
        f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after, median of {size.repeats}.\n"
    )
    print("\n".join([*results_table(results), "", *floors_table(found, full=full)]))
    return 1 if missed(found, full=full) else 0


if __name__ == "__main__":
    sys.exit(main())
