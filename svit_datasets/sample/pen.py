"""A drawing surface in unit coordinates, and the named colours.

In come shapes with corners from 0 to 1; out comes a Pillow image, drawn larger and reduced so that edges are smooth.
It knows nothing of scenes: what is drawn where is the caller's business.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["COLOURS", "RGB", "Pen", "mix", "seeded", "tint"]

RGB = tuple[int, int, int]  # 0 to 255 each
Point = tuple[float, float]  # x, y; 0 to 1, top-left origin

# Far enough from one another that a test can tell them apart after JPEG.
COLOURS: dict[str, RGB] = {
    "red": (201, 52, 46),
    "orange": (235, 134, 38),
    "yellow": (243, 205, 66),
    "green": (82, 148, 72),
    "blue": (50, 106, 186),
    "purple": (128, 82, 168),
    "pink": (236, 142, 174),
    "brown": (136, 92, 58),
    "white": (243, 241, 234),
    "grey": (142, 146, 152),
    "black": (46, 45, 52),
}


def seeded(*parts: object) -> Random:
    """Return a generator that depends on the text of ``parts`` and on nothing else.

    >>> seeded(0, 51).random() == seeded(0, 51).random()
    True
    """
    return Random("/".join(map(str, parts)))  # noqa: S311 - pictures, not secrets


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """Return ``first`` with ``share`` (0 to 1) of ``second`` in it."""
    r, g, b = (round(a + (z - a) * share) for a, z in zip(first, second, strict=True))
    return r, g, b


def tint(colour: RGB, amount: float) -> RGB:
    """Return ``colour`` lighter (amount above 0) or darker (below 0); 1 is white, -1 is black."""
    return mix(colour, (255, 255, 255) if amount > 0 else (0, 0, 0), abs(amount))


class Pen:
    """Draws shapes given in unit coordinates on a surface of ``width`` x ``height`` pixels."""

    def __init__(self, width: int, height: int, *, scale: int = 3, opaque: bool = False) -> None:
        self.width, self.height, self.scale = width, height, scale  # pixels, pixels, oversampling factor
        self._image = Image.new("RGB" if opaque else "RGBA", (width * scale, height * scale))
        self._draw = ImageDraw.Draw(self._image)

    def finish(self) -> Image.Image:
        """Return the drawing at its final size."""
        return self._image.reduce(self.scale)

    def _xy(self, point: Point) -> Point:
        return point[0] * self.width * self.scale, point[1] * self.height * self.scale

    def _corners(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        (x0, y0), (x1, y1) = self._xy(box[:2]), self._xy(box[2:])
        return x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)  # Pillow counts the last pixel in

    def _length(self, share: float) -> int:
        return max(1, round(share * min(self.width, self.height) * self.scale))

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: RGB, *, r: float = 0) -> None:
        """Fill a rectangle; ``r`` rounds its corners, as a share of the surface's shorter side."""
        if r:
            self._draw.rounded_rectangle(self._corners((x0, y0, x1, y1)), self._length(r), fill)
        else:
            self._draw.rectangle(self._corners((x0, y0, x1, y1)), fill)

    def oval(self, x0: float, y0: float, x1: float, y1: float, fill: RGB) -> None:
        """Fill the ellipse inside the rectangle."""
        self._draw.ellipse(self._corners((x0, y0, x1, y1)), fill)

    def disc(self, x: float, y: float, radius: float, fill: RGB) -> None:
        """Fill a true circle around (x, y); ``radius`` is a share of the shorter side."""
        (cx, cy), r = self._xy((x, y)), self._length(radius)
        self._draw.ellipse((cx - r, cy - r, cx + r - 1, cy + r - 1), fill)

    def pie(self, x0: float, y0: float, x1: float, y1: float, fill: RGB, *, start: int, end: int) -> None:
        """Fill a slice of an ellipse; degrees run clockwise from three o'clock."""
        self._draw.pieslice(self._corners((x0, y0, x1, y1)), start, end, fill)

    def arc(self, x0: float, y0: float, x1: float, y1: float, fill: RGB, *, start: int, end: int, w: float) -> None:
        """Draw a piece of an ellipse's edge, ``w`` wide as a share of the shorter side."""
        self._draw.arc(self._corners((x0, y0, x1, y1)), start, end, fill, self._length(w))

    def poly(self, fill: RGB, *points: Point) -> None:
        """Fill a polygon."""
        self._draw.polygon([self._xy(point) for point in points], fill)

    def line(self, fill: RGB, w: float, *points: Point) -> None:
        """Draw a line through the points, ``w`` wide as a share of the shorter side."""
        self._draw.line([self._xy(point) for point in points], fill, self._length(w), joint="curve")

    def fade(self, y0: float, y1: float, top: RGB, bottom: RGB) -> None:
        """Fill the full width between two heights with a vertical gradient."""
        rows = range(round(y0 * self.height), max(round(y0 * self.height) + 1, round(y1 * self.height)))
        for row in rows:
            colour = mix(top, bottom, (row - rows.start) / max(1, len(rows) - 1))
            self._draw.rectangle(
                (0, row * self.scale, self.width * self.scale, (row + 1) * self.scale - 1),
                colour,
            )

    def speckle(self, rng: Random, n: int, area: tuple[float, float, float, float], colours: Iterable[RGB]) -> None:
        """Strew ``n`` short flecks over the area (x0, y0, x1, y1)."""
        x0, y0, x1, y1 = area
        palette = list(colours)
        for _ in range(n):
            x, y = rng.uniform(x0, x1), rng.uniform(y0, y1)
            size = 0.002 + 0.006 * (y - y0) / (y1 - y0)  # nearer flecks are larger
            self.rect(x, y, x + 2 * size, y + size, rng.choice(palette))
