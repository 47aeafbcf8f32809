"""What a template writes round contents: its control tokens, ends of turns, image placeholder, system text of its own.

Pure functions of rendered text; `probe` does the renders.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Stops", "alike", "between", "bos_place", "controls", "default_system", "image_text", "stops"]

# What control tokens look like: <|im_end|>, <|turn>, <turn|>, <start_of_turn>, </s>, <<SYS>>, [/INST], [|user|] …
_CONTROL = re.compile(
    r"<[|｜][^<>\s]{1,80}?[|｜]?>|<</?[A-Z]+>>|<(?!/?think)/?[^\W\d][\w.:-]{0,60}[|｜]?>"  # noqa: RUF001 - DeepSeek's
    r"|\[/?[A-Za-z_]{3,40}\]|\[\|[^\[\]|\s]{1,40}\|\]"
)
_LEAK = re.compile(r"""['"]type['"]: *['"](?:text|image)['"]""")  # a list of parts, printed as Python or JSON prints it


class Stops(NamedTuple):
    """Control tokens behind answers; None where there is none."""

    inner: str | None  # behind an answer that a question follows
    last: str | None


def between(text: str, contents: Sequence[str]) -> list[str] | None:
    """Return what stands before, between and behind contents; None if not each is there once and in order."""
    pieces, end = [], 0
    for content in contents:
        start = text.find(content, end)
        if start < 0 or text.count(content) != 1:
            return None
        pieces.append(text[end:start])
        end = start + len(content)
    return None if _LEAK.search(text) else [*pieces, text[end:]]


def controls(text: str, special: Iterable[str] = ()) -> list[str]:
    """Return the control tokens in text that a template wrote, in order, repeated as they are."""
    known = [re.escape(token) for token in sorted(special, key=len, reverse=True) if token and not token.isspace()]
    pattern = re.compile("|".join([*known, _CONTROL.pattern])) if known else _CONTROL
    return pattern.findall(text)


def stops(lead: str, answered: str, asked: str, tail: str, special: Iterable[str] = ()) -> Stops:
    """Return what ends an answer: the first control token behind it, unless that opens the next question.

    Args:
        lead: what stands before the first question.
        answered: between a question and its answer.
        asked: between an answer and the next question.
        tail: behind the last answer.
        special: control tokens that do not look like one.
    """
    special = tuple(special)
    token, last = (next(iter(controls(text, special)), None) for text in (asked, tail))
    if token is None or token == last:
        return Stops(token, last)
    # Another token than behind the last answer: an end if it ends questions too, or if no question ever began with it.
    ends_questions = last is not None and token in controls(answered, special)[:1]
    return Stops(token if ends_questions or token not in controls(lead, special) else None, last)


def bos_place(pieces: Sequence[str], bos: str | None) -> str:
    """Return how often and where BOS is written: "none", "start" (once), "elsewhere" (once) or "several"."""
    count = sum(piece.count(bos) for piece in pieces) if bos else 0
    if count == 1:
        return "start" if pieces[0].startswith(bos or "") else "elsewhere"
    return "several" if count else "none"


def default_system(lead: str, asked: str, special: Iterable[str] = ()) -> str | None:
    """Return text before the first question that is neither control token nor the header of a question."""
    rest = lead[: len(lead) - alike(lead[::-1], asked[::-1])]
    for token in controls(lead, special):
        rest = rest.replace(token, "\n")
    lines = [line.strip() for line in rest.split("\n")]
    text = "\n".join(line for line in lines if line and line.strip(" :#*").lower() not in {"system", "user", "human"})
    return text if re.search(r"\w\W+\w", text) else None  # two words at least: a lone one is part of a header


def alike(left: str, right: str) -> int:
    """Return how many characters two texts begin with in common."""
    differ = (number for number, (one, other) in enumerate(zip(left, right, strict=False)) if one != other)
    return next(differ, min(len(left), len(right)))


def image_text(with_image: str, without: str) -> str | None:
    """Return what a template wrote for an image, learnt from a render with one and a render without.

    None where that is nothing, or twice the same: such a template would lose or double the image.
    """
    start = alike(with_image, without)
    rest = min(len(with_image), len(without)) - start
    stop = len(with_image) - min(alike(with_image[::-1], without[::-1]), rest)
    found = _token_at(with_image, start, stop) or with_image[start:stop].strip()
    new = [token for token in controls(found) if with_image.count(token) > without.count(token)]
    if new:  # more than the image may have changed, such as a system text that is not written for images
        found = found[found.index(new[0]) : found.rindex(new[-1]) + len(new[-1])]
    period = (found + found).find(found, 1)
    return found if found and len(found) != 2 * period else None


def _token_at(text: str, start: int, stop: int) -> str | None:
    """Return a difference begun a little earlier, where it so becomes a token.

    "<|a|><|b|>" differs from "<|b|>" in "a|><|", and as well in "<|a|>", two characters earlier.
    """
    for back in range(min(start, 40)):
        if text[start - back : start] != text[stop - back : stop]:
            return None
        found = text[start - back : stop - back].strip()
        if found.startswith(("<", "[", "]")) and found.endswith((">", "]", "[")):
            return found
    return None
