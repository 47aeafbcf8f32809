"""The raw files as a source of rows: a plan's images joined with their photos while they are read.

Stands on the same plan and the same join as `load_dataset`. Decoding and order belong to `rows`; published Parquet,
which is joined already, is read by `published`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from svit_datasets.columns import as_numpy
from svit_datasets.join import read_windows, with_advice
from svit_datasets.rows import Shot
from svit_datasets.text import text_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from svit_datasets.errors import SvitError
    from svit_datasets.join import Window
    from svit_datasets.order import Ids
    from svit_datasets.plan import Plan
    from svit_datasets.report import Tally
    from svit_datasets.rows import Row
    from svit_datasets.storage import Storage
    from svit_datasets.tasks import Task

__all__ = ["Joined"]

_EVERYTHING = 1 << 62  # images a window: each plan handed to the join is one
_MANY = 256  # rows of a window; for fewer, what they leave in the pool is soon used again
_TEXTS = 8  # rows whose text becomes Python values at a time: more would live long enough to cost garbage collections


@dataclass(frozen=True)
class Joined:
    """A split of the raw files; see `rows.Source`."""

    plan: Plan  # of one split
    task: Task
    rows: str  # "image" or "conversation"

    def counts(self) -> Ids:
        """Return (n,) how many rows each image has."""
        plan = self.plan
        if self.rows == "image" or self.task.form == "llava":
            return np.ones(len(plan), dtype=np.int64)
        blocks = np.zeros(len(plan.item_row), dtype=np.int64)
        for number, store in enumerate(plan.stores):
            mine = plan.item_store == number
            blocks[mine] = as_numpy(store.index["blocks"])[plan.item_row[mine]]
        if plan.dropped:
            items = zip(plan.item_store.tolist(), plan.item_row.tolist(), strict=True)
            blocks -= np.array([len(plan.dropped.get(item, ())) for item in items])
        return np.diff(np.concatenate([[0], np.cumsum(blocks)])[plan.offsets])

    def layout(self) -> tuple[Ids, Ids]:
        """Return where each photo lies, and its size."""
        photos = self.plan.photos
        size = photos.entry["stop"] - photos.entry["start"]
        size = np.where(size > 0, size, 1 << 17)  # of a loose file nobody knows it yet
        return np.stack([photos.source.astype(np.int64), photos.entry["start"]], axis=1), size

    def identity(self) -> Iterator[bytes]:
        """Yield what rows there are, and where their photos lie."""
        yield repr((self.task.name, self.rows)).encode()
        photos = self.plan.photos
        place = (photos.source, photos.entry["start"], photos.entry["stop"])
        for column in (self.plan.image_ids, *place, self.counts()):
            yield np.ascontiguousarray(column).tobytes()

    def shots(
        self, parts: Iterable[Ids], *, policy: str, storage: Storage, tally: Tally, in_flight_bytes: int, verify: bool
    ) -> Iterator[Shot]:
        """Yield the rows of some parts; a part is a window of the join."""
        plans = (self.plan.take(part) for part in parts)
        windows = read_windows(
            plans, policy, storage, tally, size=_EVERYTHING, in_flight_bytes=in_flight_bytes, verify=verify
        )
        numbers = count()  # enumerate() would keep the window it gave last
        for window in windows:
            yield from self._window_shots(next(numbers), window)
            del window  # its photos are given up before those of the next are taken in

    def _window_shots(self, part: int, window: Window) -> Iterator[Shot]:
        if not len(window.plan):
            return
        columns, owner = text_columns(window.plan, self.task, self.rows)
        if not self.task.parts:
            columns.pop("task", None)
        if len(owner) >= _MANY:
            pa.default_memory_pool().release_unused()  # 40 MB of batches that a window's text was taken from
        texts: dict[str, list[Any]] = {}
        sizes = np.bincount(owner, minlength=len(window.plan))
        numbers = np.arange(len(owner)) - (np.cumsum(sizes) - sizes)[owner]
        image_ids, kept, origin = window.plan.image_ids.tolist(), window.kept.tolist(), _Photos(window.plan)
        for place, (index, number) in enumerate(zip(owner.tolist(), numbers.tolist(), strict=True)):
            at = place % _TEXTS
            if at == 0:
                texts = {name: column.slice(place, _TEXTS).to_pylist() for name, column in columns.items()}
            photo = window.photos[index]
            row: Row = {"id": texts["id"][at]} if "id" in texts else {}
            if self.task.form == "svit":
                row["image_id"] = image_ids[index]
            width, height = (photo.width, photo.height) if photo else (None, None)
            row |= {"image": None, "width": width, "height": height}
            row |= {name: values[at] for name, values in texts.items() if name != "id"}
            yield Shot(part, kept[index], number, row, photo and photo.data, origin, index)


@dataclass(frozen=True, slots=True)
class _Photos:
    """What errors call a window's photos; holds none of them."""

    plan: Plan

    def label(self, index: int) -> str:
        return self.plan.photos.label(index)

    def advised(self, error: SvitError, index: int) -> SvitError:
        return with_advice(error, self.plan, index)
