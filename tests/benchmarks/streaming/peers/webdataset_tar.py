"""webdataset: tar files over http through curl, its own way of reading a URL. It has no state to resume from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.streaming.peers.source import BATCH, loaded, samples, tensor
from tests.benchmarks.timing import main

if TYPE_CHECKING:
    from tests.benchmarks.timing import Items

_FILES = 8


def convert(setting: dict[str, Any]) -> Items:
    """Write tar files: a .jpg and a .json a row."""
    import webdataset

    pattern = str(Path(setting["out"]) / "%05d.tar")
    with webdataset.ShardWriter(pattern, maxcount=-(-setting["images"] // _FILES), verbose=0) as out:
        for image_id, data, text in samples(setting["folder"]):
            out.write({"__key__": str(image_id), "jpg": data, "json": json.loads(text)})
            yield image_id


def decoded(setting: dict[str, Any]) -> Items:
    """Photos by Pillow, text by json."""
    for row in _rows(setting).decode("pilrgb"):
        loaded(row["jpg"])
        yield int(row["__key__"])


def undecoded(setting: dict[str, Any]) -> Items:
    """The photos' bytes and the text's."""
    for row in _rows(setting):
        assert row["jpg"][:2] == b"\xff\xd8"
        yield int(row["__key__"])


def delivered(setting: dict[str, Any]) -> Items:
    """In its WebLoader; workers decode and send batches of tensors."""
    import webdataset

    rows = _rows(setting).decode("pilrgb").map_dict(jpg=tensor).batched(BATCH, collation_fn=list)
    for batch in webdataset.WebLoader(rows, batch_size=None, num_workers=setting["workers"]):
        for row in batch:
            assert row["jpg"].shape[2] == 3
            yield int(row["__key__"])


def _rows(setting: dict[str, Any]) -> Any:
    import webdataset

    return webdataset.WebDataset(f"{setting['at']}/{{00000..{_FILES - 1:05}}}.tar", shardshuffle=False)


if __name__ == "__main__":
    main([convert, decoded, undecoded, delivered])
