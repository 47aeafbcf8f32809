"""The loader on real photos and annotations, where they lie beside the checkout; never copied into the project."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from svit_datasets import last_report, load_dataset
from svit_datasets.located import vg_folder

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"
pytestmark = [pytest.mark.real, pytest.mark.skipif(not REAL.is_dir(), reason="the real photos are not here")]


@pytest.fixture(scope="module")
def photos():
    """The 13 real Visual Genome photos, by id."""
    found = sorted((REAL / "images").glob("VG_100K*/*.jpg"), key=lambda path: int(path.stem))
    assert len(found) == 13
    return {int(path.stem): path for path in found}


@pytest.fixture
def data_dir(tmp_path, photos):
    """SVIT records about the real ids, and the photos zipped as Visual Genome does; ids in another order."""
    (tmp_path / "data").mkdir()
    (tmp_path / "raw" / "annotations").mkdir(parents=True)
    items = [
        {
            "image_id": image_id,
            "conversations": [
                {
                    "content": [
                        {"from": "user", "value": "Which photo is it?"},
                        {"from": "gpt", "value": f"It is {image_id}."},
                    ]
                }
            ],
        }
        for image_id in sorted(photos, key=lambda image_id: str(image_id)[::-1])
    ]
    with zipfile.ZipFile(tmp_path / "data" / "complex_reasoning.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("complex_reasoning.json", json.dumps(items))
    for name, folder in (("images.zip", "VG_100K"), ("images2.zip", "VG_100K_2")):
        with zipfile.ZipFile(tmp_path / "raw" / name, "w", zipfile.ZIP_STORED) as archive:
            for path in photos.values():
                if path.parent.name == folder:
                    archive.write(path, f"{folder}/{path.name}")
    (tmp_path / "raw/annotations/image_data.json").write_bytes((REAL / "vg/image_data.json").read_bytes())
    (tmp_path / "test_image_ids.txt").write_bytes((REAL / "svit/test_image_ids.txt").read_bytes())
    return tmp_path


def load(data_dir, **options):
    return load_dataset(
        "svit", "complex_reasoning", **({"data_dir": data_dir, "cache_dir": data_dir / "cache"} | options)
    )


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "map-style"])
def test_photos_join_their_records(data_dir, photos, streaming):
    """To the byte, in the records' order, with the size of the decoded photo."""
    rows = load(data_dir, split="train", holdout=None, streaming=streaming)
    order = sorted(photos, key=lambda image_id: str(image_id)[::-1])
    raw = list(rows.cast_column("image", datasets.Image(decode=False)))
    assert [row["image_id"] for row in raw] == order
    assert [row["image"]["bytes"] for row in raw] == [photos[image_id].read_bytes() for image_id in order]
    for row in rows:
        assert row["conversations"][0]["messages"][1]["content"] == f"It is {row['image_id']}."
        with Image.open(photos[row["image_id"]]) as photo:
            assert (row["width"], row["height"]) == photo.size
            assert np.array_equal(np.asarray(row["image"]), np.asarray(photo.convert("RGB")))


def test_the_folder_rule_is_that_of_the_real_folders(photos):
    folders = json.loads((REAL / "vg/image_folders.json").read_text())
    assert {image_id: vg_folder(image_id) for image_id in photos} == {
        image_id: path.parent.name for image_id, path in photos.items()
    }
    assert folders


def test_the_real_list_splits(data_dir):
    """The two real photos of the published held-out list are the test split."""
    both = load(data_dir, streaming=True)
    assert sorted(row["image_id"] for row in both["test"]) == [2368326, 2405722]
    assert len(list(both["train"])) == 11


def test_unpacked_folders_serve_as_well(data_dir):
    zipped = load(data_dir, split="train", streaming=True)
    folders = load(data_dir, split="train", streaming=True, images=REAL / "images")
    for a, b in zip(zipped, folders, strict=True):
        assert (a["image_id"], a["image"].tobytes()) == (b["image_id"], b["image"].tobytes())


@pytest.fixture
def coco_only(data_dir):
    """A Visual Genome table that names real COCO photos for three of the ids, null, 0 and -1 for others."""
    coco = {1: 256353, 2: 39769, 4: 431848, 5: None, 1339: 0, 2331963: -1}
    table = [{"image_id": image_id, "coco_id": coco_id} for image_id, coco_id in coco.items()]
    (data_dir / "raw/annotations/image_data.json").write_text(json.dumps(table))
    return data_dir


def test_coco_copies_stand_in_and_the_rest_falls_to_the_next_source(coco_only, photos):
    """COCO folders first, Visual Genome's zip second; sizes are those of the copy that was read."""
    places = [
        REAL / "images/train2017",
        REAL / "images/val2017",
        coco_only / "raw/images.zip",
        coco_only / "raw/images2.zip",
    ]
    rows = {row["image_id"]: row for row in load(coco_only, split="train", streaming=True, holdout=None, images=places)}
    assert len(rows) == 13
    assert (rows[1]["width"], rows[1]["height"]) == (621, 640)
    assert (rows[2]["width"], rows[2]["height"]) == (640, 480)
    assert (rows[4]["width"], rows[4]["height"]) == (378, 640)  # a true grayscale photo
    assert rows[4]["image"].mode == "RGB"
    with Image.open(photos[5]) as own:
        assert rows[5]["image"].size == own.size


def test_coco_alone_leaves_the_rest_to_the_policy(coco_only):
    rows = load(
        coco_only,
        split="train",
        streaming=True,
        holdout=None,
        images=[REAL / "images/train2017", REAL / "images/val2017"],
        on_missing_image="skip",
    )
    assert sorted(row["image_id"] for row in rows) == [1, 2, 4]
    assert last_report().counts == {"missing_image": 10}


def test_edge_photos(tmp_path, photos):
    """CMYK, gray and a wrong name become RGB rows; the truncated one follows the policy; none is turned."""
    edge = {
        1: "pil_sample_cmyk.jpg",
        2: "hopper_gray.jpg",
        4: "jpeg_named.png",
        5: "hopper_orientation_6.jpg",
        1339: "411.jpg",
        2331963: "truncated_jpeg.jpg",
    }
    folder = tmp_path / "photos"
    folder.mkdir()
    for image_id, name in edge.items():
        (folder / f"{image_id}.jpg").write_bytes((REAL / "images/edge" / name).read_bytes())
    items = [
        {
            "image_id": image_id,
            "conversations": [{"content": [{"from": "user", "value": "?"}, {"from": "gpt", "value": "!"}]}],
        }
        for image_id in edge
    ]
    (tmp_path / "complex_reasoning.json").write_text(json.dumps(items))
    options = {"holdout": None, "images": folder, "on_missing_image": "null", "split": "train"}
    for streaming in (True, False):
        rows = {row["image_id"]: row for row in load(tmp_path, streaming=streaming, **options)}
        assert list(rows) == list(edge)
        assert rows[2331963]["image"] is None
        assert last_report().counts == {"bad_image": 1}
        for image_id, name in list(edge.items())[:-1]:
            with Image.open(REAL / "images/edge" / name) as photo:
                assert rows[image_id]["image"].mode == "RGB"
                assert rows[image_id]["image"].size == photo.size
