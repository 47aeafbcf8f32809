"""Texts in, a few numbers a conversation out: what `greedy` needs to choose among 4.2 million QAs in memory.

A sample is one conversation: a dialogue of five QAs, or one QA with its answer. Some 40 bytes are kept of each, and no
text. Rows are read once, in order, by any number of processes.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from svit_builder.data import Data
    from svit_builder.select.concepts import Concepts

__all__ = ["Samples", "gather", "joined"]

_RANGE = 4096  # rows that a process takes at a time
_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)

Numbers = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Samples:
    """n conversations, in the order of the data; (n,) each unless said otherwise."""

    config: Numbers  # uint8, position in the list of configurations
    row: Numbers  # uint32, of its configuration's `Data`
    block: Numbers  # uint16, position among the row's conversations
    number: Numbers  # uint16, in its name IMAGE/TASK/NUMBER
    image_id: Numbers  # int32
    words: Numbers  # uint32, of its answers
    yes: Numbers  # uint8, answers that begin with yes
    no: Numbers  # uint8
    starts: Numbers  # (n + 1,) int64; sample i mentions the concepts indices[starts[i]:starts[i + 1]]
    indices: Numbers  # uint16, ascending within a sample

    def __len__(self) -> int:
        """Return n."""
        return len(self.row)

    @property
    def information(self) -> Numbers:
        """How many concepts each sample mentions, (n,) int64."""
        return np.diff(self.starts)


_TYPES = {
    "config": "B",
    "row": "I",
    "block": "H",
    "number": "H",
    "image_id": "i",
    "words": "I",
    "yes": "B",
    "no": "B",
}


def gather(
    datasets: Sequence[Data], concepts: Concepts, *, num_workers: int = 1
) -> tuple[Samples, list[dict[str, Any]]]:
    """Go once over the texts of some configurations.

    Args:
        datasets: a configuration each, in SVIT form.
        concepts: what is looked for.
        num_workers: processes; 1 works in this one. The result is the same.

    Returns:
        The samples; and for each configuration its number of conversations and the SHA-256 of their names and texts.
    """
    jobs = [
        (at, start, min(start + _RANGE, len(data)))
        for at, data in enumerate(datasets)
        for start in range(0, len(data), _RANGE)
    ]
    if num_workers == 1:
        parts = ((at, *_measure(datasets[at], start, stop, concepts)) for at, start, stop in jobs)
        return _put_together(len(datasets), parts)
    context = get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=_begin, initargs=(datasets, concepts)) as pool:
        return _put_together(len(datasets), pool.map(_work, jobs))


_begun: list[Any] = []  # of a worker: the datasets and the concepts, which travel to it once


def _begin(datasets: Sequence[Data], concepts: Concepts) -> None:
    _begun[:] = [datasets, concepts]


def _work(job: tuple[int, int, int]) -> tuple[int, Samples, bytes]:
    datasets, concepts = _begun
    at, start, stop = job
    return at, *_measure(datasets[at], start, stop, concepts)


def _put_together(configs: int, parts: Iterator[tuple[int, Samples, bytes]]) -> tuple[Samples, list[dict[str, Any]]]:
    pieces: list[Samples] = []
    digests = [hashlib.sha256() for _ in range(configs)]
    counts = [0] * configs
    for at, piece, digest in parts:
        pieces.append(replace(piece, config=np.full(len(piece), at, dtype=np.uint8)))
        digests[at].update(digest)
        counts[at] += len(piece)
    inputs = [
        {"conversations": count, "sha256": digest.hexdigest()} for count, digest in zip(counts, digests, strict=True)
    ]
    return joined(pieces), inputs


def joined(pieces: Sequence[Samples]) -> Samples:
    """Return samples one after another."""
    columns = {
        name: np.concatenate([np.zeros(0, code), *(getattr(p, name) for p in pieces)]).astype(code, copy=False)
        for name, code in (*_TYPES.items(), ("indices", "H"))
    }
    sizes = np.concatenate([np.zeros(1, np.int64), *(p.information for p in pieces)])
    return Samples(starts=np.cumsum(sizes), **columns)


def _measure(data: Data, start: int, stop: int, concepts: Concepts) -> tuple[Samples, bytes]:
    """Return the samples of some rows of one configuration, and the digest of their texts."""
    columns: dict[str, array[int]] = {name: array(code) for name, code in _TYPES.items() if name != "config"}
    indices, sizes = array("H"), array("q", [0])
    digest = hashlib.sha256()
    add = {name: column.append for name, column in columns.items()}
    for row_number, row in data.texts(start, stop):
        names = data.conversation_ids(row_number, row)
        for block, (name, conversation) in enumerate(zip(names, row["conversations"], strict=True)):
            texts = [message["content"] for message in conversation["messages"]]
            digest.update("\0".join([name, conversation["topic"] or "", *texts, ""]).encode())
            answers = [message["content"] for message in conversation["messages"] if message["role"] == "assistant"]
            said = [match[1].lower() for match in map(_YES_NO.match, answers) if match]
            add["row"](row_number)
            add["block"](block)
            add["number"](int(name.rpartition("/")[2]))
            add["image_id"](row["image_id"])
            add["words"](sum(len(answer.split()) for answer in answers))
            add["yes"](min(255, said.count("yes")))
            add["no"](min(255, said.count("no")))
            found = concepts.found("\n".join(texts))
            indices.extend(found)
            sizes.append(len(found))
    arrays = {name: np.frombuffer(column, dtype=column.typecode) for name, column in columns.items()}
    starts = np.cumsum(np.frombuffer(sizes, dtype=np.int64))
    config = np.zeros(len(columns["row"]), dtype=np.uint8)  # the caller knows which
    mentioned = np.frombuffer(indices, dtype=np.uint16)
    return Samples(config=config, starts=starts, indices=mentioned, **arrays), digest.digest()
