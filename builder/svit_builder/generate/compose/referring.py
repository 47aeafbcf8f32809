"""Notes in, questions out whose things carry their boxes: ``<st>name<ed> [x1, y1, x2, y2]``, copied as noted.

Questions name things in plain words or in the markup; every answer, or else its question, has a box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_builder.generate.compose.knowledge import sorts_of
from svit_builder.generate.compose.places import apart, relation, spot
from svit_builder.generate.compose.words import QA, is_mass, listed, number, plural, sentence

if TYPE_CHECKING:
    from random import Random

    from svit_builder.generate.compose.notes import Kind, Notes, Thing

__all__ = ["referrings"]


def referrings(notes: Notes, rng: Random) -> list[QA]:
    """Return questions with answers, the varied ones first."""
    ways = [_where, _sides, _pairs, _counts, _sorts, _parts, _sizes]
    found = [way(notes, rng) for way in ways]
    for qas in found:
        rng.shuffle(qas)
    longest = max(map(len, found))
    return [qas[k] for k in range(longest) for qas in found if k < len(qas)]  # one of each way, then the next


def _mark(thing: Thing) -> str:
    return f"<st>{thing.name}<ed> {thing.written}"


def _marks(kind: Kind) -> str:
    """Return a kind's name, as noted, in markup with all of its boxes."""
    return f"<st>{kind.name}<ed> {', '.join(thing.written for thing in kind.things)}"


def _where(notes: Notes, _: Random) -> list[QA]:
    return [
        (f"Where {kind.are} {kind.the}?", sentence(f"the {_marks(kind)} {kind.are} {spot(kind.first)}"))
        for kind in notes.lone
    ]


def _sides(notes: Notes, rng: Random) -> list[QA]:
    qas = []
    things = [kind.first for kind in notes.lone]
    for side, found in (
        ("on the left side", [thing for thing in things if thing.x < 0.36]),
        ("on the right side", [thing for thing in things if thing.x > 0.64]),
        ("in the upper part", [thing for thing in things if thing.y < 0.34]),
        ("in the lower part", [thing for thing in things if thing.y > 0.66]),
    ):
        picked = rng.sample(found, min(3, len(found)))
        if picked:
            answer = f"{side} one finds {listed(f'the {_mark(thing)}' for thing in picked)}"
            qas.append((f"What is there to find {side}?", sentence(answer)))
    return qas


def _pairs(notes: Notes, rng: Random) -> list[QA]:
    lone = list(notes.lone)
    rng.shuffle(lone)
    qas = []
    for one, other in zip(lone[::2], lone[1::2], strict=False):
        a, b = one.first, other.first
        how = relation(a, b)
        if how is not None:
            question = f"How {one.are} the {_mark(a)} placed with regard to the {_mark(b)}?"
            qas.append((question, sentence(f"the {_mark(a)} {one.are} {how} the {_mark(b)}")))
        if apart(a, b) or apart(b, a):
            left, right = (one, other) if a.x < b.x else (other, one)
            question = f"Which is further left, {one.the} or {other.the}?"
            answer = f"the {_mark(left.first)} {left.are} further left than the {_mark(right.first)}"
            qas.append((question, sentence(answer)))
    return qas


def _counts(notes: Notes, _: Random) -> list[QA]:
    qas = []
    for kind in notes.kinds:
        if len(kind) > 1 and kind.countable:
            question = f"How many {plural(kind.name)} can be seen, and where?"
            places = ", ".join(thing.written for thing in kind.things)
            answer = f"there are {number(len(kind))}: <st>{kind.name}<ed> {places}"
            qas.append((question, sentence(answer)))
            last = kind.things[-1]
            if apart(kind.things[-2], last):
                qas.append(
                    (
                        f"Which of the {number(len(kind))} {plural(kind.name)} is furthest to the right?",
                        sentence(f"it is the {_mark(last)} {spot(last)}"),
                    )
                )
    return qas


def _sorts(notes: Notes, _: Random) -> list[QA]:
    qas = []
    for sort, question, said in (
        ("person", "Who can be seen?", "one can see"),
        ("animal", "Which animals are there?", "there one sees"),
        ("seat", "Where could one sit down?", "one could sit down on"),
        ("plant", "What grows here?", "there grows"),
        ("food", "What is there to eat?", "one could eat"),
        ("vehicle", "Which vehicles can be made out?", "one can make out"),
        ("powered", "What here runs on electricity?", "electricity is needed for"),
        ("lamp", "What could give light?", "light could come from"),
        ("fragile", "What would break if it fell?", "one should be careful with"),
        ("worn", "What here is made to be worn?", "one could wear"),
        ("glazed", "Through what could one look?", "one could look through"),
        ("open_air", "What tells that the photo was taken in the open?", "one can tell by"),
    ):
        found = [kind for kind in notes.kinds if sort in sorts_of(kind.name)][:3]
        if found:
            qas.append((question, sentence(f"{said} {listed(f'the {_marks(kind)}' for kind in found)}")))
    return qas


def _parts(notes: Notes, _: Random) -> list[QA]:
    """Ask what a remark tells of the only thing of its name."""
    qas = []
    for kind in notes.lone:
        if kind.colour:
            question = f"What colour {kind.are} the {_mark(kind.first)}?"
            qas.append((question, sentence(f"the {_mark(kind.first)} {kind.are} {kind.colour}")))
    return qas


def _sizes(notes: Notes, rng: Random) -> list[QA]:
    lone = list(notes.lone)
    rng.shuffle(lone)
    qas = []
    for one, other in zip(lone[::2], lone[1::2], strict=False):
        big, small = (one, other) if one.first.area > other.first.area else (other, one)
        if big.first.area > 1.5 * small.first.area:
            fill = "fill" if big.are == "are" and not is_mass(big.name) else "fills"
            question = f"Which fills more of the view, {one.the} or {other.the}?"
            answer = f"the {_mark(big.first)} {fill} more of it than the {_mark(small.first)}"
            qas.append((question, sentence(answer)))
    return qas
