"""A window of joined images in, Arrow tables of at most 32 rows out, with the columns that a schema names.

`datasets` is not needed here: a process that only writes files saves the 0.4 s and 60 MB of importing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from svit_datasets.columns import flags, integers, strings, table
from svit_datasets.text import text_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svit_datasets.join import Window
    from svit_datasets.photos import Photo
    from svit_datasets.tasks import Task

    # (photo, its label, where it is in the user's files or None) -> the bytes and the path of its cell
    Cell = Callable[[Photo, str, str | None], tuple[bytes | None, str]]

__all__ = ["in_row", "tables"]

_ROWS = 32  # a table; what is in memory twice while datasets converts it


def in_row(photo: Photo, label: str, path: str | None) -> tuple[bytes | None, str]:
    """Put a photo's bytes into its row."""
    del path
    return photo.data, "/".join(label.rpartition("::")[2].split("/")[-2:])


def tables(window: Window, task: Task, rows: str, cell: Cell, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield a window's rows as tables of at most 32 rows.

    Args:
        window: images with their photos.
        task: the configuration.
        rows: "image" or "conversation", as in `features.features_of`.
        cell: how a photo stands in its row: by its bytes, or by the path of a file.
        schema: of the tables, that of `features.features_of`.
    """
    if not len(window.plan):
        return
    columns, owner = text_columns(window.plan, task, rows)
    for start in range(0, len(owner), _ROWS):
        some = owner[start : start + _ROWS]
        part = {name: column.slice(start, len(some)) for name, column in columns.items()}
        part |= _photo_columns(window, some, cell)
        part["image_id"] = integers(window.plan.image_ids[some], pa.int64())
        yield table(**{field.name: part[field.name] for field in schema}).cast(schema)


def _photo_columns(window: Window, owner: Any, cell: Cell) -> dict[str, pa.Array]:
    cells: list[tuple[bytes | None, str | None]] = []
    for index in map(int, owner):
        photo = window.photos[index]
        there = photo and cell(photo, window.plan.photos.label(index), _local_path(window, index))
        cells.append(there or (None, None))
    photos = [window.photos[index] for index in owner]
    present = np.array([photo is not None for photo in photos], dtype=bool)
    image = pa.StructArray.from_arrays(
        [_binary([data for data, _ in cells]), strings([path for _, path in cells])],
        ["bytes", "path"],
        mask=flags(~present),
    )
    sizes = [(0, 0) if photo is None else (photo.width, photo.height) for photo in photos]
    width, height = (integers(column, pa.int32(), present) for column in zip(*sizes, strict=True))
    return {"image": image, "width": width, "height": height}


def _binary(values: list[bytes | None]) -> pa.Array:
    """Return a binary array, copied together once: pa.array() on a list grows its buffer, which costs 20 MB here."""
    sizes = np.array([0 if value is None else len(value) for value in values])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    present = flags([value is not None for value in values])
    joined = pa.py_buffer(b"".join(value for value in values if value is not None))
    return pa.Array.from_buffers(pa.binary(), len(values), [present.buffers()[1], pa.py_buffer(offsets), joined])


def _local_path(window: Window, index: int) -> str | None:
    located = window.plan.photos
    source = located.sources[located.source[index]]
    return f"{source.urls[0]}/{located.name[index].as_py()}" if source.local else None
