"""Dataset repositories as a Hub keeps them: files become blobs, blobs a commit, refs point at commits.

Knows git's and LFS's names for things, and nothing of HTTP. Commit ids depend on content alone, so two runs agree.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .content import Content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LFS_SUFFIXES = (".parquet", ".arrow", ".zip", ".tar", ".gz", ".zst", ".jpg", ".png", ".bin")  # as .gitattributes has it
LFS_SIZE = 10_000_000  # bytes; the Hub takes nothing larger into git itself


@dataclass(frozen=True, slots=True)
class Blob:
    """One version of one file."""

    content: Content
    oid: str  # git's sha1, of the file or of its LFS pointer
    sha256: str | None  # of the file, when it is kept in LFS

    @classmethod
    def of(cls, path: str, source: bytes | Path, *, lfs: bool | None = None) -> Blob:
        """The file `source` as it would lie at `path`; `lfs` decides where it is kept, instead of name and size."""
        content = Content.of_bytes(source) if isinstance(source, bytes) else Content.of_file(source)
        if content is None:
            raise FileNotFoundError(source)
        if not (path.endswith(LFS_SUFFIXES) or content.size >= LFS_SIZE if lfs is None else lfs):
            data = source if isinstance(source, bytes) else source.read_bytes()
            oid, sha256 = _git_oid(data), None
        else:
            sha256 = _sha256(source)
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {content.size}\n"
            oid = _git_oid(pointer.encode())
        return cls(Content(content.source, content.size, f'"{sha256 or oid}"', content.modified), oid, sha256)

    def lfs(self) -> dict[str, Any]:
        """The ``lfs`` field of an entry, or nothing."""
        if self.sha256 is None:
            return {}
        size = self.content.size
        return {"lfs": {"oid": self.sha256, "sha256": self.sha256, "size": size, "pointerSize": 127 + len(str(size))}}


@dataclass(frozen=True, slots=True)
class Commit:
    """All files at one moment."""

    oid: str
    title: str
    files: Mapping[str, Blob]  # by path
    parent: str | None = None  # the commit before

    def entries(self, folder: str, *, recursive: bool) -> Iterator[dict[str, Any]]:
        """Files and folders below `folder` ("" for the root) as the Hub's tree lists them."""
        prefix, seen = f"{folder}/" if folder else "", set()
        for path in sorted(self.files):
            if not path.startswith(prefix):
                continue
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                inner = prefix + "/".join(parts[:depth])
                if inner not in seen:
                    seen.add(inner)
                    yield self.entry(inner)
            if recursive or len(parts) == 1:
                yield self.entry(path)

    def entry(self, path: str) -> dict[str, Any]:
        """A file or folder; an empty dict for what does not exist."""
        blob = self.files.get(path)
        if blob is not None:
            return {"type": "file", "path": path, "size": blob.content.size, "oid": blob.oid, **blob.lfs()}
        if any(name.startswith(f"{path}/") for name in self.files):
            return {"type": "directory", "path": path, "size": 0, "oid": _git_oid(f"{self.oid} {path}".encode())}
        return {}


@dataclass(slots=True)
class PullRequest:
    """Changes that wait to be merged."""

    number: int  # from 1
    title: str
    author: str
    target: str  # a branch
    is_open: bool = True

    @property
    def ref(self) -> str:
        """Where its commits are."""
        return f"refs/pr/{self.number}"


@dataclass(slots=True)
class Repository:
    """One dataset repository; files change by ``commit`` only."""

    id: str  # "namespace/name"
    gated: bool | str = False  # "auto" or "manual": listed for everyone, files only for `readers`
    private: bool = False  # does not exist but for `readers`
    readers: set[str] = field(default_factory=set)  # tokens
    commits: dict[str, Commit] = field(default_factory=dict)  # by oid, oldest first
    refs: dict[str, str] = field(default_factory=dict)  # branch or refs/… -> oid
    tags: dict[str, str] = field(default_factory=dict)  # name -> oid
    pull_requests: dict[int, PullRequest] = field(default_factory=dict)  # by number
    objects: dict[str, bytes] = field(default_factory=dict)  # LFS's, by sha256; committed or not

    def commit(self, revision: str, files: Mapping[str, Blob], title: str, *, parent: str | None = "head") -> Commit:
        """Make `files` the whole of `revision`, which is created where it is missing.

        `parent` is the commit before: where `revision` points now, unless another or none is given.
        """
        before = self.refs.get(revision) if parent == "head" else parent
        listing = "".join(f"{path} {blob.oid}\n" for path, blob in sorted(files.items()))
        oid = hashlib.sha1(f"{self.id} {len(self.commits)} {title}\n{listing}".encode()).hexdigest()
        self.commits[oid] = Commit(oid, title, dict(files), before)
        self.refs[revision] = oid
        return self.commits[oid]

    def at(self, revision: str) -> Commit | None:
        """The commit with this id, or to which this branch or tag points."""
        return self.commits.get(self.refs.get(revision, self.tags.get(revision, revision)))


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _sha256(source: bytes | Path) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
