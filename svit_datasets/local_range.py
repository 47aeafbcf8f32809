"""One range of a local file: the kernel is told of it at once, its bytes are taken when they are wanted.

No thread stands between a photo and its disk: a hand-over to one costs four times what copying it out of the page
cache does (measured), and the kernel reads what it was told of in the background by itself. `storage` has threads take
ranges of some MB, which are worth it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from svit_datasets.transport import as_svit_error, changed, too_short

if TYPE_CHECKING:
    from io import FileIO

__all__ = ["LocalRange"]


class LocalRange:
    """The bytes [start, stop) of the file at the path ``url``; to the end where ``stop`` is None.

    Opens the file now if it can, so one that is replaced later is read as it was. Used as a future is.
    """

    def __init__(self, url: str, start: int, stop: int | None, fingerprint: str) -> None:
        self._url, self._start, self._stop, self._fingerprint = url, start, stop, fingerprint
        self._file: FileIO | None = None
        if start != stop:
            with suppress(OSError):  # result() tries again: too many files may be open just now; or it tells
                self._file = _opened(url)
                _announce(self._file.fileno(), start, 0 if stop is None else stop - start)

    def result(self) -> bytes:
        """Return exactly those bytes, once.

        Raises:
            SourceChanged: it is another file than that of ``fingerprint`` (its modification time), or ends too early.
            SourceNotFound, AccessDenied: it cannot be opened.
        """
        if self._start == self._stop:
            return b""
        try:
            with self._file or _opened(self._url) as file:
                now = os.fstat(file.fileno())
                end = now.st_size if self._stop is None else self._stop
                file.seek(self._start)
                data = file.read(end - self._start)
        except OSError as error:
            raise as_svit_error(self._url, error) from error
        if self._fingerprint and str(now.st_mtime) != self._fingerprint:
            raise changed(self._url, self._fingerprint, str(now.st_mtime))
        if len(data) != end - self._start:
            raise too_short(self._url, now.st_size, self._start, end)
        return data

    def cancel(self) -> None:
        """Give the file up."""
        if self._file is not None:
            self._file.close()


def _opened(path: str) -> FileIO:
    return open(path, "rb", buffering=0)  # noqa: PTH123 - a Path costs as much as opening it


def _announce(descriptor: int, start: int, size: int) -> None:
    """Have the kernel begin to read, where it can be told to; 0 bytes are those up to the file's end."""
    if hasattr(os, "posix_fadvise"):  # Linux, FreeBSD; elsewhere it reads when it is asked
        os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_WILLNEED)
