"""Dialogues about a scene: three topics, five questions each, all answered from the list of things.

In comes a scene, out come topics, each with questions and answers. No answer says more than the scene and its place
hold.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from svit_datasets.sample.kinds import KINDS
from svit_datasets.sample.pen import COLOURS
from svit_datasets.sample.scene import groups
from svit_datasets.sample.words import QA, a, are, article, be, listed, name, number, single, spot, tell, the, where

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from svit_datasets.sample.scene import Group, Scene

__all__ = ["dialogues"]

# Kinds of which no backdrop shows one by the way, so that "there is none" is true when the list has none.
PLAIN_ABSENT = (
    "cow",
    "sheep",
    "bus",
    "tractor",
    "sailboat",
    "teapot",
    "sofa",
    "kite",
    "snowman",
    "bench",
    "dog",
    "cat",
)


def dialogues(scene: Scene, rng: Random) -> list[tuple[str, list[QA]]]:
    """Return three dialogues of five questions each, with their topics."""
    made = [(topic, write(scene, rng)) for topic, write in TOPICS.items()]
    usable = [(topic, qas) for topic, qas in made if len(qas) >= 5]
    return [(topic, _five(qas, rng)) for topic, qas in rng.sample(usable, 3)]


def _five(qas: list[QA], rng: Random) -> list[QA]:
    """Five of the questions, in their order: a dialogue goes from the general to the particular."""
    return [qas[k] for k in sorted(rng.sample(range(len(qas)), 5))]


def kinds_of(scene: Scene) -> dict[str, list[Group]]:
    """Return the scene's groups by kind."""
    found: dict[str, list[Group]] = {}
    for group in groups(scene):
        found.setdefault(group.kind.name, []).append(group)
    return found


def people(scene: Scene) -> list[Group]:
    """Return the groups of people."""
    return [group for group in groups(scene) if "person" in group.kind]


def _objects(scene: Scene, rng: Random) -> list[QA]:
    present = [group for group in groups(scene) if group.kind.name != "table"]
    shown = rng.choice(present)
    absent = rng.choice([kind for kind in PLAIN_ABSENT if kind not in kinds_of(scene)])
    row = [thing for thing in scene.things if thing.kind.name != "table"]
    left, right = min(row, key=lambda thing: thing.box.x), max(row, key=lambda thing: thing.box.right)
    back, front = present[0], present[-1]
    return [
        ("What does the picture show?", f"It shows {scene.place.setting} with {listed(a(g) for g in present)}."),
        ("What is behind all of this?", f"Behind everything there {_verb(scene)} {scene.place.behind}."),
        (f"Can you see {article(absent)} anywhere?", f"No, there is no {absent} here."),
        (f"And {article(shown.kind.name)}?", f"Yes, there {are(shown)} {a(shown)}."),
        ("What is furthest to the left?", f"Furthest to the left is {article(_one(left.colour, left.kind.name))}."),
        ("And what is furthest to the right?", f"That is {article(_one(right.colour, right.kind.name))}."),
        (f"Where {are(front)} {the(front)}?", f"{tell(the(front))} {are(front)} {where(front.first, scene)}.")
        if len(front) == 1
        else (f"How many {front.kind.plural} are {front.colour}?", f"{tell(number(len(front)))} of them."),
        (f"Where {are(back)} {the(back)}?", f"{tell(the(back))} {are(back)} {where(back.first, scene)}.")
        if len(back) == 1
        else (f"How many {back.kind.plural} are {back.colour}?", f"{tell(number(len(back)))} of them."),
    ]


def _verb(scene: Scene) -> str:
    """Return the verb for what lies behind: "pale rooftops" are, "a calm sea" is."""
    return "is" if scene.place.behind.startswith(("a ", "an ")) else "are"


def _one(colour: str, kind: str) -> str:
    return f"{kind} in {colour}" if "person" in KINDS[kind] else f"{colour} {kind}"


def _colours(scene: Scene, rng: Random) -> list[QA]:
    qas: list[QA] = []
    for kind, found in kinds_of(scene).items():
        first = found[0]
        noun = kind if sum(map(len, found)) == 1 else first.kind.plural
        if "person" in first.kind:
            wear = (
                f"The {kind} is" if noun == kind else f"There {are(first)} {listed(a(g) for g in found)}, so they are"
            )
            tail = f"wearing {first.colour}." if len(found) == 1 else "not all dressed alike."
            qas.append((f"What colour {'is' if noun == kind else 'are'} the {noun} wearing?", f"{wear} {tail}"))
        elif len(found) > 1:
            qas.append((f"Do all the {noun} have the same colour?", f"No, there {are(first)} {listed(map(a, found))}."))
        else:
            answer = f"The {noun} {are(first)} {first.colour}."
            qas.append((f"What colour {are(first)} the {noun}?", answer))
    shown = {group.colour for group in groups(scene)}
    colour = rng.choice(sorted(shown))
    same = [group for group in groups(scene) if group.colour == colour]
    missing = rng.choice(sorted(set(COLOURS) - shown))
    qas.append(
        (f"Which things are mainly {colour}?", f"Mainly {colour} {be(sum(map(len, same)))} {listed(map(the, same))}.")
    )
    qas.append((f"Is any of the things mainly {missing}?", f"No, none of them is mainly {missing}."))
    return qas


def _counting(scene: Scene, rng: Random) -> list[QA]:
    qas: list[QA] = []
    for found in kinds_of(scene).values():
        n, plural = sum(map(len, found)), found[0].kind.plural
        noun = found[0].kind.name if n == 1 else plural
        detail = f": {listed(map(name, found))}" if len(found) > 1 else ""
        qas.append((f"How many {plural} are there?", f"There {be(n)} {number(n)} {noun}{detail}."))
    rng.shuffle(qas)
    heads = sum(map(len, people(scene)))
    beasts = sum(len(group) for group in groups(scene) if "animal" in group.kind)
    folk = "person" if heads == 1 else "people"
    qas.append(("How many people can be seen?", f"{tell(number(heads))} {folk} can be seen."))
    qas.append(("And how many animals?", f"{tell(number(beasts))} animal{'' if beasts == 1 else 's'} can be seen."))
    total = heads + beasts
    answer = "Nobody is here, neither person nor animal." if not total else f"That makes {number(total)}."
    qas.append(("How many people and animals is that together?", answer))
    return qas


def _positions(scene: Scene, rng: Random) -> list[QA]:
    lone = single(scene)
    rng.shuffle(lone)
    qas = [(f"Where is {the(group)}?", f"{tell(the(group))} is {where(group.first, scene)}.") for group in lone[:4]]
    for one, other in pairwise(lone):
        p, q = one.first.box, other.first.box
        if p.right <= q.x or q.right <= p.x:
            side = "left" if p.right <= q.x else "right"
            qas.append(
                (
                    f"Is {the(one)} to the left or to the right of {the(other)}?",
                    f"{tell(the(one))} is to the {side} of {the(other)}.",
                )
            )
    for half in ("left", "right"):
        there = [g for g in lone if spot(g.first.box, scene) == f"on the {half}"]
        if there:
            qas.append((f"Name one thing on the {half} side.", f"{tell(the(there[0]))} is on the {half} side."))
    return qas


def _place(scene: Scene, rng: Random) -> list[QA]:
    place, folk = scene.place, people(scene)
    inside = "Indoors" if place.indoors else "Outdoors"
    seats = [group for group in groups(scene) if "seat" in group.kind]
    qas = [
        ("What kind of place is this?", f"This is {place.setting}."),
        ("Are we indoors or outdoors?", f"{inside}: the scene shows {place.setting}."),
        ("What can be seen in the background?", f"One sees {place.behind}."),
        ("What is in the foreground?", f"The lower part of the picture is taken up by {place.floor}."),
        ("Is anybody there?", f"Yes, {listed(map(a, folk))}." if folk else "No, there are no people here."),
        (
            "Is there anything made for sitting?",
            f"Yes, {listed(map(a, seats))}." if seats else "No, there is neither a bench nor a chair.",
        ),
        ("What should a visitor keep in mind?", place.visit),
    ]
    if not place.indoors:
        sun = any(group.kind.name == "sun" for group in groups(scene))
        qas.insert(2, ("Is the sun visible?", "Yes, it stands in the sky." if sun else "No, the sun cannot be seen."))
    return qas if rng.random() < 0.5 else qas[1:]


def _uses(scene: Scene, rng: Random) -> list[QA]:
    useful = [group for group in groups(scene) if group.kind.use]
    rng.shuffle(useful)
    return [
        (
            f"What {'is' if len(group) == 1 else 'are'} {the(group)} good for?",
            f"With {'it' if len(group) == 1 else 'them'} one can {group.kind.use}.",
        )
        for group in useful
    ]


TOPICS: dict[str, Callable[[Scene, Random], list[QA]]] = {
    "Things in the picture": _objects,
    "Colours": _colours,
    "How many there are": _counting,
    "Left, right, near and far": _positions,
    "The place vis-à-vis its visitors": _place,
    "What things are good for": _uses,
}
