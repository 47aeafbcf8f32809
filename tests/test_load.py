"""`load_dataset` as a user meets it: rows, splits, options, three ways of loading, and what the cache remembers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets.distributed import split_dataset_by_node

import svit_datasets
from svit_datasets import load_dataset, register, unregister
from svit_datasets.errors import (
    ImageNotFound,
    OptionError,
    SourceNotFound,
)
from svit_datasets.sample import write_sample

TASKS = ["conversation", "complex_reasoning", "detail_description", "referring_qa"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("load") / "sample"
    summary = write_sample(root, images=24)
    return root, summary


@pytest.fixture
def load(corpus, tmp_path):
    def call(name, **options):
        return load_dataset("svit", name, **({"data_dir": corpus[0], "cache_dir": tmp_path / "cache"} | options))

    return call


def published(root, name):
    with zipfile.ZipFile(root / "data" / f"{name}.zip") as archive:
        return json.loads(archive.read(f"{name}.json"))


def as_published(row):
    return [
        [block["topic"], [(message["role"], message["content"]) for message in block["messages"]]]
        for block in row["conversations"]
    ]


def from_file(item):
    roles = {"user": "user", "gpt": "assistant"}
    return [
        [block.get("topic"), [(roles[turn["from"]], turn["value"]) for turn in block["content"]]]
        for block in item["conversations"]
    ]


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "map-style"])
@pytest.mark.parametrize("name", TASKS)
def test_rows_are_the_files_items_in_order_with_their_photos(corpus, load, name, streaming):
    rows = list(load(name, split="train", streaming=streaming, holdout=None))
    items = published(corpus[0], name)
    assert [row["image_id"] for row in rows] == [item["image_id"] for item in items]
    assert [as_published(row) for row in rows] == [from_file(item) for item in items]
    sizes = {
        entry["image_id"]: (entry["width"], entry["height"])
        for entry in json.loads((corpus[0] / "raw/annotations/image_data.json").read_text())
    }
    for row in rows:
        assert row["image"].mode == "RGB"
        assert row["image"].size == (row["width"], row["height"]) == sizes[row["image_id"]]


def test_photos_are_those_of_the_zip_to_the_byte(corpus, load):
    raw = load("conversation", split="train", streaming=True, holdout=None)
    raw = raw.cast_column("image", datasets.Image(decode=False))
    members = {}
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(corpus[0] / "raw" / name) as archive:
            members |= {Path(member).stem: archive.read(member) for member in archive.namelist()}
    for row in raw:
        assert row["image"]["bytes"] == members[str(row["image_id"])]


def test_splits_are_by_the_held_out_list(corpus, load):
    both = load("conversation", streaming=True)
    assert list(both) == ["train", "test"]
    held_out = {int(line) for line in (corpus[0] / "test_image_ids.txt").read_text().split()}
    train, test = ({row["image_id"] for row in both[name]} for name in ("train", "test"))
    assert test == held_out & (train | test)
    assert test
    assert not train & held_out


def test_holdout_may_be_a_file_or_nothing(corpus, load, tmp_path):
    ids = [item["image_id"] for item in published(corpus[0], "conversation")]
    (tmp_path / "mine.txt").write_text(f"{ids[3]}\n\n{ids[0]}\n")
    both = load("conversation", streaming=True, holdout=tmp_path / "mine.txt")
    assert [row["image_id"] for row in both["test"]] == [ids[0], ids[3]]
    assert list(load("conversation", streaming=True, holdout=None)) == ["train"]


def test_all_is_the_four_tasks_joined_by_image(corpus, load):
    rows = {row["image_id"]: row for row in load("all", split="train", streaming=True, holdout=None)}
    for name in TASKS:
        for item in published(corpus[0], name):
            blocks = rows[item["image_id"]]["conversations"]
            mine = {"conversations": [block for block in blocks if block["task"] == name]}
            assert as_published(mine) == from_file(item)


def test_all_from_the_one_file_infers_the_same_tasks(corpus, load, tmp_path):
    """Where only svit.zip is there, the inferred tasks of the sample are the true ones."""
    alone = tmp_path / "alone" / "data"
    alone.mkdir(parents=True)
    (alone / "svit.zip").symlink_to(corpus[0] / "data" / "svit.zip")
    images = [corpus[0] / "raw/images.zip", corpus[0] / "raw/images2.zip"]
    options = {"split": "train", "streaming": True, "holdout": None, "images": images}
    one = {row["image_id"]: row["conversations"] for row in load("all", data_dir=alone.parent, **options)}
    four = {row["image_id"]: row["conversations"] for row in load("all", **options)}

    def ordered(blocks):
        return sorted(blocks, key=lambda block: TASKS.index(block["task"]))

    assert {key: ordered(blocks) for key, blocks in one.items()} == {key: ordered(value) for key, value in four.items()}


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "map-style"])
def test_a_row_a_conversation(load, streaming):
    """Ids name image, task and number; text and photo are those of the row an image."""
    by_image = {row["image_id"]: row for row in load("all", split="train", streaming=True)}
    rows = list(load("all", split="train", streaming=streaming, rows="conversation"))
    assert len(rows) == sum(len(row["conversations"]) for row in by_image.values())
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        image_id, task, number = row["id"].split("/")
        blocks = [block for block in by_image[int(image_id)]["conversations"] if block["task"] == task]
        block = blocks[int(number)]
        assert (row["task"], row["topic"], row["messages"]) == (task, block["topic"], block["messages"])
        assert row["image"].tobytes() == by_image[int(image_id)]["image"].tobytes()


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "map-style"])
@pytest.mark.parametrize("name", ["core_150k", "mix_665k"])
def test_llava_form(corpus, load, name, streaming):
    rows = list(load(name, split="train", streaming=streaming, holdout=None))
    if name == "core_150k":
        items = json.loads((corpus[0] / "format/llava-v1.5/SVIT_core_150K.json").read_text())
    else:
        with zipfile.ZipFile(corpus[0] / "format/llava-v1.5/SVIT_mix_665K.zip") as archive:
            items = json.loads(archive.read("SVIT_mix_665K.json"))
    assert [row["id"] for row in rows] == [str(item["id"]) for item in items]
    assert [row["image_path"] for row in rows] == [item.get("image") for item in items]
    for row, item in zip(rows, items, strict=True):
        assert (row["image"] is None) == ("image" not in item)
        assert [message["content"] for message in row["messages"]] == [turn["value"] for turn in item["conversations"]]
    if name == "mix_665k":
        assert any(row["image"] is None for row in rows)
        prefixes = {row["image_path"].rpartition("/")[0] for row in rows if row["image_path"]}
        assert prefixes >= {"vg/VG_100K", "vg/VG_100K_2", "coco/train2017", "gqa/images", "ocr_vqa/images"}


def test_image_ids_restrict_reading(corpus, load, tmp_path):
    """A list, a file and a function select the same rows."""
    ids = [item["image_id"] for item in published(corpus[0], "conversation")][2:6]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, ids)))
    for wanted in (ids, tmp_path / "ids.txt", str(tmp_path / "ids.txt"), set(ids).__contains__):
        rows = load("conversation", split="train", streaming=True, holdout=None, image_ids=wanted)
        assert [row["image_id"] for row in rows] == ids


def test_only_the_selected_photos_are_read(corpus, load, http_server):
    for name in ("images.zip", "images2.zip"):
        http_server.put(f"raw/{name}", (corpus[0] / "raw" / name).read_bytes())
    http_server.put("data/conversation.zip", (corpus[0] / "data/conversation.zip").read_bytes())
    options = {"data_dir": http_server.url.rstrip("/"), "split": "train", "streaming": True, "holdout": None}
    everything = [row["image_id"] for row in load("conversation", **options)]
    http_server.log.reset()
    assert [row["image_id"] for row in load("conversation", image_ids=everything[:1], **options)] == everything[:1]
    photos = [
        entry for entry in http_server.log.requests if "images" in entry[1] and entry[2] not in (None, "bytes=0-0")
    ]
    assert len(photos) == 1


# The three ways ------------------------------------------------------------------------------------------------------

WAYS = {
    "ours": "from svit_datasets import load_dataset as load",
    "registered": "import svit_datasets; svit_datasets.register(); from datasets import load_dataset as load",
}
SCRIPT = """
import hashlib, json, sys
{way}
ds = load("svit", "complex_reasoning", split="train", streaming={streaming}, data_dir=sys.argv[1],
          cache_dir=sys.argv[2])
for row in ds:
    print(json.dumps([row["image_id"], row["width"], row["height"], row["conversations"],
                      hashlib.sha256(row["image"].tobytes()).hexdigest()]))
"""


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "map-style"])
def test_the_ways_of_loading_give_equal_rows_in_fresh_processes(corpus, tmp_path, streaming):
    """Ours, the registered stock call, and published Parquet read with no import of ours."""
    outputs = {}
    for name, way in WAYS.items():
        script = SCRIPT.format(way=way, streaming=streaming)
        outputs[name] = run(script, str(corpus[0]), str(tmp_path / name))
    assert outputs["ours"] == outputs["registered"] != ""
    folder = tmp_path / "hub" / "svit"
    (folder / "complex_reasoning").mkdir(parents=True)
    rows = load_dataset("svit", "complex_reasoning", split="train", data_dir=corpus[0], cache_dir=tmp_path / "c")
    rows.to_parquet(folder / "complex_reasoning" / "train-00000-of-00001.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: complex_reasoning\n  data_files:\n"
        "  - split: train\n    path: complex_reasoning/train-*.parquet\n---\n"
    )
    stock = SCRIPT.format(way="from datasets import load_dataset as load", streaming=streaming)
    stock = stock.replace("data_dir=sys.argv[1],", "")
    published_rows = run(stock, "-", str(tmp_path / "stock"), cwd=folder.parent)
    assert published_rows == outputs["ours"]


def run(script, *arguments, cwd=None):
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=cwd, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_register_is_idempotent_and_can_be_undone(corpus, tmp_path):
    original = datasets.load.dataset_module_factory
    register()
    register()
    try:
        assert datasets.get_dataset_config_names("svit")[:2] == ["conversation", "complex_reasoning"]
        stock = datasets.load_dataset(
            "svit", "conversation", data_dir=str(corpus[0]), cache_dir=str(tmp_path), holdout=None, streaming=True
        )
        assert list(stock) == ["train"]
    finally:
        unregister()
        unregister()
    assert datasets.load.dataset_module_factory is original is datasets.inspect.dataset_module_factory


def test_a_local_folder_called_svit_keeps_its_meaning(tmp_path, monkeypatch):
    (tmp_path / "svit").mkdir()
    (tmp_path / "svit" / "train.jsonl").write_text('{"a": 1}\n')
    monkeypatch.chdir(tmp_path)
    register()
    try:
        assert list(datasets.load_dataset("svit", split="train", cache_dir=str(tmp_path / "c"))) == [{"a": 1}]
    finally:
        unregister()


def test_any_other_path_goes_to_datasets_untouched(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    rows = load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), split="train", cache_dir=str(tmp_path / "c"))
    assert rows["a"] == [1, 2]


# Map-style -----------------------------------------------------------------------------------------------------------


def test_slices(load):
    whole = load("conversation", split="train")
    part = load("conversation", split="train[:25%]")
    assert [row["image_id"] for row in part] == whole["image_id"][: len(part)]
    assert len(part) == round(len(whole) * 0.25)


def test_num_proc_gives_the_same_rows(load, tmp_path):
    one = load("conversation", split="train")
    two = load("conversation", split="train", num_proc=2, cache_dir=tmp_path / "other")
    assert one.to_dict() == two.to_dict()


def unpack_photos(corpus, folder):
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(corpus[0] / "raw" / name) as archive:
            archive.extractall(folder)
    return folder


def stored_bytes(cache):
    return sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())


@pytest.mark.parametrize("rows", ["image", "conversation"])
def test_photos_of_a_local_folder_are_referenced(corpus, load, tmp_path, rows):
    folder = unpack_photos(corpus, tmp_path / "photos")
    table = load("complex_reasoning", split="train", rows=rows, images=folder).data.column("image").to_pylist()
    assert all(cell["bytes"] is None and cell["path"].startswith(str(folder)) for cell in table)
    assert stored_bytes(tmp_path / "cache") < 2e6


def test_an_image_is_stored_once_however_many_rows_it_has(corpus, load, tmp_path):
    """Rows of one photo share one file; rows="image" holds the bytes once, in the table."""
    load("complex_reasoning", split="train", rows="image")
    photos = sum((corpus[0] / "raw" / name).stat().st_size for name in ("images.zip", "images2.zip"))
    embedded = stored_bytes(tmp_path / "cache")
    assert embedded < 1.3 * photos + 1e6
    rows = load("complex_reasoning", split="train", rows="conversation", cache_dir=tmp_path / "extracted")
    assert stored_bytes(tmp_path / "extracted") < 1.3 * photos + 1e6
    paths = {cell["path"] for cell in rows.data.column("image").to_pylist()}
    assert len(paths) == len(set(rows["image_id"])) < len(rows)


def rewrite(root, name, change):
    items = change(published(root, name))
    with zipfile.ZipFile(root / "data" / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.json", json.dumps(items))


def test_a_changed_source_gives_new_rows_from_the_same_cache(tmp_path):
    """Neither the prepared rows nor the text table of the old file are taken for the new one's."""
    write_sample(tmp_path / "s", images=4)
    options = {"data_dir": tmp_path / "s", "cache_dir": tmp_path / "c", "split": "train", "holdout": None}
    before = load_dataset("svit", "conversation", **options)
    again = load_dataset("svit", "conversation", **options)
    assert before.cache_files == again.cache_files
    rewrite(tmp_path / "s", "conversation", lambda items: items[::-1])
    after = load_dataset("svit", "conversation", **options)
    assert after["image_id"] == before["image_id"][::-1]
    assert [row["image_id"] for row in load_dataset("svit", "conversation", streaming=True, **options)] == after[
        "image_id"
    ]


def test_a_photo_that_was_added_is_no_longer_missing(corpus, load, tmp_path):
    """Prepared rows are not reused when the folder that they were joined with holds another set of photos."""
    folder = unpack_photos(corpus, tmp_path / "photos")
    photo = next(folder.rglob("*.jpg"))
    data = photo.read_bytes()
    photo.unlink()
    options = {"split": "train", "images": folder, "on_missing_image": "skip", "holdout": None}
    before = load("conversation", **options)
    photo.write_bytes(data)
    after = load("conversation", **options)
    assert set(after["image_id"]) - set(before["image_id"]) == {int(photo.stem)}


def test_arguments_that_can_be_read_only_once(corpus, load):
    """Generators of places and of ids mean what lists of them mean."""
    ids = [item["image_id"] for item in published(corpus[0], "conversation")][:3]
    places = [corpus[0] / "raw/images.zip", corpus[0] / "raw/images2.zip"]
    for streaming in (True, False):
        rows = load(
            "conversation",
            split="train",
            holdout=None,
            streaming=streaming,
            images=iter(places),
            image_ids=(image_id for image_id in ids),
        )
        assert [row["image_id"] for row in rows] == ids


def test_changed_code_gives_new_rows_from_the_same_cache(corpus, tmp_path):
    """The cache folder names the code that made it."""
    rows = load_dataset("svit", "conversation", split="train", data_dir=corpus[0], cache_dir=tmp_path)
    folder = Path(rows.cache_files[0]["filename"]).parent
    assert folder.name == svit_datasets.load.code_hash()


# Streaming -----------------------------------------------------------------------------------------------------------


def test_ranks_and_workers_divide_the_rows(load):
    stream = load("conversation", split="train", streaming=True)
    everything = [row["image_id"] for row in stream]
    assert stream.num_shards == 16
    for world in (2, 4):
        shares = [split_dataset_by_node(stream, rank, world) for rank in range(world)]
        found = [row["image_id"] for share in shares for row in share]
        assert sorted(found) == sorted(everything)


def test_a_saved_state_resumes_exactly(load):
    stream = load("conversation", split="train", streaming=True)
    everything = [row["image_id"] for row in stream]
    iterator = iter(stream)
    first = [next(iterator)["image_id"] for _ in range(7)]
    state = stream.state_dict()
    fresh = load("conversation", split="train", streaming=True)
    fresh.load_state_dict(state)
    assert first + [row["image_id"] for row in fresh] == everything


def test_a_stream_pickles_small_and_reads_in_another_process(load):
    stream = load("conversation", split="train", streaming=True)
    data = pickle.dumps(stream)
    assert len(data) < 100_000
    script = "import pickle, sys; print([row['image_id'] for row in pickle.load(sys.stdin.buffer)])"
    done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [row["image_id"] for row in stream]


def test_a_forked_child_reads_what_the_parent_began(load):
    """Neither connections nor file positions are shared, as a DataLoader's workers need it."""
    stream = load("conversation", split="train", streaming=True)
    iterator = iter(stream)
    next(iterator)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, json.dumps([row["image_id"] for row in stream]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = json.loads(pipe.read())
    assert os.waitpid(child, 0)[1] == 0
    assert found == [row["image_id"] for row in stream]


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "complex"}, "conversation, complex_reasoning"),
        ({"name": None}, "conversation, complex_reasoning"),
        ({"rows": "images"}, "'image', 'conversation'"),
        ({"on_missing_image": "ignore"}, "'error', 'skip', 'null'"),
        ({"on_bad_record": "null"}, "'error', 'skip'"),
        ({"known_bad": True}, "'drop', 'keep'"),
        ({"images": []}, "names no place"),
        ({"image_ids": "no/such/file"}, "no/such/file"),
        ({"image_ids": ["a"]}, "Visual Genome ids"),
    ],
)
def test_a_wrong_option_names_the_right_ones(load, options, words):
    name = options.pop("name", "conversation") if "name" in options else "conversation"
    with pytest.raises(OptionError) as caught:
        load(name, streaming=True, **options)
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_folder_that_is_not_there(load, tmp_path):
    with pytest.raises(SourceNotFound, match="is no folder"):
        load("conversation", data_dir=tmp_path / "typo")


def test_an_argument_that_does_not_exist(load):
    with pytest.raises(TypeError, match="imagez"):
        load("conversation", imagez="x")


def test_missing_photos_stop_before_the_first_row(corpus, load, tmp_path):
    (tmp_path / "empty" / "VG_100K").mkdir(parents=True)
    (tmp_path / "empty" / "VG_100K" / "7.jpg").write_bytes(b"")
    with pytest.raises(ImageNotFound, match=r"2\d of 2\d photos"):
        load("conversation", streaming=True, images=tmp_path / "empty")


def test_rows_are_plain_data(load):
    """What training scripts rely on: python values, a PIL image, int32 sizes in the schema."""
    stream = load("conversation", split="train", streaming=True)
    assert stream.features["width"].dtype == "int32"
    assert stream.features["image"].mode == "RGB"
    row = next(iter(stream))
    assert isinstance(row["image_id"], int)
    assert np.asarray(row["image"]).shape == (row["height"], row["width"], 3)
