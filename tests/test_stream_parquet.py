"""`stream()` over published Parquet: the rows of the raw files it was built from, with the same guarantees."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import pickle
import threading
import zipfile
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from svit_builder.manifest import write_manifest
from svit_builder.shards import write_config

import tests.strategies  # noqa: F401 - sets the profile: no deadline, no database
from svit_datasets import merge_states, mix, stream
from svit_datasets.errors import (
    BadImage,
    CorruptFile,
    ImageNotFound,
    OptionError,
    SourceChanged,
    SourceNotFound,
    SourceUnreachable,
)
from svit_datasets.reader import Stream
from svit_datasets.storage import ByteRange, Storage
from svit_datasets.tasks import TASKS
from tests.publishing import KINDS, write_corpus
from tests.servers import Fault, FileServer

ORDERS = ["record", "storage", "shuffled"]
MB = 1 << 20


class Watched(Storage):
    """Counts ranges, their bytes, and how many of these were asked for and not yet used, at most."""

    def __init__(self, **options):
        super().__init__(**options)
        self.ranges, self.most = [], 0

    def read_ranges(self, ranges, **options):
        under_way = 0

        def counted():
            nonlocal under_way
            for part in ranges:
                assert isinstance(part, ByteRange)
                self.ranges.append(part)
                under_way += part.cost
                self.most = max(self.most, under_way)
                yield part

        for data in super().read_ranges(counted(), **options):
            yield data
            under_way -= len(data)

    @property
    def bytes(self):
        return sum(part.cost for part in self.ranges)


def watched(reader, **options):
    """The same stream over a storage that counts."""
    return Stream(replace(reader._work, storage=Watched(**options)), rank=reader.rank, world_size=reader.world_size)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(raw files, published): every configuration and split, 16 photos, a few answers that say they are empty."""
    root = tmp_path_factory.mktemp("small")
    raw = write_corpus(root / "raw", 16)
    for name in TASKS:
        write_config(name, root / "svit", data_dir=raw, cache_dir=root / "cache")
    write_manifest(root / "svit")
    return raw, root / "svit"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """(raw files, published): 192 photos of 120 KB in six row groups of two and three files, one split."""
    root = tmp_path_factory.mktemp("large")
    raw = write_corpus(root / "raw", 192, swollen=True)
    for name in ("complex_reasoning", "all"):
        written = write_config(
            name, root / "svit", data_dir=raw, cache_dir=root / "cache", holdout=None, shard_bytes=9 * MB
        )
        assert len(written) == 3
    write_manifest(root / "svit")
    return raw, root / "svit"


@pytest.fixture(scope="module")
def make(large):
    def call(name="complex_reasoning", **options):
        return stream(
            name, **({"data_dir": large[1], "cache_dir": large[1].parent / "cache", "decode": None} | options)
        )

    return call


def key(row):
    return row.get("id", row.get("image_id"))


def keys(rows):
    return [key(row) for row in rows]


def through_json(state):
    return json.loads(json.dumps(state))


def by_image(rows):
    """Rows in the files' order: by image, and within one as they were; LLaVA-form records as they were."""
    return sorted(rows, key=lambda row: row.get("image_id", 0))


# Rows ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ["image", "conversation"])
@pytest.mark.parametrize("name", TASKS)
def test_rows_are_those_of_the_raw_files(small, tmp_path, name, rows):
    """Columns in their order, values, bytes; of both splits; ids count what known_bad left out."""
    raw, published = small
    for split in ("train", "test"):
        options = {"rows": rows, "split": split, "cache_dir": tmp_path, "decode": None, "order": "record"}
        live, mine = stream(name, data_dir=raw, **options), stream(name, data_dir=published, **options)
        expected, found = list(live), list(mine)
        assert len(mine) == len(live) == len(found) > 0
        assert found == by_image(expected)
        assert [list(row) for row in found] == [list(row) for row in by_image(expected)]
        for order in ORDERS[1:]:
            other = list(stream(name, data_dir=published, **options | {"order": order}))
            assert sorted(other, key=repr) == sorted(found, key=repr)


def test_conversations_are_named_around_what_was_left_out(small, tmp_path):
    """Or the names could not tell: some number is left out in front of another of its task."""
    names = keys(stream("all", rows="conversation", data_dir=small[1], cache_dir=tmp_path, decode=None))
    numbers = {}
    for name in names:
        image_id, task, number = name.split("/")
        numbers.setdefault((image_id, task), set()).add(int(number))
    gaps = {task for (_, task), some in numbers.items() if some != set(range(len(some)))}
    assert gaps == set(KINDS) - {"detail_description"}


@pytest.mark.parametrize("decode", ["pil", "numpy"])
def test_pixels_are_those_of_the_raw_files(small, tmp_path, decode):
    raw, published = small
    digests = [
        {
            row["image_id"]: hashlib.sha256(bytes(memoryview(row["image"].tobytes()))).hexdigest()
            for row in stream("referring_qa", data_dir=place, cache_dir=tmp_path, decode=decode, image_size=200)
        }
        for place in (raw, published)
    ]
    assert digests[0] == digests[1]


def test_some_images_are_asked_for_by_id_and_only_their_row_groups_are_read(make):
    ids = sorted(keys(make()))
    few = watched(make(image_ids=ids[40:50]))
    assert keys(few) == ids[40:50]
    assert len(few._work.storage.ranges) == 1
    assert keys(make(image_ids=lambda number: number in ids[:3] + ids[-3:])) == ids[:3] + ids[-3:]
    assert keys(make(image_ids=[])) == []
    spread = make("all", rows="conversation", image_ids=ids[::37], order="shuffled")
    assert {row["image_id"] for row in spread} == set(ids[::37])
    assert len(spread) == len(list(spread))


def test_a_mix_reads_published_configurations(large):
    weights = {"complex_reasoning": 3, "all": 1}
    rows = mix(weights, data_dir=large[1], cache_dir=large[1].parent / "cache", decode=None)
    assert Counter(row["config"] for row in islice(rows, 100)) == {"complex_reasoning": 75, "all": 25}


# Orders, ranks, resume -----------------------------------------------------------------------------------------------


def test_record_and_storage_are_the_order_of_the_files_and_shuffled_mixes_over_all_of_them(make):
    plain = keys(make(order="record"))
    assert plain == sorted(plain) == keys(make(order="storage"))
    for window_bytes in (1, 8 * MB, 64 * MB):
        mixed = make(order="shuffled", window_bytes=window_bytes, seed=1)
        found = keys(mixed)
        assert sorted(found) == plain != found
        mixed.set_epoch(1)
        assert keys(mixed) != found
        assert keys(make(order="shuffled", window_bytes=window_bytes, seed=2)) != found


@pytest.mark.parametrize("order", ORDERS)
def test_a_row_group_is_read_once_an_epoch_and_in_large_pieces(make, order):
    reader = watched(make(order=order, window_bytes=8 * MB))
    rows = len(list(reader))
    ranges = reader._work.storage.ranges
    assert sum(part.stop - part.start for part in ranges) == reader._work.source.layout()[1].sum()
    assert len(ranges) <= 6 < rows / 20
    sizes = [part.cost for part in ranges]
    assert max(sizes) < 8 * MB


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("window_bytes", [1, 8 * MB])
def test_what_is_under_way_is_bounded(make, order, window_bytes):
    group = int(make()._work.source.layout()[1].max())
    for limit in (1, 9 * MB):
        reader = watched(make(order=order, window_bytes=window_bytes, max_in_flight_bytes=limit))
        assert len(list(reader)) == len(reader)
        assert reader._work.storage.most <= max(limit, group) + group


@pytest.mark.parametrize("order", ["record", "storage"])
def test_a_resume_reads_at_most_one_span_again(make, order):
    whole = watched(make(order=order))
    expected = keys(whole)
    total = whole._work.storage.bytes
    for stop in range(0, len(expected), 27):
        reader = make(order=order)
        iterator = iter(reader)
        head = keys(islice(iterator, stop))
        other = watched(make(order=order))
        other.load_state_dict(reader.state_dict())
        assert head + keys(other) == expected
        handed_out = total * stop // len(expected)
        assert other._work.storage.bytes <= total - handed_out + 5 * MB


@settings(max_examples=15)
@given(data=st.data())
def test_each_row_comes_once_over_any_stops_and_any_numbers_of_ranks(make, data):
    """As over the raw files; the rows of an image may be shared by two ranks."""
    draw = data.draw
    name, rows = draw(st.sampled_from([("complex_reasoning", "image"), ("all", "conversation")]))
    ids = sorted(keys(make("all")))
    options = {
        "rows": rows,
        "image_ids": draw(st.none() | st.lists(st.sampled_from(ids), min_size=1, unique=True)),
        "order": draw(st.sampled_from(ORDERS)),
        "seed": draw(st.integers(0, 3)),
        "window_bytes": draw(st.sampled_from([1, 8 * MB, 32 * MB])),
        "max_in_flight_bytes": draw(st.sampled_from([1, 32 * MB])),
    }
    whole = make(name, **options)
    whole.set_epoch(draw(st.integers(0, 2)))
    expected = Counter(keys(whole))
    assert expected.total() == len(whole)
    seen, state = Counter(), None
    for last in (False, True):
        world_size = draw(st.integers(1, 4))
        states = []
        for rank in range(world_size):
            reader = whole.shard(rank, world_size)
            if state is not None:
                reader.load_state_dict(through_json(state))
            iterator = iter(reader)
            seen.update(keys(islice(iterator, draw(st.integers(0, 1 + expected.total() // world_size)))))
            if last:
                saved = through_json(reader.state_dict())
                del iterator
                reader = make(name, **options).shard(rank, world_size)
                reader.load_state_dict(saved)
                seen.update(keys(reader))
            states.append(through_json(reader.state_dict()))
        state = merge_states(draw(st.permutations(states)))
    assert seen == expected
    assert set(expected.values()) <= {1}
    assert state["todo"] == []


def test_a_state_is_of_these_files(make, large, small, tmp_path):
    state = make(order="shuffled").state_dict()
    raw = stream(
        "complex_reasoning", data_dir=large[0], cache_dir=tmp_path, holdout=None, order="shuffled", decode=None
    )
    for other in (make(order="storage"), make("all", order="shuffled"), make(order="shuffled", image_ids=[1]), raw):
        with pytest.raises(OptionError, match="This state is of another stream"):
            other.load_state_dict(state)


def test_a_stream_travels_and_each_process_opens_its_files_itself(make):
    reader = make("all", rows="conversation", order="shuffled")
    expected = keys(reader)
    other = pickle.loads(pickle.dumps(reader))
    assert len(pickle.dumps(reader)) < 100_000
    assert keys(other) == expected
    iterator = iter(reader)
    head = keys(islice(iterator, 100))
    here, there = os.pipe()
    child = os.fork()
    if child == 0:  # in the middle of an iteration
        os.write(there, hashlib.sha256(repr(keys(reader)).encode()).hexdigest().encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here) as answer:
        assert answer.read() == hashlib.sha256(repr(expected).encode()).hexdigest()
    assert os.waitpid(child, 0)[1] == 0
    assert head + keys(iterator) == expected


@pytest.mark.parametrize("order", ORDERS)
def test_an_iterator_that_is_left_leaves_no_thread_and_no_bytes(make, order):
    held = []
    for _ in range(3):
        iterator = iter(make(order=order, decode="pil"))
        next(iterator)
        del iterator
        gc.collect()
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("svit-")] == []
        held.append(pa.total_allocated_bytes())  # footers and text stay
    assert max(held) - min(held) < MB


@pytest.mark.torch
@pytest.mark.skipif(find_spec("torch") is None, reason="torch==2.13.0 is not installed")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_divide_the_rows(make, method):
    from torch.utils.data import DataLoader

    reader = make("all", rows="conversation", order="shuffled")
    loader = DataLoader(reader, batch_size=None, num_workers=2, multiprocessing_context=method)
    assert sorted(keys(loader)) == sorted(keys(reader))


# Places --------------------------------------------------------------------------------------------------------------


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def memory(small):
    fs = fsspec.filesystem("memory")
    for name, data in content(small[1]).items():
        fs.pipe_file(f"/published/{name}", data)
    yield "memory://published", {}
    fs.rm("/published", recursive=True)


@pytest.fixture
def http(small, http_server):
    for name, data in content(small[1]).items():
        http_server.put(f"a folder/{name}", data)
    return f"{http_server.url}/a folder", {}


@pytest.fixture
def bucket(small, s3):
    s3.upload("published", content(small[1]))
    return "s3://published", {"storage_options": {"s3": s3.storage_options}}


@pytest.fixture
def repository(small, hub):
    hub.add_dataset("me/svit", content(small[1]) | {"README.md": b"# svit"})
    return "hf://datasets/me/svit", {"storage_options": {"hf": {"endpoint": hub.url}}}


@pytest.mark.parametrize("place", ["memory", "http", "bucket", "repository"])
@pytest.mark.parametrize("name", ["all", "core_150k"])
def test_rows_are_the_same_from_every_place(request, small, tmp_path, place, name):
    data_dir, options = request.getfixturevalue(place)
    local = stream(name, data_dir=small[1], cache_dir=tmp_path, decode=None)
    remote = stream(name, data_dir=data_dir, cache_dir=tmp_path, decode=None, **options)
    assert list(remote) == list(local)


def test_a_revision_of_a_repository(small, hub, tmp_path):
    options = {"cache_dir": tmp_path, "decode": None, "storage_options": {"hf": {"endpoint": hub.url}}}
    files = content(small[1])
    commit = hub.add_dataset("me/svit", files)
    hub.add_dataset("me/svit", {name: data for name, data in files.items() if not name.startswith("all/")})
    assert len(list(stream("all", data_dir=f"hf://datasets/me/svit@{commit}", **options))) > 0
    with pytest.raises(SourceNotFound, match="holds published Parquet, but not of config 'all'"):
        stream("all", data_dir="hf://datasets/me/svit", **options)


def test_few_requests_find_and_read_a_split(large, tmp_path):
    """The manifest, a look at each of the three files and its footer, then spans; footers are kept."""
    options = {"cache_dir": tmp_path, "decode": None}
    with FileServer(large[1]) as server:
        first = stream("complex_reasoning", data_dir=server.url, **options)
        assert len(server.log.requests) == 1 + 3 + 3
        server.log.reset()
        assert len(list(first)) == len(first)
        assert len(server.log.requests) == 6
        server.log.reset()
        stream("complex_reasoning", data_dir=server.url, **options)
        assert len(server.log.requests) == 1 + 3


def test_http_without_a_manifest_says_so(large, hub, tmp_path):
    options = {"cache_dir": tmp_path, "storage_options": {"hf": {"endpoint": hub.url}}}
    files = {name: data for name, data in content(large[1]).items() if name != "manifest.json"}
    with FileServer(files) as server, pytest.raises(SourceNotFound, match=r"where manifest\.json lies beside it"):
        stream("complex_reasoning", data_dir=server.url, **options)
    with FileServer(files | {"manifest.json": b"[]"}) as server, pytest.raises(CorruptFile, match="no list of files"):
        stream("complex_reasoning", data_dir=server.url, **options)


# Faults --------------------------------------------------------------------------------------------------------------


def hasty(reader, **options):
    return Stream(
        replace(reader._work, storage=Storage(**({"timeout": 0.5, "attempts": 10, "backoff": 0.002} | options)))
    )


KINDS_OF_FAULT = [
    Fault("status", code=503),
    Fault("status", code=429, headers={"Retry-After": "0"}),
    Fault("reset", keep=1_000),
    Fault("short", keep=5_000),
    Fault("wrong_length", keep=700),
    Fault("wrong_content_range"),
    Fault("stall", keep=3_000),
]


def test_every_row_arrives_once_from_a_failing_server(large, make, tmp_path):
    expected = Counter((key(row), row["image"]) for row in make())
    with FileServer(large[1]) as server:
        reader = hasty(make(data_dir=server.url, cache_dir=tmp_path))
        for after, fault in enumerate(KINDS_OF_FAULT):
            server.faults.add(replace(fault, match="parquet", after=2 * after))
        for epoch in range(3):
            reader.set_epoch(epoch)
            assert Counter((key(row), row["image"]) for row in reader) == expected
        assert len(server.faults.fired) == len(KINDS_OF_FAULT)


def test_a_file_that_changes_is_told_of_and_never_mixed(large, make, tmp_path):
    expected = {(key(row), row["image"]) for row in make()}
    with FileServer(large[1]) as server:
        reader = hasty(make(data_dir=server.url, cache_dir=tmp_path, max_in_flight_bytes=1))
        server.faults.add(Fault("changed_etag", match="parquet", after=2, times=None, other_bytes=True))
        seen = []
        with pytest.raises(SourceChanged, match=r"parquet changed while it was read .*Nothing of the two was mixed"):
            seen.extend((key(row), row["image"]) for row in reader)
        assert seen
        assert set(seen) <= expected


def test_a_local_file_that_changes_is_told_of(small, tmp_path):
    target = tmp_path / "svit/conversation"
    target.mkdir(parents=True)
    (name,) = [path.name for path in (small[1] / "conversation").glob("train-*")]
    (target / name).write_bytes((small[1] / "conversation" / name).read_bytes())
    reader = stream("conversation", data_dir=tmp_path / "svit", cache_dir=tmp_path / "cache")
    os.utime(target / name, (1, 1))
    with pytest.raises(SourceChanged, match="changed while it was read"):
        next(iter(reader))


def test_a_failed_server_can_be_gone_on_from(large, make, tmp_path):
    expected = keys(make())
    with FileServer(large[1]) as server:
        options = {"data_dir": server.url, "cache_dir": tmp_path, "max_in_flight_bytes": 1}
        reader = hasty(make(**options), attempts=1)
        server.faults.add(Fault("status", match="parquet", after=3))
        seen = []
        with pytest.raises(SourceUnreachable, match="status 503"):
            seen.extend(key(row) for row in reader)
        assert seen
        other = make(**options)
        other.load_state_dict(reader.state_dict())
        assert seen + keys(other) == expected


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(small, tmp_path):
    """A folder with one configuration's train split, to be spoilt; returns its only file."""
    target = tmp_path / "svit/complex_reasoning"
    target.mkdir(parents=True)
    path = target / "train-00000-of-00001.parquet"
    path.write_bytes((small[1] / "complex_reasoning" / path.name).read_bytes())
    return path


def opened(path, **options):
    return stream(
        "complex_reasoning", **({"data_dir": path.parents[1], "cache_dir": path.parents[2] / "cache"} | options)
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: data[:-100], "does not end as a Parquet file does"),
        (lambda data: b"", r"\(0 bytes\) does not end as a Parquet file"),
        (lambda data: b"<html>not here</html>", "or something else. Copy or download it again"),
        (lambda data: b"PAR1" + bytes(4) + data[-8:], "its footer would be larger than the file"),
        (lambda data: data[:-2_000] + bytes(1_000) + data[-1_000:], "its footer cannot be read"),
        (lambda data: b"PAR1" + data[-(int.from_bytes(data[-8:-4], "little") + 8) :], "names bytes that are not there"),
    ],
    ids=["cut", "empty", "html", "short", "zeros", "no-body"],
)
def test_what_is_no_whole_parquet_file_is_told_of_before_the_first_row(copy, spoil, words):
    copy.write_bytes(spoil(copy.read_bytes()))
    with pytest.raises(CorruptFile, match=words) as caught:
        opened(copy)
    assert str(copy) in str(caught.value)


@pytest.mark.parametrize("place", ["photo", "text"])
def test_a_changed_byte_inside_is_found_by_its_page(copy, place):
    data = bytearray(copy.read_bytes())
    group = pq.read_metadata(copy).row_group(0)
    column = group.column(1 if place == "photo" else group.num_columns - 1)
    assert not column.has_dictionary_page
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    copy.write_bytes(data)
    with pytest.raises(CorruptFile, match=r"train-00000-of-00001\.parquet, row group 0, from byte 4: cannot be read"):
        list(opened(copy, on_missing_image="skip"))


def test_checksums_may_be_left_to_others(copy):
    data = bytearray(copy.read_bytes())
    column = pq.read_metadata(copy).row_group(0).column(1)
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    before = [row["image"] for row in opened(copy, decode=None)]
    copy.write_bytes(data)
    reader = opened(copy, decode=None)
    after = [row["image"] for row in Stream(replace(reader._work, verify=False))]
    assert sum(one != two for one, two in zip(before, after, strict=True)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop_columns(["conversations"]), r"\(no conversations\).* found image_id, image, width"),
        (lambda table: table.set_column(2, "width", table["conversations"]), "found image_id, image, width"),
        (lambda table: table.set_column(1, "image", table["image_id"]), "not those of config 'complex_reasoning'"),
    ],
    ids=["missing", "text-for-number", "no-photo"],
)
def test_other_columns_are_told_of(copy, change, words):
    table = change(pq.read_table(copy).replace_schema_metadata())
    pq.write_table(table, copy)
    with pytest.raises(CorruptFile, match=words) as caught:
        opened(copy)
    assert str(copy) in str(caught.value)


def test_a_missing_file_is_told_of(make, large, tmp_path):
    for name, data in content(large[1]).items():
        (tmp_path / "svit" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "svit" / name).write_bytes(data)
    files = sorted((tmp_path / "svit/complex_reasoning").iterdir())
    options = {"data_dir": tmp_path / "svit", "cache_dir": tmp_path / "cache"}
    kept = files[1].read_bytes()
    files[1].unlink()
    with pytest.raises(
        SourceNotFound, match=r"train-00001-of-00003\.parquet is missing: 2 of the 3 files of split 'train'"
    ):
        make(**options)
    files[1].write_bytes(files[0].read_bytes())
    with pytest.raises(CorruptFile, match=r"is complex_reasoning/train-00000-of-00003\.parquet by its footer"):
        make(**options)
    files[1].write_bytes(kept)
    (files[0].parent / "train-00000-of-00001.parquet").write_bytes(kept)
    with pytest.raises(CorruptFile, match=r"has files of 00001 and of 00003, of two builds"):
        make(**options)


def test_files_of_two_builds_are_told_of(large, tmp_path):
    """As a build leaves them that was killed while it replaced an earlier one."""
    options = {"cache_dir": tmp_path / "cache", "holdout": None, "shard_bytes": 9 * MB}
    old = write_config("complex_reasoning", tmp_path / "svit", data_dir=large[0], **options)
    kept = old[2].read_bytes()
    new = write_config("complex_reasoning", tmp_path / "svit", data_dir=large[0], known_bad="keep", **options)
    assert old == new
    old[2].write_bytes(kept)
    with pytest.raises(CorruptFile, match="not of one build"):
        stream("complex_reasoning", data_dir=tmp_path / "svit", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("entry", [b"[]", b"{"])
def test_an_entry_that_is_none_is_told_of(copy, entry):
    table = pq.read_table(copy)
    pq.write_table(table.replace_schema_metadata({b"svit": entry}), copy)
    with pytest.raises(CorruptFile, match=r"its footer's 'svit' is not what the builder writes"):
        opened(copy)


def test_an_entry_of_another_version_or_of_other_rows_is_told_of(copy):
    table = pq.read_table(copy)
    entry = json.loads(pq.read_metadata(copy).metadata[b"svit"])
    table = table.replace_schema_metadata({b"svit": json.dumps(entry)})
    pq.write_table(table.replace_schema_metadata({b"svit": json.dumps(entry | {"version": 2})}), copy)
    with pytest.raises(CorruptFile, match=r"made by another version .* 2, this one reads 1"):
        opened(copy)
    pq.write_table(table.slice(1), copy)
    with pytest.raises(CorruptFile, match=r"its footer tells of \d+ rows, its row groups have \d+"):
        opened(copy)
    pq.write_table(table.take(list(range(len(table)))[::-1]), copy)
    with pytest.raises(CorruptFile, match=r"row 0: image id, photo's bytes and rows are"):
        list(opened(copy))


def test_a_file_in_the_wrong_folder_is_told_of(copy):
    folder = copy.parents[1] / "referring_qa"
    copy.parent.rename(folder)
    with pytest.raises(
        CorruptFile, match=r"referring_qa/train-.* is complex_reasoning/train-00000-of-00001\.parquet by its footer"
    ):
        stream("referring_qa", data_dir=folder.parent, cache_dir=folder.parents[1] / "cache")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "test"}, "split='test' is not there. Available: 'train'."),
        ({"images": "photos"}, "images=… is not allowed here"),
        ({"known_bad": "keep"}, "was built with known_bad='drop'"),
        ({"holdout": None}, "was built with other held-out images"),
        ({"holdout": "list"}, "was built with other held-out images"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_was_decided_when_files_were_made_is_not_decided_again(copy, options, words):
    if options.get("holdout") == "list":
        options = {"holdout": copy.parents[2] / "ids.txt"}
        options["holdout"].write_text("1\n2\n")
    with pytest.raises(OptionError) as caught:
        opened(copy, **options)
    assert words in str(caught.value)


def test_the_same_decision_may_be_said_again(small, large, tmp_path, make):
    list_of_ids = small[0] / "test_image_ids.txt"
    rows = stream("referring_qa", data_dir=small[1], holdout=list_of_ids, known_bad="drop", cache_dir=tmp_path)
    assert len(rows) > 0
    assert len(make(holdout=None)) == len(make(on_bad_record="skip")) == len(make())


# Photos that are missing or spoilt ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def incomplete(small, tmp_path_factory):
    """A folder built under on_missing_image="null" from photos of which three are nowhere; (folder, their ids)."""
    root, raw = tmp_path_factory.mktemp("incomplete"), small[0]
    photos = root / "photos"
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(raw / "raw" / name) as archive:
            archive.extractall(photos)
    lost = sorted(photos.rglob("*.jpg"))[5:20:5]
    for path in lost:
        path.unlink()
    for name in ("complex_reasoning", "mix_665k"):
        write_config(
            name,
            root / "svit",
            data_dir=raw,
            images=photos,
            on_missing_image="null",
            holdout=None,
            cache_dir=root / "c",
        )
    return raw, photos, root / "svit", {int(path.stem) for path in lost}


@pytest.mark.parametrize("name", ["complex_reasoning", "mix_665k"])
def test_missing_photos_follow_the_policy_as_over_the_raw_files(incomplete, tmp_path, name):
    raw, photos, published, lost = incomplete
    options = {"cache_dir": tmp_path, "decode": None, "order": "record"}
    with pytest.raises(
        ImageNotFound, match=r"[0-9]+ of [0-9]+ photos are missing\. .*when the file was built"
    ) as caught:
        stream(name, data_dir=published, **options)
    assert name == "mix_665k" or str(min(lost)) in str(caught.value)
    for policy in ("skip", "null"):
        both = options | {"on_missing_image": policy}
        live = stream(name, data_dir=raw, images=photos, holdout=None, **both)
        mine = stream(name, data_dir=published, **both)
        assert list(mine) == by_image(list(live))
        assert len(mine) == len(live)
        assert mine.report().counts == {"missing_image": live.report().counts["missing_image"]}


@pytest.mark.parametrize("threads", [0, 2])
def test_photos_that_no_decoder_takes_follow_the_policy(copy, threads):
    table = pq.read_table(copy)
    rows = table.to_pylist()
    spoilt = {rows[4]["image_id"], rows[-1]["image_id"]}
    for row in rows:
        if row["image_id"] in spoilt:
            row["image"]["bytes"] = b"no photo"
    pq.write_table(pa.Table.from_pylist(rows, table.schema), copy)
    options = {"decode": "pil", "decode_threads": threads}
    with pytest.raises(BadImage, match=rf"image {rows[4]['image_id']}: .*parquet, row 4: cannot be decoded.*\"skip\""):
        list(opened(copy, **options))
    left = opened(copy, on_missing_image="skip", **options)
    assert {row["image_id"] for row in left} == {row["image_id"] for row in rows} - spoilt
    assert left.report().counts == {"bad_image": 2}
    kept = list(opened(copy, on_missing_image="null", **options))
    assert {row["image_id"] for row in kept if row["image"] is row["width"] is None} == spoilt
    assert len(kept) == len(rows)


def test_photos_that_are_only_named_are_no_photos(copy):
    """As `datasets` writes them with embed_external_files=False."""
    table = pq.read_table(copy)
    rows = [row | {"image": row["image"] | {"bytes": None}} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), copy)
    with pytest.raises(
        CorruptFile, match=r"parquet, row 0: image id, photo's bytes and rows are \(\d+, False, 1\) where"
    ):
        list(opened(copy, on_missing_image="null"))


# Files of another writer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["complex_reasoning", "all", "mix_665k"])
def test_files_that_datasets_wrote_have_the_same_rows(small, tmp_path, name):
    """They have no entry of ours: counts and ids are read from columns, once."""
    files = sorted(str(path) for path in (small[1] / name).glob("train-*"))
    stock = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=tmp_path / "hf")
    folder = tmp_path / "svit" / name
    folder.mkdir(parents=True)
    for number in range(2):
        stock.shard(2, number, contiguous=True).to_parquet(folder / f"train-{number:05}-of-00002.parquet", batch_size=9)
    for rows in ("image", "conversation"):
        options = {"rows": rows, "decode": None, "cache_dir": tmp_path / "cache", "order": "record"}
        mine = stream(name, data_dir=tmp_path / "svit", **options)
        expected = list(stream(name, data_dir=small[1], **options))
        found = list(mine)
        assert len(mine) == len(found)
        if rows == "conversation" and name != "mix_665k":  # what was left out has left no trace in the names
            assert [row | {"id": 0} for row in found] == [row | {"id": 0} for row in expected]
        else:
            assert found == expected
    ids = [row["image_id"] for row in expected if "image_id" in row][:3] or [1, 2]
    some = stream(name, data_dir=tmp_path / "svit", image_ids=ids, **options)
    assert (
        list(map(str, some)) == list(map(str, stream(name, data_dir=small[1], image_ids=ids, **options)))
        or name != "mix_665k"
    )
    if name == "complex_reasoning":
        with pytest.raises(OptionError, match=r"holdout='x' is not allowed here: the splits of"):
            stream(name, data_dir=tmp_path / "svit", holdout="x", **options)


def test_counts_of_another_writers_file_are_read_once_and_without_photos(copy, tmp_path):
    table = pq.read_table(copy).replace_schema_metadata()
    fields = [field.with_type(pa.large_string()) if field.type == pa.string() else field for field in table.schema]
    pq.write_table(
        table.cast(pa.schema(fields)).append_column("extra", pa.array(range(len(table)))), copy, row_group_size=7
    )
    with FileServer(copy.parents[1]) as server:
        server.put("manifest.json", json.dumps({"files": [{"path": f"complex_reasoning/{copy.name}"}]}).encode())
        options = {"data_dir": server.url, "cache_dir": tmp_path / "c", "decode": None, "rows": "conversation"}
        first = stream("complex_reasoning", **options)
        assert server.log.body_bytes < copy.stat().st_size / 3 + (1 << 18)
        groups = -(-len(table) // 7)
        assert len(server.log.requests) == 1 + 1 + 1 + 2 * groups
        server.log.reset()
        second = stream("complex_reasoning", **options)
        assert len(server.log.requests) == 2
        rows = list(first)
        assert rows == list(second)
        assert len(rows) == len(first) == sum(map(len, table["conversations"].to_pylist()))
