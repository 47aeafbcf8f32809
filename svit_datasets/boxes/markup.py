"""A text in, its phrases with their boxes out; or the same text in another convention.

One pass from left to right, in time linear in the text. What is replaced is never looked at again: replacing box after
box in the running text would move a box twice that happens to equal an earlier result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from svit_datasets.boxes.conventions import CONVENTIONS, Convention
from svit_datasets.boxes.frames import Size, enter, leave
from svit_datasets.errors import BadBox, OptionError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from svit_datasets.boxes.frames import Box

__all__ = ["Referring", "convert", "parse", "write"]

_WHY = {
    "numbers": "four numbers are expected",
    "order": "x1 > x2 or y1 > y2",
    "range": "it does not lie in the photo",
    "markup": "a phrase and its box are not marked as they should be",
}


@dataclass(frozen=True, slots=True)
class Referring:
    """A phrase and the boxes it refers to."""

    phrase: str  # "" where the text does not mark one
    boxes: tuple[Box, ...]  # at least one, in shares of the photo
    start: int = 0  # where phrase and boxes stand in the text, marks included; characters, 0-based
    stop: int = 0  # behind them


@dataclass(frozen=True, slots=True)
class _Piece:
    """Phrase and boxes as they stand in a text, good or bad."""

    start: int
    text: str
    phrase: str  # or the labels, where these stand among the numbers
    found: tuple[Referring, ...]  # what can be used of it
    wrong: tuple[str, ...]  # a key of _WHY for each thing that cannot
    bare: str  # its text without the marks


class _Run(NamedTuple):
    """Marks and boxes that belong together, or a mark that stands alone."""

    first: re.Match[str]
    close: re.Match[str] | None  # the mark behind the phrase
    groups: list[re.Match[str]]  # of boxes


def parse(
    text: str,
    convention: str = "svit",
    *,
    width: int | None = None,
    height: int | None = None,
    resized: tuple[int, int] | None = None,
    on_bad_box: str = "raise",
    counts: Counter[str] | None = None,
) -> list[Referring]:
    """Return the phrases with boxes of a text, in order.

    Args:
        text: an answer or a question, of SVIT or of a model.
        convention: how boxes are written there; a key of `CONVENTIONS`.
        width: of the photo, in pixels; needed by the frames "padded" and "resized".
        height: of the photo, in pixels; needed by the frames "padded" and "resized".
        resized: width and height of the photo as the model gets it, in pixels, for "qwen2_5_vl"; by default what
            `qwen2_5_vl_size` gives.
        on_bad_box: "raise", or "drop" to leave bad ones out.
        counts: what was found is added here: "boxes", and "bad_numbers", "bad_order", "bad_range", "bad_markup".

    Raises:
        BadBox: under "raise", at the first box that is not four numbers, is turned round or lies outside the photo,
            and at a mark without its counterpart or a marked phrase without a box.
        OptionError: an unknown convention or policy, or a size is needed and not given.
    """
    _allowed("on_bad_box", on_bad_box, ("raise", "drop"))
    source, size = _convention(convention), _size(width, height, resized)
    return [one for piece in _pieces(text, source, size, on_bad_box, counts) for one in piece.found]


def convert(
    text: str,
    *,
    to: str,
    convention: str = "svit",
    width: int | None = None,
    height: int | None = None,
    resized: tuple[int, int] | None = None,
    on_bad_box: str = "keep",
    counts: Counter[str] | None = None,
) -> str:
    """Return a text with its boxes written in another convention; everything else stays as it is.

    Conventions that do not mark phrases lose where they begin: converting back gives the boxes, not the marks.

    Args:
        text: as in `parse`, like all arguments that are not told here.
        to: how boxes are to be written; a key of `CONVENTIONS`. In the convention of the text, and from "svit" to
            "plain", numbers stay as they are written.
        convention: how boxes are written in ``text``.
        width: as in `parse`.
        height: as in `parse`.
        resized: as in `parse`.
        on_bad_box: what is done with phrase and boxes where one is bad. "keep" leaves them as they are written, only
            without the marks around the phrase if conventions differ; "drop" takes the bad boxes away and keeps the
            phrase; "raise" is an error.
        counts: as in `parse`.

    Raises:
        BadBox: as in `parse`, under "raise".
        OptionError: as in `parse`.
    """
    _allowed("on_bad_box", on_bad_box, ("keep", "drop", "raise"))
    source, target, size = _convention(convention), _convention(to), _size(width, height, resized)
    out: list[str] = []
    end = 0
    for piece in _pieces(text, source, size, on_bad_box, counts):
        new = _replacement(piece, source, target, size, drop=on_bad_box == "drop")
        before = text[end : piece.start]
        # A box that goes without leaving a word takes the space before it along.
        out += [before.rstrip(" ") if not new and piece.wrong and piece.wrong != ("markup",) else before, new]
        end = piece.start + len(piece.text)
    out.append(text[end:])
    return "".join(out)


def write(
    referring: Referring,
    to: str = "svit",
    *,
    width: int | None = None,
    height: int | None = None,
    resized: tuple[int, int] | None = None,
) -> str:
    """Return a phrase with its boxes in a convention; sizes as in `parse`.

    Raises:
        OptionError: as in `parse`; or there is no box.
    """
    if not referring.boxes:
        raise OptionError(f"The phrase {referring.phrase!r} has no box to write.")
    return _write(referring.phrase, referring.boxes, _convention(to), _size(width, height, resized))


def _write(phrase: str, boxes: tuple[Box, ...], target: Convention, size: Size) -> str:
    return target.write(phrase, [enter(box, target.frame, size) for box in boxes])


def _replacement(piece: _Piece, source: Convention, target: Convention, size: Size, *, drop: bool) -> str:
    """Return what stands in another convention for a piece; where ``drop``, its bad boxes are missing."""
    if not (piece.wrong and drop):
        if source is target:
            return piece.text
        if piece.wrong or {source.name, target.name} == {"svit", "plain"}:  # these two have the same numbers
            return piece.bare
    return ", ".join(_write(one.phrase, one.boxes, target, size) for one in piece.found) or piece.phrase


def _pieces(
    text: str, source: Convention, size: Size, on_bad_box: str, counts: Counter[str] | None
) -> Iterator[_Piece]:
    """Yield what phrase marks and boxes there are, good and bad, in order and apart."""
    for run in _runs(text, source):
        piece = _read(text, run, source, size)
        if counts is not None:
            counts["boxes"] += sum(len(one.boxes) for one in piece.found)
            counts.update(f"bad_{kind}" for kind in piece.wrong)
        if piece.wrong and on_bad_box == "raise":
            shown = piece.text if len(piece.text) <= 80 else f"{piece.text[:80]}..."
            raise BadBox(
                f"Bad box at character {piece.start}: {shown!r}; {_WHY[piece.wrong[0]]}. "
                'Use on_bad_box="keep" or "drop" to go on without it.'
            )
        yield piece


def _runs(text: str, source: Convention) -> Iterator[_Run]:
    """Yield what belongs together, in order."""
    tokens, join, alone = _patterns(source.name)
    found = list(tokens.finditer(text))
    at = 0
    while at < len(found):
        first, close, groups = found[at], None, []
        at += 1
        if first.lastgroup == "boxes":
            if not alone.fullmatch(first.group()):
                continue
            groups.append(first)
        elif first.lastgroup == "open":
            end = at
            while end < len(found) and found[end].lastgroup == "boxes" and not alone.fullmatch(found[end].group()):
                end += 1  # a phrase may hold brackets, such as "[1]"
            if end < len(found) and found[end].lastgroup == "close":
                close = found[end]
                at = end + 1
        last = close or first
        while (groups or close) and at < len(found) and found[at].lastgroup == "boxes":
            between = text[last.end() : found[at].start()]
            fits = join.fullmatch(between) if groups else not between.strip()
            if not fits or not (close or alone.fullmatch(found[at].group())):
                break
            last = found[at]
            groups.append(last)
            at += 1
        yield _Run(first, close, groups)


def _read(text: str, run: _Run, source: Convention, size: Size) -> _Piece:
    """Read a phrase's boxes, boxes without a phrase, or a mark that stands alone."""
    first, close, groups = run
    phrase = text[first.end() : close.start()] if close else ""
    start, stop = first.start(), (groups[-1] if groups else close or first).end()
    boxes: list[tuple[str, Box]] = []
    labels: dict[str, None] = {}
    wrong = [] if groups else ["markup"]
    for group in groups:
        try:
            quads = source.read(group.group())
        except (ValueError, TypeError, OverflowError):  # the last two: JSON may hold null, and integers of any size
            wrong.append("numbers")
            continue
        for label, quad in quads:
            labels[label or ""] = None
            if quad is None:
                wrong.append("numbers")
            elif quad[2] < quad[0] or quad[3] < quad[1]:
                wrong.append("order")
            elif (box := leave(quad, source.frame, size, source.step)) is None:
                wrong.append("range")
            else:
                boxes.append((phrase if label is None else label, box))
    found = tuple(
        Referring(said, tuple(box for _, box in some), start, stop)
        for said, some in groupby(boxes, key=lambda pair: pair[0])
    )
    bare = phrase + text[close.end() : stop] if close else text[start:stop] if groups else ""
    return _Piece(start, text[start:stop], phrase or ", ".join(filter(None, labels)), found, tuple(wrong), bare)


@cache
def _patterns(name: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return compiled: any token; what joins boxes; what a box without phrase must look like."""
    source = CONVENTIONS[name]
    tokens = rf"(?P<boxes>{source.pattern})"
    if source.marks:
        tokens = rf"(?P<open>{re.escape(source.marks[0])})|(?P<close>{re.escape(source.marks[1])})|{tokens}"
    return re.compile(tokens), re.compile(source.join), re.compile(source.alone)


def _convention(name: str) -> Convention:
    _allowed("convention", name, tuple(CONVENTIONS))
    return CONVENTIONS[name]


def _allowed(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise OptionError(f"{option}={value!r} is not allowed. Allowed: {', '.join(map(repr, allowed))}.")


def _size(width: int | None, height: int | None, resized: tuple[int, int] | None) -> Size:
    for name, sides in (("width and height", (width, height)), ("resized", resized or (1, 1))):
        if any(side is not None and side <= 0 for side in sides):
            raise OptionError(f"{name} must be positive, in pixels; got {sides}.")
    return Size((width, height) if width is not None and height is not None else None, resized)
