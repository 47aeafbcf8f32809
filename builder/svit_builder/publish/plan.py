"""A folder and the Hub's files in, what is to be sent and what removed out. Knows no network.

Also says whether somebody else changed what is about to be published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from svit_builder.publish.folder import CROISSANT, Folder, LocalFile, config_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Plan", "Remote", "RemoteFile", "conflicts", "make_plan"]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the Hub lists it."""

    bytes: int
    git_oid: str  # of the file, or of its LFS pointer
    sha256: str | None  # of the file, where it is kept in LFS


@dataclass(frozen=True, slots=True)
class Remote:
    """All files of one commit."""

    oid: str  # of the commit; "" where there is no repository yet
    files: Mapping[str, RemoteFile]  # by path


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes a commit hold what the folder does."""

    send: tuple[LocalFile, ...]  # new or changed
    there: tuple[LocalFile, ...]  # the Hub's commit has them already
    remove: tuple[str, ...]  # of an earlier build

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.send or self.remove)


def make_plan(folder: Folder, remote: Remote) -> Plan:
    """Compare by digest. Parquet files and a Croissant that the folder does not have are of an earlier build."""
    send = [file for file in folder.files.values() if not _same(file, remote.files.get(file.path))]
    sent = {file.path for file in send}
    stale = sorted(path for path in remote.files if _ours(path) and path not in folder.files)
    return Plan(tuple(send), tuple(file for file in folder.files.values() if file.path not in sent), tuple(stale))


def conflicts(folder: Folder, before: Remote, now: Remote) -> list[str]:
    """Return which files to be published, or removed, are others now than before, and not as the folder has them."""
    paths = {*folder.files, *(path for path in (*before.files, *now.files) if _ours(path))}
    changed = (path for path in paths if before.files.get(path) != now.files.get(path))
    return sorted(path for path in changed if not _as_wanted(folder, now, path))


def _as_wanted(folder: Folder, now: Remote, path: str) -> bool:
    if path in folder.files:
        return _same(folder.files[path], now.files.get(path))
    return path not in now.files


def _same(file: LocalFile, found: RemoteFile | None) -> bool:
    if found is None or found.bytes != file.bytes:
        return False
    return found.sha256 == file.sha256 if found.sha256 is not None else found.git_oid == file.git_oid()


def _ours(path: str) -> bool:
    return path == CROISSANT or config_of(path) is not None
