"""HTTP/1.1 messages as values: a request read from a stream, a response with its body in pieces.

Knows the wire's form only: no sockets, no files by name, no chunked answers.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

CHUNK = 256 * 1024  # bytes read from a file and handed to the socket at once
REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked, with its body read."""

    method: str
    target: str  # as sent: quoted, with the query
    headers: Mapping[str, str]  # names in lower case
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, still quoted, so that ``%2F`` stays inside its segment."""
        return self.target.partition("?")[0]

    @property
    def range(self) -> str | None:
        """The Range header."""
        return self.headers.get("range")


@dataclass(frozen=True, slots=True)
class FilePart:
    """A stretch of a file on disk, opened only while it is sent."""

    path: Path
    start: int
    size: int

    def chunks(self) -> Generator[bytes, None, None]:
        """The bytes, ``CHUNK`` at a time; a file cut meanwhile ends early."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            at, end = self.start, self.start + self.size
            while at < end and (piece := os.pread(descriptor, min(CHUNK, end - at), at)):
                yield piece
                at += len(piece)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered; Content-Length is added where it is not given."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview | FilePart = b""

    @property
    def size(self) -> int:
        """Bytes in the body."""
        return self.body.size if isinstance(self.body, FilePart) else len(self.body)

    def chunks(self) -> Generator[bytes | memoryview, None, None]:
        """The body in pieces of at most ``CHUNK`` bytes."""
        if isinstance(self.body, FilePart):
            yield from self.body.chunks()
        else:
            view = memoryview(self.body)
            yield from (view[at : at + CHUNK] for at in range(0, len(view), CHUNK))

    def head(self) -> bytes:
        """Status line and headers, up to the empty line."""
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if "Content-Length" not in self.headers:
            lines.append(f"Content-Length: {self.size}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection, its body still to be read; None when the client has closed it between two."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _version = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, target, headers)


async def read_body(reader: asyncio.StreamReader, request: Request) -> bytes:
    """The body that follows the head."""
    if "chunked" in request.headers.get("transfer-encoding", ""):
        return await _read_chunked(reader)
    return await reader.readexactly(int(request.headers.get("content-length", 0)))


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return bytes(body)
