"""Which cases of loading at which size, and what is promised of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.benchmarks.corpus import corpus, json_array
from tests.benchmarks.report import Floor
from tests.benchmarks.runner import Case, fresh, medians, run
from tests.servers import FileServer

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from pathlib import Path

Results = dict[str, dict[str, float]]  # by label


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    images: int
    json_mb: int
    repeats: int


FULL = Size(images=2000, json_mb=200, repeats=3)
QUICK = Size(images=200, json_mb=20, repeats=1)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a case and its setting."""

    label: str
    case: str
    setting: dict[str, Any] = field(default_factory=dict)
    prepared: bool = False  # run once before, in the same cache


def lines(folder: str, root: str, array: str) -> list[Line]:
    """All lines, in the order of the table."""
    skip = {"skip": 64}  # requests that may be under way when the first photo comes
    return [
        Line("load_dataset, http", "load", {"root": root, **skip}),
        Line("load_dataset, local", "load", {"root": folder, **skip}),
        Line("first row, http", "load", {"root": root, "limit": 1}, prepared=True),
        Line("first row, local", "load", {"root": folder, "limit": 1}, prepared=True),
        Line("json, ours", "json_ours", {"file": array}),
        Line("json, datasets", "json_datasets", {"file": array}),
        Line("svit demo", "demo"),
    ]


def measure(
    size: Size, home: Path, *, only: Container[str] | None = None, tell: Callable[[str], object] = lambda _: None
) -> Results:
    """Run everything `repeats` times in turns, so that what else the machine does falls on all alike.

    Args:
        size: how much.
        home: where the corpus is kept.
        only: labels of the lines to measure; None for all.
        tell: called with each line's label before it runs.
    """
    made, array = corpus(home, size.images), json_array(home, size.json_mb)
    found: dict[str, list[dict[str, float]]] = {}
    with FileServer(made.folder) as server:
        for _ in range(size.repeats):
            for line in lines(str(made.folder), server.url, str(array)):
                if only is None or line.label in only:
                    tell(line.label)
                    case = Case("loading.cases", line.case, line.setting)
                    with fresh() as scratch:
                        if line.prepared:
                            run(case, server, scratch)
                        found.setdefault(line.label, []).append(run(case, server, scratch))
    return {label: medians(outcomes) for label, outcomes in found.items()}


def floors(results: Results) -> list[Floor]:
    """What is promised, on what was measured."""
    ours, peer = results["json, ours"], results["json, datasets"]
    peak = max(results[f"load_dataset, {where}"]["rss_mb"] for where in ("http", "local"))
    return [
        Floor("JSON: times datasets, streaming", ours["steady"] / peer["steady"], 10, of_full_size=True),
        Floor("JSON: peak MB", ours["rss_mb"], 60, at_most=True),
        Floor("load_dataset: peak MB", peak, 250, at_most=True),
        Floor("first row prepared, http: seconds", results["first row, http"]["first_s"], 1.5, at_most=True),
        Floor("first row prepared, local: seconds", results["first row, local"]["first_s"], 1.5, at_most=True),
        Floor("svit demo: seconds", results["svit demo"]["first_s"], 10, at_most=True),
    ]
