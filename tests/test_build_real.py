"""The build on real photos, where they lie beside the checkout; never copied into the project."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from PIL import Image
from svit_builder.build import build, verify

from tests.test_real import REAL, data_dir, photos

__all__ = ["data_dir", "photos"]
pytestmark = [pytest.mark.real, pytest.mark.skipif(not REAL.is_dir(), reason="the real photos are not here")]


def test_real_photos_are_published_to_the_byte(data_dir, photos, tmp_path, monkeypatch):
    """By stock datasets, beside the folder; the two photos of the published held-out list are the test split."""
    report = build(data_dir / "svit", data_dir=data_dir, cache_dir=data_dir / "cache", num_workers=0)
    assert list(report.configs) == ["complex_reasoning"]
    assert {one.fault for one in verify(data_dir / "svit", num_workers=0)} == {None}
    monkeypatch.chdir(data_dir)
    stock = datasets.load_dataset("svit", "complex_reasoning", cache_dir=tmp_path / "stock")
    assert sorted(stock["test"]["image_id"]) == [2368326, 2405722]
    seen = {}
    for split in stock.values():
        for row, raw in zip(split, split.cast_column("image", datasets.Image(decode=False)), strict=True):
            seen[row["image_id"]] = raw["image"]["bytes"]
            with Image.open(photos[row["image_id"]]) as photo:
                assert (row["width"], row["height"]) == photo.size == row["image"].size
                assert np.array_equal(np.asarray(row["image"]), np.asarray(photo.convert("RGB")))
    assert seen == {image_id: path.read_bytes() for image_id, path in photos.items()}


def test_a_truncated_real_photo_is_told_or_left_out(data_dir, photos):
    """The whole build says which it is; by policy its text stays, and it is counted."""
    folder = data_dir / "photos"
    folder.mkdir()
    for image_id, path in photos.items():
        (folder / f"{image_id}.jpg").write_bytes(path.read_bytes())
    (folder / "2331963.jpg").write_bytes((REAL / "images/edge/truncated_jpeg.jpg").read_bytes())
    common = {"data_dir": data_dir, "cache_dir": data_dir / "cache", "images": folder, "num_workers": 0}
    with pytest.raises(OSError, match="2331963"):
        build(data_dir / "svit", **common)
    report = build(data_dir / "svit", on_missing_image="null", **common)
    found = report.configs["complex_reasoning"]
    assert found.left_out.counts == {"bad_image": 1}
    assert "2331963" in found.left_out.examples["bad_image"][0]
    assert found.rows == {"train": 11, "test": 2}
