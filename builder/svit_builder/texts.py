"""Rows of a split in, their texts out, photos left where they are; see `data`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from svit_datasets.errors import SvitError
from svit_datasets.parquet import columns_of
from svit_datasets.text import text_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.joined import Joined
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
    ranges = [_range(part, group, names) for group in wanted for names in runs]
    fetched = storage.read_ranges(ranges)
    at = low
    for number, group in enumerate(wanted):
        tables = []
        for names, where in zip(runs, ranges[number * len(runs) :], strict=False):
            data = next(fetched)
            if isinstance(data, SvitError):
                raise data
            tables.append(_table(part, group, names, where.start, data))
        columns = {name: table[name].to_pylist() for table in tables for name in table.column_names}
        while at < high and part.group[at] == group:
            texts = {name: values[part.at[at]] for name, values in columns.items()}
            yield _row(part.task, int(part.image_ids[at]), texts)
            at += 1


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


def _range(part: Published, group: int, names: list[str]) -> ByteRange:
    file, number = _file(part, group)
    _, starts, stops = file.groups([leaf for name in names for leaf in file.leaves(name)])
    return file.byte_range(int(starts[number]), int(stops[number]))


def _file(part: Published, group: int) -> tuple[ParquetFile, int]:
    return part.files[int(part.groups.file[group])], int(part.groups.number[group])


def _table(part: Published, group: int, names: list[str], start: int, data: bytes) -> pa.Table:
    file, number = _file(part, group)
    table = file.read(number, start, data, names)
    schema = columns_of(part.task)
    return table.select(names).replace_schema_metadata().cast(pa.schema([schema.field(name) for name in names]))
