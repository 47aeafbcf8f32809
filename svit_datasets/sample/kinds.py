"""The table of kinds: what can stand in a scene, how large and in which colours, and what is true of every one of them.

Pure data. `scene` picks from it, `draw` calls the painter, and the writers of questions rely on the traits being true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from svit_datasets.sample import creatures, indoors, outdoors

if TYPE_CHECKING:
    from collections.abc import Callable

    from svit_datasets.sample.pen import RGB, Pen

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing."""

    name: str  # singular noun, "hay bale"
    plural: str
    synset: str  # WordNet sense, as in Visual Genome: "car.n.01"
    height: float  # usual height as a share of the picture's shorter side
    aspect: float  # width / height
    colours: tuple[str, ...]  # the colours it may have, keys of COLOURS
    paint: Callable[[Pen, RGB], None]
    traits: frozenset[str]  # made, alive, animal, person, plant, seat, hand, rolls, motor, wind, food, sky
    use: str = ""  # what a person can do with it, after "to": "cross the water"; empty when nothing obvious

    def __contains__(self, trait: str) -> bool:
        return trait in self.traits


def _kind(
    name: str,
    size: tuple[float, float],
    colours: str,
    paint: Callable[[Pen, RGB], None],
    truths: str,
    *,
    plural: str = "",
    synset: str = "",
) -> Kind:
    """Return a kind; ``truths`` are its traits and, after a colon, its use."""
    traits, _, use = truths.partition(": ")
    return Kind(
        name=name,
        plural=plural or name + "s",
        synset=synset or name.replace(" ", "_") + ".n.01",
        height=size[0],
        aspect=size[1],
        colours=tuple(colours.split()),
        paint=paint,
        traits=frozenset(traits.split()),
        use=use,
    )


_OUT = (
    _kind("sun", (0.12, 1), "yellow", outdoors.sun, "sky"),
    _kind("cloud", (0.13, 2.1), "white", outdoors.cloud, "sky"),
    _kind("kite", (0.24, 0.72), "red orange pink purple", outdoors.kite, "made sky wind hand: play in the wind"),
    _kind(
        "hot-air balloon",
        (0.26, 0.76),
        "red orange purple",
        outdoors.balloon,
        "made sky wind: look at the land from above",
        synset="balloon.n.01",
    ),
    _kind("house", (0.36, 1.02), "white yellow red blue pink", outdoors.house, "made building: live under a roof"),
    _kind("barn", (0.36, 1.2), "red brown", outdoors.barn, "made building: keep animals and hay dry"),
    _kind("tree", (0.36, 0.74), "green", outdoors.tree, "alive plant: rest in its shade"),
    _kind("maple tree", (0.37, 0.74), "orange yellow red", outdoors.tree, "alive plant: gather coloured leaves"),
    _kind("pine", (0.36, 0.6), "green", outdoors.pine, "alive plant: find shelter from the wind", synset="pine.n.01"),
    _kind("lamp post", (0.38, 0.2), "black", outdoors.lamp_post, "made light: see the way after dark"),
    _kind("bench", (0.15, 2), "brown green red", outdoors.bench, "made seat: sit down and rest", plural="benches"),
    _kind("tent", (0.25, 1.4), "orange blue green red", outdoors.tent, "made: sleep outdoors"),
    _kind("car", (0.19, 2.1), "red blue yellow white", outdoors.car, "made motor rolls: drive a few people somewhere"),
    _kind(
        "bus",
        (0.26, 1.95),
        "red orange green blue",
        outdoors.bus,
        "made motor rolls: travel together",
        plural="buses",
    ),
    _kind("truck", (0.25, 1.75), "blue red green", outdoors.truck, "made motor rolls: move heavy goods"),
    _kind("tractor", (0.24, 1.3), "green red blue", outdoors.tractor, "made motor rolls: work in the fields"),
    _kind("sailboat", (0.28, 0.84), "red blue orange", outdoors.boat, "made wind: cross the water"),
    _kind(
        "beach umbrella",
        (0.36, 0.86),
        "red blue orange pink",
        outdoors.umbrella,
        "made: stay out of the sun",
        synset="beach_umbrella.n.01",
    ),
    _kind("bucket", (0.11, 0.9), "red blue yellow", outdoors.bucket, "made hand: carry sand or water"),
    _kind("ball", (0.1, 1), "red blue orange purple", outdoors.ball, "made hand rolls toy: play a game"),
    _kind("hay bale", (0.16, 1.24), "yellow", outdoors.hay_bale, "rolls: feed animals", synset="bale.n.01"),
    _kind("sled", (0.11, 2.3), "red blue orange", outdoors.sled, "made toy: slide down a slope"),
    _kind("snowman", (0.32, 0.62), "white", outdoors.snowman, "made", plural="snowmen"),
)
_CREATURES = (
    _kind("woman", (0.34, 0.42), "red blue purple yellow", creatures.woman, "alive person", plural="women"),
    _kind("man", (0.35, 0.4), "green blue orange red", creatures.man, "alive person", plural="men"),
    _kind("child", (0.25, 0.46), "yellow red blue pink", creatures.child, "alive person", plural="children"),
    _kind("dog", (0.16, 1.3), "brown black white", creatures.dog, "alive animal"),
    _kind("cat", (0.18, 0.84), "orange grey black", creatures.cat, "alive animal", synset="cat.n.01"),
    _kind("cow", (0.22, 1.46), "brown white black", creatures.cow, "alive animal"),
    _kind("sheep", (0.15, 1.34), "white", creatures.sheep, "alive animal", plural="sheep"),
    _kind("duck", (0.12, 1.2), "white brown yellow", creatures.duck, "alive animal"),
)
_IN = (
    _kind("window", (0.3, 0.9), "white brown", indoors.window, "made wall: let daylight in"),
    _kind("clock", (0.17, 1), "red blue black green", indoors.clock, "made wall: tell the time"),
    _kind(
        "framed picture",
        (0.2, 1.3),
        "brown black red",
        indoors.picture,
        "made wall: decorate the wall",
        synset="picture.n.01",
    ),
    _kind("table", (0.4, 3), "brown white grey", indoors.table, "made: put things down"),
    _kind("cup", (0.13, 1.1), "red blue white yellow green", indoors.cup, "made hand: drink something warm"),
    _kind("bowl", (0.12, 1.9), "blue white green orange", indoors.bowl, "made hand: hold soup or fruit"),
    _kind("bottle", (0.28, 0.36), "green blue", indoors.bottle, "made hand: keep a drink"),
    _kind("teapot", (0.19, 1.5), "white blue red purple", indoors.teapot, "made hand: pour tea"),
    _kind("apple", (0.11, 0.9), "red green yellow", indoors.apple, "hand food: eat a fresh snack"),
    _kind("pear", (0.15, 0.66), "green yellow", indoors.pear, "hand food: eat a fresh snack"),
    _kind(
        "loaf of bread",
        (0.12, 2.1),
        "brown",
        indoors.bread,
        "made food hand: cut slices to eat",
        plural="loaves of bread",
        synset="loaf_of_bread.n.01",
    ),
    _kind("vase", (0.3, 0.6), "blue white purple", indoors.vase, "made hand: keep cut flowers in water"),
    _kind("sofa", (0.3, 2), "red blue green grey", indoors.sofa, "made seat: rest beside a friend", synset="sofa.n.01"),
    _kind("armchair", (0.29, 1), "yellow blue red green", indoors.armchair, "made seat: sit and read"),
    _kind("floor lamp", (0.46, 0.36), "yellow orange white", indoors.floor_lamp, "made light: read in the evening"),
    _kind("potted plant", (0.27, 0.8), "green", indoors.plant, "alive plant: bring some green into the room"),
    _kind(
        "bookshelf", (0.44, 0.86), "brown white", indoors.bookshelf, "made: keep books in order", plural="bookshelves"
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*_OUT, *_CREATURES, *_IN)}
