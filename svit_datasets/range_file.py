"""Byte ranges of a remote file in, a seekable stream out; blocks grow and are read ahead while reading is sequential.

So a zip's directory costs one small request, and a JSON file of half a gigabyte comes in 4 MB blocks with the next one
always under way.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["RangeFile"]

_BLOCK = 4 << 20  # bytes a sequential read asks for at once, after it has proved sequential
_FIRST_BLOCK = 1 << 18  # bytes a read at a new place asks for; enough for a zip's end record and small directory


class RangeFile(io.RawIOBase):
    """A remote file as a seekable stream.

    Args:
        size: of the file, bytes.
        read: begins reading the bytes [start, stop) and returns their future.
    """

    def __init__(self, size: int, read: Callable[[int, int], Future[bytes]]) -> None:
        self._size = size
        self._read = read
        self._position = 0
        self._start, self._block = 0, b""  # the block in hand and where it begins
        self._ahead: tuple[int, Future[bytes]] | None = None  # where the block under way begins

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return the position, bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another position; nothing is read yet."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as the block in hand goes; return how many bytes came, 0 at the end."""
        if self._position >= self._size:
            return 0
        if not self._start <= self._position < self._start + len(self._block):
            self._load(len(buffer))
        at = self._position - self._start
        part = self._block[at : at + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        """Cancel what is under way."""
        self._drop_ahead()
        super().close()

    def _load(self, wanted: int) -> None:
        sequential = self._block and self._position == self._start + len(self._block)
        size = min(_BLOCK, 2 * len(self._block)) if sequential else max(_FIRST_BLOCK, wanted)
        if self._ahead is not None and self._ahead[0] == self._position:
            self._block = self._ahead[1].result()
            self._ahead = None
        else:
            self._drop_ahead()
            self._block = self._begin(self._position, size).result()
        self._start = self._position
        if sequential and (after := self._start + len(self._block)) < self._size:
            self._ahead = (after, self._begin(after, min(_BLOCK, 2 * len(self._block))))

    def _begin(self, start: int, size: int) -> Future[bytes]:
        stop = min(start + size, self._size)
        return self._read(start, stop)

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead[1].cancel()
            self._ahead = None
