"""The bytes of a photo in; what a browser is given out: a thumbnail, or the photo with a type that it is.

Judged by content. What a browser would run as a document, such as SVG, is no photo here.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from svit_datasets.errors import BadImage

__all__ = ["THUMBNAIL", "Picture", "absent", "icon", "picture_of", "thumbnail"]

THUMBNAIL = (480, 360)  # pixels at most: twice what a card shows, for fine screens
_TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
_READ = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")  # no SVG, no PDF; MPO is opened as the JPEG it begins with


@dataclass(frozen=True, slots=True)
class Picture:
    """What a browser can show."""

    data: bytes
    kind: str  # its media type
    width: int  # pixels
    height: int

    @property
    def ending(self) -> str:
        """What a file of it is called."""
        return {"image/jpeg": "jpg"}.get(self.kind, self.kind.partition("/")[2])


def picture_of(data: bytes) -> Picture:
    """Return a photo as it is, or as PNG where browsers do not show its format.

    Raises:
        BadImage: it is none that Pillow reads.
    """
    image = _opened(data)
    kind = _TYPES.get(image.format or "")
    if kind is None:
        return _saved(image.convert("RGB"), "PNG")
    return Picture(data, kind, image.width, image.height)


def thumbnail(data: bytes) -> Picture:
    """Return a photo as a JPEG of at most 480 by 360 pixels; a tag that asks for a turn is not obeyed.

    Boxes were drawn on unturned photos, so they are shown like that.

    Raises:
        BadImage: it cannot be decoded.
    """
    image = _opened(data)
    try:
        image.draft("RGB", THUMBNAIL)  # a JPEG is decoded at a fraction of its size
        image = image.convert("RGB")
        image.thumbnail(THUMBNAIL, Image.Resampling.BICUBIC, reducing_gap=2.0)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadImage(f"cannot be decoded: {error} ({len(data):,} bytes)") from error
    return _saved(image, "JPEG", quality=80)


def absent(words: str) -> Picture:
    """Return what stands for a thumbnail where there is none: a grey sheet that says why."""
    image = Image.new("RGB", THUMBNAIL, "#8a9098")
    middle = (THUMBNAIL[0] / 2, THUMBNAIL[1] / 2)
    ImageDraw.Draw(image).text(middle, words, "#ffffff", ImageFont.load_default(28), anchor="mm")
    return _saved(image, "JPEG", quality=80)


def icon() -> bytes:
    """Return the page's own icon, a PNG: a box in a photo."""
    image = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((4, 8, 59, 55), 8, fill="#31557f")
    draw.rectangle((17, 20, 39, 43), outline="#ffb238", width=5)
    return _saved(image, "PNG").data


def _opened(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=_READ)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(f"not an image that can be shown: it begins with {data[:12]!r} ({len(data):,} bytes)") from error


def _saved(image: Image.Image, form: str, **options: int) -> Picture:
    out = io.BytesIO()
    image.save(out, form, **options)
    return Picture(out.getvalue(), _TYPES[form], image.width, image.height)
