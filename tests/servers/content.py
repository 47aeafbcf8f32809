"""One file over HTTP: a request and a ``Content`` come in, the answer with its range goes out.

Knows Range (one, of bytes), If-Range, If-Match, If-None-Match. Several ranges at once are answered with the whole
file, as the standard allows.
"""

from __future__ import annotations

import hashlib
import re
import stat
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from .messages import FilePart, Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes in memory, or a file on disk by its path, with the names of its version."""

    source: bytes | Path
    size: int
    etag: str  # with its quotes
    modified: str  # as an HTTP date

    @classmethod
    def of_bytes(cls, data: bytes) -> Content:
        """In memory; the ETag is a digest."""
        return cls(data, len(data), f'"{hashlib.sha1(data).hexdigest()}"', formatdate(time.time(), usegmt=True))

    @classmethod
    def of_file(cls, path: Path) -> Content | None:
        """On disk, as it is at this moment; None where no regular file lies."""
        try:
            found = path.stat()
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        etag = f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'
        return cls(path, found.st_size, etag, formatdate(found.st_mtime, usegmt=True))

    def whole(self) -> bytes:
        """All bytes."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def part(self, start: int, size: int) -> bytes | memoryview | FilePart:
        """The bytes from `start`."""
        if isinstance(self.source, bytes):
            return memoryview(self.source)[start : start + size]
        return FilePart(self.source, start, size)


def answer(request: Request, content: Content, headers: Mapping[str, str] | None = None) -> Response:
    """The file or the wanted range of it; `headers` are added to the usual ones."""
    named = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": content.etag,
        "Last-Modified": content.modified,
        **(headers or {}),
    }
    wanted = request.headers
    if content.etag in wanted.get("if-none-match", ""):
        return Response(304, {**named, "Content-Length": "0"})
    if wanted.get("if-match", content.etag) not in {content.etag, "*"}:
        return Response(412, named)
    if wanted.get("if-range", content.etag) not in {content.etag, content.modified}:
        span = None
    else:
        span = _span(request.range, content.size)
    if span is None:
        start, size, status = 0, content.size, 200
    else:
        start, size, status = span[0], span[1] - span[0], 206
        if size <= 0:
            return Response(416, {**named, "Content-Range": f"bytes */{content.size}"})
        named["Content-Range"] = f"bytes {start}-{start + size - 1}/{content.size}"
    if request.method == "HEAD":
        return Response(status, {**named, "Content-Length": str(size)})
    return Response(status, named, content.part(start, size))


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the wanted range; empty where none of it exists, None for the whole file."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None  # not a range by the standard, which has it ignored
    return int(first), min(int(last) + 1, size) if last else size
