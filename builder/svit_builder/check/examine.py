"""A configuration in, all that is found in it out: one pass over its texts, in bounded memory; no photo is read.

`texts` and `objects` judge a row; here rows are gone through, findings counted and the first few of each kept, and what
needs all texts is looked for: answers that come again, and answers of unusual length.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from svit_builder.check.duplicates import Exact, Similar, long_enough
from svit_builder.check.objects import Photo, object_findings
from svit_builder.check.table import CHECKS
from svit_builder.check.texts import QA, Fault, qas_of, text_findings
from svit_builder.generate.leaks import quoted
from svit_datasets.corpus import make_plan
from svit_datasets.joined import Joined
from svit_datasets.options import Resolved
from svit_datasets.sources import find_text
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from svit_builder.annotations import Annotations
    from svit_builder.data import Data
    from svit_datasets.rows import Row

__all__ = ["Example", "Findings", "examine"]

_CHUNK = 256  # rows whose annotations are read together
_LONGEST = 64  # answers that are remembered by length
_INDEX_BITS = 12  # of a place: a row's number, and the QA's in its row


@dataclass(frozen=True, slots=True)
class Example:
    """A QA for which a check holds."""

    row: int  # its number in `Data`
    image_id: int  # -1 where a LLaVA-form record has none
    task: str
    conversation: int  # 0-based, in its row
    qa: int  # 0-based, in its conversation
    question: str
    answer: str
    detail: str


@dataclass
class Findings:
    """What was found in one configuration."""

    config: str
    rows: int = 0
    conversations: int = 0
    qas: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # check -> QAs
    examples: dict[str, list[Example]] = field(default_factory=dict)  # check -> the first few
    unusable: list[tuple[str, int, list[str]]] = field(default_factory=list)  # kind of defect, how many, the first few
    lengths: Counter[int] = field(default_factory=Counter)  # words of an answer -> answers
    boxes: Counter[str] = field(default_factory=Counter)  # boxes, named, iou_50, iou_90
    annotated: int | None = None  # rows whose photo has annotations; None: there were none to compare with

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "config": self.config,
            "rows": self.rows,
            "conversations": self.conversations,
            "qas": self.qas,
            "checks": {
                check: {
                    "count": self.counts[check],
                    "share": self.counts[check] / self.qas if self.qas else 0.0,
                    "fix": CHECKS[check].remedy,
                    "examples": [asdict(one) for one in self.examples.get(check, [])],
                }
                for check in CHECKS
                if self.counts[check]
            },
            "unusable": [{"kind": kind, "count": count, "examples": some} for kind, count, some in self.unusable],
            "answer_words": {str(words): count for words, count in sorted(self.lengths.items())},
            "boxes": dict(self.boxes),
            "annotated": self.annotated,
        }


def examine(
    data: Data,
    *,
    annotations: Annotations | None = None,
    nouns: frozenset[str] = frozenset(),
    similar: bool = False,
    keep: int = 5,
    on_row: Callable[[Row, list[QA]], None] | None = None,
    progress: bool = False,
) -> Findings:
    """Check a configuration.

    Args:
        data: from `svit_builder.data.open_data`, with ``known_bad="keep"``.
        annotations: what people wrote of the photos; without them nothing is said about objects.
        nouns: things that answers are searched for; see `objects.vocabulary`.
        similar: look for answers that are nearly the same, too.
        keep: examples of each check.
        on_row: gets each row with its QAs, whose texts are mended where they can be.
        progress: show a bar on a terminal.

    Raises:
        MissingDependency: ``similar`` needs rensa.
        SvitError: as in `Data.texts` and `Annotations.read`.
    """
    found = Findings(data.task.name, unusable=_unusable(data), annotated=None if annotations is None else 0)
    whole = _Whole(similar=similar)
    llava = data.task.form == "llava"
    bar = tqdm(
        total=len(data), desc=data.task.name, unit=" rows", delay=1, leave=False, disable=None if progress else True
    )
    with bar:
        for rows in _chunks(data.texts()):
            photos = _photos(data, rows, annotations)
            for number, row in rows:
                image_id = int(data.image_ids[number])
                qas = list(qas_of(row, data.task))
                photo = photos.get(image_id)
                text_findings(qas, llava=llava, context=photo.words if photo else "")
                for qa in qas:
                    if photo is not None:
                        object_findings(qa, photo, nouns, found.boxes)
                    for fault in qa.faults:
                        _note(found, fault, number, image_id, qa, keep=keep)
                found.rows += 1
                found.qas += len(qas)
                found.conversations += 1 if llava else len(row["conversations"])
                if photo is not None and found.annotated is not None:
                    found.annotated += 1
                whole.add(number, qas, found.lengths)
                if on_row is not None:
                    on_row(row, qas)
            bar.update(len(rows))
    _add_whole(data, found, whole, keep)
    return found


def _chunks(rows: Iterator[tuple[int, Row]]) -> Iterator[list[tuple[int, Row]]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _photos(data: Data, rows: list[tuple[int, Row]], annotations: Annotations | None) -> dict[int, Photo]:
    if annotations is None or data.task.form == "llava":  # whose boxes stand in another frame
        return {}
    ids = {int(data.image_ids[number]) for number, _ in rows}
    return {one.image_id: Photo(one) for one in annotations.read(ids)}


def _note(found: Findings, fault: Fault, row: int, image_id: int, qa: QA, *, keep: int) -> None:
    found.counts[fault.check] += 1
    some = found.examples.setdefault(fault.check, [])
    if len(some) < keep:
        detail = quoted(fault.detail)
        some.append(Example(row, image_id, qa.task, qa.conversation, qa.number, qa.question, qa.answer, detail))


class _Whole:
    """What can be told only of all texts together."""

    def __init__(self, *, similar: bool) -> None:
        self.exact = Exact()
        self.similar = Similar() if similar else None
        self.longest: list[tuple[int, int]] = []  # (words, place), a heap

    def add(self, number: int, qas: list[QA], lengths: Counter[int]) -> None:
        for at, qa in enumerate(qas):
            place = number << _INDEX_BITS | min(at, (1 << _INDEX_BITS) - 1)
            words = qa.answer.count(" ") + qa.answer.count("\n") + 1
            lengths[words] += 1
            if len(self.longest) < _LONGEST:
                heapq.heappush(self.longest, (words, -place))
            elif words > self.longest[0][0]:
                heapq.heapreplace(self.longest, (words, -place))
            normal = long_enough(qa.answer)
            if normal is not None:
                self.exact.add(place, normal)
                if self.similar is not None:
                    self.similar.add(place, normal)


def _add_whole(data: Data, found: Findings, whole: _Whole, keep: int) -> None:
    repeated = whole.exact.repeated()
    _add_places(data, found, "repeated_answer", repeated, keep=keep)
    if whole.similar is not None:
        same = {later for later, _ in repeated}
        others = [pair for pair in whole.similar.repeated() if pair[0] not in same]
        _add_places(data, found, "similar_answer", others, keep=keep)
    bound = length_bound(found.lengths)
    long = [(-place, None) for words, place in sorted(whole.longest, reverse=True) if words > bound]
    said = f"more than {bound:,} words"
    _add_places(data, found, "long_answer", long, keep=keep, detail=said)
    found.counts["long_answer"] = sum(count for words, count in found.lengths.items() if words > bound)


def _add_places(
    data: Data, found: Findings, check: str, places: Iterable[tuple[int, int | None]], *, keep: int, detail: str = ""
) -> None:
    for place, first in places:
        if len(found.examples.get(check, ())) >= keep:
            found.counts[check] += 1
            continue
        number, at = place >> _INDEX_BITS, place & ((1 << _INDEX_BITS) - 1)
        [(_, row)] = data.texts(number, number + 1)
        qa = list(qas_of(row, data.task))[at]
        said = detail if first is None else f"first at image {data.image_ids[first >> _INDEX_BITS]}"
        _note(found, Fault(check, said), number, int(data.image_ids[number]), qa, keep=keep)


def length_bound(lengths: Counter[int]) -> int:
    """Return how many words an answer may have before it is unusual: Tukey's outer fence of the logarithms.

    The quartiles' ratio counts as at least 1.5, so that answers of nearly one length are no reason to look.
    """
    if not lengths:
        return 0
    ordered = sorted(lengths)
    ends = list(accumulate(lengths[words] for words in ordered))
    low, high = (
        next(words for words, end in zip(ordered, ends, strict=True) if end >= ends[-1] * share)
        for share in (0.25, 0.75)
    )
    return math.ceil(high * max(high / low, 1.5) ** 3)


def _unusable(data: Data) -> list[tuple[str, int, list[str]]]:
    """Return what the loader cannot use of raw files, by kind of defect."""
    if not any(isinstance(part, Joined) for part in data.parts.values()):
        return []
    parts = tuple(TASKS[name] for name in data.task.parts)
    texts = find_text(data.task, parts, data.options.data_dir, data.storage)
    _, left = make_plan(data.options, Resolved(texts, (), None), data.storage, data.cache)
    counts: dict[str, tuple[int, list[str]]] = defaultdict(lambda: (0, []))
    for kind, count, some in left:
        if kind not in {"missing_image", "message_is_empty"}:  # photos were not looked for; the other is a check
            before, words = counts[kind]
            counts[kind] = (before + count, [*words, *some][:5])
    return [(kind, count, some) for kind, (count, some) in counts.items()]
