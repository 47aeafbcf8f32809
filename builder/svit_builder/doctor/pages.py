"""A Parquet footer in, its column chunks and pages out; and how many bytes a reader of some rows must fetch.

pyarrow tells that a column has an offset index, but not what is in it, nor how many values are null where a column has
no statistics. Both stand in the file (https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift),
so the footer is read once more here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.doctor.thrift import read_struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Chunk", "read_chunks", "window_bytes"]

# Field numbers in parquet.thrift
_ROW_GROUPS = 4  # FileMetaData
_COLUMNS, _GROUP_ROWS = 1, 3  # RowGroup
_META, _INDEX_AT, _INDEX_SIZE = 3, 4, 5  # ColumnChunk
_PATH, _COMPRESSED, _SIZES = 3, 7, 16  # ColumnMetaData
_LEVELS = 3  # SizeStatistics: how many values have each definition level
_LOCATIONS = 1  # OffsetIndex
_PAGE_SIZE, _PAGE_ROW = 2, 3  # PageLocation

Ids = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group."""

    column: str  # path of the leaf, as "image.bytes"
    group: int
    first: int  # row of the file
    rows: int
    size: int  # bytes in the file
    dictionary: int  # bytes of the dictionary page, which every reader of the chunk needs
    sizes: Ids  # (pages,) bytes; without an offset index one page, the whole chunk
    firsts: Ids  # (pages,) row of the file
    levels: tuple[int, ...]  # values by definition level, the last: not null; () where the writer does not tell


def read_chunks(footer: bytes, read: Callable[[int, int], bytes]) -> tuple[Chunk, ...]:
    """Return the column chunks of a file, row group by row group.

    Args:
        footer: the Thrift struct between the pages and the footer's length.
        read: returns the bytes [start, stop) of the file; called once, for all offset indexes together.

    Raises:
        ValueError: the footer or an index is none.
    """
    found, _ = read_struct(footer)
    groups = found[_ROW_GROUPS]
    indexes = [
        (column[_INDEX_AT], column[_INDEX_AT] + column[_INDEX_SIZE])
        for group in groups
        for column in group[_COLUMNS]
        if column.get(_INDEX_AT)
    ]
    low = min((start for start, _ in indexes), default=0)
    data = read(low, max(stop for _, stop in indexes)) if indexes else b""
    chunks: list[Chunk] = []
    first = 0
    for number, group in enumerate(groups):
        rows = group[_GROUP_ROWS]
        chunks.extend(_chunk(column, number, (first, rows), data, low) for column in group[_COLUMNS])
        first += rows
    return tuple(chunks)


def _chunk(column: dict[int, Any], group: int, span: tuple[int, int], data: bytes, low: int) -> Chunk:
    meta = column[_META]
    first, rows = span
    size = meta[_COMPRESSED]
    if column.get(_INDEX_AT):
        index, _ = read_struct(data, column[_INDEX_AT] - low)
        pages = [(page[_PAGE_SIZE], first + page[_PAGE_ROW]) for page in index[_LOCATIONS]]
    else:
        pages = [(size, first)]
    table = np.array(pages, dtype=np.int64).reshape(-1, 2)
    path = ".".join(part.decode() for part in meta[_PATH])
    levels = tuple(meta.get(_SIZES, {}).get(_LEVELS, ()))
    return Chunk(path, group, first, rows, size, size - int(table[:, 0].sum()), table[:, 0], table[:, 1], levels)


def window_bytes(files: Iterable[tuple[int, Iterable[Chunk]]], rows: int) -> tuple[int, int]:
    """Return the most bytes that any window of so many neighbouring rows needs, and the row at which it begins.

    Pages are fetched whole, and a dictionary with them.

    Args:
        files: of one split in order: how many rows each has, and its chunks.
        rows: of the window.
    """
    starts: list[Ids] = []
    stops: list[Ids] = []
    sizes: list[Ids] = []
    before = 0
    for count, chunks in files:
        for chunk in chunks:
            end = chunk.first + chunk.rows
            starts.append(np.append(chunk.firsts, chunk.first) + before)
            stops.append(np.append(chunk.firsts[1:], [end, end]) + before)
            sizes.append(np.append(chunk.sizes, chunk.dictionary))
        before += count
    if not before:
        return 0, 0
    # A window from row s has a page of the rows [a, b) where a - rows < s < b.
    begin = np.maximum(np.concatenate(starts) - rows + 1, 0)
    change = np.zeros(before + 1, dtype=np.int64)
    np.add.at(change, begin, np.concatenate(sizes))
    np.add.at(change, np.concatenate(stops), -np.concatenate(sizes))
    total = np.cumsum(change[:-1])
    return int(total.max()), int(total.argmax())
