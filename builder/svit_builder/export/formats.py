"""The formats, in one frozen table: what each is called, who reads it, and the function that writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from svit_builder.export.coco import write_coco
from svit_builder.export.jsons import write_jsonl, write_llava, write_sharegpt
from svit_builder.export.shards import write_litdata, write_mds, write_webdataset
from svit_builder.export.tables import write_lance, write_trl
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from svit_builder.export.items import Item, Plan

__all__ = ["FORMATS", "Format", "get_format"]


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write a dataset."""

    name: str  # as in `svit export --format NAME`
    summary: str  # what there is then and who reads it, one sentence
    write: Callable[
        [Iterable[Item], Path, str, Plan], None
    ]  # the items of a split, into a folder that all splits share
    in_rows: bool = False  # photos are in the records; else in a folder beside them, each once
    boxes: str = "svit"  # the convention that boxes are in, unless the user names one
    only: tuple[str, ...] = ()  # configurations that it is made for; empty: all
    cuts: bool = False  # writes files of about `Plan.shard_bytes`


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("llava", "SPLIT.json and images/, for LLaVA 1.5 and what trains like it.", write_llava, boxes="padded"),
        Format("sharegpt", "SPLIT.json, images/ and dataset_info.json, for LLaMA-Factory.", write_sharegpt),
        Format("trl", "Parquet with messages and images, for TRL's SFTTrainer.", write_trl, in_rows=True, cuts=True),
        Format("jsonl", "SPLIT.jsonl with the columns as they are, and images/.", write_jsonl),
        Format(
            "webdataset", "SPLIT-000000.tar with a .jpg and a .json a row.", write_webdataset, in_rows=True, cuts=True
        ),
        Format("mds", "A folder SPLIT for mosaicml-streaming.", write_mds, in_rows=True, cuts=True),
        Format("litdata", "A folder SPLIT of chunks for litdata.", write_litdata, in_rows=True, cuts=True),
        Format("lance", "A dataset SPLIT.lance.", write_lance, in_rows=True, cuts=True),
        Format(
            "coco",
            "SPLIT.json with a box an annotation, refs_SPLIT.json as RefCOCO has them, and images/.",
            write_coco,
            only=("referring_qa", "all"),
        ),
    )
}


def get_format(name: str) -> Format:
    """Return the format of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in FORMATS:
        raise OptionError(f"format={name!r} is not allowed. Allowed: {', '.join(map(repr, FORMATS))}.")
    return FORMATS[name]
