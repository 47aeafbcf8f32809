"""Visual Genome's own table of its photos in, the COCO id of each out."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.cache import write_atomically
from svit_datasets.errors import CorruptFile
from svit_datasets.json_stream import iter_items
from svit_datasets.sources import find_file, open_text, upstream

if TYPE_CHECKING:
    from pathlib import Path

    from svit_datasets.storage import FileInfo, Storage

__all__ = ["CocoIds"]

_NAMES = [
    f"{folder}image_data.json{ending}"
    for ending in ("", ".zip")
    for folder in ("raw/annotations/", "annotations/", "raw/", "")
]
Ids = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class CocoIds:
    """Looks COCO ids up in image_data.json: under ``data_dir``, else at its origin; read once, kept in the cache."""

    data_dir: str | None
    storage: Storage
    cache: Path

    def __call__(self, image_ids: Ids) -> Ids:
        """Return the COCO id of each Visual Genome id, -1 where it has none; int64.

        Raises:
            SvitError: image_data.json cannot be read.
        """
        info = None if self.data_dir is None else find_file(_NAMES, self.data_dir, self.storage)
        info = info or self.storage.stat(upstream()["image_data"].url)
        key = hashlib.sha256(f"{info.url}\0{info.size}\0{info.fingerprint}".encode()).hexdigest()[:16]
        kept = self.cache / "vg" / f"coco-ids-{key}.npy"
        if not kept.is_file():
            buffer = io.BytesIO()
            np.save(buffer, _read(info, self.storage), allow_pickle=False)
            write_atomically(kept, buffer.getvalue())
        known, coco = np.load(kept, allow_pickle=False)
        at = np.searchsorted(known, image_ids).clip(max=len(known) - 1)
        return np.where(known[at] == image_ids, coco[at], -1) if len(known) else np.full(len(image_ids), -1)


def _read(info: FileInfo, storage: Storage) -> Ids:
    """Return (2, photos): Visual Genome ids, ascending, and their COCO ids; null, 0 and -1 all mean none."""
    pairs = []
    with open_text(info, storage) as (stream, name, _):
        for number, item, where in iter_items(stream, name):
            image_id = item.get("image_id", item.get("id")) if isinstance(item, dict) else None
            if not isinstance(image_id, int):
                raise CorruptFile(
                    f"{name}, record {number}, byte {where()}: no image_id. Is this Visual Genome's file?"
                )
            coco_id = item.get("coco_id")
            pairs.append((image_id, coco_id if isinstance(coco_id, int) and coco_id > 0 else -1))
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
