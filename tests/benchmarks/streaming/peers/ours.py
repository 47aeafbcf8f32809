"""`svit_datasets`: the direct reader and `load_dataset`, over the two zips as they are, or over Parquet.

Rows hold the same here as with every peer: a photo and its conversations.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.streaming.peers.source import BATCH, save, saved
from tests.benchmarks.timing import main

if TYPE_CHECKING:
    from tests.benchmarks.timing import Items


def convert(setting: dict[str, Any]) -> Items:
    """Write Parquet by `svit_builder` in a few files, and the list of them, as an http folder cannot be listed."""
    from svit_builder.manifest import write_manifest
    from svit_builder.shards import write_config

    size = sum(file.stat().st_size for file in Path(setting["folder"]).glob("raw/*.zip"))
    options = {"data_dir": setting["folder"], "holdout": None, "shard_bytes": size // 4}
    files = write_config("complex_reasoning", setting["out"], **options)
    write_manifest(setting["out"])
    yield len(files)


def decoded(setting: dict[str, Any]) -> Items:
    """`stream`: PIL images where Pillow decodes, as the peers give; arrays where simplejpeg does."""
    pil = setting["decoder"] == "pillow"
    for row in _stream(setting, decode="pil" if pil else "numpy", decoder=setting["decoder"]):
        size = row["image"].size if pil else row["image"].shape[1::-1]
        assert size == (row["width"], row["height"])
        yield row["image_id"]


def undecoded(setting: dict[str, Any]) -> Items:
    """`stream`, the photos' bytes."""
    for row in _stream(setting, decode=None):
        assert row["image"][:2] == b"\xff\xd8"
        yield row["image_id"]


def delivered(setting: dict[str, Any]) -> Items:
    """`stream` in torch's DataLoader, as docs/streaming.md has it: without workers it decodes in threads."""
    from torch.utils.data import DataLoader

    rows = _stream(setting, decode="numpy", decoder=setting["decoder"])
    for batch in DataLoader(rows, batch_size=BATCH, num_workers=setting["workers"], collate_fn=list):
        for row in batch:
            assert row["image"].shape == (row["height"], row["width"], 3)
            yield row["image_id"]


def resumed(setting: dict[str, Any]) -> Items:
    """`stream`, shuffled: go on from the state that is there; after `stop` rows leave one."""
    rows = _stream(setting, decode=None)
    if (state := saved(setting["state"])) is not None:
        rows.load_state_dict(state)
    for number, row in enumerate(rows, 1):
        yield row["image_id"]
        if number == setting["stop"]:
            save(setting["state"], rows.state_dict())
            return


def load_decoded(setting: dict[str, Any]) -> Items:
    """`load_dataset`, streaming, as the quickstart has it; `threads` of `datasets` decode where they are given."""
    rows = _load(setting)
    if setting.get("threads"):
        rows = rows.decode(num_threads=setting["threads"])
    for row in rows:
        row["image"].load()
        yield row["image_id"]


def load_undecoded(setting: dict[str, Any]) -> Items:
    """`load_dataset`, streaming, the photos' bytes."""
    import datasets

    for row in _load(setting).cast_column("image", datasets.Image(decode=False)):
        assert row["image"]["bytes"][:2] == b"\xff\xd8"
        yield row["image_id"]


def _stream(setting: dict[str, Any], **options: Any) -> Any:
    from svit_datasets import stream

    return stream(
        "complex_reasoning",
        data_dir=setting.get("at", setting["root"]),
        holdout=None,
        order=setting.get("order", "storage"),
        **options,
    )


def _load(setting: dict[str, Any]) -> Any:
    from svit_datasets import load_dataset

    options = {"split": "train", "streaming": True, "data_dir": setting["root"], "holdout": None}
    return load_dataset("svit", "complex_reasoning", **options)


if __name__ == "__main__":
    main([convert, decoded, undecoded, delivered, resumed, load_decoded, load_undecoded])
