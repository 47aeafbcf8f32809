"""`svit_builder.export`: every format holds the rows and the photos' bytes, and a folder is there whole or not at all.

What needs another library to be read is in test_export_readers.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from svit_builder.data import open_data
from svit_builder.export import FORMATS, export
from svit_builder.export import items as export_items
from svit_builder.manifest import write_manifest
from svit_builder.shards import write_config

from svit_datasets.boxes import convert, parse
from svit_datasets.cli import main
from svit_datasets.cli.export import _FORMATS
from svit_datasets.errors import BadRecord, ImageNotFound, MissingDependency, OptionError, TemplateLossError
from svit_datasets.sample import write_sample
from tests.exporting import CONFIGS, as_json, name_of, photo_name, rows_of, texts_of, tree

SPLITS = ("train", "test")
OURS = [name for name in FORMATS if name not in ("litdata", "lance")]  # written without another library


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("export") / "svit", images=16).root


@pytest.fixture(scope="module")
def exported(corpus, tmp_path_factory):
    """Return the folder of a configuration in a format, made once."""
    made = {}

    def get(config, format_, **options):
        key = (config, format_, *options.items())
        if key not in made:
            out = tmp_path_factory.mktemp("out") / "x"
            made[key] = out, export(open_data(str(corpus), config), out, format=format_, **options)
        return made[key]

    return get


def source(corpus, config):
    return {split: rows_of(corpus, config, split) for split in SPLITS}


def source_images(corpus, config):
    return {photo_name(row) for rows in source(corpus, config).values() for row in rows} - {None}


def assert_photos(folder, rows):
    """Each photo is there once, by its bytes, and nothing else."""
    wanted = {photo_name(row): row["image"] for row in rows if row["image"] is not None}
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == wanted


# JSON with a folder of photos -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [*CONFIGS, "conversation", "all"])
def test_llava_follows_llavas_rules(corpus, exported, config):
    out, report = exported(config, "llava")
    for split, rows in source(corpus, config).items():
        records = json.loads((out / f"{split}.json").read_text("utf-8"))
        assert [record["id"] for record in records] == [name_of(row) for row in rows]
        for record, row in zip(records, rows, strict=True):
            said = [turn["value"] for turn in record["conversations"]]
            assert [turn["from"] for turn in record["conversations"]] == ["human", "gpt"] * (len(said) // 2)
            assert ("image" in record) == (row["image"] is not None)
            assert sum(text.count("<image>") for text in said) == ("image" in record)
            if "image" in record:
                assert record["image"] == photo_name(row)
                assert said[0].startswith("<image>\n")
                said[0] = said[0].removeprefix("<image>\n")
            assert not any("<st>" in text or "<ed>" in text for text in said)
            size = {"width": row["width"], "height": row["height"]}
            in_svit = config not in ("mix_665k", "core_150k")
            assert said == [
                (convert(text, to="padded", **size) if in_svit else text).strip() for _, text in texts_of(row)
            ]
    everything = [row for rows in source(corpus, config).values() for row in rows]
    assert_photos(out / "images", everything)
    assert report.photos == len(source_images(corpus, config))
    assert report.splits == {split: len(rows) for split, rows in source(corpus, config).items()}


def test_boxes_for_llava_are_those_of_the_padded_square(corpus, exported):
    """Against the rule itself: the photo centred in a square of its longer side, margins rounded down to pixels."""
    out, _ = exported("referring_qa", "llava")
    records = json.loads((out / "train.json").read_text("utf-8"))
    checked = 0
    for record, row in zip(records, rows_of(corpus, "referring_qa", "train"), strict=True):
        width, height = row["width"], row["height"]
        side = max(width, height)
        left, top = (side - width) // 2, (side - height) // 2
        number = r"\[([\d.]+), ([\d.]+), ([\d.]+), ([\d.]+)\]"
        found = [box for turn in record["conversations"] for box in re.findall(number, turn["value"])]
        wanted = [box for _, text in texts_of(row) for box in re.findall(number, text)]
        for padded, box in zip(found, wanted, strict=True):
            x1, y1, x2, y2 = map(float, box)
            moved = [(x1 * width + left) / side, (y1 * height + top) / side]
            moved += [(x2 * width + left) / side, (y2 * height + top) / side]
            assert np.allclose([float(value) for value in padded], moved, atol=0.0006)
            checked += 1
    assert checked > 50


def test_a_record_can_be_a_conversation(corpus, exported):
    out, report = exported("conversation", "llava", rows="conversation")
    rows = rows_of(corpus, "conversation", "train")
    records = json.loads((out / "train.json").read_text("utf-8"))
    wanted = [f"{row['image_id']}/conversation/{at}" for row in rows for at in range(len(row["conversations"]))]
    assert [record["id"] for record in records] == wanted
    said = [[turn["value"] for turn in record["conversations"]] for record in records]
    blocks = [[message["content"] for message in block["messages"]] for row in rows for block in row["conversations"]]
    assert said == [[f"<image>\n{first}", *rest] for first, *rest in blocks]
    assert report.photos == len(source_images(corpus, "conversation"))


@pytest.mark.parametrize("config", CONFIGS)
def test_sharegpt_names_its_photos_and_says_how_to_read_it(corpus, exported, config):
    out, _ = exported(config, "sharegpt")
    info = json.loads((out / "dataset_info.json").read_text("utf-8"))
    for split, rows in source(corpus, config).items():
        told = info[f"svit_{split}"]
        assert told["formatting"] == "sharegpt"
        records = json.loads((out / told["file_name"]).read_text("utf-8"))
        for record, row in zip(records, rows, strict=True):
            images = record[told["columns"]["images"]]
            turns = record[told["columns"]["messages"]]
            assert [(out / image).read_bytes() for image in images] == [row["image"]] * (row["image"] is not None)
            assert "".join(turn["value"] for turn in turns).count("<image>") == len(images)
            said = [turn["value"].replace("<image>", "").strip() for turn in turns]
            assert said == [text for _, text in texts_of(row)]
    assert_photos(out / "images", [row for rows in source(corpus, config).values() for row in rows])


@pytest.mark.parametrize("config", [*CONFIGS, "all"])
def test_jsonl_has_the_rows_as_they_are(corpus, exported, config, tmp_path):
    out, _ = exported(config, "jsonl")
    for split, rows in source(corpus, config).items():
        read = datasets.load_dataset("json", data_files=str(out / f"{split}.jsonl"), cache_dir=str(tmp_path))["train"]
        for found, row in zip(read, rows, strict=True):
            photo = found.pop("image")
            assert (None if photo is None else (out / photo).read_bytes()) == row["image"]
            assert found == {key: value for key, value in as_json(row).items() if key != "image"}


# Photos in the rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_trl_loads_as_it_is(corpus, exported, config, tmp_path):
    out, report = exported(config, "trl", shard_bytes=1 << 17)
    assert report.files > len(SPLITS)
    read = datasets.load_dataset(str(out), cache_dir=str(tmp_path))
    assert list(read) == list(SPLITS)
    assert read["train"].features["images"] == datasets.List(datasets.Image(mode="RGB"))
    raw = read.cast_column("images", datasets.List(datasets.Image(decode=False)))
    for split, rows in source(corpus, config).items():
        for found, row in zip(raw[split], rows, strict=True):
            assert [image["bytes"] for image in found["images"]] == [row["image"]] * (row["image"] is not None)
            parts = [part for message in found["messages"] for part in message["content"]]
            assert sum(part["type"] == "image" for part in parts) == len(found["images"])
            text = [part["text"] for part in parts if part["type"] == "text"]
            assert text == [text for _, text in texts_of(row)]
            roles = [message["role"] for message in found["messages"]]
            assert roles == [role for role, _ in texts_of(row)]
    first = read["train"][0]["images"][0]
    assert (first.width, first.height) == (rows_of(corpus, config, "train")[0]["width"], first.height)


@pytest.mark.parametrize("config", CONFIGS)
def test_webdataset_shards_are_tar_files_of_pairs(corpus, exported, config):
    out, report = exported(config, "webdataset", shard_bytes=1 << 17)
    assert report.files > len(SPLITS)
    for split, rows in source(corpus, config).items():
        shards = sorted(out.glob(f"{split}-*.tar"))
        assert [path.name for path in shards] == [f"{split}-{at:06}.tar" for at in range(len(shards))]
        members = []
        for path in shards:
            with tarfile.open(path) as archive:
                members += [(member.name, archive.extractfile(member).read()) for member in archive]
            assert path.stat().st_size < (1 << 17) + 80_000
        wanted = []
        for at, row in enumerate(rows):
            wanted += [(f"{at:08}.jpg", row["image"])] * (row["image"] is not None)
            wanted.append((f"{at:08}.json", as_json(row)))
        assert [(name, json.loads(data) if name.endswith("json") else data) for name, data in members] == wanted


def test_datasets_reads_the_tar_files(corpus, exported, tmp_path):
    out, _ = exported("referring_qa", "webdataset", shard_bytes=1 << 17)
    files = sorted(map(str, out.glob("train-*.tar")))
    read = datasets.load_dataset("webdataset", data_files={"train": files}, cache_dir=str(tmp_path))["train"]
    read = read.cast_column("jpg", datasets.Image(decode=False))
    rows = rows_of(corpus, "referring_qa", "train")
    assert [row["jpg"]["bytes"] for row in read] == [row["image"] for row in rows]
    assert [row["json"] for row in read] == [as_json(row) for row in rows]


@pytest.mark.parametrize("config", CONFIGS)
def test_mds_shards_are_as_their_description_says(corpus, exported, config):
    out, _ = exported(config, "mds", shard_bytes=1 << 17)
    for split, rows in source(corpus, config).items():
        index = json.loads((out / split / "index.json").read_text("utf-8"))
        assert sum(shard["samples"] for shard in index["shards"]) == len(rows)
        found = []
        for shard in index["shards"]:
            data = (out / split / shard["raw_data"]["basename"]).read_bytes()
            assert len(data) == shard["raw_data"]["bytes"] <= (1 << 17) + 1000
            [count] = np.frombuffer(data, "<u4", 1)
            offsets = np.frombuffer(data, "<u4", count + 1, 4)
            for begin, end in pairwise(offsets):
                sizes = np.frombuffer(data, "<u4", 3, begin)
                cuts = begin + 12 + np.cumsum([0, *sizes])
                assert cuts[-1] == end
                found.append([data[low:high] for low, high in pairwise(cuts)])
        assert [cells[0].decode() for cells in found] == [name_of(row) for row in rows]
        assert [cells[1] or None for cells in found] == [row["image"] for row in rows]
        assert [json.loads(cells[2]) for cells in found] == [as_json(row) for row in rows]


# COCO -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["referring_qa", "all"])
def test_coco_has_every_box_in_pixels_and_a_ref_for_every_phrase(corpus, exported, config):
    out, _ = exported(config, "coco")
    for split, rows in source(corpus, config).items():
        coco = json.loads((out / f"{split}.json").read_text("utf-8"))
        refs = json.loads((out / f"refs_{split}.json").read_text("utf-8"))
        names = {category["id"]: category["name"] for category in coco["categories"]}
        images = {image["id"]: image for image in coco["images"]}
        assert [(image["id"], image["width"], image["height"]) for image in coco["images"]] == [
            (row["image_id"], row["width"], row["height"]) for row in rows
        ]
        boxes, said = set(), []
        for row in rows:
            for _, text in texts_of(row):
                for one in parse(text):
                    said.append((row["image_id"], one.phrase, len(one.boxes)))
                    for box in one.boxes:
                        pixels = box.to_pixels(row["width"], row["height"])
                        boxes.add((row["image_id"], one.phrase.lower(), tuple(round(value, 1) for value in pixels)))
        found = [
            (one["image_id"], names[one["category_id"]], tuple(round(v, 1) for v in (x, y, x + w, y + h)))
            for one in coco["annotations"]
            for x, y, w, h in [one["bbox"]]
        ]
        assert set(found) == boxes
        assert len(found) == len(boxes)
        assert [(ref["image_id"], ref["sentences"][0]["raw"], len(ref["ann_id"])) for ref in refs] == said
        by_id = {one["id"]: one for one in coco["annotations"]}
        for ref in refs:
            assert {by_id[number]["image_id"] for number in ref["ann_id"]} == {ref["image_id"]}
            assert {by_id[number]["category_id"] for number in ref["ann_id"]} == {ref["category_id"]}
            assert images[ref["image_id"]]["file_name"] == ref["file_name"]
            assert ref["sentences"][0]["raw"] in ref["question"] + ref["answer"]
    assert_photos(out / "images", [row for rows in source(corpus, config).values() for row in rows])


# The same from everywhere, and always ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", OURS)
def test_the_same_rows_give_the_same_bytes(corpus, exported, tmp_path, format_):
    out, _ = exported("referring_qa", format_)
    export(open_data(str(corpus), "referring_qa"), tmp_path / "again", format=format_)
    assert tree(tmp_path / "again") == tree(out)


def test_published_parquet_gives_what_the_raw_files_give(corpus, exported, tmp_path):
    write_config("referring_qa", tmp_path / "svit", data_dir=corpus, known_bad="keep")
    write_manifest(tmp_path / "svit")
    for format_ in ("llava", "mds"):
        raw = export(open_data(str(corpus), "referring_qa", split="test"), tmp_path / f"raw-{format_}", format=format_)
        built = export(
            open_data(str(tmp_path / "svit"), "referring_qa", split="test"), tmp_path / format_, format=format_
        )
        assert raw.splits == built.splits
        assert raw.photos == built.photos
        assert sorted(tree(tmp_path / format_)) == sorted(tree(tmp_path / f"raw-{format_}"))


def test_a_split_and_a_limit(corpus, tmp_path):
    report = export(open_data(str(corpus), "all", split="train"), tmp_path / "x", format="jsonl", limit=3)
    assert report.splits == {"train": 3}
    assert [json.loads(line)["image_id"] for line in (tmp_path / "x/train.jsonl").read_text().splitlines()] == [
        row["image_id"] for row in rows_of(corpus, "all", "train")[:3]
    ]
    assert report.photos == 3


def test_boxes_can_be_written_as_another_model_wants_them(corpus, tmp_path):
    data = open_data(str(corpus), "referring_qa", split="test")
    export(data, tmp_path / "x", format="sharegpt", boxes="qwen2_vl")
    said = [t["value"] for r in json.loads((tmp_path / "x/test.json").read_text("utf-8")) for t in r["conversations"]]
    wanted = [
        convert(text, to="qwen2_vl") for row in rows_of(corpus, "referring_qa", "test") for _, text in texts_of(row)
    ]
    assert [text.replace("<image>", "").strip() for text in said] == wanted
    assert "<|box_start|>" in "".join(said)


# What goes wrong ------------------------------------------------------------------------------------------------------


def rewritten(corpus, target, config, change):
    """Copy what is needed of a corpus, with the items of a configuration changed."""
    (target / "data").mkdir(parents=True)
    (target / "raw").mkdir()
    for path in (corpus / "raw").glob("*.zip"):
        (target / "raw" / path.name).symlink_to(path)
    with zipfile.ZipFile(corpus / "data" / f"{config}.zip") as archive:
        items = json.loads(archive.read(f"{config}.json"))
    (target / "data" / f"{config}.json").write_text(json.dumps(change(items)), "utf-8")
    zips = sorted((target / "raw").glob("*.zip"))  # named, so that nobody asks for single photos where they come from
    return open_data(str(target), config, images=zips, cache_dir=target / "cache", holdout=None)


def test_missing_photos_follow_the_policy(corpus, tmp_path):
    def change(items):
        items[1]["image_id"] = 999_999
        return items

    data = rewritten(corpus, tmp_path / "svit", "referring_qa", change)
    with pytest.raises(ImageNotFound, match="999999"):
        export(data, tmp_path / "error", format="llava")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["svit"]
    report = export(data, tmp_path / "skip", format="llava", on_missing_image="skip")
    assert report.left_out == {"missing_image": 1}
    assert report.splits == {"train": len(data) - 1}
    report = export(data, tmp_path / "null", format="llava", on_missing_image="null")
    records = json.loads((tmp_path / "null/train.json").read_text("utf-8"))
    [alone] = [record for record in records if record["id"] == "999999"]
    assert "image" not in alone
    assert "<image>" not in json.dumps(alone)
    assert "<st>" not in json.dumps(alone)
    assert report.splits == {"train": len(data)}
    report = export(data, tmp_path / "coco", format="coco", on_missing_image="null")
    assert report.left_out == {"missing_image": 1}


def test_a_mark_for_the_image_in_a_text_is_taken_out_and_a_text_of_nothing_else_is_an_error(corpus, tmp_path):
    def change(items):
        items[0]["conversations"][0]["content"][0]["value"] = "What is <image> here?"
        items[1]["conversations"][0]["content"][0]["value"] = "<image>"
        return items

    data = rewritten(corpus, tmp_path / "svit", "referring_qa", change)
    with pytest.raises(TemplateLossError, match="'<image>' and nothing else"):
        export(data, tmp_path / "error", format="llava")
    report = export(data, tmp_path / "skip", format="llava", on_bad_record="skip")
    assert report.left_out == {"bad_record": 1}
    assert "nothing else" in report.examples["bad_record"]
    records = json.loads((tmp_path / "skip/train.json").read_text("utf-8"))
    assert len(records) == len(data) - 1
    assert all(json.dumps(record).count("<image>") == 1 for record in records)
    assert report.photos == len(records)
    jsonl = export(data, tmp_path / "jsonl", format="jsonl")
    assert jsonl.splits == {"train": len(data)}


def test_bad_boxes_are_counted(corpus, tmp_path):
    def change(items):
        items[0]["conversations"][0]["content"][1]["value"] = "A <st>dog<ed> [0.5, 0.2, 0.3, 0.9]."
        return items

    data = rewritten(corpus, tmp_path / "svit", "referring_qa", change)
    assert export(data, tmp_path / "coco", format="coco").left_out == {"bad_box": 1}


@pytest.mark.parametrize("path", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "a//b.jpg", "C:\\x.jpg", "a\0.jpg", "."])
def test_a_photos_path_leads_nowhere_else(path):
    with pytest.raises(BadRecord, match="would lead out of the folder"):
        export_items._image_name({"id": "7", "image": b"\xff\xd8", "image_path": path})


def test_a_photos_ending_is_that_of_its_kind():
    for start, name in ((b"\xff\xd8\xff", "5.jpg"), (b"\x89PNG", "5.png"), (b"GIF89a", "5.gif"), (b"", "5.jpg")):
        assert export_items._image_name({"image_id": 5, "image": start}) == name


@pytest.mark.parametrize(
    ("config", "options", "told"),
    [
        ("all", {"format": "tfrecord"}, "Allowed: 'llava', 'sharegpt', 'trl'"),
        ("all", {"format": "mds", "rows": "conversation"}, "Allowed: 'image'"),
        ("all", {"format": "jsonl", "boxes": "yolo"}, "Allowed: 'svit', 'plain', 'padded'"),
        ("conversation", {"format": "coco"}, "for referring_qa and all"),
        ("all", {"format": "jsonl", "on_missing_image": "ignore"}, "Allowed: 'error', 'skip', 'null'"),
        ("all", {"format": "mds", "shard_bytes": 5}, "65,536"),
        ("all", {"format": "jsonl", "limit": 0}, "give 1 or more"),
    ],
)
def test_what_is_not_allowed_is_said_before_anything_is_written(corpus, tmp_path, config, options, told):
    with pytest.raises(OptionError, match=re.escape(told)):
        export(open_data(str(corpus), config), tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(corpus, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="is not an empty folder"):
        export(open_data(str(corpus), "all"), tmp_path, format="jsonl")
    assert tree(tmp_path).keys() == {"notes.txt"}


@pytest.mark.parametrize(("format_", "package"), [("litdata", "litdata"), ("lance", "pylance")])
def test_a_package_that_is_missing_is_named(corpus, tmp_path, monkeypatch, format_, package):
    monkeypatch.setitem(sys.modules, format_, None)
    with pytest.raises(MissingDependency, match=rf"pip install {package}"):
        export(open_data(str(corpus), "referring_qa"), tmp_path / "x", format=format_)
    assert not list(tmp_path.iterdir())


def test_a_killed_export_is_never_taken_for_complete(corpus, tmp_path):
    """Killed in the middle there is only OUT.partial; run again, all of it is there."""
    code = """if True:
    import sys, time
    from svit_builder.data import open_data
    from svit_builder.export import export, jsons
    put = jsons.put_photo
    def slowly(*args):
        time.sleep(0.1)
        return put(*args)
    jsons.put_photo = slowly
    export(open_data(sys.argv[1], "referring_qa"), sys.argv[2], format="jsonl")
    """
    out = tmp_path / "x"
    child = subprocess.Popen([sys.executable, "-c", code, str(corpus), str(out)])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("x.partial/images/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["x.partial"]
    export(open_data(str(corpus), "referring_qa"), out, format="jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert len(list((out / "images").iterdir())) == 16


def test_memory_does_not_grow_with_the_data(tmp_path):
    """160 photos of 1 MB through each writer, one after another; none of them holds all of it."""
    code = """if True:
    import sys
    from pathlib import Path
    from svit_builder.export import FORMATS
    from svit_builder.export.items import Item, Plan
    from svit_datasets.tasks import TASKS

    def items():
        said = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "<st>A<ed> [0, 0.1, 0.2, 1]"}]
        for number in range(160):
            row = {"image_id": number, "image": b"\\xff\\xd8" + bytes([number]) * (1 << 20), "width": 5, "height": 5}
            row["conversations"] = [{"topic": None, "messages": said}]
            yield Item(number, str(number), row, f"{number}.jpg")

    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

    before = peak()
    for name in sys.argv[2:]:
        folder = Path(sys.argv[1], name)
        folder.mkdir()
        plan = Plan(TASKS["referring_qa"], "image", "svit", "error", "error", 16 << 20)
        FORMATS[name].write(items(), folder, "train", plan)
        assert (plan.written, plan.photos) == (160, 160), name
    print(peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *OURS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100_000  # kB; what all had would be 160_000


# Real photos with Visual Genome's own boxes ---------------------------------------------------------------------------

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos are not here")
def test_boxes_of_real_photos_come_back_in_their_pixels(tmp_path):
    """Through shares of three decimals, so within a thousandth of a side; photos to the byte."""
    photos = {int(path.stem): path for path in (REAL / "images").glob("VG_100K*/*.jpg")}
    annotated = json.loads((REAL / "vg/v1.2.0/objects.json").read_text("utf-8"))
    wanted, items = {}, []
    for image in (one for one in annotated if one["image_id"] in photos):
        with Image.open(photos[image["image_id"]]) as photo:
            width, height = photo.size
        inside = [
            one
            for one in image["objects"]
            if 0 <= one["x"] <= one["x"] + one["w"] <= width and 0 <= one["y"] <= one["y"] + one["h"] <= height
        ]
        wanted[image["image_id"]] = {(one["names"][0], one["x"], one["y"], one["w"], one["h"]) for one in inside}
        said = [
            f"<st>{one['names'][0]}<ed> "
            f"[{one['x'] / width:.3f}, {one['y'] / height:.3f}, "
            f"{(one['x'] + one['w']) / width:.3f}, {(one['y'] + one['h']) / height:.3f}]"
            for one in inside
        ]
        turns = [{"from": "user", "value": "What is there?"}, {"from": "gpt", "value": f"There is {', '.join(said)}."}]
        items.append({"image_id": image["image_id"], "conversations": [{"content": turns}]})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "referring_qa.json").write_text(json.dumps(items), "utf-8")
    folders = [str(REAL / "images" / name) for name in ("VG_100K", "VG_100K_2")]
    data = open_data(
        str(tmp_path), "referring_qa", images=folders, holdout=None, cache_dir=tmp_path / "cache", on_bad_record="error"
    )
    report = export(data, tmp_path / "coco", format="coco")
    assert not report.left_out
    coco = json.loads((tmp_path / "coco/train.json").read_text("utf-8"))
    names = {category["id"]: category["name"] for category in coco["categories"]}
    for image in coco["images"]:
        assert (tmp_path / "coco" / image["file_name"]).read_bytes() == photos[image["id"]].read_bytes()
        near = max(image["width"], image["height"]) / 1000
        found = [
            (names[one["category_id"]], *one["bbox"]) for one in coco["annotations"] if one["image_id"] == image["id"]
        ]
        for name, *box in wanted[image["id"]]:
            assert any(name.lower() == other and np.allclose(box, pixels, atol=near) for other, *pixels in found), name
        assert len(found) <= len(wanted[image["id"]])
    assert sum(map(len, wanted.values())) > 50


# The command ----------------------------------------------------------------------------------------------------------


def svit(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env={"COLUMNS": "100"})
    assert result.exit_code == code, result.output
    return result


def test_the_command_knows_every_format():
    assert tuple(FORMATS) == _FORMATS


def test_the_command_says_what_it_wrote(corpus, exported, tmp_path):
    out = tmp_path / "x"
    result = svit("export", "referring_qa", out, "--format", "llava", "--data-dir", corpus)
    assert tree(out) == tree(exported("referring_qa", "llava")[0])
    total = Counter({split: len(rows_of(corpus, "referring_qa", split)) for split in SPLITS}).total()
    assert re.search(rf"^\S+x: {total} records \(\d+ of train, \d+ of test\), 16 photos$", result.stdout, re.MULTILINE)
    assert f"--image_folder {out}/images" in result.stderr


def test_the_command_as_json(corpus, tmp_path):
    arguments = ["--format", "webdataset", "--data-dir", corpus, "--split", "test", "--json"]
    printed = json.loads(svit("export", "all", tmp_path / "x", *arguments).stdout)
    assert printed["splits"] == {"test": len(rows_of(corpus, "all", "test"))}
    assert printed["format"] == "webdataset"
    assert "is not an empty folder" in svit("export", "all", tmp_path / "x", *arguments, code=1).stderr
