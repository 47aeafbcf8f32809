"""What the four numbers of a box count: shares of the photo, shares of the photo padded to a square, or pixels.

A `Box` always holds shares of the photo as it is published. The other frames are ways in and out of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from svit_datasets.errors import OptionError

__all__ = ["Box", "Quad", "Size", "enter", "leave", "qwen2_5_vl_size"]

Quad = tuple[float, float, float, float]  # x1, y1, x2, y2 in some frame


class Box(NamedTuple):
    """A rectangle in shares of the photo's own width and height, 0 to 1, from the top left corner."""

    x1: float  # left
    y1: float  # top
    x2: float  # right, not left of x1
    y2: float  # bottom, not above y1

    def to_pixels(self, width: float, height: float) -> Quad:
        """Return x1, y1, x2, y2 in pixels of a picture ``width`` by ``height``, not rounded."""
        return (self.x1 * width, self.y1 * height, self.x2 * width, self.y2 * height)

    @classmethod
    def from_pixels(cls, pixels: Quad, width: float, height: float) -> Box:
        """Return the box of four pixel coordinates in a picture ``width`` by ``height``."""
        x1, y1, x2, y2 = pixels
        return cls(x1 / width, y1 / height, x2 / width, y2 / height)

    def to_padded(self, width: int, height: int) -> Quad:
        """Return x1, y1, x2, y2 in shares of the photo padded to a square, as LLaVA pads.

        LLaVA 1.5 centres the photo, and rounds the margin before it down to whole pixels (``expand2square`` in
        https://github.com/haotian-liu/LLaVA/blob/main/llava/mm_utils.py).
        """
        side, left, top = _square(width, height)
        x1, y1, x2, y2 = self.to_pixels(width, height)
        return ((x1 + left) / side, (y1 + top) / side, (x2 + left) / side, (y2 + top) / side)

    @classmethod
    def from_padded(cls, padded: Quad, width: int, height: int) -> Box:
        """Return the box of shares of the padded square; the margin lies outside 0 to 1."""
        side, left, top = _square(width, height)
        x1, y1, x2, y2 = padded
        pixels = (x1 * side - left, y1 * side - top, x2 * side - left, y2 * side - top)
        return cls.from_pixels(pixels, width, height)


def qwen2_5_vl_size(
    width: int, height: int, *, min_pixels: int = 3136, max_pixels: int = 12_845_056
) -> tuple[int, int]:
    """Return (width, height) in pixels to which Qwen2.5-VL resizes a photo: multiples of 28, shape nearly kept.

    The rule is ``smart_resize`` of the model's processor (transformers, models/qwen2_vl), and the limits are those of
    the published models' ``preprocessor_config.json``; arXiv 2502.13923. A processor with other limits, such as one
    made without that file, needs them here too.

    Args:
        width: of the photo, in pixels.
        height: of the photo, in pixels.
        min_pixels: area below which a photo is enlarged.
        max_pixels: area above which it is reduced.

    Raises:
        OptionError: one side is more than 200 times the other; the model refuses such photos.
    """
    if max(width, height) > 200 * min(width, height):
        raise OptionError(f"A photo of {width}x{height} pixels is too narrow for Qwen2.5-VL: one side over 200 times.")
    sides = [round(side / 28) * 28 for side in (width, height)]
    if math.prod(sides) > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        sides = [max(28, math.floor(side / shrink / 28) * 28) for side in (width, height)]
    elif math.prod(sides) < min_pixels:
        stretch = math.sqrt(min_pixels / (width * height))
        sides = [math.ceil(side * stretch / 28) * 28 for side in (width, height)]
    return sides[0], sides[1]


@dataclass(frozen=True, slots=True)
class Size:
    """The sizes of a photo that frames refer to, in pixels; None where nobody told."""

    photo: tuple[int, int] | None  # width, height as published
    resized: tuple[int, int] | None  # width, height as the model gets it

    def of(self, frame: str) -> tuple[int, int]:
        """Return the size that a frame needs.

        Raises:
            OptionError: it is not known.
        """
        if frame == "resized" and self.resized is not None:
            return self.resized
        if self.photo is None:
            raise OptionError(f"Boxes in the {frame} frame need the photo's size: give width= and height= in pixels.")
        return qwen2_5_vl_size(*self.photo) if frame == "resized" else self.photo


def enter(box: Box, frame: str, size: Size) -> Quad:
    """Return a box in "photo" (shares), "padded" (shares) or "resized" (pixels)."""
    if frame == "photo":
        return box
    return box.to_padded(*size.of(frame)) if frame == "padded" else box.to_pixels(*size.of(frame))


def leave(quad: Quad, frame: str, size: Size, step: float) -> Box | None:
    """Return the box of four numbers in a frame, or None if it does not lie in the photo.

    In the other frames the photo's border is no round number; what stands outside by no more than ``step``, to which
    numbers were rounded, is moved to the border.
    """
    if frame == "photo":
        box, slack = Box(*quad), (0.0, 0.0)
    elif frame == "padded":
        width, height = size.of(frame)
        box = Box.from_padded(quad, width, height)
        slack = (step * max(width, height) / width, step * max(width, height) / height)
    else:
        width, height = size.of(frame)
        box, slack = Box.from_pixels(quad, width, height), (step / width, step / height)
    for value, allowed in zip(box, slack * 2, strict=True):
        if not -allowed - 1e-9 <= value <= 1 + allowed + 1e-9:
            return None
    return Box(*(min(max(value, 0.0), 1.0) for value in box))


def _square(width: int, height: int) -> tuple[int, int, int]:
    """Return the side of the padded square, and the margins before the photo, in pixels."""
    side = max(width, height)
    return side, (side - width) // 2, (side - height) // 2
