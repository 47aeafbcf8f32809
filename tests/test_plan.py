"""A plan names every wanted image once, in the file's order, and can be cut and shipped cheaply."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svit_datasets.errors import BadRecord, ImageNotFound
from svit_datasets.image_sources import find_image_sources
from svit_datasets.images import Locator
from svit_datasets.located import ImageSource, Located
from svit_datasets.options import Options
from svit_datasets.plan import Plan, plan_dialogues, plan_images
from svit_datasets.sources import TextFile
from svit_datasets.storage import Storage
from svit_datasets.store import Store, open_store
from svit_datasets.tasks import TASKS

EMPTY = "Your message is empty."


def item(image_id, *answers):
    turns = [[{"from": "user", "value": "Q?"}, {"from": "gpt", "value": answer}] for answer in answers]
    return {"image_id": image_id, "conversations": [{"content": each} for each in turns]}


def line(number, image=None, answer="A."):
    turns = [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": answer}]
    return {"id": number, "conversations": turns} | ({"image": image} if image else {})


class World:
    """A corpus on disk: texts, and photos that are only names."""

    def __init__(self, root, photos=range(1, 100)):
        self.root, self.storage = root, Storage()
        (root / "p").mkdir()
        for name in photos:
            (root / f"p/{name}.jpg").touch()
        self.locator = Locator(find_image_sources(root / "p", None, self.storage), self.storage, root / "cache", None)

    def store(self, items, task="conversation"):
        path = self.root / f"{TASKS[task].stem}.json"
        path.write_text(json.dumps(items))
        return open_store(TextFile(self.storage.stat(str(path)), TASKS[task]), self.storage, self.root / "cache")

    def plan(self, *stores, **options):
        names = ("conversation", "complex_reasoning", "referring_qa")[: len(stores)]
        return plan_images(stores, names, Options(TASKS["conversation"], **options), self.locator)

    def dialogues(self, items, **options):
        return plan_dialogues(self.store(items, "core_150k"), Options(TASKS["core_150k"], **options), self.locator)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def items_of(plan):
    """(store, row) of every image's items."""
    pairs = list(zip(plan.item_store.tolist(), plan.item_row.tolist(), strict=True))
    return [
        pairs[start:stop] for start, stop in zip(plan.offsets[:-1].tolist(), plan.offsets[1:].tolist(), strict=True)
    ]


class TestOrder:
    def test_images_come_as_they_first_appear_and_once(self, world):
        plan, left = world.plan(
            world.store([item(9, "A."), item(3, "A."), item(9, "B."), item(5, "A."), item(3, "B.")])
        )
        assert plan.image_ids.tolist() == [9, 3, 5]
        assert items_of(plan) == [[(0, 0), (0, 2)], [(0, 1), (0, 4)], [(0, 3)]]
        assert [plan.photos.name[index].as_py() for index in range(3)] == ["9.jpg", "3.jpg", "5.jpg"]
        assert [each for each in left if each[1]] == []

    def test_the_files_of_a_union_are_merged_by_image(self, world):
        first = world.store([item(2, "A."), item(1, "A.")])
        second = world.store([item(3, "A."), item(1, "A."), item(2, "B.")], "complex_reasoning")
        third = world.store([item(1, "A."), item(4, "A.")], "referring_qa")
        plan, _ = world.plan(first, second, third)
        assert plan.image_ids.tolist() == [2, 1, 3, 4]
        assert items_of(plan) == [[(0, 0), (1, 2)], [(0, 1), (1, 1), (2, 0)], [(1, 0)], [(2, 1)]]
        assert plan.tasks == ("conversation", "complex_reasoning", "referring_qa")

    @given(ids=st.lists(st.integers(1, 9), max_size=30))
    def test_any_order(self, tmp_path_factory, ids):
        world = World(tmp_path_factory.mktemp("plan"), range(1, 10))
        plan, _ = world.plan(world.store([item(image_id, "A.") for image_id in ids]))
        assert plan.image_ids.tolist() == list(dict.fromkeys(ids))
        expected = [[(0, row) for row, each in enumerate(ids) if each == image_id] for image_id in dict.fromkeys(ids)]
        assert items_of(plan) == expected

    def test_nothing_at_all(self, world):
        plan, _ = world.plan(world.store([]))
        assert len(plan) == len(plan.take(np.arange(0))) == 0
        assert plan.shards() == [(0, 0)]
        assert len(world.dialogues([])[0]) == 0


class TestWhatIsLeftOut:
    def test_ids_that_are_not_wanted(self, world):
        store = world.store([item(number, "A.") for number in (4, 2, 3, 2)])
        for wanted in ([2, 3, 77], {2, 3}, lambda image_id: image_id < 4, iter([2, 3])):
            plan, left = world.plan(store, image_ids=wanted)
            assert plan.image_ids.tolist() == [2, 3]
            assert [each for each in left if each[1]] == []

    def test_answers_to_an_empty_message(self, world):
        store = world.store([item(1, "A.", EMPTY, "B."), item(2, EMPTY), item(3, "A."), item(2, "C.")])
        plan, left = world.plan(store)
        assert plan.image_ids.tolist() == [1, 3, 2]
        assert plan.dropped == {(0, 0): frozenset({1}), (0, 1): frozenset({0})}
        assert items_of(plan)[2] == [(0, 3)]
        assert [(kind, count) for kind, count, _ in left] == [("message_is_empty", 2)]
        plan, left = world.plan(store, known_bad="keep")
        assert (plan.image_ids.tolist(), plan.dropped) == ([1, 2, 3], {})
        assert [each for each in left if each[1]] == []

    def test_they_are_counted_only_where_wanted(self, world):
        _, left = world.plan(world.store([item(1, EMPTY), item(2, EMPTY), item(3, "A.")]), image_ids=[2, 3])
        assert [(kind, count) for kind, count, _ in left] == [("message_is_empty", 1)]

    def test_a_bad_record_is_an_error_with_its_place(self, world):
        store = world.store([item(1, "A."), item(2), item(3, "A.", ""), {"image_id": None}])
        byte = len(json.dumps([item(1, "A."), item(2)])) + 1
        message = (
            rf"conversation\.json, record 2 \(image 3\), block 1, byte {byte}: blank_text: .*"
            r'The file has 1 more such records\. on_bad_record="skip" leaves them out'
        )
        with pytest.raises(BadRecord, match=message):
            world.plan(store)
        plan, left = world.plan(store, on_bad_record="skip")
        assert plan.image_ids.tolist() == [1, 3]
        assert {kind: count for kind, count, _ in left if count} == {
            "empty_record": 1,
            "blank_text": 1,
            "bad_image_id": 1,
        }
        assert all(words for _, count, words in left if count)

    def test_a_bad_record_that_is_not_wanted_is_no_error(self, world):
        store = world.store([item(1, "A."), item(3, "")])
        assert world.plan(store, image_ids=[1])[0].image_ids.tolist() == [1]

    def test_ids_that_can_be_read_only_once(self, world):
        """They are asked for more than once, so an iterator must not run dry."""
        store = world.store([item(1, "A."), item(3, "")])
        with pytest.raises(BadRecord, match="image 3"):
            world.plan(store, image_ids=iter([1, 3]))

    def test_a_function_is_asked_about_ids_only(self, world):
        """An unusable record has no id to ask about."""
        known = {1: True, 3: False}
        store = world.store([item(1, "A."), {"image_id": None}, item(3, "A.")])
        plan, _ = world.plan(store, image_ids=lambda image_id: known[image_id], on_bad_record="skip")
        assert plan.image_ids.tolist() == [1]

    def test_photos_that_are_nowhere(self, world):
        store = world.store([item(1, "A."), item(777, "A."), item(2, "A."), item(888, "A.")])
        message = (
            rf"2 of 4 photos are missing\. image 777 .*is in none of {world.root}/p\. .*images=.*\"skip\".*\"null\""
        )
        with pytest.raises(ImageNotFound, match=message):
            world.plan(store)
        plan, left = world.plan(store, on_missing_image="skip")
        assert (plan.image_ids.tolist(), items_of(plan)) == ([1, 2], [[(0, 0)], [(0, 2)]])
        assert [(kind, count) for kind, count, _ in left if count] == [("missing_image", 2)]
        plan, left = world.plan(store, on_missing_image="null")
        assert plan.photos.source.tolist() == [0, -1, 0, -1]
        assert [(kind, count) for kind, count, _ in left if count] == [("missing_image", 2)]

    def test_if_all_photos_are_nowhere_the_place_is_wrong(self, world):
        store = world.store([item(1_000 + number, "A.") for number in range(100)])
        with pytest.raises(ImageNotFound, match="100 of 100 photos are missing"):
            world.plan(store, on_missing_image="skip")
        assert len(world.plan(store, on_missing_image="null")[0]) == 100
        assert len(world.plan(world.store([item(1_000, "A.")]), on_missing_image="skip")[0]) == 0


class TestDialogues:
    def test_records_stay_as_they_are(self, world):
        paths = ["vg/VG_100K/2.jpg", None, "vg/VG_100K/2.jpg", "vg/VG_100K_2/1.jpg"]
        plan, _ = world.dialogues([line(number, path) for number, path in enumerate(paths)])
        assert plan.image_ids.tolist() == [2, -1, 2, 1]
        assert plan.has_photo.tolist() == [True, False, True, True]
        assert plan.photos.source.tolist() == [0, -1, 0, 0]
        assert items_of(plan) == [[(0, 0)], [(0, 1)], [(0, 2)], [(0, 3)]]

    def test_what_is_left_out(self, world):
        lines = [line(0, "vg/VG_100K/2.jpg"), line(1, "vg/VG_100K/3.jpg", EMPTY), line(2), line(3, "gqa/images/4.jpg")]
        with pytest.raises(ImageNotFound, match=r"1 of 2 photos are missing\. gqa/images/4\.jpg is in none of"):
            world.dialogues(lines)
        plan, left = world.dialogues(lines, on_missing_image="skip")
        assert items_of(plan) == [[(0, 0)], [(0, 2)]]
        assert [(kind, count) for kind, count, _ in left] == [("message_is_empty", 1), ("missing_image", 1)]
        assert items_of(world.dialogues(lines, image_ids=[2])[0]) == [[(0, 0)]]

    @pytest.mark.parametrize("name", ["vg/VG_100K/99999999999999999999.jpg", "gqa/images/n1.jpg", "vg/VG_100K/.jpg"])
    def test_a_path_without_a_usable_number(self, world, name):
        plan, _ = world.dialogues([line(0, name)], on_missing_image="null")
        assert plan.image_ids.tolist() == [-1]


def large(count, stores=1):
    """A plan as large as SVIT's; a quarter of its photos in a second place."""
    ids = np.arange(1, count + 1)
    zips = ImageSource("zip", ("/data/images.zip",), "1"), ImageSource("zip", ("/data/images2.zip",), "1")
    entry = dict.fromkeys(("start", "stop", "size", "method", "crc"), ids * 1000)
    names = pa.array([f"VG_100K/{each}.jpg" for each in ids.tolist()], pa.string())
    photos = Located(zips, (ids % 4 == 0).astype(np.int16), names, entry)
    return Plan(
        (Store("x"),) * stores,
        ("conversation",) * stores,
        ids,
        np.arange(count + 1) * stores,
        np.tile(np.arange(stores), count),
        np.repeat(np.arange(count), stores),
        photos,
        np.ones(count, dtype=bool),
        {},
    )


@given(sizes=st.lists(st.integers(0, 3), max_size=12), data=st.data())
def test_taking_some_is_slicing(sizes, data):
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    whole = large(len(sizes))
    plan = Plan(
        whole.stores,
        whole.tasks,
        whole.image_ids,
        offsets,
        np.zeros(offsets[-1], dtype=np.int64),
        np.arange(offsets[-1]),
        whole.photos,
        whole.has_photo,
        {},
    )
    rows = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=20)) if sizes else []
    some = plan.take(np.array(rows, dtype=np.int64))
    assert some.image_ids.tolist() == [row + 1 for row in rows]
    assert items_of(some) == [items_of(plan)[row] for row in rows]
    assert some.photos.name.to_pylist() == [f"VG_100K/{row + 1}.jpg" for row in rows]
    again = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5)) if rows else []
    twice = some.take(np.array(again, dtype=np.int64))
    assert items_of(twice) == [items_of(some)[row] for row in again]


@given(count=st.integers(0, 300_000))
def test_shards_cover_everything_once_and_evenly(count):
    class Sized(Plan):
        def __len__(self):
            return count

    shards = Sized(*[None] * 9).shards()
    assert [shards[0][0], shards[-1][1]] == [0, count]
    assert all(before[1] == after[0] for before, after in pairwise(shards))
    sizes = [stop - start for start, stop in shards]
    assert max(sizes) - min(sizes) <= 1
    assert len(shards) & (len(shards) - 1) == 0
    assert len(shards) <= 1_024
    assert count == 0 or min(sizes) > 0
    assert count < 16 or len(shards) >= 16


def test_all_of_svit_has_a_shard_for_every_worker():
    plan = large(108_077)
    shards = plan.shards()
    assert len(shards) == 1_024
    assert {stop - start for start, stop in shards} == {105, 106}


def test_a_plan_of_all_of_svit_is_small():
    assert len(pickle.dumps(large(108_077))) < 10_000_000
