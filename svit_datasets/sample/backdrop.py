"""What lies behind the things: sky, hills, water, floors and walls of each place, painted from the scene's light.

In comes a scene, out goes an opaque picture of its size. No thing that has a box is painted here.
"""

from __future__ import annotations

from math import pi, sin
from typing import TYPE_CHECKING

from svit_datasets.sample.pen import RGB, Pen, mix, seeded, tint

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from PIL import Image

    from svit_datasets.sample.scene import Scene

__all__ = ["paint_backdrop"]

SKIES: dict[str, tuple[RGB, RGB]] = {  # top, horizon
    "morning": ((150, 196, 226), (250, 236, 214)),
    "midday": ((92, 164, 218), (206, 232, 242)),
    "evening": ((104, 108, 166), (246, 190, 150)),
}
GRASS: RGB = (132, 176, 98)
SAND: RGB = (232, 208, 160)
WATER: RGB = (88, 160, 190)
SNOW: RGB = (226, 233, 242)
PLANK: RGB = (188, 146, 104)


def paint_backdrop(scene: Scene) -> Image.Image:
    """Return the empty place of ``scene`` as an RGB picture."""
    pen = Pen(scene.width, scene.height, scale=2, opaque=True)
    PAINTERS[scene.place.name](pen, scene.light, seeded(scene.seed, scene.image_id, "backdrop"))
    return pen.finish()


def _sky(pen: Pen, light: str, horizon: float) -> RGB:
    top, low = SKIES[light]
    pen.fade(0, horizon, top, low)
    return low


def _dim(colour: RGB, light: str) -> RGB:
    return mix(colour, (120, 86, 110), 0.22) if light == "evening" else colour


def _hills(pen: Pen, rng: Random, colour: RGB, top: float, low: float, *, peaks: bool = False) -> None:
    """A ridge between two heights, filled down to ``low``: rolling by default, pointed for mountains."""
    shift, waves = rng.uniform(0, 6), rng.uniform(1.3, 2.6)
    points = [(0.0, low)]
    for k in range(61):
        x = k / 60
        rise = 1 - abs(sin(waves * x * pi + shift)) if peaks else 0.5 + 0.5 * sin(waves * 2 * x * pi / 2 + shift)
        points.append((x, low - (low - top) * (0.35 + 0.65 * rise)))
    pen.poly(colour, *points, (1.0, low))


def _street(pen: Pen, light: str, rng: Random) -> None:
    low = _sky(pen, light, 0.62)
    x = -0.05
    while x < 1:
        wide, top = rng.uniform(0.1, 0.2), rng.uniform(0.3, 0.46)
        wall = mix(low, (150, 150, 176), rng.uniform(0.3, 0.45))
        pen.rect(x, top, x + wide, 0.62, wall)
        for row in range(5):
            for column in range(3):
                left, high = x + wide * (0.14 + 0.28 * column), top + 0.03 + 0.055 * row
                pen.rect(left, high, left + wide * 0.14, high + 0.026, tint(wall, 0.25 if rng.random() < 0.8 else -0.1))
        x += wide + rng.choice((0, 0, 0.03))
    pen.fade(0.6, 0.75, _dim((206, 200, 190), light), _dim((222, 216, 206), light))
    for k in range(13):
        pen.line(_dim((190, 184, 176), light), 0.004, (k / 12 + 0.02, 0.6), (k / 12 * 1.3 - 0.15, 0.745))
    pen.rect(0, 0.745, 1, 0.765, _dim((172, 168, 164), light))
    pen.fade(0.765, 1, _dim((106, 110, 120), light), _dim((86, 90, 100), light))
    for k in range(6):
        pen.rect(k * 0.2 + 0.02, 0.965, k * 0.2 + 0.13, 0.98, _dim((226, 222, 210), light))
    pen.speckle(rng, 260, (0, 0.77, 1, 1), [(112, 116, 126), (92, 96, 106)])


def _park(pen: Pen, light: str, rng: Random) -> None:
    low = _sky(pen, light, 0.6)
    _hills(pen, rng, mix(low, (96, 152, 120), 0.45), 0.36, 0.62)
    _hills(pen, rng, mix(low, (96, 152, 100), 0.75), 0.46, 0.64)
    grass = _dim(GRASS, light)
    pen.fade(0.6, 1, tint(grass, 0.12), tint(grass, -0.14))
    pen.speckle(rng, 700, (0, 0.62, 1, 1), [tint(grass, 0.12), tint(grass, -0.2), tint(grass, -0.1)])
    path = _dim((226, 206, 168), light)
    end = rng.uniform(0.15, 0.6)
    pen.poly(path, (0.5, 0.602), (0.53, 0.602), (end + 0.42, 0.8), (end + 0.34, 1), (end, 1), (end + 0.16, 0.8))
    pen.speckle(rng, 40, (0, 0.7, 1, 1), [(250, 240, 200), (240, 200, 214)])


def _beach(pen: Pen, light: str, rng: Random) -> None:
    low = _sky(pen, light, 0.44)
    water = _dim(WATER, light)
    pen.fade(0.44, 0.62, mix(water, low, 0.35), water)
    for _ in range(70):
        x, y = rng.random(), rng.uniform(0.45, 0.6)
        pen.line(tint(water, 0.35), 0.004, (x, y), (x + 0.05 * rng.random() + 0.02, y))
    sand = _dim(SAND, light)
    pen.fade(0.62, 1, tint(sand, 0.15), tint(sand, -0.12))
    shift = rng.uniform(0, 6)
    edge = [(k / 40, 0.625 + 0.012 * sin(k / 3 + shift)) for k in range(41)]
    pen.poly(tint(water, 0.15), (0, 0.6), *edge, (1, 0.6))
    pen.line((250, 252, 250), 0.012, *edge)
    pen.speckle(rng, 800, (0, 0.66, 1, 1), [tint(sand, 0.3), tint(sand, -0.15), tint(sand, -0.08)])


def _farm(pen: Pen, light: str, rng: Random) -> None:
    low = _sky(pen, light, 0.6)
    _hills(pen, rng, mix(low, (140, 176, 110), 0.5), 0.36, 0.6)
    _hills(pen, rng, mix(low, (190, 190, 96), 0.7), 0.44, 0.62)
    _hills(pen, rng, mix(low, (126, 168, 90), 0.85), 0.5, 0.62)
    field = _dim((146, 184, 92), light)
    pen.fade(0.57, 1, tint(field, 0.12), tint(field, -0.18))
    for k in range(9):
        pen.line(tint(field, -0.05), 0.008, (0.5 + (k - 4) * 0.07, 0.57), (0.5 + (k - 4) * 0.42, 1))
    pen.speckle(rng, 900, (0, 0.6, 1, 1), [tint(field, 0.14), tint(field, -0.22), tint(field, -0.1)])


def _lake(pen: Pen, light: str, rng: Random) -> None:
    low = _sky(pen, light, 0.5)
    _hills(pen, rng, mix(low, (96, 124, 168), 0.5), 0.2, 0.5, peaks=True)
    _hills(pen, rng, mix(low, (70, 110, 130), 0.7), 0.38, 0.5)
    water = _dim((96, 162, 186), light)
    pen.fade(0.49, 0.76, mix(water, low, 0.45), tint(water, -0.1))
    for _ in range(130):
        x, y = rng.random(), rng.uniform(0.5, 0.73)
        pen.line(tint(water, rng.choice((0.3, -0.1))), 0.004, (x, y), (x + 0.08 * rng.random() + 0.02, y))
    shore = _dim((136, 174, 104), light)
    pen.fade(0.76, 1, tint(shore, 0.08), tint(shore, -0.18))
    shift = rng.uniform(0, 6)
    edge = [(k / 40, 0.755 + 0.014 * sin(k / 4 + shift)) for k in range(41)]
    pen.poly(_dim((214, 196, 156), light), *edge, (1, 0.79), (0, 0.79))
    pen.speckle(rng, 500, (0, 0.8, 1, 1), [tint(shore, 0.16), tint(shore, -0.2), tint(shore, -0.1)])


def _snow(pen: Pen, light: str, rng: Random) -> None:
    low = _sky(pen, light, 0.6)
    snow = _dim(SNOW, light)
    _hills(pen, rng, mix(low, (176, 192, 216), 0.6), 0.34, 0.62)
    _hills(pen, rng, mix(low, (200, 212, 230), 0.8), 0.46, 0.64)
    pen.fade(0.6, 1, mix(snow, (180, 196, 220), 0.3), tint(snow, 0.25))
    for _ in range(9):
        x, y = rng.random(), rng.uniform(0.66, 0.96)
        pen.oval(x - 0.2, y, x + 0.16, y + 0.03, mix(snow, (170, 188, 216), 0.3))
    pen.speckle(rng, 400, (0, 0.62, 1, 1), [(250, 252, 255), mix(snow, (160, 180, 212), 0.4)])


def _kitchen(pen: Pen, light: str, rng: Random) -> None:
    wall = _dim(rng.choice([(206, 224, 220), (232, 220, 196), (214, 218, 234)]), light)
    pen.fade(0, 1, tint(wall, 0.2), tint(wall, -0.06))
    rows = 7
    for row in range(rows):
        for column in range(13):
            x, y = column / 12 - (0.04 if row % 2 else 0), row / rows * 0.6
            pen.rect(x, y, x + 0.08, y + 0.08, tint(wall, rng.uniform(0.12, 0.3)), r=0.008)
    pen.rect(0, 0.52, 1, 0.58, tint(wall, -0.2))


def _living_room(pen: Pen, light: str, rng: Random) -> None:
    wall = _dim(rng.choice([(222, 206, 190), (196, 212, 204), (212, 208, 226)]), light)
    pen.fade(0, 0.66, tint(wall, 0.22), wall)
    for k in range(24):
        pen.line(tint(wall, -0.04), 0.004, (k / 23, 0), (k / 23, 0.64))
    pen.rect(0, 0.635, 1, 0.66, tint(wall, 0.5))
    plank = _dim(PLANK, light)
    pen.fade(0.66, 1, tint(plank, -0.08), tint(plank, 0.12))
    for k, y in enumerate((0.71, 0.78, 0.87)):
        pen.line(tint(plank, -0.22), 0.005, (0, y), (1, y))
        for j in range(6):
            x = (j * 0.19 + k * 0.07 + rng.uniform(0, 0.05)) % 1
            pen.line(tint(plank, -0.22), 0.005, (x, y), (x, y + 0.08))
    pen.oval(0.12, 0.8, 0.88, 1.08, tint(mix(wall, (120, 96, 140), 0.35), -0.05))
    pen.oval(0.16, 0.82, 0.84, 1.06, tint(mix(wall, (120, 96, 140), 0.35), 0.25))


PAINTERS: dict[str, Callable[[Pen, str, Random], None]] = {
    "street": _street,
    "park": _park,
    "beach": _beach,
    "farm": _farm,
    "lake": _lake,
    "snow field": _snow,
    "kitchen": _kitchen,
    "living room": _living_room,
}
