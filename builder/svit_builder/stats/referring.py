"""Questions and answers in, their phrases and boxes in numbers out: how many, how large, where."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any

from svit_builder.stats.statistics import AREAS, GRID
from svit_builder.stats.tables import Table, sorted_counts
from svit_datasets.boxes import parse

if TYPE_CHECKING:
    from svit_datasets.boxes import Box

__all__ = ["ReferringMeter", "without_boxes"]

_BOXES = re.compile(r"<st>|<ed>|<image>|\[[-+.,\d\s]*+\]")


def without_boxes(text: str) -> str:
    """Return a text without what is no words: referring marks, boxes, and the mark for the image in LLaVA form."""
    return _BOXES.sub("", text) if "[" in text or "<" in text else text


class ReferringMeter:
    """Counts phrases and boxes.

    Args:
        convention: how boxes are written: "svit", or "plain" for LLaVA form, whose numbers are counted as they stand:
            they are shares of the padded square.
    """

    def __init__(self, convention: str) -> None:
        self._convention = convention
        self._qas = 0
        self._phrases = Table()
        self._phrases_a_qa: Counter[int] = Counter()
        self._boxes_a_qa: Counter[int] = Counter()
        self._found: Counter[str] = Counter()  # as `parse` counts
        self._areas = [0] * (len(AREAS) - 1)
        self._centres = [0] * GRID**2

    def add(self, question: str, answer: str) -> None:
        """Count a QA."""
        phrases = boxes = 0
        for text in (question, answer):
            if "[" not in text and "<" not in text:
                continue
            for one in parse(text, self._convention, on_bad_box="drop", counts=self._found):
                phrases += 1
                self._phrases.add(one.phrase.strip().lower())
                for box in one.boxes:
                    boxes += 1
                    self._add_box(box)
        self._qas += boxes > 0
        self._phrases_a_qa[phrases] += 1
        self._boxes_a_qa[boxes] += 1

    def _add_box(self, box: Box) -> None:
        x1, y1, x2, y2 = box
        self._areas[min(bisect_right(AREAS, (x2 - x1) * (y2 - y1)), len(AREAS) - 1) - 1] += 1
        column, line = (min(int((low + high) / 2 * GRID), GRID - 1) for low, high in ((x1, x2), (y1, y2)))
        self._centres[line * GRID + column] += 1

    def counted(self) -> dict[str, Any]:
        """Return fields of `Statistics`."""
        bad = {name.removeprefix("bad_"): count for name, count in self._found.items() if name != "boxes"}
        return {
            "referring_qas": self._qas,
            "phrases": sorted_counts(self._phrases.counts),
            "phrases_a_qa": sorted_counts(self._phrases_a_qa),
            "boxes_a_qa": sorted_counts(self._boxes_a_qa),
            "bad_boxes": sorted_counts(bad),
            "box_areas": tuple(self._areas),
            "box_centres": tuple(self._centres),
        }
