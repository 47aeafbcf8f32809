"""Text in, token ids out, with where each token stands: one adapter for every kind of tokenizer.

Control tokens are recognised in what the template wrote and nowhere else: inside ``data``, the text of the row, a
literal such as ``</s>``, ``<|im_end|>`` or ``</think>`` is encoded as the characters it consists of, so that no row can
close its own turn or place an image. Where the data holds no such literal, which is nearly always, the ids are those of
the plain tokenizer on the whole text.

Nothing here imports a tokenizer library: `targets` chooses the adapter, and the object that the user gave works in it.
`encode` makes masks of the offsets; slow and unknown tokenizers are in `slow`, those of mistral-common in `mistral`.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Any, Protocol

from svit_datasets.chat.literal import PRIVATE, controls_of, one_of, renamed
from svit_datasets.chat.offsets import ByteOffsets, FastOffsets, ListedOffsets

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence

    from svit_datasets.chat.offsets import Offsets

__all__ = ["Encoder", "FastEncoder", "TiktokenEncoder", "gaps", "overlaps"]

_SEGMENTS = 1024  # pieces of template text whose control tokens are remembered; a template has about five


class Encoder(Protocol):
    """What `encode` asks of a tokenizer. Adapters are picklable and keep no state that changes a result."""

    pad_id: int | None
    eos_id: int | None

    def encode(self, text: str, data: Sequence[tuple[int, int]]) -> tuple[list[int], Offsets | None]:
        """Return the ids of a text, and for each id the characters it stands for.

        Nothing is added in front or behind. Where a character takes several tokens, each has its offsets. A control
        token's offsets are its literal alone, without blanks that the tokenizer lets it swallow. None instead of
        offsets where the tokenizer cannot tell.

        Args:
            text: what a template wrote.
            data: which parts of it came from the row, (start, stop), in order and apart.
        """

    def lead(self) -> list[int]:
        """Return what the tokenizer puts in front of any text by itself, BOS as a rule; empty for none."""

    def knows(self, token: str) -> bool:
        """Tell whether a control token is one id."""

    def quoted(self, text: str) -> list[tuple[int, int]]:
        """Return where a row's text holds the literal of a control token: (start, stop), in order and apart."""


def gaps(data: Sequence[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """Yield what lies between the parts of a text that came from the row: the template's own text, in order."""
    at = 0
    for start, stop in data:
        if start > at:
            yield at, start
        at = max(at, stop)
    if at < length:
        yield at, length


def overlaps(start: int, stop: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Tell whether the characters start to stop share one with any of the spans, which are in order and apart."""
    before = bisect_right(spans, (stop - 1, float("inf"))) - 1  # the last span that begins before stop
    return before >= 0 and spans[before][1] > start


class FastEncoder:
    """A ``tokenizers.Tokenizer``, which is also what stands behind every fast tokenizer of transformers.

    The tokenizer is used as it is when the encoder is made; tokens added later are not seen.

    Args:
        tokenizer: never changed; truncation and padding that are set on it have no effect here.
        keep: added tokens that are tokens in the row's text too, such as those of a box convention.
        eos_token: the end of a text, if known.
        pad_token: what fills a batch, if known.
    """

    _LAZY = ("_controls", "_stripping", "_unknown", "_clean", "_lead", "_copy", "_segments")

    def __init__(
        self,
        tokenizer: Any,
        *,
        keep: frozenset[str] = frozenset(),
        eos_token: str | None = None,
        pad_token: str | None = None,
    ) -> None:
        self._given = tokenizer
        self._keep = keep
        self.eos_id: int | None = tokenizer.token_to_id(eos_token) if eos_token else None
        self.pad_id: int | None = tokenizer.token_to_id(pad_token) if pad_token else None
        self._segments: dict[str, list[tuple[int, int, int]]] = {}

    def encode(self, text: str, data: Sequence[tuple[int, int]]) -> tuple[list[int], Offsets | None]:
        """Encode; see `Encoder`. A text that quotes a control token takes a second pass, through a copy made once."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        ids: list[int] = encoded.ids
        cores = {}
        spans = iter((*data, (len(text) + 1, len(text) + 1)))
        begin, end = next(spans)
        for position in compress(range(len(ids)), map(self._controls.__contains__, ids)):
            start, stop = where = encoded.token_to_chars(position)
            if ids[position] in self._stripping:
                start, stop = where = cores[position] = self._core(text, *where)
            while end <= start:
                begin, end = next(spans)
            if begin < stop and not self._is_unknown(ids[position], text[start:stop]):
                return self._literal(text, data)
        return ids, FastOffsets(encoded, cores)

    def lead(self) -> list[int]:
        """Return what the post-processor puts in front."""
        return list(self._lead)

    def knows(self, token: str) -> bool:
        """Tell whether a control token is one id."""
        return self._given.token_to_id(token) is not None

    def quoted(self, text: str) -> list[tuple[int, int]]:
        """Return where a text holds the literal of a control token."""
        return [(start, stop) for start, stop, _ in self._found(text)]

    @property
    def _tokenizer(self) -> Any:
        """The tokenizer that was given; a copy while transformers or the user has truncation or padding set on it."""
        given = self._given
        return self._clean if given.truncation or given.padding or given.encode_special_tokens else given

    @cached_property
    def _clean(self) -> Any:
        clean = type(self._given).from_str(self._given.to_str())
        clean.no_truncation()
        clean.no_padding()
        return clean

    @cached_property
    def _controls(self) -> dict[int, Any]:
        return controls_of(self._given.get_added_tokens_decoder(), self._keep)

    @cached_property
    def _unknown(self) -> str | None:
        return getattr(self._given.model, "unk_token", None)

    def _is_unknown(self, token: int, written: str) -> bool:
        """Tell an id that stands for what the vocabulary lacks from the literal of that token."""
        content: str = self._controls[token].content
        return content == self._unknown != written

    @cached_property
    def _stripping(self) -> frozenset[int]:
        return frozenset(index for index, token in self._controls.items() if token.lstrip or token.rstrip)

    @cached_property
    def _lead(self) -> list[int]:
        encoded = self._tokenizer.encode("a", add_special_tokens=True)
        marks: list[int] = encoded.special_tokens_mask
        return list(encoded.ids[: marks.index(0)]) if 0 in marks else []

    @staticmethod
    def _core(text: str, start: int, stop: int) -> tuple[int, int]:
        """Leave out the blanks round a control token that swallows them."""
        literal = text[start:stop]
        left = len(literal) - len(literal.lstrip())
        return start + left, max(start + left, start + len(literal.rstrip()))

    def _literal(self, text: str, data: Sequence[tuple[int, int]]) -> tuple[list[int], Offsets | None]:
        """Encode a text whose data quotes control tokens: the template's own get names that the data cannot hold."""
        copy, names = self._renamed_for(text)
        pieces: list[str] = []
        origin: list[int] = []  # for every character of what is encoded, the character of the text that it stands for
        done = 0
        for begin, end in gaps(data, len(text)):
            for start, stop, token in self._in_segment(text[begin:end]):
                pieces += text[done : begin + start], names[token]
                origin += range(done, begin + start)
                origin += [begin + start] * len(names[token])
                done = begin + stop
        pieces.append(text[done:])
        origin += range(done, len(text) + 1)
        encoded = copy.encode("".join(pieces), add_special_tokens=False)
        offsets = [(origin[start], origin[stop]) for start, stop in encoded.offsets]
        for position, token in enumerate(encoded.ids):
            if token in self._stripping:
                offsets[position] = self._core(text, *offsets[position])
        return encoded.ids, ListedOffsets(offsets)

    def _in_segment(self, segment: str) -> list[tuple[int, int, int]]:
        """Return the control tokens of a piece of template text: (start, stop, id)."""
        found = self._segments.get(segment)
        if found is None:
            found = self._found(segment)
            if len(self._segments) < _SEGMENTS:
                self._segments[segment] = found
        return found

    def _found(self, text: str) -> list[tuple[int, int, int]]:
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return [
            (*self._core(text, *where), token)
            for token, where in zip(encoded.ids, encoded.offsets, strict=True)
            if token in self._controls
        ]

    def _renamed_for(self, text: str) -> tuple[Any, dict[int, str]]:
        """Return the copy and its names; another one where the text holds the character that names begin with."""
        copy: tuple[Any, dict[int, str], str] | None = self.__dict__.get("_copy")
        if copy is None or copy[2] in text:
            first = next(chr(code) for code in PRIVATE if chr(code) not in text)
            names = {index: first + chr(0x100000 + order) for order, index in enumerate(sorted(self._controls))}
            by_content = {self._controls[index].content: name for index, name in names.items()}
            made = type(self._given).from_str(renamed(self._given.to_str(), by_content))
            assert all(made.token_to_id(name) == index for index, name in names.items()), "a renamed token keeps its id"
            copy = self.__dict__["_copy"] = (made, names, first)
        return copy[0], copy[1]

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in self._LAZY}
        return {**state, "_given": self._tokenizer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _segments={})


class TiktokenEncoder:
    """A ``tiktoken.Encoding``. Its special tokens are its control tokens; it puts nothing in front of a text.

    Args:
        encoding: never changed.
        keep: special tokens that are tokens in the row's text too.
    """

    _LAZY = ("_lengths", "_special")

    def __init__(self, encoding: Any, *, keep: frozenset[str] = frozenset()) -> None:
        self._encoding = encoding
        self._keep = keep
        known = encoding.special_tokens_set
        self.eos_id: int | None = encoding.eot_token if "<|endoftext|>" in known else None
        self.pad_id: int | None = None

    def encode(self, text: str, data: Sequence[tuple[int, int]]) -> tuple[list[int], Offsets | None]:
        """Encode; see `Encoder`. tiktoken cuts a text at its special tokens: pieces may as well come one by one."""
        if any(overlaps(*match.span(), data) for match in self._special.finditer(text)):
            ids = self._literal(text, data)
        else:
            ids = self._encoding.encode(text, allowed_special="all")
        return ids, ByteOffsets(text, map(self._lengths.__getitem__, ids))

    def lead(self) -> list[int]:
        """Return nothing: tiktoken adds no token by itself."""
        return []

    def knows(self, token: str) -> bool:
        """Tell whether a control token is one id."""
        return token in self._encoding.special_tokens_set

    def quoted(self, text: str) -> list[tuple[int, int]]:
        """Return where a text holds the literal of a special token."""
        return [match.span() for match in self._special.finditer(text)]

    @cached_property
    def _special(self) -> re.Pattern[str]:
        return one_of(self._encoding.special_tokens_set - self._keep)

    @cached_property
    def _lengths(self) -> list[int]:
        """The bytes of every token, by id."""
        lengths = [0] * self._encoding.n_vocab
        for token in range(len(lengths)):
            with suppress(KeyError):  # ids between the ranks and the special tokens are not used
                lengths[token] = len(self._encoding.decode_single_token_bytes(token))
        return lengths

    def _literal(self, text: str, data: Sequence[tuple[int, int]]) -> list[int]:
        ids: list[int] = []
        done = 0
        for begin, end in gaps(data, len(text)):
            for match in self._special.finditer(text, begin, end):
                ids += self._ordinary(text[done : match.start()])
                ids.append(self._encoding.encode_single_token(match.group()))
                done = match.end()
        return ids + self._ordinary(text[done:])

    def _ordinary(self, text: str) -> list[int]:
        ids: list[int] = self._encoding.encode(text, allowed_special=set(self._keep), disallowed_special=())
        return ids

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self._LAZY}
