"""``check_photo``: any photo that decodes comes through with its stored pixels, anything else is an error of ours."""

from __future__ import annotations

import io
import random
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from datasets import Image as Feature
from PIL import Image

from svit_datasets.errors import BadImage
from svit_datasets.photos import check_photo

REAL = Path(__file__).parents[2] / "shared/data/real/images/edge"
SIZE = (37, 23)
NOISE = Image.frombytes("RGB", SIZE, random.Random(0).randbytes(SIZE[0] * SIZE[1] * 3)).resize(SIZE)


# Pillow warns of what it reads past; what counts here is what comes of it.
DAMAGED = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def encoded(kind="JPEG", mode="RGB", **options):
    out = io.BytesIO()
    NOISE.convert(mode).save(out, kind, **options)
    return out.getvalue()


def stored_pixels(data):
    """As they lie in the file, whatever a tag says."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def decoded_pixels(data):
    """As `datasets` gives them to a user."""
    return np.asarray(Feature(mode="RGB").decode_example({"path": None, "bytes": data}))


def comes_through(data, *, changed):
    photo = check_photo(data)
    assert (photo.width, photo.height) == Image.open(io.BytesIO(data)).size
    assert photo.changed is changed
    assert (photo.data == data) is not changed
    assert np.array_equal(decoded_pixels(photo.data), stored_pixels(data))
    return photo


FORMATS = [
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {}),
    ("JPEG", "CMYK", {}),
    ("JPEG", "RGB", {"progressive": True, "quality": 90}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {}),
    ("PNG", "L", {}),
    ("PNG", "1", {}),
    ("PNG", "I;16", {}),
    ("GIF", "P", {}),
    ("BMP", "RGB", {}),
    ("WEBP", "RGB", {}),
    ("TIFF", "RGB", {}),
]


@pytest.mark.parametrize(("kind", "mode", "options"), FORMATS)
def test_photos_of_any_kind_come_through_unchanged(kind, mode, options):
    assert comes_through(encoded(kind, mode, **options), changed=False).width == SIZE[0]


@pytest.mark.parametrize("after", [b"\0", b"\0" * 40, b"\0" * 5_000, b"\r\n", b"trailing", b"\xff\xd8\xff\xe0" * 100])
def test_bytes_after_the_end_do_no_harm(after):
    comes_through(encoded() + after, changed=False)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"\0" * 1_000, r"not an image: it begins with b'\\x00"),
        (b"<!DOCTYPE html><html>404</html>", "not an image: it begins with b'<!DOCTYPE ht'"),
        (b"\xff\xd8", "not an image|cannot be decoded"),
        (b"\xff\xd8\xff\xe0", "not an image|cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n", "not an image|cannot be decoded"),
        (b"GIF89a", "not an image|cannot be decoded"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not an image"),
    ],
)
def test_what_is_no_photo_says_what_it_is(data, message):
    with pytest.raises(BadImage, match=message):
        check_photo(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_a_photo_cut_anywhere_is_refused_or_still_decodes(kind):
    """Never is one let through at which a training run would stop later."""
    data = encoded(kind, "P" if kind == "GIF" else "RGB")
    refused = 0
    for cut in range(1, len(data), 1 + len(data) // 300):
        try:
            photo = check_photo(data[:cut])
        except BadImage:
            refused += 1
            continue
        assert np.array_equal(decoded_pixels(photo.data), decoded_pixels(data)), f"{cut} of {len(data)} bytes"
    assert refused > 200 * len(data) // 1_000 // (1 + len(data) // 300)


def test_a_cut_photo_says_so():
    with pytest.raises(BadImage, match=r"cannot be decoded: .*truncated.*\(1,000 bytes\)"):
        check_photo(encoded(quality=95)[:1_000])


@DAMAGED
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_no_other_error_than_ours_whatever_the_bytes(kind):
    data, chance = encoded(kind, "P" if kind == "GIF" else "RGB"), random.Random(5)
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            changed[chance.randrange(len(changed) if chance.random() < 0.3 else 60)] = chance.randrange(256)
        with suppress(BadImage):
            check_photo(bytes(changed[: chance.choice([len(changed), chance.randrange(20, len(changed))])]))


def test_a_picture_too_large_to_be_a_photo():
    out = io.BytesIO()
    Image.new("1", (20_000, 9_000)).save(out, "PNG")
    with pytest.raises(BadImage, match="decompression bomb"):
        check_photo(out.getvalue())


class TestOrientation:
    """Visual Genome's boxes were drawn on the unturned photos, and `datasets` turns what says so."""

    @staticmethod
    def exif(orientation, order="<", more=(), kind=3):
        tags = sorted([(0x0112, kind, 1, orientation), *more])
        head = b"II*\0" if order == "<" else b"MM\0*"
        entries = b"".join(
            struct.pack(f"{order}HHI", tag, kind, count)
            + (struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value))
            for tag, kind, count, value in tags
        )
        return b"Exif\0\0" + head + struct.pack(f"{order}IH", 8, len(tags)) + entries + b"\0" * 4

    @staticmethod
    def xmp(orientation, form='tiff:Orientation="{}"'):
        inner = form.format(orientation)
        body = f"<rdf:Description {inner}/>" if '"' in inner else f"<rdf:Description><{inner}</tiff:Orientation>"
        return f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{body}</x:xmpmeta>".encode()

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif(self, orientation, order):
        data = encoded(exif=self.exif(orientation, order))
        comes_through(data, changed=orientation != 1)

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_exif_with_other_tags_and_wider_numbers(self, order):
        data = encoded(exif=self.exif(6, order, more=[(0x011A, 3, 1, 1), (0x0100, 3, 1, 5), (0x9000, 4, 1, 7)]))
        comes_through(data, changed=True)
        comes_through(encoded(exif=self.exif(6, order, kind=4)), changed=True)

    def test_exif_that_pillow_itself_writes(self):
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 8, "Camera"
        photo = comes_through(encoded(exif=exif), changed=True)
        assert Image.open(io.BytesIO(photo.data)).getexif()[0x010F] == "Camera"

    @pytest.mark.parametrize("value", [0, 9, 65_535])
    def test_exif_with_a_number_that_means_nothing(self, value):
        data = encoded(exif=self.exif(value))
        assert np.array_equal(decoded_pixels(check_photo(data).data), stored_pixels(data))

    @pytest.mark.parametrize("form", ['tiff:Orientation="{}"', "tiff:Orientation>{}"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_xmp(self, orientation, form):
        comes_through(encoded(xmp=self.xmp(orientation, form)), changed=orientation != 1)

    @pytest.mark.parametrize(("by_exif", "by_xmp"), [(6, 8), (1, 6), (6, 1)])
    def test_exif_and_xmp_together(self, by_exif, by_xmp):
        data = encoded(exif=self.exif(by_exif), xmp=self.xmp(by_xmp))
        assert np.array_equal(decoded_pixels(check_photo(data).data), stored_pixels(data))

    def test_exif_without_the_tag_beside_xmp_with_it(self):
        exif = Image.Exif()
        exif[0x010F] = "Camera"
        comes_through(encoded(exif=exif, xmp=self.xmp(6)), changed=True)

    def test_xmp_behind_a_large_profile(self):
        data = encoded(xmp=self.xmp(6))
        segment = b"\xff\xe2" + struct.pack(">H", 60_000) + b"ICC_PROFILE\0\1\1" + b"\0" * (60_000 - 16)
        comes_through(data[:2] + segment + segment + data[2:], changed=True)

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    def test_exif_in_other_formats(self, kind):
        exif = Image.Exif()
        exif[0x0112] = 6
        data = encoded(kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
        assert np.array_equal(decoded_pixels(check_photo(data).data), stored_pixels(data))

    def test_xmp_in_a_png(self):
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", self.xmp(6).decode())
        data = encoded("PNG", pnginfo=info)
        assert np.array_equal(decoded_pixels(check_photo(data).data), stored_pixels(data))

    @DAMAGED
    @pytest.mark.parametrize(
        "exif",
        [
            b"Exif\0\0",
            b"Exif\0\0junk that is no TIFF",
            b"Exif\0\0II*\0\xff\xff\xff\xff",
            b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
            b"Exif\0\0MM\0*\0\0\0\x08\0\1",
            b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\xff\xff\xff\xff\6\0\0\0",
        ],
    )
    def test_exif_that_is_broken(self, exif):
        """It comes through, and then decodes, or it is refused here and not in the middle of an epoch."""
        data = encoded(exif=exif)
        try:
            photo = check_photo(data)
        except BadImage:
            return
        assert np.array_equal(decoded_pixels(photo.data), stored_pixels(data))

    @DAMAGED
    def test_broken_exif_is_never_another_error(self):
        chance, whole = random.Random(7), self.exif(6, more=[(0x011A, 3, 1, 1), (0x8769, 4, 1, 26)])
        for _ in range(300):
            exif = bytearray(whole)
            for _ in range(chance.randrange(1, 4)):
                exif[chance.randrange(6, len(exif))] = chance.randrange(256)
            data = encoded(exif=bytes(exif))
            try:
                photo = check_photo(data)
            except BadImage:
                continue
            assert np.array_equal(decoded_pixels(photo.data), stored_pixels(data)), bytes(exif)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="no real files beside this checkout")
class TestRealPhotos:
    @pytest.mark.parametrize("name", ["hopper_gray.jpg", "411.jpg", "jpeg_named.png", "pil_sample_cmyk.jpg"])
    def test_odd_ones_come_through(self, name):
        comes_through((REAL / name).read_bytes(), changed=False)

    def test_a_turned_one(self):
        comes_through((REAL / "hopper_orientation_6.jpg").read_bytes(), changed=True)

    def test_a_truncated_one(self):
        with pytest.raises(BadImage, match="truncated"):
            check_photo((REAL / "truncated_jpeg.jpg").read_bytes())
