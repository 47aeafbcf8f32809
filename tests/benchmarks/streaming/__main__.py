"""Measure streaming, print the page, write it and its chart; exit status 1 where a promise was not kept.

The command line: ``tests/benchmarks/streaming/run [--quick] [--corpus DIR] [--out DIR]``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.report import missed
from tests.benchmarks.streaming.floors import floors
from tests.benchmarks.streaming.page import bars, page
from tests.benchmarks.streaming.suite import FULL, QUICK, Suite


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/streaming/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="600 photos once, under 3 minutes")
    parser.add_argument(
        "--corpus", type=Path, help="where corpus and environments are kept (default: temporary folder)"
    )
    parser.add_argument("--out", type=Path, help="where performance.md and performance.svg go (default: printed only)")
    options = parser.parse_args()
    home = options.corpus or Path(tempfile.gettempdir()) / f"svit-benchmarks-{os.getuid()}"
    load = os.getloadavg()[0]  # before: what we do ourselves is no other work
    suite = Suite(
        QUICK if options.quick else FULL,
        home.resolve(),
        tell=lambda what: print(f"… {what}", file=sys.stderr, flush=True),
    )
    results = suite.measure()
    found = floors(results)
    text = page(suite, found, full=not options.quick, load=(load, os.getloadavg()[0]))
    print(text)
    for label, why in results.missing.items():
        print(f"{label}: {why}", file=sys.stderr)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "performance.md").write_text(text, "utf-8")
        (options.out / "performance.svg").write_text(bars(results), "utf-8")
    return 1 if missed(found, full=not options.quick) else 0


if __name__ == "__main__":
    sys.exit(main())
