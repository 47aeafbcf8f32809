"""A part of an epoch's order in, rows out: photos decoded in threads, a few rows ahead, beside their text.

Where rows come from is a `Source`: the raw files joined (`joined`), or published Parquet (`published`); the rows are
the same. Which part is whose, and how far a reader has come, is the business of `reader`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from svit_datasets.errors import BadImage
from svit_datasets.order import sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from svit_datasets.errors import SvitError
    from svit_datasets.order import Ids, Order, Sequence
    from svit_datasets.report import Tally
    from svit_datasets.storage import Storage

    Row = dict[str, Any]

__all__ = ["Origin", "Shot", "Source", "Work", "decoded_rows"]

_AHEAD = 8  # photos under way a thread: what it decodes while a window of some 40 is put together


class Origin(Protocol):
    """What errors call the photos of a window."""

    def label(self, index: int) -> str:
        """Return file and name of photo ``index``."""

    def advised(self, error: SvitError, index: int) -> SvitError:
        """Return an error about photo ``index`` with its image id and what to do."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A row before its photo is decoded."""

    part: int  # in which of the parts that were asked for, 0-based
    item: int  # position of its image in that part
    number: int  # of the row among its image's rows, 0-based
    row: Row  # columns stand as in `features`; image is None yet
    photo: bytes | None  # one object for all rows of an image; None: text only, or missing
    origin: Origin
    index: int  # of the photo, as ``origin`` counts


class Source(Protocol):
    """Where a split's rows come from: n items, each an image (or a LLaVA-form record) with its rows."""

    def counts(self) -> Ids:
        """Return (n,) how many rows each item has."""

    def layout(self) -> tuple[Ids, Ids]:
        """Return place (n, 2) and size (n,), as `order.sequence` takes them."""

    def identity(self) -> Iterator[bytes]:
        """Yield what differs between two sources whose rows, or their order, are not the same."""

    def shots(
        self, parts: Iterable[Ids], *, policy: str, storage: Storage, tally: Tally, in_flight_bytes: int, verify: bool
    ) -> Iterator[Shot]:
        """Yield the rows of some parts, in order; what a part needs is fetched together, the next parts' ahead.

        Args:
            parts: positions of items.
            policy: "error", "skip" or "null", for photos that are missing or unreadable.
            storage: how files are reached.
            tally: where what is left out is counted.
            in_flight_bytes: fetched ahead of the part in use, at most; one range is always allowed.
            verify: compare checksums of photos.

        Raises:
            SvitError: a photo cannot be had, under "error"; a source cannot be read, under any policy.
        """


@dataclass(frozen=True)
class Work:
    """What a stream reads and how; does not change while it lives."""

    source: Source
    policy: str  # for photos that are missing
    storage: Storage
    tally: Tally
    order: Order
    seed: int
    window_bytes: int
    in_flight_bytes: int
    decode: Callable[[bytes], Any]
    threads: int  # that decode; 0: in the thread that iterates
    verify: bool = True  # whether checksums of photos are compared

    def counts(self) -> Ids:
        """Return (n,) how many rows each item has."""
        return self.source.counts()

    def sequence(self, epoch: int) -> Sequence:
        """Return the order of an epoch."""
        place, size = self.source.layout()
        return sequence(self.order, place, size, seed=self.seed, epoch=epoch, window_bytes=self.window_bytes)

    def fingerprint(self) -> str:
        """Return what must be equal for a state to fit: the rows there are, and what orders them."""
        digest = hashlib.sha256(repr((self.order, self.seed, self.window_bytes)).encode())
        for part in self.source.identity():
            digest.update(part)
        return digest.hexdigest()[:32]


def decoded_rows(work: Work, order: Sequence, ends: Any, start: int, stop: int) -> Iterator[tuple[int, Row]]:
    """Yield (position, row) of the rows ``start`` to ``stop`` of an epoch.

    Photos are decoded in threads a few rows ahead, in order; rows of one photo share its pixels.

    Args:
        work: what is read and how.
        order: of the epoch.
        ends: (n,) number of rows up to and with each item of the order.
        start: first row, 0-based.
        stop: behind the last row.

    Raises:
        BadImage: a photo cannot be decoded, under on_missing_image="error"; what a decoder of the user's raises is
            passed on.
        SvitError: as in `Source.shots`.
    """
    shots = _shots(work, order, ends, start, stop)
    if work.threads == 0:
        for position, shot in shots:
            yield from _finished(work, position, shot, lambda shot=shot: work.decode(shot.photo))  # type: ignore[misc]
        return
    pending: deque[tuple[int, Shot, Any]] = deque()
    with ThreadPoolExecutor(work.threads, thread_name_prefix="svit-decode") as pool:
        try:
            for position, shot in shots:
                same = pending and shot.photo is not None and pending[-1][1].photo is shot.photo
                future = pending[-1][2] if same else shot.photo and pool.submit(work.decode, shot.photo)
                pending.append((position, shot, future))
                if len(pending) > _AHEAD * work.threads:
                    at, ready, future = pending.popleft()
                    yield from _finished(work, at, ready, future and future.result)
            while pending:
                at, ready, future = pending.popleft()
                yield from _finished(work, at, ready, future and future.result)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _finished(work: Work, position: int, shot: Shot, decode: Callable[[], Any]) -> Iterator[tuple[int, Row]]:
    """Yield the row with its image, or treat a photo that cannot be decoded by the policy."""
    image = None
    if shot.photo is not None:
        try:
            image = decode()
            work.tally.succeeded()
        except BadImage as error:
            label = shot.origin.label(shot.index)
            told = BadImage(f"{label}: {error}.")
            if work.policy == "error":
                raise shot.origin.advised(told, shot.index) from error
            work.tally.failed("bad_image", label, told)
            if work.policy == "skip":
                return
            shot.row.update(width=None, height=None)
    yield position, {**shot.row, "image": image}


def _shots(work: Work, order: Sequence, ends: Any, start: int, stop: int) -> Iterator[tuple[int, Shot]]:
    """Yield the rows ``start`` to ``stop``, each with its position in the epoch."""
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(ends, stop - 1, side="right")) + 1
    inner = order.edges[(order.edges > first) & (order.edges < last)]
    edges = [first, *inner.tolist(), last]
    shots = work.source.shots(
        (order.items[low:high] for low, high in pairwise(edges)),
        policy=work.policy,
        storage=work.storage,
        tally=work.tally,
        in_flight_bytes=work.in_flight_bytes,
        verify=work.verify,
    )
    for shot in shots:
        item = edges[shot.part] + shot.item
        position = (int(ends[item - 1]) if item else 0) + shot.number
        if start <= position < stop:
            yield position, shot
