"""Boxes in, words for places out: where a thing is, and how two stand to each other. Nothing that is not sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svit_builder.generate.compose.notes import Thing

__all__ = ["apart", "relation", "spot"]


def spot(thing: Thing) -> str:
    """Return where a thing's middle is: "on the left", "in the upper right corner area", "in the middle"."""
    if thing.box.x2 - thing.box.x1 > 0.85:
        return "all across the view" if 0.3 < thing.y < 0.7 else f"along the {'top' if thing.y < 0.5 else 'bottom'}"
    row = "upper" if thing.y < 0.34 else "lower" if thing.y > 0.66 else ""
    column = "left" if thing.x < 0.36 else "right" if thing.x > 0.64 else ""
    if row and column:
        return f"in the {row} {column} part"
    if row:
        return f"in the {row} middle part"
    return f"on the {column}" if column else "in the middle"


def relation(one: Thing, other: Thing) -> str | None:
    """Return how one thing's box lies to another's, if wholly to one side: "to the left of", "above"; else None."""
    if one.box.x2 <= other.box.x1:
        return "to the left of"
    if one.box.x1 >= other.box.x2:
        return "to the right of"
    if one.box.y2 <= other.box.y1:
        return "higher up than"
    if one.box.y1 >= other.box.y2:
        return "further down than"
    return None


def apart(one: Thing, other: Thing) -> bool:
    """Tell whether one thing's middle is clearly left of the other's: by a tenth of the width."""
    return one.x < other.x - 0.1
