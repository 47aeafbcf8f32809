"""The columns of every configuration, named and typed in this one place; and the tables that have them.

In comes a window of joined images, out come Arrow tables of at most 32 rows that `datasets` takes as they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from datasets import Features, Image, List, Value

from svit_datasets.text import text_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svit_datasets.join import Window
    from svit_datasets.photos import Photo
    from svit_datasets.tasks import Task

    # (photo, its label, where it is in the user's files or None) -> the bytes and the path of its cell
    Cell = Callable[[Photo, str, str | None], tuple[bytes | None, str]]

__all__ = ["features_of", "in_row", "tables"]

_ROWS = 32  # a table; what is in memory twice while datasets converts it
_MESSAGES = List({"role": Value("string"), "content": Value("string")})
_PHOTO = {"image": Image(mode="RGB"), "width": Value("int32"), "height": Value("int32")}


def features_of(task: Task, rows: str) -> Features:
    """Return the columns of a configuration.

    Args:
        task: the configuration.
        rows: "image" (a row an image, all its blocks) or "conversation" (a row a block); LLaVA form has a row a record.
    """
    if task.form == "llava":
        return Features({"id": Value("string"), **_PHOTO, "image_path": Value("string"), "messages": _MESSAGES})
    kind = {"task": Value("string")} if task.parts else {}
    block = {"topic": Value("string"), **kind, "messages": _MESSAGES}
    image_id = {"image_id": Value("int64")}
    if rows == "image":
        return Features({**image_id, **_PHOTO, "conversations": List(block)})
    return Features({"id": Value("string"), **image_id, **_PHOTO, **block})


@lru_cache
def _schema(task: Task, rows: str) -> pa.Schema:
    return features_of(task, rows).arrow_schema


def in_row(photo: Photo, label: str, path: str | None) -> tuple[bytes | None, str]:
    """Put a photo's bytes into its row."""
    del path
    return photo.data, "/".join(label.rpartition("::")[2].split("/")[-2:])


def tables(window: Window, task: Task, rows: str, cell: Cell) -> Iterator[pa.Table]:
    """Yield a window's rows as tables of at most 32 rows, with the columns of `features_of`.

    Args:
        window: images with their photos.
        task: the configuration.
        rows: as in `features_of`.
        cell: how a photo stands in its row: by its bytes, or by the path of a file.
    """
    schema = _schema(task, rows)
    if not len(window.plan):
        return
    columns, owner = text_columns(window.plan, task, rows)
    for start in range(0, len(owner), _ROWS):
        some = owner[start : start + _ROWS]
        part = {name: column.slice(start, len(some)) for name, column in columns.items()}
        part |= _photo_columns(window, some, cell)
        part["image_id"] = pa.array(window.plan.image_ids[some])
        yield pa.table({field.name: part[field.name] for field in schema}).cast(schema)


def _photo_columns(window: Window, owner: Any, cell: Cell) -> dict[str, pa.Array]:
    cells: list[tuple[bytes | None, str] | None] = []
    for index in map(int, owner):
        photo = window.photos[index]
        cells.append(
            None if photo is None else cell(photo, window.plan.photos.label(index), _local_path(window, index))
        )
    photos = [window.photos[index] for index in owner]
    image = pa.StructArray.from_arrays(
        [_binary([c and c[0] for c in cells]), pa.array([c and c[1] for c in cells], pa.string())],
        ["bytes", "path"],
        mask=pa.array([c is None for c in cells], pa.bool_()),
    )
    return {
        "image": image,
        "width": pa.array([photo and photo.width for photo in photos], pa.int32()),
        "height": pa.array([photo and photo.height for photo in photos], pa.int32()),
    }


def _binary(values: list[bytes | None]) -> pa.Array:
    """Return a binary array, copied together once: pa.array() on a list grows its buffer, which costs 20 MB here."""
    sizes = np.array([0 if value is None else len(value) for value in values])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    present = pa.array(np.array([value is not None for value in values]))
    joined = pa.py_buffer(b"".join(value for value in values if value is not None))
    return pa.Array.from_buffers(pa.binary(), len(values), [present.buffers()[1], pa.py_buffer(offsets), joined])


def _local_path(window: Window, index: int) -> str | None:
    located = window.plan.photos
    source = located.sources[located.source[index]]
    return f"{source.urls[0]}/{located.name[index].as_py()}" if source.local else None
