"""Formats whose rows hold their photos in Arrow's types: Parquet for TRL, and Lance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, List, Value

from svit_builder.export.items import needed
from svit_datasets.features import features_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from svit_builder.export.items import Item, Plan

__all__ = ["write_lance", "write_trl"]

_TOGETHER = 32  # rows of a row group, and of what is in memory, at most
_BYTES = 8 << 20  # of their photos; more where one has more
_TRL = Features(
    {
        "messages": List(
            {"role": Value("string"), "content": List({"type": Value("string"), "text": Value("string")})}
        ),
        "images": List(Image(mode="RGB")),
    }
)


def write_trl(items: Iterable[Item], folder: Path, split: str, plan: Plan) -> None:
    """Write ``data/SPLIT-00000-of-000NN.parquet``, which ``load_dataset(OUT)`` gives to TRL's SFTTrainer as it is."""
    target = folder / "data"
    target.mkdir(exist_ok=True)
    schema = _TRL.arrow_schema
    paths: list[Path] = []
    writer: pq.ParquetWriter | None = None
    size = 0
    for rows in _batches(_trl_rows(items, plan), _trl_size, min(_BYTES, plan.shard_bytes)):
        if writer is None or size >= plan.shard_bytes:
            if writer is not None:
                writer.close()
            paths.append(target / f"{split}-{len(paths):05}")
            writer, size = pq.ParquetWriter(paths[-1], schema, compression="zstd"), 0
        writer.write_table(pa.Table.from_pylist(rows, schema))
        size += sum(map(_trl_size, rows))
        plan.written += len(rows)
    if writer is not None:
        writer.close()
    for path in paths:
        path.rename(path.with_name(f"{path.name}-of-{len(paths):05}.parquet"))


def _trl_rows(items: Iterable[Item], plan: Plan) -> Iterator[dict[str, Any]]:
    for item, chat in plan.said(items, "trl"):
        plan.photos += item.image_name is not None
        yield {**chat, "images": [{"bytes": image, "path": item.image_name} for image in chat["images"]]}


def _trl_size(row: dict[str, Any]) -> int:
    return sum(len(image["bytes"]) for image in row["images"])


def write_lance(items: Iterable[Item], folder: Path, split: str, plan: Plan) -> None:
    """Write the dataset ``SPLIT.lance``: the columns as they are, ``image`` as the bytes of its file.

    Raises:
        MissingDependency: Lance is not installed.
    """
    lance = needed("lance", "pip install pylance")
    schema = features_of(plan.task, "image").arrow_schema.remove_metadata()
    at = schema.get_field_index("image")
    schema = schema.set(at, pa.field("image", pa.binary()))

    def batches() -> Iterator[pa.RecordBatch]:
        for some in _batches(items, lambda item: len(item.row["image"] or b""), _BYTES):
            plan.photos += sum(item.image_name is not None for item in some)
            plan.written += len(some)
            yield pa.RecordBatch.from_pylist([item.row for item in some], schema)

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    lance.write_dataset(reader, str(folder / f"{split}.lance"), max_bytes_per_file=plan.shard_bytes)


def _batches(values: Iterable[Any], size_of: Callable[[Any], int], most: int) -> Iterator[list[Any]]:
    """Yield values together, 32 or as many as have ``most`` bytes."""
    some: list[Any] = []
    size = 0
    for value in values:
        some.append(value)
        size += size_of(value)
        if len(some) == _TOGETHER or size >= most:
            yield some
            some, size = [], 0
    if some:
        yield some
