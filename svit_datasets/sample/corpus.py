"""The whole sample before it is written: which images, in which order, held out or not, and the items of each task.

In come a number of images and a seed; out comes a `Corpus` of scenes and JSON-ready items. Nothing is drawn or written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svit_datasets.sample.conversation import dialogues
from svit_datasets.sample.description import depict
from svit_datasets.sample.pen import seeded
from svit_datasets.sample.reasoning import reasonings
from svit_datasets.sample.referring import referrings
from svit_datasets.sample.scene import Scene, make_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from svit_datasets.sample.words import QA

__all__ = ["TASKS", "CocoCopy", "Corpus", "Item", "folder", "make_corpus"]

Item = dict[str, Any]  # one JSON object of a data file

# On both sides of every boundary of Visual Genome's two folders, each pair split over them.
BOUNDARIES = (2, 1, 61511, 61510, 51, 50, 2377380, 2377381, 209, 2400861)
# Where Visual Genome's ids lie, leaving out the stretches with answers known to be bad and with corrupt photos.
RANGES = (
    (300, 1500),
    (2600, 4400),
    (285600, 286100),
    (497950, 498400),
    (712950, 713990),
    (2335992, 2342211),
    (2350000, 2360366),
    (2360368, 2377379),
    (2385151, 2394392),
    (2403888, 2415253),
)


@dataclass(frozen=True, slots=True)
class CocoCopy:
    """The same photo in MS-COCO."""

    coco_id: int
    split: str  # "train2017" or "val2017"
    width: int  # pixels, not those of the Visual Genome copy
    height: int  # pixels

    @property
    def file_name(self) -> str:
        """The photo's name in its split's folder."""
        return f"{self.coco_id:012d}.jpg"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything that is to be written."""

    seed: int
    scenes: tuple[Scene, ...]  # in the order of the JSON files
    test_ids: tuple[int, ...]  # ascending
    coco: dict[int, CocoCopy]  # by image id, for half of the images
    items: dict[str, list[Item]]  # SVIT items by task


def folder(image_id: int) -> str:
    """Return the Visual Genome folder of an id of this sample (209 is the only exception it uses)."""
    first = 2 <= image_id <= 50 or image_id == 209 or 61511 <= image_id <= 2377380
    return "VG_100K" if first else "VG_100K_2"


def make_corpus(images: int, seed: int) -> Corpus:
    """Return the corpus of ``images`` scenes."""
    rng = seeded(seed, "corpus")
    ids = _ids(images, rng)
    scenes = [make_scene(image_id, seed, number) for number, image_id in enumerate(ids)]
    coco = _coco(scenes, rng)
    rng.shuffle(scenes)
    test_ids = tuple(sorted(rng.sample(ids, max(1, round(images / 10)))))
    items = {task: list(_items(task, scenes, test_ids)) for task in TASKS}
    return Corpus(seed, tuple(scenes), test_ids, coco, items)


def _ids(images: int, rng: Random) -> list[int]:
    ids = dict.fromkeys(BOUNDARIES[:images])
    while len(ids) < images:
        low, high = rng.choices(RANGES, weights=[high - low for low, high in RANGES])[0]
        ids[rng.randint(low, high)] = None
    return list(ids)


def _coco(scenes: list[Scene], rng: Random) -> dict[int, CocoCopy]:
    half = scenes[::2]
    coco_ids = rng.sample(range(1000, 580000), len(half))
    copies = {}
    for number, (scene, coco_id) in enumerate(zip(half, coco_ids, strict=True)):
        longer = 612 if max(scene.width, scene.height) == 640 else 640
        share = longer / max(scene.width, scene.height)
        size = round(scene.width * share), round(scene.height * share)
        copies[scene.image_id] = CocoCopy(coco_id, "val2017" if number % 5 == 2 else "train2017", *size)
    return copies


def _items(task: str, scenes: list[Scene], test_ids: tuple[int, ...]) -> Iterable[Item]:
    for number, scene in enumerate(scenes):
        # As in the real files a few images lack a task; held-out ones and the first few lack none.
        if number % 9 == 5 and list(TASKS)[number // 9 % len(TASKS)] == task and scene.image_id not in test_ids:
            continue
        blocks = TASKS[task](scene, seeded(scene.seed, scene.image_id, task))
        yield {"image_id": scene.image_id, "conversations": blocks}


def _block(qas: Iterable[QA], **head: str) -> Item:
    turns = [turn for q, a in qas for turn in ({"from": "user", "value": q}, {"from": "gpt", "value": a})]
    return {**head, "content": turns}


def _conversation(scene: Scene, rng: Random) -> list[Item]:
    return [_block(qas, topic=topic) for topic, qas in dialogues(scene, rng)]


def _complex_reasoning(scene: Scene, rng: Random) -> list[Item]:
    return [_block([qa]) for qa in reasonings(scene, rng)]


def _detail_description(scene: Scene, rng: Random) -> list[Item]:
    return [_block([depict(scene, rng)])]


def _referring_qa(scene: Scene, rng: Random) -> list[Item]:
    return [_block([qa]) for qa in referrings(scene, rng)]


TASKS: dict[str, Callable[[Scene, Random], list[Item]]] = {
    "conversation": _conversation,
    "complex_reasoning": _complex_reasoning,
    "detail_description": _detail_description,
    "referring_qa": _referring_qa,
}
