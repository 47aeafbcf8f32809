"""What a rule of the doctor is, and the table of all of them: filled by the modules whose names end in ``_rules``.

A rule is a function from a `Folder` to findings, one for each thing that was measured, good or bad. `examine` keeps of
each rule the bad ones, or the worst good one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from svit_builder.doctor.folder import Folder

__all__ = ["RULES", "Finding", "Level", "Rule", "rule"]

Level = Literal["error", "warning", "info"]
Check = Callable[["Folder"], "Iterable[Finding]"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was measured."""

    figure: int | str
    where: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``error``: the Hub, its viewer or `load_dataset` fails; ``warning``: it works, worse; ``info``."""

    id: str
    level: Level
    says: str  # what must hold, a sentence
    why: str  # what happens where it does not, a sentence
    advice: str  # what to do then, a sentence
    limit: int | None  # the largest figure allowed, if the figure is a number
    unit: str  # of figure and limit: "bytes", "rows", … or ""
    check: Check


RULES: dict[str, Rule] = {}  # by id, in the order in which they are reported


def rule(
    level: Level, why: str, advice: str = "", *, limit: int | None = None, unit: str = ""
) -> Callable[[Check], Check]:
    """Enter a function into the table, under its own name; its docstring says what must hold."""

    def enter(check: Check) -> Check:
        name = check.__name__
        RULES[name] = Rule(name, level, str(check.__doc__), why, advice, limit, unit, check)
        return check

    return enter
