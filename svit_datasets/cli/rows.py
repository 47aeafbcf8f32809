"""A row of any configuration in, lines for a terminal out: which photo, then questions and answers, wrapped."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from svit_datasets.cli.output import shown, width

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["conversations_in", "row_lines"]

_SPEAKERS = {"user": "Q", "assistant": "A"}


def conversations_in(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the conversations of a row, of which every form but an image's row has one."""
    found: list[dict[str, Any]] = row.get("conversations", [row])
    return found


def row_lines(row: dict[str, Any], *, most: int | None = None) -> Iterator[str]:
    """Yield a row as text.

    Args:
        row: as `load_dataset` gives it.
        most: how many of its conversations; None for all.
    """
    yield click.style(f"── {_title(row)} ".ljust(width(), "─"), bold=True)
    conversations = conversations_in(row)
    for number, conversation in enumerate(conversations[:most], start=1):
        first = f"{number:>3}  " if len(conversations) > 1 else " " * 5
        label = ": ".join(filter(None, (conversation.get("task"), conversation.get("topic"))))
        if label:
            yield from _wrapped(first, f"[{label}]")
            first = " " * len(first)
        for message in conversation["messages"]:
            yield from _wrapped(f"{first}{_SPEAKERS[message['role']]}  ", message["content"])
            first = " " * len(first)
    if most is not None and len(conversations) > most:
        rest = len(conversations) - most
        yield f"     and {rest} more of this image" if rest > 1 else "     and one more of this image"


def _title(row: dict[str, Any]) -> str:
    names = [row["id"] if "id" in row else f"image {row['image_id']}"]
    if row.get("image_path") is not None:
        names.append(row["image_path"])
    size = "no photo" if row["width"] is None else f"{row['width']}x{row['height']} pixels"
    return shown(", ".join([*names, size]))


def _wrapped(head: str, text: str) -> Iterator[str]:
    for line in shown(text).splitlines() or [""]:
        yield from textwrap.wrap(
            line, width(), initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
        ) or [head.rstrip()]
        head = " " * len(head)
