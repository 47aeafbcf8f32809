"""The server under all others: for each request on 127.0.0.1 it asks ``handle`` and sends the answer, or a fault.

One thread with one asyncio loop holds all connections, so hundreds of them cost little beside the client that shares
the processor. Not here: what is served (``http``, ``hub``), what goes wrong (``faults``), TLS, HTTP/2.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import replace
from typing import NamedTuple, Self
from urllib.parse import unquote

from .faults import Fault, FaultPlan
from .messages import Request, Response, read_body, read_head


class Served(NamedTuple):
    """One line of the log."""

    method: str
    path: str  # unquoted, with the query
    range: str | None
    status: int  # 0 when a fault left the request without an answer
    authorization: str | None  # the header, to see who sends a token where
    received: int = 0  # bytes of the request's body


class Log:
    """What was asked and how many body bytes went both ways; sent ones are counted before: never behind the client."""

    def __init__(self) -> None:
        """Empty."""
        self.reset()

    def reset(self) -> None:
        """Forget everything so far."""
        self.requests: list[Served] = []
        self.body_bytes = 0  # sent
        self.received_bytes = 0  # of requests' bodies

    def add(self, request: Request, status: int) -> None:
        """Write one line."""
        sender = request.headers.get("authorization")
        size = len(request.body)
        self.requests.append(Served(request.method, unquote(request.target), request.range, status, sender, size))


class LoopServer:
    """A server on 127.0.0.1 in a thread of its own, from ``with`` to the end of the block."""

    def __init__(self, *, latency: float = 0.0, port: int = 0) -> None:
        """Hold still until ``start``; `latency` is in seconds, before every answer."""
        self.latency = latency
        self.log = Log()
        self.faults = FaultPlan()
        self.port = port  # 0 until started: then the one that the system chose
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients hold a connection now, asking or idle."""
        return len(self._connections)

    def handle(self, request: Request) -> Response:
        """Answer one request; runs on the server's loop, so it must not wait."""
        raise NotImplementedError

    def start(self) -> Self:
        """Listen."""
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def join(self) -> None:
        """Wait until another thread, or nobody, stops it."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Drop every connection, end the thread, free the port."""
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        for listening in server.sockets:
            self._loop.remove_reader(listening.fileno())
        await asyncio.sleep(0)  # a connection that is just being accepted cannot be made once the server is closed
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:  # also connections that are just being accepted
            for connection, writer in self._connections.items():
                writer.transport.abort()  # a client that does not read would keep an orderly close waiting
                connection.cancel()
            await asyncio.wait(others)
        await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next round

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self._loop.create_task(self._converse(reader, writer))
        self._connections[connection] = writer
        connection.add_done_callback(self._connections.pop)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer request after request until either side hangs up."""
        try:
            while (request := await read_head(reader)) is not None:
                fault = self.faults.take(request.method, unquote(request.target))
                if fault is not None and fault.kind == "cut":
                    await self._cut(reader, writer, request, fault)
                    break
                request = replace(request, body=await read_body(reader, request))
                self.log.received_bytes += len(request.body)
                if self.latency:
                    await asyncio.sleep(self.latency)
                if fault is not None and fault.kind == "no_range":
                    request = replace(request, headers={k: v for k, v in request.headers.items() if k != "range"})
                response = self.handle(request) if fault is None or fault.handled else Response(503)
                if fault is None:
                    await self._send(writer, request, response)
                elif await self._misbehave(writer, request, response, fault):
                    break
                if request.headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client hung up, or spoke no HTTP: nobody is left to tell
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _cut(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request, fault: Fault
    ) -> None:
        """Take in a part of the body, and hang up."""
        size = min(fault.keep or 0, int(request.headers.get("content-length", 0)))
        body = await reader.readexactly(size)
        self.log.received_bytes += len(body)
        self.log.add(replace(request, body=body), 0)
        _reset_on_close(writer)

    async def _send(self, writer: asyncio.StreamWriter, request: Request, response: Response) -> None:
        """Write head and body; the head travels with the first piece, in one packet."""
        self.log.add(request, response.status)
        waiting = response.head()
        with contextlib.closing(response.chunks()) as chunks:
            for chunk in chunks if request.method != "HEAD" else ():
                self.log.body_bytes += len(chunk)
                writer.write(waiting + chunk if waiting else chunk)
                waiting = b""
                await writer.drain()
        if waiting:
            writer.write(waiting)
            await writer.drain()

    async def _misbehave(
        self, writer: asyncio.StreamWriter, request: Request, response: Response, fault: Fault
    ) -> bool:
        """Answer as `fault` says; true when the connection ends with it."""
        response = fault.bent(response.status, response.headers, b"".join(response.chunks()))
        if fault.kind not in {"reset", "stall", "slow", "short"}:
            await self._send(writer, request, response)
            return False
        head, body = response.head(), b"" if request.method == "HEAD" else b"".join(response.chunks())
        sent = 0 if fault.keep is None else len(head) + fault.keep
        whole = head + body
        self.log.add(request, response.status if sent or fault.kind == "slow" else 0)
        self.log.body_bytes += max(0, len(whole[:sent]) - len(head))
        writer.write(whole[:sent])
        await writer.drain()
        if fault.kind == "reset":
            _reset_on_close(writer)
        elif fault.kind == "stall":
            await self.faults.held(fault.seconds)
        elif fault.kind == "slow":
            await self._drip(writer, whole[sent:], fault.seconds or 1.0)
            return False
        return True

    async def _drip(self, writer: asyncio.StreamWriter, rest: bytes, seconds: float) -> None:
        """Send `rest` in ten pieces over `seconds`."""
        piece = max(1, -(-len(rest) // 10))
        for at in range(0, len(rest), piece):
            await asyncio.sleep(seconds / 10)
            self.log.body_bytes += len(rest[at : at + piece])
            writer.write(rest[at : at + piece])
            await writer.drain()


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Make the coming close send RST, as a crashed server or a cut line would, not an orderly FIN."""
    linger_zero = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
