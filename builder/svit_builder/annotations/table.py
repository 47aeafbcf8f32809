"""Rows in the order of a file in, a table on disk with random access by photo out: each file is parsed once.

A table is a folder of the cache, keyed by its source's URL, size and fingerprint and by the version of this format:
``rows.arrow`` (texts and boxes, a row an item of the file), ``index.npy`` (the key of each row, ascending, the row, and
how many texts it has) and ``manifest.json``, written last. A key may have several rows: their texts are joined.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from tqdm.auto import tqdm

from svit_builder.annotations.files import open_source
from svit_builder.annotations.parse import Faults, read_captions, read_image_data, read_instances, read_photos
from svit_datasets.cache import build_once
from svit_datasets.columns import integers, strings
from svit_datasets.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from svit_builder.annotations.files import Source
    from svit_builder.annotations.parse import Row, Sizes
    from svit_datasets.storage import Storage

__all__ = ["Table", "open_image_data", "open_table"]

FORMAT = 1  # raise it when anything that is kept changes, also in `parse`
_BATCH = 16  # photos that are read as one
_SCHEMA = pa.schema([("texts", pa.list_(pa.string())), ("boxes", pa.list_(pa.float32()))])
_Ids = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Table:
    """One annotation file, on disk. Pickles as its path; each process opens it once."""

    folder: Path
    _open: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_open": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def manifest(self) -> dict[str, Any]:
        """What was kept: source, rows, and what was left out."""
        if "manifest" not in self._open:
            self._open["manifest"] = json.loads((self.folder / "manifest.json").read_text("utf-8"))
        return self._open["manifest"]  # type: ignore[no-any-return]

    @property
    def index(self) -> _Ids:
        """(3, rows): key, ascending; row; number of texts. 24 bytes a row of memory."""
        if "index" not in self._open:
            self._open["index"] = np.load(self.folder / "index.npy", allow_pickle=False)
        return self._open["index"]  # type: ignore[no-any-return]

    @property
    def keys(self) -> _Ids:
        """The keys of which anything is written, ascending."""
        keys, _, texts = self.index
        return np.unique(keys[texts > 0])

    def read(self, keys: Sequence[int]) -> dict[int, tuple[list[str], list[float]]]:
        """Return the texts and boxes of some keys, those that have any; reads each batch of 16 rows that they touch."""
        known, rows, _ = self.index
        wanted = np.unique(np.array(keys, dtype=np.int64))
        starts, stops = np.searchsorted(known, wanted), np.searchsorted(known, wanted, "right")
        found: dict[int, tuple[list[str], list[float]]] = {}
        for key, start, stop in zip(wanted.tolist(), starts.tolist(), stops.tolist(), strict=True):
            for row in rows[start:stop].tolist():
                texts, boxes = _read_batch(str(self.folder), row // _BATCH, os.getpid())
                if start + 1 == stop:
                    found[key] = (texts[row % _BATCH], boxes[row % _BATCH])
                else:
                    joined = found.setdefault(key, ([], []))
                    joined[0].extend(texts[row % _BATCH])
                    joined[1].extend(boxes[row % _BATCH])
        return found


@lru_cache(maxsize=16)
def _reader(folder: str, pid: int) -> pa.ipc.RecordBatchFileReader:
    del pid  # a forked child must not share the parent's file position
    return pa.ipc.open_file(pa.OSFile(f"{folder}/rows.arrow"))


@lru_cache(maxsize=128)
def _read_batch(folder: str, number: int, pid: int) -> tuple[list[list[str]], list[list[float]]]:
    batch = _reader(folder, pid).get_batch(number)
    return batch.column(0).to_pylist(), batch.column(1).to_pylist()


def open_table(source: Source, storage: Storage, cache: Path) -> Table:
    """Return the table of a file, building it first if there is none.

    One process builds, others wait; a progress bar shows on standard error when it takes longer than a second. Holds a
    few MB while it builds, for COCO's files what `read_captions` and `read_instances` tell.

    Raises:
        CorruptFile: the file breaks off or is not what its name says.
        CacheError: the cache cannot be written.
        SvitError: as in `Storage.open`.
    """
    return Table(build_once(_folder(source, cache), lambda temporary: _build(temporary, source, storage)))


def open_image_data(source: Source, storage: Storage, cache: Path) -> Sizes:
    """Return what `read_image_data` tells of a file; it is read once and kept in the cache.

    Raises:
        SvitError: as in `open_table`.
    """

    def build(folder: Path) -> None:
        with open_source(source, storage) as (stream, label, _):
            np.save(folder / "index.npy", read_image_data(stream, label), allow_pickle=False)
        storage.check(source.info)

    kept: Sizes = np.load(build_once(_folder(source, cache), build) / "index.npy", allow_pickle=False)
    return kept


def _folder(source: Source, cache: Path) -> Path:
    info = source.info
    identity = f"{FORMAT}\0{source.kind}\0{info.url}\0{source.member}\0{info.size}\0{info.fingerprint}"
    return cache / "annotations" / f"{source.kind}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _build(folder: Path, source: Source, storage: Storage) -> None:
    faults = Faults()
    index: list[_Ids] = []
    with (
        open_source(source, storage) as (stream, label, total),
        _progress(stream, label, total) as counted,
        pa.OSFile(str(folder / "rows.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, _SCHEMA) as writer,
    ):
        rows = _rows(source.kind, counted, label, faults)
        while batch := list(islice(rows, _BATCH)):
            writer.write_batch(_to_batch(batch))
            index.append(np.array([(row.key, len(row.texts)) for row in batch], dtype=np.int64))
    keys, texts = np.concatenate([np.zeros((0, 2), dtype=np.int64), *index]).T
    order = np.argsort(keys, kind="stable")
    np.save(folder / "index.npy", np.stack([keys[order], order, texts[order]]), allow_pickle=False)
    with pa.OSFile(str(folder / "rows.arrow")) as file:
        written = pa.ipc.open_file(file).num_record_batches
    if written != len(index):
        raise CorruptFile(f"{folder}: {written} of {len(index)} batches were kept. Run it again; nothing stays.")
    storage.check(source.info)
    manifest = {
        "format": FORMAT,
        "source": asdict(source),
        "rows": len(keys),
        "texts": int(texts.sum()),
        "left_out": dict(faults.counts),
        "remarks": faults.remarks,
    }
    with (folder / "manifest.json").open("w", encoding="utf-8") as out:
        json.dump(manifest, out, indent=1)
        out.flush()
        os.fsync(out.fileno())


def _rows(kind: str, stream: BinaryIO, label: str, faults: Faults) -> Iterator[Row]:
    if kind == "captions":
        return read_captions(stream, label, faults)
    if kind == "instances":
        return read_instances(stream, label, faults)
    return read_photos(kind, stream, label, faults)


def _to_batch(rows: list[Row]) -> pa.RecordBatch:
    texts = strings([text for row in rows for text in row.texts])
    boxes = np.array([value for row in rows for value in row.boxes], dtype=np.float32)
    numbers = pa.Array.from_buffers(pa.float32(), len(boxes), [None, pa.py_buffer(boxes)])
    return pa.RecordBatch.from_arrays(
        [
            pa.ListArray.from_arrays(_offsets([len(row.texts) for row in rows]), texts),
            pa.ListArray.from_arrays(_offsets([len(row.boxes) for row in rows]), numbers),
        ],
        schema=_SCHEMA,
    )


def _offsets(sizes: list[int]) -> pa.Array:
    return integers(np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]), pa.int32())


def _progress(stream: BinaryIO, label: str, total: int | None) -> Any:
    """Wrap a stream so that reading it moves a progress bar, shown only when it takes longer than a second."""
    name = label.rsplit("/", 1)[-1]
    return tqdm.wrapattr(
        stream, "read", total=total, desc=f"Preparing {name}", delay=1, unit="B", unit_scale=True, leave=False
    )
