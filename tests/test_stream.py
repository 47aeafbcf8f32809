"""`stream()` as a user meets it: the rows of `load_dataset`, each once, over any stops and any number of ranks."""

from __future__ import annotations

import json
import random
import zipfile
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.strategies  # noqa: F401 - sets the profile: no deadline, no database
from svit_datasets import load_dataset, merge_states, stream
from svit_datasets.errors import OptionError
from svit_datasets.sample import write_sample
from svit_datasets.tasks import TASKS

ORDERS = ["record", "storage", "shuffled"]
MB = 1 << 20


def swell(path, sizes):
    """Give the photos of a zip many comments, so that a few of them fill spans of 4 MB as thousands would."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            comment = b"\xff\xfe\xff\xff" + bytes(65_533)
            archive.writestr(name, data[:2] + comment * (next(sizes) // len(comment)) + data[2:])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """28 photos, 15 MB: 4 spans."""
    root = tmp_path_factory.mktemp("stream") / "sample"
    write_sample(root, images=28)
    numbers = random.Random(3)
    sizes = iter(lambda: numbers.randrange(100_000, 1_000_000), None)
    for name in ("images.zip", "images2.zip"):
        swell(root / "raw" / name, sizes)
    return root


@pytest.fixture(scope="module")
def make(corpus):
    def call(name="complex_reasoning", **options):
        usual = {"data_dir": corpus, "cache_dir": corpus.parent / "cache", "holdout": None, "decode": None}
        return stream(name, **(usual | options))

    return call


def key(row):
    if "id" in row:
        return row["id"], row.get("image_path"), row["messages"][0]["content"]
    return row["image_id"]


def keys(rows):
    return [key(row) for row in rows]


def through_json(state):
    text = json.dumps(state)
    assert len(text) < 600
    return json.loads(text)


# Rows ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ["image", "conversation"])
@pytest.mark.parametrize("name", TASKS)
def test_rows_are_those_of_load_dataset(corpus, make, tmp_path, name, rows):
    """Columns in their order, values, pixels; of every configuration, the other split too."""
    other = load_dataset("svit", name, rows=rows, data_dir=corpus, cache_dir=tmp_path, streaming=True)
    for split in other:
        mine = make(name, rows=rows, holdout="official", split=split, order="record", decode="pil")
        found, expected = list(mine), list(other[split])
        assert len(found) == len(mine) == len(expected) > 0
        for one, two in zip(found, expected, strict=True):
            assert list(one) == list(two)
            images = [row.pop("image") for row in (one, two)]
            assert one == two
            assert (images[0] and images[0].tobytes()) == (images[1] and images[1].tobytes())


@pytest.mark.parametrize("rows", ["image", "conversation"])
@pytest.mark.parametrize("name", ["all", "mix_665k"])
def test_every_order_has_every_row_once(make, name, rows):
    expected = keys(make(name, rows=rows, order="record"))
    assert len(set(expected)) == len(expected)
    for order in ORDERS:
        for threads in (0, 3):
            found = keys(make(name, rows=rows, order=order, window_bytes=8 * MB, decode_threads=threads))
            assert sorted(map(str, found)) == sorted(map(str, expected))
            assert (found == expected) == (order == "record")


def test_the_photo_of_a_row_is_its_own(corpus, make):
    members = {}
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(corpus / "raw" / name) as archive:
            members |= {Path(member).stem: archive.read(member) for member in archive.namelist()}
    for order in ORDERS:
        for row in make("all", rows="conversation", order=order, window_bytes=8 * MB):
            assert row["image"] == members[str(row["image_id"])]
            assert row["id"].startswith(f"{row['image_id']}/")


def test_a_rank_may_begin_in_the_middle_of_an_image(make):
    whole = keys(make("all", rows="conversation", order="storage"))
    for world_size in (5, len(whole), len(whole) + 3):
        some = range(world_size) if world_size < 9 else (0, 7, world_size // 2, world_size - 1)
        shares = {rank: keys(make("all", rows="conversation").shard(rank, world_size)) for rank in some}
        for rank, share in shares.items():
            assert share == whole[len(whole) * rank // world_size : len(whole) * (rank + 1) // world_size]


def test_an_epoch_has_an_order_of_its_own_the_same_for_every_reader(make):
    orders = []
    for epoch in range(3):
        readers = [make(order="shuffled", window_bytes=8 * MB, seed=4) for _ in range(2)]
        for reader in readers:
            reader.set_epoch(epoch)
        first, second = map(keys, readers)
        assert first == second
        assert readers[0].shard(1, 2).epoch == epoch
        assert keys(readers[0].shard(0, 2)) + keys(readers[0].shard(1, 2)) == first
        orders.append(first)
    assert len(set(map(tuple, orders))) == 3
    assert orders[0] != keys(make(order="shuffled", window_bytes=8 * MB, seed=5))


def test_iterating_again_begins_again_and_a_new_epoch_forgets_a_state(make):
    reader = make()
    whole = keys(reader)
    assert keys(reader) == whole
    iterator = iter(reader)
    head = [key(next(iterator)) for _ in range(3)]
    state = reader.state_dict()
    reader.load_state_dict(state)
    assert head + keys(reader) == whole
    assert keys(reader) == whole, "a state is for one iteration"
    reader.load_state_dict(state)
    reader.set_epoch(1)
    assert keys(reader) == whole
    assert reader.state_dict()["epoch"] == 1


# Each row once -------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(data=st.data())
def test_each_row_comes_once_over_any_stops_and_any_numbers_of_ranks(make, data):
    """Stopped at any row, gone on as the same rank or as any other number of ranks, several times in one epoch."""
    draw = data.draw
    name, rows = draw(st.sampled_from([("complex_reasoning", "image"), ("all", "conversation"), ("mix_665k", "image")]))
    ids = sorted({row["image_id"] for row in make("all")})
    chosen = draw(st.none() | st.lists(st.sampled_from(ids), min_size=1, unique=True))
    options = {
        "rows": rows,
        "image_ids": chosen if name != "mix_665k" else None,
        "order": draw(st.sampled_from(ORDERS)),
        "seed": draw(st.integers(0, 3)),
        "window_bytes": draw(st.sampled_from([1, 8 * MB, 32 * MB])),
        "decode_threads": draw(st.sampled_from([0, 2])),
        "max_in_flight_bytes": 1,
        "known_bad": "keep",
    }
    try:
        whole = make(name, **options)
    except OptionError:  # none of the chosen images has such a record: there is no split
        return
    whole.set_epoch(draw(st.integers(0, 2)))
    expected = Counter(keys(whole))
    seen, state = Counter(), None
    for last in (False, False, True)[draw(st.integers(0, 2)) :]:
        world_size = draw(st.integers(1, 5))
        states = []
        for rank in range(world_size):
            reader = whole.shard(rank, world_size)
            if state is not None:
                reader.load_state_dict(through_json(state))
            stops = draw(st.lists(st.integers(0, 1 + sum(expected.values()) // world_size), max_size=2))
            for stop in stops:
                iterator = iter(reader)
                seen.update(keys(islice(iterator, stop)))
                saved = through_json(reader.state_dict())
                del iterator
                reader = make(name, **options).shard(rank, world_size)
                reader.load_state_dict(saved)
            if last:
                seen.update(keys(reader))
            states.append(through_json(reader.state_dict()))
        state = merge_states(draw(st.permutations(states)))
    assert seen == expected
    assert state["todo"] == []


@settings(max_examples=25)
@given(
    world_size=st.integers(1, 40),
    tail=st.sampled_from(["exact", "drop_last", "pad"]),
    chosen=st.integers(1, 28),
    stop=st.integers(0, 30),
)
def test_tails(make, world_size, tail, chosen, stop):
    """Equal counts where they were asked for, also after a stop of every rank; what is read again says so."""
    ids = [row["image_id"] for row in make("referring_qa", order="record")][:chosen]
    whole = make("referring_qa", image_ids=ids, tail=tail)
    rows = []
    for rank in range(world_size):
        reader = whole.shard(rank, world_size)
        iterator = iter(reader)
        mine = list(islice(iterator, stop))
        state = through_json(reader.state_dict())
        reader = whole.shard(rank, world_size)
        reader.load_state_dict(state)
        mine += reader
        assert len(mine) == len(reader)
        rows.append(mine)
    counts = set(map(len, rows))
    assert all(("repeated" in row) == (tail == "pad") for mine in rows for row in mine)
    first = Counter(row["image_id"] for mine in rows for row in mine if not row.get("repeated"))
    assert set(first.values()) <= {1}
    if tail == "exact":
        assert max(counts) - min(counts) <= 1
    else:
        assert len(counts) == 1
    if tail == "drop_last":
        assert counts == {len(ids) // world_size}
    else:
        assert set(first) == set(ids)
    if tail == "pad":
        assert counts == {-(-len(ids) // world_size)}
        for mine in rows:
            assert sum(row["repeated"] for row in mine) <= 1
            assert [row["repeated"] for row in mine] == sorted(row["repeated"] for row in mine)


def test_len_is_what_comes(make):
    for name, rows in (("all", "conversation"), ("conversation", "image"), ("core_150k", "image")):
        for rank in range(3):
            reader = make(name, rows=rows, rank=rank, world_size=3)
            assert len(reader) == len(list(reader))


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"name": "conversation"},
        {"rows": "conversation"},
        {"order": "storage"},
        {"seed": 1},
        {"window_bytes": 1},
        {"image_ids": lambda number: number % 2},
        {"images": ("images2.zip", "images.zip")},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_state_of_another_stream_is_refused(corpus, make, other):
    """Also where the same photos lie in another order, for then other rows are left."""
    if "images" in other:
        other = {"images": [corpus / "raw" / name for name in other["images"]]}
    state = make(order="shuffled").state_dict()
    with pytest.raises(OptionError, match="This state is of another stream: data, split, rows, order, seed or"):
        make(**({"order": "shuffled"} | other)).load_state_dict(state)


def test_decode_tail_and_what_is_fetched_ahead_may_change(make):
    reader = make()
    iterator = iter(reader)
    head = [key(next(iterator)) for _ in range(4)]
    other = make(tail="pad", decode="numpy", decode_threads=0, max_in_flight_bytes=1, on_missing_image="skip")
    other.load_state_dict(reader.state_dict())
    assert head + keys(other) == keys(make())


def test_states_of_the_wrong_ranks_are_refused(make):
    states = [make(rank=rank, world_size=3).state_dict() for rank in range(3)]
    with pytest.raises(OptionError, match=r"of rank 1 of 3, this stream is rank 0 of 3.*merge_states"):
        make(rank=0, world_size=3).load_state_dict(states[1])
    with pytest.raises(OptionError, match="this stream is rank 1 of 2"):
        make(rank=1, world_size=2).load_state_dict(states[1])
    for wrong in (states[:2], [*states, states[0]], [states[0], states[0], states[2]]):
        with pytest.raises(OptionError, match=r"\(0, 0\), \(1, 0\), \(2, 0\)\] are needed, each once; found"):
            merge_states(wrong)
    later = {**states[2], "epoch": 1}
    for wrong in ([], [*states[:2], later], [*states[:2], {**states[2], "fingerprint": "0"}]):
        with pytest.raises(OptionError, match="not of one stream in one epoch"):
            merge_states(wrong)


def test_what_was_merged_is_not_merged_again_and_no_row_is_owned_twice(make):
    states = [make(rank=rank, world_size=2).state_dict() for rank in range(2)]
    merged = merge_states(states)
    with pytest.raises(OptionError):
        merge_states([merged, states[1]])
    overlapping = {**states[1], "todo": states[0]["todo"]}  # saved before and after others took over
    with pytest.raises(OptionError, match="owned twice"):
        merge_states([states[0], overlapping])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "random"}, "order='random' is not allowed. Allowed: 'record', 'storage', 'shuffled'."),
        ({"tail": "drop"}, "tail='drop' is not allowed. Allowed: 'exact', 'drop_last', 'pad'."),
        ({"rank": 2, "world_size": 2}, "rank=2 of world_size=2: give 0 <= rank < world_size."),
        ({"rank": -1}, "rank=-1 of world_size=1"),
        ({"world_size": 0}, "rank=0 of world_size=0"),
        ({"split": "validation"}, "split='validation' is not there. Available: 'train'."),
        ({"decode": "jpeg"}, "decode='jpeg' is not allowed"),
        ({"rows": "images"}, "'image', 'conversation'"),
        ({"name": "complex"}, "conversation, complex_reasoning"),
        ({"window_bytes": 0}, "window_bytes=0"),
        ({"decode_threads": -1}, "decode_threads=-1"),
        ({"seed": -1}, "seed=-1"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value),
)
def test_a_wrong_option_names_the_right_ones(make, options, words):
    with pytest.raises(OptionError) as caught:
        make(**options)
    assert words in str(caught.value)


def test_the_rank_is_taken_from_the_environment_only_when_asked(make, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    plain, told = make(), make(rank="env")
    assert (plain.rank, plain.world_size, told.rank, told.world_size) == (0, 1, 1, 3)
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(OptionError, match='rank="env" needs RANK and WORLD_SIZE in the environment'):
        make(rank="env")
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(OptionError, match="as torchrun sets them: 'WORLD_SIZE'"):
        make(rank="env")


@pytest.mark.parametrize("state", [{}, {"version": 2}])
def test_what_is_no_state(make, state):
    with pytest.raises(OptionError, match="no state of a stream"):
        make("conversation").load_state_dict(state)


def test_a_negative_epoch(make):
    with pytest.raises(OptionError, match="epoch=-1"):
        make("conversation").set_epoch(-1)
