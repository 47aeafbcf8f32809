"""A built folder in, the files that will be published out, each with its digests: those of the manifest, and the card.

Whatever else lies in the folder is named and left where it is. Every file is read once, to its end, and is the one that
was built if the manifest has its digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from svit_datasets.errors import BuildError, PublishError, SourceNotFound
from svit_datasets.repository import MANIFEST
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CARD", "CROISSANT", "Folder", "LocalFile", "config_of", "read_folder"]

CARD, CROISSANT = "README.md", "croissant.json"
_PATH = re.compile(r"(\w+)/\w+-\d{5}-of-\d{5}\.parquet")
_PIECE = 1 << 20  # bytes read at a time
_BAR = 1 << 30  # bytes; below, digests are there before a bar is read


def config_of(path: str) -> str | None:
    """Return the configuration whose Parquet file this is by its path in the repository; None for any other file."""
    found = _PATH.fullmatch(path)
    return found[1] if found is not None and found[1] in TASKS else None


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to be published, as it was when its digest was taken."""

    path: str  # in the repository, "/" between the parts
    where: Path  # on this machine
    bytes: int
    modified: int  # nanoseconds
    sha256: str  # hexadecimal; what LFS calls it

    def git_oid(self) -> str:
        """Return what git calls it, where it is kept in git itself; reads it whole, so only for small files."""
        data = self.where.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()

    def check(self) -> None:
        """Raise `PublishError` where it is no longer the file whose digest was taken."""
        found = self.where.stat()
        if (found.st_size, found.st_mtime_ns) != (self.bytes, self.modified):
            raise PublishError(f"{self.where} changed while it was published. Nothing was committed; publish again.")


@dataclass(frozen=True, slots=True)
class Folder:
    """What a built folder has to publish."""

    root: Path
    files: dict[str, LocalFile]  # by path
    left_out: tuple[str, ...]  # files in it that are not published, by path; hidden ones are not worth a word

    @property
    def configs(self) -> list[str]:
        """The configurations, in the order of the table of tasks."""
        there = {config_of(path) for path in self.files}
        return [name for name in TASKS if name in there]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files.values())


def read_folder(root: Path) -> Folder:
    """Read every file that is to be published, for its digest.

    Raises:
        SourceNotFound: the build has not ended, or a file of it is missing.
        BuildError: the manifest is no such list, or a file is not the one that it names.
        PublishError: there is no card.
    """
    listed = _manifest(root)
    if not (root / CARD).is_file():
        raise PublishError(
            f"{root / CARD} is missing; without a card nobody can load the dataset. `svit build` makes it."
        )
    names = [*listed, CARD, *([CROISSANT] if (root / CROISSANT).is_file() else []), MANIFEST]
    total = sum((root / name).stat().st_size for name in names)
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc="reading", disable=None if total > _BAR else True) as bar,
        ThreadPoolExecutor(2) as pool,
    ):
        files = dict(zip(names, pool.map(lambda name: _read(root, name, bar), names), strict=True))
    for path, expected in listed.items():
        if expected.get("sha256", files[path].sha256) != files[path].sha256:
            raise BuildError(
                f"{root / path}: is not the file that was built (sha256 {files[path].sha256}, {MANIFEST} has "
                f"{expected['sha256']}). Build it again; nothing was published."
            )
    others = (path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file())
    shown = (path.as_posix() for path in others if not any(part.startswith(".") for part in path.parts))
    return Folder(root, files, tuple(path for path in shown if path not in files))


def _manifest(root: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest's lines by path; all of them are there."""
    try:
        lines = {str(line["path"]): dict(line) for line in json.loads((root / MANIFEST).read_bytes())["files"]}
    except FileNotFoundError:
        raise SourceNotFound(
            f"{root / MANIFEST}: not found, so no build has ended here. Run `svit build {root}`."
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise BuildError(f"{root / MANIFEST}: is no list of files as the builder writes it ({error!r}).") from error
    for path in lines:
        if config_of(path) is None:
            raise BuildError(f"{root / MANIFEST}: names {path!r}, which is no file of a configuration. Build it again.")
        if not (root / path).is_file():
            raise SourceNotFound(f"{root / path}: is in {MANIFEST} and not there. Build it again.")
    if not lines:
        raise BuildError(f"{root / MANIFEST}: names no file. Build a configuration first.")
    return lines


def _read(root: Path, name: str, bar: Any) -> LocalFile:
    where, digest = root / name, hashlib.sha256()
    before = where.stat()
    with where.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            bar.update(len(piece))
    return LocalFile(name, where, before.st_size, before.st_mtime_ns, digest.hexdigest())
