"""A reply in, its verdict out: conversations as SVIT writes them, or the rule for which another reply is asked for.

`parse` finds the turns, `markup` mends boxes, `faults` and `markup` say what is wrong; here it is decided what stays.
Everything depends on the arguments alone, so a journal of replies can be judged again when rules change.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from svit_builder.generate.context import normal_name
from svit_builder.generate.faults import has_words, refusal, repeats, text_faults
from svit_builder.generate.leaks import leak, quoted
from svit_builder.generate.markup import best_overlap, box_faults, mend
from svit_builder.generate.nouns import stem
from svit_builder.generate.parse import Block, Turn, format_reply, parse_reply
from svit_builder.generate.protocol import Finding, Verdict
from svit_builder.generate.rules import ASKED, DIALOGUES, LEAST, LEAST_DIALOGUES, LEAST_OF_DIALOGUE, RULES
from svit_datasets.errors import OptionError
from svit_datasets.filters import is_message_empty

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from svit_builder.generate.protocol import Context, Reply

__all__ = ["canonical", "judge"]

_ASKED_OF_DIALOGUE = 5
_CONSEQUENCES = frozenset({"follow_up", "short_dialogue", "excess"})  # never the reason why a reply is refused


@dataclass(frozen=True, slots=True)
class _Pair:
    """A question with its answer."""

    dialogue: int  # of a conversation; of other tasks each pair is one
    topic: str | None
    question: str
    answer: str


class _Findings:
    """What rules held, in the order of the table, each with how often and the first that was found."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._details: dict[str, str] = {}

    def add(self, rule: str, detail: str = "", count: int = 1) -> None:
        if count:
            self.counts[rule] += count
            self._details.setdefault(rule, quoted(detail))

    def as_tuple(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(rule.id, rule.action, self.counts[rule.id], self._details[rule.id])
            for rule in RULES.values()
            if self.counts[rule.id]
        )

    def refuse(self, rule: str, detail: str = "") -> Verdict:
        if not self.counts[rule]:
            self.add(rule, detail)
        return Verdict(accepted=False, conversations=(), findings=self.as_tuple(), reason=rule)


def judge(task: str, reply: Reply, context: Context, *, question: str | None = None) -> Verdict:
    """Judge a reply: what is around its turns is stripped, boxes are mended, faulty QAs are left out.

    It is accepted if enough is left: 12 of 15 QAs of complex_reasoning, 8 of 10 of referring_qa, 10 of 15 of a
    conversation in at least two dialogues of at least three each. In a dialogue all that follows a QA that is left out
    goes with it, because it may refer to it. Judging what was accepted again changes nothing.

    Args:
        task: name of one of the four tasks.
        reply: the model's.
        context: what it was told; see `context.make_context`.
        question: the drawn instruction of a detail_description; other tasks have none.

    Returns:
        Where accepted, its conversations: ``{"topic": str or None, "content": [{"from", "value"}, …]}``. Findings stand
        in the order of `rules.RULES`.

    Raises:
        OptionError: there is no such task, or a detail_description has no question.
    """
    if task not in ASKED:
        raise OptionError(f"task={task!r} is not allowed. Allowed: {', '.join(map(repr, ASKED))}.")
    if task == "detail_description" and question is None:
        raise OptionError("A detail_description needs the question that was drawn for it: question=…")
    findings = _Findings()
    useless = _why_useless(reply)
    if useless is not None:
        return findings.refuse(useless, reply.text)
    parsed = parse_reply(task, reply.text)
    for rule, count in parsed.stripped.items():
        findings.add(rule, count=count)
    pairs = _described(parsed.blocks, question, findings) if question is not None else _paired(parsed.blocks, findings)
    if not pairs:
        several = bool(findings.counts["wrong_count"])
        return findings.refuse("wrong_count" if several else _why_nothing(parsed.loose, context), parsed.loose)
    pairs = [_mended(pair, findings) for pair in pairs] if task == "referring_qa" else pairs
    kept = _kept(pairs, _dropped(pairs, task, context, findings), task, findings)
    short = task == "conversation" and len({pair.dialogue for pair in kept}) < LEAST_DIALOGUES
    if len(kept) < LEAST[task] or short:
        return findings.refuse(_reason(len(pairs), task, findings))
    conversations = _conversations(kept)
    blocks = _blocks(task, conversations)
    if parse_reply(task, format_reply(task, blocks)).blocks != blocks:  # what went stood before a farewell, or a number
        again = judge(task, replace(reply, text=format_reply(task, blocks)), context, question=question)
        for finding in again.findings:
            findings.add(finding.rule, finding.detail, finding.count)
        return replace(again, findings=findings.as_tuple())
    findings.add("few_qas", f"{len(kept)} of {ASKED[task]}", int(len(kept) < ASKED[task]))
    if task == "referring_qa":
        _flag_boxes(kept, context, findings)
    return Verdict(accepted=True, conversations=conversations, findings=findings.as_tuple())


def canonical(task: str, conversations: Iterable[Mapping[str, Any]]) -> str:
    """Write accepted conversations as the reply that would give just them."""
    return format_reply(task, _blocks(task, conversations))


def _blocks(task: str, conversations: Iterable[Mapping[str, Any]]) -> tuple[Block, ...]:
    """Return conversations as `parse_reply` gives them; the question of a description is not the reply's."""
    first = 1 if task == "detail_description" else 0
    return tuple(
        Block(one["topic"], tuple(Turn(turn["from"], turn["value"]) for turn in one["content"][first:]))
        for one in conversations
    )


def _why_useless(reply: Reply) -> str | None:
    """Return the rule for which a reply need not be read."""
    if reply.finish_reason == "length":
        return "truncated"
    if reply.finish_reason == "content_filter":
        return "filtered"
    return None if has_words(reply.text) else "empty"


def _paired(blocks: Sequence[Block], findings: _Findings) -> list[_Pair]:
    """Pair questions with answers; in a dialogue nothing counts behind a turn that has no counterpart."""
    pairs = []
    for number, block in enumerate(blocks):
        turns = block.turns
        for at in range(0, len(turns), 2):
            if [turn.role for turn in turns[at : at + 2]] != ["user", "gpt"]:
                findings.add("not_alternating", turns[at].text)
                findings.add("follow_up", turns[at].text, (len(turns) - at - 1) // 2)
                break
            pairs.append(_Pair(number, block.topic, turns[at].text, turns[at + 1].text))
    return pairs


def _described(blocks: Sequence[Block], question: str, findings: _Findings) -> list[_Pair]:
    """Return the one answer with the question that was drawn for it."""
    answers = [turn.text for block in blocks for turn in block.turns if turn.role == "gpt"]
    if len(answers) > 1:
        findings.add("wrong_count", f"{len(answers)} answers instead of one")
        return []
    return [_Pair(0, None, question, answer) for answer in answers]


def _why_nothing(text: str, context: Context) -> str:
    if is_message_empty(text):
        return "message_is_empty"
    if refusal(text):
        return "refusal"
    if leak(text, marked=True) or _echoes(text, context):
        return "prompt_echo"
    return "unparsable"


def _mended(pair: _Pair, findings: _Findings) -> _Pair:
    counts: Counter[str] = Counter()
    mended = replace(pair, question=mend(pair.question, counts), answer=mend(pair.answer, counts))
    for rule, count in counts.items():
        findings.add(rule, pair.answer if mended.answer != pair.answer else pair.question, count)
    return mended


def _dropped(pairs: Sequence[_Pair], task: str, context: Context, findings: _Findings) -> set[int]:
    """Return which pairs have a fault, by their number; each fault is counted."""
    dropped = set()
    again = repeats([(pair.dialogue if task == "conversation" else 0, pair.question) for pair in pairs])
    known = " ".join(
        [*context.captions, *(one.name for one in context.objects), *(one.text for one in context.regions)]
    )
    for number, pair in enumerate(pairs):
        found = list(text_faults(pair.question, pair.answer, marked=task == "referring_qa", context=known))
        if _echoes(pair.answer, context):
            found.append(("prompt_echo", pair.answer))
        if number in again:
            found.append(("duplicate_qa", pair.question))
        if task == "referring_qa":
            found += _box_findings(pair)
        for rule, detail in dict(found).items():
            findings.add(rule, detail)
        if found:
            dropped.add(number)
    return dropped


def _box_findings(pair: _Pair) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    boxes = 0
    for text in (pair.question, pair.answer):
        good, faults = box_faults(text)
        boxes += len(good)
        found += faults
    if not boxes and not found:
        found.append(("no_box", pair.question))
    return found


def _echoes(text: str, context: Context) -> bool:
    """Tell whether lines of the context are repeated: one with its box, or three of any kind."""
    if "\n" not in text and "[" not in text:
        return False
    given = set(context.text.split("\n"))
    repeated = [line for line in text.split("\n") if len(line) > 8 and line in given]
    return len(repeated) >= 3 or any(re.search(r": \[", line) for line in repeated)


def _kept(pairs: Sequence[_Pair], dropped: set[int], task: str, findings: _Findings) -> list[_Pair]:
    """Leave out faulty pairs, in a dialogue all that follow, and what is more than was asked for."""
    if task != "conversation":
        kept = [pair for number, pair in enumerate(pairs) if number not in dropped]
        findings.add("excess", "", max(0, len(kept) - ASKED[task]))
        return kept[: ASKED[task]]
    dialogues: dict[int, list[_Pair]] = {}
    closed: set[int] = set()
    for number, pair in enumerate(pairs):
        if number in dropped:
            closed.add(pair.dialogue)
        elif pair.dialogue in closed:
            findings.add("follow_up", pair.question)
        else:
            dialogues.setdefault(pair.dialogue, []).append(pair)
    long_enough = []
    for dialogue in dialogues.values():
        if len(dialogue) < LEAST_OF_DIALOGUE:
            findings.add("short_dialogue", dialogue[0].question, len(dialogue))
        else:
            findings.add("excess", dialogue[-1].question, max(0, len(dialogue) - _ASKED_OF_DIALOGUE))
            long_enough.append(dialogue[:_ASKED_OF_DIALOGUE])
    for dialogue in long_enough[DIALOGUES:]:
        findings.add("excess", dialogue[0].question, len(dialogue))
    return [pair for dialogue in long_enough[:DIALOGUES] for pair in dialogue]


def _reason(found: int, task: str, findings: _Findings) -> str:
    """Return the rule that cost most; of equals the first in the table."""
    if found < LEAST[task]:
        return "wrong_count"
    costs = {
        rule.id: findings.counts[rule.id]
        for rule in RULES.values()
        if rule.action == "drop_qa" and rule.id not in _CONSEQUENCES and findings.counts[rule.id]
    }
    return max(costs, key=lambda rule: costs[rule], default="wrong_count")


def _flag_boxes(pairs: Sequence[_Pair], context: Context, findings: _Findings) -> None:
    """Count phrases and boxes that nothing in the context has."""
    listed = [one.box for one in context.objects] + [one.box for one in context.regions]
    words = {stem(word) for name in _names(context) for word in normal_name(name).split()}
    for pair in pairs:
        for text in (pair.question, pair.answer):
            for one in box_faults(text)[0]:
                phrase = normal_name(one.phrase).split()
                if phrase and stem(phrase[-1]) not in words:
                    findings.add("unknown_phrase", one.phrase)
                for box in one.boxes:
                    if best_overlap(box, listed) < 0.5:
                        findings.add("unlisted_box", f"{one.phrase} {list(box)}")


def _names(context: Context) -> Iterable[str]:
    yield from (one.name for one in context.objects)
    yield from (one.text for one in context.regions)
    yield from context.captions


def _conversations(pairs: Sequence[_Pair]) -> tuple[dict[str, Any], ...]:
    found: dict[int, dict[str, Any]] = {}
    for pair in pairs:
        block = found.setdefault(pair.dialogue, {"topic": pair.topic, "content": []})
        block["content"].append({"from": "user", "value": pair.question})
        block["content"].append({"from": "gpt", "value": pair.answer})
    return tuple(found.values())
