"""Drawn corpora with defects planted in them, and where: what a check must find, and what it must pass over."""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field

from svit_builder.annotations import open_annotations
from svit_builder.check.objects import Photo, vocabulary
from svit_builder.generate.context import normal_name
from svit_builder.generate.nouns import stem

from svit_datasets.boxes.forms import brackets
from svit_datasets.sample import write_sample
from tests.test_clean import BAD_BOXES, CAUGHT, FINE_BOXES, MENDED, NEAR_MISSES

TASKS = ("conversation", "complex_reasoning", "detail_description", "referring_qa")
TWIN = "On this one day the old mill by the river stood in the same light as ever before."
LONG = " ".join(["The street goes on past another grey house with a small green door."] * 400)
NEUTRAL = "What is there to be seen in this place?"
# Texts in which a second check rightly holds, too.
ALSO = {
    "I apologize, but the message you sent was empty.": ["refusal"],
}


@dataclass
class Planted:
    """A corpus, and for each check the places (task, image_id, conversation, qa) where it holds."""

    root: object
    truth: dict[str, set[tuple[str, int, int, int]]] = field(default_factory=lambda: defaultdict(set))
    near_misses: set[tuple[str, int, int, int]] = field(default_factory=set)
    unusable: dict[str, int] = field(default_factory=dict)


class Garden:
    """The QAs of a corpus; each item is used once, so that what is planted has clean neighbours."""

    def __init__(self, root, images):
        self.planted = Planted(write_sample(root, images=images).root)
        self.items = {}
        for task in TASKS:
            with zipfile.ZipFile(root / "data" / f"{task}.zip") as archive:
                self.items[task] = json.loads(archive.read(f"{task}.json"))
        self.free = {task: list(items) for task, items in self.items.items()}

    def item(self, task, fits=lambda item: True):
        found = next(item for item in self.free[task] if fits(item))
        self.free[task].remove(found)
        return found

    def put(self, checks, task, answer=None, question=None, item=None):
        """Change one QA, the last of an item's first block, and note what holds for it then."""
        item = item or self.item(task)
        turns = item["conversations"][0]["content"]
        if answer is not None:
            turns[-1]["value"] = answer
        if question is not None:
            turns[-2]["value"] = question
        place = (task, item["image_id"], 0, len(turns) // 2 - 1)
        for check in checks:
            self.planted.truth[check].add(place)
        if not checks:
            self.planted.near_misses.add(place)

    def harvest(self):
        for task in TASKS:
            with zipfile.ZipFile(self.planted.root / "data" / f"{task}.zip", "w") as archive:
                archive.writestr(f"{task}.json", json.dumps(self.items[task]))
        return self.planted


def plant_texts(root, images=80):
    """Plant what texts alone show, in every wording of `test_clean`, beside every near miss."""
    garden = Garden(root, images)
    for check, answers in CAUGHT.items():
        for number, answer in enumerate(filter(None, answers)):  # an empty one is unusable to the loader already
            garden.put([check, *ALSO.get(answer, [])], ("complex_reasoning", "conversation")[number % 2], answer)
        garden.put([check, *ALSO.get(answers[-1], [])], "detail_description", answers[-1])
    for number, answer in enumerate(answer for answers in NEAR_MISSES.values() for answer in answers):
        garden.put([], ("complex_reasoning", "conversation")[number % 2], answer)
    garden.put(["leak"], "conversation", question="What do the captions mention?")
    for check, answers in BAD_BOXES.items():
        for answer in answers:
            garden.put([check], "referring_qa", answer, NEUTRAL)
    for answer in MENDED:
        garden.put(["box_border" if "-0.004" in answer else "box_spelling"], "referring_qa", answer, NEUTRAL)
    for answer in FINE_BOXES:
        garden.put([], "referring_qa", answer, NEUTRAL)
    for _ in range(3):
        item = garden.item("complex_reasoning", lambda item: len(item["conversations"]) > 4)
        blocks = item["conversations"]
        blocks[3]["content"][0]["value"] = blocks[1]["content"][0]["value"].upper()
        garden.planted.truth["duplicate_qa"].add(("complex_reasoning", item["image_id"], 3, 0))
    item = garden.item("conversation")
    garden.put(["duplicate_qa"], "conversation", question=item["conversations"][0]["content"][0]["value"], item=item)
    for number in range(3):
        garden.put(["repeated_answer"] if number else [], "complex_reasoning", TWIN)
    garden.put(["long_answer"], "complex_reasoning", LONG)
    garden.item("complex_reasoning")["conversations"][-1]["content"].pop()
    garden.item("complex_reasoning")["conversations"][-1]["content"][1]["value"] = " "
    garden.planted.unusable = {"odd_turns": 1, "blank_text": 1}
    return garden.harvest()


def plant_things(root, images=40):
    """Plant what only a photo's annotations show."""
    garden = Garden(root, images)
    known = {one.image_id: one for one in open_annotations(root).read()}
    vocabulary_ = vocabulary(known.values())

    def names(item):
        return [normal_name(thing.name) for thing in known[item["image_id"]].objects]

    nouns = sorted({name for one in known for name in names({"image_id": one}) if stem(name) in vocabulary_})

    def absent(item):
        photo = Photo(known[item["image_id"]])
        return next(noun for noun in nouns if stem(noun) not in photo.nouns)

    for number in range(6):
        task = ("conversation", "detail_description")[number % 2]
        item = garden.item(task)
        garden.put(["unknown_object"], task, f"A {absent(item)} is on the left.", NEUTRAL, item)
        item = garden.item(task)
        garden.put([], task, f"There is no {absent(item)} here.", NEUTRAL, item)
        item = garden.item("complex_reasoning")
        garden.put([], "complex_reasoning", f"A {absent(item)} would be of help here.", NEUTRAL, item)
    for number in range(4):
        item = garden.item("conversation", lambda item: any(name in nouns for name in names(item)))
        counted = next(name for name in names(item) if name in nouns)
        right = names(item).count(counted)
        garden.put(["other_number"], "conversation", "There are 47 of them.", f"How many {counted}s are there?", item)
        item = garden.item("conversation", lambda item: any(name in nouns for name in names(item)))
        counted = next(name for name in names(item) if name in nouns)
        right = names(item).count(counted)
        garden.put([], "conversation", f"There are {right} of them.", f"How many {counted}s are there?", item)
        item = garden.item("referring_qa")
        thing = known[item["image_id"]].objects[number]
        far = (0.0, 0.0, 0.02, 0.02) if thing.box.x1 > 0.1 or thing.box.y1 > 0.1 else (0.97, 0.97, 1.0, 1.0)
        garden.put(
            ["unlisted_box"], "referring_qa", f"The <st>{thing.name}<ed> {brackets([far])} is here.", NEUTRAL, item
        )
        garden.put(["unknown_phrase"], "referring_qa", "The <st>zeppelin<ed> [0.1, 0.2, 0.6, 0.8] is here.", NEUTRAL)
    return garden.harvest()
