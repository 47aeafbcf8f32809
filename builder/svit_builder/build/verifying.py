"""A finished folder in, what is wrong with its files out: every byte is read, and compared with what was written.

Needs no source. A file is read once for its digest, and once page by page for their CRC-32s and its image ids.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from svit_builder.build import executors
from svit_builder.folder import Folder
from svit_builder.manifest import files_in, read_manifest
from svit_datasets.errors import SourceNotFound
from svit_datasets.parquet import ENTRY
from svit_datasets.repository import MANIFEST
from svit_datasets.storage import Storage
from svit_datasets.tasks import TASKS, get_task

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from svit_builder.shard import Written

__all__ = ["Checked", "verify"]


@dataclass(frozen=True)
class Checked:
    """One file as it was found."""

    path: str
    rows: int  # that could be read
    bytes: int  # that were read
    fault: str | None  # None: it is what was written
    image_ids: tuple[int, ...] = ()  # of SVIT form: each photo has one row in a configuration


@dataclass(frozen=True)
class _Job:
    written: Written
    folder: Folder

    def __str__(self) -> str:
        return self.folder.url_of(self.written.path)


def verify(
    out: str | os.PathLike[str],
    *,
    executor: str = "local",
    num_workers: int | None = None,
    address: str | None = None,
    token: str | bool | None = None,
    storage_options: dict[str, Any] | None = None,
) -> list[Checked]:
    """Read every byte of every file of a finished build, and return what was found, in the manifest's order.

    Compared are size and SHA-256 with the manifest, the CRC-32 of every page, the rows, and the image ids with the
    footer's; they must ascend, and none may be in two files. Files that the manifest does not name are faults too.

    Args:
        out: the folder, or the URL of an object store.
        executor: as in `executors.run`, like the next two.
        num_workers: files at a time.
        address: of a Ray cluster.
        token: of the Hub.
        storage_options: of fsspec.

    Raises:
        SourceNotFound: there is no manifest: the build has not ended.
        SvitError: the folder cannot be reached.
    """
    folder = Folder.at(out, Storage(options=storage_options, token=token))
    files, _ = read_manifest(folder)
    if not files:
        raise SourceNotFound(f"{folder.url_of(MANIFEST)}: not found, so the build has not ended. Run it again.")
    jobs = [_Job(written, folder) for written in files.values()]
    found: dict[int, Checked] = dict(
        executors.run(_check, jobs, executor=executor, num_workers=num_workers, address=address)
    )
    checked = _twice([found[index] for index in range(len(jobs))])
    others = [f"{config}/{name}" for config in TASKS for name in files_in(folder, config)]
    strangers = [
        Checked(path, 0, 0, "is not in the manifest: of another build") for path in others if path not in files
    ]
    return [*checked, *strangers]


def _twice(checked: list[Checked]) -> list[Checked]:
    """Return the same, with a fault where an image id stands in an earlier file of the configuration too."""
    seen: dict[tuple[str, int], str] = {}
    result = []
    for one in checked:
        config = one.path.partition("/")[0]
        fault = one.fault
        for image_id in one.image_ids:
            first = seen.setdefault((config, image_id), one.path)
            if first != one.path:
                fault = fault or f"image {image_id} is in {first} too"
        result.append(Checked(one.path, one.rows, one.bytes, fault))
    return result


def _check(job: _Job) -> Checked:
    written = job.written
    try:
        with _here(job.folder, written.path) as path:
            return _read(path, written)
    except (SourceNotFound, FileNotFoundError):
        return Checked(written.path, 0, 0, "is not there")


@contextmanager
def _here(folder: Folder, path: str) -> Iterator[Path]:
    """Give a file of this machine: the file itself, or a copy of what an object store has."""
    if folder.path is not None:
        yield folder.path / path
        return
    with tempfile.TemporaryDirectory(prefix="svit-build-") as scratch:
        copy = Path(scratch, "file.parquet")
        with folder.storage.open(folder.url_of(path)) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        yield copy


def _read(path: Path, written: Written) -> Checked:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size, rows, ids = path.stat().st_size, 0, []
    fault = None
    if size != written.bytes:
        fault = f"has {size:,} bytes instead of {written.bytes:,}"
    elif written.sha256 and digest != written.sha256:
        fault = f"has the SHA-256 {digest} instead of {written.sha256}"
    task = get_task(written.path.partition("/")[0])
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as parquet:
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, use_threads=False)
                rows += len(table)
                if task.form == "svit":
                    ids.extend(table["image_id"].to_pylist())
            entry = json.loads((parquet.metadata.metadata or {}).get(ENTRY.encode(), "null"))
    except (pa.ArrowException, OSError, ValueError) as error:
        return Checked(written.path, rows, size, fault or f"cannot be read ({error})")
    if rows != written.rows:
        fault = fault or f"has {rows:,} rows instead of {written.rows:,}"
    if task.form == "svit":
        if entry is not None and entry["image_ids"] != ids:
            fault = fault or "has other image ids than its footer says"
        if entry is not None and any(b <= a for a, b in pairwise(ids)):
            fault = fault or "has image ids that do not ascend"
    return Checked(written.path, rows, size, fault, tuple(ids))
