"""Exports are read by the libraries they are for: every row and every photo's bytes, in order.

mosaicml-streaming cannot be installed beside `datasets` 5, so it reads in an environment of its own, which is made
where the streaming benchmarks keep theirs.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tempfile
from base64 import b64decode
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from svit_builder.data import open_data
from svit_builder.export import export

from svit_datasets.sample import write_sample
from tests.benchmarks.streaming.environments import environments
from tests.exporting import CONFIGS, as_json, name_of, rows_of, texts_of

pytestmark = [
    pytest.mark.readers,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("readers") / "svit", images=16).root


@pytest.fixture(params=CONFIGS)
def config(request):
    return request.param


@pytest.fixture
def write(corpus, config, tmp_path):
    """Return a function that exports the configuration and returns the folder and the rows of the split "train"."""

    def write(format_):
        export(open_data(str(corpus), config), tmp_path / "x", format=format_, shard_bytes=1 << 17)
        return tmp_path / "x", rows_of(corpus, config, "train")

    return write


def test_webdataset(write):
    webdataset = pytest.importorskip("webdataset")
    out, rows = write("webdataset")
    shards = sorted(map(str, out.glob("train-*.tar")))
    assert len(shards) > 1
    found = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [one["__key__"] for one in found] == [f"{at:08}" for at in range(len(rows))]
    assert [one.get("jpg") for one in found] == [row["image"] for row in rows]
    assert [json.loads(one["json"]) for one in found] == [as_json(row) for row in rows]
    decoded = next(iter(webdataset.WebDataset(shards, shardshuffle=False).decode("pilrgb")))
    assert decoded["jpg"].size == (rows[0]["width"], rows[0]["height"])
    assert decoded["json"] == as_json(rows[0])


def test_litdata(write):
    litdata = pytest.importorskip("litdata")
    out, rows = write("litdata")
    assert len(list((out / "train").glob("*.bin"))) > 1
    found = list(litdata.StreamingDataset(str(out / "train"), shuffle=False))
    assert [one["id"] for one in found] == [name_of(row) for row in rows]
    assert [bytes(one["image"]) or None for one in found] == [row["image"] for row in rows]
    assert [json.loads(one["row"]) for one in found] == [as_json(row) for row in rows]


def test_lance(write):
    lance = pytest.importorskip("lance")
    out, rows = write("lance")
    read = lance.dataset(str(out / "train.lance"))
    assert read.to_table().to_pylist() == rows
    assert read.take([len(rows) - 1], columns=["image"]).to_pylist() == [{"image": rows[-1]["image"]}]


def test_coco(corpus, tmp_path):
    coco_api = pytest.importorskip("pycocotools.coco")
    export(open_data(str(corpus), "referring_qa"), tmp_path / "x", format="coco")
    coco = coco_api.COCO(str(tmp_path / "x/train.json"))
    rows = rows_of(corpus, "referring_qa", "train")
    assert coco.getImgIds() == [row["image_id"] for row in rows]
    for row in rows:
        [image] = coco.loadImgs([row["image_id"]])
        assert (tmp_path / "x" / image["file_name"]).read_bytes() == row["image"]
        with Image.open(io.BytesIO(row["image"])) as photo:
            width, height = photo.size
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[row["image_id"]]))
        assert annotations
        for one in annotations:
            x, y, wide, high = one["bbox"]
            assert 0 <= x <= x + wide <= width + 1e-3
            assert 0 <= y <= y + high <= height + 1e-3
            assert one["area"] == pytest.approx(wide * high, abs=1e-3)
    refs = json.loads((tmp_path / "x/refs_train.json").read_text("utf-8"))
    for ref in refs:
        [category] = coco.loadCats([ref["category_id"]])
        assert category["name"] == ref["sentences"][0]["sent"]
        assert {one["image_id"] for one in coco.loadAnns(ref["ann_id"])} == {ref["image_id"]}
    found = coco.getAnnIds(catIds=coco.getCatIds(catNms=[refs[0]["sentences"][0]["sent"]]))
    assert set(refs[0]["ann_id"]) <= set(found)


@pytest.mark.torch
@pytest.mark.skipif(find_spec("trl") is None, reason="trl==1.16.0 is not installed")
def test_trl(write, tmp_path):
    """Beside torch alone: a torchvision that does not fit its build, as litdata may bring, keeps trl from importing."""
    import datasets
    from trl import data_utils

    out, rows = write("trl")
    read = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    for found, row in zip(read, rows, strict=True):
        assert data_utils.is_conversational(found)
        prepared = data_utils.prepare_multimodal_messages(found["messages"], images=found["images"])
        parts = [part for message in prepared for part in message["content"]]
        images = [part["image"] for part in parts if part["type"] == "image"]
        assert [image.size for image in images] == [(row["width"], row["height"])] * (row["image"] is not None)
        assert [part["text"] for part in parts if part["type"] == "text"] == [text for _, text in texts_of(row)]


MOSAIC = """
import base64, json, sys
import torch
try:
    import torchvision
except RuntimeError:  # a torch without CUDA beside a torchvision with it: two operators are declared, none is used
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
import streaming
rows = streaming.StreamingDataset(local=sys.argv[1], split="train", batch_size=1, shuffle=False)
for row in rows:
    print(json.dumps([row["id"], base64.b64encode(row["image"]).decode(), row["row"]]))
print(json.dumps(rows[len(rows) - 1]["id"]))
"""


@pytest.fixture(scope="session")
def mosaic():
    pytest.importorskip("webdataset", reason="not where readers are tested, so no environment is made either")
    home = Path(tempfile.gettempdir()) / f"svit-benchmarks-{os.getuid()}"
    made = environments(home, ["mosaic"])["mosaic"]
    if made.missing:
        pytest.skip(f"no environment for mosaicml-streaming: {made.missing}")
    return made.python


def test_mosaicml_streaming(write, mosaic):
    out, rows = write("mds")
    assert len(list((out / "train").glob("*.mds"))) > 1
    done = subprocess.run(
        [mosaic, "-W", "ignore", "-c", MOSAIC, str(out)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    *lines, last = (json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", '"')))
    assert [name for name, _, _ in lines] == [name_of(row) for row in rows]
    assert [b64decode(photo) or None for _, photo, _ in lines] == [row["image"] for row in rows]
    assert [row for _, _, row in lines] == [as_json(row) for row in rows]
    assert last == name_of(rows[-1])
