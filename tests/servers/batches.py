"""The files and batches of an OpenAI endpoint, in memory: uploads, a batch's states, its output and errors.

A batch is worked off when it has been looked at a few times. What a line is answered is the business of ``chat``.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .messages import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .messages import Request

    Line = Callable[[dict[str, Any], int], tuple[int, dict[str, Any]] | None]

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000


@dataclass
class Batch:
    """One batch and how far it is."""

    number: int
    input_file: str
    metadata: dict[str, str]
    status: str = "validating"
    looks: int = 0
    output_file: str | None = None
    error_file: str | None = None
    errors: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As the API tells it."""
        return {
            "id": f"batch_{self.number}",
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "created_at": int(time.time()),
            "status": self.status,
            "input_file_id": self.input_file,
            "output_file_id": self.output_file,
            "error_file_id": self.error_file,
            "metadata": self.metadata,
            "errors": {"object": "list", "data": [{"message": text, "code": "invalid"} for text in self.errors]},
        }


class BatchStore:
    """What was uploaded, and what became of it."""

    def __init__(self, answer: Line, *, polls: int = 1) -> None:
        """`answer` tells what a line gets; a batch is done when it was looked at `polls` times."""
        self.files: dict[str, bytes] = {}
        self.batches: list[Batch] = []
        self.polls = polls
        self.lost_answers = 0  # batches to make whose answer does not come back
        self.refuse: str | None = None  # the next batch fails with this message
        self._answer = answer

    def handle(self, request: Request, query: Mapping[str, str]) -> Response | None:
        """Answer what is about files and batches; None for the rest."""
        path, posted = request.path, request.method == "POST"
        if path == "/v1/files" and posted:
            return self._upload(request)
        if match := re.fullmatch(r"/v1/files/(file-\d+)/content", path):
            return Response(200, {"Content-Type": "application/octet-stream"}, self.files[match[1]])
        if path == "/v1/batches" and posted:
            return self._make(json.loads(request.body))
        if path == "/v1/batches":
            return self._list(query)
        if match := re.fullmatch(r"/v1/batches/batch_(\d+)", path):
            return _json(self._look(self.batches[int(match[1])]).to_json())
        return None

    def _upload(self, request: Request) -> Response:
        boundary = re.search(r'boundary="?([^";]+)', request.headers["content-type"])
        assert boundary is not None
        parts = request.body.split(b"--" + boundary[1].encode())
        named = {}
        for part in parts[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            name = re.search(rb'name="(\w+)"', head)
            assert name is not None
            named[name[1].decode()] = content.removesuffix(b"\r\n")
        if named["purpose"] != b"batch" or len(named["file"]) > MOST_BYTES:
            return Response(400, {"Content-Type": "application/json"}, b'{"error": {"message": "no such file"}}')
        return _json(self._keep(named["file"]))

    def _keep(self, content: bytes) -> dict[str, Any]:
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = content
        size = len(content)
        return {
            "id": file_id, "object": "file", "bytes": size, "purpose": "batch", "filename": "x", "created_at": 0,
            "status": "processed",
        }  # fmt: skip

    def _make(self, body: dict[str, Any]) -> Response:
        assert body["endpoint"] == "/v1/chat/completions"
        assert body["completion_window"] == "24h"
        batch = Batch(len(self.batches), body["input_file_id"], body.get("metadata") or {})
        lines = self.files[batch.input_file].splitlines()
        if len(lines) > MOST_REQUESTS or len({json.loads(line)["custom_id"] for line in lines}) < len(lines):
            batch.status, batch.errors = "failed", ["too many lines, or a custom_id comes twice"]
        if self.refuse is not None:
            batch.status, batch.errors, self.refuse = "failed", [self.refuse], None
        self.batches.append(batch)
        if self.lost_answers:
            self.lost_answers -= 1
            return Response(503, {"Content-Type": "application/json"}, b'{"error": {"message": "gone"}}')
        return _json(batch.to_json())

    def _list(self, query: Mapping[str, str]) -> Response:
        """The newest first, a few at a time."""
        listed = [batch.to_json() for batch in reversed(self.batches)]
        if "after" in query:
            listed = listed[[one["id"] for one in listed].index(query["after"]) + 1 :]
        page = listed[: min(int(query.get("limit", 20)), 2)]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return _json({"object": "list", "data": page, "has_more": len(page) < len(listed), **ends})

    def _look(self, batch: Batch) -> Batch:
        batch.looks += 1
        if batch.status == "validating":
            batch.status = "in_progress"
        if batch.status == "in_progress" and batch.looks > self.polls:
            self._work_off(batch)
        return batch

    def _work_off(self, batch: Batch) -> None:
        good, bad, expired = [], [], False
        for text in self.files[batch.input_file].splitlines():
            line = json.loads(text)
            assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
            answer = self._answer(line["body"], batch.number)
            told = {"id": f"req_{len(good)}", "custom_id": line["custom_id"], "response": None, "error": None}
            if answer is None:
                expired = True
                bad.append(told | {"error": {"code": "batch_expired", "message": "Not done within the window."}})
            else:
                response = {"status_code": answer[0], "request_id": "r", "body": answer[1]}
                (good if answer[0] == 200 else bad).append(told | {"response": response})
        good.reverse()  # the order is not promised
        batch.output_file, batch.error_file = (
            self._keep("".join(json.dumps(one) + "\n" for one in lines).encode())["id"] if lines else None
            for lines in (good, bad)
        )
        batch.status = "expired" if expired else "completed"


def _json(data: object) -> Response:
    return Response(200, {"Content-Type": "application/json"}, json.dumps(data).encode())
