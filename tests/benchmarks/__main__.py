"""Measure, print one table and the floors; exit status 1 where a floor is missed.

The command line of the benchmarks: ``tests/benchmarks/run [--short]``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.suite import FULL, SHORT, floors, measure

if TYPE_CHECKING:
    from tests.benchmarks.suite import Floor, Results

_HEAD = ("case", "steady /s", "with start /s", "first s", "CPU ms", "peak MB", "requests each", "KB read each")


def table(results: Results) -> list[str]:
    """One line a case, as Markdown; "each" and CPU are of an image, or of a MB of JSON."""
    lines = [_row(_HEAD), _row(["---", *["---:"] * (len(_HEAD) - 1)])]
    for label, found in results.items():
        done = found["done"]
        many = done > 1  # of a single row no rate is told
        cells = [
            f"{found['steady']:,.1f}" if many else "",
            f"{found['rate']:,.1f}" if many else "",
            f"{found['first_s']:.2f}",
            f"{found['cpu_ms']:,.2f}" if many else "",
            f"{found['rss_mb']:,.0f}" if label != "svit demo" else "",  # runs in a process of its own
            f"{found['requests'] / done:.2f}" if found["requests"] else "",
            f"{found['body_bytes'] / done / 1000:,.1f}" if found["requests"] else "",
        ]
        lines.append(_row([label, *cells]))
    return lines


def verdict(floor: Floor, *, full: bool) -> str:
    """Whether a floor is kept; of a small corpus not all can be judged, and of what is only told, nothing."""
    if floor.bound is None:
        return ""
    if floor.of_full_size and not full:
        return "judged at full size only"
    return "kept" if floor.holds else "MISSED"


def verdicts(found: list[Floor], *, full: bool) -> list[str]:
    """One line a floor, as Markdown."""
    lines = [_row(["floor", "measured", "promised", ""]), _row(["---", "---:", "---:", "---"])]
    for floor in found:
        promised = "" if floor.bound is None else f"{'≤' if floor.at_most else '≥'} {floor.bound:g}"
        figure = f"{floor.measured:,.1f}" if floor.measured >= 10 else f"{floor.measured:,.2f}"
        cells = [floor.says, figure, promised, verdict(floor, full=full)]
        lines.append(_row(cells))
    return lines


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/run", description=__doc__)
    parser.add_argument("--short", action="store_true", help="200 images and 20 MB of JSON once, under a minute")
    parser.add_argument("--corpus", type=Path, help="where the corpus is kept (default: under the temporary folder)")
    options = parser.parse_args()
    size = SHORT if options.short else FULL
    home = options.corpus or Path(tempfile.gettempdir()) / f"svit-benchmarks-{os.getuid()}"
    load = os.getloadavg()[0]  # before: what we do ourselves is no other work
    results, made = measure(size, home, tell=lambda label: print(f"… {label}", file=sys.stderr, flush=True))
    found = floors(results)
    photo = made.photo_bytes / len(made.names) / 1000
    print(
        f"{datetime.now(UTC):%Y-%m-%d}: {size.images:,} photos of {photo:.1f} KB, {size.json_mb} MB of JSON, "
        f"{os.cpu_count()} cores, load {load:.1f} before, {os.getloadavg()[0]:.1f} after, median of {size.repeats}.\n"
    )
    lines = verdicts(found, full=not options.short)
    print("\n".join([*table(results), "", *lines]))
    return 1 if any("MISSED" in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
