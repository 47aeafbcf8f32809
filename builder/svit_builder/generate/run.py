"""A job in, a folder with journal and dataset out: opens what is needed and has all asked that is left.

`online` or `batch` ask, `derive` writes the data. A job can be cut by image into shards, each with a journal of its
own, which run on processes or on a Ray cluster, and whose data are derived together.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svit_builder.annotations import open_annotations
from svit_builder.build import executors
from svit_builder.generate.batch import Batches
from svit_builder.generate.clean import judge
from svit_builder.generate.client import Embedded, Http
from svit_builder.generate.derive import derive
from svit_builder.generate.journal import Journal
from svit_builder.generate.locks import lock
from svit_builder.generate.online import Progress, ask_all
from svit_builder.generate.plan import TASKS, Settings, bind, choose, pending, unjudged
from svit_builder.generate.prices import Budget, Price
from svit_builder.generate.rules import RULES_VERSION
from svit_builder.generate.status import journal_path, read_status
from svit_datasets.errors import EndpointError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from svit_builder.annotations import Annotations
    from svit_builder.generate.client import Client
    from svit_builder.generate.plan import Item
    from svit_builder.generate.protocol import Reply, Verdict

__all__ = ["RULES_MODEL", "Job", "generate", "run_shard"]

RULES_MODEL = "rules"  # the name of the embedded model


@dataclass(frozen=True)
class Job:
    """What is to be generated, and how fast; pickles."""

    out: Path
    annotations: str  # folder, zip or URL
    settings: Settings = field(default_factory=Settings)
    tasks: tuple[str, ...] = TASKS
    images: tuple[int, ...] | None = None  # ids; None: all that have annotations
    attempts: int = 3  # an item has at most
    base_urls: tuple[str, ...] = ()
    key_name: str = "OPENAI_API_KEY"  # of the environment variable with the key
    concurrency: int = 32
    rpm: float | None = None
    tpm: float | None = None
    timeout: float = 600.0  # seconds for a reply
    batch: bool = False
    budget: float | None = None  # USD
    price: Price | None = None
    resume: bool = False  # go on with a journal that holds replies
    cache_dir: str | None = None  # of the annotations' tables
    poll: float = 30.0  # seconds between two looks at a batch

    def __post_init__(self) -> None:
        if not self.tasks or set(self.tasks) - set(TASKS):
            raise OptionError(f"tasks={self.tasks!r} is not allowed. Allowed: {', '.join(TASKS)}.")
        if (self.settings.model == RULES_MODEL) == bool(self.base_urls):
            raise OptionError(
                f"The model {RULES_MODEL!r} is in this package and needs no --base-url; any other needs one."
            )
        if self.batch and len(self.base_urls) != 1:
            raise OptionError("--batch needs one --base-url, that of an endpoint with the Batch API.")
        if self.budget is not None and self.price is None:
            raise OptionError("--budget needs --prices: a table with what the model costs.")

    def part(self, shards: int) -> Job:
        """Return the job as one of so many shards runs it: each gets its share of what the whole is allowed."""
        return replace(
            self,
            rpm=None if self.rpm is None else self.rpm / shards,
            tpm=None if self.tpm is None else self.tpm / shards,
            budget=None if self.budget is None else self.budget / shards,
        )


def generate(
    job: Job,
    *,
    shards: int | None = None,
    executor: str = "local",
    num_workers: int | None = None,
    address: str | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Ask all that a job's journal does not hold yet, and write the dataset; returns its summary.

    Args:
        job: what to generate.
        shards: run it in so many parts by image, each with its own journal; None: as one, in this process.
        executor: "local" or "ray", for shards.
        num_workers: shards at a time.
        address: of a Ray cluster.
        tell: called after each reply, where there are no shards.

    Raises:
        EndpointError: the endpoint refuses, or the budget is spent. What came until then is in the journal, and the
            data are written from it.
        SvitError: options do not fit, annotations or journal cannot be read.
    """
    try:
        if shards is None:
            run_shard(job, None, tell)
        else:
            parts = _parts(job, shards)
            for _ in executors.run(_run_part, parts, executor=executor, num_workers=num_workers, address=address):
                pass
    except EndpointError:
        if read_status(job.out).replies:
            _derive(job)
        raise
    return _derive(job)


def _derive(job: Job) -> dict[str, Any]:
    return derive(job.out, open_annotations(job.annotations, cache_dir=job.cache_dir))


def _parts(job: Job, shards: int) -> list[_Part]:
    """Cut a job; its paths become absolute, as they travel."""
    whole = replace(job.part(shards), out=job.out.absolute(), annotations=_absolute(job.annotations))
    parts = [_Part(whole, (number, shards)) for number in range(shards)]
    for part in parts:
        if (path := journal_path(job.out, part.shard)).is_file():
            with Journal(path) as journal:
                _check_resume(job, journal)
    return parts


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser().absolute())


@dataclass(frozen=True)
class _Part:
    job: Job
    shard: tuple[int, int]

    def __str__(self) -> str:
        return f"shard {self.shard[0]} of {self.shard[1]}"


def _run_part(part: _Part) -> None:
    # A part that died may be run again, and then its journal holds replies.
    run_shard(replace(part.job, resume=True), part.shard)


def run_shard(
    job: Job, shard: tuple[int, int] | None = None, tell: Callable[[Progress], None] = lambda _: None
) -> Progress:
    """Ask all that one journal does not hold yet; writes no data.

    Args:
        job: what to generate.
        shard: (i, n): only the photos whose id leaves i when divided by n, in a journal of their own.
        tell: called after each reply.

    Raises:
        EndpointError, SvitError: as in `generate`.
    """
    annotations = open_annotations(job.annotations, cache_dir=job.cache_dir)
    ids = choose(annotations, job.images, shard)
    job.out.mkdir(parents=True, exist_ok=True)
    path = journal_path(job.out, shard)
    with lock(path), Journal(path, create=True) as journal:
        _check_resume(job, journal)
        bind(journal, job.settings)
        journal.set("annotations", _absolute(job.annotations))
        journal.set("attempts", job.attempts)
        journal.set("tasks", sorted({*(journal.get("tasks") or ()), *job.tasks}, key=TASKS.index))
        journal.set("items", {**(journal.get("items") or {}), **dict.fromkeys(job.tasks, len(ids))})
        run = _Run(job, annotations, ids, journal, tell)
        run.judge_what_came()
        asyncio.run(run.ask_in_batches() if job.batch else run.ask())
        run.check_budget()
    return run.progress


def _check_resume(job: Job, journal: Journal) -> None:
    if not (job.resume or journal.is_empty()):
        raise OptionError(f"{journal.path} holds replies already. Go on with --resume, or give another --out.")


class _Run:
    """One journal being filled."""

    def __init__(
        self,
        job: Job,
        annotations: Annotations,
        ids: np.ndarray[Any, Any],
        journal: Journal,
        tell: Callable[[Progress], None],
    ) -> None:
        self._job, self._annotations, self._ids, self._journal, self._tell = job, annotations, ids, journal, tell
        self.progress = Progress()
        self._budget: Budget | None = None
        if job.budget is not None and job.price is not None:
            self._budget = Budget(job.budget, job.price, journal, batch=job.batch)

    def judge_what_came(self) -> None:
        """Judge the replies that no rule has seen, or only rules of another version."""
        self._journal.forget_verdicts(RULES_VERSION)
        for item, call in unjudged(self._journal, self._annotations, self._job.settings, self._ids):
            verdict = _judge(item, call.reply)
            self._journal.judged(call.image_id, call.task, call.attempt, verdict, RULES_VERSION)
            self.progress.accepted += verdict.accepted
            self.progress.rejected += not verdict.accepted and call.attempt + 1 >= self._job.attempts

    async def ask(self) -> None:
        """Ask one by one; again while some requests had no answer and others did."""
        client, progress = _client(self._job), self.progress
        try:
            while True:
                failed, replies = progress.failed, progress.replies
                await ask_all(
                    self._todo(),
                    self._journal,
                    client,
                    _judge,
                    attempts=self._job.attempts,
                    budget=self._budget,
                    tell=self._tell,
                    progress=progress,
                )
                spent = self._budget is not None and self._budget.exhausted
                if spent or progress.failed == failed or progress.replies == replies:
                    return
        finally:
            await client.close()

    async def ask_in_batches(self) -> None:
        """Ask by the Batch API."""
        job = self._job
        batches = Batches(job.base_urls[0], self._journal, key_name=job.key_name, poll=job.poll)
        try:
            await batches.run(
                self._todo, self.judge_what_came, budget=self._budget, progress=self.progress, tell=self._tell
            )
        finally:
            await batches.close()

    def check_budget(self) -> None:
        """Raise `EndpointError` if something was not asked for want of money."""
        budget = self._budget
        if budget is not None and budget.exhausted:
            raise EndpointError(
                f"The budget of {budget.usd:,.2f} USD is spent but for {budget.usd - budget.spent:,.2f}, which the "
                "next request might pass. All replies so far are in the journal: go on with --resume and a higher "
                "--budget."
            )

    def _todo(self) -> Iterator[tuple[Item, int, int]]:
        job = self._job
        return pending(
            self._journal, self._annotations, job.settings, self._ids, tasks=job.tasks, attempts=job.attempts
        )


def _judge(item: Item, reply: Reply) -> Verdict:
    return judge(item.context.task, reply, item.context, question=item.prompt.question)


def _client(job: Job) -> Client:
    if job.settings.model == RULES_MODEL:
        return Embedded()
    return Http(
        job.base_urls,
        key_name=job.key_name,
        concurrency=job.concurrency,
        rpm=job.rpm,
        tpm=job.tpm,
        timeout=job.timeout,
    )
