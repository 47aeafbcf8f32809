"""A folder of published Parquet in, the files of one split out: all of them, of one build, and fitting the options.

The layout is ``CONFIG/SPLIT-00000-of-000NN.parquet``, as `svit_builder` writes it and as stock `datasets` reads it. An
http folder, which cannot be listed, needs the builder's ``manifest.json`` beside them. What is in the files is read by
`published`.
"""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from svit_datasets.errors import AccessDenied, CorruptFile, OptionError, SourceNotFound
from svit_datasets.parquet import open_parquet
from svit_datasets.sources import join_url, read_holdout
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from svit_datasets.options import Options
    from svit_datasets.parquet import ParquetFile
    from svit_datasets.storage import Storage
    from svit_datasets.tasks import Task

__all__ = ["ENTRY_VERSION", "MANIFEST", "digest_of_holdout", "find_repository", "open_files"]

ENTRY_VERSION = 1  # of what a footer's entry says; raise it when its meaning changes
MANIFEST = "manifest.json"  # at the root: {"files": [{"path": "CONFIG/SPLIT-00000-of-000NN.parquet", …}, …], …}
_PATH = re.compile(r"(\w+)/(\w+)-\d{5}-of-\d{5}\.parquet")


def find_repository(task: Task, data_dir: str, storage: Storage) -> dict[str, list[str]] | None:
    """Return the names of a configuration's Parquet files by split; None where ``data_dir`` has none.

    Raises:
        SourceNotFound: other configurations are published there, and this one is not.
        CorruptFile: the manifest cannot be read.
        SvitError: as in `Storage.list`.
    """
    found: dict[str, dict[str, list[str]]] = {}
    try:
        for path in _paths(task, data_dir, storage):
            match = _PATH.fullmatch(path)
            if match is not None and match[1] in TASKS:
                found.setdefault(match[1], {}).setdefault(match[2], []).append(path.partition("/")[2])
    except AccessDenied:  # where listing is refused, files may still be read by name: as raw files
        return None
    if found and task.name not in found:
        raise SourceNotFound(
            f"{data_dir} holds published Parquet, but not of config {task.name!r}. There: {', '.join(sorted(found))}."
        )
    return found.get(task.name)


def _paths(task: Task, data_dir: str, storage: Storage) -> list[str]:
    """Return the files of the configuration's folder; of the others' folders where it has none."""
    names = storage.list(join_url(data_dir, ""))
    if names is None:
        return _manifest(join_url(data_dir, MANIFEST), storage)
    folders = [task.name] if task.name in names else [name for name in TASKS if name in names]
    return [f"{folder}/{name}" for folder in folders for name in storage.list(join_url(data_dir, folder)) or ()]


def _manifest(url: str, storage: Storage) -> list[str]:
    """Return the paths in an http folder's manifest, [] where it has none."""
    try:
        found = json.loads(storage.read(url))
        return [str(file["path"]) for file in found["files"]]
    except SourceNotFound:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptFile(f"{url}: is no list of files as the builder writes it ({error!r}). Copy it again.") from error


def open_files(
    options: Options, split: str, splits: dict[str, list[str]], storage: Storage, cache: Path
) -> tuple[ParquetFile, ...]:
    """Return a split's files with their footers, in order.

    Raises:
        OptionError: there is no such split, or an option contradicts how the files were made.
        SourceNotFound: a file of the split is missing.
        CorruptFile: a file is none, or they are not of one build.
    """
    root = join_url(str(options.data_dir), options.task.name)
    if split not in splits:
        raise OptionError(f"split={split!r} is not there. Available: {', '.join(map(repr, sorted(splits)))}.")
    urls = [f"{root}/{name}" for name in _whole(splits[split], split, root)]
    with ThreadPoolExecutor(8) as pool:
        infos = list(pool.map(storage.stat, urls))
        files = tuple(pool.map(lambda info: open_parquet(info, options.task, storage, cache), infos))
    entries = [file.entry for file in files]
    builds = {entry and entry.get("build") for entry in entries}
    if len(builds) > 1:
        raise CorruptFile(
            f"{root}: the files of split {split!r} are not of one build; one was begun and not ended. Build it again."
        )
    for file, entry in zip(files, entries, strict=True):
        if entry is not None:
            _check_entry(entry, file.info.url)
    if options.images is not None:
        raise OptionError(f"images=… is not allowed here: {root} is published Parquet, and photos are inside it.")
    if entries[0] is not None:
        _check_options(options, entries[0], root, storage, cache)
    elif options.holdout != "official" and not (options.holdout is None and list(splits) == ["train"]):
        raise OptionError(
            f"holdout={options.holdout!r} is not allowed here: the splits of {root} were made when it was written."
        )
    return files


def _whole(names: list[str], split: str, root: str) -> list[str]:
    """Return a split's file names in order, if all are there."""
    counts = sorted({name[-13:-8] for name in names})  # the NN of -of-NN.parquet
    if len(counts) > 1:
        builds = " and ".join(f"of {count}" for count in counts)
        raise CorruptFile(f"{root}: split {split!r} has files {builds}, of two builds. Remove those of the older one.")
    whole = [f"{split}-{number:05}-of-{counts[0]}.parquet" for number in range(int(counts[0]))]
    missing = sorted(set(whole) - set(names))
    if missing:
        raise SourceNotFound(
            f"{root}/{missing[0]} is missing: {len(whole) - len(missing)} of the {len(whole)} files of split {split!r} "
            "are there. Nothing is read of a part: copy the others too, or build it again."
        )
    return whole


def digest_of_holdout(holdout: np.ndarray[Any, np.dtype[np.int64]] | None) -> str | None:
    """Return what tells one list of held-out ids from another; None for no list."""
    return None if holdout is None else hashlib.sha256(holdout.astype("<i8").tobytes()).hexdigest()[:16]


def _check_entry(entry: dict[str, Any], url: str) -> None:
    if entry.get("version") != ENTRY_VERSION:
        raise CorruptFile(
            f"{url}: was made by another version of this package (its entry is {entry.get('version')!r}, this one "
            f"reads {ENTRY_VERSION}). Build it again, or update this package."
        )
    if not url.endswith(f"/{entry['path']}"):
        raise CorruptFile(f"{url}: is {entry['path']} by its footer. Give it that name, or copy the right file.")


def _check_options(options: Options, entry: dict[str, Any], root: str, storage: Storage, cache: Path) -> None:
    if options.known_bad != entry["known_bad"]:
        raise OptionError(
            f"known_bad={options.known_bad!r} is not allowed here: {root} was built with "
            f"known_bad={entry['known_bad']!r}. Give that, or build it again."
        )
    if options.holdout == "official":
        return
    held_out = None if options.holdout is None else read_holdout(options.holdout, options.data_dir, storage, cache)
    if digest_of_holdout(held_out) != entry["holdout"]:
        raise OptionError(
            f"holdout={options.holdout!r} is not allowed here: {root} was built with "
            f"{'one split' if entry['holdout'] is None else 'other held-out images'}. Leave it out, or build it again."
        )
