"""The tables of one place joined: an `Annotated` a photo, in ascending order, any photo at random.

Sizes come from image_data, or from who knows them better; captions by the photo's COCO id. Here boxes become shares of
the photo and are cut at its border. What a model is told of them is decided in `svit_builder.generate.context`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.annotations.files import COCO, VG, find_sources
from svit_builder.annotations.table import Table, open_image_data, open_table
from svit_builder.generate.protocol import Annotated, Object, Region
from svit_datasets.boxes import Box
from svit_datasets.cache import cache_root
from svit_datasets.storage import Storage

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from svit_builder.annotations.files import Source
    from svit_builder.annotations.parse import Sizes

__all__ = ["Annotations", "open_annotations"]

_AT_ONCE = ("objects", "region_descriptions", *COCO)  # the others only where a photo has no region
_CHUNK = 64  # photos that are read together

_Found = dict[int, tuple[list[str], list[float]]]


def open_annotations(
    place: str | os.PathLike[str],
    *,
    sizes: Mapping[int, tuple[int, int]] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Annotations:
    """Open the annotation files of a place; parse those that were not parsed before, once.

    Needed are ``image_data`` and ``objects`` of Visual Genome; used where they are there are ``region_descriptions``,
    COCO's ``captions_*`` and ``instances_*`` (2014 and 2017, train and val), and, for photos that have no region,
    ``attributes`` and ``relationships``. Each is read as .json, .json.zip or .json.gz, versioned names such as
    ``objects_v1_2_0.json.zip`` too; or out of an ``annotations*.zip``. The first call takes 9 s of CPU for the 418 MB
    of all objects (measured, 56 MB of memory, 109 MB of cache), later ones 0.03 s; a photo at random then takes 0.4 ms.

    Args:
        place: a folder, a zip or a URL of either; searched in it are also raw/annotations, vg, coco and the like.
        sizes: width and height in pixels of decoded photos, by Visual Genome id: used instead of image_data's, of
            which some are wrong.
        cache_dir: where tables are kept; see `cache_root`.
        token: Hugging Face token for ``hf://``.
        storage_options: fsspec options.

    Raises:
        SourceNotFound: there is no objects or no image_data file; the message lists the accepted names.
        CorruptFile: a file breaks off or is not what its name says; the message names file, record and byte.
        SvitError: a file cannot be read, or the cache not written.
    """
    storage = Storage(storage_options, token=token)
    cache = cache_root(cache_dir)
    sources = find_sources(str(place), storage)
    photos = open_image_data(sources["image_data"][0], storage, cache)
    tables = {kind: tuple(open_table(s, storage, cache) for s in sources.get(kind, ())) for kind in _AT_ONCE}
    return Annotations(sources, tables, photos, dict(sizes or {}), storage, cache)


@dataclass(eq=False)
class Annotations:
    """What people wrote of the photos of Visual Genome. Holds indexes only, about 20 MB for all of it; pickles."""

    sources: dict[str, tuple[Source, ...]] = field(repr=False)
    _tables: dict[str, tuple[Table, ...]] = field(repr=False)
    _photos: Sizes = field(repr=False)  # (4, photos): id, width, height, COCO id
    _sizes: dict[int, tuple[int, int]] = field(repr=False)
    _storage: Storage = field(repr=False)
    _cache: Path = field(repr=False)
    counts: Counter[str] = field(default_factory=Counter)
    """What `read` met since it was opened: ``outside_objects``, ``outside_regions`` (boxes wholly outside the photo),
    ``flat_objects``, ``flat_regions`` (without area), ``repeated_objects``, ``repeated_regions`` (same text and box
    again), ``stand_in_objects`` and ``stand_in_regions`` (photos whose objects come from COCO's instances, whose
    regions come from attributes and relationships) and ``unknown_images`` (ids asked for of which there is nothing)."""

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """The URLs of the files in use, by kind, in the order in which they are asked; kinds that are missing: ()."""
        return {kind: tuple(source.url for source in self.sources.get(kind, ())) for kind in (*VG, *COCO)}

    @property
    def version(self) -> str:
        """The version of Visual Genome's objects as the file's name or folder tells it, "1.2.0"; else "unknown"."""
        return self.sources["objects"][0].version or "unknown"

    @property
    def left_out(self) -> dict[str, dict[str, int]]:
        """What could not be used, by file and kind of fault; ``remarks`` of a table's manifest has the first few."""
        tables = [table for tables in self._tables.values() for table in tables]
        return {t.manifest["source"]["info"]["url"]: t.manifest["left_out"] for t in tables if t.manifest["left_out"]}

    @cached_property
    def image_ids(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The ids of photos with a known size of which objects, regions or COCO tell anything: int64, ascending."""
        ids, width, height, coco = self._photos
        sized = (width > 0) & (height > 0) | np.isin(ids, np.fromiter(self._sizes, dtype=np.int64))
        told = np.zeros(len(ids), dtype=bool)
        for kind in _AT_ONCE:
            for table in self._tables[kind]:
                told |= np.isin(coco if kind in COCO else ids, table.keys)
        others = np.setdiff1d(np.fromiter(self._sizes, dtype=np.int64), ids)  # not in image_data
        own = [table.keys for table in self._tables["objects"] + self._tables["region_descriptions"]]
        return np.union1d(ids[sized & told], others[np.isin(others, np.concatenate(own))])

    def coco_ids(self, image_ids: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the MS-COCO id of each photo, int64; -1 where it has none or is not known."""
        known, _, _, coco = self._photos
        if not len(known):
            return np.full(len(image_ids), -1, dtype=np.int64)
        at = np.searchsorted(known, image_ids).clip(max=len(known) - 1)
        return np.where((known[at] == image_ids) & (coco[at] > 0), coco[at], -1)

    def coco_files(self) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.int64]]]]:
        """Yield the name of each file of captions or instances, and the MS-COCO ids that it tells of, int64."""
        for kind in COCO:
            for table in self._tables.get(kind, ()):
                source = table.manifest["source"]
                yield source.get("member") or source["info"]["url"].rsplit("/", 1)[-1], table.keys

    def read(self, image_ids: Iterable[int] | None = None) -> Iterator[Annotated]:
        """Yield what is written of photos, in ascending order of their ids, each once.

        Lazy: reads 64 photos at a time. Boxes are shares of the photo, cut at its border; those that lie wholly outside
        or have no area are left out. Texts keep their words and case; white space is collapsed. A name is the first
        that the annotator gave. Safe to call several times, not to share an iterator between threads.

        Args:
            image_ids: Visual Genome ids; None: all of ``image_ids``. Those of which nothing is known are left out.
        """
        wanted = self.image_ids
        if image_ids is not None:
            asked = np.unique(np.array(list(image_ids), dtype=np.int64))
            wanted = asked[np.isin(asked, self.image_ids)]
            self.counts.update(["unknown_images"] * (len(asked) - len(wanted)))
        for start in range(0, len(wanted), _CHUNK):
            yield from self._read_chunk(wanted[start : start + _CHUNK].tolist())

    def _read_chunk(self, ids: list[int]) -> Iterator[Annotated]:
        shapes = self._shapes(ids)
        coco_ids = [coco for _, _, coco in shapes.values() if coco is not None]
        objects, regions = self._first("objects", ids), self._first("region_descriptions", ids)
        captions = self._first("captions", coco_ids)
        bare = {i: coco for i in ids if i not in objects and (coco := shapes[i][2]) is not None}
        instances = self._first("instances", list(bare.values()))
        silent = [i for i in ids if i not in regions]
        notes = [self._first(kind, silent) for kind in ("attributes", "relationships")] if silent else []
        for i in ids:
            width, height, coco = shapes[i]
            things = self._boxed(objects.get(i), "objects", width, height)
            if i in bare:
                things = self._boxed(instances.get(bare[i]), "objects", 1, 1)
                self.counts.update(["stand_in_objects"] * bool(things))
            parts = self._boxed(regions.get(i), "regions", width, height)
            if i in silent:
                parts = [part for note in notes for part in self._boxed(note.get(i), "regions", width, height)]
                self.counts.update(["stand_in_regions"] * bool(parts))
            told = captions.get(coco, ([], []))[0] if coco is not None else []
            yield Annotated(
                i,
                width,
                height,
                coco,
                tuple(told),
                tuple(Object(text, box) for text, box in things),
                tuple(Region(text, box) for text, box in parts),
            )

    def _shapes(self, ids: list[int]) -> dict[int, tuple[int, int, int | None]]:
        """Return width, height and COCO id of each photo."""
        known, width, height, coco = self._photos
        shapes = {}
        for i, at in zip(ids, np.searchsorted(known, ids).tolist(), strict=True):
            listed = at < len(known) and known[at] == i
            size = self._sizes.get(i) or (int(width[at]), int(height[at]))
            shapes[i] = (*size, int(coco[at]) if listed and coco[at] > 0 else None)
        return shapes

    def _first(self, kind: str, keys: list[int]) -> _Found:
        """Return what the files of a kind say of each key: what the first of them says that says anything."""
        if not keys or kind not in self.sources:
            return {}
        if kind not in self._tables:
            self._tables[kind] = tuple(open_table(s, self._storage, self._cache) for s in self.sources[kind])
        found: _Found = {}
        for table in reversed(self._tables[kind]):
            found |= {key: told for key, told in table.read(keys).items() if told[0]}
        return found

    def _boxed(
        self, told: tuple[list[str], list[float]] | None, what: str, width: int, height: int
    ) -> list[tuple[str, Box]]:
        """Return each text with its box in shares of the photo, cut at its border."""
        if told is None:
            return []
        texts, numbers = told
        found: dict[tuple[str, Box], None] = {}
        sides = iter(numbers)
        for text, x, y, w, h in zip(texts, sides, sides, sides, sides, strict=True):
            x1, y1 = max(x / width, 0.0), max(y / height, 0.0)
            x2, y2 = min((x + w) / width, 1.0), min((y + h) / height, 1.0)
            if x1 >= x2 or y1 >= y2:
                self.counts[f"flat_{what}" if not w or not h else f"outside_{what}"] += 1
            elif (one := (text, Box(x1, y1, x2, y2))) in found:
                self.counts[f"repeated_{what}"] += 1
            else:
                found[one] = None
        return list(found)
