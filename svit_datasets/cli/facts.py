"""One file of records in, what is in it out: counts and distributions, as it stands in the file and as it would load.

The file is read twice, streaming: as raw JSON, for how things are spelled, then as records, for what is usable. Memory
holds one entry an image and a bounded number of topics. Photos and the held-out list are looked at elsewhere.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from svit_datasets.cli.answers import faults_in
from svit_datasets.errors import CorruptFile
from svit_datasets.json_stream import iter_items
from svit_datasets.records import Defect, Record, read_records
from svit_datasets.sources import open_text
from svit_datasets.tasks import TASKS, infer_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from svit_datasets.sources import TextFile
    from svit_datasets.storage import Storage
    from svit_datasets.tasks import Form

__all__ = ["Facts", "read_facts", "spread"]

_MARKED = ("referring_qa", "all")  # the configurations whose text holds boxes
_MOST_NAMES = 100_000  # distinct topics or roles that are told apart in one file
_MOST_SHAPES = 1000  # distinct sets of keys
_OTHERS = "…"  # what came after that many
_MOST_RUNS = 12
_LATER = "then in other orders"
_EXAMPLES = 3
_VG_PATH = re.compile(r"(?:VG_100K(?:_2)?|gqa/images)/(\d{1,7})\.jpg$")


@dataclass(slots=True)
class Facts:
    """What is in one file. An image is a Visual Genome id, in LLaVA form a path; a block is one conversation."""

    config: str
    url: str
    bytes: int  # of the file as it lies there
    member: str | None = None  # which file in the zip
    damage: str | None = None  # why it could not be read to its end
    records: int = 0  # items of the JSON
    id_types: Counter[str] = field(default_factory=Counter)  # JSON types of image_id or id -> items
    shapes: dict[str, Counter[tuple[str, ...]]] = field(
        default_factory=lambda: {"item": Counter(), "block": Counter(), "turn": Counter()}
    )  # what objects there are -> the keys of one, in their order -> how many have just these
    roles: Counter[str] = field(default_factory=Counter)  # as spelled -> turns
    topics: Counter[str] = field(default_factory=Counter)  # topic -> blocks
    topic_state: Counter[str] = field(default_factory=Counter)  # "text", "null", "absent", or another type -> blocks
    turns: Counter[int] = field(default_factory=Counter)  # turns of a block -> blocks
    blocks: dict[int | str, int] = field(default_factory=dict)  # image -> its blocks, in the order of the file
    repeated: int = 0  # records whose image came before
    text_only: int = 0  # records without an image; LLaVA form only
    defects: Counter[str] = field(default_factory=Counter)  # kinds of DEFECT_KINDS -> blocks or items
    answers: Counter[str] = field(default_factory=Counter)  # kinds of ANSWER_KINDS -> usable answers
    examples: dict[str, list[str]] = field(default_factory=dict)  # kind -> where the first few are
    lengths: dict[str, Counter[int]] = field(default_factory=lambda: {"question": Counter(), "answer": Counter()})
    marked_answers: int = 0  # that hold <st>
    runs: list[tuple[str, int]] = field(default_factory=list)  # config all: tasks, records in a row that have them

    @property
    def keys(self) -> dict[str, Counter[str]]:
        """How many items, blocks and turns have each key."""
        counts: dict[str, Counter[str]] = {level: Counter() for level in self.shapes}
        for level, shapes in self.shapes.items():
            for shape, count in shapes.items():
                counts[level].update(dict.fromkeys(shape, count))
        return counts

    @property
    def ids(self) -> set[int]:
        """The Visual Genome ids of its images, as far as they have one."""
        found = (_VG_PATH.search(image) if isinstance(image, str) else image for image in self.blocks)
        return {int(image[1]) if isinstance(image, re.Match) else image for image in found if image is not None}

    @property
    def ascending(self) -> bool | None:
        """Whether its images come in ascending order; None in LLaVA form."""
        images = list(self.blocks)
        return None if TASKS[self.config].form == "llava" else images == sorted(images, key=int)

    def note(self, counts: Counter[str], kind: str, where: str) -> None:
        """Count a fault, and keep the first few places."""
        counts[kind] += 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < _EXAMPLES:
            kept.append(where)


def read_facts(file: TextFile, storage: Storage) -> Facts:
    """Read one file of records and count what is in it.

    A file that breaks off is no error here: the facts hold what came before, and ``damage`` says where.

    Raises:
        SvitError: as in `Storage.open`; not CorruptFile.
    """
    facts = Facts(file.task.name, file.info.url, file.info.size)
    for read in (_read_spelling, _read_records):
        try:
            with open_text(file.info, storage) as (stream, label, total):
                facts.member = label.partition("::")[2] or None
                bar = tqdm.wrapattr(
                    stream,
                    "read",
                    total=total,
                    desc=file.task.name,
                    unit="B",
                    unit_scale=True,
                    delay=1,
                    leave=False,
                    disable=None,
                )
                with bar as counted:
                    read(facts, counted, label, file.task.form)
        except CorruptFile as error:
            facts.damage = str(error)
    return facts


def spread(counts: Mapping[int, int]) -> dict[str, int] | None:
    """Return the least, the middle and the greatest of counted values, or None where there are none.

    Example:
        >>> spread({2: 5, 10: 1})
        {'min': 2, 'median': 2, 'max': 10}
    """
    before, half = 0, (sum(counts.values()) + 1) // 2
    for value in sorted(counts):
        before += counts[value]
        if before >= half:
            return {"min": min(counts), "median": value, "max": max(counts)}
    return None


# How it is spelled ----------------------------------------------------------------------------------------------------


def _read_spelling(facts: Facts, stream: BinaryIO, label: str, form: Form) -> None:
    for _, item, _ in iter_items(stream, label):
        facts.records += 1
        if not isinstance(item, dict):
            continue
        _note_keys(facts, "item", item)
        facts.id_types[_json_type(item.get("image_id" if form == "svit" else "id"))] += 1
        blocks = item.get("conversations")
        if form == "llava":
            _note_turns(facts, blocks)
            continue
        for block in blocks if isinstance(blocks, list) else ():
            if isinstance(block, dict):
                _note_keys(facts, "block", block)
                _note_topic(facts, block)
                _note_turns(facts, block.get("content"))


def _note_topic(facts: Facts, block: dict[str, Any]) -> None:
    topic = block.get("topic")
    if isinstance(topic, str):
        facts.topic_state["text"] += 1
        _count(facts.topics, topic)
    else:
        facts.topic_state[_json_type(topic) if "topic" in block else "absent"] += 1


def _note_turns(facts: Facts, turns: Any) -> None:
    if not isinstance(turns, list):
        return
    facts.turns[len(turns)] += 1
    for turn in turns:
        if isinstance(turn, dict):
            _note_keys(facts, "turn", turn)
            if "from" in turn:
                role = turn["from"]
                _count(facts.roles, role if isinstance(role, str) else _json_type(role))


def _note_keys(facts: Facts, level: str, found: dict[str, Any]) -> None:
    shape, shapes = tuple(found), facts.shapes[level]
    shapes[shape if shape in shapes or len(shapes) < _MOST_SHAPES else (_OTHERS,)] += 1


def _count(counts: Counter[str], name: str) -> None:
    counts[name if name in counts or len(counts) < _MOST_NAMES else _OTHERS] += 1


def _json_type(value: Any) -> str:
    names = {bool: "true or false", int: "number", float: "number", str: "text", list: "array", dict: "object"}
    return names.get(type(value), "null")


# What is usable -------------------------------------------------------------------------------------------------------


def _read_records(facts: Facts, stream: BinaryIO, label: str, form: Form) -> None:
    last = -1  # a record comes as its unusable blocks one by one, then the rest of it
    for part in read_records(stream, label, form):
        image: int | str | None
        where = f"record {part.number}"
        if isinstance(part, Defect):
            image, blocks = part.image_id, int(part.block is not None)
            where += "" if part.block is None else f", block {part.block}"
            facts.note(facts.defects, part.kind, f"{where}, byte {part.byte}: {part.detail}")
        elif isinstance(part, Record):
            image, blocks = part.image_id, len(part.sizes)
            _note_record(facts, part)
        else:
            image, blocks = part.image_path, 1
            facts.text_only += image is None
            _note_answers(facts, part.texts, f"{where} ({part.id})")
        if image is not None:
            facts.repeated += part.number != last and image in facts.blocks
            facts.blocks[image] = facts.blocks.get(image, 0) + blocks
        last = part.number


def _note_record(facts: Facts, record: Record) -> None:
    _note_answers(facts, record.texts, f"record {record.number} (image {record.image_id})")
    if facts.config == "all":
        _note_run(facts, " + ".join(dict.fromkeys(infer_tasks(record.topics, record.sizes, record.texts))))


def _note_run(facts: Facts, tasks: str) -> None:
    """Follow the order of tasks: how many neighbouring records hold the same ones."""
    if len(facts.runs) > _MOST_RUNS:
        tasks = _LATER
    if facts.runs and facts.runs[-1][0] == tasks:
        facts.runs[-1] = (tasks, facts.runs[-1][1] + 1)
    else:
        facts.runs.append((tasks if len(facts.runs) < _MOST_RUNS else _LATER, 1))


def _note_answers(facts: Facts, texts: tuple[str, ...], where: str) -> None:
    answers = texts[1::2]
    facts.lengths["question"].update(map(len, texts[::2]))
    facts.lengths["answer"].update(map(len, answers))
    marked = facts.config in _MARKED
    for number, answer in enumerate(answers):
        facts.marked_answers += "<st>" in answer
        for kind in faults_in(answer, marked=marked):
            facts.note(facts.answers, kind, f"{where}, answer {number}")
