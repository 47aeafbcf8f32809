"""Painters of what stands indoors: furniture, tableware, food. Each fills its box up to all four edges.

Where a thing stands and how large it is, is decided in `scene`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_datasets.sample.outdoors import CREAM, DARK, GLASS, WOOD
from svit_datasets.sample.pen import COLOURS, mix, tint

if TYPE_CHECKING:
    from svit_datasets.sample.pen import RGB, Pen

LEAF: RGB = (88, 138, 82)


def window(pen: Pen, colour: RGB) -> None:
    """A frame with four panes."""
    pen.rect(0, 0, 1, 1, colour)
    for x in (0.1, 0.55):
        for y in (0.1, 0.55):
            pen.rect(x, y, x + 0.35, y + 0.35, GLASS)
            pen.poly(tint(GLASS, 0.45), (x, y + 0.2), (x + 0.2, y), (x + 0.28, y), (x, y + 0.28))


def clock(pen: Pen, colour: RGB) -> None:
    """A round wall clock with two hands."""
    pen.oval(0, 0, 1, 1, colour)
    pen.oval(0.2, 0.2, 0.8, 0.8, CREAM)
    for x, y in ((0.5, 0.26), (0.74, 0.5), (0.5, 0.74), (0.26, 0.5)):
        pen.disc(x, y, 0.025, DARK)
    pen.line(DARK, 0.05, (0.5, 0.3), (0.5, 0.5), (0.66, 0.6))


def picture(pen: Pen, colour: RGB) -> None:
    """A frame with a small mountain view inside."""
    pen.rect(0, 0, 1, 1, colour)
    pen.rect(0.13, 0.15, 0.87, 0.85, (206, 226, 232))
    pen.oval(0.6, 0.24, 0.74, 0.42, COLOURS["yellow"])
    pen.poly((120, 152, 140), (0.13, 0.85), (0.13, 0.66), (0.36, 0.42), (0.6, 0.85))
    pen.poly((92, 128, 116), (0.4, 0.85), (0.68, 0.52), (0.87, 0.72), (0.87, 0.85))


def table(pen: Pen, colour: RGB) -> None:
    """A table top seen from its front edge."""
    pen.rect(0, 0, 1, 1, colour)
    pen.rect(0, 0, 1, 0.04, tint(colour, 0.25))
    for k, y in enumerate((0.2, 0.42, 0.66, 0.88)):
        pen.line(tint(colour, -0.12), 0.008, (0, y), (1, y))
        for j in range(7):
            x = (j * 0.17 + k * 0.09) % 1
            pen.line(tint(colour, -0.06), 0.006, (x, y - 0.1), (x + 0.12, y - 0.095))
    pen.rect(0, 0.96, 1, 1, tint(colour, -0.25))


def cup(pen: Pen, colour: RGB) -> None:
    """A cup with its handle on the right."""
    pen.arc(0.58, 0.2, 1, 0.76, colour, start=0, end=360, w=0.12)
    pen.rect(0, 0.06, 0.78, 1, colour, r=0.14)
    pen.rect(0, 0.06, 0.78, 0.4, colour)
    pen.oval(0, 0, 0.78, 0.2, tint(colour, 0.25))
    pen.oval(0.07, 0.04, 0.71, 0.17, (86, 58, 42))


def bowl(pen: Pen, colour: RGB) -> None:
    """An empty bowl seen a little from above."""
    pen.rect(0.3, 0.86, 0.7, 1, tint(colour, -0.2))
    pen.pie(0, -0.56, 1, 0.95, colour, start=0, end=180)
    pen.oval(0, 0, 1, 0.4, tint(colour, 0.2))
    pen.oval(0.08, 0.06, 0.92, 0.36, tint(colour, -0.2))


def bottle(pen: Pen, colour: RGB) -> None:
    """A bottle with a label."""
    pen.rect(0.34, 0, 0.66, 0.08, DARK)
    pen.rect(0.36, 0.06, 0.64, 0.4, colour)
    pen.rect(0, 0.34, 1, 1, colour, r=0.3)
    pen.rect(0, 0.6, 1, 0.98, colour, r=0.1)
    pen.rect(0.08, 0.58, 0.92, 0.8, CREAM)
    pen.rect(0.14, 0.42, 0.24, 0.55, tint(colour, 0.4), r=0.04)


def teapot(pen: Pen, colour: RGB) -> None:
    """A teapot with its spout on the right."""
    pen.arc(0, 0.28, 0.42, 0.86, colour, start=0, end=360, w=0.1)
    pen.poly(colour, (0.72, 0.56), (0.9, 0.28), (1, 0.3), (0.8, 0.84))
    pen.oval(0.16, 0.18, 0.82, 1, colour)
    pen.rect(0.3, 0.92, 0.68, 1, tint(colour, -0.15))
    pen.oval(0.3, 0.12, 0.68, 0.32, tint(colour, 0.2))
    pen.oval(0.43, 0, 0.55, 0.16, colour)
    pen.oval(0.26, 0.36, 0.4, 0.62, tint(colour, 0.3))


def apple(pen: Pen, colour: RGB) -> None:
    """An apple with a leaf."""
    pen.rect(0.47, 0, 0.54, 0.28, WOOD)
    pen.poly(LEAF, (0.53, 0.18), (0.7, 0.02), (0.8, 0.1))
    pen.rect(0, 0.18, 1, 0.8, colour, r=0.3)
    pen.oval(0.02, 0.3, 0.98, 1, colour)
    pen.oval(0.16, 0.32, 0.32, 0.52, tint(colour, 0.45))


def pear(pen: Pen, colour: RGB) -> None:
    """A pear with its stalk."""
    pen.rect(0.46, 0, 0.54, 0.2, WOOD)
    pen.oval(0, 0.42, 1, 1, colour)
    pen.oval(0.2, 0.1, 0.8, 0.66, colour)
    pen.poly(colour, (0.22, 0.4), (0.78, 0.4), (0.94, 0.62), (0.06, 0.62))
    pen.oval(0.2, 0.56, 0.36, 0.72, tint(colour, 0.4))


def bread(pen: Pen, colour: RGB) -> None:
    """A loaf with three cuts."""
    pen.rect(0, 0, 1, 1, colour, r=0.45)
    pen.rect(0, 0.5, 1, 1, tint(colour, -0.22), r=0.2)
    pen.rect(0.03, 0.06, 0.97, 0.84, tint(colour, 0.12), r=0.38)
    for x in (0.18, 0.4, 0.62):
        pen.line(tint(colour, 0.55), 0.09, (x, 0.46), (x + 0.12, 0.16))


def vase(pen: Pen, colour: RGB) -> None:
    """A vase with three flowers."""
    for x, y, petal in ((0.2, 0.12, "pink"), (0.5, 0.085, "yellow"), (0.8, 0.14, "pink")):
        pen.line(LEAF, 0.04, (0.5, 0.5), (x, y))
        pen.disc(x, y, 0.19, COLOURS[petal])
        pen.disc(x, y, 0.07, tint(COLOURS["orange"], -0.1))
    pen.oval(0.04, 0.46, 0.96, 1, colour)
    pen.rect(0.32, 0.38, 0.68, 0.6, colour)
    pen.rect(0.24, 0.36, 0.76, 0.42, tint(colour, 0.2))
    pen.rect(0.25, 0.95, 0.75, 1, tint(colour, -0.15))
    pen.rect(0, 0.66, 0.04, 0.76, colour)
    pen.rect(0.96, 0.66, 1, 0.76, colour)
    pen.rect(0.45, 0, 0.55, 0.06, COLOURS["yellow"])


def sofa(pen: Pen, colour: RGB) -> None:
    """A sofa for two, seen from the front."""
    for x in (0.08, 0.86):
        pen.rect(x, 0.86, x + 0.06, 1, WOOD)
    pen.rect(0.08, 0, 0.92, 0.7, colour, r=0.14)
    pen.rect(0.494, 0.06, 0.506, 0.5, tint(colour, -0.2))
    pen.rect(0.1, 0.48, 0.495, 0.74, tint(colour, 0.12), r=0.08)
    pen.rect(0.505, 0.48, 0.9, 0.74, tint(colour, 0.12), r=0.08)
    pen.rect(0.04, 0.68, 0.96, 0.9, tint(colour, -0.08), r=0.05)
    pen.rect(0, 0.3, 0.13, 0.9, colour, r=0.1)
    pen.rect(0.87, 0.3, 1, 0.9, colour, r=0.1)


def armchair(pen: Pen, colour: RGB) -> None:
    """An armchair, seen from the front."""
    for x in (0.12, 0.8):
        pen.rect(x, 0.86, x + 0.08, 1, WOOD)
    pen.rect(0.12, 0, 0.88, 0.76, colour, r=0.18)
    pen.rect(0.18, 0.5, 0.82, 0.72, tint(colour, 0.14), r=0.07)
    pen.rect(0.08, 0.68, 0.92, 0.9, tint(colour, -0.08), r=0.05)
    pen.rect(0, 0.36, 0.22, 0.9, colour, r=0.1)
    pen.rect(0.78, 0.36, 1, 0.9, colour, r=0.1)


def floor_lamp(pen: Pen, colour: RGB) -> None:
    """A lamp with a large shade on a thin stand."""
    pen.rect(0.46, 0.3, 0.54, 0.97, DARK)
    pen.poly(colour, (0.22, 0), (0.78, 0), (1, 0.36), (0, 0.36))
    pen.poly(tint(colour, 0.25), (0.22, 0), (0.45, 0), (0.4, 0.36), (0, 0.36))
    pen.rect(0.2, 0.96, 0.8, 1, DARK)


def plant(pen: Pen, colour: RGB) -> None:
    """Five pointed leaves in a clay pot."""
    for x, y in ((0, 0.28), (0.18, 0.06), (0.5, 0), (0.82, 0.06), (1, 0.28)):
        near = mix(colour, COLOURS["black"], 0.15 if x in {0.18, 0.82} else 0)
        pen.poly(near, (0.44, 0.72), (x * 0.7 + 0.02, y + 0.22), (x, y), (x * 0.7 + 0.28, y + 0.2), (0.56, 0.72))
    pen.poly((198, 120, 84), (0.2, 0.68), (0.8, 0.68), (0.7, 1), (0.3, 1))
    pen.rect(0.16, 0.66, 0.84, 0.74, (212, 138, 100))


def bookshelf(pen: Pen, colour: RGB) -> None:
    """Three shelves with coloured spines."""
    pen.rect(0, 0, 1, 1, colour)
    spines = ["red", "blue", "yellow", "green", "white", "purple", "orange", "pink"]
    for row, y in enumerate((0.06, 0.38, 0.7)):
        pen.rect(0.08, y, 0.92, y + 0.25, tint(colour, -0.4))
        for k in range(6 - row):
            x, tall = 0.1 + k * 0.1, 0.17 + 0.025 * ((k * 2 + row) % 3)
            pen.rect(x, y + 0.25 - tall, x + 0.085, y + 0.25, COLOURS[spines[(k * 3 + row) % 8]])
