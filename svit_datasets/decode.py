"""The bytes of a photo in, pixels out: by simplejpeg where it is installed, else by Pillow, with the same result.

Both release the interpreter's lock while they decode, so threads scale; shipping pixels between processes would cost
more than a third of the throughput (measured).
"""

from __future__ import annotations

import io
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from svit_datasets.errors import BadImage, MissingDependency, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    Decode = Literal["pil", "numpy"] | Callable[[bytes], Any] | None
    Decoder = Literal["auto", "simplejpeg", "pillow"]

__all__ = ["decoder_for"]

_SCALES = (8, 4, 2)  # a JPEG can be decoded at these fractions of its size, for a fraction of the work


def decoder_for(decode: Decode, *, decoder: Decoder = "auto", image_size: int | None = None) -> Callable[[bytes], Any]:
    """Return the function that turns a photo's bytes into what a row holds.

    Args:
        decode: None keeps the bytes; "pil" gives a PIL image, mode RGB; "numpy" an array (height, width, 3), uint8,
            RGB; a function is called with the bytes, in a decoding thread.
        decoder: what decodes for "numpy": "simplejpeg" (extra ``[fast]``), "pillow", or "auto", the first if it is
            installed. Pixels differ by rounding only.
        image_size: the shorter side that is wanted, pixels: a JPEG is decoded at the smallest of 1/1, 1/2, 1/4 and 1/8
            of its size whose shorter side is at least that; nothing is resampled. None decodes in full.

    Raises:
        OptionError: a value that is not allowed.
        MissingDependency: "simplejpeg" was asked for and is not installed.
        BadImage: from the function returned, but for one of the user's: the bytes cannot be decoded.
    """
    if decoder not in ("auto", "simplejpeg", "pillow"):
        raise OptionError(f"decoder={decoder!r} is not allowed. Allowed: 'auto', 'simplejpeg', 'pillow'.")
    if image_size is not None and image_size < 1:
        raise OptionError(f"image_size={image_size!r} is not allowed: give the shorter side in pixels, or None.")
    if decode is None:
        return bytes
    if callable(decode):
        return decode
    if decode == "pil":
        return partial(_explained, _to_pil, image_size)
    if decode != "numpy":
        raise OptionError(
            f"decode={decode!r} is not allowed. Allowed: None, 'pil', 'numpy', or a function of the bytes."
        )
    has_simplejpeg = find_spec("simplejpeg") is not None
    if decoder == "simplejpeg" and not has_simplejpeg:
        raise MissingDependency('decoder="simplejpeg" needs simplejpeg: pip install "svit-datasets[fast]"')
    fast = decoder != "pillow" and has_simplejpeg
    return partial(_explained, _by_simplejpeg if fast else _by_pillow, image_size)


def _explained(decode: Callable[[bytes, int | None], Any], image_size: int | None, data: bytes) -> Any:
    try:
        return decode(data, image_size)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadImage(f"cannot be decoded: {error} ({len(data):,} bytes)") from error


def _to_pil(data: bytes, image_size: int | None) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    if image_size is not None and image.format in ("JPEG", "MPO"):
        scale = _scale(min(image.size), image_size)
        image.draft(None, (image.width // scale, image.height // scale))  # Pillow divides and rounds down
    return image.convert("RGB")


def _by_pillow(data: bytes, image_size: int | None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.array(_to_pil(data, image_size))  # a copy: what Pillow shows of its own memory cannot be written to


def _by_simplejpeg(data: bytes, image_size: int | None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    import simplejpeg  # noqa: PLC0415 - an extra

    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        if colorspace not in ("YCbCr", "RGB", "Gray"):  # of CMYK, only Pillow knows Adobe's inversion
            return _by_pillow(data, image_size)
        scale = 1 if image_size is None else _scale(min(height, width), image_size)
        pixels: np.ndarray[Any, np.dtype[np.uint8]] = simplejpeg.decode_jpeg(
            data,
            "RGB",
            fastdct=False,
            fastupsample=False,
            min_height=-(-height // scale),
            min_width=-(-width // scale),
            min_factor=1,
        )
    except ValueError:  # no JPEG, or one that only Pillow puts up with: stray bytes, rare samplings
        return _by_pillow(data, image_size)
    return pixels


def _scale(side: int, wanted: int) -> int:
    return next((scale for scale in _SCALES if side >= scale and -(-side // scale) >= wanted), 1)
