"""A part of an epoch's order in, rows out: photos fetched in large pieces, decoded in threads, beside their text.

Stands on the same plan and the same join as `load_dataset` and gives the same rows. Which part is whose, and how far a
reader has come, is the business of `reader`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.errors import BadImage
from svit_datasets.join import read_windows, with_advice
from svit_datasets.order import sequence
from svit_datasets.text import text_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svit_datasets.join import Window
    from svit_datasets.order import Order, Sequence
    from svit_datasets.photos import Photo
    from svit_datasets.plan import Plan
    from svit_datasets.report import Tally
    from svit_datasets.storage import Storage
    from svit_datasets.tasks import Task

    Row = dict[str, Any]

__all__ = ["Work", "decoded_rows"]

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
        photos = self.plan.photos
        place = (photos.source, photos.entry["start"], photos.entry["stop"])
        for column in (self.plan.image_ids, *place, self.counts()):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Shot:
    """A row before its photo is decoded."""

    position: int  # in the epoch
    row: Row
    photo: Photo | None
    window: Window
    index: int  # of the image in the window


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
        SvitError: as in `read_windows`.
    """
    shots = _shots(work, order, ends, start, stop)
    if work.threads == 0:
        for shot in shots:
            yield from _finished(work, shot, lambda shot=shot: work.decode(shot.photo.data))  # type: ignore[misc]
        return
    pending: deque[tuple[_Shot, Any]] = deque()
    with ThreadPoolExecutor(work.threads, thread_name_prefix="svit-decode") as pool:
        try:
            for shot in shots:
                same = pending and shot.photo is not None and pending[-1][0].photo is shot.photo
                future = pending[-1][1] if same else shot.photo and pool.submit(work.decode, shot.photo.data)
                pending.append((shot, future))
                if len(pending) > 2 * work.threads + 2:
                    ready, future = pending.popleft()
                    yield from _finished(work, ready, future and future.result)
            while pending:
                ready, future = pending.popleft()
                yield from _finished(work, ready, future and future.result)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _finished(work: Work, shot: _Shot, decode: Callable[[], Any]) -> Iterator[tuple[int, Row]]:
    """Yield the row with its image, or treat a photo that cannot be decoded by the policy."""
    image = None
    if shot.photo is not None:
        try:
            image = decode()
            work.tally.succeeded()
        except BadImage as error:
            plan, index = shot.window.plan, shot.index
            told = BadImage(f"{plan.photos.label(index)}: {error}.")
            if work.policy == "error":
                raise with_advice(told, plan, index) from error
            work.tally.failed("bad_image", plan.photos.label(index), told)
            if work.policy == "skip":
                return
            shot.row.update(width=None, height=None)
    yield shot.position, {**shot.row, "image": image}


def _shots(work: Work, order: Sequence, ends: Any, start: int, stop: int) -> Iterator[_Shot]:
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(ends, stop - 1, side="right")) + 1
    inner = order.edges[(order.edges > first) & (order.edges < last)]
    edges = [first, *inner.tolist(), last]
    plans = (work.plan.take(order.items[low:high]) for low, high in pairwise(edges))
    windows = read_windows(
        plans, work.policy, work.storage, work.tally, size=_EVERYTHING, in_flight_bytes=work.in_flight_bytes
    )
    for low, window in zip(edges[:-1], windows, strict=True):
        for shot, count in _window_shots(work, window):
            position = int(ends[low + window.kept[shot.index]]) - count + shot.position
            if start <= position < stop:
                yield _Shot(position, shot.row, shot.photo, window, shot.index)


def _window_shots(work: Work, window: Window) -> Iterator[tuple[_Shot, int]]:
    """Yield each row, its position counted among its image's, with how many these are."""
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
        row: Row = {"id": texts["id"][at]} if "id" in texts else {}  # columns stand as in `features`
        if work.task.form == "svit":
            row["image_id"] = int(window.plan.image_ids[index])
        width, height = (photo.width, photo.height) if photo else (None, None)
        row |= {"image": None, "width": width, "height": height}
        row |= {name: values[at] for name, values in texts.items() if name != "id"}
        yield _Shot(number, row, photo, window, index), int(sizes[index])
