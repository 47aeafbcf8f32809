"""What readers move of a published file over http: the server counts bytes and requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fsspec
import pyarrow.parquet as pq
from svit_builder.build import build

import svit_datasets
from tests.servers import FileServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.corpus import Corpus

TEXT = ["image_id", "conversations.list.element.messages.list.element.content"]


def moved(corpus: Corpus, scratch: Path) -> list[tuple[str, int, int]]:
    """Return (what is read, body bytes, requests); the last line is the file itself."""
    out = scratch / "moved"
    build(out / "svit", data_dir=corpus.folder, configs=["complex_reasoning"], holdout=None, cache_dir=out / "cache")
    (path,) = (out / "svit/complex_reasoning").glob("*.parquet")
    ids = pq.read_table(path, columns=["image_id"])["image_id"].to_pylist()
    wanted = ids[len(ids) // 2]
    found = []
    with FileServer(out / "svit") as server:
        url = f"{server.url}/complex_reasoning/{path.name}"

        def measure(what: str, read: Callable[[], int], rows: int) -> None:
            server.log.reset()
            assert read() == rows, what
            found.append((what, server.log.body_bytes, len(server.log.requests)))

        def ours() -> int:
            options = {"data_dir": server.url, "cache_dir": out / "reader", "image_ids": [wanted], "decode": None}
            return sum(row["image_id"] == wanted for row in svit_datasets.stream("complex_reasoning", **options))

        measure("one row by id, `svit_datasets.stream`, the first time", ours, 1)
        measure("one row by id, `svit_datasets.stream`, again", ours, 1)
        measure("one row by id, `pyarrow`, statistics", lambda: _one(url, wanted), 1)
        measure("all text and ids, no photo, `pyarrow`", lambda: _text(url), len(ids))
        measure("the first 12 rows, page by page as the viewer does", lambda: _first(url, path, 12), 12)
    return [*found, ("the whole file", path.stat().st_size, 1)]


def _open(url: str):
    return fsspec.open(url, cache_type="none", block_size=1 << 16).open()


def _one(url: str, wanted: int) -> int:
    with _open(url) as file:
        return len(pq.read_table(file, filters=[("image_id", "==", wanted)], pre_buffer=True))


def _text(url: str) -> int:
    with _open(url) as file:
        return len(pq.ParquetFile(file, pre_buffer=True).read(columns=TEXT))


def _first(url: str, path: Path, rows: int) -> int:
    """The first rows as a reader of the offset index takes them: the first row group, and of its photos only so many.

    pyarrow cannot prune pages; a photo is a page, so the bytes of a column's first pages are those of its first rows.
    """
    footer = pq.read_metadata(path)
    group = footer.row_group(0)
    with fsspec.open(url, cache_type="none").open() as file:
        file.seek(-(1 << 16), 2)
        file.read()
        for number in range(group.num_columns):
            column = group.column(number)
            start = min(filter(None, (column.data_page_offset, column.dictionary_page_offset)))
            size = column.total_compressed_size
            if column.path_in_schema == "image.bytes":
                photos = pq.ParquetFile(path).read_row_group(0, columns=["image"])["image"].to_pylist()[:rows]
                size = sum(len(photo["bytes"]) + 64 for photo in photos)
            file.seek(start)
            file.read(size)
    return rows
