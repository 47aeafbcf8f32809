"""Chosen samples in, their conversations as SVIT JSON out, with a table of what was chosen for what."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from svit_builder.svit_json import SvitWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from svit_builder.data import Data
    from svit_builder.select.concepts import Concepts
    from svit_builder.select.greedy import Chosen
    from svit_builder.select.samples import Numbers, Samples
    from svit_datasets.rows import Row

__all__ = ["MANIFEST", "TABLE", "digest_of", "write_chosen"]

MANIFEST = "select.json"
TABLE = "selection.parquet"
_ROLES = {"user": "user", "assistant": "gpt"}
_RUN = 512  # rows that are read along rather than skipped


def write_chosen(
    root: Path,
    *,
    datasets: Sequence[Data],
    samples: Samples,
    concepts: Concepts,
    chosen: Chosen,
    scores: Numbers | None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Write a file a configuration and the table, and return the counts and the SHA-256 of each file.

    Conversations stand in the order of the data. A configuration of which nothing was chosen has no file.
    """
    outputs = []
    for number, data in enumerate(datasets):
        path = root / "data" / f"{data.task.name}.json"
        mine = np.sort(chosen.index[samples.config[chosen.index] == number])
        path.unlink(missing_ok=True)
        if not len(mine):
            continue
        with SvitWriter(path) as writer:
            for row, blocks in _rows(data, samples, mine):
                writer.write(row["image_id"], [_as_svit(row["conversations"][block]) for block in blocks])
        outputs.append(path)
    _write_table(root / TABLE, datasets=datasets, samples=samples, concepts=concepts, chosen=chosen, scores=scores)
    outputs.append(root / TABLE)
    digests = {path.relative_to(root).as_posix(): digest_of(path) for path in outputs}
    return _counts(datasets, samples, concepts, chosen), digests


def _rows(data: Data, samples: Samples, mine: Numbers) -> Iterator[tuple[Row, list[int]]]:
    """Yield the rows of some samples in order, each with the positions of its chosen conversations."""
    blocks: dict[int, list[int]] = {}
    for row, block in zip(samples.row[mine].tolist(), samples.block[mine].tolist(), strict=True):
        blocks.setdefault(row, []).append(block)
    wanted = np.array(list(blocks), dtype=np.int64)
    for run in np.split(wanted, np.flatnonzero(np.diff(wanted) > _RUN) + 1):
        for number, row in data.texts(int(run[0]), int(run[-1]) + 1):
            if number in blocks:
                yield row, blocks[number]


def _as_svit(conversation: dict[str, Any]) -> dict[str, Any]:
    content = [{"from": _ROLES[message["role"]], "value": message["content"]} for message in conversation["messages"]]
    return {"topic": conversation["topic"], "content": content}


def _write_table(
    path: Path,
    *,
    datasets: Sequence[Data],
    samples: Samples,
    concepts: Concepts,
    chosen: Chosen,
    scores: Numbers | None,
) -> None:
    index, names = chosen.index, np.array([data.task.name for data in datasets], dtype=object)
    starts, sizes = samples.starts[index], samples.information[index]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    items = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    mentioned = pa.array(list(concepts.names), pa.string()).take(pa.array(samples.indices[items]))
    config = names[samples.config[index]]
    who = zip(samples.image_id[index].tolist(), config.tolist(), samples.number[index].tolist(), strict=True)
    columns = {
        "id": pa.array([f"{image_id}/{task}/{number}" for image_id, task, number in who], pa.string()),
        "config": pa.array(config, pa.string()),
        "image_id": pa.array(samples.image_id[index].astype(np.int64)),
        "gain": pa.array(chosen.gain),
        "concepts": pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), mentioned),
        "score": pa.array(scores[index]) if scores is not None else pa.nulls(len(index), pa.float64()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _counts(datasets: Sequence[Data], samples: Samples, concepts: Concepts, chosen: Chosen) -> dict[str, Any]:
    index = chosen.index
    by_config = Counter(samples.config[index].tolist())
    hits = np.zeros(len(concepts.names), dtype=np.int64)
    for at in index.tolist():
        hits[samples.indices[samples.starts[at] : samples.starts[at + 1]]] += 1
    there = np.bincount(samples.indices, minlength=len(hits))
    return {
        "conversations": len(samples),
        "chosen": len(index),
        "images": len(np.unique(samples.image_id[index])),
        "configs": {data.task.name: by_config[number] for number, data in enumerate(datasets)},
        "concepts": {name: [int(hits[at]), int(there[at])] for at, name in enumerate(concepts.names)},
        "yes": int(samples.yes[index].sum()),
        "no": int(samples.no[index].sum()),
        "without gain": int((chosen.gain == 0).sum()),
        "left": chosen.left,
    }


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
