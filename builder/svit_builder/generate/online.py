"""Pending requests in, judged replies in a journal out: asked one by one, some at once, again where a rule says so.

A worker takes an item, asks, writes the reply down, judges it, and asks again with another seed until a reply is good
or the attempts are used up. Memory holds what is under way, whatever the number of photos. `batch` does the same in
batches; who opens and closes things is `run`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from svit_builder.generate.endpoints import Refused, Unanswered
from svit_builder.generate.rules import RULES_VERSION
from svit_datasets.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svit_builder.generate.client import Client
    from svit_builder.generate.journal import Journal
    from svit_builder.generate.plan import Item
    from svit_builder.generate.prices import Budget
    from svit_builder.generate.protocol import Reply, Request, Verdict

    Judge = Callable[[Item, Reply], Verdict]

__all__ = ["FAILURES", "Progress", "ask_all"]

FAILURES = 25  # in a row, without one reply between: the endpoint is broken, not the requests


@dataclass
class Progress:
    """What became of this run's requests so far."""

    accepted: int = 0  # items
    rejected: int = 0  # items
    again: int = 0  # requests beside the first of an item
    failed: int = 0  # requests that nobody answered
    replies: int = 0
    begun: float = field(default_factory=time.monotonic)
    in_a_row: int = 0  # failures since the last reply


async def ask_all(
    todo: Iterator[tuple[Item, int, int]],
    journal: Journal,
    client: Client,
    judge: Judge,
    *,
    attempts: int,
    budget: Budget | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
    progress: Progress,
) -> None:
    """Ask all that is pending; every reply is in the journal when this returns or raises.

    Args:
        todo: (item, attempt, replies cut off before), as `plan.pending` yields them; taken as they are needed.
        journal: where replies go.
        client: who answers.
        judge: says what a reply is worth.
        attempts: an item has at most.
        budget: stops before it is passed.
        tell: called after each reply.
        progress: is counted on.

    Raises:
        EndpointError: the endpoint refuses everything, or 25 requests in a row came to nothing.
    """
    run = _Run(journal, client, judge, attempts, budget, tell, progress)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(client.most):
                group.create_task(run.work(todo))
    except BaseExceptionGroup as errors:  # one is enough: the first ended the others
        raise errors.exceptions[0] from None


@dataclass
class _Run:
    journal: Journal
    client: Client
    judge: Judge
    attempts: int
    budget: Budget | None
    tell: Callable[[Progress], None]
    progress: Progress

    async def work(self, todo: Iterator[tuple[Item, int, int]]) -> None:
        """Take items until there are none."""
        for item, attempt, cut_off in todo:  # shared by all workers: each item comes to one of them
            await self._item(item, attempt, cut_off)
            if self.budget is not None and self.budget.exhausted:
                return

    async def _item(self, item: Item, first: int, cut_off: int) -> None:
        """Ask about an item until a reply is good, the attempts are used up, or no answer comes."""
        for attempt in range(first, self.attempts):
            request = item.request(attempt, cut_off)
            if self.budget is not None and not await self.budget.granted(request):
                return
            self.progress.again += attempt > 0
            try:
                reply = await self._ask(request)
            except Unanswered:
                return
            except Refused:
                continue
            verdict = self.judge(item, reply)
            self.journal.judged(request.image_id, request.task, attempt, verdict, RULES_VERSION)
            if verdict.accepted:
                self.progress.accepted += 1
                self.tell(self.progress)
                return
            cut_off += reply.finish_reason == "length"
            self.tell(self.progress)
        self.progress.rejected += 1
        self.tell(self.progress)

    async def _ask(self, request: Request) -> Reply:
        """Ask once and write down what came."""
        asked, reply = time.time(), None
        try:
            reply, host = await self.client.ask(request)
            self.journal.replied(request, reply, host, asked=asked)
        except Refused as error:
            self.journal.refused(request, *error.args, asked=asked)
            self._count_failure(*error.args)
            raise
        except Unanswered as error:
            who = request.image_id, request.task, request.attempt, request.key
            self.journal.failed(who, *error.args)
            self.progress.failed += 1
            self._count_failure(*error.args)
            raise
        finally:
            if self.budget is not None:
                self.budget.settle(request, reply)
        self.progress.replies += 1
        self.progress.in_a_row = 0
        return reply

    def _count_failure(self, reason: str, message: str, host: str) -> None:
        self.progress.in_a_row += 1
        if self.progress.in_a_row >= FAILURES:
            raise EndpointError(
                f"{host}: {self.progress.in_a_row} requests in a row came to nothing, the last with {reason} "
                f"({message}). All replies so far are in the journal: run it again with --resume when the endpoint "
                "answers."
            )
