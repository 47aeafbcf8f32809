"""mosaicml-streaming: MDS shards over S3, which is what it reads remotely besides other clouds; plain http it does not.

An S3 client's GET and HEAD, path style, are plain http, so the loopback server serves them like everything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.streaming.peers.source import BATCH, pixels, samples, save, saved, tensor
from tests.benchmarks.timing import main

if TYPE_CHECKING:
    from tests.benchmarks.timing import Items


def convert(setting: dict[str, Any]) -> Items:
    """Write MDS shards of its default size, 64 MB."""
    with _streaming().MDSWriter(
        out=setting["out"], columns={"image_id": "int", "image": "bytes", "conversations": "str"}
    ) as out:
        for image_id, data, text in samples(setting["folder"]):
            out.write({"image_id": image_id, "image": data, "conversations": text})
            yield image_id


def decoded(setting: dict[str, Any]) -> Items:
    """Photos by Pillow."""
    for row in _rows(setting):
        pixels(row["image"])
        yield int(row["image_id"])


def undecoded(setting: dict[str, Any]) -> Items:
    """The photos' bytes."""
    for row in _rows(setting):
        assert row["image"][:2] == b"\xff\xd8"
        yield int(row["image_id"])


def delivered(setting: dict[str, Any]) -> Items:
    """In its StreamingDataLoader; workers decode and send tensors."""

    class Decoded(_streaming().StreamingDataset):
        def __getitem__(self, at: Any) -> Any:
            row = super().__getitem__(at)
            return {**row, "image": tensor(pixels(row["image"]))}

    for batch in _loader(Decoded(**_options(setting)), setting["workers"]):
        assert all(image.shape[2] == 3 for image in batch["image"])
        yield from map(int, batch["image_id"])


def resumed(setting: dict[str, Any]) -> Items:
    """Shuffled, in its StreamingDataLoader: go on from the state that is there; after `stop` rows leave one."""
    loader = _loader(_rows(setting, shuffle=True), 1)
    if (state := saved(setting["state"])) is not None:
        loader.load_state_dict(state)
    number = 0
    for batch in loader:
        number += len(batch["image_id"])
        yield from map(int, batch["image_id"])
        if number == setting["stop"]:
            save(setting["state"], loader.state_dict())
            return


def _streaming() -> Any:
    """Import the library, which imports torchvision and uses nothing of it here.

    Where torch was built without CUDA and torchvision with it, torchvision does not import, because the operators of
    its compiled part are missing; declaring two of them is enough.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
    import streaming

    return streaming


def _rows(setting: dict[str, Any], **options: Any) -> Any:
    return _streaming().StreamingDataset(**_options(setting), **options)


def _loader(rows: Any, workers: int) -> Any:
    return _streaming().StreamingDataLoader(rows, batch_size=BATCH, num_workers=workers, collate_fn=_columns)


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A batch as its loader wants it: it counts the rows it gave, for its state, by the length of a column."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def _options(setting: dict[str, Any]) -> dict[str, Any]:
    return {"remote": setting["s3"], "local": str(Path(setting["scratch"]) / "mds"), "batch_size": BATCH}


if __name__ == "__main__":
    main([convert, decoded, undecoded, delivered, resumed])
