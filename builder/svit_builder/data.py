"""Any copy of a configuration in, its rows by number out: raw files, or published Parquet, here or on the Hub.

What looks at a dataset (statistics, checks, the viewer, exports) stands on this: `Data.texts` reads no photo, and
`Data.rows` only those it is asked for. The rows are those of `svit_datasets.stream`, which reads for training.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.texts import joined_texts, published_texts
from svit_datasets.cache import cache_root
from svit_datasets.corpus import make_plan
from svit_datasets.errors import ImageNotFound, OptionError, SourceNotFound
from svit_datasets.filters import split_rows
from svit_datasets.footers import open_published
from svit_datasets.image_sources import find_image_sources
from svit_datasets.joined import Joined
from svit_datasets.options import Options, Resolved
from svit_datasets.parquet import open_parquet
from svit_datasets.published import Published
from svit_datasets.report import Tally
from svit_datasets.repository import find_repository, open_files
from svit_datasets.sources import find_holdout, find_text_under, join_url, read_holdout
from svit_datasets.storage import Storage
from svit_datasets.tasks import TASKS, get_task
from svit_datasets.text import text_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from svit_datasets.order import Ids
    from svit_datasets.rows import Row
    from svit_datasets.sources import TextFile
    from svit_datasets.tasks import Task

__all__ = ["Data", "configs_in", "open_data", "url_of"]

_TOGETHER = 32  # rows that are read at a time, text and photos
_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")  # ORG/NAME@REVISION


def url_of(place: str) -> str:
    """Return a folder or URL for what a user calls a dataset: ``ORG/NAME`` is one on the Hub if no such folder is."""
    if "://" in place or Path(place).expanduser().exists() or not _REPO.fullmatch(place):
        return place
    return f"hf://datasets/{place}"


def configs_in(
    place: str, *, token: str | bool | None = None, storage_options: dict[str, Any] | None = None
) -> list[str]:
    """Return the configurations that a dataset has, in the order of the table of tasks.

    Args:
        place: as for `open_data`.
        token: of the Hub.
        storage_options: of fsspec.

    Raises:
        SourceNotFound: there is none.
        SvitError: as in `Storage.list`.
    """
    storage, url = Storage(options=storage_options, token=token), url_of(place)
    published = [name for name in TASKS if _published(get_task(name), url, storage)]
    if published:
        return published
    if "://" not in url and not Path(url).expanduser().is_dir():
        raise SourceNotFound(f"{place} is no folder, and not the name of a dataset on the Hub such as ORG/svit.")
    found = [name for name, task in TASKS.items() if _texts(task, url, storage)]
    if not found:
        raise SourceNotFound(
            f"{place}: neither published Parquet (CONFIG/SPLIT-00000-of-000NN.parquet) nor a file of records such as "
            "data/conversation.zip is there."
        )
    return found


def _published(task: Task, url: str, storage: Storage) -> dict[str, list[str]] | None:
    try:
        return find_repository(task, url, storage)
    except SourceNotFound:  # other configurations are there
        return None


def _texts(task: Task, url: str | None, storage: Storage) -> tuple[TextFile, ...]:
    """Return the files of records of one place; it alone is asked, not where they were published."""
    return find_text_under(task, tuple(TASKS[name] for name in task.parts), str(url), storage) or ()


def open_data(
    place: str,
    config: str,
    *,
    split: str | None = None,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    holdout: str | os.PathLike[str] | None = "official",
    on_bad_record: str = "skip",
    known_bad: str = "keep",
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Data:
    """Open a configuration; reads which rows there are, no photo, and raw text only if it was not prepared before.

    Args:
        place: a folder or URL with published Parquet or with SVIT's raw files, or ``ORG/NAME`` on the Hub.
        config: the configuration.
        split: "train" or "test"; None: all rows, split after split.
        images: where photos are, for raw files; they are looked for when the first is wanted.
        holdout: for raw files, which images are the test split. "official" takes ``test_image_ids.txt`` under the
            place, or the published list where it was fetched before; without either there is one split.
        on_bad_record: "error" or "skip", for raw files.
        known_bad: "drop" or "keep", for raw files.
        cache_dir: where prepared text is kept.
        token: of the Hub.
        storage_options: of fsspec.

    Raises:
        OptionError: an argument has a value that is not allowed, or there is no such split.
        SourceNotFound: the configuration is not there.
        SvitError: a file cannot be reached or read.
    """
    storage, cache, url = Storage(options=storage_options, token=token), cache_root(cache_dir), url_of(place)
    options = Options(
        get_task(config),
        data_dir=url,
        images=images,
        holdout=holdout,
        on_missing_image="null",
        on_bad_record=on_bad_record,
        known_bad=known_bad,
    )
    published = find_repository(options.task, url, storage)
    parts = _open_raw(options, storage, cache) if published is None else _open_built(options, published, storage, cache)
    if split is not None:
        if split not in parts:
            raise OptionError(f"split={split!r} is not there. Available: {', '.join(map(repr, parts))}.")
        parts = {split: parts[split]}
    return Data(place, options, parts, storage, cache)


def _open_raw(options: Options, storage: Storage, cache: Path) -> dict[str, Joined | Published]:
    """Return each split's rows, whose photos are nowhere yet."""
    task, place = options.task, options.data_dir
    texts = _texts(task, place, storage)
    if not texts:
        raise SourceNotFound(f"{place} has no config {task.name!r}: no file of its records, and no published Parquet.")
    if options.holdout == "official":
        held_out = find_holdout(place, storage, cache)
    else:
        held_out = None if options.holdout is None else read_holdout(options.holdout, place, storage, cache)
    plan, _ = make_plan(options, Resolved(texts, (), held_out), storage, cache)
    splits = split_rows(plan.image_ids, held_out)
    return {name: Joined(plan.take(rows), task, "image") for name, rows in splits.items() if len(rows)}


def _open_built(
    options: Options, splits: dict[str, list[str]], storage: Storage, cache: Path
) -> dict[str, Joined | Published]:
    task, root = options.task, join_url(str(options.data_dir), options.task.name)
    opened: dict[str, Joined | Published] = {}
    for name in sorted(splits, key=["train", "test", *splits].index):
        entry = open_parquet(storage.stat(f"{root}/{splits[name][0]}"), task, storage, cache).entry
        as_built = Options(
            task, options.data_dir, on_missing_image="null", known_bad=entry["known_bad"] if entry else "drop"
        )
        opened[name], _ = open_published(open_files(as_built, name, splits, storage, cache), as_built, storage)
    return opened


@dataclass(frozen=True)
class Data:
    """The n rows of a configuration, by number, a row an image; holds none of them. Pickles."""

    place: str  # as the user named it
    options: Options
    parts: dict[str, Joined | Published]  # split -> its rows
    storage: Storage
    cache: Path

    @property
    def task(self) -> Task:
        """The configuration."""
        return self.options.task

    @cached_property
    def splits(self) -> dict[str, int]:
        """How many rows each split has, in the order of the numbers."""
        return {name: len(part.counts()) for name, part in self.parts.items()}

    @cached_property
    def image_ids(self) -> Ids:
        """Visual Genome ids, (n,) int64; -1 where a LLaVA-form record has none."""
        ids = [part.plan.image_ids if isinstance(part, Joined) else part.image_ids for part in self.parts.values()]
        return np.concatenate([np.zeros(0, dtype=np.int64), *ids])

    def __len__(self) -> int:
        """Return n."""
        return sum(self.splits.values())

    def split_of(self, number: int) -> str:
        """Return which split a row belongs to."""
        return self._locate(number)[0]

    def _locate(self, number: int) -> tuple[str, int]:
        at = number
        for name, size in self.splits.items():
            if 0 <= at < size:
                return name, at
            at -= size
        raise OptionError(f"Row {number:,} is not there: {self.place} has {len(self):,} of {self.task.name}.")

    def conversation_ids(self, number: int, row: Row) -> list[str]:
        """Return the names of a row's conversations, IMAGE/TASK/NUMBER, as rows="conversation" has them.

        Args:
            number: of the row.
            row: with its text.
        """
        split, at = self._locate(number)
        part = self.parts[split]
        if isinstance(part, Published):
            return list(part.ids(int(part.group[at]), int(part.at[at]), row["image_id"], row["conversations"]))
        plan = part.plan
        items = slice(plan.offsets[at], plan.offsets[at + 1])
        if any(item in plan.dropped for item in zip(plan.item_store[items], plan.item_row[items], strict=True)):
            table, _ = text_columns(plan.take(np.array([at])), part.task, "conversation")
            names: list[str] = table["id"].to_pylist()
            return names
        seen: Counter[str] = Counter()
        names = []
        for block in row["conversations"]:
            task = block.get("task", self.task.name)
            names.append(f"{row['image_id']}/{task}/{seen[task]}")
            seen[task] += 1
        return names

    def texts(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Row]]:
        """Yield (number, row) in order, without photos: ``image`` is None. No byte of a photo is read.

        Args:
            start: first row.
            stop: behind the last row; None for all.

        Yields:
            Rows with the columns of `features`. ``width`` and ``height`` are known to published Parquet only.

        Raises:
            SvitError: a file cannot be read.
        """
        begin = 0
        stop = len(self) if stop is None else min(stop, len(self))
        for name, size in self.splits.items():
            low, high = max(start - begin, 0), min(stop - begin, size)
            if low < high:
                part = self.parts[name]
                if isinstance(part, Joined):
                    rows = joined_texts(part, low, high)
                else:
                    rows = published_texts(part, self.storage, low, high)
                yield from enumerate(rows, start=begin + low)
            begin += size

    def rows(self, numbers: Iterable[int], *, on_missing_image: str = "null") -> Iterator[tuple[int, Row]]:
        """Yield (number, row) in the order asked for, ``image`` as the bytes of its file, or None.

        Lazy: 32 rows are fetched together, the next ones ahead.

        Args:
            numbers: of rows.
            on_missing_image: "null", or "error" to be told why a photo cannot be had.

        Raises:
            OptionError: there is no such row.
            SvitError: a photo cannot be had, under "error"; a file cannot be read.
        """
        tally = Tally(self.cache / "reports" / f"data-{self.task.name}.jsonl")
        tally.begin([])
        run: list[tuple[int, int]] = []
        name = ""
        for number in numbers:
            split, at = self._locate(number)
            if run and (split != name or len(run) == _TOGETHER):
                yield from self._shots(name, run, on_missing_image, tally)
                run = []
            name = split
            run.append((number, at))
        if run:
            yield from self._shots(name, run, on_missing_image, tally)

    def _shots(self, split: str, run: list[tuple[int, int]], policy: str, tally: Tally) -> Iterator[tuple[int, Row]]:
        part = self._with_photos[split]
        at = np.array([place for _, place in run], dtype=np.int64)
        shots = part.shots(
            [at], policy=policy, storage=self.storage, tally=tally, in_flight_bytes=32 << 20, verify=True
        )
        for shot in shots:
            number, named = run[shot.item][0], shot.row.get("image_path", "by its image_id") is not None
            if shot.photo is None and named and policy == "error":  # it was nowhere when the rows were planned
                raise ImageNotFound(
                    f"{self.place}, {self.task.name}, row {number:,}: its photo (image {self.image_ids[number]}) is in "
                    "no place that was looked at. Name where photos are with images=…"
                )
            yield number, {**shot.row, "image": shot.photo}

    @cached_property
    def _with_photos(self) -> dict[str, Joined | Published]:
        """The same rows with their photos located: asks where photos are, once."""
        if all(isinstance(part, Published) for part in self.parts.values()):
            return self.parts
        sources = find_image_sources(self.options.images, self.options.data_dir, self.storage)
        first = next(iter(self.parts.values()))
        assert isinstance(first, Joined)
        texts = _texts(self.task, self.options.data_dir, self.storage)
        plan, _ = make_plan(self.options, Resolved(texts, sources, None), self.storage, self.cache)
        found: dict[str, Joined | Published] = {}
        for name, part in self.parts.items():
            assert isinstance(part, Joined)
            found[name] = Joined(plan.take(_positions(part, plan)), self.task, "image")
        return found


def _positions(part: Joined, plan: Any) -> Ids:
    """Return where a split's images stand in the plan of all: its items are the same ones, in the same order."""
    first = np.stack([plan.item_store, plan.item_row], axis=1)[plan.offsets[:-1]]
    mine = np.stack([part.plan.item_store, part.plan.item_row], axis=1)[part.plan.offsets[:-1]]
    place = {tuple(item): at for at, item in enumerate(first.tolist())}
    return np.array([place[tuple(item)] for item in mine.tolist()], dtype=np.int64)
