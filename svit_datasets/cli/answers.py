"""An answer in, the kinds of fault in its text out: those that SVIT's makers and users have reported.

They are reasons to look, not to refuse: only answers that say the message was empty are left out by default (see
`filters`), the others are only counted here. Loading keeps every text to the letter.
"""

from __future__ import annotations

import re

from svit_datasets.filters import is_message_empty

__all__ = ["ANSWER_KINDS", "faults_in"]

ANSWER_KINDS = {
    "message_is_empty": "says that the message was empty; left out by default",
    "mentions_source": "mentions a caption, a description or a bounding box",
    "malformed_box": "a list after <ed> that is no box: [x1, y1, x2, y2] within 0 to 1",
    "unbalanced_markup": "<st> and <ed> do not come in pairs",
    "markup_without_box": "no box follows the marked phrase",
}

_SOURCE_WORDS = ("caption", "description", "bounding")  # without one of them the pattern need not be tried
_SOURCE = re.compile(r"\b(?:captions?|descriptions?|bounding[ -]box(?:es)?)\b")
_MARKS = re.compile(r"<st>|<ed>")
_BARE = re.compile(r"<st>(?:(?!<st>|<ed>).)*<ed>(?!\s*\[)", re.DOTALL)
_LIST = r"\[[^\[\]<]*\]?"  # closed or not
_LISTS = re.compile(rf"<ed>\s*({_LIST}(?:\s*,?\s*{_LIST})*)")
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_BOX = re.compile(rf"\[{_NUMBER}, {_NUMBER}, {_NUMBER}, {_NUMBER}\]")


def faults_in(answer: str, *, marked: bool) -> list[str]:
    """Return the kinds of `ANSWER_KINDS` that an answer has, each once.

    Args:
        answer: the text.
        marked: whether its task has referring markup, ``<st>phrase<ed> [x1, y1, x2, y2]``; where it has none, the
            marks are plain text.

    Example:
        >>> faults_in("A <st>car<ed> [0.1, 0.2, 0.3, 0.4] passes a <st>dog<ed> [0.5,0.5,1,1].", marked=True)
        ['malformed_box']
    """
    found = []
    if is_message_empty(answer):
        found.append("message_is_empty")
    lower = answer.lower()
    if any(word in lower for word in _SOURCE_WORDS) and _SOURCE.search(lower):
        found.append("mentions_source")
    if not marked or ("<st>" not in answer and "<ed>" not in answer):
        return found
    if not all(map(_is_box, _lists(answer))):
        found.append("malformed_box")
    marks = _MARKS.findall(answer)
    if marks != ["<st>", "<ed>"] * (len(marks) // 2):
        found.append("unbalanced_markup")
    if _BARE.search(answer):
        found.append("markup_without_box")
    return found


def _lists(answer: str) -> list[str]:
    return [one for run in _LISTS.findall(answer) for one in re.findall(_LIST, run)]


def _is_box(text: str) -> bool:
    match = _BOX.fullmatch(text)
    if match is None:
        return False
    x1, y1, x2, y2 = map(float, match.groups())
    return x1 < x2 <= 1 and y1 < y2 <= 1
