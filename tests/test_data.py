"""`svit_builder.data`: the same rows by number, from raw files and from published Parquet, wherever they lie."""

from __future__ import annotations

import pickle
import shutil

import pytest
from svit_builder.data import configs_in, open_data, url_of
from svit_builder.manifest import write_manifest
from svit_builder.shards import write_config

from svit_datasets import stream
from svit_datasets.errors import ImageNotFound, OptionError, SourceNotFound
from svit_datasets.tasks import TASKS
from tests.publishing import write_corpus
from tests.servers import FileServer

CONFIGS = list(TASKS)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("data") / "raw", 12)


@pytest.fixture(scope="module")
def built(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "svit"
    for config in CONFIGS:
        write_config(config, out, data_dir=raw)
    write_manifest(out)
    return out


def bare(row):
    return {**row, "image": None, "width": None, "height": None}


@pytest.mark.parametrize("config", CONFIGS)
def test_the_rows_are_those_of_stream_split_after_split(raw, config):
    data = open_data(str(raw), config, known_bad="drop")
    wanted = [
        row for split in data.splits for row in stream(config, split=split, data_dir=raw, order="record", decode=None)
    ]
    assert [row for _, row in data.rows(range(len(data)))] == wanted
    assert [(number, row) for number, row in data.texts()] == [(n, bare(row)) for n, row in enumerate(wanted)]
    assert [data.split_of(n) for n in range(len(data))] == [s for s, size in data.splits.items() for _ in range(size)]


@pytest.mark.parametrize("config", CONFIGS)
def test_published_parquet_has_the_same_rows(raw, built, config):
    joined, published = open_data(str(raw), config, known_bad="drop"), open_data(str(built), config)
    assert joined.splits == published.splits
    rows = [row for _, row in published.rows(range(len(published)))]
    assert sorted(map(repr, rows)) == sorted(repr(row) for _, row in joined.rows(range(len(joined))))
    assert [row for _, row in published.texts()] == [{**row, "image": None} for row in rows]
    if TASKS[config].form == "svit":
        assert published.image_ids.tolist() == [row["image_id"] for row in rows]


def test_rows_come_in_the_order_asked_for_and_texts_from_any_row(raw, built):
    for place in (raw, built):
        data = open_data(str(place), "referring_qa")
        every = dict(data.rows(range(len(data))))
        some = [7, 0, 11, 0, 3]
        assert list(data.rows(some)) == [(number, every[number]) for number in some]
        assert [number for number, _ in data.texts(3, 9)] == list(range(3, 9))
        assert list(data.texts(9, 9)) == []
        assert list(pickle.loads(pickle.dumps(data)).texts()) == list(data.texts())


def test_texts_read_no_photo(raw, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(raw / "data", alone / "data")
    data = open_data(str(alone), "conversation")
    assert len(list(data.texts())) == len(data) > 0
    large = write_corpus(tmp_path / "large", 40, swollen=True)
    write_config("conversation", tmp_path / "svit", data_dir=large)
    write_manifest(tmp_path / "svit")
    with FileServer(tmp_path / "svit") as server:
        published = open_data(server.url, "conversation", cache_dir=tmp_path / "cache")
        assert len(list(published.texts())) == len(published)
        sent = server.log.body_bytes
        assert len(list(published.rows(range(len(published))))) == len(published)
        assert sent < (server.log.body_bytes - sent) / 5


def test_one_split_or_an_error_that_names_those_there(built):
    assert set(open_data(str(built), "conversation", split="test").splits) == {"test"}
    with pytest.raises(OptionError, match="Available: 'train', 'test'"):
        open_data(str(built), "conversation", split="validation")
    data = open_data(str(built), "conversation")
    with pytest.raises(OptionError, match=f"Row {len(data)} is not there"):
        list(data.rows([len(data)]))


def test_a_missing_photo_is_null_or_an_error(raw, tmp_path):
    (tmp_path / "photos" / "VG_100K").mkdir(parents=True)
    (tmp_path / "photos" / "VG_100K" / "999999.jpg").write_bytes(b"of another image")
    data = open_data(str(raw), "detail_description", images=tmp_path / "photos", cache_dir=tmp_path / "cache")
    assert [row["image"] for _, row in data.rows([0, 1])] == [None, None]
    with pytest.raises(ImageNotFound):
        list(data.rows([0], on_missing_image="error"))


def test_which_configurations_a_place_has(raw, built, tmp_path):
    assert configs_in(str(raw)) == configs_in(str(built)) == CONFIGS
    shutil.rmtree(tmp_path / "part", ignore_errors=True)
    shutil.copytree(built / "referring_qa", tmp_path / "part" / "referring_qa")
    assert configs_in(str(tmp_path / "part")) == ["referring_qa"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceNotFound, match="neither published Parquet"):
        configs_in(str(tmp_path / "empty"))


def test_without_a_list_of_held_out_images_there_is_one_split(raw, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(raw / "data", copy / "data")
    data = open_data(str(copy), "conversation", cache_dir=tmp_path / "cache")
    assert data.splits == {"train": len(data)}


def test_what_users_call_a_dataset(tmp_path, monkeypatch):
    assert url_of("ORG/svit") == "hf://datasets/ORG/svit"
    assert url_of("ORG/svit@v1.0") == "hf://datasets/ORG/svit@v1.0"
    assert url_of("hf://datasets/ORG/svit") == "hf://datasets/ORG/svit"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ORG" / "svit").mkdir(parents=True)
    assert url_of("ORG/svit") == "ORG/svit"
    assert url_of("/data/svit") == "/data/svit"
    assert url_of("./missing") == "./missing"
    assert url_of("../missing") == "../missing"


@pytest.mark.parametrize("known_bad", ["keep", "drop"])
def test_conversations_have_the_names_that_rows_of_conversations_have(raw, built, known_bad):
    places = (raw, built) if known_bad == "drop" else (raw,)
    for place in places:
        data = open_data(str(place), "complex_reasoning", known_bad=known_bad)
        rows = [
            row["id"]
            for split in data.splits
            for row in stream(
                "complex_reasoning",
                split=split,
                data_dir=place,
                rows="conversation",
                order="record",
                decode=None,
                known_bad=known_bad,
            )
        ]
        assert [name for number, row in data.texts() for name in data.conversation_ids(number, row)] == rows
