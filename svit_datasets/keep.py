"""How a photo stands in its row: by its bytes, or by the path of a file; so that none is ever stored twice.

While streaming, bytes. For map-style data a photo in a local folder is referenced; another one is embedded where each
photo has one row, and where it has several it is written once into the cache and referenced from there.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from svit_datasets.cache import write_atomically
from svit_datasets.tables import in_row

if TYPE_CHECKING:
    from pathlib import Path

    from svit_datasets.photos import Photo
    from svit_datasets.tables import Cell

__all__ = ["cell_for"]


def cell_for(*, streaming: bool, embeds: bool, folder: Path) -> Cell:
    """Return the function that makes a photo's cell; picklable.

    Args:
        streaming: nothing is stored.
        embeds: each photo has one row.
        folder: where photos are written that have several rows.
    """
    if streaming:
        return in_row
    return partial(_reference, folder=None if embeds else folder)


def _reference(photo: Photo, label: str, path: str | None, folder: Path | None) -> tuple[bytes | None, str]:
    if path is not None and not photo.changed:
        return None, path
    if folder is None:
        return in_row(photo, label, path)
    name = hashlib.sha256(photo.data).hexdigest()
    kept = folder / name[:2] / f"{name}.jpg"
    if not kept.is_file():
        write_atomically(kept, photo.data)
    return None, str(kept)
