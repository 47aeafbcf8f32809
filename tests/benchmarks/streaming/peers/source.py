"""The corpus as every peer gets it to convert: rows in the order of the JSON, each a photo's bytes and its text.

Standard library alone. Beside it, what all of them do alike: a photo's pixels, and a checkpoint on disk.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 32  # rows a DataLoader puts together


def samples(folder: str) -> Iterator[tuple[int, bytes, str]]:
    """Yield (image id, JPEG, JSON of the record) of a corpus."""
    raw = Path(folder) / "raw"
    with zipfile.ZipFile(Path(folder) / "data" / "complex_reasoning.zip") as text:
        records = json.loads(text.read("complex_reasoning.json"))
    with zipfile.ZipFile(raw / "images.zip") as first, zipfile.ZipFile(raw / "images2.zip") as second:
        places = {int(Path(name).stem): (archive, name) for archive in (first, second) for name in archive.namelist()}
        for record in records:
            archive, name = places[record["image_id"]]
            yield record["image_id"], archive.read(name), json.dumps(record["conversations"])


def pixels(data: bytes) -> Any:
    """A photo's bytes as a loaded PIL image, RGB."""
    from PIL import Image

    return loaded(Image.open(io.BytesIO(data)))


def loaded(image: Any) -> Any:
    """A PIL image with its pixels, RGB; loads them where they are not yet."""
    image = image.convert("RGB") if image.mode != "RGB" else image
    image.load()
    return image


def tensor(image: Any) -> Any:
    """A PIL image as a torch tensor (height, width, 3), uint8: torch ships it between processes by shared memory."""
    import numpy as np
    import torch

    return torch.from_numpy(np.array(loaded(image)))


def saved(path: str) -> Any:
    """The state that an earlier process left, or None."""
    file = Path(path)
    return json.loads(file.read_text("utf-8")) if file.is_file() else None


def save(path: str, state: Any) -> None:
    """Leave a state to the next process."""
    Path(path).write_text(json.dumps(state), "utf-8")
