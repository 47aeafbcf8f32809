"""What was measured, as Markdown: tables, and promises with what became of them. Measures nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Floor:
    """A promise and what was measured."""

    says: str
    measured: float | None  # None: nothing could be measured
    bound: float | None = None  # what is promised; None: told beside the promises, not promised
    wanted: float | None = None  # what is hoped for, beside a promise
    at_most: bool = False
    of_full_size: bool = False  # a small corpus flatters one side

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        return self.bound is None or (self.measured is not None and self._keeps(self.bound))

    def verdict(self, *, full: bool) -> str:
        """Say whether it is kept; of a small corpus not all can be judged, and of what is only told, nothing."""
        if self.measured is None:
            return "not measured" if self.bound is None else "NOT MEASURED"
        if self.bound is None:
            return ""
        if self.of_full_size and not full:
            return "judged at full size only"
        if not self.holds:
            return "MISSED"
        if self.wanted is None or self._keeps(self.wanted):
            return "kept"
        return f"kept, at {self.measured / self.wanted:.2f} of what is wanted"

    def _keeps(self, bound: float) -> bool:
        assert self.measured is not None
        return self.measured <= bound if self.at_most else self.measured >= bound


def floors_table(found: Iterable[Floor], *, full: bool) -> list[str]:
    """One line a floor."""
    lines = []
    for floor in found:
        sign = "≤" if floor.at_most else "≥"
        bounds = ("" if bound is None else f"{sign} {bound:g}" for bound in (floor.wanted, floor.bound))
        lines.append([floor.says, number(floor.measured), *bounds, floor.verdict(full=full)])
    return table(["ratio", "measured", "wanted", "promised", ""], lines, "lrrrl")


def missed(found: Iterable[Floor], *, full: bool) -> bool:
    """Whether a promise was not kept."""
    return any(floor.verdict(full=full).isupper() for floor in found)


def table(head: Sequence[str], lines: Iterable[Sequence[str]], align: str) -> list[str]:
    """A Markdown table; `align` has an l or an r a column."""
    rule = ["---:" if side == "r" else "---" for side in align]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *lines)]


def number(value: float | None, digits: int = 2) -> str:
    """A figure as a table has it: digits after the point only where there are few before it; nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:,.{digits}f}"
