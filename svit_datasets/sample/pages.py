"""Photos with writing on them, for the mix: two book covers and two signs, with questions on what they say.

Pure data and one painter; the texts are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from svit_datasets.sample.pen import COLOURS, Pen, tint

if TYPE_CHECKING:
    from svit_datasets.sample.words import QA

__all__ = ["BOOKS", "SIGNS", "Page", "paint_page"]


@dataclass(frozen=True, slots=True)
class Page:
    """One picture with writing."""

    path: str  # as in the record, relative to the photo root
    size: tuple[int, int]  # pixels
    colour: str  # of the cover or board, key of COLOURS
    lines: tuple[str, ...]  # what is written, from top to bottom
    qas: tuple[QA, ...]


BOOKS = (
    Page(
        "ocr_vqa/images/0900000017.jpg",
        (330, 480),
        "blue",
        ("A YEAR", "OF SMALL", "BOATS", "Ida Fernlund"),
        (
            ("What is the title of this book?", "A Year of Small Boats"),
            ("Who wrote it?", "Ida Fernlund"),
        ),
    ),
    Page(
        "ocr_vqa/images/0900000025.jpg",
        (340, 470),
        "green",
        ("SOUP", "FOR TEN", "Joris Malk"),
        (
            ("Who is the author of this book?", "Joris Malk"),
            ("Is this a book on cooking?", "Judging by its title, yes."),
        ),
    ),
)
SIGNS = (
    Page(
        "textvqa/train_images/00c0ffee00000001.jpg",
        (512, 384),
        "orange",
        ("FRESH BREAD", "7 - 12"),
        (("What is sold here, according to the sign?", "fresh bread"), ("Until when?", "12")),
    ),
    Page(
        "textvqa/train_images/00c0ffee00000002.jpg",
        (512, 384),
        "purple",
        ("PLATFORM 4", "NORTH"),
        (("Which platform is this?", "platform 4"),),
    ),
)


def paint_page(page: Page) -> Image.Image:
    """Return the picture of ``page``: a board or cover before a pale wall, with its lines written on it."""
    pen = Pen(*page.size, scale=2, opaque=True)
    colour = COLOURS[page.colour]
    pen.fade(0, 1, (226, 220, 210), (190, 184, 178))
    pen.rect(0.1, 0.09, 0.94, 0.95, (150, 144, 140), r=0.03)
    pen.rect(0.08, 0.07, 0.92, 0.93, colour, r=0.03)
    pen.rect(0.12, 0.11, 0.88, 0.89, tint(colour, 0.12), r=0.02)
    picture = pen.finish()
    draw = ImageDraw.Draw(picture)
    step = page.size[1] * 0.7 / len(page.lines)
    for number, line in enumerate(page.lines):
        size = page.size[0] * (0.075 if number == len(page.lines) - 1 and len(page.lines) > 2 else 0.1)
        at = page.size[0] / 2, page.size[1] * 0.15 + step * (number + 0.5)
        draw.text(at, line, (250, 246, 232), font=ImageFont.load_default(size), anchor="mm")
    return picture
