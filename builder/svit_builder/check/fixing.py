"""Rows with what was found in them in, a cleaned copy out, and a list of all that differs: nothing goes silently.

The copy has SVIT's own form and folders, so that it loads as the published files do. What a check says to leave out is
left out, what can be mended is written mended, and what is only a reason to look stays.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any, Self

from svit_builder.check.table import CHECKS
from svit_builder.svit_json import JsonArrayWriter, SvitWriter
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from svit_builder.check.texts import QA
    from svit_datasets.rows import Row
    from svit_datasets.tasks import Task

__all__ = ["Fixer", "fixed_path"]

_ROLES = {"svit": {"user": "user", "assistant": "gpt"}, "llava": {"user": "human", "assistant": "gpt"}}


def fixed_path(out: Path, task: Task) -> Path:
    """Return where the cleaned copy of a configuration lies."""
    return out / ("data" if task.form == "svit" else "format/llava-v1.5") / f"{task.stem}.zip"


class Fixer:
    """Writes one configuration's cleaned copy; a with-block that is left by an exception leaves no copy behind.

    Of ``all`` a file a task is written: one file for all of them would not tell which block is which task's.
    """

    def __init__(self, out: Path, task: Task, changes: IO[str]) -> None:
        self._task, self._changes = task, changes
        kind = SvitWriter if task.form == "svit" else JsonArrayWriter
        self._writers = {name: kind(fixed_path(out, TASKS[name])) for name in task.parts or (task.name,)}
        self._stack = ExitStack()
        self.left_out = 0  # QAs
        self.mended = 0

    def __enter__(self) -> Self:
        for writer in self._writers.values():
            self._stack.enter_context(writer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def unusable(self, found: Sequence[tuple[str, int, list[str]]]) -> None:
        """Note what the loader could not use, and the copy does not have."""
        for kind, count, some in found:
            self._note({"action": "unusable", "check": kind, "count": count, "examples": some})

    def __call__(self, row: Row, qas: Sequence[QA]) -> None:
        """Write a row, or as much of it as is fit."""
        name = row["image_id"] if self._task.form == "svit" else row["id"]
        blocks = [row] if self._task.form == "llava" else row["conversations"]
        kept: dict[str, list[dict[str, Any]]] = {}
        for at, block in enumerate(blocks):
            mine = [qa for qa in qas if qa.conversation == at]
            turns = self._turns(name, block["messages"], mine)
            if turns:
                of_task = kept.setdefault(block.get("task") or self._task.name, [])
                of_task.append({"topic": block.get("topic"), "content": turns})
        for task, conversations in kept.items():
            writer = self._writers[task]
            if isinstance(writer, SvitWriter):
                writer.write(row["image_id"], conversations)
            else:
                image = {} if row["image_path"] is None else {"image": row["image_path"]}
                writer.append({"id": row["id"], **image, "conversations": conversations[0]["content"]})

    def _turns(self, name: Any, messages: Sequence[dict[str, str]], qas: Sequence[QA]) -> list[dict[str, str]]:
        """Return the turns that stay: behind a question that is left out nothing does, because it may refer to it."""
        roles = _ROLES[self._task.form]
        turns = []
        for place, qa in enumerate(qas):
            said = [message["content"] for message in messages[2 * qa.number : 2 * qa.number + 2]]
            reasons = [fault for fault in qa.faults if CHECKS[fault.check].remedy == "leave out"]
            if reasons:
                self._leave_out(name, qa, said, reasons[0].check)
                for later in qas[place + 1 :]:
                    texts = [message["content"] for message in messages[2 * later.number : 2 * later.number + 2]]
                    self._leave_out(name, later, texts, "follow_up")
                break
            if [qa.question, qa.answer] != said:
                self.mended += 1
                checks = [fault.check for fault in qa.faults if CHECKS[fault.check].remedy == "mend"]
                after = {"question_after": qa.question, "answer_after": qa.answer}
                self._note({"action": "mended", "check": checks[0], **self._where(name, qa, said), **after})
            for role, text in zip(("user", "assistant"), (qa.question, qa.answer), strict=True):
                turns.append({"from": roles[role], "value": text})
        return turns

    def _leave_out(self, name: Any, qa: QA, said: list[str], check: str) -> None:
        self.left_out += 1
        self._note({"action": "left out", "check": check, **self._where(name, qa, said)})

    def _where(self, name: Any, qa: QA, said: list[str]) -> dict[str, Any]:
        key = "image_id" if self._task.form == "svit" else "id"
        return {key: name, "conversation": qa.conversation, "qa": qa.number, "question": said[0], "answer": said[1]}

    def _note(self, change: dict[str, Any]) -> None:
        self._changes.write(json.dumps({"config": self._task.name, **change}, ensure_ascii=False) + "\n")
