"""A function and items in, results out as they come: on processes of this machine, or on a Ray cluster.

Both keep the same promise: a worker that dies costs time and nothing else. Only items that were not finished are run
again, so an item must be safe to run twice. What an item is, is not known here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from svit_builder.build import cluster, pool
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["EXECUTORS", "run"]

EXECUTORS = ("local", "ray")


def run(
    fn: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    executor: str = "local",
    num_workers: int | None = None,
    address: str | None = None,
    retries: int = 3,
) -> Iterator[tuple[int, Any]]:
    """Call ``fn(item)`` for every item, in other processes, and yield (index, result) as they complete.

    Lazy: items are drawn a few ahead of the workers, and workers start with the first. Closing the iterator, Ctrl-C
    and an error end the workers. A script that calls this needs the usual ``if __name__ == "__main__":``, because new
    processes import it.

    Args:
        fn: a function of a module, as it travels by its name.
        items: values that pickle; ``str(item)`` is what errors call one.
        executor: "local" (processes of this machine) or "ray".
        num_workers: items at a time. None: the processors of this machine, or of the cluster. 0, of "local" only: in
            this process, without any other.
        address: of a running Ray cluster, as ``ray.init`` takes it; None starts one on this machine for as long as
            this runs, unless the process has one already.
        retries: how often an item may take its worker with it.

    Raises:
        BuildError: an item took its worker with it ``retries`` times; the message names it.
        OptionError: an argument has a value that is not allowed.
        MissingDependency: Ray is not installed.
        Exception: what ``fn`` raised, once: only the death of a worker is tried again.
    """
    if executor not in EXECUTORS:
        raise OptionError(f"executor={executor!r} is not allowed. Allowed: {', '.join(map(repr, EXECUTORS))}.")
    if num_workers is not None and num_workers < (0 if executor == "local" else 1):
        raise OptionError(f"num_workers={num_workers!r} is not allowed: give 1 or more.")
    if address is not None and executor != "ray":
        raise OptionError(f'address={address!r} is for executor="ray" only.')
    if retries < 1:
        raise OptionError(f"retries={retries!r} is not allowed: give 1 or more.")
    numbered = enumerate(items)
    if executor == "ray":
        yield from cluster.run(fn, numbered, num_workers, address, retries)
    elif num_workers == 0:
        yield from ((index, fn(item)) for index, item in numbered)
    else:
        yield from pool.run(fn, numbered, num_workers or _processors(), retries)


def _processors() -> int:
    """Return how many processors this process may use; a batch system gives fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
