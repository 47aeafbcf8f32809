"""The lines of a reply in, each as what it is: a turn's first line, a heading, or text; Markdown is taken off.

Knows nothing of blocks or of right and wrong; `parse` puts the lines together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections import Counter

__all__ = ["Label", "Line", "plain", "read_lines"]

_ROLES: dict[str, Literal["user", "gpt"]] = {
    **dict.fromkeys(("question", "q", "user", "human", "person"), "user"),
    **dict.fromkeys(("answer", "a", "gpt", "chatgpt", "assistant", "ai", "model", "bot", "response"), "gpt"),
}
_ITEM = r"(?:[-•] ?)?(?:\(?\d{1,3}[.):]\)? ?)?"  # a bullet, a number
_BEHIND = r"(?P<number> ?(?:no\. ?|# ?)?\d{1,3})?(?: ?\([^()]{0,60}\))?[\])]? ?(?:[:\uff1a] ?|(?(number)[.)] |(?!)))"
_NAMES = r"question|q|user|human|answer|a|gpt|chatgpt|assistant"
# Words that begin a line of a description or an answer too ("Model: …") are roles in conversations only.
_LABEL = {
    False: re.compile(rf"(?P<item>{_ITEM})[\[(]?(?P<name>{_NAMES})(?:-?4)?{_BEHIND}", re.IGNORECASE),
    True: re.compile(
        rf"(?P<item>{_ITEM})[\[(]?(?P<name>{_NAMES}|person|ai|model|bot|response)(?:-?4)?{_BEHIND}", re.IGNORECASE
    ),
}
_ALONE = re.compile(
    rf"(?P<item>{_ITEM})(?P<name>question|answer|user|gpt|assistant)(?P<number> ?#? ?\d{{1,3}})?", re.IGNORECASE
)
_TITLE = r"(?:topic|theme|subject|title) ?\d{0,2} ?[:\u2013\u2014-] ?"
_TITLES = re.compile(rf"(?:{_TITLE})++", re.IGNORECASE)
_TOPIC = re.compile(rf"{_ITEM}{_TITLE}", re.IGNORECASE)
_DIALOGUE = re.compile(
    rf"{_ITEM}(?:(?:conversation|dialogue|dialog|discussion) ?(?:#|no\.)? ?(?:\d{{1,2}}|[ivx]{{1,4}}|one|two|three)"
    r"|(?:first|second|third) (?:conversation|dialogue|dialog|discussion))(?: ?[:.)\u2013\u2014-] ?(?P<topic>.*)|)",
    re.IGNORECASE,
)
_PAIRS = frozenset({"complex_reasoning", "referring_qa"})
_TITLE_LENGTH = 80  # characters; a longer line in bold is text
_DIVIDER = re.compile(r"[-*_=~ ]{3,}")
_NUMBERED = re.compile(r"(\d{1,2})[.)] (.+)")
_BARE_NUMBER = re.compile(r"\(?\d{1,3}[.):]?\)?")
_ASKED = re.compile(r"\(?\d{1,2}[.)]\)? (?P<question>.+\?.*)")


@dataclass(frozen=True, slots=True)
class Label:
    """Who speaks, and what stands behind it in the same line."""

    role: Literal["user", "gpt"]
    rest: str
    numbered: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its Markdown."""

    text: str  # of a heading: its topic, or ""
    label: Label | None = None
    heading: bool = False


def read_lines(text: str, task: str, stripped: Counter[str]) -> list[Line]:
    """Return the lines of a tidy text; what is no turn's business is left out and counted.

    Args:
        text: as `parse.tidy` leaves it.
        task: name of one of the four tasks; only in a conversation headings are kept, as topics.
        stripped: where what is taken off is counted, by rule.
    """
    found = _marked(text, stripped)
    labels = [_label(line, dialogues=task == "conversation") for line, _ in found]
    if task in _PAIRS and {label.role for label in labels if label} == {"gpt"}:
        labels = [label or _asked(line) for label, (line, _) in zip(labels, found, strict=True)]
    if task == "conversation":
        return _read_dialogues(found, labels)
    return _read_pairs(found, labels, stripped, keep_titles=task != "detail_description")


def _marked(text: str, stripped: Counter[str]) -> list[tuple[str, bool]]:
    """Return each line without Markdown, and whether that made it a heading; "---" becomes an empty heading."""
    found = []
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            stripped["markdown"] += 1
            continue
        bare = plain(line)
        if (_DIVIDER.fullmatch(line) or _DIVIDER.fullmatch(bare)) and line.strip():
            stripped["heading"] += 1
            found.append(("", True))
            continue
        stripped["markdown"] += bare != line
        head = line.lstrip().startswith("#") or (line.startswith("**") and line.rstrip(": ").endswith("**"))
        found.append((bare, head and bare not in ("", line) and len(bare) <= _TITLE_LENGTH and bare[-1] not in ".!?"))
    return found


_STARS = re.compile(r"\*{2,}")
_BULLET = re.compile(r"\s*\*\s(?=\s*[^\s*])")
_LEAD = re.compile(r"(?:[\s>]|#(?!\d)|\*(?!\S))*")
_EDGE = re.compile(r"(?<!\S)\*(?=\S)|(?<=\S)\*(?!\S)")


def plain(line: str) -> str:
    """Return a line without Markdown's marks; doing it again changes nothing."""
    line = _STARS.sub("", line.replace("`", ""))
    bullet = _BULLET.match(line)
    line = line[_LEAD.match(line).end() :]  # type: ignore[union-attr]
    if len(_EDGE.findall(line)) % 2 == 0:
        line = _EDGE.sub("", line)
        line = line[_LEAD.match(line).end() :]  # type: ignore[union-attr]
    line = " ".join(line.split())
    return f"- {line}" if bullet and line else line


def _label(line: str, *, dialogues: bool) -> Label | None:
    match = _LABEL[dialogues].match(line) or _ALONE.fullmatch(line)
    if match is None:
        return None
    numbered = bool(match["item"].strip() or match["number"])
    return Label(_ROLES[match["name"].lower()], plain(line[match.end() :]), numbered)


def _asked(line: str) -> Label | None:
    """Read "1. What …?" as a question; for replies that label answers only."""
    match = _ASKED.fullmatch(line)
    return None if match is None else Label("user", plain(match["question"]), numbered=True)


def _topic(line: str) -> str | None:
    """Return the topic of a heading that says so, "" for one without; None for other lines."""
    match = _DIALOGUE.fullmatch(line)
    if match is not None:
        return _title(match["topic"] or "")
    match = _TOPIC.match(line)
    return None if match is None else _title(line[match.end() :])


def _title(text: str) -> str:
    text = plain(text.strip(" :"))
    match = _TITLES.match(text)
    return plain(text[match.end() :].strip(" :")) if match else text


def _read_pairs(
    found: list[tuple[str, bool]], labels: list[Label | None], stripped: Counter[str], *, keep_titles: bool
) -> list[Line]:
    """Leave out headings, and numbers that stand alone before a question; titles inside an answer may be kept."""
    lines: list[Line] = []
    before_question = False
    for (text, head), label in zip(reversed(found), reversed(labels), strict=True):
        if label is not None:
            before_question = label.role == "user"
            lines.append(Line(text, label))
        elif _topic(text) is not None or (head and (before_question or not text or not keep_titles)):
            stripped["heading"] += bool(text)
        elif before_question and _BARE_NUMBER.fullmatch(text):
            stripped["numbering"] += 1
        else:
            before_question = before_question and not text
            lines.append(Line(text))
    return lines[::-1]


def _read_dialogues(found: list[tuple[str, bool]], labels: list[Label | None]) -> list[Line]:
    """Tell headings from text: those that say so, and bold or numbered lines right before a user's turn."""
    before_user = [False] * len(found)
    following = False
    for at in range(len(found) - 1, -1, -1):
        before_user[at] = following
        if labels[at] is not None:
            following = labels[at].role == "user"  # type: ignore[union-attr]
        elif found[at][0] or found[at][1]:
            following = False
    lines: list[Line] = []
    blocks, fresh = 0, True  # dialogues so far; whether a heading came after the last turn
    blank = True  # the line before
    for (text, head), label, asks_next in zip(found, labels, before_user, strict=True):
        topic = _topic(text) if label is None else None
        numbered = _NUMBERED.fullmatch(text)
        if label is not None:
            blocks += fresh
            fresh = False
            lines.append(Line(text, label))
        elif topic is not None or (head and (asks_next or not text)):
            fresh = True
            lines.append(Line(_title(text) if topic is None else topic, heading=True))
        elif numbered and asks_next and blank and int(numbered[1]) == blocks + 1:
            fresh = True
            lines.append(Line(_title(numbered[2]), heading=True))
        else:
            lines.append(Line(text))
        blank = not text
    return lines
