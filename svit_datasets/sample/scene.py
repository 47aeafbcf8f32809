"""What stands where: an image id and a seed become a `Scene`, a list of coloured things with exact pixel boxes.

Nothing is drawn and nothing is worded here. Things never overlap, except that what is on a table lies over the table,
so every box is the box of what one sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from svit_datasets.sample.kinds import KINDS, Kind
from svit_datasets.sample.pen import seeded
from svit_datasets.sample.places import PLACES, Band, Place

if TYPE_CHECKING:
    from random import Random

__all__ = ["Box", "Group", "Scene", "Thing", "groups", "make_scene"]

SIZES = ((500, 375), (640, 480), (500, 333), (375, 500), (500, 375))  # pixels, as in Visual Genome
LIGHTS = ("morning", "midday", "evening")
MARGIN = 5  # pixels kept free between two things


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, top-left origin."""

    x: int
    y: int
    w: int
    h: int

    @property
    def right(self) -> int:
        """The first column to the right of the box."""
        return self.x + self.w

    @property
    def bottom(self) -> int:
        """The first row below the box."""
        return self.y + self.h

    @property
    def middle(self) -> float:
        """The column of the centre."""
        return self.x + self.w / 2

    def touches(self, other: Box, margin: int = 0) -> bool:
        """Whether the two come closer than ``margin`` pixels."""
        return (
            self.x < other.right + margin
            and other.x < self.right + margin
            and self.y < other.bottom + margin
            and other.y < self.bottom + margin
        )

    def union(self, other: Box) -> Box:
        """Return the smallest box around both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        return Box(x, y, max(self.right, other.right) - x, max(self.bottom, other.bottom) - y)


@dataclass(frozen=True, slots=True)
class Thing:
    """One drawn thing."""

    kind: Kind
    colour: str  # key of COLOURS
    box: Box  # pixels
    level: str  # the band's level: sky, wall, water, ground, table


@dataclass(frozen=True, slots=True)
class Group:
    """All things of one kind and colour in a scene: what "the red car" or "the three red apples" means."""

    kind: Kind
    colour: str  # key of COLOURS
    things: tuple[Thing, ...]  # from left to right, at least one

    @property
    def first(self) -> Thing:
        """The leftmost of them."""
        return self.things[0]

    def __len__(self) -> int:
        return len(self.things)


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture before it is drawn."""

    image_id: int  # Visual Genome style id
    seed: int  # of the whole corpus; the same pair gives the same scene
    width: int  # pixels
    height: int  # pixels
    place: Place
    light: str  # "morning", "midday" or "evening"
    things: tuple[Thing, ...]  # in painting order, from back to front


def groups(scene: Scene) -> list[Group]:
    """Return the scene's things by kind and colour, in order of first appearance."""
    found: dict[tuple[str, str], list[Thing]] = {}
    for thing in scene.things:
        found.setdefault((thing.kind.name, thing.colour), []).append(thing)
    return [
        Group(same[0].kind, same[0].colour, tuple(sorted(same, key=lambda thing: thing.box.x)))
        for same in found.values()
    ]


def make_scene(image_id: int, seed: int, number: int) -> Scene:
    """Return the scene of ``image_id``; ``number`` (its place in the corpus) picks place and size in turn."""
    rng = seeded(seed, image_id, "scene")
    place = list(PLACES.values())[number % len(PLACES)]
    width, height = SIZES[(number + number // len(PLACES)) % len(SIZES)]
    light = rng.choice(LIGHTS)
    for _ in count():  # a narrow picture may be unlucky; the tables make five kinds likely, so this ends soon
        things = tuple(_furnish(place, light, width, height, rng))
        if len(things) >= 6 and len({thing.kind.name for thing in things}) >= 5:
            break
    return Scene(image_id, seed, width, height, place, light, things)


def _furnish(place: Place, light: str, width: int, height: int, rng: Random) -> list[Thing]:
    placed: list[Thing] = []
    for band in place.bands:
        names = list(dict.fromkeys(rng.sample(band.kinds, len(band.kinds))))
        if light == "evening" and "sun" in names:
            names.remove("sun")  # it has set
        for name in names[: rng.randint(*band.count)]:
            placed += _some(KINDS[name], band, (width, height), placed, rng)
    return placed


def _some(kind: Kind, band: Band, size: tuple[int, int], placed: list[Thing], rng: Random) -> list[Thing]:
    """Return one thing of the kind, or two or three alike; none when there is no room."""
    # Not twice the same group, and nothing in the colour of the table it stands on.
    taken = {thing.colour for thing in placed if thing.kind is kind or thing.kind.name == band.level == "table"}
    colours = [colour for colour in kind.colours if colour not in taken]
    if not colours:
        return []
    colour = rng.choice(colours)
    herd = {"food", "animal", "plant", "sky", "hand"} & kind.traits and kind.name not in {"sun", "loaf of bread"}
    new: list[Thing] = []
    for _ in range(rng.choice((1, 1, 2, 3)) if herd else 1):
        box = _room(kind, band, size, [*placed, *new], rng)
        if box:
            new.append(Thing(kind, colour, box, band.level))
    return new


def _room(kind: Kind, band: Band, size: tuple[int, int], placed: list[Thing], rng: Random) -> Box | None:
    width, height = size
    if kind.name == "table":
        top = round(height * 0.58)
        return Box(0, top, width, height - top)
    for _ in range(25):
        tall = kind.height * band.scale * rng.uniform(0.85, 1.1) * min(width, height)
        h, w = round(tall), round(tall * kind.aspect)
        edge = rng.random() < 0.06  # some stand right at the border: boxes with a bare 0 or 1
        x = rng.choice((0, width - w)) if edge else rng.randint(6, max(6, width - w - 6))
        box = Box(x, round(rng.uniform(*band.base) * height) - h, w, h)
        free = all(not box.touches(thing.box, MARGIN) for thing in placed if thing.kind.name != "table")
        if box.y >= 2 and box.right <= width and free:
            return box
    return None
