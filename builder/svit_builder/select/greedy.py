"""Samples in, the chosen ones out: the most informative first, each concept up to its quota, yes and no in balance.

A sample's gain is the number of its concepts whose quota is not yet reached. Gains only fall, so samples are kept in
buckets by gain and moved down when they come up with less than their bucket's: every sample is looked at a few times
and the whole of SVIT takes seconds.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.select.samples import Numbers, Samples

__all__ = ["Chosen", "Wanted", "choose"]


@dataclass(frozen=True)
class Wanted:
    """What is to be chosen.

    Raises:
        OptionError: a value is not allowed.
    """

    budget: int  # conversations
    quota: int | Literal["even"] | None = "even"  # conversations a concept; "even": the budget's share of each
    per_image: int | None = None  # conversations of one image
    yes_share: float | None = 0.5  # of yes among answers that begin with yes or no; None: as it comes
    min_words: int = 0  # of a conversation's answers together
    max_words: int | None = None
    min_score: float | None = None  # of an external score; samples without one are left out then
    seed: int = 0  # decides between samples of equal gain and score

    def __post_init__(self) -> None:
        if self.quota != "even" and self.quota is not None and not isinstance(self.quota, int):
            raise OptionError(f'quota={self.quota!r} is not allowed. Allowed: a number, "even", None.')
        for name, least in (("budget", 1), ("quota", 1), ("per_image", 1), ("min_words", 0), ("max_words", 1)):
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise OptionError(f"{name}={value!r} is not allowed: give {least} or more.")
        if self.yes_share is not None and not 0 < self.yes_share < 1:
            raise OptionError(f"yes_share={self.yes_share!r} is not allowed: give a share between 0 and 1, or None.")


@dataclass(frozen=True)
class Chosen:
    """What was chosen, and why not the rest."""

    index: Numbers  # (k,) which samples, in the order they were chosen, int64
    gain: Numbers  # (k,) of each when it was chosen, uint16; 0: it filled the budget after all quotas were reached
    left: dict[str, int]  # reason -> samples that were not chosen for it


def choose(samples: Samples, concepts: int, wanted: Wanted, scores: Numbers | None = None) -> Chosen:
    """Choose; the same arguments give the same samples.

    Args:
        samples: n of them.
        concepts: how many concepts there are.
        wanted: what is to be chosen.
        scores: (n,) float64, an external quality of each, nan where there is none: between samples of equal gain the
            better one is taken, those without a score last.
    """
    left: Counter[str] = Counter()
    fits = np.ones(len(samples), dtype=bool)
    long = np.full(len(samples), fill_value=False)
    if wanted.max_words is not None:
        long = samples.words > wanted.max_words
    for reason, out in (
        ("too short", samples.words < wanted.min_words),
        ("too long", long),
        ("score", np.zeros(0, bool) if wanted.min_score is None else ~_enough(scores, wanted.min_score, len(samples))),
    ):
        if len(out):
            left[reason] += int((fits & out).sum())
            fits &= ~out
    order = _by_rank(samples, np.flatnonzero(fits), wanted.seed, scores)
    return _Choice(samples, order, concepts, wanted).run(left)


def _enough(scores: Numbers | None, least: float, count: int) -> Numbers:
    if scores is None:
        raise OptionError(f"min_score={least!r} needs scores.")
    assert len(scores) == count
    found: Numbers = scores >= least  # nan is not
    return found


def _by_rank(samples: Samples, which: Numbers, seed: int, scores: Numbers | None) -> Numbers:
    """Return samples by score, then by a hash of their names: what else is in the data does not change the order."""
    names = samples.image_id[which].astype(np.uint64) << np.uint64(24)
    names |= (samples.config[which].astype(np.uint64) << np.uint64(16)) | samples.number[which].astype(np.uint64)
    tie = _mixed(names ^ _mixed(np.full(1, seed, dtype=np.uint64)))
    if scores is None:
        return np.take(which, np.argsort(tie, kind="stable"))
    ranked: Numbers = which[np.lexsort((tie, -np.nan_to_num(scores[which], nan=-np.inf)))]
    return ranked


def _mixed(values: Numbers) -> Numbers:
    """Return well-mixed 64-bit numbers (the finaliser of SplitMix64, https://doi.org/10.1145/2660193.2660195)."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: Numbers = values ^ (values >> np.uint64(31))
    return mixed


class _Choice:
    """The state of one choice. Samples are called by their rank, the position in ``order``."""

    def __init__(self, samples: Samples, order: Numbers, concepts: int, wanted: Wanted) -> None:
        self.wanted, self.order = wanted, order
        quota = -(-wanted.budget // concepts) if wanted.quota == "even" else wanted.quota
        self.room = [len(samples) + 1 if quota is None else quota] * concepts  # of each concept
        self.sample = order.data
        self.starts, self.indices = samples.starts.data, samples.indices.data
        self.image_id = samples.image_id.data
        self.yes, self.no = samples.yes.data, samples.no.data
        self.information = samples.information[order]
        self.of_image: Counter[int] = Counter()
        self.said = [0, 0]  # yes, no
        self.waiting: tuple[deque[int], ...] = (deque(), deque())  # with too much yes, with too much no
        self.taken: list[int] = []
        self.gains: list[int] = []

    def run(self, left: Counter[str]) -> Chosen:
        """Choose by gain, then fill up by information."""
        top = int(self.information.max(initial=0))
        buckets: list[list[int]] = [[] for _ in range(top + 1)]
        for gain in range(top, 0, -1):
            fresh = np.flatnonzero(self.information == gain)
            for rank in np.sort(np.concatenate([fresh, np.array(buckets[gain], dtype=np.int64)])).tolist():
                if self._full():
                    break
                now = self._gain(rank)
                if now < gain:
                    buckets[now].append(rank)
                else:
                    self._offer(rank, gain, left, buckets)
            buckets[gain] = []
        rest = np.concatenate([np.array(buckets[0], dtype=np.int64), np.flatnonzero(self.information == 0)])
        for rank in rest[np.lexsort((rest, -self.information[rest]))].tolist():
            if self._full():
                break
            self._offer(rank, 0, left, buckets)
        left["yes or no too many"] = len(self.waiting[0]) + len(self.waiting[1])
        left["budget"] = len(self.order) - len(self.taken) - left["yes or no too many"] - left["image has enough"]
        index = self.order[np.array(self.taken, dtype=np.int64)]
        return Chosen(index, np.array(self.gains, dtype=np.uint16), {why: n for why, n in left.items() if n})

    def _full(self) -> bool:
        return len(self.taken) >= self.wanted.budget

    def _concepts(self, rank: int) -> Iterator[int]:
        at = self.sample[rank]
        yield from self.indices[self.starts[at] : self.starts[at + 1]]

    def _gain(self, rank: int) -> int:
        room = self.room
        return sum(room[concept] > 0 for concept in self._concepts(rank))

    def _offer(self, rank: int, gain: int, left: Counter[str], buckets: list[list[int]]) -> None:
        """Take a sample, unless its image has enough, or let it wait for the other answer."""
        side = self._tips(rank)
        if side is not None:
            self.waiting[side].append(rank)
            return
        self._take(rank, gain, left)
        for side in (0, 1):
            waiting = self.waiting[side]
            while waiting and not self._full() and self._tips(waiting[0]) is None:
                other = waiting.popleft()
                now = self._gain(other)
                if now < gain:  # its turn comes later
                    buckets[now].append(other)
                else:
                    self._take(other, now, left)

    def _tips(self, rank: int) -> int | None:
        """Return which answer there would be too much of with this sample: 0 yes, 1 no, None neither."""
        at, share = self.sample[rank], self.wanted.yes_share
        yes, no = self.yes[at], self.no[at]
        if share is None or yes == no:
            return None
        side = 0 if yes > no else 1
        mine, others = (self.said[0] + yes, self.said[1] + no)[:: 1 if side == 0 else -1]
        ratio = share / (1 - share) if side == 0 else (1 - share) / share
        return side if mine > others * ratio + max(1.0, ratio) else None

    def _take(self, rank: int, gain: int, left: Counter[str]) -> None:
        at = self.sample[rank]
        limit = self.wanted.per_image
        if limit is not None:
            if self.of_image[self.image_id[at]] >= limit:
                left["image has enough"] += 1
                return
            self.of_image[self.image_id[at]] += 1
        for concept in self._concepts(rank):
            self.room[concept] -= 1
        self.said[0] += self.yes[at]
        self.said[1] += self.no[at]
        self.taken.append(rank)
        self.gains.append(gain)
