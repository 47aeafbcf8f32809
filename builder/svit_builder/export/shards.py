"""Formats whose records are a photo and a JSON text, in shards: WebDataset's tar, MosaicML's MDS, litdata's chunks.

Tar and MDS are written here: the first is a standard, the second is as short as its description. mosaicml-streaming
0.13 cannot be installed beside datasets 5, so its own writer could not be used; its reader reads these files.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from svit_builder.export.items import needed, plain_row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from svit_builder.export.items import Item, Plan

__all__ = ["write_litdata", "write_mds", "write_webdataset"]


def write_webdataset(items: Iterable[Item], folder: Path, split: str, plan: Plan) -> None:
    """Write ``SPLIT-000000.tar`` and so on; a record is ``KEY.jpg`` and ``KEY.json``, KEY its number in eight digits.

    A record without photo has only the second. The ending of the photo is that of its kind.
    """
    archive: tarfile.TarFile | None = None
    number = size = 0
    for item in items:
        if archive is None or size >= plan.shard_bytes:
            if archive is not None:
                archive.close()
            archive = tarfile.open(folder / f"{split}-{number:06}.tar", "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            number, size = number + 1, 0
        key = f"{item.number:08}"
        if item.image_name is not None:
            size += _add(archive, f"{key}.{item.image_name.rpartition('.')[2].lower()}", item.row["image"])
            plan.photos += 1
        size += _add(archive, f"{key}.json", _json(item))
        plan.written += 1
    if archive is not None:
        archive.close()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> int:
    info = tarfile.TarInfo(name)  # without time and owner: the same rows give the same bytes
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
    return 512 + -(-len(data) // 512) * 512


# MDS ------------------------------------------------------------------------------------------------------------------

_COLUMNS = {"id": "str", "image": "bytes", "row": "json"}  # in the order of their names, as the reader wants them


def write_mds(items: Iterable[Item], folder: Path, split: str, plan: Plan) -> None:
    """Write the folder ``SPLIT`` with shards and ``index.json``: columns ``id``, ``image`` and ``row``.

    ``image`` is the bytes of the photo's file, empty where there is none; ``row`` all else, as JSON. The format is that
    of mosaicml-streaming 0.13, streaming/base/format/mds: a shard holds the number of samples, where each begins and
    the last ends, the columns as JSON, then the samples, each with the sizes of its columns first.
    """
    target = folder / split
    target.mkdir()
    shards: list[dict[str, Any]] = []
    with tempfile.TemporaryFile() as samples:  # a shard begins with where each sample is, so these wait here
        sizes: list[int] = []
        size = 0
        for item in items:
            cells = [item.id.encode(), item.row["image"] or b"", _json(item)]
            sample = np.array([len(cell) for cell in cells], "<u4").tobytes() + b"".join(cells)
            if sizes and size + len(sample) > plan.shard_bytes:
                shards.append(_write_mds(target, len(shards), samples, sizes))
                sizes, size = [], 0
            samples.write(sample)
            sizes.append(len(sample))
            size += len(sample)
            plan.photos += item.image_name is not None
            plan.written += 1
        if sizes:
            shards.append(_write_mds(target, len(shards), samples, sizes))
    (target / "index.json").write_text(json.dumps({"version": 2, "shards": shards}, sort_keys=True), "utf-8")


def _write_mds(target: Path, number: int, samples: IO[bytes], sizes: list[int]) -> dict[str, Any]:
    """Write a shard, empty the file of samples, and return what the index says of the shard."""
    config = {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": None,
        "column_names": list(_COLUMNS),
        "column_encodings": list(_COLUMNS.values()),
        "column_sizes": [None] * len(_COLUMNS),
    }
    told = json.dumps(config, sort_keys=True).encode()
    offsets = 4 + 4 * (len(sizes) + 1) + len(told) + np.cumsum([0, *sizes])
    name = f"shard.{number:05}.mds"
    samples.seek(0)
    with (target / name).open("wb") as file:
        file.write(np.array([len(sizes)], "<u4").tobytes() + offsets.astype("<u4").tobytes() + told)
        shutil.copyfileobj(samples, file)
    samples.seek(0)
    samples.truncate()
    raw = {"basename": name, "bytes": int(offsets[-1]), "hashes": {}}
    return {**config, "samples": len(sizes), "raw_data": raw, "zip_data": None}


# litdata --------------------------------------------------------------------------------------------------------------


def write_litdata(items: Iterable[Item], folder: Path, split: str, plan: Plan) -> None:
    """Write the folder ``SPLIT`` with chunks and ``index.json``: ``id``, ``image`` and ``row`` as in `write_mds`.

    Raises:
        MissingDependency: litdata is not installed.
    """
    litdata = needed("litdata.streaming.writer", "pip install litdata torch")
    target = folder / split
    target.mkdir()
    writer = litdata.BinaryWriter(str(target), chunk_bytes=plan.shard_bytes)
    for number, item in enumerate(items):
        writer.add_item(number, {"id": item.id, "image": item.row["image"] or b"", "row": _json(item).decode()})
        plan.photos += item.image_name is not None
        plan.written += 1
    writer.done()
    writer.merge()


def _json(item: Item) -> bytes:
    return json.dumps(plain_row(item), ensure_ascii=False).encode()
