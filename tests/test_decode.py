"""Photos to pixels: two decoders with one result, at full size and scaled, and what is refused."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tests.strategies  # noqa: F401 - sets the profile: no deadline, no database
from svit_datasets.decode import decoder_for
from svit_datasets.errors import BadImage, MissingDependency, OptionError
from svit_datasets.sample import write_sample

WIDTH, HEIGHT = 331, 257  # neither is a multiple of a JPEG's 8 or 16


def encoded(picture, kind="JPEG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def picture(content, mode="RGB", width=WIDTH, height=HEIGHT):
    numbers = np.random.default_rng(5)
    if content == "noise":
        pixels = numbers.integers(0, 256, (height, width, 3), dtype=np.uint8)
    else:
        y, x = np.mgrid[:height, :width]
        smooth = np.stack([100 * np.sin(x / 17), 90 * np.cos(y / 23), 80 * np.sin((x + y) / 31)], axis=-1)
        pixels = np.clip(128 + smooth + numbers.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


KINDS = {
    "plain": {"quality": 90},
    "4:4:4": {"subsampling": "4:4:4"},
    "4:2:2": {"subsampling": "4:2:2"},
    "4:2:0": {"subsampling": "4:2:0"},
    "4:1:1": {"subsampling": "4:1:1"},
    "progressive": {"progressive": True},
    "coarse": {"quality": 15},
    "restarts": {"restart_marker_blocks": 2},
}
PHOTOS = [(f"{content}-{kind}", content, "RGB", kind) for content in ("scene", "noise") for kind in KINDS]
PHOTOS += [(f"{mode}-{kind}", "scene", mode, kind) for mode in ("L", "CMYK") for kind in ("plain", "progressive")]
PHOTOS += [("CMYK-4:1:1", "scene", "CMYK", "4:1:1")]  # a sampling that libjpeg-turbo has no name for


def both(data, image_size=None):
    return [decoder_for("numpy", decoder=name, image_size=image_size)(data) for name in ("simplejpeg", "pillow")]


def assert_near(one, other, most=2):
    """Rounding is all that differs."""
    assert one.shape == other.shape
    assert one.dtype == other.dtype == np.uint8
    assert np.abs(one.astype(int) - other).max() <= most


@pytest.mark.parametrize("image_size", [None, 160, 100, 32])
@pytest.mark.parametrize(("content", "mode", "kind"), [case[1:] for case in PHOTOS], ids=[case[0] for case in PHOTOS])
def test_both_decoders_give_the_same_pixels(content, mode, kind, image_size):
    data = encoded(picture(content, mode), **KINDS[kind])
    assert_near(*both(data, image_size))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_what_is_no_jpeg_is_the_same_to_the_bit(kind):
    for found in both(encoded(picture("scene"), kind), image_size=32):
        assert (
            found.tobytes()
            == np.asarray(Image.open(io.BytesIO(encoded(picture("scene"), kind))).convert("RGB")).tobytes()
        )
        assert found.shape == (HEIGHT, WIDTH, 3), "only a JPEG can be decoded smaller"


def test_photos_of_the_sample_are_the_same(tmp_path):
    write_sample(tmp_path, images=8)
    with zipfile.ZipFile(tmp_path / "raw" / "images.zip") as archive:
        photos = [archive.read(name) for name in archive.namelist() if name.endswith(".jpg")]
    assert len(photos) > 2
    for data in photos:
        for image_size in (None, 100):
            assert_near(*both(data, image_size))


def test_channels_are_red_green_blue():
    for colour in ((250, 5, 5), (5, 250, 5), (5, 5, 250)):
        for found in both(encoded(Image.new("RGB", (32, 16), colour), quality=95)):
            assert found.shape == (16, 32, 3)
            assert np.abs(found.reshape(-1, 3).mean(0) - colour).max() < 4


def test_pixels_may_be_written_to():
    """As a training loop does; torch warns of an array that is read-only."""
    for found in both(encoded(picture("scene"))):
        found[0, 0] = 7
        assert found.flags.writeable
        assert found.flags.c_contiguous


# Where decoders differ in what they take -----------------------------------------------------------------------------

MARKER = b"\xff\xd9"  # end of the image


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-2] + bytes(4) + MARKER,
        lambda data: data + bytes(3),
        lambda data: data[:2] + b"\xff\xff\xff" + data[3:],
        lambda data: data[: len(data) // 2] + MARKER,
        lambda data: data[:-300] + b"\xff\xd3" + data[-298:],
    ],
    ids=["bytes-before-the-end", "bytes-after-the-end", "fill-bytes", "half-with-an-end", "stray-restart-marker"],
)
def test_an_odd_jpeg_is_taken_by_both_or_by_neither(change):
    """Else the rows would depend on what is installed."""
    data = change(encoded(picture("scene")))
    found = []
    for name in ("simplejpeg", "pillow"):
        try:
            found.append(decoder_for("numpy", decoder=name)(data).shape)
        except BadImage:
            found.append("bad")
    assert found[0] == found[1]


def test_a_multi_picture_jpeg_is_its_first_picture_at_the_same_scale():
    data = encoded(picture("scene"), "MPO", save_all=True, append_images=[picture("noise")])
    assert_near(*both(data))
    assert_near(*both(data, image_size=32))


def test_bytes_that_are_no_photo_are_a_bad_image():
    for decode in (decoder_for("numpy", decoder="pillow"), decoder_for("numpy"), decoder_for("pil")):
        for data in (b"", b"GIF89a", b"\xff\xd8\xff\xe0 and no more", encoded(picture("scene"), "PNG")[:900]):
            with pytest.raises(BadImage, match=rf"cannot be decoded: .*\({len(data):,} bytes\)"):
                decode(data)


# Scaled --------------------------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(width=st.integers(1, 90), height=st.integers(1, 90), image_size=st.integers(1, 100))
def test_any_size_is_scaled_alike_and_never_below_what_is_asked(width, height, image_size):
    data = encoded(Image.new("RGB", (width, height), (9, 99, 199)))
    one, other = both(data, image_size)
    assert one.shape == other.shape
    assert min(one.shape[:2]) >= min(image_size, width, height)
    scales = {scale for scale in (1, 2, 4, 8) if one.shape[:2] == (-(-height // scale), -(-width // scale))}
    assert scales, one.shape
    assert decoder_for("pil", image_size=image_size)(data).size == one.shape[1::-1]


@pytest.mark.parametrize(
    ("image_size", "scale"), [(None, 1), (258, 1), (257, 1), (129, 2), (65, 4), (66, 2), (33, 8), (1, 8)]
)
def test_the_smallest_scale_that_suffices_is_taken(image_size, scale):
    for found in both(encoded(picture("scene")), image_size):
        assert found.shape == (-(-HEIGHT // scale), -(-WIDTH // scale), 3)


# What a row holds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_pil_is_rgb(mode):
    image = decoder_for("pil")(encoded(picture("scene", mode)))
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (WIDTH, HEIGHT))


@pytest.mark.parametrize("mode", ["P", "1", "RGBA", "I;16"])
def test_a_png_of_any_mode_is_rgb(mode):
    source = picture("scene", "L" if mode == "I;16" else "RGB").convert(mode)
    assert decoder_for("pil")(encoded(source, "PNG")).mode == "RGB"
    assert decoder_for("numpy")(encoded(source, "PNG")).shape == (HEIGHT, WIDTH, 3)


def test_none_keeps_the_bytes_and_a_function_gets_them():
    data = encoded(picture("scene"))
    assert decoder_for(None)(data) is data
    assert decoder_for(len)(data) == len(data)


def test_auto_is_the_fast_one_where_it_is_installed():
    fast, _ = both(data := encoded(picture("noise")))
    assert decoder_for("numpy")(data).tobytes() == fast.tobytes()


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"decode": "numpy", "decoder": "cv2"},
            "decoder='cv2' is not allowed. Allowed: 'auto', 'simplejpeg', 'pillow'.",
        ),
        ({"decode": "torch"}, "decode='torch' is not allowed. Allowed: None, 'pil', 'numpy', or a function"),
        ({"decode": "pil", "image_size": 0}, "image_size=0 is not allowed: give the shorter side in pixels, or None"),
        ({"decode": None, "decoder": "PIL"}, "decoder='PIL' is not allowed"),
    ],
)
def test_a_wrong_option_names_the_right_ones(options, words):
    with pytest.raises(OptionError) as caught:
        decoder_for(**options)
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)


WITHOUT_SIMPLEJPEG = """
import importlib.machinery, sys

class Hidden(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "simplejpeg" else super().find_spec(name, path, target)

sys.meta_path = [Hidden if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
from svit_datasets.decode import decoder_for
from svit_datasets.errors import MissingDependency
import io
from PIL import Image
data = io.BytesIO()
Image.new("RGB", (40, 30)).save(data, "JPEG")
print(decoder_for("numpy")(data.getvalue()).shape)
try:
    decoder_for("numpy", decoder="simplejpeg")
except ImportError as error:
    print(type(error).__name__, error)
assert "simplejpeg" not in sys.modules
"""


def test_without_simplejpeg_pillow_decodes_and_its_name_tells_what_to_install():
    """Hidden from the import system of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SIMPLEJPEG], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    shape, error = done.stdout.splitlines()
    assert shape == "(30, 40, 3)"
    assert error == 'MissingDependency decoder="simplejpeg" needs simplejpeg: pip install "svit-datasets[fast]"'
    assert issubclass(MissingDependency, ImportError)
