"""A model's reply in, its turns out: headings, numbering, Markdown, role names, code fences and JSON are seen through.

Nothing is judged here: a block may lack an answer or have two, and a text in no known form comes back whole. `rules`
says what is wrong with the turns, `clean` what becomes of them. No text makes it fail, and time is linear in the text.

`format_reply` writes turns in one canonical form; what it wrote parses to the same turns.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from svit_builder.generate.lines import Label, Line, plain, read_lines
from svit_builder.generate.shapes import from_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Block", "Parsed", "Role", "Turn", "format_reply", "parse_reply", "tidy"]

Role = Literal["user", "gpt"]

_LABELS = {"conversation": {"user": "User", "gpt": "GPT"}}  # by task; the others:
_PAIR_LABELS = {"user": "Question", "gpt": "Answer"}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says."""

    role: Role
    text: str  # tidy; "" where a label has nothing behind it


@dataclass(frozen=True, slots=True)
class Block:
    """A dialogue, or a question with its answer."""

    topic: str | None  # of a conversation
    turns: tuple[Turn, ...]  # at least one, in any order of roles


@dataclass(frozen=True, slots=True)
class Parsed:
    """A reply's turns, and what was taken off around them."""

    blocks: tuple[Block, ...]
    loose: str  # the whole text, where no turn was found; "" otherwise
    stripped: dict[str, int]  # id of the rule -> how often


def parse_reply(task: str, text: str) -> Parsed:
    """Find the turns of a reply.

    Args:
        task: name of one of the four tasks. Of a detail_description the whole text is the one answer, and there is no
            question; the QA tasks have a block a question; of a conversation a block is a dialogue.
        text: any text.
    """
    stripped: Counter[str] = Counter()
    plain = tidy(text)
    stripped["whitespace"] = int(plain != text)
    if plain.startswith("<think>"):
        plain = plain.partition("</think>")[2].strip()
        stripped["thinking"] = 1
    lines = read_lines(from_json(task, plain, stripped) or plain, task, stripped)
    blocks = _blocks(lines, task, stripped)
    if task == "detail_description":
        blocks = _without_preamble(blocks, stripped)
    loose = "" if blocks else tidy("\n".join(line.text for line in lines))
    return Parsed(
        _without_epilogue(blocks, stripped), loose, {rule: count for rule, count in stripped.items() if count}
    )


def format_reply(task: str, blocks: Iterable[Block]) -> str:
    """Write turns in the canonical form of a task, which `parse_reply` reads back.

    Conversations have a line ``Conversation 1``, a line ``Topic: …`` and turns of ``User:`` and ``GPT:``; all else has
    ``Question:`` and ``Answer:``.
    """
    labels = _LABELS.get(task, _PAIR_LABELS)
    parts = []
    for number, block in enumerate(blocks, start=1):
        lines = [f"Conversation {number}"] if task in _LABELS else []
        if task in _LABELS and block.topic is not None:
            lines.append(f"Topic: {block.topic}")
        lines += [f"{labels[turn.role]}: {turn.text}".rstrip() for turn in block.turns]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1b\x1f\x7f\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff\ud800-\udfff]+")
_SPACES = re.compile(r"[^\S\n]+")
_AROUND_ENDS = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")


def tidy(text: str) -> str:
    """Return a text with one kind of space and line end, no invisible letters, and at most one empty line in a row."""
    text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    text = _AROUND_ENDS.sub("\n", _SPACES.sub(" ", text))
    return _EMPTY_LINES.sub("\n\n", text).strip()


# An answer within the question's line: "Question: … Answer: …".
_INLINE = re.compile(r"\s(?:Answer|GPT|Assistant|A)(?: \d{1,3})?: ?")


def _blocks(lines: Sequence[Line], task: str, stripped: Counter[str]) -> tuple[Block, ...]:
    """Put lines together to turns, and turns to blocks."""
    built = _Builder(one_answer=task == "detail_description", dialogues=task == "conversation")
    for line in lines:
        if isinstance(line.label, Label):
            built.turn(line.label.role)
            stripped["numbering"] += line.label.numbered
            built.text(line.label.rest, stripped)
        elif line.heading:
            built.heading(line.text)
        else:
            built.text(line.text, stripped)
    return built.finish()


class _Builder:
    """Turns and blocks as they grow, line by line."""

    def __init__(self, *, one_answer: bool, dialogues: bool) -> None:
        self._one_answer, self._dialogues = one_answer, dialogues
        self._blocks: list[tuple[str | None, list[tuple[Role, list[str]]]]] = []
        self._open = False  # whether the last block takes another turn
        self._topic: str | None = None  # of the next block

    def turn(self, role: Role) -> None:
        if not self._open or (role == "user" and not self._dialogues):
            self._blocks.append((self._topic, []))
            self._topic, self._open = None, True
        self._blocks[-1][1].append((role, []))

    def heading(self, topic: str) -> None:
        if self._dialogues:
            self._open = False
            self._topic = topic or self._topic

    def text(self, text: str, stripped: Counter[str]) -> None:
        if not self._open:
            if not self._one_answer or self._blocks:
                stripped["preamble"] += bool(text)
                return
            if not text:
                return
            self.turn("gpt")  # a description needs no label
        role, lines = self._blocks[-1][1][-1]
        split = _INLINE.search(text) if role == "user" else None
        if split is None:
            lines.append(text)
            return
        lines.append(plain(text[: split.start()]))
        self.turn("gpt")
        self._blocks[-1][1][-1][1].append(plain(text[split.end() :]))

    def finish(self) -> tuple[Block, ...]:
        return tuple(
            Block(topic, tuple(Turn(role, tidy("\n".join(lines))) for role, lines in turns))
            for topic, turns in self._blocks
        )


# What a model says to whoever asked, before a description
_GREETING = re.compile(
    r"(?:(?:sure|certainly|of course|absolutely|okay|ok)(?: thing)?[,!.:]\s*+|"
    r"(?:here(?:'s| is| are| it is| you go)|below is|the following is)(?: [^.:\n]{1,100})?:\s*+|"
    r"(?:detailed |image |photo |full )*description ?:\s*+)++",
    re.IGNORECASE,
)


def _without_preamble(blocks: tuple[Block, ...], stripped: Counter[str]) -> tuple[Block, ...]:
    """Take off what comes before a description."""
    if not blocks:
        return blocks
    first = blocks[0]
    greeting = _GREETING.match(first.turns[0].text)
    if greeting is None:
        return blocks
    stripped["preamble"] += 1
    turn = Turn(first.turns[0].role, first.turns[0].text[greeting.end() :])
    return (Block(first.topic, (turn, *first.turns[1:])), *blocks[1:])


# … and behind the last answer.
_FAREWELL = re.compile(
    r"(?:please )?(?:let me know (?:if|whether|should)|feel free to|(?:i )?hope (?:this|that|these|those|it) (?:helps?|"
    r"meets?|is helpful)|if you (?:have any|need (?:any|more|further)|would like (?:me|more|any))|"
    r"(?:this|that) concludes|(?:these|those) (?:questions|conversations|dialogues|pairs)\b|is there anything else|"
    r"would you like me to|end of (?:conversation|dialogue|questions|description)s?\b)",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!?]) ")


def _without_epilogue(blocks: tuple[Block, ...], stripped: Counter[str]) -> tuple[Block, ...]:
    """Take off what follows the last answer."""
    if not blocks or blocks[-1].turns[-1].role != "gpt":
        return blocks
    last = blocks[-1]
    lines = last.turns[-1].text.split("\n")
    while lines:
        sentences = _SENTENCES.split(lines[-1])
        count = len(sentences)
        while sentences and _FAREWELL.match(sentences[-1]):
            sentences.pop()
        lines[-1] = " ".join(sentences)
        stripped["epilogue"] += count != len(sentences)
        if lines[-1]:
            break
        lines.pop()
    turns = (*last.turns[:-1], Turn("gpt", "\n".join(lines)))
    return (*blocks[:-1], Block(last.topic, turns))
