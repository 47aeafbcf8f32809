"""Files of SVIT's own form: what is written reads back, appears whole or not at all, and is the same each time."""

from __future__ import annotations

import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from svit_builder.svit_json import JsonArrayWriter, SvitWriter

from svit_datasets.errors import BadRecord, BuildError, OptionError
from svit_datasets.records import read_records
from tests.strategies import SAID

BLOCK = {"topic": "Colours", "content": [{"from": "user", "value": "What is it?"}, {"from": "gpt", "value": "\u00dc."}]}


def read(path):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            [name] = archive.namelist()
            assert name == f"{path.stem}.json"
            with archive.open(name) as stream:
                return list(read_records(stream, name, "svit"))
    with path.open("rb") as stream:
        return list(read_records(stream, path.name, "svit"))


@pytest.mark.parametrize("ending", [".json", ".zip"])
@given(said=st.lists(st.lists(st.tuples(SAID, SAID), min_size=1, max_size=3), max_size=3), topic=st.none() | SAID)
def test_what_is_written_reads_back(tmp_path_factory, ending, said, topic):
    path = tmp_path_factory.mktemp("json") / f"conversation{ending}"
    with SvitWriter(path) as writer:
        for image_id, pairs in enumerate(said, start=7):
            turns = [
                {"from": role, "value": text}
                for pair in pairs
                for role, text in zip(("user", "gpt"), pair, strict=True)
            ]
            writer.write(image_id, [{"topic": topic, "content": turns}])
    found = read(path)
    assert [record.image_id for record in found] == list(range(7, 7 + len(said)))
    assert [list(record.texts) for record in found] == [[text for pair in pairs for text in pair] for pairs in said]
    assert all(record.topics == (topic,) for record in found)
    assert [other.name for other in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".json", ".zip"])
def test_the_same_items_give_the_same_bytes(tmp_path, ending):
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with SvitWriter(tmp_path / name / f"data{ending}") as writer:
            writer.write(1, [BLOCK])
            writer.write(2, [])
        written.append((tmp_path / name / f"data{ending}").read_bytes())
    assert written[0] == written[1]


def twice(writer):
    with writer:
        writer.write(5, [BLOCK])
        writer.write(5, [BLOCK])


@pytest.mark.parametrize("ending", [".json", ".zip"])
def test_a_block_left_by_an_exception_leaves_what_was_there(tmp_path, ending):
    path = tmp_path / f"data{ending}"
    path.write_bytes(b"before")
    writer = SvitWriter(path)
    with pytest.raises(BuildError):
        twice(writer)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_image_twice_is_an_error_of_the_caller(tmp_path):
    with pytest.raises(BuildError, match="image 5 comes twice"):
        twice(SvitWriter(tmp_path / "a.json"))
    assert not list(tmp_path.iterdir())


def test_a_topic_that_is_none_is_left_out(tmp_path):
    with SvitWriter(tmp_path / "a.json") as writer:
        writer.write(5, [{**BLOCK, "topic": None}])
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == [
        {"image_id": 5, "conversations": [{"content": BLOCK["content"]}]}
    ]


def test_half_a_surrogate_pair_and_other_endings_are_refused(tmp_path):
    with pytest.raises(BadRecord, match="item 0"), JsonArrayWriter(tmp_path / "a.json") as writer:
        writer.append({"value": "\ud800"})
    with pytest.raises(OptionError, match=r"ends in \.json or \.zip"):
        SvitWriter(tmp_path / "a.jsonl")
