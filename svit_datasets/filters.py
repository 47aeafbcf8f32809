"""Which images and which answers are wanted: the held-out split, known-bad answers, lists of ids, for and against.

Ids and text in, yes or no out. The published list of held-out ids is fetched by `sources`, never part of this package.
"""

from __future__ import annotations

import json
import operator
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    ImageIds = Iterable[int] | str | os.PathLike[str] | Callable[[int], bool]
    IdList = Iterable[int] | str | os.PathLike[str]

__all__ = ["excluded_ids", "is_message_empty", "listed_ids", "parse_ids", "select_ids", "split_rows"]

# 21 detail descriptions answer that the message was empty, in several wordings; a list of ids would miss the rest.
_EMPTY = re.compile(
    r"\bmessages?(?:,? \w+){0,3},? (?:is|was|seems?|appears?)(?: to (?:be|have been))? (?:an )?empty\b", re.IGNORECASE
)


def is_message_empty(answer: str) -> bool:
    """Tell whether an answer says that the message was empty: GPT-4 had been asked without its context."""
    return "empty" in answer and _EMPTY.search(answer) is not None


def parse_ids(text: str, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Read image ids, one a line; blank lines are skipped.

    Args:
        text: the file's content.
        name: what errors call the file.

    Returns:
        int64, ascending, each once.

    Raises:
        OptionError: a line is no number; the message quotes it.
    """
    ids = set()
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        if not line.strip():
            continue
        if not re.fullmatch(r"\s*[0-9]{1,18}\s*", line):
            raise OptionError(f"{name}, line {number}: expected a Visual Genome id, found {line.strip()[:60]!r}.")
        ids.add(int(line))
    return np.array(sorted(ids), dtype=np.int64)


def select_ids(
    ids: np.ndarray[Any, np.dtype[np.int64]], wanted: ImageIds | None
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return a mask over ``ids``: which of them ``image_ids=`` asks for.

    Args:
        ids: int64, in any order.
        wanted: None (all), ids, a file with one id a line, or a function from id to bool, called once an id.

    Raises:
        OptionError: the file is missing or malformed, or the ids are no numbers.
    """
    if wanted is None:
        return np.ones(len(ids), dtype=bool)
    if callable(wanted):
        return np.fromiter((bool(wanted(int(image_id))) for image_id in ids), dtype=bool, count=len(ids))
    return np.isin(ids, listed_ids(wanted))


def listed_ids(wanted: IdList, option: str = "image_ids") -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the ids of ``image_ids=`` where it is a list or a file; int64, ascending, each once."""
    if isinstance(wanted, str | os.PathLike):
        return parse_ids(_read(wanted, option), str(wanted))
    try:
        return np.array(sorted({operator.index(image_id) for image_id in wanted}), dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"{option} must hold Visual Genome ids (int): {error}.") from error


def excluded_ids(exclude: IdList) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the ids of ``exclude=``: a list, a file with one id a line, or a report of ``svit check --json``.

    Returns:
        int64, ascending, each once. Of a report, its ``exclude``: photos that stand in a list it was checked against.

    Raises:
        OptionError: the file is missing, malformed, or JSON of another kind, or the ids are no numbers.
    """
    if not isinstance(exclude, str | os.PathLike) or Path(exclude).suffix != ".json":
        return listed_ids(exclude, "exclude")
    try:
        ids = json.loads(_read(exclude, "exclude"))["exclude"]
    except (ValueError, TypeError, KeyError) as error:
        raise OptionError(
            f"exclude={str(exclude)!r} is no report of `svit check --json`: it has no list called exclude."
        ) from error
    return listed_ids(ids, "exclude")


def _read(path: str | os.PathLike[str], option: str) -> str:
    try:
        return Path(path).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{option}={str(path)!r} cannot be read: {error}.") from error


def split_rows(
    image_ids: np.ndarray[Any, np.dtype[np.int64]], holdout: np.ndarray[Any, np.dtype[np.int64]] | None
) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the positions of each split's images; "test" only where there is a list of held-out ids.

    Args:
        image_ids: of all images, int64; -1, which is no image of Visual Genome, is never held out.
        holdout: the held-out ids, or None.
    """
    if holdout is None:
        return {"train": np.arange(len(image_ids))}
    held_out = np.isin(image_ids, holdout)
    return {"train": np.flatnonzero(~held_out), "test": np.flatnonzero(held_out)}
