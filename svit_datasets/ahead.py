"""Shards asked for one by one, read as one: the next shard's photos are under way before it is asked for.

`datasets` asks a builder for a shard at a time and does not say which comes next. Nearly always it is the same step on:
the next one, or the one a number of ranks times workers further. So reading goes on in that step, and what was begun is
kept for the call that asks for it. Where the order has no step (after ``shuffle``), nothing is read on a guess.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from svit_datasets.join import WINDOW, read_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.join import Window
    from svit_datasets.plan import Plan
    from svit_datasets.report import Tally
    from svit_datasets.storage import Storage

__all__ = ["shard_windows"]

_MOST = 2  # shards begun and not yet asked for that are kept; each holds at most 32 MB


@dataclass
class _Habit:
    """In which step a process asks for a plan's shards."""

    last: int  # the shard asked for before
    step: int = 1
    sure: bool = True  # the step was seen, or nothing contradicts it yet

    def next_steps(self, number: int, count: int) -> range:
        """Note the shard asked for now; return it and those expected after it."""
        step = number - self.last
        if step > 0:  # else another epoch begins
            self.sure, self.step = step == self.step, step
        self.last = number
        return range(number, count, self.step) if self.sure else range(number, number + 1)


@dataclass(frozen=True)
class _Begun:
    """Reading that goes on from one shard to the next."""

    plan: Plan  # held, so that its id is not given to another plan meanwhile
    order: range  # the shards it yields the windows of
    windows: Iterator[Window]


_habits: dict[tuple[int, int], _Habit] = {}  # (process, id of the plan); a stale one costs a guess, nothing more
_begun: dict[tuple[int, int, int], _Begun] = {}  # (process, id of the plan, the shard that is next in its order)


def shard_windows(plan: Plan, number: int, policy: str, storage: Storage, tally: Tally) -> Iterator[Window]:
    """Yield the windows of shard ``number`` of a plan; see `read_windows` for laziness and errors."""
    shards = plan.shards()
    key = (os.getpid(), id(plan))
    order = _habits.setdefault(key, _Habit(number - 1)).next_steps(number, len(shards))
    begun = _begun.pop((*key, number), None)
    if begun is None:
        plans = (plan.take(np.arange(*shards[each])) for each in order)
        begun = _Begun(plan, order, read_windows(plans, policy, storage, tally))
    start, stop = shards[number]
    for _ in range(-(-(stop - start) // WINDOW)):
        yield next(begun.windows)
    following = number + begun.order.step
    if following in begun.order:
        _begun[(*key, following)] = begun
        for old in list(_begun)[:-_MOST]:
            del _begun[old]  # closes it, which cancels its reads
