"""What the user calls ``images=`` in, the places to look for photos out: folders, zips and names to try.

A listable root is looked into where its folders have known names; an http root is asked for known zips, else the names
that photos would have there are tried when they are needed.
"""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from svit_datasets.errors import AccessDenied, OptionError, SourceNotFound
from svit_datasets.located import ImageSource
from svit_datasets.sources import find_file, join_url, upstream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from svit_datasets.storage import FileInfo, Storage

__all__ = ["find_image_sources"]

# Folders that hold photos or folders of photos, in the layouts people have; looked into when they are listed.
_KNOWN = {"raw", "images", "vg", "VG_100K", "VG_100K_2", "coco", "train2017", "val2017", "train2014", "val2014"}
_KNOWN |= {"gqa", "ocr_vqa", "textvqa", "train_images"}
_ZIPS = (
    "images.zip",
    "images2.zip",
    "train2017.zip",
    "val2017.zip",
    "train2014.zip",
    "val2014.zip",
    "train_images.zip",
)
_COCO = re.compile(r"(?:^|/)(train|val)(2014|2017)(?:\.zip)?$")


def find_image_sources(
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None, data_dir: str | None, storage: Storage
) -> tuple[ImageSource, ...]:
    """Return the places to look for photos, in the order they are asked.

    Of the places a user names, those that are mere names to try come last: only a request for a photo tells whether it
    is there, so whatever stood behind them would never be asked.

    Args:
        images: a folder, a zip, a URL template with ``{image_id}`` (and ``{folder}``), or several of them; None: what
            lies under ``data_dir``, then Visual Genome's own two zips, read in place.
        data_dir: the user's folder or URL.
        storage: how files are reached.

    Raises:
        OptionError: ``images`` is empty.
        SourceNotFound: a place the user named is not there, or holds no photos.
        SvitError: as in `Storage.stat`.
    """
    if images is None:
        under = [] if data_dir is None else _discover(join_url(data_dir, ""), storage)
        table = upstream()
        return (*under, *(ImageSource("zip", (table[name].url,), origin=True) for name in ("images", "images2")))
    places = [images] if isinstance(images, str | os.PathLike) else list(images)
    if not places:
        raise OptionError("images=[] names no place. Leave it out to search data_dir and the origin.")
    found: list[ImageSource] = []
    for place in map(str, places):
        if "{image_id}" in place:
            found.append(ImageSource("template", (place,)))
            continue
        url = join_url(place, "")
        sources = [_zip(url, storage)] if url.endswith(".zip") else _discover(url, storage)
        if not sources:
            raise SourceNotFound(
                f"images={place!r}: no photos there. Expected {{image_id}}.jpg, VG_100K/, COCO folders, or their zips."
            )
        found.extend(sources)
    return tuple(sorted(_merged(found), key=lambda source: source.kind == "template"))


def _zip(url: str, storage: Storage) -> ImageSource:
    info = storage.stat(url)
    return ImageSource("zip", (url,), info.fingerprint, info.size)


def _discover(root: str, storage: Storage) -> list[ImageSource]:
    """List a place; Visual Genome's own copies come before COCO's, folders before zips: they can be referenced."""
    found = _listed(root.rstrip("/"), storage, depth=0)
    if found is None:
        return _probe(root.rstrip("/"), storage)
    return sorted(found, key=lambda source: (_COCO.search(source.urls[0]) is not None, source.kind))


def _listed(root: str, storage: Storage, depth: int) -> list[ImageSource] | None:
    names = storage.list(root)
    if names is None:
        return None
    found: list[ImageSource] = []
    if any(name.endswith((".jpg", ".jpeg", ".png")) for name in names):
        listing = hashlib.sha256("\0".join(names).encode()).hexdigest()  # a photo that is added is another source
        found.append(ImageSource("folder", (root,), listing, local="://" not in root))
    for name in names:
        if name in _KNOWN and depth < 4:
            found.extend(_listed(f"{root}/{name}", storage, depth + 1) or [])
        elif name in _ZIPS:
            found.append(_zip(f"{root}/{name}", storage))
    return found


def _probe(root: str, storage: Storage) -> list[ImageSource]:
    """Return what an http folder, which cannot be listed, holds or may hold."""
    if coco := _COCO.search(root):
        stem = f"COCO_{coco[1]}2014_" if coco[2] == "2014" else ""
        return [ImageSource("template", (f"{root}/{stem}{{coco_id}}.jpg",))]
    by_path = ImageSource("template", (f"{root}/{{path}}", f"{root}/raw/{{path}}"))

    def find(name: str) -> FileInfo | None:
        with suppress(AccessDenied):  # a bucket without the right to list refuses what is not there
            return find_file([f"raw/{name}", name], root, storage)
        return None

    with ThreadPoolExecutor(2) as pool:
        infos = [info for info in pool.map(find, ("images.zip", "images2.zip")) if info is not None]
    zips = [ImageSource("zip", (info.url,), info.fingerprint, info.size) for info in infos]
    if zips:
        return [*zips, by_path]
    layouts = ("{folder}/{image_id}.jpg", "vg/{folder}/{image_id}.jpg", "{image_id}.jpg")
    return [ImageSource("template", tuple(f"{root}/{layout}" for layout in layouts)), by_path]


def _merged(sources: list[ImageSource]) -> list[ImageSource]:
    """Make one template of those that are filled in alike: what the first lacks may be at the next."""
    merged: list[ImageSource] = []
    for source in sources:
        same = next((each for each in merged if source.kind == "template" == each.kind and each.by == source.by), None)
        if same is None:
            merged.append(source)
        else:
            merged[merged.index(same)] = ImageSource("template", (*same.urls, *source.urls))
    return merged
