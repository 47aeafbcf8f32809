"""The writer: stock `datasets` reads the rows of `load_dataset`, the layout suits the viewer, files are whole."""

from __future__ import annotations

import json
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from svit_builder.manifest import write_manifest
from svit_builder.parquet import write_shard
from svit_builder.shards import cut_shards, write_config

from svit_datasets import load_dataset, stream
from svit_datasets.errors import BadImage, ImageNotFound, OptionError
from svit_datasets.options import Options
from svit_datasets.report import Tally
from svit_datasets.storage import Storage
from svit_datasets.tasks import TASKS, get_task
from tests.publishing import write_corpus
from tests.servers import FileServer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("parquet") / "sample", 16)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """160 photos, 19 MB: five row groups of 32."""
    return write_corpus(tmp_path_factory.mktemp("parquet") / "large", 160, swollen=True)


@pytest.fixture
def write(corpus, tmp_path):
    def call(config, **options):
        usual = {"data_dir": corpus, "cache_dir": corpus.parent / "cache"}
        return write_config(config, tmp_path / "svit", **(usual | options))

    return call


@pytest.fixture
def rows_of(corpus):
    def call(name, root=corpus, **options):
        return load_dataset("svit", name, data_dir=root, cache_dir=corpus.parent / "cache", streaming=True, **options)

    return call


def in_order(rows):
    """Rows as plain values; photos as their pixels' bytes."""
    plain = [{**row, "image": row["image"] and row["image"].tobytes()} for row in rows]
    return sorted(plain, key=lambda row: row["image_id"]) if "image_id" in plain[0] else plain


# What stock datasets reads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_stock_datasets_reads_the_rows_of_load_dataset(write, rows_of, name):
    written = write(name)
    live = rows_of(name)
    assert {path.name.partition("-")[0] for path in written} == set(live)
    for split, expected in live.items():
        files = [str(path) for path in written if path.name.startswith(f"{split}-")]
        stock = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
        assert stock.features == expected.features
        found = list(stock)
        assert in_order(found) == in_order(expected)
        assert found[0].keys() == next(iter(expected)).keys()


def test_a_folder_with_a_card_is_loaded_by_its_name(write, rows_of, tmp_path, monkeypatch):
    """As `load_dataset("svit", CONFIG)` beside the folder, map-style; the listing of it stands in the card."""
    for name in ("complex_reasoning", "core_150k"):
        write(name)
    splits = "".join(f'\n  - split: {split}\n    path: "%s/{split}-*"' for split in ("train", "test"))
    configs = [
        f"- config_name: {name}\n  data_files:{splits % (name, name)}" for name in ("complex_reasoning", "core_150k")
    ]
    (tmp_path / "svit/README.md").write_text("---\nconfigs:\n" + "\n".join(configs) + "\n---\n")
    monkeypatch.chdir(tmp_path)
    for name in ("complex_reasoning", "core_150k"):
        stock = datasets.load_dataset("svit", name, cache_dir=tmp_path / "hf")
        live = rows_of(name)
        assert set(stock) == set(live)
        for split, expected in live.items():
            assert stock[split].features == expected.features
            assert in_order(stock[split]) == in_order(expected)


# How files are laid out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_group", [32, 50])
def test_the_layout_is_what_the_viewer_and_readers_want(large, write, row_group):
    written = write("complex_reasoning", data_dir=large, holdout=None, row_group=row_group, shard_bytes=9 << 20)
    assert [path.name for path in written] == [f"train-{number:05}-of-00003.parquet" for number in range(3)]
    seen = []
    for path in written:
        footer = pq.read_metadata(path)
        assert path.stat().st_size <= 9 << 20
        assert json.loads(footer.metadata[b"huggingface"])["info"]["features"]["image"]["_type"] == "Image"
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            assert group.num_rows == row_group or number == footer.num_row_groups - 1
            assert group.sorting_columns == (pq.SortingColumn(0),)
            columns = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
            photos = columns.pop("image.bytes")
            assert (photos.compression, photos.has_dictionary_page, photos.has_offset_index) == (
                "UNCOMPRESSED",
                False,
                True,
            )
            assert set(photos.encodings) == {"PLAIN", "RLE"}  # RLE: which values are null
            assert photos.statistics is None, "the largest photo would stand in the footer"
            assert {column.compression for column in columns.values()} == {"ZSTD"}
            assert all(column.has_offset_index and column.has_column_index for column in columns.values())
            ids = columns["image_id"].statistics
            assert not seen or ids.min > seen[-1]
            seen.append(ids.max)
    assert sum(pq.read_metadata(path).num_rows for path in written) == len(ids_of(large))
    groups = [pq.read_metadata(path).num_row_groups for path in written]
    assert max(groups) - min(groups) <= 1


def test_photos_are_the_published_bytes(large, write):
    (path, *_) = write("complex_reasoning", data_dir=large)
    table = pq.read_table(path, columns=["image"])
    members = {}
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(large / "raw" / name) as archive:
            members |= {member: archive.read(member) for member in archive.namelist()}
    for image in table["image"].to_pylist():
        assert image["bytes"] == members[image["path"]]


def ids_of(root, name="complex_reasoning"):
    """The images that a configuration has, ascending, by the reader of the raw files."""
    rows = stream(name, data_dir=root, cache_dir=root.parent / "cache", holdout=None, decode=None, order="record")
    return sorted(row["image_id"] for row in rows)


def zips(root):
    """Named, or what is not in them would be looked for at Visual Genome."""
    return [root / "raw" / name for name in ("images.zip", "images2.zip")]


def photo_chunks(path):
    """Yield the bytes of the photos' column, a row group at a time."""
    footer = pq.read_metadata(path)
    with path.open("rb") as file:
        for number in range(footer.num_row_groups):
            column = footer.row_group(number).column(1)
            assert column.path_in_schema == "image.bytes"
            file.seek(column.data_page_offset)
            yield file.read(column.total_compressed_size)


def test_photos_are_the_same_bytes_in_two_versions(large, write):
    """Where a row is gone, all photos after it lie in other row groups, byte for byte, with their page's header."""
    ids = ids_of(large)
    whole = b"".join(photo_chunks(write("complex_reasoning", data_dir=large, holdout=None, row_group=100)[0]))
    (other,) = write("complex_reasoning", data_dir=large, holdout=None, row_group=100, image_ids=ids[1:])
    for chunk in photo_chunks(other):
        assert chunk in whole


def test_the_same_rows_give_the_same_bytes(write, tmp_path):
    first = {path.name: path.read_bytes() for path in write("all")}
    assert {path.name: path.read_bytes() for path in write("all")} == first
    assert sorted(path.name for path in (tmp_path / "svit/all").iterdir()) == sorted(first)


def test_photos_are_read_once(large, write):
    with FileServer(large) as server:
        write("complex_reasoning", data_dir=server.url, holdout=None, cache_dir=server.root.parent / "http-cache")
        files = [*zips(large), large / "data/complex_reasoning.zip"]
        assert server.log.body_bytes < 1.05 * sum(path.stat().st_size for path in files)


class Narrow(Storage):
    """Fetches hardly anything ahead, so that what is held is what the writer holds."""

    def read_ranges(self, ranges, **_):
        return super().read_ranges(ranges, in_flight_bytes=1)


def test_a_row_group_at_a_time_is_in_memory(large, tmp_path):
    options = Options(get_task("complex_reasoning"), data_dir=str(large), holdout=None)
    storage = Narrow()
    (shard,) = cut_shards(options, storage, large.parent / "cache" / "svit-sources").shards
    tally = Tally(tmp_path / "left-out.jsonl")
    write_shard(shard, tmp_path, storage, tally)  # imports and caches
    tracemalloc.start()
    path = tmp_path / write_shard(shard, tmp_path, storage, tally).path
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    group = path.stat().st_size / pq.read_metadata(path).num_row_groups
    assert peak < 3 * group < path.stat().st_size
    assert pa.total_allocated_bytes() < group


# What is missing, and what fails -------------------------------------------------------------------------------------


@pytest.fixture
def spoilt(corpus, tmp_path):
    """The corpus with one photo cut in half, and one that is not there."""
    root = shutil.copytree(corpus, tmp_path / "spoilt")
    path = root / "raw/images.zip"
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    cut, gone = sorted(members, key=lambda name: int(Path(name).stem))[-2:]
    members[cut] = members[cut][: len(members[cut]) // 2]
    del members[gone]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return root, {int(Path(name).stem) for name in (cut, gone)}


@pytest.mark.parametrize("policy", ["skip", "null"])
def test_policies_are_those_of_load_dataset(write, rows_of, spoilt, policy):
    root, lost = spoilt
    options = {"images": zips(root), "on_missing_image": policy, "holdout": None}
    (path,) = write("complex_reasoning", data_dir=root, **options)
    stock = list(datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True))
    assert in_order(stock) == in_order(rows_of("complex_reasoning", root, split="train", **options))
    assert {row["image_id"] for row in stock if row["image"] is None} == (lost if policy == "null" else set())


def test_a_failure_leaves_nothing_and_what_was_there_stays(write, spoilt, tmp_path):
    """Neither of a photo that breaks in the middle of a file, nor of one that is missed before."""
    root, lost = spoilt
    options = {"images": zips(root), "holdout": None}
    before = {path: path.read_bytes() for path in write("complex_reasoning", holdout=None)}
    cut, gone = sorted(lost)
    for some, error in (((cut,), BadImage), ((cut, gone), ImageNotFound)):
        with pytest.raises(error, match=str(some[-1])):
            write(
                "complex_reasoning",
                data_dir=root,
                **options,
                image_ids=lambda number, some=some: number in some or number not in lost,
            )
        assert {path: path.read_bytes() for path in (tmp_path / "svit/complex_reasoning").iterdir()} == before


def test_files_of_an_earlier_build_go_and_others_stay(large, write, tmp_path):
    folder = tmp_path / "svit/complex_reasoning"
    assert len(write("complex_reasoning", data_dir=large, shard_bytes=4 << 20)) > 4
    for name in ("notes.parquet", "train-00000-of-00009.txt"):
        (folder / name).write_bytes(b"")
    (written,) = write("complex_reasoning", data_dir=large, holdout=None)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [written.name, "notes.parquet", "train-00000-of-00009.txt"]
    )


@pytest.mark.parametrize("size", [1, 4 << 20, 6_000_000, 7_654_321, 100 << 20])
def test_no_file_is_larger_than_asked_for_but_for_one_row_group(large, write, size):
    written = write("all", data_dir=large, holdout=None, shard_bytes=size)
    footers = [pq.read_metadata(path) for path in written]
    assert sum(footer.num_rows for footer in footers) == len(ids_of(large, "all"))
    for path, footer in zip(written, footers, strict=True):
        assert path.stat().st_size <= size or footer.num_row_groups == 1
    assert len(written) == (1 if size > 90 << 20 else len(written))
    assert len(written) <= 5


def test_sizes_of_loose_photos_are_looked_up_or_guessed(large, write, tmp_path):
    """From a local folder they are known; from a server, files come out smaller than they might be."""
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(large / "raw" / name) as archive:
            archive.extractall(tmp_path / "photos")
    options = {"data_dir": large, "holdout": None, "shard_bytes": 9 << 20}
    local = write("complex_reasoning", images=tmp_path / "photos", **options)
    assert len(local) == 3
    assert max(path.stat().st_size for path in local) <= 9 << 20
    kept = [row for path in local for row in pq.read_table(path).to_pylist()]
    with FileServer(tmp_path / "photos") as server:
        remote = write("complex_reasoning", images=server.url + "/{folder}/{image_id}.jpg", **options)
    assert len(remote) == 5
    assert [row for path in remote for row in pq.read_table(path).to_pylist()] == kept


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"row_group": 31}, "row_group=31 is not allowed: give 32 to 100."),
        ({"row_group": 101}, "row_group=101"),
        ({"shard_bytes": 0}, "shard_bytes=0 is not allowed"),
        ({"known_bad": "maybe"}, "'drop', 'keep'"),
    ],
)
def test_a_wrong_option_names_the_right_ones(write, tmp_path, options, words):
    with pytest.raises(OptionError) as caught:
        write("complex_reasoning", **options)
    assert words in str(caught.value)
    assert not (tmp_path / "svit").exists()


def test_the_manifest_lists_what_is_there(write, tmp_path):
    written = write("complex_reasoning") + write("mix_665k")
    manifest = json.loads(write_manifest(tmp_path / "svit").read_text())
    listed = {file["path"]: file for file in manifest["files"]}
    assert set(listed) == {path.relative_to(tmp_path / "svit").as_posix() for path in written}
    for path in written:
        file = listed[path.relative_to(tmp_path / "svit").as_posix()]
        assert file["bytes"] == path.stat().st_size
        assert file["rows"] == len(pq.read_table(path, columns=["width"]))
