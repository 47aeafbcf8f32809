"""A Parquet file of photos and text in, where its row groups lie out; and back from a row group's bytes to its rows.

The footer is read once, in one or two range requests, and kept as a small sidecar in the cache. After that a row group
is one byte range. Which file is which split, and what its rows mean, `published` knows.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from svit_datasets.cache import write_atomically
from svit_datasets.errors import CorruptFile
from svit_datasets.storage import ByteRange
from svit_datasets.store import MESSAGES

if TYPE_CHECKING:
    from pathlib import Path

    from svit_datasets.storage import FileInfo, Storage
    from svit_datasets.tasks import Task

    Ids = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["ENTRY", "ParquetFile", "columns_of", "open_parquet"]

ENTRY = "svit"  # the key in the footer of what `svit_builder` says of a file's rows
_FORMAT = 1  # raise it when the sidecar's content changes
_TAIL = 1 << 18  # bytes; holds the footer of 5,000 rows
_OPEN = 64  # files whose footers a process keeps parsed; 0.3 MB each where a file has 100 row groups
_MAGIC = b"PAR1"
_PHOTO = [
    ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ("width", pa.int32()),
    ("height", pa.int32()),
]


def columns_of(task: Task) -> pa.Schema:
    """Return the columns of a configuration's files as Arrow types; those of `features_of` with rows="image"."""
    if task.form == "llava":
        return pa.schema([("id", pa.string()), *_PHOTO, ("image_path", pa.string()), ("messages", MESSAGES)])
    kind = [("task", pa.string())] if task.parts else []
    block = pa.struct([("topic", pa.string()), *kind, ("messages", MESSAGES)])
    return pa.schema([("image_id", pa.int64()), *_PHOTO, ("conversations", pa.list_(block))])


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file whose footer is known. Pickles as the sidecar's path; each process parses it once."""

    info: FileInfo
    sidecar: Path  # the footer between two magic numbers: a Parquet file without data
    schema: pa.Schema  # what rows are to be given as

    @property
    def entry(self) -> dict[str, Any] | None:
        """What `svit_builder` wrote of the file's rows; None where another writer made it.

        Raises:
            CorruptFile: it is no JSON object.
        """
        found = (_footer(str(self.sidecar), os.getpid()).metadata or {}).get(ENTRY.encode())
        try:
            entry = None if found is None else json.loads(found)
        except ValueError:
            entry = "no JSON"
        if entry is not None and not isinstance(entry, dict):
            raise CorruptFile(
                f"{self.info.url}: its footer's {ENTRY!r} is not what the builder writes ({str(entry)[:40]}). "
                "Build the file again, or leave that key out."
            )
        return entry

    def groups(self, columns: list[str] | None = None) -> tuple[Ids, Ids, Ids]:
        """Return for each row group its rows, and the bytes from the first of its columns to behind the last.

        Args:
            columns: names of leaves; None for all that ``schema`` has.

        Raises:
            CorruptFile: the footer names bytes that the file does not have.
        """
        footer = _footer(str(self.sidecar), os.getpid())
        names = [footer.schema.column(number).path for number in range(footer.num_columns)]
        wanted = set(self.schema.names)
        chosen = [
            number
            for number, name in enumerate(names)
            if (name in columns if columns is not None else name.partition(".")[0] in wanted)
        ]
        found = np.empty((footer.num_row_groups, 3), dtype=np.int64)
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            chunks = [_chunk(group.column(column)) for column in chosen]
            found[number] = group.num_rows, min(low for low, _ in chunks), max(high for _, high in chunks)
        if len(found) and (found[:, 1].min() < 4 or found[:, 2].max() > self.info.size):
            raise CorruptFile(
                f"{self.info.url}: its footer names bytes that are not there: the file has {self.info.size:,}. "
                "Copy or download it again."
            )
        return found[:, 0], found[:, 1], found[:, 2]

    def leaves(self, column: str) -> list[str]:
        """Return the full names of a column's leaves; writers differ in what they call a list's items."""
        footer = _footer(str(self.sidecar), os.getpid())
        paths = (str(footer.schema.column(number).path) for number in range(footer.num_columns))
        return [path for path in paths if path.partition(".")[0] == column]

    def byte_range(self, start: int, stop: int) -> ByteRange:
        """Return a range of this file, which fails where the file is another one by then."""
        return ByteRange(self.info.url, start, stop, self.info.fingerprint)

    def read(
        self, group: int, start: int, data: bytes, columns: list[str] | None = None, *, verify: bool = True
    ) -> pa.Table:
        """Return the rows of a row group.

        Args:
            group: its number.
            start: at which byte of the file ``data`` begin.
            data: the range of `groups`, or more.
            columns: as in `groups`.
            verify: compare the CRC-32 of pages, where the writer gave them one.

        Raises:
            CorruptFile: the bytes are no such row group, or a page's CRC-32 is wrong.
        """
        opened = _open(str(self.sidecar), os.getpid(), verify)
        try:
            with opened.lock:
                opened.piece.hold(start, data)
                try:
                    table = opened.file.read_row_group(group, columns or self.schema.names, use_threads=False)
                finally:
                    opened.piece.hold(0, b"")
            return table if columns is not None else _as(table, self.schema)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptFile(
                f"{self.info.url}, row group {group}, from byte {start:,}: cannot be read ({error}). "
                "Copy or download it again."
            ) from error


def open_parquet(info: FileInfo, task: Task, storage: Storage, cache: Path) -> ParquetFile:
    """Return a file with its footer, from the sidecar if there is one.

    Raises:
        CorruptFile: it is no Parquet file, is cut off, or has other columns than the configuration.
        SvitError: as in `Storage.read`.
    """
    key = hashlib.sha256(f"{_FORMAT}\0{info.url}\0{info.size}\0{info.fingerprint}".encode()).hexdigest()[:16]
    sidecar = cache / "parquet" / f"{info.url.rsplit('/', 1)[-1]}-{key}.footer"
    if not sidecar.is_file():
        footer = _read_footer(info, storage)
        try:
            pq.read_metadata(pa.BufferReader(footer)).schema.to_arrow_schema()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptFile(f"{info.url}: its footer cannot be read ({error}). Copy or download it again.") from error
        write_atomically(sidecar, footer)
    file = ParquetFile(info, sidecar, columns_of(task))
    _check_columns(file, task)
    return file


def _read_footer(info: FileInfo, storage: Storage) -> bytes:
    start = max(0, info.size - _TAIL)
    tail = storage.read(info.url, start, info.size, info.fingerprint) if info.size else b""
    if len(tail) < 12 or not tail.endswith(_MAGIC):
        raise CorruptFile(
            f"{info.url} ({info.size:,} bytes) does not end as a Parquet file does, but with {tail[-4:]!r}: it is cut "
            "off, or something else. Copy or download it again."
        )
    size = int.from_bytes(tail[-8:-4], "little") + 8
    if size + 4 > info.size:
        raise CorruptFile(f"{info.url}: its footer would be larger than the file. Copy or download it again.")
    if size > len(tail):
        tail = storage.read(info.url, info.size - size, start, info.fingerprint) + tail
    return _MAGIC + tail[-size:]


def _check_columns(file: ParquetFile, task: Task) -> None:
    found = _footer(str(file.sidecar), os.getpid()).schema.to_arrow_schema()
    missing = [name for name in file.schema.names if name not in found.names]
    try:
        if not missing:
            _as(pa.Table.from_batches([], schema=found), file.schema)  # empty_table() would import pandas
            return
        why = f"no {missing[0]}"
    except pa.ArrowException as error:
        why = str(error)
    raise CorruptFile(
        f"{file.info.url}: its columns are not those of config {task.name!r} ({why}). Expected "
        f"{', '.join(file.schema.names)}; found {', '.join(found.names)}."
    )


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table.select(schema.names).replace_schema_metadata().cast(schema)


def _chunk(column: Any) -> tuple[int, int]:
    """Return where a column's pages begin and end."""
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset is not None:
        start = min(start, column.dictionary_page_offset)
    return start, start + column.total_compressed_size


class _Piece:
    """Some bytes of a file that are in memory, as a file; reading outside of them is an error."""

    closed = False

    def __init__(self, size: int) -> None:
        self._size, self._position = size, 0
        self.hold(0, b"")

    def hold(self, start: int, data: bytes) -> None:
        """Be a file of these bytes from now on."""
        self._start, self._data = start, pa.py_buffer(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + {0: 0, 1: self._position, 2: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read_buffer(self, size: int) -> pa.Buffer:
        """Return bytes without a copy; Arrow asks for them so."""
        at = self._position - self._start
        if at < 0 or at + size > len(self._data):
            raise OSError(f"bytes {self._position:,} to {self._position + size:,} were not fetched")
        self._position += size
        return self._data.slice(at, size)

    def read(self, size: int) -> bytes:
        data: bytes = self.read_buffer(size).to_pybytes()
        return data


@dataclass(frozen=True)
class _Opened:
    """A file whose footer is parsed, and the bytes it reads from."""

    file: pq.ParquetFile
    piece: _Piece
    lock: Lock  # two streams of one process may read the same file


@lru_cache(maxsize=_OPEN)
def _open(sidecar: str, pid: int, verify: bool) -> _Opened:  # positional, as lru_cache tells the two apart
    footer = _footer(sidecar, pid)
    piece = _Piece(1 << 62)
    source = pa.PythonFile(piece, mode="r")
    file = pq.ParquetFile(source, metadata=footer, pre_buffer=False, page_checksum_verification=verify)
    return _Opened(file, piece, Lock())


@lru_cache(maxsize=_OPEN)
def _footer(sidecar: str, pid: int) -> pq.FileMetaData:
    del pid  # as in `store`: nothing of a parent is shared with its forked child
    return pq.read_metadata(sidecar)
