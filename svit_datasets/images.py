"""Image ids or paths in, where their bytes are out: files of folders, members of zips, names to try.

The places are asked in order, each once for all ids: a folder by its listing, a zip by its directory, an http folder by
the names it would have. Nothing of a photo is read here, only lists of names; which places there are, `image_sources`
says.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from svit_datasets.columns import as_numpy, booleans, integers, strings, table
from svit_datasets.errors import SvitError
from svit_datasets.located import Ids, ImageSource, Located
from svit_datasets.storage import FileInfo
from svit_datasets.zips import DIRECTORY, read_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from svit_datasets.storage import Storage

__all__ = ["Locator"]

# Sets whose numbers are no Visual Genome ids to us: their folders and zips, not what a user keeps below such a name.
_OTHER_SETS = re.compile(r"/(?:(?:gqa|ocr_vqa)(?:/images)?|textvqa(?:/train_images)?)(?:/[^/]+\.zip)?$")
_LISTINGS = 8  # places that are listed at a time
_VG_NAME = r"(?:^|/)(?P<id>[1-9]\d{0,6})\.(?:jpg|jpeg|png)$"
_COCO_NAME = r"(?:^|/)(?:COCO_(?:train|val)2014_)?(?P<id>\d{12})\.jpg$"


class Locator:
    """Finds photos in a list of places.

    Args:
        sources: the places, in the order they are asked.
        storage: how they are reached.
        cache: where zip directories are kept.
        coco_ids: from Visual Genome ids (int64) to COCO ids (int64, -1 for none); called only when a place holds COCO
            photos. None: COCO copies do not stand in for Visual Genome's.
    """

    def __init__(
        self, sources: tuple[ImageSource, ...], storage: Storage, cache: Path, coco_ids: Callable[[Ids], Ids] | None
    ) -> None:
        self._sources, self._storage, self._cache, self._coco_ids = list(sources), storage, cache, coco_ids
        self._note = ""
        self._pool = ThreadPoolExecutor(_LISTINGS, thread_name_prefix="svit-list")  # no thread is made before it lists
        self._listings: dict[int, Future[pa.Table]] = {}

    def begin(self) -> None:
        """List the first place now, and those that are listed with it, while the caller does something else.

        Only where a list comes over the network; a local one costs the processor, which the caller has use for.
        """
        if self._sources and _is_remote(self._sources[0]):
            self._begin(0)

    def by_id(self, image_ids: Ids) -> Located:
        """Locate photos by Visual Genome id.

        Raises:
            SvitError: a place cannot be listed; for Visual Genome's own site only where no other place had any photo.
        """
        found = _Found(len(image_ids))

        def match(source: ImageSource, names: pa.Array) -> None:
            found.match(image_ids, _numbers(names, _VG_NAME, source))
            coco = _numbers(names, _COCO_NAME, source)
            if (coco >= 0).any() and found.missing.any():
                found.match(self._to_coco(image_ids), coco)

        def fill(source: ImageSource) -> None:
            if source.by == "image_id":
                found.fill(image_ids >= 0, [str(image_id) for image_id in image_ids])
            elif source.by == "coco_id":
                coco = self._to_coco(image_ids)
                found.fill(coco >= 0, [f"{coco_id:012d}" for coco_id in coco])

        return self._ask(found, match, fill)

    def by_path(self, paths: list[str | None]) -> Located:
        """Locate photos by the path that a LLaVA-form record gives, such as ``coco/train2017/000000000009.jpg``.

        None, of a text-only record, is nowhere, and nowhere looked for.

        Raises:
            SvitError: as in `by_id`.
        """
        found = _Found(len(paths))
        found.wanted = np.array([path is not None for path in paths], dtype=bool)
        text = strings(paths)
        is_vg, is_coco = (booleans(pc.starts_with(text, prefix)) for prefix in ("vg/", "coco/"))
        vg_ids = np.where(is_vg, _numbers(text, _VG_NAME), -2)
        coco_ids = np.where(is_coco, _numbers(text, _COCO_NAME), -2)

        def match(source: ImageSource, names: pa.Array) -> None:
            found.match(vg_ids, _numbers(names, _VG_NAME, source))
            found.match(coco_ids, _numbers(names, _COCO_NAME, source))
            if found.missing.any():
                found.match_names(_names_in(source, paths), names)

        def fill(source: ImageSource) -> None:
            if source.by == "image_id":
                found.fill(vg_ids >= 0, [str(image_id) for image_id in vg_ids])
            elif source.by == "coco_id":
                found.fill(coco_ids >= 0, [f"{coco_id:012d}" for coco_id in coco_ids])
            else:
                found.fill(found.wanted, [path or "" for path in paths])

        return self._ask(found, match, fill)

    def _ask(
        self, found: _Found, match: Callable[[ImageSource, pa.Array], None], fill: Callable[[ImageSource], None]
    ) -> Located:
        for number, source in enumerate(self._sources):
            if not found.missing.any():
                break
            found.source_number = number
            if source.kind == "template":
                fill(source)
                continue
            self._begin(number)
            try:
                listing = self._listings.pop(number).result()
            except SvitError as error:
                if not source.origin or (found.missing == found.wanted).all():
                    raise
                self._note = f"Their origin cannot be read: {error}"
                break
            found.listing = listing
            match(source, listing["name"].combine_chunks())
        return found.located(tuple(self._sources), self._note)

    def _to_coco(self, image_ids: Ids) -> Ids:
        if self._coco_ids is None:
            return np.full(len(image_ids), -1, dtype=np.int64)
        try:
            return self._coco_ids(image_ids)
        except SvitError as error:
            self._note = f"Which COCO photo is which cannot be told: {error}"
            return np.full(len(image_ids), -1, dtype=np.int64)

    def _begin(self, number: int) -> None:
        """Begin to list a place, and at the same time remote ones after it; the origin not before it is needed."""
        for other in range(number, len(self._sources)):
            source = self._sources[other]
            together = _is_remote(source) and source.origin == self._sources[number].origin
            if other not in self._listings and (other == number or together):
                self._listings[other] = self._pool.submit(self._list, other)

    def _list(self, number: int) -> pa.Table:
        source = self._sources[number]
        url = source.urls[0]
        if source.kind == "folder":
            return table(name=strings(self._storage.list(url) or []))
        if source.size is not None and _is_remote(source):
            info = FileInfo(url, source.size, source.fingerprint)
        else:
            info = self._storage.stat(url)
            self._sources[number] = replace(source, fingerprint=info.fingerprint)
        return read_directory(info, self._storage, self._cache)


def _is_remote(source: ImageSource) -> bool:
    return source.kind != "template" and "://" in source.urls[0]


class _Found:
    """Fills the columns of `Located` while places are asked."""

    def __init__(self, count: int) -> None:
        self.source_number = -1
        self.listing: pa.Table = table(name=strings([]))
        self.wanted = np.ones(count, dtype=bool)
        self._source = np.full(count, -1, dtype=np.int16)
        self._names: list[pa.Array] = [strings([""])]  # as Arrow: as Python strings they took 15 MB
        self._name = np.zeros(count, dtype=np.int64)  # position in all of them
        self._entry = {name: np.zeros(count, dtype=np.int64) for name in DIRECTORY.names[1:]}

    @property
    def missing(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return self.wanted & (self._source < 0)

    def match(self, wanted: Ids, keys: Ids) -> None:
        """Note the listing's rows whose key is wanted and still missing; a key of -1 is none."""
        rows = np.flatnonzero(keys >= 0)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        if not len(rows):
            return
        at = np.searchsorted(keys[rows], wanted).clip(max=len(rows) - 1)
        hit = self.missing & (wanted >= 0) & (keys[rows][at] == wanted)
        self._note(hit, rows[at[hit]])

    def match_names(self, wanted: list[str | None], names: pa.Array) -> None:
        at = pc.index_in(strings(wanted), value_set=names, skip_nulls=True)
        rows = as_numpy(at)
        hit = self.missing & (rows >= 0)
        self._note(hit, rows[hit])

    def fill(self, possible: np.ndarray[Any, np.dtype[np.bool_]], names: list[str]) -> None:
        hit = self.missing & possible
        self._source[hit] = self.source_number
        self._name[hit] = sum(map(len, self._names)) + np.flatnonzero(hit)
        self._names.append(strings(names))

    def _note(self, hit: np.ndarray[Any, np.dtype[np.bool_]], rows: Ids) -> None:
        entries = self.listing.take(integers(rows, pa.int64()))
        self._source[hit] = self.source_number
        self._name[hit] = sum(map(len, self._names)) + np.arange(len(rows))
        self._names.append(entries["name"].combine_chunks())
        for name in set(entries.column_names) - {"name"}:
            self._entry[name][hit] = as_numpy(entries[name])

    def located(self, sources: tuple[ImageSource, ...], note: str) -> Located:
        name = pa.concat_arrays(self._names).take(integers(self._name, pa.int64()))
        return Located(sources, self._source, name, self._entry, note)


def _numbers(names: pa.Array, pattern: str, source: ImageSource | None = None) -> Ids:
    """Return the id in each name, -1 where it has none; of GQA, OCR-VQA and TextVQA folders no number counts as one."""
    if source is not None and _OTHER_SETS.search(source.urls[0]):
        return np.full(len(names), -1, dtype=np.int64)
    ids = pc.struct_field(pc.extract_regex(names, pattern), "id")
    return as_numpy(pc.cast(ids, pa.int64()))


def _names_in(source: ImageSource, paths: list[str | None]) -> list[str | None]:
    """Return what each path is called in a folder or zip: ``gqa/images/1.jpg`` is ``1.jpg`` in /data/gqa/images."""
    place = source.urls[0] if source.kind == "folder" else source.urls[0].rsplit("/", 1)[0]
    heads: dict[str, int | None] = {}
    names: list[str | None] = []
    for path in paths:
        if path is None:
            names.append(None)
            continue
        folder = path.rpartition("/")[0]
        if folder not in heads:
            parts = folder.split("/")
            fits = (i for i in range(len(parts), 0, -1) if f"/{place}".endswith("/" + "/".join(parts[:i])))
            heads[folder] = next(fits, None)
        depth = heads[folder]
        names.append(None if depth is None else path.split("/", depth)[-1])
    return names
