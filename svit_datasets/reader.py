"""The direct reader: rows at the speed of the decoder, in an order that any number of ranks resume exactly.

Stands on the same plan and the same join as `load_dataset` and gives the same rows, without `datasets` (and without
torch). What it reads is decided by `order`; here photos are fetched, decoded in threads, and put beside their text.
"""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from svit_datasets.errors import OptionError
from svit_datasets.join import read_windows
from svit_datasets.order import Intervals, cut, length, merged, sequence, share
from svit_datasets.text import text_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from svit_datasets.join import Window
    from svit_datasets.order import Order, Sequence
    from svit_datasets.plan import Plan
    from svit_datasets.report import Tally
    from svit_datasets.storage import Storage
    from svit_datasets.tasks import Task

    Row = dict[str, Any]

__all__ = ["Stream", "Work", "merge_states"]

Tail = Literal["exact", "drop_last", "pad"]
_EVERYTHING = 1 << 62  # images a window: each plan handed to the join is one


@dataclass(frozen=True)
class Work:
    """What a stream reads and how; does not change while it lives."""

    plan: Plan  # of one split
    task: Task
    rows: str  # "image" or "conversation"
    policy: str  # for photos that are missing
    storage: Storage
    tally: Tally
    order: Order
    seed: int
    window_bytes: int
    in_flight_bytes: int
    decode: Callable[[bytes], Any]
    threads: int  # that decode; 0: in the thread that iterates

    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return (n,) how many rows each image has."""
        plan = self.plan
        if self.rows == "image" or self.task.form == "llava":
            return np.ones(len(plan), dtype=np.int64)
        blocks = np.zeros(len(plan.item_row), dtype=np.int64)
        for number, store in enumerate(plan.stores):
            mine = plan.item_store == number
            blocks[mine] = store.index["blocks"].to_numpy()[plan.item_row[mine]]
        if plan.dropped:
            items = zip(plan.item_store.tolist(), plan.item_row.tolist(), strict=True)
            blocks -= np.array([len(plan.dropped.get(item, ())) for item in items])
        return np.diff(np.concatenate([[0], np.cumsum(blocks)])[plan.offsets])

    def sequence(self, epoch: int) -> Sequence:
        """Return the order of an epoch."""
        photos = self.plan.photos
        size = photos.entry["stop"] - photos.entry["start"]
        size = np.where(size > 0, size, 1 << 17)  # of a loose file nobody knows it yet
        place = np.stack([photos.source.astype(np.int64), photos.entry["start"]], axis=1)
        return sequence(self.order, place, size, seed=self.seed, epoch=epoch, window_bytes=self.window_bytes)

    def fingerprint(self) -> str:
        """Return what must be equal for a state to fit: the rows there are, and what orders them."""
        digest = hashlib.sha256(repr((self.task.name, self.rows, self.order, self.seed, self.window_bytes)).encode())
        for column in (self.plan.image_ids, self.plan.photos.entry["start"], self.counts()):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()[:32]


class Stream:
    """An iterable over one reader's rows of one split; make one with `svit_datasets.stream`.

    Iterating reads the epoch from its beginning, or from where a loaded state ends. ``state_dict`` may be taken at any
    row and costs nothing; a row counts as read when it was handed out. In a ``torch.utils.data.DataLoader`` each worker
    reads its own part of the rank's rows. Not for several threads at once.
    """

    def __init__(self, work: Work, *, rank: int = 0, world_size: int = 1, tail: Tail = "exact") -> None:
        if not 0 <= rank < world_size:
            raise OptionError(f"rank={rank} of world_size={world_size}: give 0 <= rank < world_size.")
        if tail not in ("exact", "drop_last", "pad"):
            raise OptionError(f"tail={tail!r} is not allowed. Allowed: 'exact', 'drop_last', 'pad'.")
        self._work, self.rank, self.world_size, self.tail = work, rank, world_size, tail
        self.epoch = 0
        self._counts = work.counts()
        self._fingerprint = work.fingerprint()
        self._todo: _Todo | None = None  # of the iteration under way, or of a loaded state; None: the whole share
        self._loaded = False

    def __len__(self) -> int:
        """Return how many rows this rank reads in a whole epoch."""
        return self._share([(0, int(self._counts.sum()))]).rows

    def __iter__(self) -> Iterator[Row]:
        if not self._loaded or self._todo is None:
            self._todo = self._share([(0, int(self._counts.sum()))])
        self._loaded = False
        self._todo = self._todo.of_worker(*_worker())
        return self._read(self._todo)

    def shard(self, rank: int, world_size: int) -> Stream:
        """Return the same stream for another rank, at the beginning of the same epoch."""
        other = Stream(self._work, rank=rank, world_size=world_size, tail=self.tail)
        other.set_epoch(self.epoch)
        return other

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: ``order="shuffled"`` reads each in an order of its own, the same on every rank."""
        self.epoch, self._todo, self._loaded = epoch, None, False

    def state_dict(self) -> dict[str, Any]:
        """Return where this reader is: plain numbers and strings, a few hundred bytes."""
        todo = self._todo or self._share([(0, int(self._counts.sum()))])
        return {
            "version": 1,
            "fingerprint": self._fingerprint,
            "epoch": self.epoch,
            "rank": self.rank,
            "world_size": self.world_size,
            "worker": list(todo.worker),
            "todo": [list(interval) for interval in todo.intervals],
            "padding": [list(interval) for interval in todo.padding],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken: the next iteration reads the rest of its epoch, each row once.

        Args:
            state: of the same rank of as many ranks, or of `merge_states`, which any number of ranks can go on from.

        Raises:
            OptionError: it is of other data, another order, or another rank; the message says which.
        """
        if state["fingerprint"] != self._fingerprint:
            raise OptionError(
                "This state is of another stream: data, split, rows, order, seed or window_bytes differ. Make the "
                "stream with the arguments it was saved with; rank, world_size, decode and tail may change."
            )
        todo = _Todo(_pairs(state["todo"]), _pairs(state["padding"]), (state["worker"][0], state["worker"][1]))
        if state["rank"] is None:
            todo = self._share(todo.intervals)
        elif (state["rank"], state["world_size"]) != (self.rank, self.world_size):
            raise OptionError(
                f"This state is of rank {state['rank']} of {state['world_size']}, this stream is rank {self.rank} of "
                f"{self.world_size}. Put the states of all of them together with merge_states([...])."
            )
        self.epoch, self._todo, self._loaded = state["epoch"], todo, True

    def _share(self, whole: Intervals) -> _Todo:
        total = length(whole)
        if self.tail == "drop_last":
            whole = cut(whole, 0, total - total % self.world_size)
        mine = share(whole, self.rank, self.world_size)
        short = -(-total // self.world_size) - length(mine)
        repeats = cut(mine or whole, 0, short) if self.tail == "pad" else []
        return _Todo(mine, repeats, (0, 1))

    def _read(self, todo: _Todo) -> Iterator[Row]:
        """Yield the rows of some intervals, and note in ``todo`` what is left of them."""
        sequence = self._work.sequence(self.epoch)
        ends = np.cumsum(self._counts[sequence.items])
        for part, repeated in ((todo.intervals, False), (todo.padding, True)):
            for start, stop in list(part):
                for position, row in _decoded(_rows(self._work, sequence, ends, start, stop), self._work):
                    part[:] = _after(part, position)
                    yield {**row, "repeated": repeated} if self.tail == "pad" else row
                part[:] = _after(part, stop - 1)


@dataclass
class _Todo:
    """What a reader has not handed out yet."""

    intervals: Intervals
    padding: Intervals  # rows that are read again at the end, to be as many as the other ranks have
    worker: tuple[int, int]  # number, and how many: whose rows these are

    @property
    def rows(self) -> int:
        return length(self.intervals) + length(self.padding)

    def of_worker(self, number: int, count: int) -> _Todo:
        """Return one worker's part of a rank's rows."""
        if self.worker == (number, count):
            return self
        if self.worker[1] != 1:
            raise OptionError(
                f"This state is of worker {self.worker[0]} of {self.worker[1]}, but this is worker {number} of "
                f"{count}. Use {self.worker[1]} workers, or put all workers' states together with merge_states([...])."
            )
        last = number == count - 1
        return _Todo(share(self.intervals, number, count), list(self.padding) if last else [], (number, count))


def _after(intervals: Intervals, position: int) -> Intervals:
    """Return the rows of some intervals that come after ``position``."""
    return [(max(start, position + 1), stop) for start, stop in intervals if stop > position + 1]


def merge_states(states: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the states of all readers of one moment together, for any number of ranks to go on from.

    Args:
        states: of every rank, and of every worker where a DataLoader has several, in any order.

    Returns:
        A state for `Stream.load_state_dict` of every new rank; together they read what was left, each row once.

    Raises:
        OptionError: the states are of different streams or epochs, or one is missing or there twice.
    """
    if len({(state["fingerprint"], state["epoch"], state["world_size"], state["worker"][1]) for state in states}) != 1:
        raise OptionError("These states are not of one stream in one epoch, saved by one number of ranks and workers.")
    found = sorted((state["rank"], state["worker"][0]) for state in states)
    expected = [(rank, worker) for rank in range(states[0]["world_size"]) for worker in range(states[0]["worker"][1])]
    if found != expected:
        raise OptionError(f"States of (rank, worker) {expected} are needed, each once; found {found}.")
    whole = merged([_pairs(state["todo"]) for state in states])
    merged_state = {"rank": None, "worker": [0, 1], "todo": [list(interval) for interval in whole], "padding": []}
    return {**states[0], **merged_state}


def _pairs(intervals: list[list[int]]) -> Intervals:
    return [(start, stop) for start, stop in intervals]


def _worker() -> tuple[int, int]:
    """Return (number, how many) of the DataLoader worker this runs in; torch is looked at only where it is loaded."""
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return (0, 1) if info is None else (info.id, info.num_workers)


# From intervals to rows ----------------------------------------------------------------------------------------------


def _rows(work: Work, order: Sequence, ends: Any, start: int, stop: int) -> Iterator[tuple[int, Row, bytes | None]]:
    """Yield (position, row without its image, the photo's bytes) of the rows ``start`` to ``stop`` of an epoch."""
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(ends, stop - 1, side="right")) + 1
    inner = order.edges[(order.edges > first) & (order.edges < last)]
    edges = [first, *inner.tolist(), last]
    pieces = [order.items[low:high] for low, high in pairwise(edges)]
    plans = (work.plan.take(piece) for piece in pieces)
    options = {"size": _EVERYTHING, "in_flight_bytes": work.in_flight_bytes}
    windows = read_windows(plans, work.policy, work.storage, work.tally, **options)
    for low, window in zip(edges[:-1], windows, strict=True):
        for index, row, photo in _window_rows(work, window):
            position = int(ends[low + index[0]] - index[2] + index[1])
            if start <= position < stop:
                yield position, row, photo


def _window_rows(work: Work, window: Window) -> Iterator[tuple[tuple[int, int, int], Row, Any]]:
    """Yield ((image asked for, number of the row in it, how many it has), row, photo)."""
    if not len(window.plan):
        return
    columns, owner = text_columns(window.plan, work.task, work.rows)
    texts = {name: column.to_pylist() for name, column in columns.items()}
    if not work.task.parts:
        texts.pop("task", None)
    sizes = np.bincount(owner, minlength=len(window.plan))
    numbers = np.arange(len(owner)) - (np.cumsum(sizes) - sizes)[owner]
    for at, (index, number) in enumerate(zip(owner.tolist(), numbers.tolist(), strict=True)):
        photo = window.photos[index]
        row = {name: values[at] for name, values in texts.items()}
        if work.task.form == "svit":
            row["image_id"] = int(window.plan.image_ids[index])
        row["width"], row["height"] = (photo.width, photo.height) if photo else (None, None)
        yield (int(window.kept[index]), number, int(sizes[index])), row, photo


def _decoded(rows: Iterator[tuple[int, Row, Any]], work: Work) -> Iterator[tuple[int, Row]]:
    """Add each row's image, decoded in threads a few rows ahead, in order; rows of one photo share its pixels."""
    if work.threads == 0:
        for position, row, photo in rows:
            yield position, {**row, "image": photo and work.decode(photo.data)}
        return
    pending: deque[tuple[int, Row, Any, Any]] = deque()
    with ThreadPoolExecutor(work.threads, thread_name_prefix="svit-decode") as pool:
        try:
            for position, row, photo in rows:
                shared = pending[-1][3] if pending and pending[-1][2] is photo else None
                future = shared or (photo and pool.submit(work.decode, photo.data))
                pending.append((position, row, photo, future))
                if len(pending) > 2 * work.threads + 2:
                    yield _with_image(*pending.popleft())
            while pending:
                yield _with_image(*pending.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _with_image(position: int, row: Row, photo: Any, future: Any) -> tuple[int, Row]:
    return position, {**row, "image": None if photo is None else future.result()}
