"""One file to be written: which rows go into it, and what its footer tells of them; and what is known of a written one.

`shards` cuts a configuration into these, `parquet` writes one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.joined import Joined
from svit_datasets.repository import ENTRY_VERSION
from svit_datasets.tasks import get_task
from svit_datasets.text import text_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from svit_datasets.plan import Plan
    from svit_datasets.tasks import Task

__all__ = ["Shard", "Written", "is_shard"]


@dataclass(frozen=True)
class Shard:
    """One file to be written, and all that decides its content; travels to worker processes."""

    path: str  # CONFIG/SPLIT-00000-of-000NN.parquet, under the folder of the dataset
    config: str
    split: str
    plan: Plan  # of its rows, in order
    on_missing_image: str
    row_group: int  # rows
    known_bad: str
    holdout: str | None  # digest of the held-out ids; None: one split
    build: str  # of the split's plan: the same in all files that belong together
    schema: pa.Schema  # of the columns, with the types that `datasets` gives them

    def __str__(self) -> str:
        """Return its path, as errors call it."""
        return self.path

    def entry(self, rows: list[int], bare: list[int]) -> dict[str, Any]:
        """Return what the footer tells of the file's rows, so that no column need be read to know them.

        Args:
            rows: which of the plan's images were written, in order.
            bare: which of them without a photo.
        """
        task, plan = get_task(self.config), self.plan.take(np.array(rows, dtype=np.int64))
        return {
            "version": ENTRY_VERSION,
            "path": self.path,
            "known_bad": self.known_bad,
            "holdout": self.holdout,
            "build": self.build,
            "image_ids": plan.image_ids.tolist(),
            "conversations": Joined(plan, task, "conversation").counts().tolist(),
            "missing": np.flatnonzero(plan.has_photo & np.isin(rows, bare)).tolist(),
            "text_only": np.flatnonzero(~plan.has_photo).tolist(),
            "left_out": {
                str(row): _left_out(plan.take(np.array([row])), task) for row in np.flatnonzero(_in_dropped(plan))
            },
        }


def is_shard(name: str) -> bool:
    """Tell whether a file's name is one that this builder gives."""
    return re.fullmatch(r"\w+-\d{5}-of-\d{5}\.parquet", name) is not None


@dataclass(frozen=True)
class Written:
    """A finished file, as the manifest lists it."""

    path: str  # as of its shard
    bytes: int
    rows: int
    sha256: str  # of the file, in hexadecimal digits
    build: str | None  # of its shard; None for a file of another writer
    left_out: dict[str, int] = field(default_factory=dict)  # photos that could not be had while it was written, by kind


def _in_dropped(plan: Plan) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which images have a conversation that is left out."""
    items = zip(plan.item_store.tolist(), plan.item_row.tolist(), strict=True)
    hit = np.array([item in plan.dropped for item in items], dtype=np.int64)
    return np.diff(np.concatenate([[0], np.cumsum(hit)])[plan.offsets]) > 0


def _left_out(plan: Plan, task: Task) -> dict[str, list[int]]:
    """Return which numbers of one image's conversations are left out, by task: rows="conversation" names by them."""
    every, kept = (
        text_columns(each, task, "conversation")[0]["id"].to_pylist() for each in (replace(plan, dropped={}), plan)
    )
    numbers: dict[str, list[int]] = {}
    for name in sorted(set(every) - set(kept)):
        _, of_task, number = name.split("/")
        numbers.setdefault(of_task, []).append(int(number))
    return {of_task: sorted(some) for of_task, some in numbers.items()}
