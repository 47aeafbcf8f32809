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

    order: range  # the shards it yields the windows of
    windows: Iterator[Window]


def shard_windows(
    plan: Plan, number: int, policy: str, storage: Storage, tally: Tally, *, verify: bool = True
) -> Iterator[Window]:
    """Yield the windows of shard ``number`` of a plan; see `read_windows` for laziness and errors.

    What was begun for a later shard is kept with the plan, so it ends when the plan's dataset does.
    """
    shards = plan.shards()
    process = os.getpid()  # a forked child must not go on with what its parent's threads and loop have begun
    order = plan.begun.setdefault(process, _Habit(number - 1)).next_steps(number, len(shards))
    begun = plan.begun.pop((process, number), None)
    if begun is None:
        plans = (plan.take(np.arange(*shards[each])) for each in order)
        begun = _Begun(order, read_windows(plans, policy, storage, tally, verify=verify))
    start, stop = shards[number]
    for _ in range(-(-(stop - start) // WINDOW)):
        yield next(begun.windows)
    following = number + begun.order.step
    if following in begun.order:
        kept = [key for key in plan.begun if isinstance(key, tuple)]
        for old in kept[: len(kept) + 1 - _MOST]:
            del plan.begun[old]  # closes it, which cancels its reads
        plan.begun[process, following] = begun
