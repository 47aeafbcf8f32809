"""The direct reader: whose rows are read, how far a reader has come, and how states of many become states of others.

`order` says in which order an epoch reads, `rows` reads; here is only the counting in between. Neither `datasets` nor
torch is needed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from svit_datasets.errors import OptionError
from svit_datasets.order import Intervals, cut, length, merged, share
from svit_datasets.rows import decoded_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from svit_datasets.report import Report
    from svit_datasets.rows import Row, Work

__all__ = ["Stream", "known_to_torch", "merge_stream_states"]

Tail = Literal["exact", "drop_last", "pad"]


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

    @property  # type: ignore[misc]  # mypy knows it as an attribute
    def __class__(self) -> type:
        """The class; looked up by isinstance."""
        return known_to_torch(Stream)

    def __len__(self) -> int:
        """Return how many rows this rank reads in a whole epoch."""
        return self._share([(0, int(self._counts.sum()))]).rows

    def __iter__(self) -> Iterator[Row]:
        if not self._loaded or self._todo is None:
            self._todo = self._share([(0, int(self._counts.sum()))])
        self._loaded = False
        self._todo = self._todo.of_worker(*_worker())
        return self._read(self._todo, self.epoch)

    def shard(self, rank: int, world_size: int) -> Stream:
        """Return the same stream for another rank, at the beginning of the same epoch."""
        other = Stream(self._work, rank=rank, world_size=world_size, tail=self.tail)
        other.set_epoch(self.epoch)
        return other

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: ``order="shuffled"`` reads each in an order of its own, the same on every rank.

        Raises:
            OptionError: the epoch is negative.
        """
        if epoch < 0:
            raise OptionError(f"epoch={epoch!r} is not allowed: give 0 or more.")
        self.epoch, self._todo, self._loaded = epoch, None, False

    def report(self) -> Report:
        """Return what was left out so far, by kind; see `last_report`."""
        return self._work.tally.report()

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
        if state.get("version") != 1:
            raise OptionError(
                f"This is no state of a stream that this version knows: its version is {state.get('version')!r}."
            )
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

    def _read(self, todo: _Todo, epoch: int) -> Iterator[Row]:
        """Yield the rows of some intervals, and note in ``todo`` what is left of them."""
        sequence = self._work.sequence(epoch)
        ends = np.cumsum(self._counts[sequence.items])
        for part, repeated in ((todo.intervals, False), (todo.padding, True)):
            for start, stop in list(part):
                for position, row in decoded_rows(self._work, sequence, ends, start, stop):
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


def merge_stream_states(states: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Do what `merge_states` does for the states of one stream."""
    if len({(state["fingerprint"], state["epoch"], state["world_size"], state["worker"][1]) for state in states}) != 1:
        raise OptionError("These states are not of one stream in one epoch, saved by one number of ranks and workers.")
    if any(state["rank"] is None for state in states):
        raise OptionError("A state that was merged is of all ranks already: load it, and merge what those ranks save.")
    found = sorted((state["rank"], state["worker"][0]) for state in states)
    expected = [(rank, worker) for rank in range(states[0]["world_size"]) for worker in range(states[0]["worker"][1])]
    if found != expected:
        raise OptionError(f"States of (rank, worker) {expected} are needed, each once; found {found}.")
    try:
        whole = merged([_pairs(state["todo"]) for state in states])
    except ValueError as error:
        raise OptionError(f"These states are not of one moment: {error}.") from error
    merged_state = {"rank": None, "worker": [0, 1], "todo": [list(interval) for interval in whole], "padding": []}
    return {**states[0], **merged_state}


def _pairs(intervals: list[list[int]]) -> Intervals:
    return [(start, stop) for start, stop in intervals]


def known_to_torch(cls: type) -> type:
    """Return the class, registered as an IterableDataset where torch is loaded: its DataLoader asks isinstance for it.

    Called by ``__class__``, which isinstance looks at: when a stream is made torch may not have been imported yet.
    """
    data = sys.modules.get("torch.utils.data")
    if data is not None:
        data.IterableDataset.register(cls)
    return cls


def _worker() -> tuple[int, int]:
    """Return (number, how many) of the DataLoader worker this runs in; torch is looked at only where it is loaded."""
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return (0, 1) if info is None else (info.id, info.num_workers)
