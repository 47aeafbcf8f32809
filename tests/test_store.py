"""A file of text is parsed once into a table: equal to its records, in any order, whole or absent."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svit_datasets.errors import AccessDenied, CacheError, CorruptFile, SvitError, TooManyFailures
from svit_datasets.records import Defect, read_records
from svit_datasets.sources import TextFile
from svit_datasets.storage import Storage
from svit_datasets.store import _build, open_store
from svit_datasets.tasks import TASKS
from tests.servers import Fault
from tests.storage_contract import in_forked_child
from tests.strategies import llava_item, svit_item, written
from tests.test_cache import forked, left_in

CONVERSATION, CORE, ALL = TASKS["conversation"], TASKS["core_150k"], TASKS["all"]


def item(image_id, *answers, topic=None):
    blocks = [
        {"topic": topic, "content": [{"from": "user", "value": f"{image_id}?"}, {"from": "gpt", "value": answer}]}
        for answer in answers
    ]
    return {"image_id": image_id, "conversations": blocks}


def text_file(path, items, task=CONVERSATION):
    path.write_bytes(items if isinstance(items, bytes) else json.dumps(items).encode())
    return TextFile(Storage().stat(str(path)), task)


def make(tmp_path, items, task=CONVERSATION):
    return open_store(text_file(tmp_path / "a.json", items, task), Storage(), tmp_path / "cache")


def rows_of(store, rows=None):
    rows = np.arange(store.manifest["rows"]) if rows is None else np.array(rows, dtype=np.int64)
    return store.take(rows).to_pylist()


def as_row(record):
    roles = ("user", "assistant")
    return {
        "image_id": record.image_id,
        "conversations": [
            {
                "topic": topic,
                "task": None,
                "messages": [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)],
            }
            for topic, texts in record.blocks
        ],
    }


@settings(max_examples=15)
@given(data=st.data(), items=st.lists(svit_item(), max_size=5))
def test_a_store_holds_the_records(tmp_path_factory, data, items):
    folder = tmp_path_factory.mktemp("store")
    file = text_file(folder / "a.json", data.draw(written(items)))
    store = open_store(file, Storage(), folder / "cache")
    with (folder / "a.json").open("rb") as stream:
        records = list(read_records(stream, "a.json", "svit"))
    assert rows_of(store) == [as_row(record) for record in records]
    assert store.index.to_pylist() == [{"image_id": record.image_id, "blocks": len(record.sizes)} for record in records]
    assert store.defects == []


@settings(max_examples=15)
@given(data=st.data(), items=st.lists(llava_item(), max_size=5))
def test_a_store_holds_the_dialogues(tmp_path_factory, data, items):
    folder = tmp_path_factory.mktemp("store")
    file = text_file(folder / "a.json", data.draw(written(items)), CORE)
    store = open_store(file, Storage(), folder / "cache")
    assert store.index.column("image_path").to_pylist() == [each.get("image") for each in items]
    rows = rows_of(store)
    assert [row["id"] for row in rows] == [str(each["id"]) for each in items]
    said = [[turn.get("value", turn.get("content")) for turn in each["conversations"]] for each in items]
    assert [[message["content"] for message in row["messages"]] for row in rows] == said


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A store of several batches."""
    return make(tmp_path_factory.mktemp("many"), [item(number, "A.", "B.") for number in range(1, 301)])


@given(rows=st.lists(st.integers(0, 299), max_size=80))
def test_rows_come_in_any_order_with_repeats(many, rows):
    taken = many.take(np.array(rows, dtype=np.int64))
    assert taken.column("image_id").to_pylist() == [row + 1 for row in rows]
    assert [each[0]["messages"][0]["content"] for each in taken.column("conversations").to_pylist()] == [
        f"{row + 1}?" for row in rows
    ]


def test_a_store_pickles_as_its_path_and_reads_in_a_fork(many):
    assert len(pickle.dumps(many)) < 1_000
    assert rows_of(pickle.loads(pickle.dumps(many)), [299, 0])[0]["image_id"] == 300
    assert (
        in_forked_child(lambda: str([row["image_id"] for row in rows_of(many, range(300))]).encode())
        == str(list(range(1, 301))).encode()
    )


def test_a_file_without_records(tmp_path):
    for name, task in (("svit", CONVERSATION), ("llava", CORE)):
        (tmp_path / name).mkdir()
        store = make(tmp_path / name, [], task)
        assert (store.manifest["rows"], len(store.index), store.defects) == (0, 0, [])


def test_the_manifest_tells_what_was_found(tmp_path):
    items = [
        item(30, "A."),
        item(31),
        item(32, "It seems your message is empty.", "B."),
        {"image_id": "x"},
        item(33, "A.", "Your message was empty.", ""),
    ]
    store = make(tmp_path, items)
    file = (tmp_path / "a.json").read_bytes()
    assert store.manifest["config"] == "conversation"
    assert store.manifest["source"]["url"] == str(tmp_path / "a.json")
    assert store.manifest["rows"] == len(store.index) == 3
    assert store.manifest["message_is_empty"] == [[1, 0], [2, 1]]
    assert [(each.kind, each.number, each.image_id, each.block) for each in store.defects] == [
        ("empty_record", 1, 31, None),
        ("bad_image_id", 3, None, None),
        ("blank_text", 4, 33, 2),
    ]
    assert all(isinstance(each, Defect) for each in store.defects)
    assert [json.loads(file[each.byte :][: len(json.dumps(items[each.number]))]) for each in store.defects] == [
        items[each.number] for each in store.defects
    ]


def test_tasks_are_guessed_where_a_file_holds_several(tmp_path):
    items = [item(1, "A.", topic="t"), item(2, "A."), item(3, "A.", "B."), item(4, "A <st>b<ed> [0, 0, 1, 1].", "C.")]
    store = make(tmp_path, items * 40, ALL)
    expected = [
        ["conversation"],
        ["detail_description"],
        ["complex_reasoning"] * 2,
        ["referring_qa"] * 2,
    ]
    assert [[block["task"] for block in row["conversations"]] for row in rows_of(store)] == expected * 40


@pytest.mark.parametrize(
    "odd",
    [
        {**item(7, "A."), "image_id": 10**30},
        {**item(7, "A."), "image_id": "9" * 5_000},
        item(7, "A.", topic="half \ud83d"),
        item(7, "A.\udc00"),
    ],
    ids=["huge-id", "huge-text-id", "topic", "answer"],
)
def test_what_no_table_can_hold_is_a_defect(tmp_path, odd):
    store = make(tmp_path, [item(1, "A."), odd, item(2, "B.")])
    assert [row["image_id"] for row in rows_of(store)] == [1, 2]
    assert [each.number for each in store.defects] == [1]


@pytest.mark.parametrize("odd", [{"id": "\ud800"}, {"image": "vg/\udfff.jpg"}])
def test_what_no_table_can_hold_is_a_defect_in_the_llava_form(tmp_path, odd):
    turns = [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]
    store = make(tmp_path, [{"id": 1, "conversations": turns}, {"id": 2, "conversations": turns, **odd}], CORE)
    assert [row["id"] for row in rows_of(store)] == ["1"]
    assert [each.number for each in store.defects] == [1]


class TestReuse:
    def test_it_is_parsed_once(self, tmp_path, http_server):
        url = http_server.put("conversation.json", json.dumps([item(1, "A.")]).encode())
        file = TextFile(Storage().stat(url), CONVERSATION)
        first = open_store(file, Storage(), tmp_path)
        http_server.log.reset()
        assert rows_of(open_store(file, Storage(), tmp_path)) == rows_of(first)
        assert http_server.log.requests == []

    def test_a_changed_source_is_another_store(self, tmp_path):
        first = make(tmp_path, [item(1, "A.")])
        same = text_file(tmp_path / "a.json", [item(2, "A.")])  # of the same size
        assert same.info.size == first.manifest["source"]["size"]
        second = open_store(same, Storage(), tmp_path / "cache")
        longer = make(tmp_path, [item(2, "A.", "B.")])
        assert [store.index.column("image_id").to_pylist() for store in (first, second, longer)] == [[1], [2], [2]]
        assert len({first.folder, second.folder, longer.folder}) == 3

    def test_two_configurations_do_not_share_a_store(self, tmp_path):
        file = text_file(tmp_path / "a.json", [item(1, "A.")])
        folders = {open_store(TextFile(file.info, task), Storage(), tmp_path).folder for task in (CONVERSATION, ALL)}
        assert len(folders) == 2

    def test_a_source_that_changes_while_it_is_read(self, tmp_path, http_server):
        items = [item(number, "x" * 2_000) for number in range(1_000)]
        file = TextFile(Storage().stat(http_server.put("a.json", json.dumps(items).encode())), CONVERSATION)
        http_server.put("a.json", json.dumps(items[::-1]).encode())
        with pytest.raises(SvitError, match=r"a\.json"):
            open_store(file, Storage(backoff=0.01), tmp_path)
        assert left_in(tmp_path / "text") == []


class TestDamage:
    @pytest.mark.parametrize("keep", [0, 1, 5_000, -1])
    def test_a_file_that_breaks_off_leaves_nothing(self, tmp_path, keep):
        whole = json.dumps([item(number, "A.") for number in range(1, 200)]).encode()
        with pytest.raises(CorruptFile, match=r"a\.json: .*byte [\d,]+"):
            make(tmp_path, whole[:keep])
        assert left_in(tmp_path / "cache" / "text") == []
        assert make(tmp_path, whole).manifest["rows"] == 199

    def test_a_thousand_bad_records_in_a_row_are_too_many(self, tmp_path):
        bad = [{"id": number} for number in range(1_000)]
        message = r"1,?000 unusable records in a row, up to record 1000, byte \d+ \(bad_image_id: .*Is this file what"
        with pytest.raises(TooManyFailures, match=message):
            make(tmp_path, [item(1, "A."), *bad, item(2, "B.")])
        store = make(tmp_path, [item(1, "A."), *bad[:-1], item(2, "B."), *bad[:-1]])
        assert (store.manifest["rows"], len(store.defects)) == (2, 1_998)

    def test_records_are_counted_and_not_their_blocks(self, tmp_path):
        bad = [item(number, *[""] * 15) for number in range(100)]
        assert make(tmp_path, [item(1, "A."), *bad]).manifest["rows"] == 1

    def test_images_without_blocks_are_normal(self, tmp_path):
        assert len(make(tmp_path, [item(number) for number in range(1_500)]).defects) == 1_500

    def test_a_full_disk(self, tmp_path):
        """text.arrow is a link to /dev/full, a device without space."""
        file = text_file(tmp_path / "a.json", [item(number, os.urandom(50).hex()) for number in range(5_000)])
        cache = tmp_path / "cache"

        from svit_datasets.cache import build_once

        def build(folder):
            (folder / "text.arrow").symlink_to("/dev/full")
            _build(folder, file, Storage())

        with pytest.raises(CacheError, match="no space left on the device"):
            build_once(cache / "x", build)
        assert left_in(cache) == []


class TestSeveralProcesses:
    """The server holds the second request for the text back, so that a build is caught in its middle."""

    @pytest.fixture
    def file(self, http_server):
        items = [item(number, "x" * 2_000) for number in range(1, 1_001)]
        url = http_server.put("a.json", json.dumps(items).encode())
        file = TextFile(Storage().stat(url), CONVERSATION)
        http_server.log.reset()
        return file

    @staticmethod
    def wait_for(true):
        end = time.monotonic() + 20
        while not true():
            assert time.monotonic() < end
            time.sleep(0.01)

    def test_two_at_once_build_one(self, tmp_path, http_server, file):
        open_store(file, Storage(), tmp_path / "alone")
        alone = len(http_server.log.requests)
        http_server.log.reset()
        http_server.faults.add(Fault("slow", after=1, seconds=0.5))

        def work():
            open_store(file, Storage(), tmp_path / "cache")

        with forked(work):
            self.wait_for(lambda: http_server.faults.fired)
            built = in_forked_child(lambda: str(len(open_store(file, Storage(), tmp_path / "cache").index)).encode())
        assert built == b"1000"
        assert len(http_server.log.requests) == alone
        assert len(left_in(tmp_path / "cache" / "text")) == 1

    def test_a_kill_in_the_middle_of_a_build(self, tmp_path, http_server, file):
        http_server.faults.add(Fault("stall", after=1, keep=1_000))
        with forked(lambda: open_store(file, Storage(), tmp_path)) as child:
            self.wait_for(lambda: http_server.faults.fired)
            (half,) = (tmp_path / "text").glob("*.building-*")
            self.wait_for((half / "text.arrow").is_file)
            os.kill(child, signal.SIGKILL)
        assert [".building-" in name for name in left_in(tmp_path / "text")] == [True]
        http_server.faults.clear()
        store = open_store(file, Storage(), tmp_path)
        assert left_in(tmp_path / "text") == [store.folder.name]
        assert rows_of(store, [999])[0]["image_id"] == 1_000

    def test_a_refusal_in_the_middle_of_a_build(self, tmp_path, http_server, file):
        http_server.faults.add(Fault("status", code=403, after=1, times=None))
        with pytest.raises(AccessDenied, match=r"a\.json"):
            open_store(file, Storage(), tmp_path)
        assert left_in(tmp_path / "text") == []


def test_every_batch_is_small(many):
    """Random access reads and unpacks one batch a row at worst."""
    with pa.OSFile(str(many.folder / "text.arrow")) as file:
        reader = pa.ipc.open_file(file)
        assert [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)] == [16] * 18 + [12]
