"""Places with photos, and where in them each photo's bytes are: plain columns, small to pickle, quick to slice.

`images` fills them in; `plan`, `join` and their neighbours read them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from svit_datasets.columns import integers
from svit_datasets.storage import ByteRange

__all__ = ["Ids", "ImageSource", "Located", "vg_folder"]

Ids = np.ndarray[Any, np.dtype[np.int64]]

_STRAYS = frozenset({209, 231, 238, 247, 257, 268, 276, 277, 280, 298, 1988, 1990, 2187, 2194, 2579})


def vg_folder(image_id: int) -> Literal["VG_100K", "VG_100K_2"]:
    """Return the folder of Visual Genome's distribution that holds a photo; right for all 108,077 (measured)."""
    return "VG_100K" if 2 <= image_id <= 50 or 61511 <= image_id <= 2377380 or image_id in _STRAYS else "VG_100K_2"


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One place with photos."""

    kind: Literal["folder", "zip", "template"]
    urls: tuple[str, ...]  # of the folder or the zip; of a template all places to try, each to be filled in
    fingerprint: str = ""  # of a zip, or of a folder's listing
    size: int | None = None  # bytes, of a zip that was looked at when it was found: it is not asked again
    local: bool = False  # its photos are files of this machine, which can be referenced by path
    origin: bool = False  # asked only because nothing of the user's had the photo

    @property
    def by(self) -> str:
        """What a template is filled in with."""
        return next(key for key in ("image_id", "coco_id", "path") if f"{{{key}}}" in self.urls[0])

    def filled_in(self, name: str) -> tuple[str, ...]:
        """Return the URLs a template stands for; both folders of Visual Genome where it names one."""
        urls: list[str] = []
        for url in self.urls:
            folders = ["VG_100K", "VG_100K_2"] if "{folder}" in url else [""]
            if folders[1:] and vg_folder(int(name)) == "VG_100K_2":
                folders.reverse()
            urls.extend(url.replace("{folder}", folder).replace(f"{{{self.by}}}", name) for folder in folders)
        return tuple(urls)


@dataclass(frozen=True)
class Located:
    """Where n photos are, as columns: small to pickle, quick to slice."""

    sources: tuple[ImageSource, ...]
    source: np.ndarray[Any, np.dtype[np.int16]]  # (n,) position in sources; -1: nowhere
    name: pa.StringArray  # (n,) a folder's file, a zip's member, what a template is filled in with; "" where nowhere
    entry: dict[str, Ids]  # (n,) each: start, stop, size, method, crc of zips.DIRECTORY; 0 for what is no zip's member
    note: str = ""  # why a place could not be asked

    def __len__(self) -> int:
        """Return the number of photos asked for, found or not."""
        return len(self.source)

    def byte_range(self, index: int) -> ByteRange:
        """Return what to read for photo ``index``, which must have been found."""
        source, name = self.sources[self.source[index]], self.name[index].as_py()
        if source.kind == "folder":
            return ByteRange(f"{source.urls[0]}/{name}")
        if source.kind == "template":
            urls = source.filled_in(name)
            return ByteRange(urls[0], alternates=urls[1:])
        start, stop = int(self.entry["start"][index]), int(self.entry["stop"][index])
        return ByteRange(source.urls[0], start, stop, source.fingerprint)

    def label(self, index: int) -> str:
        """Return what errors call photo ``index``."""
        source = self.sources[self.source[index]]
        url = self.byte_range(index).url
        return f"{url}::{self.name[index].as_py()}" if source.kind == "zip" else url

    def take(self, rows: Ids) -> Located:
        """Return the same for some of the photos, in the order asked for."""
        entry = {name: column[rows] for name, column in self.entry.items()}
        return replace(self, source=self.source[rows], name=self.name.take(integers(rows, pa.int64())), entry=entry)
