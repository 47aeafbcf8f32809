"""The requests that every client sends, and how they are kept under way. Needs the standard library alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

MODEL = "loopback-1"
SYSTEM = "Write fifteen questions with answers about the photo that the user's notes describe. " * 18
LINE = "a red kite over the meadow: [0.312, 0.108, 0.455, 0.397]\n"


def messages(number: int) -> list[dict[str, str]]:
    """About 5 KB, as a request of SVIT has; no two are alike."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"photo {number}\n" + LINE * 60}]


def finished(ask: Callable[[int], Awaitable[Any]], count: int, at_once: int) -> Iterator[int]:
    """Ask `count` requests, `at_once` under way, and yield the number of each as it is answered."""
    numbers = iter(range(count))
    done: asyncio.Queue[int | BaseException] = asyncio.Queue()

    async def work() -> None:
        for number in numbers:
            try:
                await ask(number)
            except BaseException as error:
                done.put_nowait(error)
                raise
            done.put_nowait(number)

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        tasks = [loop.create_task(work()) for _ in range(at_once)]
        came = 0
        while came < count:
            answers = [loop.run_until_complete(done.get())]
            while not done.empty():  # one round of the loop may bring several: none may wait to be counted
                answers.append(done.get_nowait())
            came += len(answers)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
        loop.run_until_complete(asyncio.gather(*tasks))
