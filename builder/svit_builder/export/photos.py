"""Photos into a folder, each once, as the bytes they came in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from svit_builder.export.items import Item, Plan

__all__ = ["FOLDER", "put_photo"]

FOLDER = "images"


def put_photo(item: Item, folder: Path, plan: Plan) -> str | None:
    """Write an item's photo unless it is there, and return its path in the export, or None where it has no photo."""
    if item.image_name is None:
        return None
    path = folder / FOLDER / item.image_name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.row["image"])
        plan.photos += 1
    return f"{FOLDER}/{item.image_name}"
