"""A count in, a corpus out that weighs what Visual Genome and SVIT weigh: photos in two zips, text in a third.

Photos are crops of noise that falls off with frequency as in real scenes (1/f), so a JPEG of 500x375 has about 85 KB
and costs a decoder what a photo does. The same count gives the same files; a finished folder is taken as it is. Nothing
here is real: no photo and no sentence comes from either data set.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from svit_datasets.located import vg_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

VERSION = 1  # raise it when anything below makes other files
QAS = 15  # an image, as in complex_reasoning
ZIPS = {"VG_100K": "images.zip", "VG_100K_2": "images2.zip"}

_SIZES = (((500, 375), 62), ((375, 500), 22), ((500, 333), 11), ((640, 480), 5))  # (width, height) in pixels, percent
_FIELD = 1024  # pixels; edge of the noise that photos are cut from
_FIELDS = 12  # of them
_WORDS = ["the", "of", "a", "on", "in", "red", "dog", "table", "near", "left", "woman", "window", "holding", "because"]
_WORDS += [
    "light",
    "street",
    "small",
    "under",
    "wooden",
    "sky",
    "behind",
    "grass",
    "probably",
    "two",
    "sitting",
    "plate",
]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A finished folder: ``data/complex_reasoning.zip``, and ``raw/`` with the two zips of photos."""

    folder: Path
    names: tuple[str, ...]  # "VG_100K/2.jpg"; in the order of the JSON, which is not the order of the zips
    photo_bytes: int  # of all photos together

    def member_url(self, root: str, name: str) -> str:
        """What fsspec calls a photo in its zip under `root`."""
        return f"zip://{name}::{root}/raw/{ZIPS[name.partition('/')[0]]}"


def corpus(home: Path, images: int) -> Corpus:
    """The corpus of that many photos under `home`; made now if it is not there."""
    folder = home / f"corpus-{VERSION}-{images}"
    listing = folder / "listing.json"  # written last
    if not listing.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("data", "raw"):
            (folder / name).mkdir(parents=True)
        ids = _ids(images)
        photo_bytes = _write_photos(folder / "raw", ids)
        random.Random("json order").shuffle(ids)
        with zipfile.ZipFile(folder / "data" / "complex_reasoning.zip", "w") as archive:
            member = zipfile.ZipInfo("complex_reasoning.json")  # with a fixed date, as all members here
            archive.writestr(member, "".join(_json(ids)), zipfile.ZIP_DEFLATED)
        names = [f"{vg_folder(image_id)}/{image_id}.jpg" for image_id in ids]
        listing.write_text(json.dumps({"names": names, "photo_bytes": photo_bytes}), "utf-8")
    found = json.loads(listing.read_text("utf-8"))
    return Corpus(folder, tuple(found["names"]), found["photo_bytes"])


def json_array(home: Path, megabytes: int) -> Path:
    """A JSON array in SVIT form of at least that size, alone in a file; made now if it is not there."""
    path = home / f"array-{VERSION}-{megabytes}.json"
    if not path.is_file():
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("w", encoding="utf-8") as out:
            for piece in _json(range(1, 1 << 40)):
                if out.tell() >= megabytes * 1_000_000 and piece.startswith(","):
                    break
                out.write(piece)
            out.write("]")
        unfinished.rename(path)
    return path


def _ids(images: int) -> list[int]:
    """Visual Genome ids of both folders, three of five in the first, as they lie in the zips: in no order."""
    chance = np.random.default_rng(1)
    most = 40_000  # of the second; there are 40,617 numbers
    first = chance.choice(np.arange(61_511, 2_377_381), max(images * 3 // 5, images - most), replace=False)
    second = chance.choice(np.arange(2_377_381, 2_417_998), images - len(first), replace=False)
    return [int(image_id) for image_id in np.concatenate([first, second])]


def _write_photos(raw: Path, ids: list[int]) -> int:
    total = 0
    fields = [_noise(seed) for seed in range(_FIELDS)]
    with (
        zipfile.ZipFile(raw / "images.zip", "w", zipfile.ZIP_STORED) as first,
        zipfile.ZipFile(raw / "images2.zip", "w", zipfile.ZIP_STORED) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        for image_id, data in zip(ids, pool.map(lambda image_id: _photo(image_id, fields), ids), strict=True):
            folder = vg_folder(image_id)
            (first if folder == "VG_100K" else second).writestr(zipfile.ZipInfo(f"{folder}/{image_id}.jpg"), data)
            total += len(data)
    return total


def _noise(seed: int) -> np.ndarray:
    """A colour picture, uint8, whose spectrum falls as 1/f; the three channels agree mostly, as colours do."""
    chance = np.random.default_rng(seed)
    across, down = np.fft.rfftfreq(_FIELD), np.fft.fftfreq(_FIELD)
    falling = 1 / np.maximum(np.hypot(across[None, :], down[:, None]), 1 / _FIELD)
    layers = [np.fft.irfft2(np.fft.rfft2(chance.normal(size=(_FIELD, _FIELD))) * falling) for _ in range(4)]
    grey, *tints = ((layer - layer.mean()) / layer.std() for layer in layers)
    channels = [128 + 34 * grey + 8 * tint for tint in tints]
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def _photo(image_id: int, fields: list[np.ndarray]) -> bytes:
    chance = random.Random(image_id)
    width, height = chance.choices([size for size, _ in _SIZES], [share for _, share in _SIZES])[0]
    left, top = chance.randrange(_FIELD - width), chance.randrange(_FIELD - height)
    pixels = chance.choice(fields)[top : top + height, left : left + width]
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=chance.choice([85, 87, 90]))
    return out.getvalue()


def _json(ids: Iterable[int]) -> Iterator[str]:
    """An array in pieces: a record an image, 15 QAs each, about 4.8 KB."""
    chance = random.Random("text")
    sentences = [" ".join(chance.choices(_WORDS, k=chance.randrange(8, 24))) for _ in range(500)]
    turn = '{{"content":[{{"from":"user","value":"{}?"}},{{"from":"gpt","value":"{}. {}."}}]}}'
    for number, image_id in enumerate(ids):
        qas = ",".join(turn.format(*chance.choices(sentences, k=3)) for _ in range(QAS))
        yield f'{"," if number else "["}{{"image_id":{image_id},"conversations":[{qas}]}}'
    yield "]"
