"""A configuration in, its statistics page's values out: measured once, in a thread, a part of the rows at a time.

What is counted and drawn is the business of `svit_builder.stats`; without matplotlib there are tables and no plots.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from svit_builder.stats import Statistics, measure
from svit_builder.stats.compare import table
from svit_builder.stats.plots import plots
from svit_datasets.errors import MissingDependency, SvitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.view.shelf import Shelf

__all__ = ["Figures", "Measured"]

_PARTS = 64  # that a configuration is measured in, so that progress is seen
_LEAST = 1024  # rows of a part
_SPREADS = {
    "conversations_a_row": "conversations a row",
    "qas_a_row": "QAs a row",
    "question_words": "words a question",
    "answer_words": "words an answer",
    "boxes_a_qa": "boxes a QA",
}
_COUNTED = {"first_words": "First words of questions", "topics": "Topics", "phrases": "Phrases with boxes"}
_COMPARING = {"counts", "images"}  # plots with one bar a configuration
_NAMED = 10  # of the most frequent


@dataclass
class Measured:
    """How far the measuring of a configuration is; changed by its thread alone."""

    rows: int = 0  # of the configuration
    read: int = 0  # so far
    statistics: Statistics | None = None
    plots: dict[str, str] = field(default_factory=dict)  # name -> SVG
    note: str = ""  # why there are no plots
    trouble: str = ""  # why there are no statistics
    done: bool = False


class Figures:
    """Measures configurations of a dataset, one after another, and keeps what came out."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._measured: dict[str, Measured] = {}
        self._lock = Lock()
        self._stop = Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="svit-figures")

    def of(self, config: str) -> Measured:
        """Return how far a configuration is; the first call begins."""
        with self._lock:
            if config not in self._measured:
                self._measured[config] = Measured()
                self._thread.submit(self.measure, config)
            return self._measured[config]

    def measure(self, config: str) -> Measured:
        """Measure a configuration in this thread."""
        measured = self._measured.setdefault(config, Measured())
        try:
            self._measure(config, measured)
        except SvitError as error:
            measured.trouble = str(error)
        except Exception as error:  # in a thread nobody would be told
            measured.trouble = f"{type(error).__name__}: {error}"
            raise
        finally:
            measured.done = True
        return measured

    def _measure(self, config: str, measured: Measured) -> None:
        data = self._shelf.data(config)
        measured.rows = len(data)
        step = max(_LEAST, -(-len(data) // _PARTS))
        total = Statistics(config=config)
        for start in range(0, len(data), step):
            if self._stop.is_set():
                return
            part = measure(data, start=start, stop=start + step)
            total = part if start == 0 else total | part
            measured.read = min(start + step, len(data))
        measured.statistics = total
        try:
            drawn = plots([total])
        except MissingDependency as error:
            measured.note = str(error)
        else:
            measured.plots = {name: text for name, text in drawn.items() if name not in _COMPARING}

    def values(self, config: str) -> dict[str, Any]:
        """Return what the page of a configuration shows."""
        measured = self.of(config)
        if measured.statistics is None:
            return {"measured": measured, "facts": [], "spreads": [], "tops": [], "comparison": [], "compared": []}
        summary = measured.statistics.summary()
        every = [(name, one.statistics) for name, one in list(self._measured.items()) if one.statistics is not None]
        return {
            "measured": measured,
            "facts": list(_facts(measured.statistics, summary)),
            "spreads": [(words, summary[name]) for name, words in _SPREADS.items() if summary[name]],
            "tops": list(_tops(summary)),
            "comparison": table([statistics for _, statistics in every]),
            "compared": [name for name, _ in every],
        }

    def close(self) -> None:
        """Stop measuring; what is not done is given up."""
        self._stop.set()
        self._thread.shutdown(wait=True, cancel_futures=True)


def _facts(statistics: Statistics, summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a number counts, and the number in words."""
    yield "rows", f"{statistics.rows:,}"
    yield (
        "photos",
        f"{statistics.images:,}" + (f"; {statistics.text_only:,} rows are text only" * bool(statistics.text_only)),
    )
    yield "conversations", f"{statistics.conversations:,}"
    yield "questions with answers", f"{statistics.qas:,}"
    if summary["yes_no_share"] is not None:
        yield "answers with yes or no", f"{summary['yes_no_share']:.1%}: {statistics.yes:,} yes, {statistics.no:,} no"
    for side in ("question", "answer"):
        shares = [one["share"] for one in summary[f"{side}_ngrams"]]
        if None not in shares:
            yield f"distinct-1, -2, -3 of {side}s", " · ".join(f"{share:.3f}" for share in shares)
    if statistics.boxes:
        yield "boxes", f"{statistics.boxes:,}, in {statistics.referring_qas:,} questions with answers"
    if statistics.bad_boxes:
        yield (
            "boxes that cannot be read",
            ", ".join(f"{count:,} ({why})" for why, count in statistics.bad_boxes.items()),
        )


def _tops(summary: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    for name, words in _COUNTED.items():
        counts = summary[name] if name == "first_words" else summary[name]["most"]
        if counts:
            yield words, list(counts.items())[:_NAMED]
