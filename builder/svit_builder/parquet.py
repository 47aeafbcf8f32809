"""One shard in, one Parquet file out: as the Hub's viewer, `datasets` and `svit_datasets.stream` read it best.

A row an image, photo bytes as they came, in row groups of a few MB; a row group at a time is in memory. A file comes
into being under a temporary name, is checked and renamed, so what has its name is whole. Which rows go into which
file, `shards` says; on how many processes and machines, `build`.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from svit_builder.shard import Written
from svit_datasets.join import read_windows
from svit_datasets.parquet import ENTRY
from svit_datasets.tables import in_row, tables
from svit_datasets.tasks import get_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from svit_builder.shard import Shard
    from svit_datasets.report import Tally
    from svit_datasets.storage import Storage

__all__ = ["write_shard"]

_UNFINISHED = ".writing"  # what a file's temporary name ends in
_PAGE = (8 << 10, 64 << 10)  # bytes a page, at least and about at most; nearly every photo is larger
_BYTES = "image.bytes"  # a JPEG does not compress, and no two are equal


def write_shard(shard: Shard, root: Path, storage: Storage, tally: Tally) -> Written:
    """Write one file; one that is there is replaced.

    The same shard gives the same bytes, whoever writes it, and wherever.

    Args:
        shard: what goes into it.
        root: the folder of the dataset.
        storage: how photos are reached.
        tally: where what is left out is counted.

    Returns:
        What the manifest tells of the file. ``left_out`` is empty: ``tally`` knows.

    Raises:
        SvitError: as in `read_windows`; nothing stays of the file then.
        OSError: the file cannot be written, or does not hold what was written.
    """
    path = root / shard.path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    try:  # from before there is such a file: a worker may be told to end at any moment
        sizes = _write(temporary, shard, storage, tally)
        digest = _synced(temporary)
        _check(temporary, sizes)
        size = temporary.stat().st_size
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    for left_over in path.parent.glob(f".{path.name}.*{_UNFINISHED}"):  # of a process that was killed
        left_over.unlink(missing_ok=True)
    return Written(shard.path, size, sum(sizes), digest, shard.build)


def _synced(path: Path) -> str:
    """Return a file's SHA-256 while the system brings it to the disk: one of them works, the other waits."""
    with path.open("rb+") as file, ThreadPoolExecutor(1) as pool:
        synced = pool.submit(os.fsync, file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        synced.result()
        if hasattr(os, "posix_fadvise"):  # nobody reads it soon; what does stay in memory is what it is made from
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return digest


def _write(path: Path, shard: Shard, storage: Storage, tally: Tally) -> list[int]:
    """Write the file's content and return how many rows each of its row groups should have."""
    task = get_task(shard.config)
    written: list[int] = []  # of the plan's images
    bare: list[int] = []  # of these, without a photo
    sizes = []
    windows = read_windows([shard.plan], shard.on_missing_image, storage, tally, size=shard.row_group)
    with pa.OSFile(str(path), "wb") as file, pq.ParquetWriter(file, shard.schema, **_layout(shard.schema)) as writer:
        starts = count(0, shard.row_group)
        for window in windows:  # zip() would keep the one it gave last
            parts = list(tables(window, task, "image", in_row, shard.schema))
            if parts:  # else no photo of the window was left
                sizes.append(sum(map(len, parts)))
                writer.write_table(pa.concat_tables(parts), row_group_size=sizes[-1])
            rows = (next(starts) + window.kept).tolist()
            written.extend(rows)
            bare.extend(row for row, photo in zip(rows, window.photos, strict=True) if photo is None)
            del window, parts  # before the photos of the next are taken in
        writer.add_key_value_metadata({ENTRY: json.dumps(shard.entry(written, bare), separators=(",", ":"))})
    return sizes


def _layout(schema: pa.Schema) -> dict[str, Any]:
    """Return how columns are laid out.

    The page index and small row groups are for the viewer, which reads at most 300 MB for a page of 100 rows; content
    defined chunks are for the Hub, which stores equal chunks of several files once. A photo is a page of its own, so
    its page is the same bytes in every configuration, whatever photos stand beside it: of a second configuration
    that lacks other photos than the first, 20 % is new then; with the usual pages of 256 kB and more, 50 % (measured).
    """
    leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
    text = [leaf for leaf in leaves if leaf != _BYTES]
    repeating = [leaf for leaf in leaves if leaf.rpartition(".")[2] in {"topic", "task", "role"}]
    return {
        "compression": {leaf: "zstd" if leaf in text else "none" for leaf in leaves},
        "use_dictionary": repeating,
        "column_encoding": {leaf: "PLAIN" for leaf in leaves if leaf not in repeating},
        "write_statistics": text,
        "write_page_index": True,
        "write_page_checksum": True,
        "use_content_defined_chunking": {"min_chunk_size": _PAGE[0], "max_chunk_size": _PAGE[1]},
        "sorting_columns": [pq.SortingColumn(0)] if schema.names[0] == "image_id" else None,
    }


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    """Yield the names of a column's leaves as Parquet has them."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path


def _check(path: Path, sizes: list[int]) -> None:
    found = pq.read_metadata(path)
    rows = [found.row_group(number).num_rows for number in range(found.num_row_groups)]
    if rows != sizes:
        raise OSError(f"{path}: row groups of {rows} rows were found where {sizes} were written. Write it again.")
