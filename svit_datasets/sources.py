"""Finds each file: under the user's ``data_dir`` in any known layout, else where it was published.

A configuration's name and a place go in, files that exist come out, opened as plain JSON streams if they are text.
Files are found by asking for names one after another, because http cannot list. Photos are found by `images`.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import logging
import lzma
import struct
import tomllib
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svit_datasets.cache import write_atomically
from svit_datasets.errors import (
    AccessDenied,
    ChecksumMismatch,
    CorruptFile,
    SourceNotFound,
    SourceUnreachable,
    SvitError,
)
from svit_datasets.filters import parse_ids

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, TypeVar

    import numpy as np

    from svit_datasets.storage import FileInfo, Storage
    from svit_datasets.tasks import Task

    _Answer = TypeVar("_Answer")

__all__ = [
    "HUB",
    "ZIP_TAIL",
    "TextFile",
    "Upstream",
    "explain_damage",
    "find_file",
    "find_holdout",
    "find_text",
    "find_text_under",
    "guarded",
    "join_url",
    "open_text",
    "read_holdout",
    "upstream",
]

HUB = "hf://datasets/BAAI/SVIT"
_ENDINGS = (".zip", ".json", ".jsonl", ".json.gz")
_FOLDERS = {"svit": ("data/", ""), "llava": ("format/llava-v1.5/", "")}
ZIP_TAIL = 1 << 17  # bytes; an end record with the longest comment, and the directory of 1,000 photos
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A row of sources.toml: one file as it was published."""

    name: str
    url: str
    licence: str
    holds: str  # in a few words
    bytes: int | None = None  # None: no public source tells it
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file of records that exists."""

    info: FileInfo
    task: Task  # whose records it holds; the task "all" where each block's own task must be inferred


def upstream() -> dict[str, Upstream]:
    """Return the table of published files, by name."""
    table = tomllib.loads(files("svit_datasets").joinpath("sources.toml").read_text("utf-8"))
    return {row["name"]: Upstream(**row) for row in table["file"]}


def join_url(root: str, name: str) -> str:
    """Return the URL or path of ``name`` under ``root``; a local root becomes absolute."""
    if "://" not in root:
        root = str(Path(root).expanduser().absolute())
    return f"{root.rstrip('/')}/{name}" if name else root


def find_text(task: Task, parts: tuple[Task, ...], data_dir: str | None, storage: Storage) -> tuple[TextFile, ...]:
    """Find the file or files that hold a configuration's records.

    A union ("all") is read from its parts' own files where all of them are there, because only they tell each block's
    task; else from the one file that repeats them.

    Args:
        task: the configuration.
        parts: the configurations that it is the union of, or ().
        data_dir: the user's folder or URL, asked first; then the gated repository on the Hub.
        storage: how files are reached.

    Raises:
        SourceNotFound: neither place has it; the message lists the names that were tried.
        AccessDenied: the repository is gated and no token opens it.
    """
    if data_dir is None:
        found = find_text_under(task, parts, HUB, storage)
        if found is None:
            raise SourceNotFound(_not_there(task, HUB))
        return found
    if "://" not in data_dir and not Path(data_dir).expanduser().is_dir():
        raise SourceNotFound(
            f"data_dir={data_dir!r} is no folder. Give the folder that holds data/ or the files themselves."
        )
    found = find_text_under(task, parts, data_dir, storage)
    if found is not None:
        return found
    missing = _not_there(task, data_dir)
    try:
        found = find_text_under(task, parts, HUB, storage)
    except SvitError as error:
        raise SourceNotFound(f"{missing} At the Hub it could not be read either: {error}") from error
    if found is None:
        raise SourceNotFound(f"{missing} Nor is it at {HUB}.")
    _log.warning("%s Reading %s instead.", missing, ", ".join(text.info.url for text in found))
    return found


def find_text_under(task: Task, parts: tuple[Task, ...], root: str, storage: Storage) -> tuple[TextFile, ...] | None:
    """Do what `find_text` does in one place only; None where it has no such file."""
    if parts:
        with ThreadPoolExecutor(len(parts)) as pool:
            infos = list(pool.map(lambda part: _find_one(part, root, storage), parts))
        found = [TextFile(info, part) for info, part in zip(infos, parts, strict=True) if info is not None]
        if len(found) == len(parts):
            return tuple(found)
    info = _find_one(task, root, storage)
    return None if info is None else (TextFile(info, task),)


def _find_one(task: Task, root: str, storage: Storage) -> FileInfo | None:
    return find_file(_names(task), root, storage)


def _names(task: Task) -> list[str]:
    return [f"{folder}{task.stem}{ending}" for ending in _ENDINGS for folder in _FOLDERS[task.form]]


def _not_there(task: Task, root: str) -> str:
    return f"No file of config {task.name!r} under {root}: tried {', '.join(_names(task))}."


def find_file(names: list[str], root: str, storage: Storage) -> FileInfo | None:
    """Return the first of ``names`` that exists under ``root``, or None.

    Raises:
        AccessDenied: none can be read, and at least one was refused: some servers refuse what is not there.
    """
    return _first(names, root, storage.stat)


def _first(names: list[str], root: str, ask: Callable[[str], _Answer]) -> _Answer | None:
    refused: AccessDenied | None = None
    for name in names:
        try:
            return ask(join_url(root, name))
        except SourceNotFound:
            continue
        except AccessDenied as error:
            if root.startswith("hf://"):
                raise
            refused = refused or error
    if refused is not None:
        raise refused
    return None


@contextmanager
def open_text(info: FileInfo, storage: Storage) -> Iterator[tuple[BinaryIO, str, int | None]]:
    """Open a file of records as uncompressed JSON: (stream, name for errors, bytes or None where unknown).

    Raises:
        CorruptFile: the zip or gzip file is damaged; also from the stream's ``read``.
        SvitError: as in `Storage.open`.
    """
    name = info.url.rsplit("/", 1)[-1]
    with storage.open_found(info, tail=ZIP_TAIL if name.endswith(".zip") else 0) as raw:
        stream: Any
        total: int | None
        with explain_damage(info.url, raw):
            if name.endswith(".zip"):
                archive = zipfile.ZipFile(raw)
                member = _member(archive, info.url)
                stream, total = archive.open(member), member.file_size
                label = f"{info.url}::{member.filename}"
            elif name.endswith(".gz"):
                stream, total, label = gzip.GzipFile(fileobj=raw), None, info.url
            else:
                stream, total, label = raw, info.size, info.url
        yield guarded(stream, label, raw), label, total


def _member(archive: zipfile.ZipFile, url: str) -> zipfile.ZipInfo:
    members = [
        member
        for member in archive.infolist()
        if member.filename.endswith((".json", ".jsonl"))
        and not member.filename.startswith("__MACOSX/")
        and not member.filename.rsplit("/", 1)[-1].startswith("._")
    ]
    stem = url.rsplit("/", 1)[-1].removesuffix(".zip")
    named = [member for member in members if member.filename.rsplit("/", 1)[-1].rsplit(".", 1)[0] == stem]
    if len(named or members) != 1:
        found = ", ".join(archive.namelist()[:8]) or "nothing"
        raise CorruptFile(f"{url}: expected one JSON file called {stem}.json inside, found {found}.")
    return (named or members)[0]


def guarded(stream: Any, label: str, raw: BinaryIO) -> BinaryIO:
    """Return a stream whose failures say where the file breaks, as in `explain_damage`."""
    return io.BufferedReader(_Guarded(stream, label, raw), 1 << 20)


class _Guarded(io.RawIOBase):
    """A stream whose failures say where the file breaks."""

    def __init__(self, stream: Any, label: str, raw: BinaryIO) -> None:
        self._stream, self._label, self._raw = stream, label, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with explain_damage(self._label, self._raw):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def explain_damage(label: str, raw: BinaryIO) -> Iterator[None]:
    """Turn what zip and gzip readers raise into `CorruptFile` with the place in the file ``raw``."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, struct.error) as error:
        if isinstance(error.__context__, SvitError):  # zipfile calls any OSError, so a refusal too, "not a zip file"
            raise error.__context__ from None
        raise CorruptFile(
            f"{label}: damaged or cut off near byte {raw.tell():,} of the file ({error}). Copy or download it again."
        ) from error
    except (NotImplementedError, RuntimeError, ValueError, OSError) as error:  # zipfile's other words
        if isinstance(error, SvitError) or (isinstance(error, OSError) and error.errno != errno.EINVAL):
            raise  # EINVAL: a damaged directory made it seek to before the start
        raise CorruptFile(
            f"{label}: cannot be unpacked ({error}). Give a zip that is stored or deflated, without a password; if it "
            "was one, copy or download it again."
        ) from error


def read_holdout(
    holdout: str | os.PathLike[str], data_dir: str | None, storage: Storage, cache: Path
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the held-out image ids: int64, ascending, each once.

    Args:
        holdout: "official" (``test_image_ids.txt`` under ``data_dir``, else the published list, checked and cached), or
            a file with one id a line.
        data_dir: the user's folder or URL.
        storage: how files are reached.
        cache: where the published list is kept.

    Raises:
        SourceUnreachable: the published list cannot be fetched; the message names the two ways without it.
        ChecksumMismatch: it is not the published one.
        OptionError: a line is no id.
    """
    if holdout != "official":
        url = join_url(str(holdout), "")
        return parse_ids(storage.read(url).decode("utf-8", "replace"), url)
    found = find_holdout(data_dir, storage, cache)
    if found is not None:
        return found
    published = upstream()["test_image_ids"]
    kept = _kept_holdout(cache)
    write_atomically(kept, _fetch_published(published, storage))
    return parse_ids(kept.read_text("utf-8"), str(kept))


def find_holdout(data_dir: str | None, storage: Storage, cache: Path) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """Return the held-out ids under ``data_dir``, or those fetched before; None where neither is there.

    Raises:
        OptionError: a line is no id.
        SvitError: as in `Storage.read`.
    """
    names = ["test_image_ids.txt", "data/test_image_ids.txt"]
    found = None if data_dir is None else _first(names, data_dir, lambda url: (storage.read(url), url))
    if found is not None:
        return parse_ids(found[0].decode("utf-8", "replace"), found[1])
    kept = _kept_holdout(cache)
    return parse_ids(kept.read_text("utf-8"), str(kept)) if kept.is_file() else None


def _kept_holdout(cache: Path) -> Path:
    return cache / f"test_image_ids-{str(upstream()['test_image_ids'].sha256)[:8]}.txt"


def _fetch_published(published: Upstream, storage: Storage) -> bytes:
    try:
        data = storage.read(published.url)
    except SvitError as error:
        raise SourceUnreachable(
            f"The list of held-out images cannot be fetched: {error} Put test_image_ids.txt under data_dir, name a "
            'file with holdout="path", or load everything as one split with holdout=None.'
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != published.sha256:
        raise ChecksumMismatch(
            f"{published.url}: sha256 is {digest}, expected {published.sha256}. Nothing was kept: something on the "
            'way changes it, or the list was changed; name your own with holdout="path".'
        )
    return data
