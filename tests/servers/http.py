"""A file server: a directory, or bytes by path, over HTTP/1.1 with ranges, latency and faults.

In the test's process it is ``FileServer``. For a benchmark it runs in a process of its own, so that server and client
share no interpreter lock: ``spawned(directory)``, or by hand ``python -m tests.servers DIR --latency 0.02``.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

from .content import Content, answer
from .loop import LoopServer
from .messages import Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPOSITORY = Path(__file__).parents[2]
COUNTERS = "/-/counters"  # of a spawned server: GET tells them in headers, DELETE sets them to zero


class FileServer(LoopServer):
    """Files under `root`: a directory, or ``{"a/b.zip": bytes}``.

    ::

        with FileServer({"a.txt": b"hello"}, latency=0.02) as server:
            server.faults.add(Fault("status", match="a.txt", code=503))
            fetch(f"{server.url}/a.txt")
            assert [line.status for line in server.log.requests] == [503, 200]
    """

    def __init__(
        self,
        root: Path | Mapping[str, bytes] | None = None,
        *,
        latency: float = 0.0,
        port: int = 0,
        required_headers: Mapping[str, str] | None = None,
    ) -> None:
        """Without `root` it is empty; a request that lacks `required_headers` is answered 401."""
        super().__init__(latency=latency, port=port)
        self.root = root if isinstance(root, Path) else None
        self.redirects: dict[str, str] = {}  # path -> URL, answered with 302
        self.required_headers = {name.lower(): value for name, value in (required_headers or {}).items()}
        self._memory: dict[str, Content] = {}
        if root is not None and not isinstance(root, Path):
            for path, data in root.items():
                self.put(path, data)

    def put(self, path: str, data: bytes) -> str:
        """Serve `data` at `path` from now on, instead of what was there; its URL."""
        self._memory[path.strip("/")] = Content.of_bytes(data)
        return f"{self.url}/{path.strip('/')}"

    def remove(self, path: str) -> None:
        """Serve nothing at `path` any more."""
        del self._memory[path.strip("/")]

    def handle(self, request: Request) -> Response:
        """Files and redirects."""
        if any(request.headers.get(name) != value for name, value in self.required_headers.items()):
            return Response(401, {"WWW-Authenticate": "Bearer"}, b"401: a header is missing\n")
        if request.method not in {"GET", "HEAD"}:
            return Response(405, {"Allow": "GET, HEAD"})
        path = unquote(request.path)
        if path in self.redirects:
            return Response(302, {"Location": self.redirects[path]})
        content = self._find(path.strip("/"))
        return Response(404, body=b"404: no such file\n") if content is None else answer(request, content)

    def _find(self, path: str) -> Content | None:
        if self.root is None or path in self._memory:
            return self._memory.get(path)
        if ".." in Path(path).parts:
            return None
        return Content.of_file(self.root / path)


@dataclass(frozen=True, slots=True)
class Spawned:
    """A file server in another process."""

    url: str
    pid: int

    def counters(self) -> dict[str, int]:
        """``requests`` and ``body_bytes`` since the start or the last reset."""
        with urlopen(self.url + COUNTERS, timeout=10) as response:  # in headers, so that no body byte counts itself
            return {
                "requests": int(response.headers["X-Requests"]),
                "body_bytes": int(response.headers["X-Body-Bytes"]),
            }

    def reset(self) -> None:
        """Set the counters to zero."""
        with urlopen(UrlRequest(self.url + COUNTERS, method="DELETE"), timeout=10):
            pass


@contextlib.contextmanager
def spawned(directory: Path, *, latency: float = 0.0) -> Iterator[Spawned]:
    """Serve `directory` from a child process, which ends with the block, and also when this process is killed."""
    command = [sys.executable, "-m", "tests.servers", str(directory.resolve()), "--latency", str(latency)]
    with subprocess.Popen(
        [*command, "--until-stdin-ends"], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            url = child.stdout.readline().strip()
            assert url.startswith("http://"), f"no server: exit status {child.wait(10)}"
            yield Spawned(url, child.pid)
        finally:
            child.stdin.close()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
