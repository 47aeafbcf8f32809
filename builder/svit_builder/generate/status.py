"""Journals in, counts out: what is accepted, what was asked again, what was rejected for which reason, what it cost.

Reads only, and what another process writes meanwhile is left out or in as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from svit_builder.generate.journal import Journal
from svit_datasets.errors import OptionError, SourceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from svit_builder.generate.prices import Price

__all__ = ["Status", "TaskStatus", "journal_path", "journals_in", "read_status"]


@dataclass
class TaskStatus:
    """Items of a task: a photo is one."""

    accepted: int = 0
    regenerated: int = 0  # of these, those that took more than one attempt
    rejected: Counter[str] = field(default_factory=Counter)  # attempts used up, by the reason of the last
    waiting: int = 0  # in a batch that has not come back, or not judged yet
    begun: int = 0  # replies came, none good, attempts left
    reasons: Counter[str] = field(default_factory=Counter)  # why replies were not taken, all attempts


@dataclass
class Status:
    """All journals of a folder together."""

    model: str
    wanted: int  # items: photos times tasks
    tasks: dict[str, TaskStatus]
    replies: int
    prompt_tokens: int
    completion_tokens: int
    failures: dict[str, int]  # requests that nobody answered, by reason
    batches: int  # that have not ended
    usd: float | None  # None: no prices were given

    @property
    def accepted(self) -> int:
        """Items with a good reply."""
        return sum(task.accepted for task in self.tasks.values())

    @property
    def rejected(self) -> int:
        """Items whose attempts are used up."""
        return sum(task.rejected.total() for task in self.tasks.values())

    @property
    def left(self) -> int:
        """Items that are still to be asked about, or under way."""
        return max(0, self.wanted - self.accepted - self.rejected)

    @property
    def reasons(self) -> Counter[str]:
        """Why replies were not taken, all attempts."""
        return sum((task.reasons for task in self.tasks.values()), Counter())

    @property
    def rejects(self) -> Counter[str]:
        """Items whose attempts are used up, by the reason of the last."""
        return sum((task.rejected for task in self.tasks.values()), Counter())

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        totals = {"accepted": self.accepted, "rejected": self.rejected, "left": self.left}
        tasks = {
            name: {
                **vars(task),
                "rejected": dict(task.rejected.most_common()),
                "reasons": dict(task.reasons.most_common()),
            }
            for name, task in self.tasks.items()
        }
        return {**vars(self), **totals, "tasks": tasks}


def journal_path(out: Path, shard: tuple[int, int] | None) -> Path:
    """Return where the journal of a run, or of one of its shards, lies.

    Raises:
        OptionError: the folder holds journals that were cut otherwise.
    """
    path = out / ("journal.sqlite" if shard is None else f"journal-{shard[0]:05}-of-{shard[1]:05}.sqlite")
    of = None if shard is None else shard[1]
    for other in out.glob("journal*.sqlite"):
        cut = re.fullmatch(r"journal(?:-\d{5}-of-(\d{5}))?\.sqlite", other.name)
        if cut is not None and (None if cut[1] is None else int(cut[1])) != of:
            raise OptionError(
                f"{other}: the folder was begun with {f'{int(cut[1])} shards' if cut[1] else 'one journal'}. Go on "
                "with the same --shard or --shards, or give another --out."
            )
    return path


def journals_in(out: Path) -> list[Path]:
    """Return the journals of a folder, in order.

    Raises:
        SourceNotFound: there is none.
    """
    found = sorted(out.glob("journal*.sqlite"))
    if not found:
        raise SourceNotFound(f"{out}: no journal is there. Give the folder that `svit generate --out` wrote.")
    return found


def read_status(out: Path, price: Price | None = None) -> Status:
    """Count what the journals of a folder hold.

    Args:
        out: the folder.
        price: of the model; None: the cost is not told.

    Raises:
        SourceNotFound, CorruptFile, OptionError: as in `Journal`.
    """
    status = Status("", 0, {}, 0, 0, 0, {}, 0, None if price is None else 0.0)
    failures: Counter[str] = Counter()
    for path in journals_in(out):
        with Journal(path) as journal:
            status.model = (journal.get("settings") or {}).get("model", "")
            status.wanted += sum((journal.get("items") or {}).values())
            for task in journal.get("tasks") or ():
                status.tasks.setdefault(task, TaskStatus())
            _count(journal.outcomes(), status.tasks, journal.get("attempts") or 1)
            for (_, batch), (count, asked, made) in journal.tokens().items():
                status.replies += count
                status.prompt_tokens += asked
                status.completion_tokens += made
                if price is not None and status.usd is not None:
                    status.usd += price.of(asked, made, batch=batch)
            failures.update(journal.failures())
            status.batches += len(journal.open_batches())
    status.failures = dict(failures.most_common())
    return status


def _count(
    outcomes: Iterable[tuple[int, str, int, str, str | None]], tasks: dict[str, TaskStatus], attempts: int
) -> None:
    for (_, name), group in groupby(outcomes, key=lambda one: one[:2]):
        calls: Sequence[tuple[Any, ...]] = list(group)
        task = tasks.setdefault(name, TaskStatus())
        states = [status for _, _, _, status, _ in calls]
        task.reasons.update(reason for _, _, _, status, reason in calls if status in {"rejected", "refused"})
        if "accepted" in states:
            task.accepted += 1
            task.regenerated += states.index("accepted") > 0
        elif {"sent", "replied"} & set(states):
            task.waiting += 1
        elif len(calls) >= attempts:
            task.rejected[calls[-1][4]] += 1
        else:
            task.begun += 1
