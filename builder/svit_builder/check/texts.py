"""One row in, what is wrong with its texts out: the rules of generation, QA by QA.

In LLaVA form a question may ask for coordinates and boxes stand in another frame, so boxes are not judged there, and a
question's words are no leak.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from svit_builder.generate.faults import repeats, text_faults
from svit_builder.generate.markup import box_faults, mend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.boxes import Referring
    from svit_datasets.rows import Row
    from svit_datasets.tasks import Task

__all__ = ["QA", "Fault", "qas_of", "text_findings"]


@dataclass(frozen=True, slots=True)
class Fault:
    """That a check holds for a QA."""

    check: str
    detail: str  # what was found, shortened


@dataclass(slots=True)
class QA:
    """A question with its answer, where it stands in its row, and what is found about it."""

    task: str
    conversation: int  # 0-based, in the row
    number: int  # 0-based, in its conversation
    question: str  # as published, from here on perhaps mended
    answer: str
    faults: list[Fault] = field(default_factory=list)
    boxes: list[Referring] = field(default_factory=list)  # good ones, of SVIT form only


def qas_of(row: Row, task: Task) -> Iterator[QA]:
    """Yield the QAs of a row; of LLaVA form a row is one conversation."""
    blocks = [row] if task.form == "llava" else row["conversations"]
    for at, block in enumerate(blocks):
        messages = block["messages"]
        name = block.get("task") or task.name
        for number in range(len(messages) // 2):
            question, answer = messages[2 * number]["content"], messages[2 * number + 1]["content"]
            yield QA(name, at, number, question, answer)


def text_findings(qas: list[QA], *, llava: bool, context: str = "") -> None:
    """Add what is wrong with the texts of a row's QAs to them; what can be mended is mended.

    Args:
        qas: of one row.
        llava: whether the row has LLaVA form.
        context: what the photo's annotations say, in words; see `faults.text_faults`.
    """
    tasks: dict[str, int] = {}
    scopes = [
        qa.conversation if qa.task == "conversation" else -1 - tasks.setdefault(qa.task, len(tasks)) for qa in qas
    ]
    again = repeats(list(zip(scopes, (qa.question for qa in qas), strict=True)))
    for place, qa in enumerate(qas):
        marked = llava or qa.task == "referring_qa"
        if llava:
            found = list(text_faults("?a", qa.answer, marked=True, context=context))
        else:
            if marked:
                _mend(qa)
            found = list(text_faults(qa.question, qa.answer, marked=marked, context=context))
            if marked:
                found += _box_findings(qa)
        if place in again:
            found.append(("duplicate_qa", qa.question))
        qa.faults += [Fault(check, detail) for check, detail in dict(found).items()]


def _mend(qa: QA) -> None:
    counts: Counter[str] = Counter()
    question, answer = mend(qa.question, counts), mend(qa.answer, counts)
    changed = qa.answer if answer != qa.answer else qa.question
    qa.faults += [Fault(check, changed) for check, count in counts.items() if count]
    qa.question, qa.answer = question, answer


def _box_findings(qa: QA) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for text in (qa.question, qa.answer):
        if "[" in text or "<" in text:
            good, faults = box_faults(text)
            qa.boxes += good
            found += faults
    if not qa.boxes and not found:
        found.append(("no_box", qa.question))
    return found
