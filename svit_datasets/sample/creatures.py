"""Painters of people and animals: each fills its box up to all four edges with the creature's colour in the main place.

A person's colour is that of the clothes. Where a creature stands is decided in `scene`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_datasets.sample.outdoors import DARK, WOOD
from svit_datasets.sample.pen import COLOURS, tint

if TYPE_CHECKING:
    from svit_datasets.sample.pen import RGB, Pen

SKIN: RGB = (224, 176, 142)
DEEP_SKIN: RGB = (156, 106, 78)
HAIR: RGB = (88, 58, 40)


def woman(pen: Pen, colour: RGB) -> None:
    """A woman in a dress of the colour."""
    pen.oval(0.24, 0, 0.76, 0.28, HAIR)
    pen.rect(0.24, 0.12, 0.76, 0.32, HAIR, r=0.1)
    for x in (0.34, 0.54):
        pen.rect(x, 0.74, x + 0.12, 0.97, SKIN)
        pen.rect(x - 0.03, 0.95, x + 0.15, 1, DARK)
    _arms(pen, colour, SKIN)
    pen.poly(colour, (0.3, 0.27), (0.7, 0.27), (0.68, 0.5), (0.86, 0.8), (0.14, 0.8), (0.32, 0.5))
    pen.rect(0.31, 0.48, 0.69, 0.51, tint(colour, -0.25))
    _face(pen, SKIN)


def man(pen: Pen, colour: RGB) -> None:
    """A man in a jumper of the colour."""
    for x in (0.28, 0.53):
        pen.rect(x, 0.58, x + 0.19, 0.97, (74, 78, 98))
        pen.rect(x - 0.02, 0.95, x + 0.21, 1, DARK)
    _arms(pen, colour, DEEP_SKIN)
    pen.rect(0.22, 0.27, 0.78, 0.64, colour, r=0.1)
    pen.oval(0.28, 0, 0.72, 0.25, DARK)
    _face(pen, DEEP_SKIN)


def child(pen: Pen, colour: RGB) -> None:
    """A child in a jumper of the colour, with a larger head."""
    for x in (0.32, 0.53):
        pen.rect(x, 0.66, x + 0.16, 0.95, COLOURS["grey"])
        pen.rect(x - 0.02, 0.93, x + 0.18, 1, DARK)
    _arms(pen, colour, SKIN)
    pen.rect(0.22, 0.36, 0.78, 0.74, colour, r=0.12)
    pen.oval(0.16, 0, 0.84, 0.38, tint(HAIR, 0.1))
    pen.oval(0.22, 0.06, 0.78, 0.42, SKIN)
    pen.pie(0.18, 0, 0.82, 0.3, tint(HAIR, 0.1), start=190, end=350)
    for x in (0.4, 0.6):
        pen.disc(x, 0.25, 0.035, DARK)
    pen.arc(0.38, 0.24, 0.62, 0.35, COLOURS["red"], start=20, end=160, w=0.03)


def _arms(pen: Pen, colour: RGB, skin: RGB) -> None:
    for x, side in ((0.0, 1), (1.0, -1)):
        pen.poly(colour, (0.5 - 0.24 * side, 0.28), (0.5 - 0.1 * side, 0.36), (x + side * 0.16, 0.6), (x, 0.56))
        pen.rect(min(x, x + side * 0.17), 0.56, max(x, x + side * 0.17), 0.63, skin, r=0.06)


def _face(pen: Pen, skin: RGB) -> None:
    pen.oval(0.32, 0.04, 0.68, 0.26, skin)
    for x in (0.43, 0.57):
        pen.disc(x, 0.14, 0.025, DARK)
    pen.arc(0.42, 0.13, 0.58, 0.22, COLOURS["red"], start=20, end=160, w=0.025)


def dog(pen: Pen, colour: RGB) -> None:
    """A dog with a red collar, looking right."""
    pen.line(colour, 0.13, (0.12, 0.5), (0.05, 0.2))
    pen.rect(0, 0.16, 0.1, 0.34, colour, r=0.06)
    for x in (0.14, 0.26, 0.52, 0.64):
        pen.rect(x, 0.6, x + 0.09, 1, tint(colour, -0.08), r=0.04)
    pen.rect(0.08, 0.36, 0.76, 0.76, colour, r=0.2)
    pen.rect(0.6, 0.06, 0.94, 0.5, colour, r=0.14)
    pen.rect(0.82, 0.24, 1, 0.46, tint(colour, 0.2), r=0.08)
    pen.rect(0.94, 0.22, 1, 0.32, DARK, r=0.04)
    pen.rect(0.6, 0, 0.72, 0.36, tint(colour, -0.3), r=0.08)
    pen.disc(0.82, 0.2, 0.04, DARK)
    pen.rect(0.58, 0.48, 0.78, 0.55, COLOURS["red"])


def cat(pen: Pen, colour: RGB) -> None:
    """A sitting cat, seen from the front."""
    pen.arc(0.5, 0.5, 1, 0.96, colour, start=270, end=90, w=0.12)
    pen.oval(0.1, 0.36, 0.8, 1, colour)
    pen.rect(0.16, 0.86, 0.84, 1, colour, r=0.07)
    pen.poly(colour, (0.02, 0), (0.24, 0.14), (0.06, 0.34))
    pen.poly(colour, (0.72, 0), (0.5, 0.14), (0.68, 0.34))
    pen.oval(0, 0.08, 0.74, 0.56, colour)
    for x in (0.22, 0.52):
        pen.oval(x - 0.05, 0.24, x + 0.05, 0.34, COLOURS["yellow"])
        pen.oval(x - 0.02, 0.24, x + 0.02, 0.34, DARK)
    pen.poly(COLOURS["pink"], (0.32, 0.38), (0.42, 0.38), (0.37, 0.43))
    pen.oval(0.26, 0.62, 0.58, 0.96, tint(colour, 0.25))


def cow(pen: Pen, colour: RGB) -> None:
    """A spotted cow, looking right."""
    spot = tint(colour, -0.45 if sum(colour) > 300 else 0.75)
    for x in (0.1, 0.24, 0.52, 0.64):
        pen.rect(x, 0.6, x + 0.08, 1, tint(colour, -0.1))
        pen.rect(x, 0.93, x + 0.08, 1, DARK)
    pen.line(colour, 0.06, (0.05, 0.3), (0.02, 0.66))
    pen.rect(0, 0.58, 0.06, 0.72, DARK, r=0.03)
    pen.rect(0.03, 0.2, 0.78, 0.74, colour, r=0.2)
    pen.oval(0.14, 0.24, 0.34, 0.5, spot)
    pen.oval(0.46, 0.4, 0.64, 0.66, spot)
    pen.poly(tint(WOOD, 0.6), (0.72, 0.14), (0.76, 0), (0.8, 0.14))
    pen.poly(tint(WOOD, 0.6), (0.88, 0.14), (0.93, 0), (0.95, 0.16))
    pen.rect(0.7, 0.1, 0.98, 0.5, colour, r=0.14)
    pen.rect(0.76, 0.36, 1, 0.56, COLOURS["pink"], r=0.09)
    pen.disc(0.82, 0.24, 0.035, DARK)


def sheep(pen: Pen, colour: RGB) -> None:
    """A woolly sheep with a dark face, looking right."""
    for x in (0.2, 0.34, 0.54, 0.66):
        pen.rect(x, 0.66, x + 0.07, 1, DARK)
    pen.rect(0.02, 0.14, 0.8, 0.78, colour, r=0.3)
    for x, y in ((0, 0.3), (0.14, 0.04), (0.36, 0), (0.56, 0.06), (0.04, 0.5), (0.28, 0.54), (0.52, 0.5)):
        pen.oval(x, y, x + 0.28, y + 0.36, tint(colour, -0.02 if y < 0.3 else -0.07))
    pen.oval(0.14, 0.14, 0.66, 0.62, colour)
    pen.rect(0.72, 0.14, 1, 0.54, DARK, r=0.16)
    pen.oval(0.68, 0.06, 0.9, 0.28, colour)
    pen.disc(0.88, 0.3, 0.03, COLOURS["white"])


def duck(pen: Pen, colour: RGB) -> None:
    """A duck afloat or sitting, looking right."""
    pen.pie(0, 0.1, 0.86, 1, colour, start=0, end=180)
    pen.poly(colour, (0, 0.34), (0.2, 0.56), (0.04, 0.62))
    pen.rect(0.12, 0.5, 0.84, 0.62, colour, r=0.06)
    pen.pie(0.16, 0.3, 0.6, 0.86, tint(colour, -0.14), start=0, end=180)
    pen.rect(0.58, 0.2, 0.78, 0.7, colour)
    pen.oval(0.5, 0, 0.88, 0.44, colour)
    pen.poly(COLOURS["orange"], (0.84, 0.14), (1, 0.26), (0.84, 0.32))
    pen.disc(0.74, 0.17, 0.04, DARK)
    pen.rect(0.2, 0.97, 0.66, 1, tint(colour, -0.1))
