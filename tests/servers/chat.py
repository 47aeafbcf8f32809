"""A language model's endpoint as OpenAI's clients know it: chat completions, models, files and batches.

Replies come from the embedded model of rules. What goes wrong is decided by a hash of the request, so a test sees the
same faults each time, and the same request with another seed may fare better. In the test's process it is
``ChatServer``; ``python -m tests.servers.chat`` serves from a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from svit_builder.generate.compose import compose

from .batches import BatchStore
from .loop import LoopServer, _reset_on_close
from .messages import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .messages import Request

    Writer = Callable[[list[dict[str, Any]], int], str]

# A retry of the same request gets over these:
PASSING = ("429", "429_seconds", "429_ms", "429_date", "500", "503", "reset", "slow")
# The same request always fares like this, another seed may not:
LASTING = (
    "empty",
    "truncated",
    "refusal",
    "leak",
    "wrong_count",
    "malformed_box",
    "content_filter",
    "invalid_json",
    "400",
)
_MARK = "X-Fault"  # of a response that `_send` is to spoil


@dataclass(frozen=True)
class ChatFaults:
    """Which share of requests goes wrong, and how."""

    share: float = 0.0  # of requests, by their hash
    kinds: tuple[str, ...] = (*PASSING, *LASTING)  # equally often
    times: int = 1  # how often a passing fault hits the same request
    stubborn: float = 0.0  # of contexts: every reply about them is spoilt in a lasting way
    expired: float = 0.0  # of a batch's lines, by their hash and the batch: they come back unanswered

    def of(self, body: Mapping[str, Any], digest: str) -> str | None:
        """The fault of a request; None for most."""
        lasting = [kind for kind in self.kinds if kind in LASTING]
        said = hashlib.sha256(str(body["messages"][-1]["content"]).encode()).hexdigest()
        if lasting and _number(said) < self.stubborn:
            return lasting[int(said[8:16], 16) % len(lasting)]
        return self.kinds[int(digest[8:16], 16) % len(self.kinds)] if _number(digest) < self.share else None


def _number(digest: str) -> float:
    """A number from 0 to 1 that a digest stands for."""
    return int(digest[:8], 16) / 2**32


class ChatServer(LoopServer):
    """An endpoint at ``url + "/v1"``.

    ::

        with ChatServer(faults=ChatFaults(share=0.1)) as server:
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="k")
    """

    def __init__(
        self,
        *,
        faults: ChatFaults = ChatFaults(),
        delay: float = 0.0,
        capacity: int | None = None,
        key: str | None = None,
        model: str = "loopback-1",
        writer: Writer | None = None,
        port: int = 0,
        polls: int = 1,
    ) -> None:
        """`delay` seconds before each completion; more than `capacity` at once are 429; without `key` any will do.

        `polls`: how often a batch is looked at before it is done.
        """
        super().__init__(port=port)
        self.chat_faults, self.delay, self.capacity, self.key, self.model = faults, delay, capacity, key, model
        self.asked: Counter[str] = Counter()  # completions, by digest of the request, whatever the answer
        self.answered: Counter[str] = Counter()  # those with status 200
        self.spoilt: Counter[str] = Counter()  # faults, by kind
        self.busy, self.busiest = 0, 0
        self.batches = BatchStore(self._line, polls=polls)
        self._write: Writer = writer or (lambda messages, seed: compose(messages, seed=seed))

    def handle(self, request: Request) -> Response:
        """One request."""
        path = request.path
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        if path == "/v1/models":
            return _json({"object": "list", "data": [{"id": self.model, "object": "model", "owned_by": "tests"}]})
        if path == "/v1/chat/completions" and request.method == "POST":
            return self._completion(request.body)
        query = parse_qs(urlsplit(request.target).query)
        found = self.batches.handle(request, {name: values[0] for name, values in query.items()})
        return found or _error(404, f"No such path: {path}.", "not_found")

    def _completion(self, raw: bytes) -> Response:
        body = json.loads(raw)
        digest = hashlib.sha256(raw).hexdigest()
        self.asked[digest] += 1
        if body.get("model") != self.model:
            return _error(404, f"The model `{body.get('model')}` does not exist.", "model_not_found")
        if self.capacity is not None and self.busy >= self.capacity:
            self.spoilt["over capacity"] += 1
            return _error(429, "Too many requests at once.", "rate_limit_exceeded", {"Retry-After-Ms": "20"})
        kind = self.chat_faults.of(body, digest)
        if kind in PASSING and self.asked[digest] > self.chat_faults.times:
            kind = None
        if kind is not None:
            self.spoilt[kind] += 1
        response = _passing(kind) or self.completion(body, kind)
        if response.status == 200 and kind != "reset":
            self.answered[digest] += 1
        return response

    def completion(self, body: dict[str, Any], kind: str | None = None) -> Response:
        """The answer to a request that is let through, spoilt as `kind` says."""
        if kind == "400":
            return _error(400, "The request was rejected.", "invalid_request")
        if kind == "invalid_json":
            return Response(200, {"Content-Type": "application/json"}, b'{"choices": [{"mess')
        text = self._write(body["messages"], body.get("seed", 0))
        prompt = sum(len(str(message["content"])) for message in body["messages"]) // 4
        text, reason = _spoilt(text, kind)
        data = {
            "id": f"chatcmpl-{hashlib.sha256(text.encode()).hexdigest()[:16]}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": f"{self.model}-2026",
            "system_fingerprint": "fp_tests",
            "choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": len(text) // 4,
                "total_tokens": prompt + len(text) // 4,
            },
        }
        return _json(data, {_MARK: "slow"} if kind == "slow" else {})

    def _line(self, body: dict[str, Any], batch: int) -> tuple[int, dict[str, Any]] | None:
        """The answer to a line of a batch: status and body; None where it expires."""
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        if _number(hashlib.sha256(f"{batch} {digest}".encode()).hexdigest()) < self.chat_faults.expired:
            self.spoilt["expired"] += 1
            return None
        self.asked[digest] += 1
        kind = self.chat_faults.of(body, digest)
        if kind in PASSING:
            kind = "500" if self.asked[digest] <= self.chat_faults.times else None
        if kind is not None:
            self.spoilt[kind] += 1
        if kind == "500":
            return 500, {"error": {"message": "The server had an error."}}
        response = self.completion(body, None if kind == "invalid_json" else kind)
        if response.status == 200:
            self.answered[digest] += 1
        return response.status, json.loads(bytes(response.body))  # type: ignore[arg-type]

    async def _send(self, writer: asyncio.StreamWriter, request: Request, response: Response) -> None:
        """Send a completion after its time; or spoil it on the way."""
        if request.path != "/v1/chat/completions":
            await super()._send(writer, request, response)
            return
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            fault = response.headers.get(_MARK)
            if response.status != 429:
                await asyncio.sleep(0.5 if fault == "slow" else self.delay)
        finally:
            self.busy -= 1
        if fault == "reset":
            self.log.add(request, 0)
            _reset_on_close(writer)
            raise ConnectionResetError
        await super()._send(writer, request, response)


def _passing(kind: str | None) -> Response | None:
    """The answer of a fault that a retry gets over."""
    match kind:
        case "429":
            return _error(429, "Rate limit reached.", "rate_limit_exceeded")
        case "429_seconds":
            return _error(429, "Rate limit reached.", "rate_limit_exceeded", {"Retry-After": "0.2"})
        case "429_ms":
            return _error(429, "Rate limit reached.", "rate_limit_exceeded", {"Retry-After-Ms": "30"})
        case "429_date":
            soon = formatdate(time.time() + 1, usegmt=True)
            return _error(429, "Rate limit reached.", "rate_limit_exceeded", {"Retry-After": soon})
        case "500" | "503":
            return _error(int(kind), "The server had an error.", "server_error")
        case "reset":
            return Response(200, {_MARK: "reset"})
    return None


def _spoilt(text: str, kind: str | None) -> tuple[str, str]:
    """A reply as a bad day of a model would have it, and its finish reason."""
    match kind:
        case "empty":
            return "", "stop"
        case "truncated":
            return text[: len(text) // 3], "length"
        case "refusal":
            return "I'm sorry, but I can't assist with that request.", "stop"
        case "leak":
            return re.sub(r"\. ", ", as the captions and bounding boxes say. ", text + " "), "stop"
        case "wrong_count":
            return text[: len(text) // 5].rsplit("\n", 2)[0], "stop"
        case "malformed_box":
            return re.sub(r"\[([\d.]+), ", r"[\1., ", text) if "<ed>" in text else "", "stop"
        case "content_filter":
            return "", "content_filter"
    return text, "stop"


def _json(data: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(data).encode())


def _error(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> Response:
    body = {"error": {"message": message, "type": "error", "code": code, "param": None}}
    return Response(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode())


def main() -> None:
    """Serve until standard input ends; print the URL first, and what was asked last."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.chat", description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--share", type=float, default=0.0, help="of requests that go wrong")
    parser.add_argument("--reply", help="say this to everything, instead of composing")
    parser.add_argument("--port", type=int, default=0, help="0: the system chooses")
    options = parser.parse_args()
    writer: Writer | None = None if options.reply is None else lambda *_: options.reply
    with ChatServer(faults=ChatFaults(options.share), delay=options.delay, writer=writer, port=options.port) as server:
        print(server.url, flush=True)
        sys.stdin.read()
        counts = {"asked": server.asked.total(), "distinct": len(server.asked), "answered": server.answered.total()}
        print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
