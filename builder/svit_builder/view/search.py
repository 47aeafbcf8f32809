"""A dataset and a few words in; the rows that hold them out, one by one as they are found.

There is no index: texts are read from the first row on, in bounded memory, and a search stops when it has enough.
What is found stands in one question, answer or topic, its words in a row as typed, whatever their case; boxes
between them do not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from svit_builder.view.pieces import Run, blocks_of, plain, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.data import Data
    from svit_datasets.rows import Row

__all__ = ["LIMIT", "STEP", "Found", "Reached", "search", "tidy"]

LIMIT = 48  # rows a page of results
STEP = 512  # rows between two signs of life
_AROUND = 60  # characters shown before what was found
_SHOWN = 160  # characters shown in all


@dataclass(frozen=True, slots=True)
class Found:
    """A row that holds what was looked for."""

    number: int
    row: Row  # without its photo
    where: str  # "question", "answer", "topic" or "image id"
    snippet: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a search has come."""

    number: int  # rows before this one were looked at


def tidy(query: str) -> str:
    """Return what a search looks for: blanks at the ends and between words do not count."""
    return " ".join(query.split())[:200]


def search(data: Data, query: str, *, start: int = 0, limit: int = LIMIT) -> Iterator[Found | Reached]:
    """Yield rows that hold a query, in order, and every 512 rows how far it has come.

    Args:
        data: the configuration.
        query: as `tidy` leaves it. A number finds the photo of that id too, before all others.
        start: the first row to be looked at.
        limit: rows to be found; the last thing yielded says where to go on, which is ``len(data)`` at the end.

    Raises:
        SvitError: as in `Data.texts`.
    """
    found = 0
    told = start
    by_id = _by_id(data, query)
    for number in by_id if start == 0 else ():  # on later pages they were told already
        _, row = next(data.texts(number, number + 1))
        yield Found(number, row, "image id", ((query, True),))
        found += 1
    wanted = query.lower()
    words = wanted.split()
    for number, row in data.texts(start):
        if number - told >= STEP:
            told = number
            yield Reached(number)
        hit = _hit(row, wanted, words) if words and number not in by_id else None
        if hit is None:
            continue
        if found >= limit:
            yield Reached(number)
            return
        found += 1
        where, text = hit
        yield Found(number, row, where, _snippet(text, query))
    yield Reached(len(data))


def _by_id(data: Data, query: str) -> list[int]:
    if not query.isdecimal() or not query.isascii() or len(query) > 12:
        return []
    ids: list[int] = np.flatnonzero(data.image_ids == int(query))[:LIMIT].tolist()
    return ids


def _hit(row: Row, wanted: str, words: list[str]) -> tuple[str, str] | None:
    """Return where the words stand first, and the text they stand in."""
    blocks = blocks_of(row)
    every = "\n".join([message["content"] for block in blocks for message in block["messages"]]).lower()
    rare = next((word for word in words if word not in every), None)  # most rows end here
    for block in blocks:
        topic = block.get("topic")
        if topic and wanted in topic.lower():
            return "topic", topic
        for message in block["messages"] if rare is None else ():
            text = plain(message["content"])
            if wanted in " ".join(text.lower().split()):
                return "question" if message["role"] == "user" else "answer", text
    return None


def _snippet(text: str, query: str) -> tuple[Run, ...]:
    text = " ".join(text.split())
    match = re.search(re.escape(query), text, re.IGNORECASE)
    at = max(0, match.start() - _AROUND) if match else 0
    if at:
        at = text.find(" ", at) + 1
    shown = text[at : at + _SHOWN]
    return runs(("… " if at else "") + shown + (" …" if at + _SHOWN < len(text) else ""), query)
