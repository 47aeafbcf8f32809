"""Items as tasks of a Ray cluster: one that is running, or one that is started on this machine and ended afterwards.

Ray finds the nodes, sends the items, and runs those of a dead worker or node again.
"""

from __future__ import annotations

import os
import re
import socket
from importlib import import_module
from typing import TYPE_CHECKING, Any

from svit_datasets.errors import BuildError, MissingDependency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Numbered = tuple[int, Any]

__all__ = ["run"]


def run(
    fn: Callable[[Any], Any], items: Iterator[Numbered], workers: int | None, address: str | None, retries: int
) -> Iterator[Numbered]:
    """Yield (index, result) of each (index, item), as `executors.run` says."""
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, workers, address)
    flying: dict[Any, Numbered] = {}
    try:
        task = ray.remote(max_retries=retries - 1)(fn)
        while True:
            for _ in range((workers or _twice_the_processors(ray)) - len(flying)):
                if (numbered := next(items, None)) is None:
                    break
                flying[task.remote(numbered[1])] = numbered
            if not flying:
                return
            done, _ = ray.wait(list(flying), num_returns=1)
            index, item = flying.pop(done[0])
            yield index, _result(ray, done[0], item, retries)
    finally:
        for reference in flying:
            ray.cancel(reference)
        if ours:
            ray.shutdown()


def _ray() -> Any:
    try:
        return import_module("ray")  # an extra, and 2 s
    except ImportError as error:
        raise MissingDependency(
            'executor="ray" needs Ray, which is not installed: pip install "svit-datasets[ray]"'
        ) from error


def _connect(ray: Any, workers: int | None, address: str | None) -> None:
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a build calls nobody
    else:
        _knock(address)
    quiet = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
    try:
        if address is None:
            ray.init(num_cpus=workers, **quiet)
        else:
            ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from error


def _knock(address: str) -> None:
    """Raise if nobody listens there: Ray itself would wait for minutes."""
    match = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), timeout=10).close()
    except OSError as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: Exception) -> BuildError:
    return BuildError(
        f"Ray at {address or 'this machine'} cannot be reached: {error}. Start it with `ray start --head`, or leave "
        "the address out."
    )


def _twice_the_processors(ray: Any) -> int:
    """Return how many items to have under way: each processor has one, and one waiting. A cluster may grow."""
    return 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))


def _result(ray: Any, reference: Any, item: Any, retries: int) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # what the function raised, wrapped
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except ray.exceptions.RayError as error:
        raise BuildError(
            f"{item}: the process that worked on it died {retries} times: out of memory, killed, or its machine is "
            f"gone ({type(error).__name__}). Nothing partial was kept. Run it again: only what is missing is made."
        ) from error
