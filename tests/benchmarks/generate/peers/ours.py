"""Ours: the client with its limits and the journal; and the whole of `svit generate`, notes and rules too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.generate.peers.source import MODEL, finished, messages
from tests.benchmarks.timing import main

if TYPE_CHECKING:
    from tests.benchmarks.timing import Items


def client(setting: dict[str, Any]) -> Items:
    """Ask, and write every reply down."""
    import time

    from svit_builder.generate.client import Http
    from svit_builder.generate.journal import Journal
    from svit_builder.generate.protocol import Request

    http = Http([setting["url"]], concurrency=setting["at_once"])
    with Journal(Path(setting["scratch"]) / "journal.sqlite", create=True) as journal:

        async def ask(number: int) -> None:
            asked = time.time()
            sampling = {"temperature": 0.7, "seed": number, "max_tokens": 2000}
            request = Request(
                number, "conversation", 0, MODEL, tuple(messages(number)), sampling, "p", "prompt", "context"
            )
            reply, host = await http.ask(request)
            journal.replied(request, reply, host, asked=asked)

        yield from finished(ask, setting["count"], setting["at_once"])


def whole(setting: dict[str, Any]) -> Items:
    """`svit generate` up to the last reply, and then the dataset: notes, requests, rules, journal, files."""
    from svit_builder.generate.plan import Settings
    from svit_builder.generate.run import Job, generate

    done: list[int] = []
    job = Job(
        Path(setting["scratch"]) / "made",
        setting["annotations"],
        Settings(model=MODEL),
        base_urls=(setting["url"],),
        concurrency=setting["at_once"],
        cache_dir=setting["scratch"],
    )
    generate(job, tell=lambda progress: done.append(progress.replies))
    yield from range(done[-1])


if __name__ == "__main__":
    main([client, whole])
