"""A row's QAs and its photo's annotations in: things that are named, boxed or counted otherwise, out.

In the manner of CHAIR (arXiv 1809.02156), with the annotations' own nouns as vocabulary instead of COCO's 80 classes.
Annotations never name all that is in a photo, so all of this is a reason to look, not a fault.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

from svit_builder.check.texts import QA, Fault
from svit_builder.generate.context import merge_objects, normal_name
from svit_builder.generate.markup import best_overlap
from svit_builder.generate.nouns import stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from svit_builder.generate.protocol import Annotated
    from svit_datasets.boxes import Box

__all__ = ["Photo", "object_findings", "vocabulary"]

# Reasoning speaks of what might be or would help, which nobody annotates.
_DESCRIBING = frozenset({"conversation", "detail_description", "referring_qa"})
_NEGATED = re.compile(r"\b(?:no|not|none|neither|nor|nobody|without|cannot|isn't|aren't|don't|doesn't|can't)\b")
_SENTENCE = re.compile(r"[^.!?]+")
_WORD = re.compile(r"[a-z]+")
# A word that ends a sentence or has a word of grammar, a verb or a comma behind it: not the "sun" of "sun cream".
_NOUN = re.compile(
    r"\b([a-z]{2,})(?=\s*(?:$|[,;:)\"'\n]|\b(?:is|are|was|were|in|on|at|of|and|or|with|to|by|from|near|under|behind|"
    r"beside|that|which|who|has|have|can|as|for|over|above|below|between|through|there|here|[a-z]+(?:s|ing|ed))\b))"
)
_HOW_MANY = re.compile(
    r"how many ([a-z]+) (?:are (?:there|visible|shown|present|in the (?:image|photo|picture|scene))|"
    r"can (?:be seen|you see)|do you see)\b"
)
_NUMBERS = {
    word: number
    for number, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())  # noqa: SIM905
}
_FIRST_NUMBER = re.compile(rf"\b(\d{{1,3}}|{'|'.join(_NUMBERS)})\b")
_LEAST_PHOTOS = 3  # of which a noun must be an object's, to be one that answers are searched for
# Of these any one means that the others may be said: first the more general word.
_SAME = (
    "person man woman boy girl child kid baby guy lady adult people player rider driver skier surfer worker pedestrian",
    "animal dog cat horse cow sheep bird bear elephant giraffe zebra",
    "vehicle car truck bus van suv taxi train motorcycle motorbike bike bicycle",
    "tv television monitor screen display",
    "couch sofa seat chair bench stool",
    "phone cellphone telephone",
    "plane airplane aircraft jet",
    "street road highway pavement sidewalk path walkway",
    "ground floor grass field lawn dirt sand",
    "building house home tower skyscraper church",
    "plant tree bush flower leaf vegetation",
    "water sea ocean lake river wave",
    "clothes clothing shirt jacket coat pants jeans dress",
    "hat cap helmet",
    "cup mug glass",
    "picture photo painting poster image scene background foreground",
    "food fruit vegetable meal dish",
    "sign letter number word text logo",
    "light lamp",
    "boat ship sailboat",
)
_GROUPS: dict[str, set[str]] = {}
for _group in _SAME:
    _stems = {stem(_word) for _word in _group.split()}
    for _stem in _stems:
        _GROUPS.setdefault(_stem, set()).update(_stems)


def vocabulary(annotated: Iterable[Annotated]) -> frozenset[str]:
    """Return the nouns that stand for objects in at least three photos, without endings; see `nouns.stem`.

    Only names of one word count: of "wine glass" nobody can tell whether "glass" alone means it.
    """
    photos: Counter[str] = Counter()
    for photo in annotated:
        photos.update({stem(name) for one in photo.objects if (name := normal_name(one.name)).isalpha()})
    return frozenset(noun for noun, count in photos.items() if count >= _LEAST_PHOTOS and len(noun) > 2)


class Photo:
    """What the annotations of one photo say, by noun."""

    def __init__(self, annotated: Annotated) -> None:
        texts = [
            *annotated.captions,
            *(one.text for one in annotated.regions),
            *(one.name for one in annotated.objects),
        ]
        self.words = " ".join(texts)
        said = {stem(word) for word in _WORD.findall(self.words.lower())}
        self.nouns = said.union(*(_GROUPS.get(noun, ()) for noun in said))
        self.boxes: dict[str, list[Box]] = {}  # by noun, also as the objects' more general ones
        self._objects = annotated.objects
        for thing in annotated.objects:
            self.boxes.setdefault(_noun(thing.name), []).append(thing.box)
        for region in annotated.regions:
            for word in _WORD.findall(region.text.lower()):
                self.boxes.setdefault(stem(word), []).append(region.box)

    @cached_property
    def lasts(self) -> set[str]:
        """The last word of each object's name, as it is written."""
        return {name.rpartition(" ")[2] for one in self._objects if (name := normal_name(one.name))}

    @cached_property
    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """How many objects are called just so, and how many have the noun last in their name; merged ones."""
        merged = merge_objects(self._objects)
        return Counter(stem(normal_name(one.name)) for one in merged), Counter(_noun(one.name) for one in merged)


def object_findings(qa: QA, photo: Photo, nouns: frozenset[str], numbers: Counter[str]) -> None:
    """Add what a QA says otherwise than the photo's annotations.

    Args:
        qa: its boxes were read already.
        photo: of its row.
        nouns: `vocabulary`.
        numbers: where boxes are counted: "boxes", and "named", "iou_50", "iou_90" of those whose noun an object has.
    """
    for fault in (*_boxes(qa, photo, numbers), *_counted(qa, photo)):
        qa.faults.append(fault)
    if qa.task in _DESCRIBING:
        unknown = sorted(_mentioned(qa.answer, nouns) - photo.nouns)
        if unknown:
            qa.faults.append(Fault("unknown_object", ", ".join(unknown)))


def _mentioned(answer: str, nouns: frozenset[str]) -> set[str]:
    """Return which nouns an answer says are there; sentences that deny something are passed over."""
    found = set()
    for sentence in _SENTENCE.findall(answer.lower()):
        here = {noun for word in _NOUN.findall(sentence) if (noun := stem(word)) in nouns}
        if here and not _NEGATED.search(sentence):
            found |= here
    return found


def _boxes(qa: QA, photo: Photo, numbers: Counter[str]) -> Iterator[Fault]:
    for one in qa.boxes:
        numbers["boxes"] += len(one.boxes)
        noun = _noun(one.phrase)
        same = [box for name in _GROUPS.get(noun, {noun}) for box in photo.boxes.get(name, ())]
        if not same:
            if one.phrase:
                yield Fault("unknown_phrase", one.phrase)
            continue
        overlaps = [best_overlap(box, same) for box in one.boxes]
        numbers["named"] += len(overlaps)
        numbers["iou_50"] += sum(overlap >= 0.5 for overlap in overlaps)
        numbers["iou_90"] += sum(overlap >= 0.9 for overlap in overlaps)
        if min(overlaps) < 0.5:
            yield Fault("unlisted_box", f"{one.phrase}: best IoU {min(overlaps):.2f}")


def _counted(qa: QA, photo: Photo) -> Iterator[Fault]:
    asked = _HOW_MANY.search(qa.question.lower())
    if asked is None or asked[1] in photo.lasts:  # one box that is called "books" is of any number
        return
    told = _FIRST_NUMBER.search(qa.answer.lower())
    exact, last = photo.counts
    noun = stem(asked[1])
    most = sum(last[other] for other in _GROUPS.get(noun, {noun}))  # of people there are men and women
    if told is None or not most:
        return
    number = _NUMBERS.get(told[1])
    number = int(told[1]) if number is None else number
    if not exact[noun] <= number <= most:
        yield Fault("other_number", f"{number} {asked[1]}; {exact[noun]} to {most} are annotated")


def _noun(name: str) -> str:
    """Return the last word of a name, without its ending: "a red bus" and "buses" have one noun."""
    words = _WORD.findall(name.lower())
    return stem(words[-1]) if words else ""
