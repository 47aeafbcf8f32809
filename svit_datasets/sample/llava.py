"""The same corpus in LLaVA form: records with a path and flat turns, boxes padded to the square, and a mix with others.

In comes a `Corpus`, out come the records of two files. Their boxes are in the frame of the picture padded to a square,
not of the picture itself. The photos that only the mix names are written by `layout`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from svit_datasets.sample.conversation import dialogues
from svit_datasets.sample.corpus import Corpus, Item, folder
from svit_datasets.sample.pages import BOOKS, SIGNS
from svit_datasets.sample.pen import seeded
from svit_datasets.sample.smalltalk import smalltalk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from svit_datasets.sample.scene import Scene

__all__ = ["COCO_LOOSE", "Forms", "make_forms", "pad_boxes"]

COCO_LOOSE = 8  # at most so many COCO copies are written
ASK_BOXES = (
    "Say where each thing is by giving its box.",
    "Add the box coordinates of what you name.",
    "Please point to the things with their boxes.",
)
BOX = re.compile(r"\[([\d.]+), ([\d.]+), ([\d.]+), ([\d.]+)\]")


@dataclass(frozen=True, slots=True)
class Forms:
    """The records of the two LLaVA files."""

    core: list[Item]
    mix: list[Item]


def make_forms(corpus: Corpus) -> Forms:
    """Return the records of both LLaVA files; the mix holds the core, other photos, and text without photo."""
    rng = seeded(corpus.seed, "llava")
    blocks: dict[int, dict[str, list[Item]]] = {scene.image_id: {} for scene in corpus.scenes}
    for task, items in corpus.items.items():
        for item in items:
            blocks[item["image_id"]][task] = item["conversations"]
    core = [record for scene in corpus.scenes for record in _core(scene, blocks[scene.image_id], rng)]
    for number, record in enumerate(core):
        record["id"] = f"svit_{number:06d}"
    others = [*_coco(corpus, rng), *_gqa(corpus, rng), *_pages()]
    alone = max(2, round((len(core) + len(others)) * 0.06 / 0.94))
    mix = [*core, *others, *(_text_only(number, rng) for number in range(alone))]
    rng.shuffle(mix)
    return Forms(core, mix)


def pad_boxes(text: str, width: int, height: int) -> str:
    """Return ``text`` with each box moved from the picture's frame to that of the picture padded to a square.

    One pass over the text: replacing box after box would move a box twice that happens to equal an earlier result.

    >>> pad_boxes("a car [0.1, 0.2, 0.3, 0.4]", 640, 480)
    'a car [0.100, 0.275, 0.300, 0.425]'
    """
    side = max(width, height)
    lengths = (width, height, width, height)

    def pad(match: re.Match[str]) -> str:
        moved = ((float(v) * n + (side - n) / 2) / side for v, n in zip(match.groups(), lengths, strict=True))
        return f"[{', '.join({'0.000': '0', '1.000': '1'}.get(t := f'{v:.3f}', t) for v in moved)}]"

    return BOX.sub(pad, text)


def _core(scene: Scene, blocks: dict[str, list[Item]], rng: Random) -> Iterable[Item]:
    """Two to four records a scene, from whichever tasks it has."""
    image = f"vg/{folder(scene.image_id)}/{scene.image_id}.jpg"
    for task, found in blocks.items():
        if task == "conversation":
            yield from (_record(image, block["content"], rng) for block in found[:2])
        elif task == "referring_qa":
            turns = [turn for block in found[:5] for turn in _boxed(block["content"], scene, rng)]
            yield _record(image, turns, rng)
        else:
            yield _record(image, [turn for block in found[:4] for turn in block["content"]], rng)


def _boxed(turns: list[Item], scene: Scene, rng: Random) -> Iterable[Item]:
    for turn in turns:
        value = pad_boxes(turn["value"].replace("<st>", "").replace("<ed>", ""), scene.width, scene.height)
        yield {"from": turn["from"], "value": f"{value} {rng.choice(ASK_BOXES)}" if turn["from"] == "user" else value}


def _record(image: str | None, turns: list[Item], rng: Random) -> Item:
    """Return a record without its id; the mark of the picture stands before or after the first question."""
    flat = [{"from": "human" if turn["from"] == "user" else "gpt", "value": turn["value"]} for turn in turns]
    if image is None:
        return {"id": "", "conversations": flat}
    asked = flat[0]["value"]
    flat[0] = {"from": "human", "value": f"<image>\n{asked}" if rng.random() < 0.5 else f"{asked}\n<image>"}
    return {"id": "", "image": image, "conversations": flat}


def _turns(qas: Iterable[tuple[str, str]]) -> list[Item]:
    return [turn for q, a in qas for turn in ({"from": "user", "value": q}, {"from": "gpt", "value": a})]


def _coco(corpus: Corpus, rng: Random) -> Iterable[Item]:
    by_id = {scene.image_id: scene for scene in corpus.scenes}
    for image_id, copy in list(corpus.coco.items())[:COCO_LOOSE]:
        if copy.split == "train2017":
            talks = dialogues(by_id[image_id], seeded(corpus.seed, copy.coco_id))
            record = _record(f"coco/train2017/{copy.file_name}", _turns(talks[0][1]), rng)
            yield {**record, "id": f"{copy.coco_id:012d}"}


def _gqa(corpus: Corpus, rng: Random) -> Iterable[Item]:
    """Short questions on two photos that also lie in GQA's folder; their ids are numbers, the others' are text."""
    for scene in corpus.scenes[:2]:
        talks = dialogues(scene, seeded(corpus.seed, scene.image_id, "gqa"))
        record = _record(f"gqa/images/{scene.image_id}.jpg", _turns(talks[-1][1][:3]), rng)
        yield {**record, "id": scene.image_id}


def _pages() -> Iterable[Item]:
    for page in (*BOOKS, *SIGNS):
        rng = seeded("page", page.path)
        yield {**_record(page.path, _turns(page.qas), rng), "id": page.path.rsplit("/", 1)[1].removesuffix(".jpg")}


def _text_only(number: int, rng: Random) -> Item:
    return {**_record(None, _turns(smalltalk(number, rng)), rng), "id": f"text_{number:05d}"}
