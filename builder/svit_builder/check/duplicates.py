"""Answers in, those that stand somewhere before out: word for word, or nearly so.

Held are 16 bytes an answer for the exact ones, and 264 for the similar ones, which need rensa (extra ``[check]``).
"""

from __future__ import annotations

import hashlib
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.generate.faults import normal
from svit_datasets.errors import MissingDependency

if TYPE_CHECKING:
    from collections.abc import Iterator

    Ids = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["Exact", "Similar"]

LEAST_WORDS = 12  # shorter answers are rightly the same for many photos
_PERMUTATIONS, _BANDS = 64, 16  # four rows a band: two answers of Jaccard 0.8 share a band with probability 0.9998
_SIMILAR = 0.8


class Exact:
    """Finds answers that come again, over all photos."""

    def __init__(self) -> None:
        self._digests, self._places = array("Q"), array("q")

    def add(self, place: int, words: str) -> None:
        """Take an answer, in the form of `faults.normal`, and a number by which its caller finds it again."""
        self._digests.frombytes(hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        self._places.append(place)

    def repeated(self) -> list[tuple[int, int]]:
        """Return (place, place of the first like it) of all that stand somewhere before, in order."""
        if not self._places:
            return []
        return _later(np.frombuffer(self._digests, dtype=np.uint64), np.frombuffer(self._places, dtype=np.int64))


class Similar:
    """Finds answers nearly like one before, by MinHash over pairs of words.

    Raises:
        MissingDependency: rensa is not installed.
    """

    def __init__(self) -> None:
        try:
            from rensa import RMinHash  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingDependency('Similar answers need rensa: pip install "svit-datasets[check]".') from error
        self._new = RMinHash
        self._digests, self._places = array("I"), array("q")

    def add(self, place: int, words: str) -> None:
        """As `Exact.add`."""
        split = words.split()
        made = self._new(num_perm=_PERMUTATIONS, seed=7)
        made.update([f"{one} {other}" for one, other in pairwise(split)])
        self._digests.extend(made.digest())
        self._places.append(place)

    def repeated(self) -> list[tuple[int, int]]:
        """As `Exact.repeated`; word for word the same ones are among them."""
        if not self._places:
            return []
        digests = np.frombuffer(self._digests, dtype=np.uintc).reshape(-1, _PERMUTATIONS)
        places = np.frombuffer(self._places, dtype=np.int64)
        found: dict[int, int] = {}
        for band in np.split(digests, _BANDS, axis=1):
            keys = np.zeros(len(band), dtype=np.uint64)
            for column in band.T:
                keys = keys * np.uint64(0x9E3779B97F4A7C15) + column
            for later, first in self._candidates(keys):
                if later not in found and (digests[later] == digests[first]).mean() >= _SIMILAR:
                    found[later] = first
        return [(int(places[later]), int(places[first])) for later, first in sorted(found.items())]

    @staticmethod
    def _candidates(keys: Any) -> Iterator[tuple[int, int]]:
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        first = -1
        for at in np.flatnonzero(same).tolist():
            if at == 0 or not same[at - 1]:
                first = int(order[at])
            yield int(order[at + 1]), first


def _later(keys: Any, places: Ids) -> list[tuple[int, int]]:
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    found, first = [], -1
    for at in np.flatnonzero(same).tolist():
        if at == 0 or not same[at - 1]:
            first = int(places[order[at]])
        found.append((int(places[order[at + 1]]), first))
    return sorted(found)


def long_enough(answer: str) -> str | None:
    """Return an answer as it is compared, or None where it is too short to tell."""
    return normal(answer) if answer.count(" ") >= LEAST_WORDS - 1 else None
