"""Where the tokens of a text stand in it, in characters; and which tokens stand for a piece of it.

A list of pairs would do, but making it takes a tenth of a fast tokenizer's time, and a mask asks for a dozen places
only. So each kind of encoder keeps what its tokenizer gave, and looks up what is asked.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["ByteOffsets", "FastOffsets", "ListedOffsets", "Offsets"]


class Offsets(Sequence[tuple[int, int]]):
    """(start, stop) of each token, in characters, 0-based; neither decreases from token to token."""

    @abstractmethod
    def tokens(self, start: int, stop: int) -> tuple[int, int]:
        """Return (first, behind the last) of the tokens that share a character with start to stop; empty for none."""

    @abstractmethod
    def _at(self, index: int) -> tuple[int, int]: ...

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        positions = range(len(self))[index]
        return self._at(positions) if isinstance(positions, int) else [self._at(position) for position in positions]


class ListedOffsets(Offsets):
    """Offsets that are written out."""

    def __init__(self, offsets: list[tuple[int, int]]) -> None:
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def _at(self, index: int) -> tuple[int, int]:
        return self._offsets[index]

    def tokens(self, start: int, stop: int) -> tuple[int, int]:
        """Return the tokens that share a character with start to stop."""
        first = bisect_right(self._offsets, start, key=lambda where: where[1])
        behind = bisect_left(self._offsets, stop, lo=first, key=lambda where: where[0])
        return first, behind if stop > start else first


class FastOffsets(Offsets):
    """Offsets inside a ``tokenizers.Encoding``.

    Args:
        encoding: of one text.
        cores: the offsets of tokens that swallowed blanks, without these.
    """

    def __init__(self, encoding: Any, cores: Mapping[int, tuple[int, int]]) -> None:
        self._encoding = encoding
        self._cores = cores

    def __len__(self) -> int:
        return len(self._encoding)

    def _at(self, index: int) -> tuple[int, int]:
        where: tuple[int, int] = self._cores.get(index) or self._encoding.token_to_chars(index)
        return where

    def tokens(self, start: int, stop: int) -> tuple[int, int]:
        """Return the tokens that share a character with start to stop."""
        token_of, chars_of = self._encoding.char_to_token, self._encoding.token_to_chars
        at, first = start, None
        while first is None and at < stop:  # some characters, blanks above all, may have no token
            first = token_of(at)
            at += 1
        if first is None:
            return 0, 0
        at, last = stop - 1, None
        while last is None:
            last = token_of(at)
            at -= 1
        count = len(self._encoding)
        while last + 1 < count and chars_of(last + 1)[0] < stop:  # a character may take several
            last += 1
        if self._cores:
            while first <= last and self._at(first)[1] <= start:  # it swallowed a blank of this piece, no more
                first += 1
            while first <= last and self._at(last)[0] >= stop:
                last -= 1
        return first, last + 1


class ByteOffsets(Offsets):
    """Offsets of tokens that are known by their lengths in bytes, of a text's UTF-8."""

    def __init__(self, text: str, lengths: Iterable[int]) -> None:
        self._text = text
        self._ends = list(accumulate(lengths))
        self._ascii = text.isascii()

    def __len__(self) -> int:
        return len(self._ends)

    def _at(self, index: int) -> tuple[int, int]:
        start, stop = self._ends[index - 1] if index else 0, self._ends[index]
        if self._ascii:
            return start, stop
        source = self._text.encode()
        while start and source[start] & 0xC0 == 0x80:  # inside a character
            start -= 1
        while stop < len(source) and source[stop] & 0xC0 == 0x80:
            stop += 1
        return len(source[:start].decode()), len(source[:stop].decode())

    def tokens(self, start: int, stop: int) -> tuple[int, int]:
        """Return the tokens that share a character with start to stop."""
        if stop <= start:
            return 0, 0
        if not self._ascii:
            start, stop = len(self._text[:start].encode()), len(self._text[:stop].encode())
        return bisect_right(self._ends, start), bisect_left(self._ends, stop) + 1
