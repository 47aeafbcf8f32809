"""Items on processes of this machine: `concurrent.futures`, and what it leaves to do when a worker dies.

A dead worker breaks the whole pool of `concurrent.futures`, which does not say whose item it was. So all items under
way then are run again in a new pool; one that was there too often is run alone, and if its worker dies again, it is
the one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from svit_datasets.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    Numbered = tuple[int, Any]

__all__ = ["run"]


def run(fn: Callable[[Any], Any], items: Iterator[Numbered], workers: int, retries: int) -> Iterator[Numbered]:
    """Yield (index, result) of each (index, item), as `executors.run` says."""
    again: deque[Numbered] = deque()  # their worker, or a neighbour's, died
    deaths: Counter[int] = Counter()
    while True:
        suspect = next((one for one in again if deaths[one[0]] >= max(1, retries - 1)), None)
        if suspect is None:
            lost: list[Numbered] = []
            yield from _round(fn, _drained(again, items), workers, lost)
            if not lost:
                return
            deaths.update(index for index, _ in lost)
            again.extend(lost)
        else:
            again.remove(suspect)
            yield from _round(fn, iter([suspect]), 1, lost := [])
            if lost:
                raise BuildError(
                    f"{suspect[1]}: the process that worked on it died {deaths[suspect[0]] + 1} times, the last time "
                    "alone: out of memory, or killed. Nothing partial was kept. Give it more memory, or fewer "
                    "workers, and run it again: only what is missing is made."
                )


def _drained(again: deque[Numbered], items: Iterator[Numbered]) -> Iterator[Numbered]:
    while again:
        yield again.popleft()
    yield from items


def _round(
    fn: Callable[[Any], Any], items: Iterator[Numbered], workers: int, lost: list[Numbered]
) -> Iterator[Numbered]:
    """Yield results until there are no items, or until a worker dies; what was under way then is put into ``lost``."""
    flying: dict[Future[Any], Numbered] = {}
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        while not lost:
            for _ in range(workers + 1 - len(flying)):  # one waits, so that no worker does
                if (numbered := next(items, None)) is None:
                    break
                try:
                    flying[pool.submit(_call, fn, numbered[1])] = numbered
                except BrokenProcessPool:
                    lost.append(numbered)
                    break
            if not flying:
                break
            done = wait(flying, return_when=FIRST_COMPLETED).done
            for future in sorted(done, key=lambda each: flying[each][0]):  # the first error is told, not any
                numbered = flying.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(numbered)
                else:
                    yield numbered[0], future.result()
        lost.extend(flying.values())
    finally:
        _end(pool, idle=not flying)


def _end(pool: ProcessPoolExecutor, *, idle: bool) -> None:
    processes = list((pool._processes or {}).values())  # noqa: SLF001 - terminate_workers() comes with Python 3.14
    pool.shutdown(wait=idle, cancel_futures=True)
    if not idle:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


# In a worker ----------------------------------------------------------------------------------------------------------

_busy = threading.Event()


def _begin() -> None:
    """Make this process one that ends when it is told to, or with its parent, and leaves nothing half written."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends its workers
    signal.signal(signal.SIGTERM, _terminated)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _terminated(number: int, frame: object) -> None:
    del frame
    if not _busy.is_set():
        os._exit(128 + number)
    raise SystemExit(128 + number)  # so that what is half written is removed on the way out


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _call(fn: Callable[[Any], Any], item: Any) -> Any:
    _busy.set()
    try:
        return fn(item)
    except SystemExit as error:
        os._exit(int(error.code or 1))
    finally:
        _busy.clear()
