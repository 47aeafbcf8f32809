"""The table of places: what a scene there is called, which things stand in which band of it, and what is true of it.

Pure data. `scene` sets things into the bands, `backdrop` paints what lies behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PLACES", "Band", "Place"]


@dataclass(frozen=True, slots=True)
class Band:
    """A strip of the picture in which things stand side by side."""

    level: str  # "sky", "wall", "water", "ground" or "table": things of one level can be compared by distance
    base: tuple[float, float]  # where their feet are, as shares of the height from the top
    count: tuple[int, int]  # how many kinds, least and most
    kinds: tuple[str, ...]  # what may stand there, keys of KINDS
    scale: float = 1.0  # size against the usual one


@dataclass(frozen=True, slots=True)
class Place:
    """One sort of scene."""

    name: str  # key, and what a caption calls it: "street"
    setting: str  # with article, for sentences: "a quiet street"
    indoors: bool
    floor: str  # what the things in front stand on: "the road"
    behind: str  # what the backdrop shows, true of every scene there
    visit: str  # what a visitor should bring or mind, one sentence
    bands: tuple[Band, ...]  # from back to front


def _b(level: str, base: tuple[float, float], count: tuple[int, int], kinds: str, scale: float = 1.0) -> Band:
    return Band(level, base, count, tuple(kinds.split("|")), scale)


PLACES: dict[str, Place] = {
    place.name: place
    for place in (
        Place(
            "street",
            "a quiet street",
            indoors=False,
            floor="the road",
            behind="pale rooftops behind a light pavement",
            visit="Comfortable shoes help, and one should look both ways before stepping onto the road.",
            bands=(
                _b("sky", (0.14, 0.24), (1, 2), "sun|cloud|cloud"),
                _b("ground", (0.62, 0.63), (2, 4), "house|tree|lamp post|maple tree"),
                _b("ground", (0.71, 0.73), (1, 3), "woman|man|child|dog|bench"),
                _b("ground", (0.86, 0.96), (1, 3), "car|bus|truck", 1.1),
            ),
        ),
        Place(
            "park",
            "a green park",
            indoors=False,
            floor="the grass",
            behind="soft green hills and a sandy path",
            visit="A blanket and something to drink make a stay on the grass pleasant.",
            bands=(
                _b("sky", (0.16, 0.3), (1, 3), "sun|cloud|kite|hot-air balloon"),
                _b("ground", (0.62, 0.66), (2, 4), "tree|maple tree|lamp post|pine"),
                _b("ground", (0.76, 0.82), (1, 3), "bench|woman|man"),
                _b("ground", (0.88, 0.97), (2, 3), "ball|dog|child|cat|duck", 1.1),
            ),
        ),
        Place(
            "beach",
            "a sandy beach",
            indoors=False,
            floor="the sand",
            behind="a calm sea under an open sky",
            visit="Sun cream, a hat and a towel belong in the bag, because there is hardly any shade.",
            bands=(
                _b("sky", (0.14, 0.28), (1, 3), "sun|cloud|kite"),
                _b("water", (0.52, 0.54), (1, 2), "sailboat", 0.8),
                _b("ground", (0.76, 0.82), (1, 3), "beach umbrella|woman|man|child"),
                _b("ground", (0.88, 0.97), (2, 3), "ball|bucket|dog|child|bucket", 1.15),
            ),
        ),
        Place(
            "farm",
            "a small farm",
            indoors=False,
            floor="the meadow",
            behind="rolling fields in several greens",
            visit="Rubber boots are wise, since a meadow with animals is rarely clean and dry.",
            bands=(
                _b("sky", (0.14, 0.24), (1, 2), "sun|cloud|cloud"),
                _b("ground", (0.58, 0.62), (2, 3), "barn|tree|house|maple tree"),
                _b("ground", (0.73, 0.78), (1, 3), "tractor|hay bale|cow|man"),
                _b("ground", (0.88, 0.97), (2, 3), "cow|sheep|dog|hay bale|duck", 1.15),
            ),
        ),
        Place(
            "lake",
            "the shore of a lake",
            indoors=False,
            floor="the grassy shore",
            behind="blue mountains beyond still water",
            visit="A warm jacket is useful, because air over water cools quickly.",
            bands=(
                _b("sky", (0.14, 0.22), (1, 2), "sun|cloud|hot-air balloon"),
                _b("water", (0.56, 0.6), (1, 2), "sailboat"),
                _b("water", (0.68, 0.71), (1, 2), "duck"),
                _b("ground", (0.87, 0.97), (2, 4), "tent|woman|man|child|dog|pine|bench|cat", 1.1),
            ),
        ),
        Place(
            "snow field",
            "a snowy field",
            indoors=False,
            floor="the snow",
            behind="white hills under a pale sky",
            visit="Gloves, a hat and lined boots are needed, because snow only stays when it is cold.",
            bands=(
                _b("sky", (0.13, 0.22), (1, 2), "sun|cloud"),
                _b("ground", (0.6, 0.64), (2, 4), "pine|house|pine|maple tree"),
                _b("ground", (0.77, 0.82), (1, 3), "snowman|woman|man|child"),
                _b("ground", (0.89, 0.97), (2, 3), "sled|dog|child|ball|cat", 1.1),
            ),
        ),
        Place(
            "kitchen",
            "a bright kitchen",
            indoors=True,
            floor="the table",
            behind="a tiled wall",
            visit="Clean hands are the one thing to bring, since food is prepared here.",
            bands=(
                _b("wall", (0.38, 0.42), (1, 3), "window|clock|framed picture"),
                _b("table", (1, 1), (1, 1), "table"),
                _b("table", (0.72, 0.76), (2, 4), "teapot|vase|bottle|loaf of bread|bowl", 1.05),
                _b("table", (0.88, 0.94), (3, 5), "cup|apple|pear|apple|bowl|cup", 1.15),
            ),
        ),
        Place(
            "living room",
            "a tidy living room",
            indoors=True,
            floor="the wooden floor",
            behind="a plain papered wall",
            visit="A good book is enough, because everything here invites one to sit down.",
            bands=(
                _b("wall", (0.34, 0.38), (1, 3), "framed picture|clock|window|framed picture"),
                _b("ground", (0.77, 0.8), (2, 3), "sofa|armchair|floor lamp|bookshelf|potted plant"),
                _b("ground", (0.9, 0.97), (2, 3), "cat|dog|ball|child|potted plant", 1.1),
            ),
        ),
    )
}
