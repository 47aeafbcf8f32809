"""A scene becomes pixels, and pixels become JPEG bytes.

In comes a `Scene`; out goes an RGB picture in which each thing fills exactly its box. Where things stand is not decided
here, and nothing is written to disk.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from svit_datasets.sample.backdrop import paint_backdrop
from svit_datasets.sample.pen import COLOURS, Pen, seeded

if TYPE_CHECKING:
    from svit_datasets.sample.scene import Scene, Thing

__all__ = ["encode", "paint_thing", "paste_things", "render"]

GRAIN = 3.0  # standard deviation of the film grain, of 255; gives files the size of real photos
QUALITY = 85


def render(scene: Scene) -> Image.Image:
    """Return the finished picture of ``scene``."""
    return _expose(paste_things(_shadows(paint_backdrop(scene), scene), scene.things), scene)


def paste_things(picture: Image.Image, things: tuple[Thing, ...]) -> Image.Image:
    """Return ``picture`` with the things painted over it in their order."""
    painted = picture.copy()
    for thing in things:
        tile = paint_thing(thing)
        painted.paste(tile, (thing.box.x, thing.box.y), tile)
    return painted


def paint_thing(thing: Thing) -> Image.Image:
    """Return the thing alone, as an RGBA tile of its box's size, lit from above left."""
    pen = Pen(thing.box.w, thing.box.h)
    thing.kind.paint(pen, COLOURS[thing.colour])
    tile = np.asarray(pen.finish()).astype(np.float32)
    down = np.linspace(0, 1, thing.box.h, dtype=np.float32)[:, None, None]
    across = np.linspace(0, 1, thing.box.w, dtype=np.float32)[None, :, None]
    tile[..., :3] *= 1.07 - 0.11 * down - 0.06 * across
    return Image.fromarray(tile.clip(0, 255).astype(np.uint8), "RGBA")


def encode(picture: Image.Image) -> bytes:
    """Return ``picture`` as JPEG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _shadows(picture: Image.Image, scene: Scene) -> Image.Image:
    """Darken the ground below what stands on it, and the wall behind what hangs there."""
    small = 4  # a blurred shadow needs no more pixels
    mask = Image.new("L", (-(-scene.width // small), -(-scene.height // small)))
    pen = ImageDraw.Draw(mask)
    for thing in scene.things:
        x0, x1 = thing.box.x / small, thing.box.right / small
        base, deep = thing.box.bottom / small, 0.09 * thing.box.w / small
        if thing.level == "wall":
            pen.rectangle((x0 + 1, thing.box.y / small + 1, x1 + 1, base + 1), 90)
        elif thing.level != "sky" and thing.kind.name != "table":
            pen.ellipse((x0 - 1, base - deep, x1 + 1, base + deep), 120)
    mask = mask.filter(ImageFilter.GaussianBlur(1.6)).resize(picture.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", picture.size, (52, 48, 74)), picture, mask)


def _expose(picture: Image.Image, scene: Scene) -> Image.Image:
    """Add film grain and a slightly darker rim, as a lens gives."""
    pixels = np.asarray(picture).astype(np.float32)
    y = np.linspace(-1, 1, scene.height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, scene.width, dtype=np.float32)[None, :]
    pixels *= (1 - 0.05 * (x * x + y * y))[..., None]
    noise = np.random.default_rng(seeded(scene.seed, scene.image_id, "grain").getrandbits(64))
    pixels += GRAIN * noise.standard_normal((scene.height, scene.width, 1), dtype=np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")
