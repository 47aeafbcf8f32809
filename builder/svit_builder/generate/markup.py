"""A text with referring markup in, the same with its boxes mended out; and what is wrong with them; ids as in `rules`.

What a box is, `svit_datasets.boxes` says. Mended is only what leaves no doubt: spaces, commas, decimals, a coordinate
beyond the border by no more than 0.01.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from svit_datasets.boxes import Box, Referring, parse
from svit_datasets.boxes.forms import brackets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["best_overlap", "box_faults", "mend", "overlap"]

_BORDER = 0.01  # shares of the photo that a coordinate may lie outside and be moved
_LIST = re.compile(r"\[([-+.,;\d\s]*+)\]")
_FINE = re.compile(r"\[[01](?:\.\d{1,3})?(?:, [01](?:\.\d{1,3})?){3}\]")
_N = r"[01](?:\.\d{1,3})?"
_USUAL = re.compile(
    rf"(?<![\w,])<st>([^<>\[\]]++)<ed> (\[{_N}(?:, {_N}){{3}}\](?:, \[{_N}(?:, {_N}){{3}}\])*+)(?![^\W\d_])"
)
_DIGITS = re.compile(r"[\d.]+")
_NUMBER = re.compile(r"[-+]?[\d.]+")
_VALUE = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))\.?")
_SEPARATORS = re.compile(r"[\s,;]*")
_BEHIND_MARK = re.compile(r"<ed>\s*+(?:[:,]\s*+)?(?=\[)")
_BETWEEN = re.compile(r"\]\s*+,?\s*+\[(?=\s*[-+.\d])")


def mend(text: str, counts: Counter[str]) -> str:
    """Return a text whose boxes are written as SVIT writes them, where it is clear what is meant.

    Args:
        text: a question or an answer.
        counts: what was mended is added: "box_spelling", "box_border".
    """
    if "[" not in text or not _unusual(text):
        return text
    spaced = text
    if "<ed>" in text:
        spaced = _BETWEEN.sub("], [", _BEHIND_MARK.sub("<ed> ", text))
        spaced = re.sub(r"(?<=[\w,])<st>", " <st>", re.sub(r"\](?=[^\W\d_])", "] ", spaced))
    counts["box_spelling"] += spaced != text
    return _LIST.sub(lambda match: _mended(match, counts), spaced)


def _mended(match: re.Match[str], counts: Counter[str]) -> str:
    text = match[0]
    if "." not in text or _FINE.fullmatch(text):
        return text
    found = [_VALUE.fullmatch(number) for number in _NUMBER.findall(text)]
    if len(found) != 4 or not _SEPARATORS.fullmatch(_NUMBER.sub("", match[1])):
        return text
    values = [float(value[1]) for value in found if value]
    if len(values) != 4 or not all(-_BORDER <= value <= 1 + _BORDER for value in values):
        return text
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in values)
    counts["box_border" if (x1, y1, x2, y2) != tuple(values) else "box_spelling"] += 1
    return brackets([(x1, y1, x2, y2)])


def box_faults(text: str) -> tuple[list[Referring], Iterator[tuple[str, str]]]:
    """Return the phrases with good boxes of a text, and (rule, what was found) for each that is not.

    A list of numbers counts as a box where a marked phrase stands before it, or one of them has a decimal point.
    """
    usual = None if _unusual(text) else _read_usual(text)
    if usual is not None:
        return usual, iter(())
    counts: Counter[str] = Counter()
    found = parse(text, on_bad_box="drop", counts=counts)
    flat = [one for one in found if any(box.x1 >= box.x2 or box.y1 >= box.y2 for box in one.boxes)]
    return found, _faults(text, counts, flat)


def _unusual(text: str) -> bool:
    """Tell whether anything but plain text and well written markup is there; most texts need no closer look."""
    rest = _USUAL.sub("", text)
    return "[" in rest or "<" in rest


def _read_usual(text: str) -> list[Referring] | None:
    """Read well written markup, as `parse` would, in a fifth of its time; None if a box is impossible."""
    found = []
    for match in _USUAL.finditer(text):
        numbers = [float(number) for number in _DIGITS.findall(match[2])]
        boxes = tuple(Box(*numbers[at : at + 4]) for at in range(0, len(numbers), 4))
        if not all(x1 < x2 <= 1 and y1 < y2 <= 1 for x1, y1, x2, y2 in boxes):
            return None
        found.append(Referring(match[1], boxes, match.start(), match.end()))
    return found


def _faults(text: str, counts: Counter[str], flat: list[Referring]) -> Iterator[tuple[str, str]]:
    if counts["bad_numbers"]:
        yield "malformed_box", text
    if counts["bad_order"] or counts["bad_range"] or flat:
        yield "impossible_box", text
    if counts["bad_markup"]:
        yield "unbalanced_markup", text


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    if width <= 0 or height <= 0:
        return 0.0
    both = (one.x2 - one.x1) * (one.y2 - one.y1) + (other.x2 - other.x1) * (other.y2 - other.y1)
    return width * height / (both - width * height)


def best_overlap(box: Box, others: Iterable[Box]) -> float:
    """Return the highest intersection over union of a box with any of others; 0 where there is none."""
    return max((overlap(box, other) for other in others), default=0.0)
