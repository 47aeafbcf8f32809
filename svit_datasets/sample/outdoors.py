"""Painters of what stands outdoors, and of vehicles.

Each takes a pen over the thing's own box and the thing's colour, and fills the box up to all four edges.
Where a thing stands and how large it is, is decided in `scene`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_datasets.sample.pen import COLOURS, tint

if TYPE_CHECKING:
    from svit_datasets.sample.pen import RGB, Pen

GLASS: RGB = (190, 220, 232)
WOOD: RGB = (142, 104, 70)
DARK: RGB = (52, 50, 58)
CREAM: RGB = (246, 236, 214)


def sun(pen: Pen, colour: RGB) -> None:
    """A disc with a pale rim."""
    pen.oval(0, 0, 1, 1, tint(colour, 0.15))
    pen.oval(0.1, 0.1, 0.9, 0.9, colour)


def cloud(pen: Pen, colour: RGB) -> None:
    """Two puffs on a flat base."""
    low = tint(colour, -0.05)
    pen.rect(0, 0.5, 1, 1, low, r=0.24)
    pen.oval(0.12, 0.18, 0.56, 1, colour)
    pen.oval(0.38, 0, 0.84, 0.94, colour)
    pen.rect(0.08, 0.62, 0.94, 0.94, colour, r=0.14)


def kite(pen: Pen, colour: RGB) -> None:
    """A diamond in three shades, with a tail and two bows."""
    pen.poly(colour, (0.5, 0), (1, 0.28), (0.5, 0.72), (0, 0.28))
    pen.poly(tint(colour, 0.3), (0.5, 0), (1, 0.28), (0.5, 0.28))
    pen.poly(tint(colour, -0.18), (0, 0.28), (0.5, 0.28), (0.5, 0.72))
    pen.line(DARK, 0.03, (0.5, 0.7), (0.42, 0.82), (0.54, 0.9), (0.48, 1))
    pen.poly(colour, (0.3, 0.76), (0.44, 0.82), (0.3, 0.9))
    pen.poly(colour, (0.58, 0.76), (0.44, 0.82), (0.56, 0.9))


def balloon(pen: Pen, colour: RGB) -> None:
    """A striped hot-air balloon with its basket."""
    pen.line(WOOD, 0.02, (0.22, 0.55), (0.42, 0.86))
    pen.line(WOOD, 0.02, (0.78, 0.55), (0.58, 0.86))
    pen.oval(0, 0, 1, 0.74, colour)
    pen.oval(0.22, 0, 0.78, 0.74, CREAM)
    pen.oval(0.34, 0, 0.66, 0.74, colour)
    pen.rect(0.38, 0.85, 0.62, 1, WOOD, r=0.03)


def house(pen: Pen, colour: RGB) -> None:
    """Walls in the colour, brown roof, two windows and a door."""
    roof = tint(COLOURS["brown"], -0.25)
    pen.rect(0.72, 0.06, 0.82, 0.3, tint(roof, 0.15))
    pen.rect(0.06, 0.38, 0.94, 1, colour)
    pen.poly(roof, (0.5, 0), (1, 0.42), (0, 0.42))
    for x in (0.16, 0.62):
        pen.rect(x - 0.02, 0.5, x + 0.24, 0.74, CREAM)
        pen.rect(x, 0.52, x + 0.1, 0.72, GLASS)
        pen.rect(x + 0.12, 0.52, x + 0.22, 0.72, GLASS)
    pen.rect(0.44, 0.66, 0.58, 1, WOOD)
    pen.disc(0.55, 0.84, 0.015, COLOURS["yellow"])


def barn(pen: Pen, colour: RGB) -> None:
    """A gambrel-roofed barn with a crossed door."""
    pen.poly(colour, (0.04, 1), (0.04, 0.46), (0.2, 0.18), (0.5, 0.06), (0.8, 0.18), (0.96, 0.46), (0.96, 1))
    pen.line(DARK, 0.09, (0, 0.5), (0.19, 0.18), (0.5, 0.05), (0.81, 0.18), (1, 0.5))
    pen.rect(0.46, 0, 0.54, 0.06, DARK)
    for y in (0.56, 0.7, 0.84):
        pen.line(tint(colour, -0.12), 0.012, (0.08, y), (0.92, y))
    pen.rect(0.32, 0.54, 0.68, 1, CREAM)
    pen.rect(0.35, 0.57, 0.65, 1, colour)
    pen.line(CREAM, 0.03, (0.35, 0.57), (0.65, 1))
    pen.line(CREAM, 0.03, (0.65, 0.57), (0.35, 1))
    pen.rect(0.43, 0.24, 0.57, 0.4, CREAM)


def tree(pen: Pen, colour: RGB) -> None:
    """A trunk with a crown of three round masses."""
    pen.poly(WOOD, (0.44, 0.5), (0.56, 0.5), (0.62, 1), (0.38, 1))
    pen.oval(0, 0.2, 0.6, 0.72, tint(colour, -0.12))
    pen.oval(0.4, 0.22, 1, 0.74, tint(colour, -0.06))
    pen.oval(0.14, 0, 0.86, 0.6, colour)
    pen.oval(0.26, 0.06, 0.58, 0.32, tint(colour, 0.14))


def pine(pen: Pen, colour: RGB) -> None:
    """Three tiers on a short trunk."""
    pen.rect(0.42, 0.8, 0.58, 1, WOOD)
    for top, low, half in ((0.4, 0.88, 0.5), (0.2, 0.62, 0.38), (0, 0.36, 0.26)):
        pen.poly(colour, (0.5, top), (0.5 + half, low), (0.5 - half, low))
        pen.poly(tint(colour, -0.15), (0.5, top), (0.5 + half, low), (0.54, low))


def lamp_post(pen: Pen, colour: RGB) -> None:
    """A street lamp with a lit head."""
    pen.poly(colour, (0.5, 0), (1, 0.13), (0, 0.13))
    pen.poly(COLOURS["yellow"], (0.12, 0.13), (0.88, 0.13), (0.72, 0.26), (0.28, 0.26))
    pen.rect(0.2, 0.26, 0.8, 0.3, colour)
    pen.rect(0.34, 0.3, 0.66, 0.96, colour)
    pen.rect(0.08, 0.92, 0.92, 1, colour, r=0.2)


def bench(pen: Pen, colour: RGB) -> None:
    """Two back slats and a seat on dark legs, seen from the front."""
    for y in (0, 0.2):
        pen.rect(0.02, y, 0.98, y + 0.15, colour, r=0.04)
    for x in (0.1, 0.82):
        pen.rect(x, 0.1, x + 0.07, 1, DARK)
    pen.rect(0, 0.46, 1, 0.66, tint(colour, 0.08), r=0.05)


def tent(pen: Pen, colour: RGB) -> None:
    """A ridge tent with its flap open."""
    pen.poly(colour, (0.38, 0), (0.62, 0), (1, 1), (0, 1))
    pen.poly(tint(colour, -0.16), (0.46, 0), (0.62, 0), (1, 1), (0.72, 1))
    pen.poly(DARK, (0.46, 0.22), (0.58, 1), (0.3, 1))
    pen.poly(tint(colour, 0.2), (0.46, 0.22), (0.36, 1), (0.24, 1))


def car(pen: Pen, colour: RGB) -> None:
    """A saloon seen from the right side."""
    pen.poly(tint(colour, -0.1), (0.18, 0.42), (0.32, 0), (0.7, 0), (0.86, 0.42))
    pen.poly(GLASS, (0.26, 0.4), (0.36, 0.1), (0.5, 0.1), (0.5, 0.4))
    pen.poly(GLASS, (0.54, 0.4), (0.54, 0.1), (0.67, 0.1), (0.79, 0.4))
    pen.rect(0, 0.36, 1, 0.82, colour, r=0.16)
    pen.rect(0.02, 0.66, 0.98, 0.74, tint(colour, -0.15))
    pen.rect(0.93, 0.46, 1, 0.58, COLOURS["yellow"], r=0.03)
    wheels(pen, (0.22, 0.76), 0.22)


def bus(pen: Pen, colour: RGB) -> None:
    """A city bus seen from the right side."""
    pen.rect(0, 0, 1, 0.88, colour, r=0.1)
    for x in (0.05, 0.235, 0.42, 0.605):
        pen.rect(x, 0.14, x + 0.15, 0.44, GLASS, r=0.03)
    pen.rect(0.8, 0.14, 0.96, 0.8, tint(GLASS, -0.1), r=0.03)
    pen.rect(0, 0.54, 0.78, 0.62, CREAM)
    wheels(pen, (0.2, 0.68), 0.14)


def truck(pen: Pen, colour: RGB) -> None:
    """A box truck seen from the right side."""
    pen.rect(0, 0, 0.66, 0.8, CREAM, r=0.03)
    pen.rect(0.04, 0.06, 0.62, 0.7, colour)
    pen.rect(0.66, 0.66, 0.72, 0.8, DARK)
    pen.rect(0.68, 0.24, 1, 0.84, colour, r=0.08)
    pen.poly(GLASS, (0.78, 0.3), (0.93, 0.3), (0.97, 0.52), (0.78, 0.52))
    wheels(pen, (0.2, 0.8), 0.17)


def tractor(pen: Pen, colour: RGB) -> None:
    """A tractor with a large rear wheel, seen from the right side."""
    pen.rect(0.72, 0.1, 0.77, 0.44, DARK)
    pen.rect(0.16, 0, 0.58, 0.08, tint(colour, -0.2), r=0.03)
    pen.rect(0.2, 0.06, 0.54, 0.5, GLASS)
    pen.rect(0.18, 0.04, 0.24, 0.5, colour)
    pen.rect(0.5, 0.04, 0.56, 0.5, colour)
    pen.rect(0.1, 0.4, 0.98, 0.78, colour, r=0.08)
    pen.oval(0, 0.4, 0.5, 1, DARK)
    pen.oval(0.13, 0.56, 0.37, 0.84, COLOURS["yellow"])
    pen.oval(0.68, 0.62, 1, 1, DARK)
    pen.oval(0.77, 0.73, 0.91, 0.89, COLOURS["yellow"])


def wheels(pen: Pen, at: tuple[float, float], radius: float) -> None:
    """Two wheels, mirrored; ``at`` is the left one's centre, ``radius`` a share of the shorter side."""
    for x in (at[0], 1 - at[0]):
        half = radius * min(pen.width, pen.height) / pen.width
        low = 2 * at[1] - 1
        pen.oval(x - half, low, x + half, 1, DARK)
        pen.disc(x, at[1], radius * 0.45, COLOURS["grey"])


def boat(pen: Pen, colour: RGB) -> None:
    """A sailing boat with two sails."""
    pen.rect(0.47, 0, 0.51, 0.76, WOOD)
    pen.poly(colour, (0.53, 0.03), (0.97, 0.68), (0.53, 0.68))
    pen.poly(tint(colour, 0.25), (0.45, 0.1), (0.45, 0.68), (0.08, 0.68))
    pen.poly(CREAM, (0, 0.74), (1, 0.74), (0.84, 1), (0.16, 1))
    pen.poly(colour, (0.04, 0.8), (0.96, 0.8), (0.9, 0.9), (0.1, 0.9))


def umbrella(pen: Pen, colour: RGB) -> None:
    """A striped sunshade on its pole."""
    pen.rect(0.48, 0.05, 0.52, 1, WOOD)
    pen.pie(0, 0.02, 1, 0.96, colour, start=180, end=360)
    pen.poly(CREAM, (0.5, 0.03), (0.34, 0.49), (0.16, 0.49), (0.3, 0.14))
    pen.poly(CREAM, (0.5, 0.03), (0.66, 0.49), (0.84, 0.49), (0.7, 0.14))
    pen.rect(0.47, 0, 0.53, 0.06, WOOD)


def bucket(pen: Pen, colour: RGB) -> None:
    """A toy bucket with its handle up."""
    pen.arc(0.1, 0, 0.9, 0.8, DARK, start=180, end=360, w=0.06)
    pen.poly(colour, (0, 0.34), (1, 0.34), (0.82, 1), (0.18, 1))
    pen.rect(0, 0.32, 1, 0.44, tint(colour, 0.2), r=0.04)


def ball(pen: Pen, colour: RGB) -> None:
    """A beach ball with two pale slices."""
    pen.oval(0, 0, 1, 1, colour)
    pen.pie(0, 0, 1, 1, CREAM, start=200, end=235)
    pen.pie(0, 0, 1, 1, CREAM, start=320, end=355)
    pen.oval(0.38, 0.38, 0.62, 0.62, tint(colour, -0.15))


def hay_bale(pen: Pen, colour: RGB) -> None:
    """A round bale seen from its rolled end."""
    pen.rect(0.2, 0, 1, 1, tint(colour, -0.12), r=0.3)
    pen.oval(0, 0, 0.62, 1, colour)
    for k in (0.1, 0.2, 0.3):
        pen.arc(k * 0.62, k, 0.62 - k * 0.62, 1 - k, tint(colour, -0.25), start=0, end=300, w=0.03)


def sled(pen: Pen, colour: RGB) -> None:
    """A wooden sled with raised runners at the front."""
    pen.rect(0.04, 0.2, 0.9, 0.56, colour, r=0.1)
    pen.rect(0.08, 0.3, 0.86, 0.36, tint(colour, 0.3))
    for x in (0.2, 0.66):
        pen.rect(x, 0.5, x + 0.06, 0.9, WOOD)
    pen.line(WOOD, 0.12, (0.02, 0.93), (0.86, 0.93), (0.96, 0.6), (0.95, 0.1))
    pen.rect(0, 0.86, 0.88, 1, WOOD, r=0.06)
    pen.rect(0.88, 0, 1, 0.16, WOOD, r=0.06)


def snowman(pen: Pen, colour: RGB) -> None:
    """Three balls of snow with hat, scarf and carrot."""
    pen.oval(0, 0.5, 1, 1, colour)
    pen.oval(0.14, 0.24, 0.86, 0.66, tint(colour, 0.3))
    pen.oval(0.26, 0.08, 0.74, 0.36, colour)
    pen.rect(0.2, 0.1, 0.8, 0.135, DARK)
    pen.rect(0.31, 0, 0.69, 0.12, DARK)
    pen.rect(0.26, 0.32, 0.74, 0.37, COLOURS["red"], r=0.05)
    pen.poly(COLOURS["orange"], (0.5, 0.22), (0.5, 0.26), (0.8, 0.26))
    for x, y in ((0.42, 0.19), (0.58, 0.19), (0.5, 0.44), (0.5, 0.54), (0.5, 0.7)):
        pen.disc(x, y, 0.035, DARK)
