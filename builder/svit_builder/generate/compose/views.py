"""Notes in, questions out about the view itself: what would change if it were covered, mirrored, turned or cut.

They rest on places alone, so any photo with a thing in it gives some. What a photo cannot tell, such as depth, is said
to be open.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from svit_builder.generate.compose.places import apart
from svit_builder.generate.compose.words import QA, listed, number, plural, sentence, tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from svit_builder.generate.compose.notes import Notes

__all__ = ["views"]


def views(notes: Notes, rng: Random) -> list[QA]:
    """Return questions with answers, in any order."""
    found = [qa for write in _WRITERS for qa in write(notes, rng)]
    rng.shuffle(found)
    return found


def _halves(notes: Notes, rng: Random) -> list[QA]:
    lone = list(notes.lone)
    rng.shuffle(lone)
    qas = []
    sides = (("left", "x1", "x2"), ("upper", "y1", "y2"), ("right", "x1", "x2"), ("lower", "y1", "y2"))
    for k in range(8 if lone else 0):
        kind, (side, low, high) = lone[(k % 4 + k // 4) % len(lone)], sides[k % 4]
        begin, end = getattr(kind.first.box, low), getattr(kind.first.box, high)
        if side in ("right", "lower"):
            begin, end = 1 - end, 1 - begin
        if end <= 0.5:
            answer = f"{kind.the} {kind.are} wholly in that half, so nothing of this would be left to see"
        elif begin >= 0.5:
            answer = f"{kind.the} {kind.are} wholly in the other half, so nothing would change for whoever looks at it"
        else:
            reach = "reach" if kind.are == "are" else "reaches"
            answer = f"{kind.the} {reach} into both halves, so a part would stay in view"
        question = f"If the {side} half of the photo were covered, what would become of {kind.the}?"
        qas.append((question, sentence(answer)))
    return qas


def _mirror(notes: Notes, rng: Random) -> list[QA]:
    sided = [kind for kind in notes.lone if abs(kind.first.x - 0.5) > 0.15]
    qas = []
    for kind in rng.sample(sided, min(2, len(sided))):
        now, then = ("left", "right") if kind.first.x < 0.5 else ("right", "left")
        answer = (
            f"Now {kind.the} {kind.are} on the {now}. A mirror swaps left and right and keeps the height, so "
            f"{kind.the} would be on the {then}, just as high up as now."
        )
        qas.append((f"If the photo were mirrored, on which side would {kind.the} be?", answer))
    return qas


def _turn(notes: Notes, _: Random) -> list[QA]:
    lone = notes.lone
    if len(lone) < 2:
        return []
    right, left = max(lone, key=lambda kind: kind.first.box.x1), min(lone, key=lambda kind: kind.first.box.x2)
    if not apart(left.first, right.first):
        return []
    qas = []
    for to, away, last in (("left", "right", right), ("right", "left", left)):
        answer = (
            f"When one turns to the {to}, everything in view moves to the {away}, and what is nearest to the {away} "
            f"edge leaves first. Of the things that are there only once, that {last.are} {last.the}."
        )
        qas.append((f"If the viewer slowly turned to the {to}, what would go out of sight early?", answer))
    return qas


def _zoom(notes: Notes, rng: Random) -> list[QA]:
    qas = []
    for kind in rng.sample(notes.lone, min(2, len(notes.lone))):
        box = kind.first.box
        inside = box.x1 >= 0.25 and box.y1 >= 0.25 and box.x2 <= 0.75 and box.y2 <= 0.75
        outside = box.x2 <= 0.25 or box.y2 <= 0.25 or box.x1 >= 0.75 or box.y1 >= 0.75
        rest = (
            f"{tell(kind.the)} {kind.are} wholly within that part, so yes, and twice as large as before."
            if inside
            else f"{tell(kind.the)} {kind.are} wholly outside of that part, so no."
            if outside
            else f"{tell(kind.the)} {kind.are} partly within that part, so only a piece would stay in view."
        )
        question = f"If one zoomed in on the middle until all looked twice as large, would {kind.the} stay in view?"
        qas.append((question, f"Of the width and of the height, the middle half would be left. {rest}"))
    return qas


def _lines(notes: Notes, rng: Random) -> list[QA]:
    qas = []
    ways = (("straight down", "x1", "x2", "sideways"), ("straight across", "y1", "y2", "up or down"))
    for kind, (how, low, high, off) in zip(rng.sample(notes.lone, min(2, len(notes.lone))), ways, strict=False):
        crosses = getattr(kind.first.box, low) < 0.5 < getattr(kind.first.box, high)
        answer = (
            f"Yes: {kind.the} {'reach' if kind.are == 'are' else 'reaches'} from one side of the middle to the other, "
            "so the fold would run right there."
            if crosses
            else f"No: {kind.the} {kind.are} off the middle, further {off}, and lies on one side of the fold only."
        )
        if kind.are == "are":
            answer = answer.replace(" and lies ", " and lie ")
        qas.append((f"If a print of the photo were folded {how} the middle, would {kind.the} get a crease?", answer))
    return qas


def _heights(notes: Notes, rng: Random) -> list[QA]:
    picked = rng.sample(notes.lone, min(3, len(notes.lone)))
    row = sorted(picked, key=lambda kind: kind.first.y)
    if len(row) < 3 or any(b.first.y - a.first.y < 0.08 for a, b in pairwise(row)):
        return []
    answer = f"by their middles {row[0].the} {row[0].are} highest up, then come {listed(kind.the for kind in row[1:])}"
    names = listed(kind.the for kind in picked)
    return [(f"Going from top to bottom, in which order does the eye meet {names}?", sentence(answer))]


def _scissors(notes: Notes, rng: Random) -> list[QA]:
    lone = list(notes.lone)
    rng.shuffle(lone)
    qas = []
    for one, other in list(zip(lone[::2], lone[1::2], strict=False))[:2]:
        a, b = one.first.box, other.first.box
        shared = min(a.x2, b.x2) > max(a.x1, b.x1) and min(a.y2, b.y2) > max(a.y1, b.y1)
        if not shared:
            answer = (
                f"Yes. The part of the photo that {one.the} {'take' if one.are == 'are' else 'takes'} up and that of "
                f"{other.the} have nothing in common, so one can be cut out and the other stays whole."
            )
            qas.append((f"Could one cut {one.the} out of a print in a rectangle without hurting {other.the}?", answer))
    return qas


def _order(notes: Notes, rng: Random) -> list[QA]:
    lone = [kind for kind in notes.lone if kind.first.box.x2 - kind.first.box.x1 < 0.5]
    picked = rng.sample(lone, min(4, len(lone)))
    row = sorted(picked, key=lambda kind: kind.first.x)
    if len(row) < 3 or not all(apart(a.first, b.first) for a, b in pairwise(row)):
        return []
    answer = f"by their middles one meets first {row[0].the}, then {listed(kind.the for kind in row[1:])}"
    return [
        (
            f"Going from left to right, in which order does one meet {listed(kind.the for kind in picked)}?",
            sentence(answer),
        )
    ]


def _arithmetic(notes: Notes, rng: Random) -> list[QA]:
    qas = []
    for kind in [kind for kind in notes.kinds if kind.countable and len(kind) > 1][:2]:
        n, less = len(kind), rng.randint(1, len(kind) - 1)
        rest = kind.name if n - less == 1 else plural(kind.name)
        answer = (
            f"There are {number(n)} {plural(kind.name)} now. {tell(number(n))} less {number(less)} is "
            f"{number(n - less)}, so {number(n - less)} {rest} would remain."
        )
        qas.append((f"If {number(less)} of {kind.the} went out of view, how many would remain?", answer))
        both = f"{tell(number(n))} can be seen, and twice {number(n)} is {number(2 * n)}."
        qas.append((f"If there were twice as many {plural(kind.name)}, how many would that make?", both))
    return qas


def _groups(notes: Notes, rng: Random) -> list[QA]:
    several = [kind for kind in notes.kinds if kind.countable and len(kind) > 1]
    rng.shuffle(several)
    qas = []
    for kind, side in zip(several[:3], ("left", "right", "left"), strict=False):
        free = [t for t in kind.things if (t.box.x1 >= 0.5 if side == "left" else t.box.x2 <= 0.5)]
        left = f"{number(len(free))} of them" if free else "none of them"
        answer = f"The other half holds {left} as a whole, and that is what would still be seen completely."
        qas.append((f"If the {side} half were hidden, how many of {kind.the} could be seen completely?", answer))
    for one, other in pairwise(several[:3]):
        n, m = len(one), len(other)
        both = f"{tell(one.the)} and {other.the} make {number(n)} and {number(m)}, which is {number(n + m)} together."
        qas.append((f"How many are {one.the} and {other.the} taken together?", both))
        enough = "so yes" if n == m else f"so {number(abs(n - m))} would be left over"
        question = f"If each of {one.the} were paired with one of {other.the}, would it work out?"
        qas.append((question, f"There are {number(n)} of the ones and {number(m)} of the others, {enough}."))
    return qas


def _size(notes: Notes, rng: Random) -> list[QA]:
    lone = list(notes.lone)
    rng.shuffle(lone)
    qas = []
    for one, other in zip(lone[::2], lone[1::2], strict=False):
        big, small = (one, other) if one.first.area > other.first.area else (other, one)
        if big.first.area > 2 * small.first.area:
            fills = "fill" if big.are == "are" else "fills"
            question = f"Does it follow from the photo alone that {big.the} must be larger than {small.the}?"
            answer = (
                f"In the photo {big.the} {fills} more room than {small.the}. But what is near looks larger than what "
                "is far, so the photo alone does not prove it; one has to know such things, or how far away they are."
            )
            qas.append((question, answer))
    return qas[:2]


def _middle(notes: Notes, rng: Random) -> list[QA]:
    lone = list(notes.lone)
    rng.shuffle(lone)
    qas = []
    for one, other in list(zip(lone[::2], lone[1::2], strict=False))[:2]:
        far = [abs(kind.first.x - 0.5) + abs(kind.first.y - 0.5) for kind in (one, other)]
        if abs(far[0] - far[1]) > 0.15:
            near, away = (one, other) if far[0] < far[1] else (other, one)
            question = f"Would one have to turn further to look straight at {away.the} than at {near.the}?"
            answer = (
                f"Yes. {tell(near.the)} {near.are} closer to the middle of the view than {away.the}, and the further "
                "something is from the middle, the more one has to turn towards it."
            )
            qas.append((question, answer))
    return qas


def _behind(notes: Notes, _: Random) -> list[QA]:
    for k, one in enumerate(notes.lone[:8]):
        for other in notes.lone[k + 1 : 8]:
            a, b = one.first.box, other.first.box
            if a.x1 < b.x1 and a.y1 < b.y1 and a.x2 > b.x2 and a.y2 > b.y2:
                answer = (
                    f"Seen from here, the outline of {other.the} lies within that of {one.the}. So {other.the} "
                    f"{other.are} in front of {one.the}, a part of it, or seen through it; which of these, the photo "
                    "alone may leave open."
                )
                return [(f"How may {other.the} and {one.the} stand to each other in depth?", answer)]
    return []


_WRITERS: tuple[Callable[[Notes, Random], list[QA]], ...] = (
    _halves, _mirror, _turn, _zoom, _lines, _order, _heights, _scissors, _arithmetic, _groups, _size, _middle, _behind,
)  # fmt: skip
