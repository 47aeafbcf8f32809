"""What goes wrong: a ``Fault`` says which requests it hits and how their answer is spoilt.

A test puts faults into its server's plan; the server takes one per request and sends the spoilt answer. Nothing here
sends or receives.
"""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .messages import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal[
    "status",  # `code` with `headers` instead of the answer
    "reset",  # `keep` body bytes, then a connection reset
    "stall",  # `keep` body bytes, then nothing for `seconds`, or until released, and then the end of the connection
    "slow",  # the right answer, but after `keep` body bytes it drips over `seconds`
    "short",  # the right Content-Length, but only `keep` body bytes and then an orderly end of the connection
    "wrong_length",  # a 206 that is consistent in itself, but holds only `keep` bytes of the wanted range
    "no_range",  # 200 with the whole file although a range was wanted
    "changed_etag",  # another ETag and Last-Modified; with `other_bytes` also other bytes
    "wrong_content_range",  # the right bytes under a Content-Range that starts elsewhere
    "cut",  # `keep` bytes of the request's body are read, then a connection reset; the request is not handled
]

OTHER_BYTES = bytes(range(255, -1, -1))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to go wrong, for the requests that it matches."""

    kind: Kind = field(kw_only=False)
    match: str = ""  # regular expression, searched in path and query; "" matches every request
    times: int | None = 1  # how many requests it hits; None: every one
    method: str | None = None  # None: any
    after: int = 0  # matching requests that are let through before
    code: int = 503  # for "status"
    headers: Mapping[str, str] = field(default_factory=dict)  # for "status", such as {"Retry-After": "1"}
    keep: int | None = 0  # body bytes sent before it goes wrong; None: not even the status line is sent
    seconds: float | None = None  # for "stall" and "slow"; None: until released, and 1 s
    other_bytes: bool = False  # for "changed_etag": every bit of the body is turned
    handled: bool = True  # whether the server does what was asked before it answers, or fails to

    def bent(self, status: int, headers: Mapping[str, str], body: bytes) -> Response:
        """The answer as this fault changes it; one that is cut while it is sent stays whole here."""
        match self.kind:
            case "status":
                text = f"fault: {self.code}\n".encode()
                return Response(self.code, {"Content-Type": "text/plain", **self.headers}, text)
            case "wrong_length" if body:
                body = body[: self.keep]
                if status == 206:
                    start, total = _range_of(headers)
                    headers = {**headers, "Content-Range": f"bytes {start}-{start + len(body) - 1}/{total}"}
            case "changed_etag":
                headers = {**headers, "ETag": '"changed"', "Last-Modified": "Fri, 01 Jan 2038 00:00:00 GMT"}
                body = body.translate(OTHER_BYTES) if self.other_bytes else body
            case "wrong_content_range" if status == 206:
                start, total = _range_of(headers)
                headers = {**headers, "Content-Range": f"bytes {start + 1}-{start + len(body)}/{total}"}
        return Response(status, headers, body)


def _range_of(headers: Mapping[str, str]) -> tuple[int, str]:
    """First byte and total of a Content-Range."""
    span, _, total = headers["Content-Range"].removeprefix("bytes ").partition("/")
    return int(span.partition("-")[0]), total


class FaultPlan:
    """The faults still to come; added by the test's thread, taken by the server's."""

    def __init__(self) -> None:
        """Nothing goes wrong."""
        self._lock = threading.Lock()
        self._waiting: list[_Pending] = []
        self._stalled: set[Callable[[], object]] = set()  # each lets one stalled answer go
        self.fired: list[Fault] = []  # each time a fault hit a request

    def add(self, fault: Fault) -> None:
        """Plan `fault`; of several that match one request, the first added hits it."""
        with self._lock:
            self._waiting.append(_Pending(fault, fault.after, fault.times))

    def clear(self) -> None:
        """Plan nothing more, let stalled answers go, and forget what fired."""
        with self._lock:
            self._waiting.clear()
            self.fired.clear()
        self.release()

    def release(self) -> None:
        """Let every stalled answer end now."""
        with self._lock:
            for let_go in self._stalled:
                let_go()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, counted as used."""
        with self._lock:
            for pending in self._waiting:
                if pending.hits(method, path):
                    if pending.left == 0:
                        self._waiting.remove(pending)
                    self.fired.append(pending.fault)
                    return pending.fault
        return None

    async def held(self, seconds: float | None) -> None:
        """Wait until released, at most `seconds`."""
        released, loop = asyncio.Event(), asyncio.get_running_loop()

        def let_go() -> None:
            loop.call_soon_threadsafe(released.set)

        with self._lock:
            self._stalled.add(let_go)
        try:
            async with asyncio.timeout(seconds):
                await released.wait()
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._stalled.remove(let_go)


@dataclass
class _Pending:
    fault: Fault
    let_through: int
    left: int | None  # None: for ever

    def hits(self, method: str, path: str) -> bool:
        """Whether this request is hit; counts it either way."""
        if self.left == 0 or self.fault.method not in {None, method} or not re.search(self.fault.match, path):
            return False
        if self.let_through:
            self.let_through -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True
