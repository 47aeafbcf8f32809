"""The doctor: what `svit build` makes passes, and of each bad folder exactly the one rule fails that it breaks."""

from __future__ import annotations

import copy
import json
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from datasets import Features
from huggingface_hub import DatasetCard, DatasetCardData
from hypothesis import given, settings
from hypothesis import strategies as st
from svit_builder.build import build
from svit_builder.doctor import RULES, examine, passes
from svit_builder.doctor.folder import open_folder
from svit_builder.doctor.pages import Chunk, read_chunks, window_bytes
from svit_builder.doctor.thrift import read_struct

from svit_datasets.cli import main
from svit_datasets.errors import SourceNotFound
from svit_datasets.sample import write_sample
from svit_datasets.storage import Storage
from tests.servers import FileServer, Hub
from tests.strategies import ANY_JSON

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"
CONFIGS = ("complex_reasoning", "core_150k")
PHOTO = 5 << 20  # bytes; large enough to run into limits


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("doctor") / "corpus"
    write_sample(root, images=24)
    return root


@pytest.fixture(scope="module")
def good(corpus):
    """Two configurations as `svit build` makes them; nothing changes it."""
    root = corpus.parent / "svit"
    build(root, data_dir=corpus, configs=CONFIGS, cache_dir=corpus.parent / "cache", num_workers=0)
    return root


def not_ok(results):
    return {result.rule for result in results if result.status in ("error", "warning")}


@pytest.mark.parametrize(
    "options",
    [{}, {"configs": ["all"], "holdout": None}, {"configs": ["mix_665k", "referring_qa"], "row_group": 100}],
)
def test_what_is_built_passes(corpus, tmp_path, options):
    root = tmp_path / "svit"
    build(root, data_dir=corpus, cache_dir=corpus.parent / "cache", num_workers=0, **options)
    results = examine(root, verify=True)
    assert passes(results)
    assert not_ok(results) == set()
    optional = {"url_columns", "statistics"}  # where no column is a text
    assert {result.rule for result in results} | optional == set(RULES)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos are not here")
def test_what_is_built_of_real_photos_passes(tmp_path):
    ids = sorted(int(path.stem) for path in (REAL / "images").glob("VG_100K*/*.jpg"))
    turns = [{"from": "user", "value": "Which photo is it?"}, {"from": "gpt", "value": "One of Visual Genome's."}]
    items = [{"image_id": image_id, "conversations": [{"content": turns}]} for image_id in ids]
    data_dir = tmp_path / "mine"
    (data_dir / "data").mkdir(parents=True)
    (data_dir / "data/complex_reasoning.json").write_text(json.dumps(items))
    shutil.copy(REAL / "svit/test_image_ids.txt", data_dir)
    options = {"configs": ["complex_reasoning"], "images": REAL / "images", "cache_dir": tmp_path / "cache"}
    build(tmp_path / "svit", data_dir=data_dir, num_workers=0, **options)
    results = examine(tmp_path / "svit", verify=True)
    assert not_ok(results) == set()
    assert f"This copy has {len(ids)} of the 108,077 images" in (tmp_path / "svit/README.md").read_text("utf-8")


# One bad folder a rule -----------------------------------------------------------------------------------------------


class Folder:
    """A good folder that is spoilt; `describe` then makes card and manifest true again, so that nothing else is bad."""

    def __init__(self, root):
        self.root = root
        self.train = root / "complex_reasoning/train-00000-of-00001.parquet"
        self.records = root / "core_150k/train-00000-of-00001.parquet"

    def rewrite(self, path, change=lambda table: table, *, size=32, **layout):
        """Write a file again, laid out as well as the builder's but for what is said."""
        table = change(pq.read_table(path))
        usual = {
            "compression": {leaf: "none" if leaf == "image.bytes" else "zstd" for leaf in leaves(table.schema)},
            "use_dictionary": False,
            "write_page_index": True,
        }
        pq.write_table(table, path, row_group_size=size, **(usual | layout))

    def describe(self):
        """Write a card and a manifest that are true of the files, independently of `write_card`."""
        configs, infos = [], []
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir()):
            files = sorted(folder.glob("*.parquet"))
            splits = dict.fromkeys(re.match(r"(.+)-\d{5}-of-", path.name)[1] for path in files)
            patterns = {split: f"{folder.name}/{split}-*.parquet" for split in splits}
            schemas = [pq.read_schema(path) for path in files]
            written = next(schema for schema in schemas if b"huggingface" in schema.metadata)
            counted = []
            for split in splits:
                footers = [pq.read_metadata(path) for path in files if path.name.startswith(f"{split}-")]
                groups = [footer.row_group(at) for footer in footers for at in range(footer.num_row_groups)]
                size = sum(group.total_byte_size for group in groups)
                rows = sum(footer.num_rows for footer in footers)
                counted.append({"name": split, "num_bytes": size, "num_examples": rows})
            paths = [{"split": split, "path": path} for split, path in patterns.items()]
            configs.append({"config_name": folder.name, "data_files": paths})
            infos.append(
                {
                    "config_name": folder.name,
                    "features": Features.from_arrow_schema(written)._to_yaml_list(),
                    "splits": counted,
                    "download_size": sum(path.stat().st_size for path in files),
                    "dataset_size": sum(one["num_bytes"] for one in counted),
                }
            )
        configs[0]["default"] = True
        self.save(DatasetCardData(language=["en"], configs=configs, dataset_info=infos).to_dict())
        paths = sorted(self.root.rglob("*.parquet"))
        listed = [
            {
                "path": path.relative_to(self.root).as_posix(),
                "bytes": path.stat().st_size,
                "rows": pq.read_metadata(path).num_rows,
            }
            for path in paths
        ]
        (self.root / "manifest.json").write_text(json.dumps({"version": 1, "files": listed}))

    def card(self):
        return DatasetCard.load(self.root / "README.md").data.to_dict()

    def save(self, metadata):
        (self.root / "README.md").write_text(f"---\n{DatasetCardData(**metadata).to_yaml()}\n---\n\n# A card\n")

    def change_card(self, change):
        metadata = self.card()
        change(metadata)
        self.save(metadata)

    def change_manifest(self, change):
        path = self.root / "manifest.json"
        manifest = json.loads(path.read_bytes())
        change(manifest)
        path.write_text(json.dumps(manifest))


def leaves(schema):
    def below(path, kind):
        if pa.types.is_struct(kind):
            return [leaf for field in kind for leaf in below(f"{path}.{field.name}", field.type)]
        return below(f"{path}.list.element", kind.value_type) if pa.types.is_list(kind) else [path]

    return [leaf for field in schema for leaf in below(field.name, field.type)]


def replaced(table, name, column, features=None):
    """A table with another column in the place of one, or behind the last; the features in its metadata follow."""
    found = Features.from_arrow_schema(table.schema)
    found |= features or {}
    at = table.schema.get_field_index(name)
    field = pa.field(name, column.type)
    table = table.append_column(field, column) if at < 0 else table.set_column(at, field, column)
    return table.replace_schema_metadata(Features(found).arrow_schema.metadata)


def photos(table, data, path):
    """A table whose photos have these bytes and this path."""
    cells = pa.array([{"bytes": data, "path": path}] * len(table), table.schema.field("image").type)
    return replaced(table, "image", cells)


def no_yaml(folder):
    (folder.root / "README.md").write_text("---\nconfigs: [}\n---\n")


def no_card(folder):
    (folder.root / "README.md").unlink()


def no_configs(folder):
    folder.change_card(lambda card: card.pop("configs"))


def pattern_without_file(folder):
    def change(card):
        files = [{"split": "train", "path": "referring_qa/train-*.parquet"}]
        card["configs"].append({"config_name": "referring_qa", "data_files": files})
        card["dataset_info"].append(card["dataset_info"][0] | {"config_name": "referring_qa"})

    folder.change_card(change)


def no_default(folder):
    folder.change_card(lambda card: card["configs"][0].pop("default"))


def two_defaults(folder):
    folder.change_card(lambda card: [config.update(default=True) for config in card["configs"]])


def called(name):
    def spoil(folder):
        def change(card):
            card["configs"][0]["config_name"] = card["dataset_info"][0]["config_name"] = name

        folder.change_card(change)

    return spoil


def listed_twice(folder):
    folder.change_card(lambda card: card["configs"].append(card["configs"][1]))


def dash_in_split(folder):
    folder.train.rename(folder.train.with_name("held-in-00000-of-00001.parquet"))
    folder.describe()


def too_many_splits(folder):
    for number in range(29):
        shutil.copy(folder.train, folder.train.with_name(f"part{number}-00000-of-00001.parquet"))
    folder.describe()


def other_format(folder):
    (folder.root / "notes").mkdir()
    (folder.root / "notes/train.jsonl").write_text('{"note": "one"}\n')

    def change(card):
        card["configs"].append({"config_name": "notes", "data_files": "notes/train.jsonl"})
        card["dataset_info"].append(
            {
                "config_name": "notes",
                "features": [{"name": "note", "dtype": "string"}],
                "splits": [{"name": "train", "num_bytes": 20, "num_examples": 1}],
                "download_size": 20,
                "dataset_size": 20,
            }
        )

    folder.change_card(change)


def dataset_script(folder):
    (folder.root / "svit.py").write_text("import datasets\n")


def hidden_yaml(folder):
    (folder.root / ".huggingface.yaml").write_text("license: mit\n")


def undescribed(folder):
    folder.change_card(lambda card: card["dataset_info"].pop())


def other_rows(folder):
    folder.change_card(lambda card: card["dataset_info"][0]["splits"][0].update(num_examples=7))


def split_gone(folder):
    folder.change_card(lambda card: card["configs"][0]["data_files"].pop())
    folder.change_manifest(lambda manifest: manifest.update(files=manifest["files"][1:]))
    (folder.root / "complex_reasoning/test-00000-of-00001.parquet").unlink()

    def change(card):
        card["dataset_info"][0]["download_size"] = folder.train.stat().st_size

    folder.change_card(change)


def other_download_size(folder):
    folder.change_card(lambda card: card["dataset_info"][1].update(download_size=1234))


def other_column_bytes(folder):
    def change(card):
        info = card["dataset_info"][1]
        info["splits"][0]["num_bytes"] *= 2
        info["dataset_size"] = sum(split["num_bytes"] for split in info["splits"])

    folder.change_card(change)


def other_features(folder):
    folder.change_card(lambda card: card["dataset_info"][0]["features"][2].update(dtype="int64"))


def features_in_another_order(folder):
    folder.change_card(lambda card: card["dataset_info"][0]["features"].reverse())


def cut_off(folder):
    folder.train.write_bytes(folder.train.read_bytes()[:-100])


def no_parquet(folder):
    folder.train.write_bytes(b"")


def too_large_a_file(folder):
    """A file with a hole of 50 GB before its footer; it takes a few kB on the disk."""
    data = folder.train.read_bytes()
    with folder.train.open("r+b") as file:
        file.seek(50_000_000_000)
        file.write(data[-int.from_bytes(data[-8:-4], "little") - 8 :])
    folder.describe()


def shard_gone(folder):
    folder.train.rename(folder.train.with_name("train-00001-of-00002.parquet"))
    folder.describe()


def shards_of_two_builds(folder):
    shutil.copy(folder.train, folder.train.with_name("train-00000-of-00002.parquet"))
    shutil.copy(folder.train, folder.train.with_name("train-00001-of-00002.parquet"))
    folder.describe()


def no_manifest(folder):
    (folder.root / "manifest.json").unlink()


def manifest_is_none(folder):
    (folder.root / "manifest.json").write_text("[]")


def manifest_with_other_bytes(folder):
    folder.change_manifest(lambda manifest: manifest["files"][0].update(bytes=12))


def manifest_names_more(folder):
    more = {"path": "all/train-00000-of-00001.parquet", "bytes": 1, "rows": 1}
    folder.change_manifest(lambda manifest: manifest["files"].append(more))


def manifest_names_less(folder):
    folder.change_manifest(lambda manifest: manifest["files"].pop())


def one_byte_changed(folder):
    data = bytearray(folder.train.read_bytes())
    data[1000] ^= 1
    folder.train.write_bytes(data)


def no_features_in_footer(folder):
    folder.rewrite(folder.train, lambda table: table.replace_schema_metadata())
    folder.describe()


def wider_width(folder):
    def change(table):
        return replaced(table, "width", table["width"].cast("int64"), Features.from_dict({"width": INT64}))

    folder.rewrite(folder.train, change)
    folder.describe()


INT64 = {"dtype": "int64", "_type": "Value"}


def more_columns(names):
    def spoil(folder):
        def change(table):
            schema = pa.schema([*table.schema, *(pa.field(name, pa.int64()) for name in names)])
            features = Features.from_arrow_schema(table.schema) | Features.from_dict(dict.fromkeys(names, INT64))
            columns = [*table.columns, *[pa.array(range(len(table)))] * len(names)]
            return pa.table(columns, schema.with_metadata(Features(features).arrow_schema.metadata))

        for path in folder.records.parent.iterdir():
            folder.rewrite(path, change)
        folder.describe()

    return spoil


def no_page_index(folder):
    folder.rewrite(folder.records, write_page_index=False)
    folder.describe()


def large_photos(rows, size):
    def spoil(folder):
        table = pq.read_table(folder.train)
        table = pa.concat_tables([table] * (rows // len(table) + 1)).slice(0, rows)
        folder.rewrite(folder.train, lambda _: photos(table, bytes(PHOTO), "VG_100K/1.jpg"), size=size)
        folder.describe()

    return spoil


def compressed_photos(folder):
    folder.rewrite(folder.train, compression="zstd")
    folder.describe()


def photos_in_dictionary(folder):
    folder.rewrite(folder.train, use_dictionary=["image.bytes"])
    folder.describe()


def long_texts(folder):
    def change(table):
        rows = table["messages"].to_pylist()
        for row in rows:
            row[0]["content"] = "What? " * 5000
        return replaced(table, "messages", pa.array(rows, table.schema.field("messages").type))

    folder.rewrite(folder.records, change)
    folder.describe()


def photos_at(path):
    def spoil(folder):
        folder.rewrite(folder.train, lambda table: photos(table, None, path))
        folder.describe()

    return spoil


def one_photo_of_many_at_an_address(folder):
    def change(table):
        cells = table["image"].to_pylist()
        cells[-1] = {"bytes": None, "path": "https://example.org/1.jpg"}
        return replaced(table, "image", pa.array(cells, table.schema.field("image").type))

    folder.rewrite(folder.train, change)
    folder.describe()


BAD = [
    ("card", no_yaml),
    ("card", no_card),
    ("configs", no_configs),
    ("configs", pattern_without_file),
    ("one_default", no_default),
    ("one_default", two_defaults),
    ("config_names", called("data")),
    ("config_names", called("a/b")),
    ("config_names", listed_twice),
    ("split_names", dash_in_split),
    ("split_count", too_many_splits),
    ("one_format", other_format),
    ("script", dataset_script),
    ("override", hidden_yaml),
    ("dataset_info", undescribed),
    ("info_rows", other_rows),
    ("info_rows", split_gone),
    ("info_bytes", other_download_size),
    ("info_bytes", other_column_bytes),
    ("features", other_features),
    ("features", features_in_another_order),
    ("parquet", cut_off),
    ("parquet", no_parquet),
    ("file_bytes", too_large_a_file),
    ("shards", shard_gone),
    ("shards", shards_of_two_builds),
    ("manifest", no_manifest),
    ("manifest", manifest_is_none),
    ("manifest", manifest_with_other_bytes),
    ("manifest", manifest_names_more),
    ("manifest", manifest_names_less),
    ("checksums", one_byte_changed),
    ("huggingface_metadata", no_features_in_footer),
    ("one_schema", wider_width),
    ("columns", more_columns([f"c{number}" for number in range(995)])),
    ("column_names", more_columns(["c" * 501])),
    ("offset_index", no_page_index),
    ("page_window", large_photos(70, 10)),
    ("row_group_bytes", large_photos(21, 32)),
    ("image_encoding", compressed_photos),
    ("image_encoding", photos_in_dictionary),
    ("first_rows", long_texts),
    ("image_cells", photos_at("https://example.org/1.jpg")),
    ("image_cells", photos_at("/home/me/1.jpg")),
    ("image_cells", photos_at(None)),
    ("image_cells", one_photo_of_many_at_an_address),
]


@pytest.fixture
def folder(good, tmp_path):
    root = tmp_path / "svit"
    shutil.copytree(good, root)
    yield Folder(root)
    shutil.rmtree(tmp_path)  # some are large


@pytest.mark.parametrize(("rule", "spoil"), BAD, ids=lambda value: getattr(value, "__name__", value))
def test_a_bad_folder_fails_for_its_own_reason_alone(folder, rule, spoil):
    spoil(folder)
    results = examine(folder.root, verify=rule == "checksums")
    assert not_ok(results) == {rule}
    broken = [result for result in results if result.rule == rule]
    assert all(result.status == RULES[rule].level and result.where and result.advice for result in broken)
    assert passes(results) == (RULES[rule].level == "warning")


def test_every_rule_has_a_bad_folder():
    assert {rule for rule, _ in BAD} == {rule.id for rule in RULES.values() if rule.level != "info"}


def test_a_folder_described_again_is_good(folder):
    """The tests above change one thing: what `rewrite` and `describe` make is good as it is."""
    for path in sorted(folder.root.rglob("*.parquet")):
        folder.rewrite(path)
    folder.describe()
    assert not_ok(examine(folder.root)) == set()


def test_photos_on_the_hub_need_not_be_inside(folder):
    photos_at("hf://datasets/org/svit@main/images/1.jpg")(folder)
    assert not_ok(examine(folder.root)) == set()


def test_files_of_a_writer_that_tells_no_levels_are_read(folder):
    """Then nobody knows from the footer which photos are null."""
    one_photo_of_many_at_an_address(folder)
    opened = open_folder(str(folder.root), Storage())
    files = {
        path: replace(file, chunks=tuple(replace(chunk, levels=()) for chunk in file.chunks))
        for path, file in opened.files.items()
    }
    findings = RULES["image_cells"].check(replace(opened, files=files))
    broken = [(finding.figure, finding.where) for finding in findings if finding.bad]
    assert broken == [("1 photo at web addresses", "complex_reasoning/train-00000-of-00001.parquet, column image")]


JUNK = [None, True, -1, 2.5, "x", "**", "[", "../x", [], {}, [None], [1], ["a"], [{}], {"a": 1}]
JUNK += [{"split": "train"}, [{"split": "train"}], [{"split": "train", "path": 3}], [{"name": 3}]]


def places(value, path=()):
    """Every place of nested values below the outermost."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


@pytest.fixture(scope="module")
def card_to_spoil(good, tmp_path_factory):
    root = tmp_path_factory.mktemp("junk") / "svit"
    shutil.copytree(good, root)
    folder = Folder(root)
    folder.describe()
    return root / "README.md", DatasetCard.load(root / "README.md").data.to_dict()


@settings(max_examples=60)
@given(data=st.data())
def test_a_card_of_any_shape_is_examined(card_to_spoil, data):
    """What a card says may be anything: it is found fault with, or has no bearing; it ends nothing."""
    path, metadata = card_to_spoil
    metadata = copy.deepcopy(metadata)
    *outer, last = data.draw(st.sampled_from(list(places(metadata))))
    value = metadata
    for key in outer:
        value = value[key]
    value[last] = data.draw(st.sampled_from(JUNK) | ANY_JSON)
    path.write_text(f"---\n{yaml.safe_dump(metadata)}\n---\n")
    assert {result.rule for result in examine(path.parent)} >= {"card", "parquet", "offset_index"}


@pytest.mark.parametrize(
    ("rule", "change", "says"),
    [
        ("language", lambda card: card.update(language=["en", "de"]), "en, de: searched by exact words"),
        ("language", lambda card: card.update(language="en"), "en: searched by its word forms"),
    ],
)
def test_what_is_good_to_know_is_told(folder, rule, change, says):
    folder.change_card(change)
    assert [result.figure for result in examine(folder.root) if result.rule == rule] == [says]


def test_columns_are_told_as_the_viewer_will_show_them(folder):
    def change(table):
        urls = pa.array([f"https://example.org/{number % 4}.jpg" for number in range(len(table))])
        return replaced(table, "image_path", urls)

    folder.records.with_name("test-00000-of-00001.parquet").unlink()
    folder.rewrite(folder.records, change)
    folder.describe()
    told = {result.rule: result.figure for result in examine(folder.root) if result.where.startswith("config core")}
    rows = pq.read_metadata(folder.records).num_rows
    assert told["url_columns"] == "id as text, image_path as addresses"
    assert told["statistics"] == f"id string_text ({rows} different), image_path string_label (4 different)"
    assert told["search"] == "id, image_path, messages"
    assert told["first_page"] == f"{min(rows, 100)} of {min(rows, 100)} rows"


def test_a_rule_broken_in_many_places_is_told_shortly(folder):
    more_columns([f"c{number}" for number in range(30)])(folder)
    no_page_index(folder)
    broken = [result for result in examine(folder.root) if result.rule == "offset_index"]
    assert len(broken) == 10
    assert broken[-1].where.endswith("; and in 28 more")


# Pages ---------------------------------------------------------------------------------------------------------------


def test_pages_are_those_that_pyarrow_wrote(tmp_path):
    """Row by row of many small pages, and of one whole chunk; dictionaries are told apart."""
    table = pa.table({"a": [b"x" * 1000] * 300, "b": [str(number % 3) for number in range(300)]})
    options = {"use_dictionary": ["b"], "compression": "none", "data_page_size": 5000, "write_batch_size": 1}
    pq.write_table(table, tmp_path / "file", row_group_size=200, write_page_index=True, **options)
    data = (tmp_path / "file").read_bytes()
    footer = data[-int.from_bytes(data[-8:-4], "little") - 8 : -8]
    chunks = read_chunks(footer, lambda start, stop: data[start:stop])
    assert [(chunk.column, chunk.group, chunk.first, chunk.rows) for chunk in chunks] == [
        ("a", 0, 0, 200),
        ("b", 0, 0, 200),
        ("a", 1, 200, 100),
        ("b", 1, 200, 100),
    ]
    for chunk in chunks:
        told = pq.read_metadata(tmp_path / "file").row_group(chunk.group).column(chunk.column == "b")
        assert chunk.size == told.total_compressed_size == chunk.dictionary + chunk.sizes.sum()
        assert (chunk.dictionary > 0) == told.has_dictionary_page
        assert chunk.firsts[0] == chunk.first
        assert all(one < other for one, other in pairwise(chunk.firsts.tolist()))
    assert len(chunks[0].sizes) > 20
    assert abs(window_bytes([(300, chunks)], 10)[0] - 10 * 1004) < 12_000


@st.composite
def files(draw):
    """Files of a few row groups, each column cut into pages at random."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        chunks, first = [], 0
        for group in range(draw(st.integers(1, 3))):
            rows = draw(st.integers(1, 12))
            for column in "ab":
                cuts = sorted(draw(st.sets(st.integers(1, rows - 1), max_size=4)) if rows > 1 else set())
                firsts = [first, *(first + cut for cut in cuts)]
                sizes = draw(st.lists(st.integers(1, 50), min_size=len(firsts), max_size=len(firsts)))
                dictionary = draw(st.sampled_from([0, 7]))
                arrays = (pa.array(sizes, pa.int64()).to_numpy(), pa.array(firsts, pa.int64()).to_numpy())
                chunks.append(Chunk(column, group, first, rows, sum(sizes) + dictionary, dictionary, *arrays, ()))
            first += rows
        found.append((first, chunks))
    return found


@given(files=files(), rows=st.integers(1, 20))
def test_the_worst_window_is_found(files, rows):
    def needed(start):
        total, before = 0, 0
        for count, chunks in files:
            for chunk in chunks:
                begins = [first + before for first in chunk.firsts.tolist()]
                ends = [*begins[1:], chunk.first + chunk.rows + before]
                touched = [low < start + rows and high > start for low, high in zip(begins, ends, strict=True)]
                total += sum(size for size, hit in zip(chunk.sizes.tolist(), touched, strict=True) if hit)
                total += chunk.dictionary * any(touched)
            before += count
        return total

    most, start = window_bytes(files, rows)
    everywhere = [needed(row) for row in range(sum(count for count, _ in files))]
    assert (most, everywhere[start]) == (max(everywhere), max(everywhere))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_struct_are_an_error_and_nothing_worse(data):
    try:
        found, end = read_struct(data)
    except ValueError:
        return
    assert isinstance(found, dict)
    assert 0 < end <= len(data)


# Elsewhere -----------------------------------------------------------------------------------------------------------


def comparable(results):
    return [(result.rule, result.status, result.figure) for result in results]


def test_a_dataset_on_a_web_server_is_examined_by_ranges(good):
    with FileServer(good.parent) as server:
        results = examine(f"{server.url}/svit")
        assert comparable(results) == comparable(examine(good))


def test_a_dataset_on_the_hub_is_examined(good):
    files = {path.relative_to(good).as_posix(): path.read_bytes() for path in good.rglob("*") if path.is_file()}
    with Hub() as hub:
        hub.add_dataset("org/svit", files)
        results = examine("org/svit", storage_options={"hf": {"endpoint": hub.url}})
    assert comparable(results) == comparable(examine(good))


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(SourceNotFound, match="no file is there"):
        examine(tmp_path)


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_prints_every_rule_and_what_to_do_next(good):
    done = CliRunner().invoke(main, ["doctor", str(good)])
    assert done.exit_code == 0, done.output
    for rule in RULES.values():
        assert rule.id in done.stdout or rule.id == "checksums"
    assert done.stdout.splitlines()[-1].endswith("rules hold; 0 errors, 0 warnings")
    assert "svit publish" in done.stderr


def test_the_commands_exit_code_tells_of_errors_not_of_warnings(folder):
    hidden_yaml(folder)
    done = CliRunner().invoke(main, ["doctor", str(folder.root)])
    assert done.exit_code == 0
    assert "WARNING override" in done.stdout
    no_default(folder)
    done = CliRunner().invoke(main, ["doctor", str(folder.root)])
    assert done.exit_code == 1
    assert done.stdout.startswith("ERROR one_default\n")
    assert "Write `default: true`" in done.stdout
    assert "svit publish" not in done.stderr


def test_the_command_prints_json_for_scripts(folder):
    no_page_index(folder)
    done = CliRunner().invoke(main, ["doctor", str(folder.root), "--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["passed"] is False
    broken = [result for result in found["results"] if result["status"] == "error"]
    assert {result["rule"] for result in broken} == {"offset_index"}
    assert all(set(result) == {"rule", "status", "figure", "limit", "unit", "where", "advice"} for result in broken)
    (window,) = [result for result in found["results"] if result["rule"] == "page_window"]
    assert (window["status"], window["limit"], window["unit"]) == ("ok", 300_000_000, "bytes")
    assert isinstance(window["figure"], int)


# The documentation ---------------------------------------------------------------------------------------------------


def test_the_documentation_lists_every_rule():
    page = (Path(__file__).parents[1] / "docs/doctor.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \| (.*) \| (.+) \|$", page, re.MULTILINE)
    expected = [
        (rule.id, rule.level, rule.says, f"{rule.limit:,} {rule.unit}" if rule.limit else "", rule.why)
        for rule in RULES.values()
    ]
    assert [tuple(cell.replace(r"\|", "|") for cell in row) for row in rows] == expected
