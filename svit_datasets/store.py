"""Records in, a table on disk with random access out: each file of text is parsed once and never again.

A store is a folder of the cache, keyed by its source's URL, size and fingerprint and by the version of this format:
``text.arrow`` (one row an item, in the file's order), ``index.arrow`` (ids, for planning without reading text) and
``manifest.json``, written last. What could not be used is in the manifest; policies come later. Text is not compressed:
a row out of order costs 0.03 ms so, and 0.5 ms out of batches of 64 rows in zstd (measured), for four times the space.
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

from svit_datasets.cache import build_once
from svit_datasets.columns import integers, strings, table
from svit_datasets.errors import CorruptFile, TooManyFailures
from svit_datasets.filters import is_message_empty
from svit_datasets.records import Defect, Dialogue, Record, read_records
from svit_datasets.sources import open_text
from svit_datasets.tasks import infer_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from svit_datasets.sources import TextFile
    from svit_datasets.storage import Storage

__all__ = ["BLOCK", "MESSAGES", "Store", "open_store"]

FORMAT = 2  # raise it when anything below changes what a store holds
BATCH = 16  # rows; about 80 KB of text, read as one
_MAX_BAD_RUN = 1000  # unusable items in a row, after which the file is taken for the wrong one

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
BLOCK = pa.struct([("topic", pa.string()), ("task", pa.string()), ("messages", MESSAGES)])
_SVIT = pa.schema([("image_id", pa.int64()), ("conversations", pa.list_(BLOCK))])
_LLAVA = pa.schema([("id", pa.string()), ("image_path", pa.string()), ("messages", MESSAGES)])


@dataclass(frozen=True)
class Store:
    """The text of one file, on disk. Pickles as its path; each process opens it once."""

    folder: Path
    _open: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_open": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def manifest(self) -> dict[str, Any]:
        """What was stored: source, rows, counts."""
        if "manifest" not in self._open:
            self._open["manifest"] = json.loads((self.folder / "manifest.json").read_text("utf-8"))
        return self._open["manifest"]  # type: ignore[no-any-return]

    @property
    def index(self) -> pa.Table:
        """One row an item: image_id and number of blocks (SVIT form), or image_path (LLaVA form)."""
        if "index" not in self._open:
            with pa.OSFile(str(self.folder / "index.arrow")) as file:
                self._open["index"] = pa.ipc.open_file(file).read_all()
        return self._open["index"]

    @property
    def defects(self) -> list[Defect]:
        """What could not be used, in the file's order."""
        return [Defect(**defect) for defect in self.manifest["defects"]]

    def take(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> pa.Table:
        """Return rows of the text, in the order asked for; the table is a view of the batches it was read in.

        Reads each batch of 16 rows that they touch; the last few batches are kept, so neighbouring calls share them.

        Args:
            rows: 0-based positions, int64, in any order.
        """
        folder, ends = str(self.folder), (rows[1:] != rows[:-1] + 1) | (rows[1:] % BATCH == 0)
        starts = np.flatnonzero(np.concatenate([[True], ends])[: len(rows)])
        runs = zip(rows[starts].tolist(), np.diff(starts, append=len(rows)).tolist(), strict=True)
        return pa.Table.from_batches(
            [_read_batch(folder, row // BATCH).slice(row % BATCH, size) for row, size in runs],
            schema=_reader(folder, os.getpid()).schema,
        )


@lru_cache(maxsize=4)
def _reader(folder: str, pid: int) -> pa.ipc.RecordBatchFileReader:
    del pid  # a forked child must not share the parent's file position
    return pa.ipc.open_file(pa.OSFile(f"{folder}/text.arrow"))


@lru_cache(maxsize=64)
def _read_batch(folder: str, number: int) -> pa.RecordBatch:
    return _reader(folder, os.getpid()).get_batch(number)


def open_store(file: TextFile, storage: Storage, cache: Path) -> Store:
    """Return the store of a file, building it first if there is none.

    One process builds, others wait; a progress bar shows on standard error when it takes longer than a second.

    Raises:
        CorruptFile: the file breaks off or is no JSON.
        TooManyFailures: 1,000 items in a row cannot be used.
        CacheError: the cache cannot be written.
        SvitError: as in `Storage.open`.
    """
    identity = f"{FORMAT}\0{file.task.name}\0{file.info.url}\0{file.info.size}\0{file.info.fingerprint}"
    folder = cache / "text" / f"{file.task.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    return Store(build_once(folder, lambda temporary: _build(temporary, file, storage)))


def _build(folder: Path, file: TextFile, storage: Storage) -> None:
    tally = _Tally(infer=bool(file.task.parts))
    schema: pa.Schema = _SVIT if file.task.form == "svit" else _LLAVA
    to_batch: Any = _svit_batch if file.task.form == "svit" else _llava_batch
    index = []
    with (
        open_text(file.info, storage) as (stream, label, total),
        _progress(stream, label, total) as counted,
        pa.OSFile(str(folder / "text.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        good = tally.sift(read_records(counted, label, file.task.form))
        while records := list(islice(good, BATCH)):
            batch, entry = to_batch(records, tally.tasks)
            tally.tasks.clear()
            writer.write_batch(batch)
            index.append(entry)
    if not index:
        index = [to_batch([], [])[1]]
    whole = pa.concat_tables(index).combine_chunks()
    pa.default_memory_pool().release_unused()
    with pa.OSFile(str(folder / "index.arrow"), "wb") as sink, pa.ipc.new_file(sink, whole.schema) as writer:
        writer.write_table(whole)
    _check(folder, len(whole))
    storage.check(file.info)
    manifest = {
        "format": FORMAT,
        "config": file.task.name,
        "source": asdict(file.info),
        "rows": len(whole),
        "defects": [asdict(defect) for defect in tally.defects],
        "message_is_empty": tally.message_is_empty,
    }
    with (folder / "manifest.json").open("w", encoding="utf-8") as out:
        json.dump(manifest, out, indent=1)
        out.flush()
        os.fsync(out.fileno())


def _check(folder: Path, rows: int) -> None:
    with pa.OSFile(str(folder / "text.arrow")) as file:
        batches = pa.ipc.open_file(file).num_record_batches
    if batches != -(-rows // BATCH):
        raise CorruptFile(f"{folder}: {batches} batches were written for {rows} rows. Run it again; nothing was kept.")


class _Tally:
    """Sifts records from defects on the way to the table, and remembers what policies will ask about."""

    def __init__(self, *, infer: bool) -> None:
        self.defects: list[Defect] = []
        self.message_is_empty: list[tuple[int, int]] = []  # (row, block in the row)
        self.tasks: list[str] = []  # of the blocks since the last batch, where they must be inferred
        self._infer = infer

    def sift(self, parsed: Iterable[Record | Dialogue | Defect]) -> Iterator[Record | Dialogue]:
        row, bad_run = 0, 0
        for item in parsed:
            if isinstance(item, Defect):
                is_another = not self.defects or self.defects[-1].number != item.number
                self.defects.append(item)
                bad_run += is_another and item.kind != "empty_record"
                if bad_run >= _MAX_BAD_RUN:
                    raise TooManyFailures(
                        f"{bad_run} unusable records in a row, up to record {item.number}, byte {item.byte} "
                        f"({item.kind}: {item.detail}). Is this file what its name says?"
                    )
                continue
            bad_run = 0
            self._note(item, row)
            yield item
            row += 1

    def _note(self, item: Record | Dialogue, row: int) -> None:
        if isinstance(item, Record) and self._infer:
            self.tasks.extend(infer_tasks(item.topics, item.sizes, item.texts))
        if any(map(is_message_empty, item.texts[1::2])):
            blocks = item.blocks if isinstance(item, Record) else [(None, item.texts)]
            empty = [number for number, (_, texts) in enumerate(blocks) if any(map(is_message_empty, texts[1::2]))]
            self.message_is_empty.extend((row, block) for block in empty)


def _svit_batch(records: list[Record], tasks: list[str]) -> tuple[pa.RecordBatch, pa.Table]:
    sizes = [size for record in records for size in record.sizes]
    topics = [topic for record in records for topic in record.topics]
    blocks = [len(record.sizes) for record in records]
    messages = _messages([text for record in records for text in record.texts], sizes)
    task = strings(tasks) if tasks else pa.nulls(len(sizes), pa.string())
    block = pa.StructArray.from_arrays([strings(topics), task, messages], fields=list(BLOCK))
    image_ids = integers([record.image_id for record in records], pa.int64())
    index = table(image_id=image_ids, blocks=integers(blocks, pa.int32()))
    return pa.RecordBatch.from_arrays(
        [image_ids, pa.ListArray.from_arrays(_offsets(blocks), block)], schema=_SVIT
    ), index


def _llava_batch(dialogues: list[Dialogue], tasks: list[str]) -> tuple[pa.RecordBatch, pa.Table]:
    del tasks
    paths = strings([dialogue.image_path for dialogue in dialogues])
    messages = _messages(
        [text for dialogue in dialogues for text in dialogue.texts], [len(dialogue.texts) for dialogue in dialogues]
    )
    ids = strings([dialogue.id for dialogue in dialogues])
    return pa.RecordBatch.from_arrays([ids, paths, messages], schema=_LLAVA), table(image_path=paths)


def _messages(texts: list[str], sizes: list[int]) -> pa.ListArray:
    roles = strings(["user", "assistant"] * (len(texts) // 2))  # every size is even
    message = pa.StructArray.from_arrays([roles, strings(texts)], fields=list(MESSAGES.value_type))
    return pa.ListArray.from_arrays(_offsets(sizes), message)


def _offsets(sizes: list[int]) -> pa.Array:
    return integers(np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]), pa.int32())


def _progress(stream: BinaryIO, label: str, total: int | None) -> Any:
    """Wrap a stream so that reading it moves a progress bar, shown only when it takes longer than a second."""
    name = label.rsplit("/", 1)[-1]
    return tqdm.wrapattr(
        stream, "read", total=total, desc=f"Preparing {name}", delay=1, unit="B", unit_scale=True, leave=False
    )
