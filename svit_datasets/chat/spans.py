"""Where every message, image and end of turn stands in a rendered chat; and the marks by which that is found.

A mark, a private-use character that the chat does not hold, is put inside every text before a template renders. Taken
out again, the marks say where each text stands. That the text there is the row's is then checked character by
character. Pure functions; `writer` renders with them.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Place",
    "Rendered",
    "Span",
    "Turn",
    "cut_at",
    "fresh_marks",
    "images_outside",
    "place_of",
    "stop_end",
    "unmarked",
]

_THOUGHT_END = "</think>"


class Span(NamedTuple):
    """A piece of a text, in characters, 0-based."""

    start: int
    stop: int  # behind the last character


class Turn(NamedTuple):
    """Where a message stands in the text."""

    role: str  # "system", "user" or "assistant"
    start: int  # of the content, images included; blanks that the template trims are outside
    end: int  # behind the content
    stop_end: int  # behind the end-of-turn token; equal to end where the template writes none


@dataclass(frozen=True, slots=True)
class Rendered:
    """A chat as text."""

    text: str
    turns: tuple[Turn, ...]  # every message of the chat once, in order
    images: tuple[Span, ...]  # where each image's placeholder stands, in order
    data: tuple[Span, ...]  # text that came from the row: in it no control token is one; in order, apart
    notes: tuple[str, ...] = ()  # what was changed on the way, a sentence each
    generation: tuple[Span, ...] = ()  # what the template's own {% generation %} tags enclose; in order


class Place(NamedTuple):
    """Where a text of the row stands."""

    start: int
    stop: int
    data: tuple[Span, ...] = ()  # the row's own characters in it, where that is not all of it
    change: str | None = None  # what the template did to it


def fresh_marks(text: str) -> str:
    """Return three private-use characters that a text does not hold: for texts, and round {% generation %} blocks."""
    if text.isascii():
        return "\ue000\ue001\ue002"
    for first in range(0xE000, 0xF8FD, 3):
        marks = chr(first) + chr(first + 1) + chr(first + 2)
        if marks[0] not in text and marks[1] not in text and marks[2] not in text:
            return marks
    raise ValueError("a text that holds 2,000 private-use characters of Unicode cannot be marked")


def cut_at(text: str, avoid: Sequence[str], spaced: Sequence[str]) -> int:
    """Return where in a text its mark goes: inside, and in none of the words that the template looks for.

    Args:
        text: not blank.
        avoid: words that the template looks for, of two characters or more.
        spaced: those of them that hold a blank, and that the chat holds.
    """
    if text[0].isspace() or text[-1].isspace() or _THOUGHT_END in text:
        thought = text.rfind(_THOUGHT_END) + len(_THOUGHT_END) if _THOUGHT_END in text else 0
        thought = thought if text[thought:].strip() else 0  # what follows the thought always stays
        lead = len(text) - len(text[thought:].lstrip())
        return lead + _cut_inside(text[lead:].rstrip(), avoid, spaced)
    return _cut_inside(text, avoid, spaced)


def _cut_inside(text: str, avoid: Sequence[str], spaced: Sequence[str]) -> int:
    at = text.find(" ", len(text) // 2) + 1 or text.rfind(" ") + 1  # before a word: a mark parts few things there
    if at and not (spaced and any(word in text for word in spaced)):
        return at
    held = [(start, start + len(word)) for word in avoid for start in _found(text, word)]
    free = (at for at in range(len(text) // 2 or 1, len(text)) if not any(start < at < stop for start, stop in held))
    return next(free, len(text))


def _found(text: str, word: str) -> list[int]:
    starts, at = [], text.find(word)
    while at >= 0:
        starts.append(at)
        at = text.find(word, at + 1)
    return starts


def unmarked(raw: str, marks: str, *, tagged: bool) -> tuple[str, list[int], tuple[Span, ...]]:
    """Take marks out of a text.

    Returns:
        the text, where in it each text's mark was, and what {% generation %} blocks enclose.
    """
    if not tagged:
        pieces = raw.split(marks[0])
        return "".join(pieces), list(accumulate(map(len, pieces[:-1]))), ()
    pieces = raw.split(marks[0])
    inner = "".join(pieces)  # still with the other two
    opened, closed = _found(inner, marks[1]), _found(inner, marks[2])
    others = sorted(opened + closed)
    texts = [at - bisect_left(others, at) for at in accumulate(map(len, pieces[:-1]))]
    begin, end = ([at - bisect_left(others, at) for at in some] for some in (opened, closed))
    return inner.replace(marks[1], "").replace(marks[2], ""), texts, tuple(map(Span, begin, end))


def place_of(plain: str, text: str, at: int, cut: int, after: int, *, trimmed: bool) -> Place | None:
    """Return where a text stands, or None where something else does.

    Args:
        plain: the chat, without marks.
        text: of the row.
        at: where in the chat the mark was.
        cut: where in the text it was.
        after: where the text before it ends; nothing before is taken.
        trimmed: blanks at its ends are known to be cut off.
    """
    start = at - cut
    if text[0].isspace() or text[-1].isspace():
        lead = len(text) - len(text.lstrip())
        core = text.strip()
        if not trimmed and start >= after and plain.startswith(text, start):
            return Place(start, start + len(text))
        place = place_of(plain, core, at, cut - lead, after, trimmed=True)
        return place and place._replace(change=place.change or "takes blanks at the ends from a text")
    if start >= after and plain.startswith(text, start):
        return Place(start, start + len(text))
    return _place_of_answer(plain, text, at, cut, after) if _THOUGHT_END in text else None


def _place_of_answer(plain: str, text: str, at: int, cut: int, after: int) -> Place | None:
    """Place a text whose thoughts the template left out, or set anew."""
    thought, _, rest = text.rpartition(_THOUGHT_END)
    answer = rest.lstrip()
    start = at - cut + len(text) - len(answer)
    if not answer or start < after or not plain.startswith(answer, start):
        return None
    data = Span(start, start + len(answer))
    thought = thought.strip().removeprefix("<think>").strip()
    begin = plain.rfind(thought, after, start) if thought else -1
    if begin < 0:
        return Place(start, data.stop, (data,), "takes the thoughts from an answer")
    tag = plain.rfind("<think>", after, begin)
    return Place(
        begin if tag < 0 else tag,
        data.stop,
        (Span(begin, begin + len(thought)), data),
        "sets the thoughts of an answer anew",
    )


def images_outside(plain: str, image: str, data: Sequence[Span]) -> list[Span]:
    """Return where an image's placeholder stands in what the template wrote; in the row's own text it is text."""
    images, number, at = [], 0, plain.find(image)
    while at >= 0:
        stop = at + len(image)
        while number < len(data) and data[number].stop <= at:
            number += 1
        if number < len(data) and data[number].start < stop:
            stop = data[number].stop
        else:
            images.append(Span(at, stop))
        at = plain.find(image, stop)
    return images


def stop_end(plain: str, end: int, limit: int, stop: str, *, near: bool) -> int:
    """Return behind which character a turn's end token stands; ``end`` where there is none before ``limit``.

    Args:
        plain: the chat.
        end: of the content.
        limit: where the next content begins.
        stop: the token.
        near: only blanks may stand before it.
    """
    at = plain.find(stop, end, limit)
    if at < 0 or (near and at > end and plain[end:at].strip()):
        return end
    return at + len(stop)
