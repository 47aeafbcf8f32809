"""A dataset in; what pages are made of out: configurations, rows, photos, thumbnails, annotations.

All is read when it is asked for. Of what was read, only thumbnails and the last photos are kept, up to a number of
bytes; so memory does not grow with the dataset. Threads may share one.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.data import configs_in, open_data
from svit_builder.view.pictures import Picture, absent, picture_of, thumbnail
from svit_datasets.errors import BadImage, SvitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from svit_builder.data import Data
    from svit_builder.generate.protocol import Annotated
    from svit_datasets.rows import Row

__all__ = ["PAGE", "Place", "Shelf", "Shown", "Split"]

PAGE = 24  # rows a page of the gallery: whole lines of 2, 3, 4, 6 and 8
_THUMBNAILS = 32 << 20  # bytes kept; about 2,000
_PHOTOS = 32 << 20  # bytes kept; what a row's page refers to is asked for right after it


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a configuration's rows, which follow one another."""

    name: str  # "train" or "test"
    first: int  # number of its first row
    rows: int
    shown: int  # of them, the first ones; all, unless there is a limit

    @property
    def pages(self) -> int:
        """How many pages its gallery has."""
        return max(1, -(-self.shown // PAGE))


@dataclass(frozen=True, slots=True)
class Place:
    """A page of a split's gallery."""

    split: Split
    page: int  # 1-based
    start: int  # number of its first row
    stop: int  # behind its last row


@dataclass(frozen=True, slots=True)
class Shown:
    """A row with its photo."""

    number: int
    row: Row  # image is None where there is no picture
    picture: Picture | None
    trouble: str = ""  # why there is none


class Shelf:
    """A dataset as pages need it.

    Args:
        place: as for `open_data`.
        images: where photos are, for raw files.
        limit: rows of a split that are shown, the first ones; None for all.
        annotations: the folder or URL of Visual Genome's annotations; None: none are shown.
        cache_dir: where prepared text is kept.
        token: of the Hub.
        storage_options: of fsspec.

    Raises:
        SvitError: as in `configs_in`.
    """

    def __init__(
        self,
        place: str,
        *,
        images: Sequence[str] | None = None,
        limit: int | None = None,
        annotations: str | None = None,
        cache_dir: str | None = None,
        token: str | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        self.place = place
        self.limit = limit
        self.annotations = annotations
        self._reach: dict[str, Any] = {"token": token, "storage_options": storage_options}
        self._options = {**self._reach, "images": images, "cache_dir": cache_dir}
        self.configs = tuple(configs_in(place, **self._reach))
        self._opened: dict[str, Data] = {}
        self._locks = {config: Lock() for config in self.configs}
        self._annotations_lock = Lock()
        self._thumbnails = _Kept(_THUMBNAILS)
        self._photos = _Kept(_PHOTOS)
        self._making: dict[tuple[str, int], Future[Picture]] = {}
        self._making_lock = Lock()

    def data(self, config: str) -> Data:
        """Return a configuration, which is opened when it is first asked for."""
        with self._locks[config]:
            if config not in self._opened:
                self._opened[config] = open_data(self.place, config, **self._options)
            return self._opened[config]

    def size(self, config: str) -> int | None:
        """Return how many rows a configuration has; None where it was not opened yet."""
        data = self._opened.get(config)
        return None if data is None else len(data)

    # Places ---------------------------------------------------------------------------------------------------------

    def splits(self, config: str) -> dict[str, Split]:
        """Return the splits of a configuration, in the order of its rows; an empty one where it has no rows."""
        found, first = {}, 0
        for name, rows in self.data(config).splits.items():
            found[name] = Split(name, first, rows, rows if self.limit is None else min(rows, self.limit))
            first += rows
        return found or {"train": Split("train", 0, 0, 0)}

    def gallery(self, config: str, split: str, page: int) -> Place | None:
        """Return a page of a split, or None where there is no such page."""
        found = self.splits(config).get(split)
        if found is None or not 1 <= page <= found.pages:
            return None
        start = found.first + (page - 1) * PAGE
        return Place(found, page, start, min(start + PAGE, found.first + found.shown))

    def gallery_of(self, config: str, number: int) -> Place:
        """Return the page that a row stands on."""
        split = self.splits(config)[self.data(config).split_of(number)]
        place = self.gallery(config, split.name, (number - split.first) // PAGE + 1)
        assert place is not None
        return place

    def name_of(self, config: str, number: int) -> str:
        """Return what a link calls a row: by the photo's id, or by number where several rows have the photo."""
        data = self.data(config)
        image_id = int(data.image_ids[number])
        if data.task.form == "svit" and self._first(data, image_id) == number:
            return f"image-{image_id}"
        return f"row-{number}"

    def number_of(self, config: str, name: str) -> int | None:
        """Return the row that a link means, or None."""
        kind, _, digits = name.partition("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 15):
            return None
        data = self.data(config)
        if kind == "image":
            return self._first(data, int(digits))
        return int(digits) if kind == "row" and int(digits) < len(data) else None

    def _first(self, data: Data, image_id: int) -> int | None:
        found = np.flatnonzero(data.image_ids == image_id)
        return int(found[0]) if len(found) else None

    # Rows -----------------------------------------------------------------------------------------------------------

    def texts(self, config: str, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """Yield (number, row) without photos."""
        yield from self.data(config).texts(start, stop)

    def shown(self, config: str, number: int) -> Shown:
        """Return a row with its photo; a photo that cannot be had is told of, and is no error."""
        data = self.data(config)
        _, row = next(data.rows([number]))
        photo = row["image"]
        if photo is None:
            return Shown(number, row, None, _why(data, number, row))
        try:
            picture = picture_of(photo)
        except BadImage as error:
            return Shown(number, {**row, "image": None}, None, f"The photo cannot be shown: {error}.")
        self._photos.put((config, number), picture)
        return Shown(number, row, picture)

    def picture(self, config: str, number: int) -> Picture | None:
        """Return a row's photo, or None."""
        return self._photos.get((config, number)) or self.shown(config, number).picture

    def thumbnail(self, config: str, number: int) -> Picture:
        """Return a row's thumbnail; where there is no photo, a picture that says so."""
        kept = self._thumbnails.get((config, number))
        if kept is not None:
            return kept
        with self._making_lock:
            pending = self._making.get((config, number))
        if pending is not None:
            return pending.result()
        return self.make_thumbnails(config, [number]).get(number) or self.thumbnail(config, number)

    def make_thumbnails(self, config: str, numbers: Sequence[int]) -> dict[int, Picture]:
        """Make the thumbnails of some rows, whose photos are read together; those kept or under way are not made."""
        with self._making_lock:
            wanted = [
                number
                for number in numbers
                if (config, number) not in self._making and self._thumbnails.get((config, number)) is None
            ]
            futures = {number: Future[Picture]() for number in wanted}
            self._making.update({(config, number): future for number, future in futures.items()})
        try:
            for number, row in self.data(config).rows(wanted):
                made = _small(row["image"])
                self._thumbnails.put((config, number), made)
                futures[number].set_result(made)
            return {number: future.result() for number, future in futures.items()}
        except BaseException as error:
            for future in futures.values():
                if not future.done():
                    future.set_exception(error)
            raise
        finally:
            with self._making_lock:
                for number in wanted:
                    del self._making[config, number]

    # Annotations ----------------------------------------------------------------------------------------------------

    def annotated(self, image_id: int) -> tuple[Annotated | None, str]:
        """Return what people wrote of a photo, and why it cannot be had; (None, "") where nothing is there."""
        if self.annotations is None or image_id < 0:
            return None, ""
        try:
            with self._annotations_lock:
                return next(iter(self._annotations.read([image_id])), None), ""
        except SvitError as error:
            return None, str(error)

    @cached_property
    def _annotations(self) -> Any:
        from svit_builder.annotations import open_annotations  # noqa: PLC0415 - only where some are given

        assert self.annotations is not None
        return open_annotations(self.annotations, cache_dir=self._options["cache_dir"], **self._reach)


def _why(data: Data, number: int, row: Row) -> str:
    """Return why a row has no photo."""
    if "image_path" in row and row["image_path"] is None:
        return "This record is text only: it has no photo."
    try:
        next(data.rows([number], on_missing_image="error"))
    except SvitError as error:
        return str(error)
    return "The photo is missing: it was not there when these files were made."


def _small(photo: bytes | None) -> Picture:
    if photo is None:
        return absent("no photo")
    try:
        return thumbnail(photo)
    except BadImage:
        return absent("unreadable photo")


class _Kept:
    """What was used last, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._lock = Lock()
        self._values: OrderedDict[tuple[str, int], Picture] = OrderedDict()

    def get(self, key: tuple[str, int]) -> Picture | None:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: tuple[str, int], value: Picture) -> None:
        with self._lock:
            old = self._values.pop(key, None)
            self._held += len(value.data) - (0 if old is None else len(old.data))
            self._values[key] = value
            while self._held > self._limit and len(self._values) > 1:
                self._held -= len(self._values.popitem(last=False)[1].data)

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        return self._held
