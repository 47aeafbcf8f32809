"""How commands print: aligned columns, bars, wrapped text, JSON, hints. Values in, text out; SVIT is not known here."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["bars", "byte_size", "columns", "counted", "hint", "label_lines", "print_json", "shown", "width"]

_BARS = 16  # at most
_BAR = 32  # characters of the longest bar


def width() -> int:
    """Return how many characters a line may have: the terminal's, between 60 and 100."""
    return max(60, min(shutil.get_terminal_size().columns, 100))


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON; in ASCII, so that no terminal or pipe can spoil it."""
    click.echo(json.dumps(value, indent=indent))


def hint(text: str) -> None:
    """Say on standard error what could be done next."""
    click.secho(f"Next: {text}", err=True, dim=True)


def columns(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Return rows of cells as aligned lines, two spaces between columns.

    Args:
        rows: of equal length, the heading among them.
        right: 0-based columns to align at their right edge.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    to_right = set(right)
    return [
        "  ".join(
            cell.rjust(size) if number in to_right else cell.ljust(size)
            for number, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def bars(counts: Mapping[int, int]) -> list[str]:
    """Return a histogram, a line a value that occurs; where there are more than 16, a line a range of equal width."""
    step = 1
    if len(counts) > _BARS:
        step = -(-(max(counts) - min(counts) + 1) // _BARS)
    bins: Counter[int] = Counter()
    for value in sorted(counts):
        bins[min(counts) + (value - min(counts)) // step * step] += counts[value]
    most = max(bins.values())
    names = [f"{start:,}" if step == 1 else f"{start:,} to {start + step - 1:,}" for start in bins]
    rows = [
        [name, f"{count:,}", "█" * max(round(_BAR * count / most), 1)]
        for name, count in zip(names, bins.values(), strict=True)
    ]
    return columns(rows, right=(0, 1))


def label_lines(label: str, text: str, *, column: int = 19) -> list[str]:
    """Return a label, indented by two, and its text wrapped beside it; a long word, such as a URL, stays whole."""
    lines = textwrap.wrap(text, width() - column, break_on_hyphens=False, break_long_words=False) or [""]
    return [f"  {label if number == 0 else ''}".ljust(column) + line for number, line in enumerate(lines)]


def shown(text: str) -> str:
    """Return text with what a terminal would obey, such as escape sequences, made visible."""
    return "".join(char if char.isprintable() or char == "\n" else " " if char.isspace() else "\ufffd" for char in text)


def byte_size(count: int | None) -> str:
    """Return a number of bytes in words of at most seven characters."""
    if count is None:
        return "?"
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def counted(counts: Mapping[str, int]) -> str:
    """Return names with their counts, the most frequent first: ``user 12, gpt 11``."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))
