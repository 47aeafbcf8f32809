"""In which order an epoch reads, and which part of it is whose: pure functions of sizes, seeds and counts.

An epoch is one sequence of rows that no rank, worker or stop changes. A reader owns some intervals of it; what it has
not read yet is again some intervals. So any state is a few numbers, and states of any number of readers can be put
together and cut anew for another number of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Intervals", "Order", "Sequence", "cut", "length", "merged", "sequence", "share"]

Order = Literal["record", "storage", "shuffled"]
Intervals = list[tuple[int, int]]  # ascending, disjoint, none empty; 0-based, the second number exclusive
Ids = np.ndarray[Any, np.dtype[np.int64]]

SPAN = 4 << 20  # bytes read as one where photos lie side by side


@dataclass(frozen=True)
class Sequence:
    """The order of an epoch."""

    items: Ids  # (n,) positions in the plan, in reading order
    edges: Ids  # (windows + 1,) items edges[i] to edges[i + 1] are fetched together


def sequence(  # what decides an epoch's order, and nothing else
    order: Order, place: Ids, size: Ids, *, seed: int, epoch: int, window_bytes: int
) -> Sequence:
    """Return the order of one epoch.

    "record" is the file's order, "storage" that of the bytes. "shuffled" cuts the storage order into spans of about
    4 MB, permutes the spans, takes as many as fill a window, and permutes the photos inside it. So two neighbours of
    one span share a window always and are on average a third of it apart, and a window is filled from
    ``window_bytes / 4 MB`` places of the whole corpus.

    Args:
        order: "record", "storage" or "shuffled".
        place: (n, 2) int64: number of the source of each photo, and the byte at which it begins there.
        size: (n,) int64: bytes of each photo.
        seed: of the user.
        epoch: 0-based.
        window_bytes: how many bytes are permuted together; also what a reader of this order holds in memory.

    Returns:
        The same for the same arguments on any machine and any version of numpy (raw PCG64 numbers are sorted; numpy's
        own permutation may change).
    """
    count = len(size)
    if order == "record":
        return Sequence(np.arange(count), _cuts(size, SPAN))
    stored = np.lexsort((place[:, 1], place[:, 0])).astype(np.int64)
    if order == "storage":
        return Sequence(stored, _cuts(size[stored], SPAN))
    spans = np.split(stored, _cuts(size[stored], SPAN)[1:-1]) if count else []
    numbers = np.random.PCG64([seed, epoch])
    mixed = [spans[index] for index in np.argsort(numbers.random_raw(len(spans)), kind="stable")]
    items = np.concatenate(mixed) if mixed else stored
    edges = _cuts(np.array([size[span].sum() for span in mixed]), window_bytes)
    edges = np.concatenate([[0], np.cumsum([len(span) for span in mixed])]).astype(np.int64)[edges]
    keys = numbers.random_raw(count)
    window = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    return Sequence(items[np.lexsort((keys, window))], edges)


def _cuts(size: Ids, limit: int) -> Ids:
    """Return the edges of runs of about ``limit`` bytes each, at least one item a run."""
    if not len(size):
        return np.zeros(1, dtype=np.int64)
    run = (np.cumsum(size) - size) // limit
    return np.concatenate([[0], np.flatnonzero(np.diff(run)) + 1, [len(size)]]).astype(np.int64)


def length(intervals: Intervals) -> int:
    """Return how many rows some intervals hold."""
    return sum(stop - start for start, stop in intervals)


def cut(intervals: Intervals, first: int, last: int) -> Intervals:
    """Return the rows ``first`` to ``last`` (exclusive) of those in ``intervals``, counted along them."""
    parts = []
    at = 0
    for start, stop in intervals:
        low, high = max(first - at, 0), min(last - at, stop - start)
        if low < high:
            parts.append((start + low, start + high))
        at += stop - start
    return parts


def share(intervals: Intervals, rank: int, world_size: int) -> Intervals:
    """Return one reader's part: side by side along the intervals, and no two parts differ by more than a row."""
    total = length(intervals)
    return cut(intervals, total * rank // world_size, total * (rank + 1) // world_size)


def merged(parts: list[Intervals]) -> Intervals:
    """Put together what several readers own.

    Raises:
        ValueError: two of them own the same row.
    """
    whole: Intervals = []
    for start, stop in sorted(interval for part in parts for interval in part):
        if whole and start < whole[-1][1]:
            raise ValueError(f"rows {start} to {min(stop, whole[-1][1])} are owned twice")
        if whole and start == whole[-1][1]:
            whole[-1] = (whole[-1][0], stop)
        else:
            whole.append((start, stop))
    return whole
