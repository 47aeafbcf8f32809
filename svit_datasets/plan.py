"""Options in, a plan out: which images in which order, where their text and their photo lie, in which shards.

All that can be known without reading text or photos is decided here, once, for all splits: the held-out split, lists of
ids, known-bad answers, unusable records and photos that are nowhere. A plan is columns of numbers, so it is small to
pickle (9 MB for all of SVIT) and quick to slice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.columns import as_numpy
from svit_datasets.errors import BadRecord, ImageNotFound
from svit_datasets.located import vg_folder
from svit_datasets.report import MAX_RUN

if TYPE_CHECKING:
    from collections.abc import Callable

    from svit_datasets.images import Locator
    from svit_datasets.located import Located
    from svit_datasets.options import Options
    from svit_datasets.records import Defect
    from svit_datasets.store import Store

__all__ = ["Plan", "id_in_path", "plan_dialogues", "plan_images"]

Ids = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Left = list[tuple[str, int, list[str]]]  # (kind, how many, the first few in words)

_SHARD = 64  # images; fewer are not worth a shard of their own
_MAX_SHARDS = 1024  # a power of two, so that ranks and workers split evenly; 106 images each for all of SVIT
_MIN_SHARDS = 16  # of a small corpus, so that a few workers have something to do


@dataclass(frozen=True)
class Plan:
    """What to read, and in which order: n images (SVIT form) or n records (LLaVA form)."""

    stores: tuple[Store, ...]
    tasks: tuple[str | None, ...]  # of each store's blocks; None where each block has its own
    image_ids: Ids  # (n,) Visual Genome ids; -1 where a LLaVA-form record has none
    offsets: Ids  # (n + 1,) image i has the items offsets[i] to offsets[i + 1]
    item_store: Ids  # (items,) position in stores
    item_row: Ids  # (items,) row in that store
    photos: Located  # n of them
    has_photo: Mask  # (n,) False for text-only records
    dropped: dict[tuple[int, int], frozenset[int]]  # (store, row) -> blocks that are left out
    begun: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # of `ahead`

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "begun": {}}

    def __len__(self) -> int:
        """Return the number of images, or of LLaVA-form records."""
        return len(self.image_ids)

    def take(self, rows: Ids) -> Plan:
        """Return the plan of some of the images, in the order asked for."""
        sizes = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        items = np.repeat(self.offsets[rows] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Plan(
            self.stores,
            self.tasks,
            self.image_ids[rows],
            offsets,
            self.item_store[items],
            self.item_row[items],
            self.photos.take(rows),
            self.has_photo[rows],
            self.dropped,
        )

    def shards(self) -> list[tuple[int, int]]:
        """Return (start, stop) of each shard: a power of two of them, even to one image."""
        if not len(self):
            return [(0, 0)]
        wanted = max(len(self) // _SHARD, min(len(self), _MIN_SHARDS), 1)
        count = min(1 << (wanted.bit_length() - 1), _MAX_SHARDS)
        edges = np.linspace(0, len(self), count + 1).astype(int).tolist()
        return list(pairwise(edges))


def plan_images(
    stores: tuple[Store, ...], tasks: tuple[str | None, ...], options: Options, locator: Locator
) -> tuple[Plan, Left]:
    """Plan an SVIT-form configuration: one entry an image, in the order of its first appearance.

    Args:
        stores: the text of one file, or of a union's files.
        tasks: of each store's blocks; None where each block has its own.
        options: what is wanted.
        locator: where photos are looked for.

    Returns:
        The plan of all splits together, and what it leaves out.

    Raises:
        BadRecord: a wanted record cannot be used and ``on_bad_record="error"``.
        ImageNotFound: a wanted photo is nowhere and ``on_missing_image="error"``.
    """
    columns = [store.index for store in stores]
    item_ids = np.concatenate([as_numpy(column["image_id"]) for column in columns])
    blocks = np.concatenate([as_numpy(column["blocks"]) for column in columns])
    item_store = np.repeat(np.arange(len(stores)), [len(column) for column in columns])
    item_row = np.concatenate([np.arange(len(column)) for column in columns])

    wanted = options.wants(item_ids)
    left = _bad_records(stores, options, options.wants)
    dropped, empty = _known_bad(stores, options, lambda store, row: wanted[_item(columns, store, row)])
    for (store, row), numbers in dropped.items():
        blocks[_item(columns, store, row)] -= len(numbers)
    wanted &= blocks > 0

    item_ids, item_store, item_row = item_ids[wanted], item_store[wanted], item_row[wanted]
    _, first, rank = np.unique(item_ids, return_index=True, return_inverse=True)
    appearance = np.argsort(first, kind="stable")  # unique() sorts by id; rows come in the file's order
    place = np.empty_like(appearance)
    place[appearance] = np.arange(len(appearance))
    items = np.argsort(place[rank], kind="stable")
    image_ids = item_ids[first[appearance]]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(place[rank], minlength=len(image_ids)))])
    plan = Plan(
        stores,
        tasks,
        image_ids,
        offsets,
        item_store[items],
        item_row[items],
        locator.by_id(image_ids),
        np.ones(len(image_ids), dtype=bool),
        dropped,
    )
    plan, missing = _without_missing(
        plan, options, lambda index: f"image {image_ids[index]} ({vg_folder(image_ids[index])}/{image_ids[index]}.jpg)"
    )
    return plan, [*left, *empty, *missing]


def plan_dialogues(store: Store, options: Options, locator: Locator) -> tuple[Plan, Left]:
    """Plan a LLaVA-form configuration: one entry a record, in the file's order; see `plan_images`."""
    paths = np.array(store.index["image_path"].to_pylist(), dtype=object)
    has_photo = np.array([path is not None for path in paths], dtype=bool)
    image_ids = np.array([id_in_path(path) for path in paths], dtype=np.int64)
    wanted = options.wants(image_ids)
    left = _bad_records((store,), options, lambda ids: np.ones(len(ids), dtype=bool))
    dropped, empty = _known_bad((store,), options, lambda _, row: wanted[row])
    for _, row in dropped:
        wanted[row] = False
    rows = np.flatnonzero(wanted)
    plan = Plan(
        (store,),
        (None,),
        image_ids[rows],
        np.arange(len(rows) + 1),
        np.zeros(len(rows), dtype=np.int64),
        rows,
        locator.by_path(paths[rows].tolist()),
        has_photo[rows],
        {},
    )
    plan, missing = _without_missing(plan, options, lambda index: f"{paths[rows[index]]}")
    return plan, [*left, *empty, *missing]


def id_in_path(path: str | None) -> int:
    """Return the Visual Genome id in a LLaVA-form path, -1 for none. GQA's photos are Visual Genome's."""
    if path is None or not path.startswith(("vg/", "gqa/")):
        return -1
    stem = path.rpartition("/")[2].partition(".")[0]
    return int(stem) if stem.isdecimal() and len(stem) < 19 else -1


def _item(columns: list[Any], store: int, row: int) -> int:
    return sum(len(column) for column in columns[:store]) + row


def _bad_records(stores: tuple[Store, ...], options: Options, wants: Callable[[Ids], Mask]) -> Left:
    """Raise for the first unusable record that is wanted, or count them by kind."""
    left: dict[str, list[str]] = {}
    for store in stores:
        defects = store.defects
        ids = np.array([-1 if defect.image_id is None else defect.image_id for defect in defects], dtype=np.int64)
        asked = ids < 0
        asked[~asked] = wants(ids[~asked])
        for defect, wanted in zip(defects, asked, strict=True):
            if not wanted:
                continue
            words = _words(defect, store)
            if options.on_bad_record == "error" and defect.kind != "empty_record":
                others = sum(each.kind != "empty_record" for each in defects) - 1
                raise BadRecord(
                    f"{words} The file has {others} more such records. "
                    'on_bad_record="skip" leaves them out and counts them.'
                )
            left.setdefault(defect.kind, []).append(words)
    return [(kind, len(words), words) for kind, words in left.items()]


def _words(defect: Defect, store: Store) -> str:
    block = "" if defect.block is None else f", block {defect.block}"
    image = "" if defect.image_id is None else f" (image {defect.image_id})"
    where = f"{store.manifest['source']['url']}, record {defect.number}{image}{block}, byte {defect.byte}"
    return f"{where}: {defect.kind}: {defect.detail}."


def _known_bad(
    stores: tuple[Store, ...], options: Options, wanted: Callable[[int, int], Any]
) -> tuple[dict[tuple[int, int], frozenset[int]], Left]:
    """Return the blocks to leave out because their answer says that the message was empty."""
    dropped: dict[tuple[int, int], set[int]] = {}
    if options.known_bad == "drop":
        for number, store in enumerate(stores):
            for row, block in store.manifest["message_is_empty"]:
                if wanted(number, row):
                    dropped.setdefault((number, row), set()).add(block)
    words = [f"{stores[store].manifest['source']['url']}, row {row}" for store, row in dropped]
    frozen = {key: frozenset(blocks) for key, blocks in dropped.items()}
    return frozen, [("message_is_empty", sum(map(len, frozen.values())), words)]


def _without_missing(plan: Plan, options: Options, name: Callable[[int], str]) -> tuple[Plan, Left]:
    """Apply the policy for photos that are nowhere."""
    missing = np.flatnonzero(plan.has_photo & (plan.photos.source < 0))
    if not len(missing):
        return plan, []
    places = ", ".join(dict.fromkeys(source.urls[0] for source in plan.photos.sources)) or "no place at all"
    note = f" {plan.photos.note}" if plan.photos.note else ""
    words = [f"{name(int(index))} is in none of {places}.{note}" for index in missing[:5]]
    nothing = options.on_missing_image == "skip" and len(missing) == plan.has_photo.sum() >= MAX_RUN
    if options.on_missing_image == "error" or nothing:
        raise ImageNotFound(
            f"{len(missing):,} of {int(plan.has_photo.sum()):,} photos are missing. {words[0]} "
            'Name where they are with images=…, or leave them out with on_missing_image="skip" '
            '(keep their text with "null").'
        )
    if options.on_missing_image == "skip":
        plan = plan.take(np.setdiff1d(np.arange(len(plan)), missing))
    return plan, [("missing_image", len(missing), words)]
