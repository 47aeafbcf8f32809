"""Encoders for tokenizers that give ids and no offsets: slow tokenizers of transformers, and any ``str -> list[int]``.

A slow tokenizer's pieces are laid along the text; where they do not spell it (a normaliser changed it), there are no
offsets, and `encode` encodes each answer apart. The contract and the adapters with offsets are in `encoders`.
"""

from __future__ import annotations

import operator
import re
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from svit_datasets.chat.encoders import gaps, overlaps
from svit_datasets.chat.literal import controls_of, one_of
from svit_datasets.chat.offsets import ListedOffsets
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from svit_datasets.chat.offsets import Offsets

__all__ = ["CallableEncoder", "SlowEncoder"]

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # how SentencePiece vocabularies name a byte


class SlowEncoder:
    """A tokenizer of transformers that is written in Python, or stands on SentencePiece.

    Args:
        tokenizer: never changed; tokens added later are not seen.
        keep: added tokens that are tokens in the row's text too.
    """

    _LAZY = ("_added", "_controls", "_literals", "_kept")

    def __init__(self, tokenizer: Any, *, keep: frozenset[str] = frozenset()) -> None:
        self._tokenizer = tokenizer
        self._keep = keep
        self.eos_id: int | None = tokenizer.eos_token_id
        self.pad_id: int | None = tokenizer.pad_token_id

    def encode(self, text: str, data: Sequence[tuple[int, int]]) -> tuple[list[int], Offsets | None]:
        """Encode; see `Encoder`."""
        if any(overlaps(*match.span(), data) for match in self._literals.finditer(text)):
            pieces = [piece for part in self._parts(text, data) for piece in self._pieces(*part)]
        else:
            pieces = self._tokenizer.tokenize(text)
        ids: list[int] = self._tokenizer.convert_tokens_to_ids(pieces)
        return ids, self._aligned(text, pieces)

    def lead(self) -> list[int]:
        """Return what the tokenizer puts in front of a text."""
        plain: list[int] = self._tokenizer.encode("a", add_special_tokens=False)
        whole: list[int] = self._tokenizer.encode("a", add_special_tokens=True)
        at = next((at for at in range(len(whole)) if whole[at : at + len(plain)] == plain), 0)
        return whole[:at]

    def knows(self, token: str) -> bool:
        """Tell whether a control token is one id."""
        return token in self._added or token in self._tokenizer.get_vocab()

    def quoted(self, text: str) -> list[tuple[int, int]]:
        """Return where a text holds the literal of a control token."""
        return [match.span() for match in self._literals.finditer(text)]

    @cached_property
    def _added(self) -> dict[str, int]:
        return {token.content: index for index, token in self._tokenizer.added_tokens_decoder.items()}

    @cached_property
    def _controls(self) -> dict[int, Any]:
        return controls_of(self._tokenizer.added_tokens_decoder, self._keep)

    @cached_property
    def _literals(self) -> re.Pattern[str]:
        return one_of(token.content for token in self._controls.values())

    @cached_property
    def _kept(self) -> re.Pattern[str]:
        return one_of(content for content, index in self._added.items() if index not in self._controls)

    def _parts(self, text: str, data: Sequence[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
        """Cut a text into control tokens of the template (True) and what lies between them."""
        done = 0
        for begin, end in gaps(data, len(text)):
            for match in self._literals.finditer(text, begin, end):
                token = self._controls[self._added[match.group()]]
                before = text[done : match.start()]
                yield before.rstrip() if token.lstrip else before, False
                yield match.group(), True
                done = match.end()
                if token.rstrip:
                    done = len(text) - len(text[done:].lstrip())
        yield text[done:], False

    def _pieces(self, part: str, control: bool) -> list[str]:
        """Tokenize a part; what is no control token gives none, even where the model itself knows the literal."""
        if control:
            return [part]
        pieces: list[str] = []
        done = 0
        for kept in [*self._kept.finditer(part), None]:
            fragment = part[done : kept.start() if kept else len(part)]
            found = self._tokenizer.tokenize(fragment, split_special_tokens=True) if fragment else []
            if not self._controls.keys().isdisjoint(self._tokenizer.convert_tokens_to_ids(found)):
                cuts = [0, *(match.start() + 1 for match in self._literals.finditer(fragment)), len(fragment)]
                halves = (fragment[start:stop] for start, stop in pairwise(cuts))
                found = [one for half in halves for one in self._tokenizer.tokenize(half, split_special_tokens=True)]
            pieces += found
            if kept:
                pieces.append(kept.group())
                done = kept.end()
        return pieces

    def _aligned(self, text: str, pieces: list[str]) -> Offsets | None:
        """Lay pieces along the text; None where they do not spell it."""
        source = text.encode()
        spans: list[tuple[int, int]] = []  # in bytes
        at = 0
        for piece in pieces:
            surface = self._surface(piece)
            if not source.startswith(surface, at):
                if surface.startswith(b" ") and source.startswith(surface[1:], at):
                    surface = surface[1:]  # the blank that SentencePiece puts in front of a text
                elif piece in self._added:
                    at += len(source[at:]) - len(source[at:].lstrip())  # it swallows the blanks before it
            if not source.startswith(surface, at):
                return None
            spans.append((at, at + len(surface)))
            at += len(surface)
            if piece in self._added and self._swallows(piece):
                at += len(source[at:]) - len(source[at:].lstrip())
        if source[at:].strip():
            return None
        character = [0] * len(source)  # of every byte
        for byte in range(1, len(source)):
            character[byte] = character[byte - 1] + ((source[byte] & 0xC0) != 0x80)
        character.append(len(text))
        return ListedOffsets(
            [(character[start], character[stop - 1] + 1 if stop > start else character[start]) for start, stop in spans]
        )

    def _swallows(self, piece: str) -> bool:
        return bool(self._tokenizer.added_tokens_decoder[self._added[piece]].rstrip)

    def _surface(self, piece: str) -> bytes:
        if piece in self._added:
            return piece.encode()
        byte = _BYTE.fullmatch(piece)
        return bytes([int(byte[1], 16)]) if byte else piece.replace("\u2581", " ").encode()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self._LAZY}


class CallableEncoder:
    """Any function from text to ids. It decides by itself which control tokens it sees, in the data too.

    Args:
        function: picklable where the renderer is to be. What it puts in front of every text is recognised and taken
            off; a function that also appends something is refused, as pieces could not be joined.
    """

    eos_id: int | None = None
    pad_id: int | None = None

    def __init__(self, function: Callable[[str], Sequence[int]]) -> None:
        self._function = function
        first, second = self._called("abc"), self._called("xyz")
        common = next(
            (at for at, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), min(len(first), len(second))
        )
        empty = self._called("")
        self._lead = empty if empty == first[: len(empty)] and len(empty) <= common else None
        if self._lead is None:
            raise OptionError(
                f"The function given for a tokenizer encodes an empty text as {empty}, but 'abc' as {first}: it seems "
                "to append a token to every text. Give one that adds no special tokens, or only puts BOS in front."
            )

    def encode(self, text: str, data: Sequence[tuple[int, int]]) -> tuple[list[int], Offsets | None]:  # noqa: ARG002
        """Encode; see `Encoder`. There are no offsets."""
        assert self._lead is not None, "refused when made"
        return self._called(text)[len(self._lead) :], None

    def _called(self, text: str) -> list[int]:
        ids = self._function(text)
        try:
            return [operator.index(token) for token in ids]
        except TypeError as error:
            raise OptionError(
                f"The function given for a tokenizer returns {ids!r} for {text!r}; it must return ids, a list of int."
            ) from error

    def lead(self) -> list[int]:
        """Return what the function puts in front of every text."""
        return list(self._lead or [])

    def knows(self, token: str) -> bool:
        """Tell whether a control token is one id."""
        return len(self.encode(token, ())[0]) == 1

    def quoted(self, text: str) -> list[tuple[int, int]]:  # noqa: ARG002
        """Return nothing: what such a function takes for a control token cannot be known."""
        return []
