"""`datasets` alone: rows whose photo is a path into the zip over http, and Parquet, both streaming.

Ways from its documentation: decoding threads for remote media, `reshard` for many small row groups, `state_dict`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.streaming.peers.source import BATCH, loaded, samples, save, saved, tensor
from tests.benchmarks.timing import main

if TYPE_CHECKING:
    from tests.benchmarks.timing import Items

_FILES = 4
_BUFFER = 100  # rows that shuffle mixes among; the default of 1,000 loses more of them


def convert(setting: dict[str, Any]) -> Items:
    """Write Parquet in `files`, as `to_parquet` does it, or with `group` rows a row group; and the rows of paths."""
    from datasets import Dataset, Features, Image, Value

    features = Features({"image_id": Value("int64"), "image": Image(), "conversations": Value("string")})
    rows = list(samples(setting["folder"]))
    out = Path(setting["out"])
    size = -(-len(rows) // _FILES)
    for number in range(_FILES):
        part = rows[number * size : (number + 1) * size]
        columns = {
            "image_id": [image_id for image_id, _, _ in part],
            "image": [{"bytes": data, "path": None} for _, data, _ in part],
            "conversations": [text for _, _, text in part],
        }
        made = Dataset.from_dict(columns, features=features)
        made.to_parquet(out / f"train-{number:05}-of-{_FILES:05}.parquet", batch_size=setting.get("group"))
        yield from columns["image_id"]


def convert_paths(setting: dict[str, Any]) -> Items:
    """Write a line of JSON a row: what `datasets` needs to find each photo in the zips by itself."""
    urls = dict(zip(setting["ids"], setting["urls"], strict=True))
    with (Path(setting["out"]) / "rows.jsonl").open("w", encoding="utf-8") as out:
        for image_id, _, text in samples(setting["folder"]):
            row = {"image_id": image_id, "image": urls[image_id], "conversations": text}
            out.write(json.dumps(row) + "\n")
            yield image_id


def zip_decoded(setting: dict[str, Any]) -> Items:
    """Paths into the zip, 32 photos at a time."""
    import datasets

    features = datasets.Features(
        {
            "image_id": datasets.Value("int64"),
            "image": datasets.Image(),
            "conversations": datasets.Value("string"),
        }
    )
    rows = datasets.load_dataset("json", data_files=setting["rows"], split="train", streaming=True, features=features)
    for row in rows.decode(num_threads=32):
        loaded(row["image"])
        yield row["image_id"]


def decoded(setting: dict[str, Any]) -> Items:
    """Parquet, decoded where it is read, or in `threads`."""
    rows = _parquet(setting)
    if setting.get("threads"):
        rows = rows.decode(num_threads=setting["threads"])
    for row in rows:
        loaded(row["image"])
        yield row["image_id"]


def undecoded(setting: dict[str, Any]) -> Items:
    """Parquet, the photos' bytes."""
    for row in _bytes(_parquet(setting)):
        assert row["image"]["bytes"][:2] == b"\xff\xd8"
        yield row["image_id"]


def delivered(setting: dict[str, Any]) -> Items:
    """Parquet in torch's DataLoader; workers decode and send tensors."""
    from torch.utils.data import DataLoader

    rows = _parquet(setting).map(lambda row: {**row, "image": tensor(row["image"])})
    for batch in DataLoader(rows, batch_size=BATCH, num_workers=setting["workers"], collate_fn=list):
        for row in batch:
            assert row["image"].shape[2] == 3
            yield row["image_id"]


def resumed(setting: dict[str, Any]) -> Items:
    """Parquet, shuffled: go on from the state that is there; after `stop` rows leave one."""
    rows = _bytes(_parquet(setting)).shuffle(seed=0, buffer_size=_BUFFER)
    if (state := saved(setting["state"])) is not None:
        rows.load_state_dict(state)
    for number, row in enumerate(rows, 1):
        yield row["image_id"]
        if number == setting["stop"]:
            save(setting["state"], rows.state_dict())
            return


def _parquet(setting: dict[str, Any]) -> Any:
    import datasets

    urls = [f"{setting['at']}/train-{number:05}-of-{_FILES:05}.parquet" for number in range(_FILES)]
    rows = datasets.load_dataset("parquet", data_files=urls, split="train", streaming=True)
    return rows.reshard() if setting.get("reshard") else rows


def _bytes(rows: Any) -> Any:
    import datasets

    return rows.cast_column("image", datasets.Image(decode=False))


if __name__ == "__main__":
    main([convert, convert_paths, zip_decoded, decoded, undecoded, delivered, resumed])
