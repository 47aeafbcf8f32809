"""The folder that a dataset is built in, on a disk or in an object store: the few things that building asks of it.

A file appears under its name whole or not at all: on a disk by renaming, in an object store because an upload that
breaks off leaves nothing. Reading goes through `svit_datasets.storage`, which tries again where that may help.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from svit_datasets.cache import write_atomically
from svit_datasets.errors import OptionError, SourceNotFound
from svit_datasets.sources import join_url
from svit_datasets.transport import as_svit_error

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from svit_datasets.storage import Storage

__all__ = ["Folder"]

_READ_ONLY = ("http://", "https://", "zip://")


@dataclass(frozen=True)
class Folder:
    """A folder; holds its address only, so it travels to workers."""

    url: str  # absolute path, or a URL that fsspec can write to
    storage: Storage

    @staticmethod
    def at(out: str | os.PathLike[str], storage: Storage) -> Folder:
        """Return the folder at a path or URL, which need not exist.

        Raises:
            OptionError: nothing can be written there.
        """
        url = join_url(str(out), "")
        if url.startswith(_READ_ONLY):
            raise OptionError(f"out={url!r} is not allowed: nothing can be written there. Give a folder, or s3://…")
        return Folder(url.removeprefix("file://"), storage)

    @property
    def path(self) -> Path | None:
        """Where it is on this machine's disks; None for an object store."""
        return None if "://" in self.url else Path(self.url)

    def url_of(self, name: str) -> str:
        """Return the URL or path of a file in it."""
        return join_url(self.url, name)

    def list(self, name: str = "") -> list[str]:
        """Return the names of what is in a folder of it, sorted; [] where there is none."""
        try:
            return self.storage.list(self.url_of(name)) or []
        except SourceNotFound:
            return []

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None where there is none."""
        try:
            return self.storage.stat(self.url_of(name)).size
        except SourceNotFound:
            return None

    def read(self, name: str) -> bytes | None:
        """Return a small file, None where there is none."""
        try:
            return self.storage.read(self.url_of(name))
        except SourceNotFound:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a small file; a reader sees the old content or the new.

        Raises:
            SvitError: it cannot be written.
        """
        if self.path is not None:
            write_atomically(self.path / name, data)
            return
        self._call(name, lambda fs, path: fs.pipe_file(path, data))

    def put(self, source: Path, name: str) -> None:
        """Copy a file of this machine into an object store.

        Raises:
            SvitError: it cannot be written.
        """
        self._call(name, lambda fs, path: fs.put_file(str(source), path))

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is fine."""
        if self.path is not None:
            (self.path / name).unlink(missing_ok=True)
        elif self.size(name) is not None:
            self._call(name, lambda fs, path: fs.rm_file(path))

    def _call(self, name: str, what: Callable[[Any, str], object]) -> None:
        url = self.url_of(name)
        protocol = url.partition("://")[0]
        options = dict(self.storage.options or {})
        if options and set(options) <= set(known_implementations):  # as `Storage` reads them
            options = dict(options.get(protocol, {}))
        if protocol == "hf" and self.storage.token is not None:
            options["token"] = self.storage.token
        try:
            fs, path = url_to_fs(url, **options)
            what(fs, path)
        except (OSError, ImportError, ValueError, RuntimeError) as error:
            raise as_svit_error(url, error) from error
