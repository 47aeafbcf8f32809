"""Results in, ``docs/performance.md`` and its chart out, whole: the page is never written by hand."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.report import floors_table, number, table
from tests.benchmarks.streaming.chart import Bar, chart
from tests.benchmarks.streaming.environments import OWN
from tests.benchmarks.streaming.readers import (
    DISK,
    FORMS,
    HTTP,
    LIMITS,
    LOADERS,
    READERS,
    RESUMING,
    TWO_PILLOW,
    TWO_SIMPLEJPEG,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.report import Floor
    from tests.benchmarks.streaming.suite import Results, Suite

_TEMPLATE = Path(__file__).with_name("page.md")
_PACKAGES = {
    OWN: ("datasets", "fsspec", "aiohttp", "pyarrow", "pillow", "simplejpeg", "numpy"),
    "torch": ("torch", "webdataset", "litdata"),
    "mosaic": ("mosaicml-streaming", "numpy"),
}


def page(suite: Suite, floors: Sequence[Floor], *, full: bool, load: tuple[float, float]) -> str:
    """The whole page; `load` is the machine's before and after."""
    results = suite.results
    parts = {
        "RUN": _run(suite, load),
        "RATIOS": floors_table(floors, full=full),
        "LIMITS": _limits(results, suite.made.photo_bytes / len(suite.made.names)),
        "READERS": _readers(results),
        "NEAR": _near(results),
        "LOADERS": _loaders(results),
        "RESUMED": _resumed(results),
        "CONVERSIONS": _conversions(results),
        "MISSING": _missing(results),
        "MACHINE": _machine(suite),
    }
    text = _TEMPLATE.read_text("utf-8")
    for name, lines in parts.items():
        text = text.replace(f"{{{{{name}}}}}", "\n".join(lines))
    return text


def bars(results: Results) -> str:
    """The chart: photos a second over http with 20 ms, decoded, undecoded and delivered."""
    groups = []
    for head, what, lines in (
        ("photos a second, decoded", "decoded", READERS),
        ("photos a second, undecoded", "undecoded", READERS),
        ("photos a second that reach a training loop", "delivered", LOADERS),
    ):
        rates = [(line, results.figure(line.label, what, "steady")) for line in lines]
        found = [
            Bar(
                line.label.removesuffix(", Pillow") if what == "undecoded" else line.label,
                rate,
                "ours" if line.ours else "peer",
            )
            for line, rate in rates
            if rate is not None
        ]
        if what == "decoded":
            limits = [(label, results.figure(label, "limit", "steady")) for label in (TWO_PILLOW, TWO_SIMPLEJPEG)]
            found += [Bar(f"limit: {label}", rate, "limit") for label, rate in limits if rate is not None]
        groups.append((head, sorted(found, key=lambda bar: -bar.value)))
    return chart("Photos a second over http with 20 ms a request: svit_datasets, others, and the limits", groups)


def _run(suite: Suite, load: tuple[float, float]) -> list[str]:
    size, made = suite.size, suite.made
    times = "once" if size.repeats == 1 else f"{size.repeats} times in turns, medians told"
    photos = f"{len(made.names):,} photos of {made.photo_bytes / len(made.names) / 1000:.1f} KB on average"
    return [
        f"{datetime.now(UTC):%Y-%m-%d}: {photos}, everything {times}; load {load[0]:.1f} before, {load[1]:.1f} after."
    ]


def _limits(results: Results, photo: float) -> list[str]:
    lines = []
    for label in LIMITS:
        rate = results.figure(label, "limit", "steady")
        if rate is not None:
            moved = label in (HTTP, DISK)
            per_second = rate * 1e6 / photo if moved else rate
            cpu = None if moved else results.figure(label, "limit", "cpu_ms")
            lines.append([label, number(per_second), number(per_second * photo / 1e6), number(cpu)])
    return table(["limit", "photos /s", "MB /s", "CPU ms a photo"], lines, "lrrr")


def _readers(results: Results) -> list[str]:
    head = ["reader", "decoded /s", "CPU ms", "undecoded /s", "CPU ms", "first s", "peak MB", "requests", "KB"]
    lines = []
    for reader in READERS:
        of = {what: results.figures.get((reader.label, what), {}) for what in ("decoded", "undecoded")}
        some = of["decoded"] or of["undecoded"]
        if some:
            figures = [of[what].get(name) for what in of for name in ("steady", "cpu_ms")]
            lines.append(
                [
                    reader.label,
                    *map(number, figures),
                    number(some["first_s"]),
                    number(some["rss_mb"]),
                    number(some["requests"] / some["done"], 3),
                    number(some["body_bytes"] / some["done"] / 1000),
                ]
            )
    return table(head, lines, "lrrrrrrrr")


def _near(results: Results) -> list[str]:
    lines = []
    for reader in READERS:
        near, far = (results.figure(reader.label, what, "steady") for what in ("near", "decoded"))
        if near is not None:
            lines.append([reader.label, number(near), number(far)])
    return table(["reader", "0 ms", "20 ms"], lines, "lrr") if lines else ["Not measured in this run."]


def _loaders(results: Results) -> list[str]:
    lines = []
    for loader in LOADERS:
        found = results.figures.get((loader.label, "delivered"))
        if found:
            lines.append([loader.label, *(number(found[name]) for name in ("steady", "cpu_ms", "first_s", "rss_mb"))])
    return table(["reader", "photos /s", "CPU ms", "first s", "peak MB"], lines, "lrrrr")


def _resumed(results: Results) -> list[str]:
    lines = []
    for reader in RESUMING:
        found = results.resumed.get(reader.label)
        if found:
            counts = (found.stops, found.lost, found.repeated)
            lines.append([reader.label, *(f"{count:,}" for count in counts), number(found.again / 1e6)])
    lines.append(["webdataset", "no state to go on from", "", "", ""])
    return table(["reader", "stops", "rows lost", "rows repeated", "MB again"], lines, "lrrrr")


def _conversions(results: Results) -> list[str]:
    lines = []
    for form in FORMS:
        if form.folder in results.conversions:
            readers = [reader.label for reader in READERS if reader.form == form.folder]
            lines.append([readers[0], number(results.conversions[form.folder])])
    return table(["for", "seconds"], lines, "lr")


def _missing(results: Results) -> list[str]:
    """Names alone: reasons have paths in them, and stand on the run's standard error."""
    if not results.missing:
        return []
    return ["", f"Not measured, because it failed or could not be installed: {'; '.join(results.missing)}."]


def _machine(suite: Suite) -> list[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()}, Python {platform.python_version()}."
    ]
    for name, environment in suite.environments.items():
        if not environment.missing:
            versions = environment.versions(_PACKAGES[name])
            lines.append(f"{name}: {', '.join(f'{package} {version}' for package, version in versions.items())}.")
    return lines
