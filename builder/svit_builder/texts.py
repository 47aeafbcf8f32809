"""Rows of a split in, their texts out, photos left where they are; see `data`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from svit_datasets.errors import SvitError
from svit_datasets.parquet import columns_of
from svit_datasets.text import text_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.joined import Joined
    from svit_datasets.order import Ids
    from svit_datasets.parquet import ParquetFile
    from svit_datasets.published import Published
    from svit_datasets.rows import Row
    from svit_datasets.storage import ByteRange, Storage
    from svit_datasets.tasks import Task

__all__ = ["joined_texts", "published_texts"]

_TEXTS = 512  # rows whose text is taken at a time from the prepared table


def joined_texts(part: Joined, low: int, high: int) -> Iterator[Row]:
    """Yield the texts of some rows of raw files, from the prepared table."""
    for start in range(low, high, _TEXTS):
        plan = part.plan.take(np.arange(start, min(start + _TEXTS, high)))
        columns, _ = text_columns(plan, part.task, "image")
        texts = {name: column.to_pylist() for name, column in columns.items()}
        for at, image_id in enumerate(plan.image_ids.tolist()):
            yield _row(part.task, image_id, {name: values[at] for name, values in texts.items()})


def published_texts(part: Published, storage: Storage, low: int, high: int) -> Iterator[Row]:
    """Yield the texts of some rows of published Parquet, a row group read at a time, the next ones ahead.

    Raises:
        SvitError: a file cannot be read.
    """
    wanted = list(dict.fromkeys(part.group[low:high].tolist()))
    runs = _runs(part.task)
    asked: deque[ByteRange] = deque()
    fetched = storage.read_ranges(_ranges(part, wanted, runs, asked))
    at = low
    try:
        for group in wanted:
            columns: Row = {}
            for names in runs:
                data = next(fetched)
                if isinstance(data, SvitError):
                    raise data
                table = _table(part, group, names, asked.popleft().start, data)
                columns.update((name, table[name].to_pylist()) for name in names)
            while at < high and part.group[at] == group:
                texts = {name: values[part.at[at]] for name, values in columns.items()}
                yield _row(part.task, int(part.image_ids[at]), texts)
                at += 1
    finally:
        fetched.close()


def _ranges(part: Published, groups: list[int], runs: list[list[str]], asked: deque[ByteRange]) -> Iterator[ByteRange]:
    """Yield where each run of columns of each row group lies, and note it; a footer is walked through once a run."""
    edges: dict[tuple[int, str], tuple[Ids, Ids]] = {}
    for group in groups:
        file, number = _file(part, group)
        for names in runs:
            key = int(part.groups.file[group]), names[0]
            if key not in edges:
                _, starts, stops = file.groups([leaf for name in names for leaf in file.leaves(name)])
                edges[key] = starts, stops
            starts, stops = edges[key]
            asked.append(file.byte_range(int(starts[number]), int(stops[number])))
            yield asked[-1]


def _row(task: Task, image_id: int, texts: Row) -> Row:
    """Return a row without its photo, columns in the order of `features`."""
    photo = {"image": None, "width": texts.pop("width", None), "height": texts.pop("height", None)}
    if task.form == "llava":
        return {"id": texts.pop("id"), **photo, **texts}
    return {"image_id": image_id, **photo, **texts}


def _runs(task: Task) -> list[list[str]]:
    """Return the columns that lie side by side: photos stand between the first column and the others."""
    if task.form == "llava":
        return [["id"], ["width", "height", "image_path", "messages"]]
    return [["width", "height", "conversations"]]


def _file(part: Published, group: int) -> tuple[ParquetFile, int]:
    return part.files[int(part.groups.file[group])], int(part.groups.number[group])


def _table(part: Published, group: int, names: list[str], start: int, data: bytes) -> pa.Table:
    file, number = _file(part, group)
    table = file.read(number, start, data, names)
    schema = columns_of(part.task)
    return table.select(names).replace_schema_metadata().cast(pa.schema([schema.field(name) for name in names]))
