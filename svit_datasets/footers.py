"""A split's Parquet files in, the source of its rows out: which rows there are, without reading a photo.

The builder's entry in each footer tells ids and counts. A file of another writer has none: then its ids and counts are
read from their columns, once, and kept as a sidecar in the cache. Rows themselves are read by `published`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from svit_datasets.cache import write_atomically
from svit_datasets.columns import as_numpy, booleans, table
from svit_datasets.errors import CorruptFile, ImageNotFound, SvitError
from svit_datasets.plan import id_in_path
from svit_datasets.published import Published, RowGroups
from svit_datasets.report import MAX_RUN

if TYPE_CHECKING:
    from svit_datasets.options import Options
    from svit_datasets.order import Ids
    from svit_datasets.parquet import ParquetFile
    from svit_datasets.plan import Left
    from svit_datasets.storage import Storage
    from svit_datasets.tasks import Task

    Mask = np.ndarray[Any, np.dtype[np.bool_]]

__all__ = ["open_published"]


@dataclass(frozen=True)
class _Rows:
    """What is known of a file's m rows."""

    image_ids: Ids  # (m,)
    conversations: Ids  # (m,)
    has_photo: Mask  # (m,)
    missing: Mask  # (m,) there should be a photo, and there is none
    left_out: dict[int, dict[str, list[int]]]  # row -> task -> numbers


def open_published(files: tuple[ParquetFile, ...], options: Options, storage: Storage) -> tuple[Published, Left]:
    """Return the rows that options ask for, and what they leave out: (kind, how many, the first few in words).

    Raises:
        ImageNotFound: a row has no photo, and ``on_missing_image="error"``.
        CorruptFile: a footer's entry and its row groups do not tell of as many rows.
        SvitError: as in `Storage.read_ranges`.
    """
    found = [_rows(file, options.task, storage) for file in files]
    groups = [file.groups() for file in files]
    sizes = [len(rows) for rows, _, _ in groups]
    layout = RowGroups(
        np.repeat(np.arange(len(files)), sizes),
        np.concatenate([np.arange(size) for size in sizes]),
        *(np.concatenate(columns) for columns in zip(*groups, strict=True)),
    )
    group = np.repeat(np.arange(len(layout.rows)), layout.rows)
    at = np.arange(len(group)) - (np.cumsum(layout.rows) - layout.rows)[group]
    first = np.concatenate([[0], np.cumsum([len(rows.image_ids) for rows in found])])
    left_out = {
        (int(group[start + row]), int(at[start + row])): numbers
        for start, rows in zip(first.tolist(), found, strict=False)
        for row, numbers in rows.left_out.items()
    }
    columns = ("image_ids", "conversations", "has_photo", "missing")
    image_ids, conversations, has_photo, missing = (
        np.concatenate([getattr(rows, name) for rows in found]) for name in columns
    )
    whole = Published(
        options.task, options.rows, files, layout, group, at, image_ids, conversations, has_photo, left_out
    )
    wanted = np.flatnonzero(options.wants(image_ids))
    return _without_missing(whole.take(wanted), missing[wanted], options)


def _without_missing(source: Published, missing: Mask, options: Options) -> tuple[Published, Left]:
    """Apply the policy for rows whose photo was missing when they were written."""
    lost = np.flatnonzero(missing)
    if not len(lost):
        return source, []
    words = [
        f"Image {source.image_ids[index]} has none in {source.file_of(index).info.url}." for index in lost[:5].tolist()
    ]
    total = int(source.has_photo.sum()) + len(lost)
    nothing = options.on_missing_image == "skip" and len(lost) == total >= MAX_RUN
    if options.on_missing_image == "error" or nothing:
        raise ImageNotFound(
            f"{len(lost):,} of {total:,} photos are missing. {words[0]} It was missing when the file was built: build "
            'it again, or leave such rows out with on_missing_image="skip" (keep their text with "null").'
        )
    if options.on_missing_image == "skip":
        source = source.take(np.flatnonzero(~missing))
    return source, [("missing_image", len(lost), words)]


def _rows(file: ParquetFile, task: Task, storage: Storage) -> _Rows:
    entry = file.entry
    total = int(file.groups()[0].sum())
    if entry is None:
        return _from_columns(_columns(file, task, storage), task)
    count = len(entry["image_ids"])
    if count != total:
        raise CorruptFile(
            f"{file.info.url}: its footer tells of {count:,} rows, its row groups have {total:,}. Build it again."
        )
    missing = np.zeros(count, dtype=bool)
    missing[entry["missing"]] = True
    text_only = np.zeros(count, dtype=bool)
    text_only[entry["text_only"]] = True
    return _Rows(
        np.array(entry["image_ids"], dtype=np.int64),
        np.array(entry["conversations"], dtype=np.int64),
        ~(missing | text_only),
        missing,
        {int(row): numbers for row, numbers in entry["left_out"].items()},
    )


def _columns(file: ParquetFile, task: Task, storage: Storage) -> pa.Table:
    """Return what tells of the rows of a file without an entry: from the sidecar, or from a few of its columns."""
    sidecar = file.sidecar.with_suffix(".rows")
    if not sidecar.is_file():
        # photos lie between the first column and the others: two ranges a row group
        parts = (
            [["width", "image_path"]]
            if task.form == "llava"
            else [["image_id"], ["width", file.leaves("conversations")[0]]]
        )
        tables = []
        for names in parts:
            _, starts, stops = file.groups(names)
            where = [file.byte_range(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
            pieces = []
            for number, data in enumerate(storage.read_ranges(where)):
                if isinstance(data, SvitError):
                    raise data
                pieces.append(file.read(number, where[number].start, data, names))
            tables.append(pa.concat_tables(pieces))
        slim = _slim(tables, task)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, slim.schema) as writer:
            writer.write_table(slim)
        write_atomically(sidecar, sink.getvalue().to_pybytes())
    with pa.OSFile(str(sidecar)) as opened:
        return pa.ipc.open_file(opened).read_all()


def _slim(tables: list[pa.Table], task: Task) -> pa.Table:
    present = pc.is_valid(tables[-1]["width"])
    if task.form == "llava":
        return table(image_path=tables[0]["image_path"].cast(pa.string()), present=present)
    counts = pc.list_value_length(tables[1]["conversations"]).cast(pa.int64())
    return table(image_id=tables[0]["image_id"].cast(pa.int64()), conversations=counts, present=present)


def _from_columns(found: pa.Table, task: Task) -> _Rows:
    present = booleans(found["present"])
    if task.form == "llava":
        paths = found["image_path"].to_pylist()
        with_path = np.array([path is not None for path in paths], dtype=bool)
        image_ids = np.array([id_in_path(path) for path in paths], dtype=np.int64)
        return _Rows(image_ids, np.ones(len(paths), dtype=np.int64), present, with_path & ~present, {})
    return _Rows(
        as_numpy(found["image_id"]),
        as_numpy(found["conversations"], 0),
        present,
        ~present,
        {},
    )
