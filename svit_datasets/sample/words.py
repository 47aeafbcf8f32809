"""Grammar for scenes: what a group of things is called, with article or number, and where it is.

In come groups and boxes, out come short pieces of English. Whole sentences are made by the writers of questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_datasets.sample.scene import groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from svit_datasets.sample.scene import Box, Group, Scene, Thing

__all__ = ["QA", "a", "are", "be", "listed", "name", "number", "single", "spot", "tell", "the", "where"]

QA = tuple[str, str]  # question, answer
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def number(n: int) -> str:
    """Return ``n`` as a word up to twelve, as digits beyond."""
    return NUMBERS[n] if n < len(NUMBERS) else str(n)


def article(noun: str) -> str:
    """Return ``noun`` with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def name(group: Group) -> str:
    """Return "red car", "woman in red", or "three red apples"."""
    many = len(group) > 1
    noun = group.kind.plural if many else group.kind.name
    noun = f"{noun} in {group.colour}" if "person" in group.kind else f"{group.colour} {noun}"
    return f"{number(len(group))} {noun}" if many else noun


def a(group: Group) -> str:
    """Return "a red car" or "three red apples"."""
    return name(group) if len(group) > 1 else article(name(group))


def the(group: Group) -> str:
    """Return "the red car" or "the three red apples"."""
    return f"the {name(group)}"


def tell(text: str) -> str:
    """Return ``text`` with a capital first letter."""
    return text[:1].upper() + text[1:]


def are(group: Group) -> str:
    """Return the verb that goes with ``group``."""
    return be(len(group))


def be(n: int) -> str:
    """Return the verb that goes with ``n`` things."""
    return "is" if n == 1 else "are"


def listed(parts: Iterable[str], last: str = "and") -> str:
    """Return the parts as an enumeration: "a cup, a bowl and two pears"."""
    words = list(parts)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def single(scene: Scene) -> list[Group]:
    """Return the groups of one thing each: what a definite article points at without doubt."""
    return [group for group in groups(scene) if len(group) == 1 and group.kind.name != "table"]


def spot(box: Box, scene: Scene) -> str:
    """Return where the box's centre is: "on the left", "in the middle" or "on the right"."""
    share = box.middle / scene.width
    return "on the left" if share < 0.36 else "on the right" if share > 0.64 else "in the middle"


def where(thing: Thing, scene: Scene) -> str:
    """Return where a thing is, with what holds it: "on the road, on the left"."""
    holder = {
        "sky": "in the sky",
        "wall": "on the wall",
        "water": "on the water",
        "table": "on the table",
        "ground": "on the ground" if not scene.place.indoors else "on the floor",
    }[thing.level]
    return f"{holder}, {spot(thing.box, scene)}"


def nearer(things: Sequence[Thing], height: int) -> list[Thing]:
    """Return the things that stand on the floor or a table, nearest first, if clearly apart; else an empty list.

    What stands lower in the picture is nearer to the viewer; a twelfth of the height counts as clear.
    """
    standing = sorted((t for t in things if t.level in {"ground", "table"}), key=lambda t: -t.box.bottom)
    standing = [thing for thing in standing if thing.kind.name != "table"]
    clear = len(standing) > 1 and standing[0].box.bottom - standing[-1].box.bottom > height / 12
    return standing if clear else []
