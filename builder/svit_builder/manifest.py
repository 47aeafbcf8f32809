"""Finished files in, `manifest.json` beside them out: which files there are, with size, rows and digest.

Written last, so its presence means that a build has ended. An http server lists no folders; `svit_datasets.stream`
reads the names here. Until then each finished file has a mark of its own below `.build`, written after the file, which
says the same; so any number of processes and machines can write files of one build, and none reads another's.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from svit_builder.folder import Folder
from svit_builder.shard import Written, is_shard
from svit_datasets.errors import CorruptFile
from svit_datasets.parquet import ENTRY
from svit_datasets.repository import MANIFEST
from svit_datasets.storage import Storage
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["MARKS", "files_in", "read_manifest", "read_marks", "save", "seen", "write_manifest", "write_mark"]

MARKS = ".build"  # the folder of marks; also keeps the manifest of the build before, while a new one goes on
_FIELDS = {each.name for each in fields(Written)}


def write_manifest(out: str | os.PathLike[str]) -> Path:
    """Write the list of the Parquet files under a folder of this machine, reading each; returns the manifest's path.

    Raises:
        OSError: a file is no Parquet file.
        CacheError: the folder cannot be written.
    """
    folder = Folder.at(out, Storage())
    path = folder.path
    assert path is not None, "an object store's manifest is written by build()"
    written = [seen(folder, f"{config}/{name}") for config in TASKS for name in files_in(folder, config)]
    save(folder, written, {})
    return path / MANIFEST


def save(folder: Folder, files: Iterable[Written], build: dict[str, Any], *, name: str = MANIFEST) -> None:
    """Write the manifest, if it is another than before: files in the order of the table of tasks, then by name."""
    order = list(TASKS)
    ordered = sorted(files, key=lambda file: (order.index(file.path.partition("/")[0]), file.path))
    found = {"version": 1, "files": [_plain(file) for file in ordered], "build": build}
    data = json.dumps(found, indent=1).encode()
    if folder.read(name) != data:
        folder.write(name, data)


def files_in(folder: Folder, config: str) -> list[str]:
    """Return the names of the files that a build made of a configuration."""
    return [name for name in folder.list(config) if is_shard(name)]


def read_manifest(folder: Folder, name: str = MANIFEST) -> tuple[dict[str, Written], dict[str, Any]]:
    """Return a manifest's files by path, and what it tells of the build; both empty where there is no manifest.

    Raises:
        CorruptFile: it cannot be read.
        SvitError: as in `Storage.read`.
    """
    data = folder.read(name)
    if data is None:
        return {}, {}
    try:
        found = json.loads(data)
        files = {file["path"]: _written(file) for file in found["files"]}
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptFile(
            f"{folder.url_of(name)}: is no list of files as the builder writes it ({error!r}). Remove it and build "
            "again: only what is missing is made."
        ) from error
    return files, found.get("build", {})


def write_mark(folder: Folder, written: Written) -> None:
    """Say that a file is finished; to be called after it has its name."""
    folder.write(f"{MARKS}/{written.path}.json", json.dumps(_plain(written)).encode())


def read_marks(folder: Folder, paths: Iterable[str]) -> dict[str, Written]:
    """Return the marks of some files by path; those without one are left out, as are marks that cannot be read."""
    there = {f"{config}/{name}" for config in folder.list(MARKS) for name in folder.list(f"{MARKS}/{config}")}
    wanted = [path for path in paths if f"{path}.json" in there]
    found = {}
    with ThreadPoolExecutor(8) as pool:
        for path, data in zip(wanted, pool.map(lambda path: folder.read(f"{MARKS}/{path}.json"), wanted), strict=True):
            try:
                found[path] = _written(json.loads(data or b""))
            except (ValueError, TypeError, KeyError):
                continue  # as good as none: the file is made again
    return found


def seen(folder: Folder, path: str) -> Written:
    """Return what a file is, by reading all of it.

    Raises:
        OSError: it is no Parquet file.
        SvitError: as in `Storage.open`.
    """
    with folder.storage.open(folder.url_of(path)) as file:
        footer = pq.read_metadata(file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        size = file.seek(0, 2)
    entry = json.loads((footer.metadata or {}).get(ENTRY.encode(), "null"))
    return Written(path, size, footer.num_rows, digest, entry and entry.get("build"))


def _plain(written: Written) -> dict[str, Any]:
    return {name: value for name, value in asdict(written).items() if value not in (None, {})}


def _written(file: dict[str, Any]) -> Written:
    known = {name: value for name, value in file.items() if name in _FIELDS}
    return Written(**{"build": None, "sha256": ""} | known)
