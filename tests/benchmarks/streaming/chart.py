"""Figures in, one SVG out: bars in groups, ours in colour, a limit as a line of its own. Draws and knows nothing else.

It stands on a light card of its own, so it reads the same on a light page and on a dark one.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _LABEL, _VALUE = 920, 390, 60  # pixels: of the card, of the names, of the figures
_BAR, _STEP, _HEAD, _EDGE = 14, 21, 36, 20  # pixels: a bar, bar to bar, above a group, around all
_COLOURS = {"ours": "#5b8aa6", "limit": "#b39b62", "peer": "#cfc8ba"}
_INK, _PALE, _CARD, _RULE = "#2f2c27", "#6b665c", "#fbfaf7", "#dcd8ce"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    label: str
    value: float
    kind: str  # "ours", "peer" or "limit"


def chart(title: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """An SVG of all groups below each other; each has its own scale, from zero to its longest bar."""
    height = 2 * _EDGE + sum(_HEAD + _STEP * len(bars) for _, bars in groups)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'role="img" aria-labelledby="t" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" '
        f'font-size="12" fill="{_INK}">'
    )
    card = f'  <rect width="{_WIDTH}" height="{height}" rx="8" fill="{_CARD}" stroke="{_RULE}"/>'
    lines = [head, f'  <title id="t">{escape(title)}</title>', card]
    top = _EDGE
    for name, bars in groups:
        lines.append(f'  <text x="{_EDGE}" y="{top + 18}" fill="{_PALE}">{escape(name)}</text>')
        top += _HEAD
        longest = max((bar.value for bar in bars), default=1.0)
        for bar in bars:
            lines += _bar(bar, top, longest)
            top += _STEP
    return "\n".join([*lines, "</svg>", ""])


def _bar(bar: Bar, top: int, longest: float) -> list[str]:
    left = _EDGE + _LABEL
    width = max(1.0, bar.value / longest * (_WIDTH - left - _VALUE - _EDGE))
    base = top + _BAR - 3
    return [
        f'  <text x="{left - 8}" y="{base}" text-anchor="end">{escape(bar.label)}</text>',
        f'  <rect x="{left}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{_COLOURS[bar.kind]}"/>',
        f'  <text x="{left + width + 6:.1f}" y="{base}">{bar.value:,.0f}</text>',
    ]
