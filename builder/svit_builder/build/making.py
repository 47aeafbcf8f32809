"""A row of the plan in, a finished file and its mark out: what a worker does, alone and knowing nothing of others.

A worker on another machine has no prepared text: it makes it there, once, from the file that the plan names. Photos are
read where they are. What is written under a name is whole, and the mark comes after it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from svit_builder.manifest import write_mark
from svit_builder.parquet import write_shard
from svit_datasets.cache import cache_root
from svit_datasets.errors import BuildError
from svit_datasets.report import Tally
from svit_datasets.store import open_store

if TYPE_CHECKING:
    from svit_builder.folder import Folder
    from svit_builder.shard import Shard, Written
    from svit_datasets.sources import TextFile
    from svit_datasets.storage import Storage

__all__ = ["Job", "Made", "make"]


@dataclass(frozen=True)
class Job:
    """A row of the plan: all that decides one file. Pickles; 80 bytes an image."""

    shard: Shard
    texts: tuple[TextFile, ...]  # of the configuration; one a store of the shard's plan
    folder: Folder  # where the file goes
    storage: Storage  # how photos and text are reached
    cache_dir: str | None  # as the user gave it; each machine has its own

    def __str__(self) -> str:
        """Return what errors call it."""
        return self.folder.url_of(self.shard.path)


@dataclass(frozen=True)
class Made:
    """What came of a job."""

    written: Written
    examples: dict[str, list[str]]  # kind of what was left out -> the first few, in words


def make(job: Job) -> Made:
    """Write one file, put it where it belongs, and mark it as finished. Safe to do twice, and at once.

    Raises:
        BuildError: an object store has another size of it than was sent.
        SvitError: as in `write_shard`.
        OSError: it cannot be written.
    """
    cache = cache_root(job.cache_dir)
    stores = tuple(open_store(text, job.storage, cache) for text in job.texts)
    shard = replace(job.shard, plan=replace(job.shard.plan, stores=stores))
    with tempfile.TemporaryDirectory(prefix="svit-build-") as scratch:
        tally = Tally(Path(scratch, "left-out.jsonl"))
        root = job.folder.path or Path(scratch)
        written = write_shard(shard, root, job.storage, tally)
        if job.folder.path is None:
            _send(root / written.path, written, job.folder)
        report = tally.report()
    written = replace(written, left_out=report.counts)
    write_mark(job.folder, written)
    return Made(written, report.examples)


def _send(file: Path, written: Written, folder: Folder) -> None:
    folder.put(file, written.path)
    there = folder.size(written.path)
    if there != written.bytes:
        raise BuildError(
            f"{folder.url_of(written.path)}: {there} bytes are there after {written.bytes:,} were sent. "
            "Run it again: only what is missing is made."
        )
