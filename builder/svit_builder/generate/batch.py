"""Pending requests in, replies out, by the Batch API: files of requests are uploaded, and collected within a day.

A batch costs half at most endpoints. What belongs to one is written down before it is sent, under a mark that also
travels in its metadata: a process that is killed between two steps finds its batches again and sends nothing twice.
Lines that expired or failed are asked again in the next batch. `online` asks one by one.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, BinaryIO

from svit_builder.generate.endpoints import Refused, explained, may_pass, open_endpoint, read_reply
from svit_datasets.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from svit_builder.generate.calls import Sent, Who
    from svit_builder.generate.journal import Journal
    from svit_builder.generate.online import Progress
    from svit_builder.generate.plan import Item
    from svit_builder.generate.prices import Budget
    from svit_builder.generate.protocol import Reply, Request

__all__ = ["MOST_BYTES", "MOST_REQUESTS", "Batches"]

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000  # of a file, as the Batch API allows
_URL = "/v1/chat/completions"
_ENDED = {"completed", "failed", "expired", "cancelled"}
_TRIES = 5  # to create a batch; each looks first whether the one before came through


class Batches:
    """One endpoint's Batch API, and the journal whose requests go there.

    Args:
        url: base of the endpoint, such as https://HOST/v1.
        journal: where everything is written down.
        key_name: of the environment variable with the key.
        poll: seconds between two looks at the batches.
        most_requests: in a file.
        most_bytes: of a file.

    Raises:
        MissingDependency: the openai package is not installed.
    """

    def __init__(
        self,
        url: str,
        journal: Journal,
        *,
        key_name: str = "OPENAI_API_KEY",
        poll: float = 30.0,
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._endpoint = open_endpoint(url, key_name)
        self._sdk = self._endpoint.sdk
        self._journal = journal
        self._poll, self._most_requests, self._most_bytes = poll, most_requests, most_bytes

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def run(
        self,
        todo: Callable[[], Iterator[tuple[Item, int, int]]],
        judge: Callable[[], None],
        *,
        budget: Budget | None = None,
        progress: Progress,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Send all that is pending and collect it, until nothing is: each round holds what the one before left over.

        Args:
            todo: gives what is pending now: (item, attempt, replies cut off before).
            judge: judges what came.
            budget: stops before it is passed.
            progress: is counted on.
            tell: called after each look.

        Raises:
            EndpointError: the endpoint refuses a batch, or no request of a round was answered.
        """
        import openai  # noqa: PLC0415 - was imported with the endpoint

        try:
            while True:
                before = progress.replies
                waited = await self._collect_all(budget, progress, tell)
                judge()
                tell(progress)
                if waited and progress.replies == before:
                    raise EndpointError(
                        f"{self._endpoint.url}: none of {waited:,} requests in batches was answered "
                        f"({json.dumps(self._journal.failures())}). Run it again with --resume to send them again."
                    )
                if not await self._send_all(todo(), budget):
                    return
        except openai.OpenAIError as error:
            raise explained(error, self._endpoint) from error

    # Sending --------------------------------------------------------------------------------------------------------

    async def _send_all(self, todo: Iterator[tuple[Item, int, int]], budget: Budget | None) -> int:
        """Send what is pending in as few files as the limits allow; returns how many requests."""
        requests: Iterator[Request] = (item.request(attempt, cut_off) for item, attempt, cut_off in todo)
        refused = False

        def allowed(request: Request) -> bool:
            nonlocal refused
            refused = budget is not None and not budget.allows(request)
            return not refused

        requests = takewhile(allowed, requests)
        path, sent = self._journal.path.with_suffix(".upload"), 0
        for first in requests:
            rest = chain([first], requests)
            mark = uuid.uuid4().hex
            with path.open("wb") as file:
                made = self._journal.begin_batch(mark, self._endpoint.host, self._written(rest, file))
            await self._open(made.number, mark, path)
            sent += made.requests
        path.unlink(missing_ok=True)
        if budget is not None and refused and not sent:  # what was under way has come, and still it is not enough
            budget.exhausted = True
        return sent

    def _written(self, requests: Iterator[Request], file: BinaryIO) -> Iterator[Request]:
        """Yield requests after writing each to a file, until the next might not fit."""
        largest = 0
        for number, request in enumerate(requests, 1):
            body = {"model": request.model, "messages": request.messages, **request.sampling}
            line = {"custom_id": _custom_id(request), "method": "POST", "url": _URL, "body": body}
            size = file.write(json.dumps(line).encode() + b"\n")
            largest = max(largest, size)
            yield request
            if number == self._most_requests or file.tell() + 2 * largest > self._most_bytes:
                return

    async def _open(self, number: int, mark: str, path: Path) -> None:
        """Upload a file and make a batch of it; one that was made although no answer came is found by its mark."""
        import openai  # noqa: PLC0415

        uploaded = await self._sdk.files.create(file=path, purpose="batch")
        for attempt in range(1, _TRIES + 1):
            try:
                batch = await self._sdk.with_options(max_retries=0).batches.create(
                    input_file_id=uploaded.id, endpoint=_URL, completion_window="24h", metadata={"svit": mark}
                )
            except (openai.InternalServerError, openai.RateLimitError, openai.APIConnectionError):
                remote = await self._find(mark)
                if remote is None and attempt == _TRIES:
                    raise
                if remote is None:
                    await asyncio.sleep(min(2.0**attempt, self._poll))
                    continue
            else:
                remote = batch.id
            self._journal.opened_batch(number, remote)
            return

    async def _find(self, mark: str) -> str | None:
        async for batch in self._sdk.batches.list(limit=100):
            if (batch.metadata or {}).get("svit") == mark:
                return str(batch.id)
        return None

    # Collecting -----------------------------------------------------------------------------------------------------

    async def _collect_all(self, budget: Budget | None, progress: Progress, tell: Callable[[Progress], None]) -> int:
        """Wait until no batch is open and write down what came; returns how many requests were waited for."""
        waited = 0
        while batches := self._journal.open_batches():
            looked = [await self._look(sent, progress) for sent in batches]
            ended = [count for count in looked if count is not None]
            waited += sum(ended)
            if budget is not None:
                budget.refresh(self._journal)
            tell(progress)
            if not ended:
                await asyncio.sleep(self._poll)
        return waited

    async def _look(self, sent: Sent, progress: Progress) -> int | None:
        """Collect a batch if it has ended; returns how many requests were in it, None if it has not."""
        remote = sent.remote or await self._find(sent.mark)
        if remote is None:  # the process ended before it was made
            self._journal.ended_batch(sent.number, "never sent")
            return 0
        if sent.remote is None:
            self._journal.opened_batch(sent.number, remote)
        batch = await self._sdk.batches.retrieve(remote)
        if batch.status not in _ENDED:
            return None
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            async for line in self._lines(file_id):
                self._write_down(line, progress)
        left = self._journal.ended_batch(sent.number, batch.status)
        if batch.status == "failed":
            told = [str(error.message) for error in (batch.errors.data if batch.errors else None) or ()]
            raise EndpointError(
                f"{self._endpoint.url}: the batch {remote} failed: {'; '.join(told[:3]) or 'no reason is given'}. Its "
                f"{left:,} requests are pending again: go on with --resume."
            )
        return sent.requests

    async def _lines(self, file_id: str) -> AsyncIterator[dict[str, Any]]:
        async with self._sdk.files.with_streaming_response.content(file_id) as response:
            async for line in response.iter_lines():
                if line.strip():
                    yield json.loads(line)

    def _write_down(self, line: dict[str, Any], progress: Progress) -> None:
        """Write down what came of one request; one that may be asked again stays as it is until the batch is closed."""
        who = _read_custom_id(line["custom_id"])
        response, error = line.get("response") or {}, line.get("error") or {}
        status, body = int(response.get("status_code") or 0), response.get("body") or {}
        answer: Reply | tuple[str, str]
        if status == 200:
            try:
                answer = read_reply(body, 0.0, self._endpoint.host)
            except Refused as refusal:
                answer = refusal.args[:2]
        else:
            reason = f"http_{status}" if status else str(error.get("code") or "batch_error")
            message = str(error.get("message") or (body.get("error") or {}).get("message") or "")
            if not status or may_pass(status):
                progress.failed += 1
                self._journal.failed(who, reason, message, self._endpoint.host)
                return
            answer = reason, message
        if self._journal.came(who, answer):
            progress.replies += 1


def _custom_id(request: Request) -> str:
    """Return what names a request in a batch: at most 64 characters, and only its own reply can carry it."""
    return f"{request.image_id}-{request.task}-{request.attempt}-{request.key[:16]}"


def _read_custom_id(text: str) -> Who:
    image_id, task, attempt, key = text.split("-")
    return int(image_id), task, int(attempt), key
