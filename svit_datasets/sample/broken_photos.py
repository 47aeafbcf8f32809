"""Cases of photos: some that are missing or no photos, and some in unusual formats that must load as RGB.

In comes clean material, out come cases with three small loose photos each; only the second is special.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from svit_datasets.sample.broken_records import FILE
from svit_datasets.sample.cases import Case, Material, array, fails, gives
from svit_datasets.sample.corpus import folder
from svit_datasets.sample.draw import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["broken_photos"]

ORIENTATION = 0x0112  # EXIF tag; 6 asks a viewer to turn the picture by a quarter


def broken_photos(material: Material) -> Iterator[Case]:
    """Return the cases of photos (trap 7.10)."""
    small = [_small(render(scene)) for scene in material.scenes]
    for slug, kind, what, spoil in FAULTS:
        files = _files(material, small, spoil(_saved(small[1], "JPEG")))
        yield Case(slug, "7.10", what, files, _outcomes(kind, material, small), images=(f"defects/{slug}",))
    for slug, what, save in FORMATS:
        files = _files(material, small, save(small[1]))
        rows = gives(material.ids, [2, 2, 2], sizes=[list(picture.size) for picture in small])
        yield Case(slug, "7.10", what, files, (rows,), images=(f"defects/{slug}",))


def _small(picture: Image.Image) -> Image.Image:
    return picture.reduce(3)


def _files(material: Material, small: list[Image.Image], special: bytes | None) -> dict[str, bytes]:
    photos = [_saved(small[0], "JPEG"), special, _saved(small[2], "JPEG")]
    files = {FILE: array(material.items())}
    for image_id, photo in zip(material.ids, photos, strict=True):
        if photo is not None:
            files[f"{folder(image_id)}/{image_id}.jpg"] = photo
    return files


def _outcomes(kind: str, material: Material, small: list[Image.Image]) -> tuple[dict[str, Any], ...]:
    ids, sizes = material.ids, [list(picture.size) for picture in small]
    error = "ImageNotFound" if kind == "missing_image" else "BadImage"
    named = f"{ids[1]}.jpg", f"{ids[1]}"
    return (
        fails(error, *named),
        fails(error, *named, options={"on_missing_image": "error"}),
        gives(
            [ids[0], ids[2]],
            [2, 2],
            counts={kind: 1},
            options={"on_missing_image": "skip"},
            sizes=[sizes[0], sizes[2]],
        ),
        gives(
            ids,
            [2, 2, 2],
            counts={kind: 1},
            options={"on_missing_image": "null"},
            null_images=[ids[1]],
            sizes=[sizes[0], None, sizes[2]],
        ),
    )


def _saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _turned(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return _saved(picture, "JPEG", exif=exif)


FAULTS: tuple[tuple[str, str, str, Callable[[bytes], bytes | None]], ...] = (
    ("photo-missing", "missing_image", "A photo is not there.", lambda _: None),
    ("photo-empty", "bad_image", "A photo has zero bytes.", lambda _: b""),
    ("photo-is-a-page", "bad_image", "A photo is an error page of a server.", lambda _: b"<html>Not found</html>\n"),
    ("photo-cut", "bad_image", "A photo breaks off halfway.", lambda photo: photo[: len(photo) // 2]),
)
FORMATS: tuple[tuple[str, str, Callable[[Image.Image], bytes]], ...] = (
    ("photo-gif", "A photo named .jpg is a GIF.", lambda picture: _saved(picture, "GIF")),
    ("photo-png", "A photo named .jpg is a PNG.", lambda picture: _saved(picture, "PNG")),
    (
        "photo-palette",
        "A photo named .jpg is a PNG with a palette.",
        lambda picture: _saved(picture.quantize(64), "PNG"),
    ),
    (
        "photo-alpha",
        "A photo named .jpg is a PNG with transparency.",
        lambda picture: _saved(picture.convert("RGBA"), "PNG"),
    ),
    ("photo-grey", "A photo is grayscale.", lambda picture: _saved(picture.convert("L"), "JPEG")),
    ("photo-cmyk", "A photo is CMYK.", lambda picture: _saved(picture.convert("CMYK"), "JPEG")),
    ("photo-turned", "A photo has an orientation tag; its size is as stored.", _turned),
)
