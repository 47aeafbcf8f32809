"""Words and names in, counts of the frequent ones out, in bounded memory; n-grams as hashes."""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.stats.sketch import SketchWriter, hash_text
from svit_builder.stats.statistics import Variety

if TYPE_CHECKING:
    from collections.abc import Iterable

    from svit_builder.stats.sketch import Hashes

__all__ = ["MOST", "Ngrams", "Spellings", "Table", "Things", "first_words", "hash_words", "sorted_counts"]

MOST = 50_000  # entries that are left of a table when it has twice as many
_LONGEST = 200  # characters of an entry; what is longer is cut
_SPELLINGS = 250_000  # whose hashes are remembered; that of another is made again each time
_BATCH = 1 << 16  # words whose n-grams are made at once
_EDGES = ".,;:!?\"'()[]{}<>*`…“”‘’„«»-–—/\\|~_#"  # noqa: RUF001 - quotation marks and dashes are meant
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def first_words(spellings: Iterable[str], most: int) -> list[str]:
    """Return the first words among what stands between spaces: without punctuation at their ends, in lower case."""
    words: list[str] = []
    for spelling in spellings:
        if word := _word(spelling):
            words.append(word)
            if len(words) == most:
                break
    return words


def hash_words(hashes: list[int]) -> int:
    """Return 64 bits for a sequence of words, given by their hashes."""
    return int.from_bytes(hashlib.blake2b(array("Q", hashes).tobytes(), digest_size=8).digest())


def sorted_counts(counts: dict[Any, int]) -> dict[Any, int]:
    """Return counts in the order of their keys, so that equal ones are written equally."""
    return dict(sorted(counts.items()))


class Spellings(dict[str, int]):
    """The hash of the word in a spelling such as ``"Yes,``; 0 where it holds none, as in ``--``."""

    def __missing__(self, spelling: str) -> int:
        """Make the hash, and keep it while there is room."""
        word = _word(spelling)
        value = hash_text(word) if word else 0
        if len(self) < _SPELLINGS and len(spelling) <= _LONGEST:
            self[spelling] = value
        return value


class Table:
    """Counts names; when there are 100,000, the rarer half is put together.

    Args:
        by_words: a rare entry is counted with its words but the last; else all rare ones are counted as "".
    """

    def __init__(self, *, by_words: bool = False) -> None:
        self.counts: dict[str, int] = {}
        self._by_words = by_words

    def add(self, name: str) -> None:
        """Count a name."""
        name = name[:_LONGEST]
        self.counts[name] = self.counts.get(name, 0) + 1
        if len(self.counts) >= 2 * MOST:
            self._fold()

    def _fold(self) -> None:
        ordered = sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))
        self.counts = dict(ordered[:MOST])
        for name, count in ordered[MOST:]:
            shorter = name.rpartition(" ")[0] if self._by_words else ""
            self.counts[shorter] = self.counts.get(shorter, 0) + count


class Things:
    """Counts hashes, and how many different ones there are."""

    def __init__(self) -> None:
        self._total = 0
        self._fresh = array("Q")
        self._writer = SketchWriter()

    def add(self, value: int) -> None:
        """Count one."""
        self._fresh.append(value)
        if len(self._fresh) >= _BATCH:
            self._flush()

    def variety(self) -> Variety:
        """Return what was counted so far."""
        self._flush()
        return Variety(self._total, self._writer.sketch())

    def _flush(self) -> None:
        self._total += len(self._fresh)
        self._writer.add(np.array(self._fresh, dtype=np.uint64))
        self._fresh = array("Q")


class Ngrams:
    """Counts one, two and three words that stand together in a text."""

    def __init__(self) -> None:
        self._totals = [0, 0, 0]
        self._fresh = array("Q")
        self._writers = SketchWriter(), SketchWriter(), SketchWriter()

    def add(self, words: list[int]) -> None:
        """Count a text.

        Args:
            words: their hashes, none of them 0.
        """
        self._fresh.extend(words)
        self._fresh.append(0)  # nothing stands together across the end of a text
        if len(self._fresh) >= _BATCH:
            self._flush()

    def varieties(self) -> tuple[Variety, Variety, Variety]:
        """Return what was counted so far, of one, two and three words."""
        self._flush()
        one, two, three = (
            Variety(total, writer.sketch()) for total, writer in zip(self._totals, self._writers, strict=True)
        )
        return one, two, three

    def _flush(self) -> None:
        words = np.array(self._fresh, dtype=np.uint64)
        self._fresh = array("Q")
        joined, whole = words, words != 0
        for number in range(3):
            if number:
                whole = whole[:-1] & (words[number:] != 0)
                joined = _mixed(joined[:-1]) + words[number:]
            self._totals[number] += int(np.count_nonzero(whole))
            some = joined[whole]
            self._writers[number].add(_mixed(some) if number else some)


def _word(spelling: str) -> str:
    return spelling.strip(_EDGES).lower()


def _mixed(values: Hashes) -> Hashes:
    """Return well spread 64 bits for each: the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    values = values + _ODD[0]
    values = (values ^ (values >> np.uint64(30))) * _ODD[1]
    values = (values ^ (values >> np.uint64(27))) * _ODD[2]
    return values ^ (values >> np.uint64(31))
