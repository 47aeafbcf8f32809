"""What plots are made of: colours, bars with their numbers, panels, bins, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from svit_builder.stats.statistics import Statistics

__all__ = ["COLORS", "INK", "WIDTH", "binned", "last_shown", "named_bars", "panels", "shown", "squares"]

INK = "#767676"  # 4.5 to 1 against white and 4.6 to 1 against black
COLORS = dict(
    zip(TASKS, ("#3b6fb6", "#b3541e", "#2f7d4f", "#8a4fa3", "#5b6470", "#b0413e", "#37808c"), strict=True)
)  # of configurations; white letters can be read on each, and each can be seen on black
WIDTH = 7.2  # inches; 518 units of the SVG


def named_bars(axes: Any, counts: Mapping[str, int], share: int | None = None) -> None:
    """Draw a bar for each name with its count, and as a part of ``share`` where that is given."""
    lines = range(len(counts))
    axes.barh(lines, list(counts.values()), color=[COLORS.get(name, INK) for name in counts], height=0.7)
    for line, count in zip(lines, counts.values(), strict=True):
        told = f"{count:,}" + (f", {100 * count / share:.3g} %" if share else "")
        axes.annotate(told, (count, line), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set_yticks(lines, list(counts))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(counts.values(), default=1))
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def panels(figure: Any, statistics: Sequence[Statistics], height: float) -> Iterator[tuple[Any, Statistics]]:
    """Yield a panel for each configuration, two side by side."""
    across = min(2, max(1, len(statistics)))
    down = max(1, -(-len(statistics) // across))
    figure.set_size_inches(WIDTH, 0.5 + height * down)
    all_axes = figure.subplots(down, across, squeeze=False).flatten()
    for axes in all_axes[len(statistics) :]:
        axes.set_visible(False)
    yield from zip(all_axes, statistics, strict=False)


def last_shown(counts: Mapping[int, int]) -> int:
    """Return the value that 99 % of all are not above."""
    total, below = sum(counts.values()), 0
    for value in sorted(counts):
        below += counts[value]
        if below >= 0.99 * total:
            return value
    return 0


def binned(counts: Mapping[int, int], last: int, step: int) -> tuple[list[float], list[int]]:
    """Return percentages of bins up to ``last`` and their edges."""
    edges = list(range(0, last + 2 * step, step))
    shares = [0.0] * (len(edges) - 1)
    total = sum(counts.values())
    for value, count in counts.items():
        if value // step < len(shares):
            shares[value // step] += 100 * count / total
    return shares, edges


def squares(corners: Sequence[tuple[int, int]], color: str, alpha: float) -> Any:
    """Return squares of side 1 as one shape: much shorter than a shape each."""
    from matplotlib.patches import PathPatch  # noqa: PLC0415 - an extra
    from matplotlib.path import Path  # noqa: PLC0415

    outlines = [Path([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)], closed=True) for x, y in corners]
    return PathPatch(Path.make_compound_path(*outlines), facecolor=color, alpha=alpha, linewidth=0)


def shown(text: str, most: int = 24) -> str:
    """Return a word as a label: nothing that XML or a font cannot show, and not too long."""
    plain = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
