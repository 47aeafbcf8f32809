"""litdata: its chunks over S3, which it reads as it does other clouds; plain http it does not.

An S3 client's GET and HEAD, path style, are plain http, so the loopback server serves them like everything else.
Photos are decoded by Pillow in the dataset's `transform`: litdata's own type for JPEG needs a torchvision that fits
torch's build, and decodes by libjpeg as well.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.streaming.peers.source import BATCH, pixels, samples, save, saved, tensor
from tests.benchmarks.timing import main

if TYPE_CHECKING:
    from tests.benchmarks.timing import Items


def convert(setting: dict[str, Any]) -> Items:
    """Write chunks of the 64 MB that its documentation shows."""
    import litdata

    rows = list(samples(setting["folder"]))
    as_row = functools.partial(_as_row, rows)
    litdata.optimize(as_row, list(range(len(rows))), setting["out"], chunk_bytes="64MB", num_workers=1, verbose=False)
    yield from (image_id for image_id, _, _ in rows)


def decoded(setting: dict[str, Any]) -> Items:
    """Photos by Pillow."""
    for row in _rows(setting, transform=_decode):
        assert row["image"].mode == "RGB"
        yield row["image_id"]


def undecoded(setting: dict[str, Any]) -> Items:
    """The photos' bytes."""
    for row in _rows(setting):
        assert row["image"][:2] == b"\xff\xd8"
        yield row["image_id"]


def delivered(setting: dict[str, Any]) -> Items:
    """In its StreamingDataLoader; workers decode and send tensors."""
    for batch in _loader(setting, _rows(setting, transform=_to_tensor), setting["workers"]):
        for row in batch:
            assert row["image"].shape[2] == 3
            yield row["image_id"]


def resumed(setting: dict[str, Any]) -> Items:
    """Shuffled, in its StreamingDataLoader: go on from the state that is there; after `stop` rows leave one."""
    loader = _loader(setting, _rows(setting, shuffle=True), 1)
    if (state := saved(setting["state"])) is not None:
        loader.load_state_dict(state)
    number = 0
    for batch in loader:
        for row in batch:
            number += 1
            yield row["image_id"]
        if number == setting["stop"]:
            save(setting["state"], loader.state_dict())
            return


def _as_row(rows: list[tuple[int, bytes, str]], number: int) -> dict[str, Any]:
    image_id, data, text = rows[number]
    return {"image_id": image_id, "image": data, "conversations": text}


def _decode(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "image": pixels(row["image"])}


def _to_tensor(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "image": tensor(pixels(row["image"]))}


def _rows(setting: dict[str, Any], **options: Any) -> Any:
    import litdata
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # its client takes https alone, and has no option for it
    return litdata.StreamingDataset(
        setting["s3"],
        cache_dir=str(Path(setting["scratch"]) / "litdata"),
        storage_options={
            "endpoint_url": setting["root"],
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "region_name": "us-east-1",
        },
        **options,
    )


def _loader(setting: dict[str, Any], rows: Any, workers: int) -> Any:
    import litdata

    return litdata.StreamingDataLoader(rows, batch_size=BATCH, num_workers=workers, collate_fn=list)


if __name__ == "__main__":
    main([convert, decoded, undecoded, delivered, resumed])
