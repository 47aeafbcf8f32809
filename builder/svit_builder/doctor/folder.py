"""A folder or repository in, what its rules look at out: its files, its card, its Parquet footers. No row is read here.

Which files belong to which configuration is worked out as `datasets` does it: by `configs` in the card, over which
those of `.huggingface.yaml` win.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, Value
from fsspec.utils import glob_translate
from huggingface_hub import DatasetCard

from svit_builder.data import url_of
from svit_builder.doctor.pages import Chunk, read_chunks
from svit_datasets.errors import SourceNotFound, SvitError
from svit_datasets.repository import MANIFEST
from svit_datasets.sources import join_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.storage import FileInfo, Storage

__all__ = ["CARD", "OVERRIDE", "Config", "File", "Folder", "open_folder"]

CARD, OVERRIDE = "README.md", ".huggingface.yaml"
_TAIL = 1 << 18  # bytes; holds a footer and the indexes before it, of most files
_DEPTH = 3  # of folders that are looked into


@dataclass(frozen=True)
class File:
    """One Parquet file; ``why`` says what is wrong where it is none, and the rest is empty then."""

    path: str  # under the folder
    info: FileInfo
    footer: Any  # pyarrow.parquet.FileMetaData
    schema: pa.Schema  # with the metadata of `datasets`
    chunks: tuple[Chunk, ...]
    why: str = ""

    @property
    def has_features(self) -> bool:
        """Whether the footer has the columns' types as `datasets` writes them."""
        return b"huggingface" in (self.schema.metadata or {})

    @cached_property
    def features(self) -> Features:
        """The columns' types; without those of the footer as Arrow has them, so that a photo is a struct."""
        return Features.from_arrow_schema(self.schema)

    @cached_property
    def photos(self) -> list[str]:
        """The columns that hold photos, also where the footer does not say so."""
        cell = {"bytes": Value("binary"), "path": Value("string")}
        return [name for name, kind in self.features.items() if isinstance(kind, Image) or kind == cell]


@dataclass(frozen=True)
class Config:
    """One configuration, by the card or, where that has none, by the names of folders and files."""

    name: str
    default: bool
    splits: dict[str, list[str]]  # name -> paths of its files, in order
    empty: tuple[str, ...]  # patterns that no file matches


@dataclass(frozen=True)
class Folder:
    """What is there."""

    url: str
    storage: Storage
    names: tuple[str, ...]  # of all files, "/" between the parts, sorted
    card: dict[str, Any] | None  # the YAML of README.md; None where there is none that can be read
    card_problem: str  # why not; ""
    override: dict[str, Any]  # the YAML of .huggingface.yaml
    manifest: dict[str, Any] | None
    manifest_problem: str
    configs: tuple[Config, ...]
    listed: bool  # whether configs are by the card
    files: dict[str, File]  # the Parquet files of all configurations, by path
    kept: dict[str, pa.Table] = field(default_factory=dict, repr=False)  # the first rows, by the path of a first file

    @property
    def metadata(self) -> dict[str, Any]:
        """What `datasets` takes for the card's YAML."""
        return {**(self.card or {}), **self.override}

    def split_files(self) -> Iterator[tuple[Config, str, list[File]]]:
        """Yield each split with its files, if all of them can be read."""
        for config in self.configs:
            for split, paths in config.splits.items():
                files = [self.files[path] for path in paths if path in self.files]
                if files and len(files) == len(paths) and not any(file.why for file in files):
                    yield config, split, files

    def is_whole(self, config: Config) -> bool:
        """Whether all splits of a configuration have files, and all of these can be read."""
        paths = list(config.splits.values())
        return (
            bool(paths)
            and all(paths)
            and all(path in self.files and not self.files[path].why for some in paths for path in some)
        )

    def read(self, file: File, columns: list[str], groups: list[int] | None = None) -> pa.Table:
        """Return some columns of a file, of some of its row groups."""
        groups = list(range(file.footer.num_row_groups)) if groups is None else groups
        with self.storage.open_found(file.info) as opened:
            return pq.ParquetFile(opened, metadata=file.footer).read_row_groups(groups, columns)


def open_folder(place: str, storage: Storage) -> Folder:
    """Look at a folder, or a repository on the Hub.

    Raises:
        SourceNotFound: there is no such folder, or it is empty.
        SvitError: as in `Storage.list` and `Storage.read`.
    """
    url = join_url(url_of(place), "").rstrip("/")
    manifest, manifest_problem = _manifest(url, storage)
    names = _names(url, storage, manifest)
    if not names:
        raise SourceNotFound(f"{url}: no file is there. Build a dataset there first, or name another folder.")
    card, card_problem = _yaml(CARD, url, names, storage)
    override, _ = _yaml(OVERRIDE, url, names, storage)
    listed = tuple(_configs({**(card or {}), **(override or {})}, names))
    configs = listed or tuple(_configs_by_name(names))
    wanted = {path for config in configs for paths in config.splits.values() for path in paths}
    parquet = sorted(path for path in wanted if path.endswith(".parquet"))
    with ThreadPoolExecutor(8) as pool:
        files = dict(zip(parquet, pool.map(lambda path: _open(path, url, storage), parquet), strict=True))
    return Folder(
        url=url,
        storage=storage,
        names=names,
        card=card,
        card_problem=card_problem,
        override=override or {},
        manifest=manifest,
        manifest_problem=manifest_problem,
        configs=configs,
        listed=bool(listed),
        files=files,
    )


# Names ---------------------------------------------------------------------------------------------------------------


def _names(url: str, storage: Storage, manifest: dict[str, Any] | None) -> tuple[str, ...]:
    if "://" not in url:
        root = Path(url)
        return tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()))
    if storage.list(url) is None:  # http: what the manifest names, and what has a name of its own
        listed = [str(file.get("path")) for file in (manifest or {}).get("files", ())]
        return tuple(
            sorted(name for name in (CARD, OVERRIDE, MANIFEST, *listed) if _is_there(f"{url}/{name}", storage))
        )
    return tuple(sorted(_walk(url, "", storage, _DEPTH)))


def _walk(url: str, folder: str, storage: Storage, depth: int) -> Iterator[str]:
    for name in storage.list(f"{url}/{folder}".rstrip("/")) or ():
        path = f"{folder}/{name}".lstrip("/")
        if "." in name or not depth:  # no folder of ours has a dot in its name, every file has
            yield path
        else:
            yield from _walk(url, path, storage, depth - 1)


def _is_there(url: str, storage: Storage) -> bool:
    try:
        storage.stat(url)
    except SourceNotFound:
        return False
    return True


# The card and the manifest -------------------------------------------------------------------------------------------


def _yaml(name: str, url: str, names: tuple[str, ...], storage: Storage) -> tuple[dict[str, Any] | None, str]:
    if name not in names:
        return None, "is not there"
    text = storage.read(f"{url}/{name}").decode("utf-8-sig", "replace")
    if name == OVERRIDE:
        text = f"---\n{text}\n---\n"
    if not re.match(r"\s*---\r?\n.*?\r?\n---", text, re.DOTALL):
        return None, "does not begin with YAML between two lines of ---"
    try:
        return DatasetCard(text).data.to_dict(), ""  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - PyYAML's, and what huggingface_hub makes of odd values
        return None, " ".join(f"cannot be read: {error}".split())


def _manifest(url: str, storage: Storage) -> tuple[dict[str, Any] | None, str]:
    try:
        found = json.loads(storage.read(f"{url}/{MANIFEST}"))
        for file in found["files"]:
            str(file["path"]), int(file["bytes"]), int(file["rows"])
    except SourceNotFound:
        return None, ""
    except (ValueError, TypeError, KeyError) as error:
        return None, f"is no list of files as the builder writes it ({error!r})"
    return dict(found), ""


def _configs(metadata: dict[str, Any], names: tuple[str, ...]) -> Iterator[Config]:
    """Yield the configurations of a card, with the files that their patterns match."""
    listed = metadata.get("configs")
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or "config_name" not in entry:
            continue
        splits: dict[str, list[str]] = {}
        empty = []
        for split, pattern in _patterns(entry.get("data_files")):
            at = str(PurePosixPath(str(entry.get("data_dir") or "")) / pattern)
            matched = [name for name in names if re.match(glob_translate(at), name) and not _hidden(name)]
            splits.setdefault(split, []).extend(matched)
            if not matched:
                empty.append(at)
        yield Config(str(entry["config_name"]), bool(entry.get("default")), splits, tuple(empty))


def _patterns(data_files: Any) -> Iterator[tuple[str, str]]:
    """Yield (split, pattern) of what may be a text, a list of texts, or a list of {split, path}; of nothing else."""
    for one in data_files if isinstance(data_files, list) else [data_files]:
        split, paths = (str(one.get("split")), one.get("path")) if isinstance(one, dict) else ("train", one)
        for path in paths if isinstance(paths, list) else [paths]:
            if isinstance(path, str):
                yield split, path


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__")) for part in name.split("/"))


def _configs_by_name(names: tuple[str, ...]) -> Iterator[Config]:
    found: dict[str, dict[str, list[str]]] = {}
    for name in names:
        if match := re.fullmatch(r"([^/]+)/(\w+)-\d{5}-of-\d{5}\.parquet", name):
            found.setdefault(match[1], {}).setdefault(match[2], []).append(name)
    for config, splits in found.items():
        yield Config(config, default=False, splits=splits, empty=())


# Parquet -------------------------------------------------------------------------------------------------------------


def _open(path: str, url: str, storage: Storage) -> File:
    info = storage.stat(f"{url}/{path}")
    kept_from = max(0, info.size - _TAIL)
    tail = storage.read(info.url, kept_from, info.size, info.fingerprint) if info.size else b""

    def read(start: int, stop: int) -> bytes:
        if start >= kept_from:
            return tail[start - kept_from : stop - kept_from]
        return storage.read(info.url, start, stop, info.fingerprint)

    if len(tail) < 12 or tail[-4:] != b"PAR1":
        return _none(path, info, "it does not end as a Parquet file does")
    try:
        stop = info.size - 8
        footer = read(stop - int.from_bytes(tail[-8:-4], "little"), stop)
        whole = b"PAR1" + footer + tail[-8:]
        metadata = pq.read_metadata(pa.BufferReader(whole))
        return File(path, info, metadata, metadata.schema.to_arrow_schema(), read_chunks(footer, read))
    except SvitError:  # it could not be read, which says nothing of what is in it
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        return _none(path, info, " ".join(str(error).split()) or repr(error))


def _none(path: str, info: FileInfo, why: str) -> File:
    return File(path, info, None, pa.schema([]), (), why)
