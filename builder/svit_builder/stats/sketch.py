"""Hashes in, how many different ones there were out, in bounded memory; and image ids as runs.

The sketch keeps the 16,384 smallest hashes (k minimum values: Bar-Yossef et al., RANDOM 2002; the estimate is that of
Beyer et al., SIGMOD 2007). As long as there are no more than that, it has them all and counts exactly. Beyond, the
estimate's standard error is 1/sqrt(k - 2), 0.8 %. Which hashes are kept does not depend on order or on how the data
was cut, so the sketches of shards unite to that of the whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    Hashes = np.ndarray[Any, np.dtype[np.uint64]]

__all__ = ["KEPT", "Sketch", "SketchWriter", "hash_text", "ids_of", "runs_of", "united"]

KEPT = 1 << 14  # hashes, 128 KiB a sketch; up to so many different things are counted exactly


def hash_text(text: str) -> int:
    """Return 64 bits of a text's BLAKE2b, the same in every process; never 0."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1


@dataclass(frozen=True, slots=True)
class Sketch:
    """How many different things there were."""

    hashes: bytes = b""  # the smallest ones, little-endian uint64, ascending, each once

    @property
    def exact(self) -> bool:
        """Whether the count is exact."""
        return len(self.hashes) < 8 * KEPT

    @property
    def count(self) -> int:
        """The number of different things; within about 0.8 % (one standard error) where it is not exact."""
        if self.exact:
            return len(self.hashes) // 8
        largest = int.from_bytes(self.hashes[-8:], "little")
        return round((KEPT - 1) * 2.0**64 / (largest + 1))

    def __or__(self, other: Sketch) -> Sketch:
        """Return the sketch of both together."""
        return Sketch(_smallest(np.concatenate([_array(self), _array(other)])).astype("<u8").tobytes())


class SketchWriter:
    """Takes hashes, many at a time, and gives their sketch. Holds at most two times `KEPT` hashes and one batch."""

    def __init__(self) -> None:
        self._kept: Hashes = np.zeros(0, np.uint64)
        self._fresh: list[Hashes] = []
        self._waiting = 0  # hashes in _fresh

    def add(self, hashes: Hashes) -> None:
        """Add hashes, in any order, the same ones as often as they come."""
        if len(self._kept) == KEPT:
            hashes = hashes[hashes < self._kept[-1]]
        self._fresh.append(hashes)
        self._waiting += len(hashes)
        if self._waiting >= KEPT:
            self._fold()

    def sketch(self) -> Sketch:
        """Return the sketch of what was added so far."""
        self._fold()
        return Sketch(self._kept.astype("<u8").tobytes())

    def _fold(self) -> None:
        self._kept = _smallest(np.concatenate([self._kept, *self._fresh]))
        self._fresh, self._waiting = [], 0


def _array(sketch: Sketch) -> Hashes:
    return np.frombuffer(sketch.hashes, "<u8").astype(np.uint64)


def _smallest(hashes: Hashes) -> Hashes:
    return np.unique(hashes)[:KEPT]


# Image ids ------------------------------------------------------------------------------------------------------------


Runs = tuple[tuple[int, int], ...]  # (first, behind the last) of ids without a gap, ascending and apart


def runs_of(ids: Iterable[int] | np.ndarray[Any, np.dtype[np.int64]]) -> Runs:
    """Return ids as runs. Nearly all of Visual Genome's follow one another, so that this is short.

    Example:
        >>> runs_of([7, 1, 2, 3, 2])
        ((1, 4), (7, 8))
    """
    array = np.unique(np.fromiter(ids, np.int64))
    if not len(array):
        return ()
    cuts = np.flatnonzero(np.diff(array) > 1)
    firsts, lasts = array[np.append(0, cuts + 1)], array[np.append(cuts, len(array) - 1)]
    return tuple(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))


def ids_of(runs: Runs) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the ids of runs, ascending."""
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(first, stop) for first, stop in runs)])


def united(*parts: Runs) -> Runs:
    """Return the runs of all ids of some runs."""
    return runs_of(np.concatenate([np.zeros(0, np.int64), *map(ids_of, parts)]))
