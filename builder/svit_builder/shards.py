"""A configuration in, its files out: which rows go into which Parquet file, and all of them written.

The same plan as `load_dataset` says which rows there are. It is cut into shards before anything is written, by the
sizes that photos are known to have, so a shard can be written by any process; how, `parquet` says. `build` does it
for all configurations, on many processes or machines.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.parquet import write_shard
from svit_builder.shard import Shard, is_shard
from svit_datasets.cache import cache_root
from svit_datasets.corpus import make_plan
from svit_datasets.errors import OptionError
from svit_datasets.features import features_of
from svit_datasets.filters import split_rows
from svit_datasets.options import Options, resolve
from svit_datasets.report import Tally
from svit_datasets.repository import digest_of_holdout
from svit_datasets.storage import Storage
from svit_datasets.tasks import get_task

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from svit_datasets.filters import ImageIds
    from svit_datasets.options import Resolved
    from svit_datasets.plan import Left, Plan

    Ids = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["Cut", "cut_shards", "write_config"]

_LAYOUT = 2  # raise it when the same rows give other files
_UNKNOWN = 192 << 10  # bytes; what a photo counts whose size nobody knows yet: a third more than Visual Genome's mean
_FILE, _GROUP = 16 << 10, 2 << 10  # bytes that a file and a row group take beside their rows (measured)


def write_config(
    config: str,
    out: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    holdout: str | os.PathLike[str] | None = "official",
    on_missing_image: str = "error",
    on_bad_record: str = "error",
    image_ids: ImageIds | None = None,
    known_bad: str = "drop",
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    storage_options: dict[str, Any] | None = None,
    row_group: int = 32,
    shard_bytes: int = 500 << 20,
) -> list[Path]:
    """Write a configuration's splits as ``OUT/CONFIG/SPLIT-00000-of-000NN.parquet``, and return the files.

    Files that an earlier call made of this configuration are replaced; those that are no longer wanted are removed.

    Args:
        config: its name; "all" has the rows of the four tasks together.
        out: the folder of the dataset.
        data_dir: as for `load_dataset`, like the next nine; ``rows`` is "image".
        images: where photos are.
        holdout: which images are the test split.
        on_missing_image: "error", "skip" or "null".
        on_bad_record: "error" or "skip".
        image_ids: only these images.
        known_bad: "drop" or "keep".
        cache_dir: where prepared text is kept.
        token: of the Hub.
        storage_options: of fsspec.
        row_group: rows that are read as one, 32 to 100: about 4 to 14 MB of Visual Genome's photos.
        shard_bytes: of a file, at most, but for a single row group that is larger. Photos in remote folders tell no
            size before they are read; they count 192 kB each.

    Raises:
        OptionError: an argument has a value that is not allowed.
        SvitError: as in `load_dataset`.
        OSError: a file cannot be written.
    """
    options = Options(
        get_task(config),
        data_dir=None if data_dir is None else str(data_dir),
        images=images,
        holdout=holdout,
        on_missing_image=on_missing_image,
        on_bad_record=on_bad_record,
        image_ids=image_ids,
        known_bad=known_bad,
    )
    storage, cache = Storage(options=storage_options, token=token), cache_root(cache_dir)
    cut = cut_shards(options, storage, cache, row_group=row_group, shard_bytes=shard_bytes)
    tally = Tally(cache / "reports" / f"build-{config}-{cut.resolved.fingerprint[:16]}.jsonl")
    tally.begin(cut.left)
    root = Path(out).expanduser()
    written = [root / write_shard(shard, root, storage, tally).path for shard in cut.shards]
    for path in (root / config).glob("*.parquet"):  # those of an earlier build: `datasets` would read both
        if path not in written and is_shard(path.name):
            path.unlink()
    return written


@dataclass(frozen=True)
class Cut:
    """A configuration as files to be written."""

    shards: list[Shard]
    left: Left  # what planning left out
    resolved: Resolved  # which files it is made from


def cut_shards(
    options: Options, storage: Storage, cache: Path, *, row_group: int = 32, shard_bytes: int = 500 << 20
) -> Cut:
    """Return the files to be written for all splits of a configuration; nothing is written yet.

    Rows of SVIT form are sorted by image id, so that a reader that looks for one skips the others by statistics;
    LLaVA-form records keep the file's order. Files of one split are about equally large; a split without rows has none.

    Raises:
        OptionError: ``row_group`` or ``shard_bytes`` is not allowed.
        SvitError: as in `resolve` and `make_plan`.
    """
    if not 32 <= row_group <= 100:
        raise OptionError(f"row_group={row_group!r} is not allowed: give 32 to 100.")
    if shard_bytes < 1:
        raise OptionError(f"shard_bytes={shard_bytes!r} is not allowed: give 1 or more.")
    resolved = resolve(options, storage, cache)
    plan, left = make_plan(options, resolved, storage, cache)
    task, holdout = options.task, digest_of_holdout(resolved.holdout)
    made_by = (_LAYOUT, task.name, options.on_missing_image, holdout, row_group, shard_bytes, _text_digest(plan))
    schema = features_of(task, "image").arrow_schema
    shards = []
    for split, rows in split_rows(plan.image_ids, resolved.holdout).items():
        if not len(rows):
            continue
        mine = plan.take(rows)
        if task.form == "svit":
            mine = mine.take(np.argsort(mine.image_ids, kind="stable"))
        photos = _photo_sizes(mine)
        build = _digest(mine, photos, (*made_by, split))
        whole = Shard(
            "", task.name, split, mine, options.on_missing_image, row_group, options.known_bad, holdout, build, schema
        )
        shards.extend(_cut(whole, photos + _text_sizes(mine), shard_bytes))
    return Cut(shards, left, resolved)


def _text_digest(plan: Plan) -> str:
    text = hashlib.sha256()
    for store in plan.stores:
        with (store.folder / "text.arrow").open("rb") as file:
            text.update(hashlib.file_digest(file, "sha256").digest())
    return text.hexdigest()


def _digest(plan: Plan, photos: Ids, made_by: tuple[object, ...]) -> str:
    """Return what tells the files of one build from those of another; depends on content alone.

    Of photos in zips that is their CRC-32, of those in local folders their sizes, of those on servers nothing.
    """
    digest = hashlib.sha256(repr(made_by).encode())
    for column in (plan.image_ids, plan.offsets, plan.item_row, photos, plan.photos.entry["crc"]):
        digest.update(np.ascontiguousarray(column).tobytes())
    digest.update(repr(sorted((key, sorted(blocks)) for key, blocks in plan.dropped.items())).encode())
    return digest.hexdigest()[:16]


def _cut(whole: Shard, rows: Ids, shard_bytes: int) -> list[Shard]:
    """Cut at row groups, into as few files of about equal size as the limit allows."""
    plan, step = whole.plan, whole.row_group
    starts = np.arange(0, len(plan), step)
    sizes = np.add.reduceat(rows, starts) + _GROUP
    count = max(1, min(len(starts), int(sizes.sum()) // max(1, shard_bytes - _FILE)))
    while True:
        file = np.minimum((np.cumsum(sizes) - sizes // 2) * count // sizes.sum(), count - 1)
        _, first = np.unique(file, return_index=True)
        largest = np.add.reduceat(sizes, first).max() + _FILE
        if largest <= shard_bytes or len(first) == len(starts):
            break
        count += 1
    edges = [*starts[first].tolist(), len(plan)]
    number = len(first)
    return [
        replace(
            whole,
            path=f"{whole.config}/{whole.split}-{at:05}-of-{number:05}.parquet",
            plan=plan.take(np.arange(edges[at], edges[at + 1])),
        )
        for at in range(number)
    ]


def _photo_sizes(plan: Plan) -> Ids:
    """Return the bytes of each row's photo, or a guess; with a zip's local headers, where it lies in one."""
    size: Ids = plan.photos.entry["stop"] - plan.photos.entry["start"]
    for index in np.flatnonzero((size <= 0) & (plan.photos.source >= 0)).tolist():
        where = plan.photos.byte_range(index).url
        size[index] = _UNKNOWN if "://" in where else Path(where).stat().st_size
    return size


def _text_sizes(plan: Plan) -> Ids:
    """Return the bytes that each row's text will take, or a little more."""
    each = np.array([(store.folder / "text.arrow").stat().st_size / max(1, len(store.index)) for store in plan.stores])
    text = np.concatenate([[0], np.cumsum(each[plan.item_store])])[plan.offsets]
    return np.ceil(np.diff(text)).astype(np.int64)
