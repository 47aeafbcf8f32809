"""A rendered chat and an encoder in; ids, and which of them are to be learned, out.

`answers` says which characters are learned, `tokens` encodes and says which ids those are, `fitted` leaves out rounds,
`labelled` makes the four lists. What encodes by itself, a processor or mistral-common, uses these and `token_range`.
Text comes from `spans` or `mistral`, encoders from `targets`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from svit_datasets.chat.encoders import gaps
from svit_datasets.chat.spans import Span, Turn
from svit_datasets.errors import EncodeError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from svit_datasets.chat.encoders import Encoder
    from svit_datasets.chat.offsets import Offsets
    from svit_datasets.chat.spans import Rendered

__all__ = [
    "BOS",
    "BOUNDARIES",
    "IGNORED",
    "SCOPES",
    "Encoded",
    "answers",
    "encode",
    "fitted",
    "labelled",
    "token_range",
    "tokens",
    "unknown_controls",
    "with_eos",
    "without_controls",
]

_T = TypeVar("_T")

SCOPES = ("reply", "content", "template")
BOUNDARIES = ("overlap", "split")
BOS = ("auto", "template")
IGNORED = -100  # the label that losses leave out
# What looks like a control token. "[INST]" and "<<SYS>>" are plain text for Llama 2, for which they were made.
_CONTROL = re.compile(
    r"<\|[^<>|\s]{1,60}\|?>|<[^<>|\s]{1,60}\|>|(?<!<)</?[^<>\s/|]{1,60}>(?!>)|\[/?(?!INST\])[A-Z_]{2,40}\]"
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """The ids of a chat, and which of them are learned."""

    ids: list[int]
    learned: list[tuple[int, int]]  # (first, behind the last) id of each answer, in order and apart


def encode(
    rendered: Rendered,
    encoder: Encoder,
    *,
    scope: str = "reply",
    boundary: str = "overlap",
    bos: str = "auto",
    max_length: int | None = None,
    fewer: Callable[[int], Rendered] | None = None,
) -> dict[str, list[int]]:
    """Return ``input_ids``, ``attention_mask``, ``assistant_mask`` and ``labels`` of a chat: four lists of one length.

    ``labels`` are the ids of what is learned, and -100 elsewhere; on image placeholders always.

    Args:
        rendered: the chat as text.
        encoder: of the tokenizer that the ids are for.
        scope: "reply" learns answers with their end-of-turn tokens, "content" answers alone, "template" what the
            template's own generation tags enclose.
        boundary: "overlap" encodes the text as one, and a token is learned if it stands for a character that is; so
            the token at a border may stand for a neighbour of the answer too. "split" encodes what is learned apart
            from the rest, so that the border is exact, as it is when a model continues a prompt. Where an encoder has
            no offsets for a text, it is split.
        bos: "auto" puts in front what the tokenizer would, if the template wrote no BOS; "template" adds nothing.
        max_length: ids at most; rounds are dropped from the end until it holds, and never part of one.
        fewer: renders the same chat with so many rounds only; needed with ``max_length``.

    Raises:
        EncodeError: an answer has no token, nothing is to be learned, or not even one round fits ``max_length``.
        OptionError: an option has no such value.
    """

    def encoded(some: Rendered) -> tuple[Rendered, Encoded]:
        return some, tokens(some, encoder, scope=scope, boundary=boundary, bos=bos)

    return labelled(fitted(rendered, encoded, max_length, fewer))


def fitted(
    chat: _T,
    encoded: Callable[[_T], tuple[Rendered, Encoded]],
    max_length: int | None,
    fewer: Callable[[int], _T] | None,
) -> Encoded:
    """Encode a chat, with the most rounds that fit ``max_length`` ids.

    Args:
        chat: with all its rounds, in any form that ``encoded`` takes.
        encoded: renders and encodes.
        max_length: None for no limit.
        fewer: gives the chat with its first so many rounds.

    Raises:
        EncodeError: a round that holds an image would have to go, or not even one round fits.
    """
    rendered, whole = encoded(chat)
    length = len(whole.ids)
    if max_length is None or length <= max_length:
        return whole
    rounds = sum(turn.role == "assistant" for turn in rendered.turns)
    guess = sum(behind <= max_length for _, behind in whole.learned)  # answers that end before the limit
    if fewer is None:
        raise EncodeError(f"The chat has {length} ids, which is more than max_length={max_length}.")
    for keep in range(min(max(guess, 1), rounds - 1), 0, -1):
        some, shorter = encoded(fewer(keep))
        if len(some.images) < len(rendered.images):
            raise EncodeError(
                f"The chat has {length} ids, and to fit max_length={max_length} the round with its image would have to "
                "go. Raise max_length."
            )
        length = len(shorter.ids)
        if length <= max_length:
            return shorter
    raise EncodeError(
        f"The first round alone has {length} ids, which is more than max_length={max_length}. Raise max_length, or "
        "leave such rows out."
    )


def labelled(encoded: Encoded, ignored: Iterable[tuple[int, int]] = ()) -> dict[str, list[int]]:
    """Return the four lists; ids in ``ignored`` (first, behind the last) are never learned."""
    ids = encoded.ids
    mask, labels = [0] * len(ids), [IGNORED] * len(ids)
    for first, behind in encoded.learned:
        mask[first:behind] = [1] * (behind - first)
        labels[first:behind] = ids[first:behind]
    for first, behind in ignored:
        mask[first:behind] = [0] * (behind - first)
        labels[first:behind] = [IGNORED] * (behind - first)
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "assistant_mask": mask, "labels": labels}


def answers(rendered: Rendered, scope: str) -> list[Span]:
    """Return which characters are learned, in order and apart; image placeholders are left out.

    Raises:
        EncodeError: there are none: the chat has no answer, or the template no generation tags.
    """
    _check("scope", scope, SCOPES)
    if scope == "template":
        spans = [Span(*span) for span in rendered.generation]
        if not spans:
            raise EncodeError(
                'scope="template" learns what the template marks with {% generation %}, and this one marks nothing. '
                'Take scope="reply" (the default) or "content", which need no marks.'
            )
    else:
        replies = (turn for turn in rendered.turns if turn.role == "assistant")
        spans = [Span(turn.start, turn.stop_end if scope == "reply" else turn.end) for turn in replies]
        if not spans:
            raise EncodeError("The chat has no answer, so there is nothing to learn. Leave such rows out.")
    if rendered.images and any(start < spans[-1].stop and stop > spans[0].start for start, stop in rendered.images):
        spans = [
            Span(span.start + start, span.start + stop)
            for span in spans
            for start, stop in gaps(_inside(rendered.images, *span), span.stop - span.start)
        ]
    return spans


def tokens(
    rendered: Rendered, encoder: Encoder, *, scope: str = "reply", boundary: str = "overlap", bos: str = "auto"
) -> Encoded:
    """Encode a chat; for the arguments and errors see `encode`."""
    _check("boundary", boundary, BOUNDARIES)
    _check("bos", bos, BOS)
    spans = answers(rendered, scope)
    offsets: Offsets | None = None
    if boundary == "overlap":
        ids, offsets = encoder.encode(rendered.text, rendered.data)
    if offsets is not None:
        learned = [offsets.tokens(*span) for span in spans]
    else:
        ids, learned = _apart(rendered, encoder, spans)
    for (first, behind), span in zip(learned, spans, strict=True):
        if first >= behind:
            raise EncodeError(_no_token(rendered, span))
    lead = encoder.lead() if bos == "auto" else []
    if lead and lead[0] not in _opening(rendered, encoder, ids, offsets):
        ids = lead + ids
        learned = [(first + len(lead), behind + len(lead)) for first, behind in learned]
    return Encoded(ids, learned)


def token_range(offsets: Offsets, start: int, stop: int) -> tuple[int, int]:
    """Return (first, behind the last) of the tokens that share a character with start to stop; empty for none."""
    return offsets.tokens(start, stop)


def _opening(rendered: Rendered, encoder: Encoder, ids: list[int], offsets: Offsets | None) -> list[int]:
    """Return the ids in front of the first message; BOS is there, if the template writes it."""
    start = rendered.turns[0].start
    if offsets is not None:
        return ids[: offsets.tokens(0, start)[1]]
    return encoder.encode(rendered.text[:start], _inside(rendered.data, 0, start))[0]


def _apart(rendered: Rendered, encoder: Encoder, spans: Sequence[Span]) -> tuple[list[int], list[tuple[int, int]]]:
    """Encode what is learned and what lies between each by itself."""
    cuts = sorted({0, len(rendered.text), *(at for span in spans for at in span)})
    starts = {span.start for span in spans if span.stop > span.start}
    ids: list[int] = []
    learned: dict[int, tuple[int, int]] = {}
    for start, stop in pairwise(cuts):
        piece, _ = encoder.encode(rendered.text[start:stop], _inside(rendered.data, start, stop))
        if start in starts:
            learned[start] = len(ids), len(ids) + len(piece)
        ids += piece
    return ids, [learned.get(span.start, (0, 0)) if span.stop > span.start else (0, 0) for span in spans]


def _inside(spans: Sequence[tuple[int, int]], start: int, stop: int) -> list[Span]:
    """Return the parts of spans that lie between start and stop, counted from start."""
    return [Span(max(a, start) - start, min(b, stop) - start) for a, b in spans if a < stop and b > start]


def with_eos(rendered: Rendered, eos_token: str) -> Rendered:
    """Write the end-of-text token behind each answer that the template does not end, and count it to the answer."""
    ends = [turn.end for turn in rendered.turns if turn.role == "assistant" and turn.stop_end == turn.end]
    if not ends:
        return rendered

    def moved(at: int, *, opens: bool) -> int:  # what begins where a token is put begins behind it
        return at + len(eos_token) * (bisect_right(ends, at) if opens else bisect_left(ends, at))

    def shift(spans: Iterable[tuple[int, int]]) -> tuple[Span, ...]:
        return tuple(Span(moved(start, opens=stop > start), moved(stop, opens=False)) for start, stop in spans)

    turns = []
    for turn in rendered.turns:
        unended = turn.role == "assistant" and turn.stop_end == turn.end
        start, end = moved(turn.start, opens=turn.end > turn.start), moved(turn.end, opens=False)
        stop_end = end + len(eos_token) if unended else moved(turn.stop_end, opens=False)
        turns.append(Turn(turn.role, start, end, stop_end))
    cuts = [0, *ends, len(rendered.text)]
    text = eos_token.join(rendered.text[start:stop] for start, stop in pairwise(cuts))
    return replace(
        rendered,
        text=text,
        turns=tuple(turns),
        images=shift(rendered.images),
        data=shift(rendered.data),
        generation=shift(rendered.generation),
    )


def without_controls(text: str, encoder: Encoder) -> str:
    """Return a row's text without the literals of the tokenizer's control tokens; removing one may not make another."""
    found = encoder.quoted(text)
    while found:
        text = "".join(text[start:stop] for start, stop in gaps(found, len(text)))
        found = encoder.quoted(text)
    return text


def unknown_controls(rendered: Rendered, encoder: Encoder) -> list[str]:
    """Return what the template writes in the form of a control token, and the tokenizer does not have as one token.

    A model learns nothing useful of such a literal: it comes as many ids, and generation does not stop at it.
    """
    template = "\n".join(rendered.text[start:stop] for start, stop in gaps(rendered.data, len(rendered.text)))
    return sorted({literal for literal in _CONTROL.findall(template) if not encoder.knows(literal)})


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise OptionError(f"{option}={value!r} is none of {', '.join(map(repr, allowed))}.")


def _no_token(rendered: Rendered, span: Span) -> str:
    number = sum(turn.role == "assistant" and turn.start <= span.start for turn in rendered.turns)
    return (
        f"Answer {number} of the chat, {rendered.text[span.start : span.stop]!r}, has no token that could be learned. "
        'Leave such rows out, or take scope="reply" with a template that ends its answers, or stop="eos".'
    )
