"""A row's text in; pieces to be shown out: plain text, phrases with their boxes, and what a search looked for.

Values only: nothing here knows HTML, and what comes out is escaped where it is written into a page.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from svit_datasets.boxes import parse
from svit_datasets.errors import BadBox, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from svit_datasets.boxes import Box, Referring
    from svit_datasets.rows import Row
    from svit_datasets.tasks import Task

__all__ = ["Block", "Bubble", "Chat", "Drawn", "Piece", "Run", "blocks_of", "chat_of", "plain", "runs"]

_MARKUP = re.compile(r"<st>|<ed>(?:\s*,?\s*\[[^\]]*\])*")
Run = tuple[str, bool]  # a text, and whether it is what a search looked for


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a message."""

    runs: tuple[Run, ...]
    boxes: tuple[int, ...] = ()  # numbers of the boxes that the text refers to; none: plain text
    source: str = ""  # phrase and boxes as they stand in the message


@dataclass(frozen=True, slots=True)
class Bubble:
    """A message."""

    role: str  # "user" or "assistant"
    pieces: tuple[Piece, ...]
    trouble: str = ""  # what is wrong with its boxes


@dataclass(frozen=True, slots=True)
class Block:
    """A conversation of a row."""

    topic: tuple[Run, ...]
    task: str  # "" where all of the configuration are of one
    bubbles: tuple[Bubble, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A rectangle on the photo; equal ones of several messages are one."""

    number: int  # 1-based, in the order of the text
    box: Box
    phrases: tuple[str, ...]  # that refer to it, each once

    @property
    def label(self) -> str:
        """What it is, in words."""
        return ", ".join(filter(None, self.phrases)) or "box"


@dataclass(frozen=True, slots=True)
class Chat:
    """All that is said in a row."""

    blocks: tuple[Block, ...]
    boxes: tuple[Drawn, ...]


def blocks_of(row: Row) -> Sequence[Row]:
    """Return the conversations of a row: those of an image, or the one that a LLaVA-form record is."""
    found: Sequence[Row] = row.get("conversations", [row])
    return found


def plain(text: str) -> str:
    """Return a text without the marks and numbers of its boxes."""
    return _MARKUP.sub("", text) if "<st>" in text else text


def runs(text: str, query: str) -> tuple[Run, ...]:
    """Cut a text where a query stands in it, whatever its case; ``""`` finds nothing."""
    if not query or not text:
        return ((text, False),) if text else ()
    found: list[Run] = []
    end = 0
    for match in re.finditer(re.escape(query), text, re.IGNORECASE):
        found += [(text[end : match.start()], False), (match.group(), True)]
        end = match.end()
    found.append((text[end:], False))
    return tuple(run for run in found if run[0])


def chat_of(row: Row, task: Task, query: str = "") -> Chat:
    """Return what a row says, with its boxes numbered.

    A box that cannot be read is left in the text as it is written, and told of in ``trouble``.

    Args:
        row: of any configuration.
        task: the configuration; LLaVA form has boxes in shares of the photo padded to a square.
        query: what a search looked for.
    """
    numbers: dict[Box, int] = {}
    phrases: dict[int, dict[str, None]] = {}
    blocks = []
    for block in blocks_of(row):
        bubbles = []
        for message in block["messages"]:
            found, trouble = _boxes(message["content"], row, task)
            for one in found:
                for box in one.boxes:
                    phrases.setdefault(numbers.setdefault(box, len(numbers) + 1), {})[one.phrase] = None
            pieces = tuple(_pieces(message["content"], found, numbers, query))
            bubbles.append(Bubble(message["role"], pieces, trouble))
        blocks.append(Block(runs(block.get("topic") or "", query), block.get("task") or "", tuple(bubbles)))
    drawn = (Drawn(number, box, tuple(phrases[number])) for box, number in numbers.items())
    return Chat(tuple(blocks), tuple(drawn))


def _boxes(text: str, row: Row, task: Task) -> tuple[list[Referring], str]:
    """Return the boxes that can be read, and what is wrong with the others."""
    convention = "svit" if task.form == "svit" else "padded"
    size = {"width": row["width"], "height": row["height"]}
    counts: Counter[str] = Counter()
    try:
        found = parse(text, convention, **size, on_bad_box="drop", counts=counts)
        if counts.total() > counts["boxes"]:
            parse(text, convention, **size)
    except BadBox as error:
        return found, str(error).partition(" Use on_bad_box=")[0]
    except OptionError as error:  # a padded box, and no photo that would tell the size of the square
        return [], str(error)
    return found, ""


def _pieces(text: str, found: Iterable[Referring], numbers: dict[Box, int], query: str) -> Iterator[Piece]:
    end = 0
    for one in found:
        if one.start < end:  # several labels of one list
            continue
        if one.start > end:
            yield Piece(runs(text[end : one.start], query))
        source = text[one.start : one.stop]
        yield Piece(runs(one.phrase or source, query), tuple(numbers[box] for box in one.boxes), source)
        end = one.stop
    if end < len(text):
        yield Piece(runs(text[end:], query))
