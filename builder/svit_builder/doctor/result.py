"""What the doctor says: one `Result` for a rule that holds, one for each place where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Result", "Status", "passes"]

Status = Literal["ok", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Result:
    """How a folder stands to one rule."""

    rule: str  # its id, a key of RULES
    status: Status  # "error": the Hub or a reader fails; "warning": it works, worse; "info": good to know
    figure: int | str | None  # what was found, the worst of it; in the rule's unit where a number
    limit: int | None  # what is allowed; None where there is no limit to it
    where: str  # file, column, row group; what it is about where the rule holds
    advice: str = ""  # what to do; "" where the rule holds


def passes(results: Iterable[Result]) -> bool:
    """Whether nothing is wrong that would keep a dataset from being published: no result is an error."""
    return all(result.status != "error" for result in results)
