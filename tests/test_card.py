"""The card: its numbers are those of the files, stock `datasets` loads by it, Croissant's reader reads by it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datasets import Features
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard
from svit_builder.build import build
from svit_builder.card import write_card
from svit_builder.card.metadata import size_category
from svit_builder.data import open_data
from svit_builder.manifest import write_manifest
from svit_builder.shards import write_config
from svit_builder.stats import measure

from svit_datasets.errors import BuildError, SourceNotFound
from svit_datasets.sample import write_sample
from svit_datasets.tasks import TASKS
from tests.publishing import write_corpus

REPOSITORY = Path(__file__).parents[1]
COMMITTED = REPOSITORY / "builder/svit/README.md"
CONFIGS = [name for name in TASKS if name != "all"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sample corpus as `svit sample` writes it, built as the committed card says; nothing changes it."""
    root = tmp_path_factory.mktemp("card")
    write_sample(root / "svit-sample")
    build(root / "svit", data_dir=root / "svit-sample", cache_dir=root / "cache", num_workers=0, statistics=True)
    return root / "svit"


@pytest.fixture(scope="module")
def card(built):
    return DatasetCard.load(built / "README.md")


@pytest.fixture
def copy(built, tmp_path):
    """A copy that may be spoilt."""
    shutil.copytree(built, tmp_path / "svit")
    return tmp_path / "svit"


def splits_of(root):
    """Every split with what its rows hold, read from the rows themselves."""
    for config in CONFIGS:
        for split in ("train", "test"):
            paths = sorted((root / config).glob(f"{split}-*.parquet"))
            table = pq.ParquetDataset(paths).read()
            if TASKS[config].form == "svit":
                blocks = pc.list_flatten(table["conversations"])
                messages = pc.list_flatten(pc.struct_field(blocks, "messages"))
                images = len(pc.unique(table["image_id"]))
            else:
                blocks, messages, images = table, pc.list_flatten(table["messages"]), None
            yield {
                "config": config,
                "split": split,
                "rows": len(table),
                "conversations": len(blocks),
                "answers": pc.sum(pc.equal(pc.struct_field(messages, "role"), "assistant")).as_py(),
                "images": images,
                "without": pc.sum(pc.is_null(table["width"])).as_py() or 0,
                "bytes": sum(path.stat().st_size for path in paths),
                "arrow": table.nbytes,
                "features": Features.from_arrow_schema(table.schema),
            }


def rows_below(text, heading):
    """The cells of the first table below some words, without code marks."""
    table = re.search(r"(?:^\|.*\n)+", text[text.index(heading) :], re.MULTILINE)[0]
    return [[cell.strip(" `") for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]


def test_numbers_are_those_of_the_files(built, card):
    told = {(row[0], row[1]): row[2:] for row in rows_below(card.text, "By split:")}
    infos = DatasetInfosDict.from_dataset_card_data(card.data)
    totals = {}
    for split in splits_of(built):
        rows, conversations, answers, images, without, _ = told.pop((split["config"], split["split"]))
        counts = [int(cell.replace(",", "")) for cell in (rows, conversations, answers, without)]
        assert counts == [split["rows"], split["conversations"], split["answers"], split["without"]]
        if split["images"] is not None:
            assert int(images) == split["images"]
        info = infos[split["config"]].splits[split["split"]]
        assert info.num_examples == split["rows"]
        assert info.num_bytes == pytest.approx(split["arrow"], rel=0.05)
        assert infos[split["config"]].features == split["features"]
        total = totals.setdefault(split["config"], [0, 0, 0, 0, 0])
        for at, count in enumerate([split["rows"], split["conversations"], split["answers"], split["bytes"]]):
            total[at] += count
        total[4] += info.num_bytes
    assert not told
    for row in rows_below(card.text, "## Configurations"):
        config = row[0].removesuffix("` (default)")
        rows, conversations, answers, size, columns = totals.pop(config)
        assert [int(cell.replace(",", "")) for cell in row[2:5]] == [rows, conversations, answers]
        assert (infos[config].download_size, infos[config].dataset_size) == (size, columns)
    assert not totals


def test_metadata_is_what_the_hub_and_datasets_know(card):
    assert card.data.license == "cc-by-4.0"
    assert card.data.language == ["en"]
    assert card.data.size_categories == ["1K<n<10K"]
    known = {"visual-question-answering", "image-text-to-text", "image-to-text", "question-answering"}
    assert set(card.data.task_categories) <= known
    configs = MetadataConfigs.from_dataset_card_data(card.data)
    assert list(configs) == CONFIGS
    assert configs.get_default_config_name() == "conversation"
    assert [config.get("default", False) for config in configs.values()] == [True, *[False] * 5]


@pytest.mark.parametrize(
    ("count", "category"),
    [
        (1, "n<1K"),
        (999, "n<1K"),
        (1_000, "1K<n<10K"),
        (10_000, "10K<n<100K"),
        (999_999, "100K<n<1M"),
        (4_200_000, "1M<n<10M"),
        (100_000_000, "100M<n<1B"),
    ],
)
def test_size_categories_are_the_hubs(count, category):
    assert size_category(count) == category


STOCK = """
import json, sys
import datasets
root, configs = sys.argv[1], sys.argv[2:]
found = {}
for name in configs:
    splits = datasets.load_dataset(root, name, verification_mode="all_checks")
    found[name] = {split: [len(rows), rows.features.to_dict(), rows[0]["image"] and rows[0]["image"].mode]
                   for split, rows in splits.items()}
found["default"] = datasets.load_dataset(root, streaming=True)["train"].info.config_name
json.dump(found, sys.stdout)
"""


def run_beside(root, home, code, *arguments):
    """What a program prints in a new process beside the folder, with an empty cache and no network."""
    env = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=root.parent, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stock_datasets_loads_every_configuration_by_the_card(built, tmp_path):
    """In a new process without network, with all checks; the default is loaded where no name is given."""
    found = json.loads(run_beside(built, tmp_path, STOCK, built.name, *CONFIGS))
    assert found.pop("default") == "conversation"
    assert set(found) == set(CONFIGS)
    for split in splits_of(built):
        rows, features, mode = found[split["config"]].pop(split["split"])
        assert rows == split["rows"]
        assert Features.from_dict(features) == split["features"]
        assert mode in ("RGB", None if split["without"] else "RGB")
    assert not any(found.values())


def test_the_code_in_the_card_runs(built, card, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", card.text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    code = "\n".join([*blocks, "print(len(next(iter(ds))['conversations']), len(next(iter(rows))['conversations']))"])
    assert run_beside(built, tmp_path, code).split() == ["3", "3"]


# Croissant -----------------------------------------------------------------------------------------------------------


# mlcroissant 1.1 uses what rdflib 7 and pandas 3 will drop.
reads_croissant = pytest.mark.filterwarnings(
    "ignore:ConjunctiveGraph is deprecated:DeprecationWarning",
    "ignore:The inplace keyword in DataFrame.reset_index:DeprecationWarning",
)


def read_croissant(path):
    import mlcroissant

    return mlcroissant.Dataset(str(path))


def test_croissant_names_every_file_with_its_digest(built):
    described = json.loads((built / "croissant.json").read_bytes())
    files = {part["contentUrl"]: part for part in described["distribution"] if part["@type"] == "cr:FileObject"}
    assert set(files) == {path.relative_to(built).as_posix() for path in built.rglob("*.parquet")}
    for name, part in files.items():
        data = (built / name).read_bytes()
        assert part["encodingFormat"] == "application/x-parquet"
        assert (part["contentSize"], part["sha256"]) == (f"{len(data)} B", hashlib.sha256(data).hexdigest())


@reads_croissant
@pytest.mark.parametrize("repo_id", [None, "org/svit"])
def test_croissant_is_valid(copy, repo_id):
    write_card(copy, repo_id=repo_id)
    dataset = read_croissant(copy / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert [one.id for one in dataset.metadata.record_sets] == CONFIGS


@reads_croissant
def test_croissants_reader_reads_the_rows_of_llava_form(built):
    found = list(read_croissant(built / "croissant.json").records("core_150k"))
    expected = [row for split in ("test", "train") for row in rows_of(built, "core_150k", split)]
    assert len(found) == len(expected)
    for record, (split, row) in zip(found, expected, strict=True):
        values = {name.rpartition("/")[2]: value for name, value in record.items()}
        texts = [(one["core_150k/messages/role"], one["core_150k/messages/content"]) for one in values["messages"]]
        assert texts == [(one["role"].encode(), one["content"].encode()) for one in row["messages"]]
        assert values["split"] == split.encode()
        assert values["id"] == row["id"].encode()
        assert values["image"].size == (row["width"], row["height"]) == (values["width"], values["height"])


@reads_croissant
def test_croissants_reader_reads_the_rows_of_an_image(built):
    """Of a list in a list it gives the first alone: the question of each conversation."""
    found = list(read_croissant(built / "croissant.json").records("complex_reasoning"))
    expected = [row for split in ("test", "train") for row in rows_of(built, "complex_reasoning", split)]
    for record, (split, row) in zip(found, expected, strict=True):
        values = {name.removeprefix("complex_reasoning/"): value for name, value in record.items()}
        assert (values["split"], values["image_id"]) == (split.encode(), row["image_id"])
        assert values["image"].size == (row["width"], row["height"])
        questions = [
            one["complex_reasoning/conversations/messages/content"] for one in values["conversations/messages"]
        ]
        assert questions == [block["messages"][0]["content"].encode() for block in row["conversations"]]


def rows_of(root, config, split):
    for path in sorted((root / config).glob(f"{split}-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            yield split, row


# The page ------------------------------------------------------------------------------------------------------------


def test_the_same_folder_gives_the_same_bytes(built, copy):
    before = {name: (copy / name).read_bytes() for name in ("README.md", "croissant.json")}
    (copy / "README.md").unlink()
    write_card(copy)
    assert {name: (copy / name).read_bytes() for name in before} == before


def masked(text):
    """What depends on the versions of Pillow and pyarrow, masked: sizes, digests, our own version."""
    text = re.sub(r"\b\d[\d.]* (?:[kMGT]?B)\b", "SIZE", text)
    text = re.sub(r"((?:num_bytes|download_size|dataset_size): )\d+", r"\1SIZE", text)
    text = re.sub(r"`[0-9a-f]{16}…?`", "DIGEST", text)
    return re.sub(r"svit-datasets \d[\w.]*", "svit-datasets VERSION", text)


def test_the_committed_card_is_that_of_the_sample(built):
    """Made by the two commands of docs/card.md. When this fails: run them again and commit the card."""
    assert masked(COMMITTED.read_text("utf-8")) == masked((built / "README.md").read_text("utf-8"))
    numbers = [
        [int(number) for number in re.findall(r"(?:_bytes|_size): (\d+)", path.read_text("utf-8"))]
        for path in (COMMITTED, built / "README.md")
    ]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.1)


def test_the_card_says_that_it_is_the_samples(card):
    assert "This is the card of the sample corpus" in card.text
    assert "64 drawn scenes" in card.text


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another corpus, with answers that say the message is empty: nothing of it is recognized as the sample."""
    root = tmp_path_factory.mktemp("other")
    return write_corpus(root / "corpus", 16)


def write_other(other, root, configs, **options):
    for name in configs:
        write_config(name, root, data_dir=other, cache_dir=other.parent / "cache", **options)
    write_manifest(root)
    return write_card(root).read_text("utf-8")


def test_the_prose_follows_the_numbers(other, tmp_path):
    text = write_other(other, tmp_path / "mine", ["complex_reasoning"], holdout=None, known_bad="keep")
    assert "sample corpus" not in text
    rows = pq.ParquetDataset(sorted((tmp_path / "mine/complex_reasoning").iterdir())).read().num_rows
    assert f"This copy has {rows} of the 108,077 images" in text
    assert "Nothing was held out" in text
    assert "They were not looked for here." in text
    assert 'load_dataset("mine", "complex_reasoning", split="train")' in text
    assert "<st>" not in text
    assert "svit_datasets.boxes" not in text
    assert "LLaVA form" not in text.partition("## Columns")[2]
    assert "mix_665k" not in text


def test_the_card_names_where_it_is_published(copy):
    text = write_card(copy, repo_id="org/svit").read_text("utf-8")
    assert 'load_dataset("org/svit", "conversation"' in text
    assert 'data_dir="hf://datasets/org/svit"' in text


@pytest.mark.parametrize("configs", [["referring_qa"], ["mix_665k"], ["all"], ["core_150k", "detail_description"]])
def test_nothing_is_left_unsaid(other, tmp_path, configs):
    text = write_other(other, tmp_path / "svit", configs)
    page = text.partition("## Citation")[0].replace("```", "code")
    assert not re.search(r"None|undefined|\{\{|\{%|\n\n\n|\(\)|``", page)
    assert "on the list of held-out images" in text
    assert "were left out here" in text


def test_generated_text_is_not_called_svits(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["build"]["generator"] = {"models": ["some-model", "another"], "prompts": ["svit-1"]}
    path.write_text(json.dumps(manifest))
    text = write_card(copy).read_text("utf-8")
    assert "**This is SVIT-style data and not SVIT's text**: it was generated by `some-model` and `another`" in text
    assert "`svit generate` gave `some-model` and `another` what people had annotated in the photos" in text
    assert "It asked with prompts `svit-1`" in text
    assert "the terms of whoever provides `some-model` and `another` may add to it" in text
    assert "# SVIT-style visual instructions\n" in text
    for of_svits_text in ("The text is that of", "21 detailed", "95.6 %", "SVIT's text |", "BAAI/SVIT", "GPT-4, text"):
        assert of_svits_text not in text
    assert "Scaling up" not in text.partition("## Citation")[0]
    assert "not its text" in (copy / "croissant.json").read_text("utf-8")
    assert not re.search(r"None|\{%|\n\n\n", text)
    manifest["build"]["generator"] = {"models": [], "prompts": ["svit-1"]}
    path.write_text(json.dumps(manifest))
    assert "generated by a model that is not named" in write_card(copy).read_text("utf-8")


def test_statistics_are_shown_where_they_are_given(copy):
    measured = [measure(open_data(str(copy), name)) for name in ("conversation", "complex_reasoning")]
    text = write_card(copy, statistics=measured).read_text("utf-8")
    table = rows_below(text, "## Statistics")
    assert [row[0] for row in table] == ["conversation", "complex_reasoning"]
    found = measured[0].summary()["answer_words"]
    assert table[0][3] == f"{found['median']} ({found['p5']} to {found['p95']})"
    assert "## Statistics" not in write_card(copy, statistics=()).read_text("utf-8")


def test_statistics_are_measured_once_for_the_same_files(copy, tmp_path):
    cache = tmp_path / "cache"
    text = write_card(copy, cache_dir=cache).read_text("utf-8")
    assert "conversation" in [row[0] for row in rows_below(text, "## Statistics")]
    (kept,) = cache.rglob("conversation-*.json")
    before = kept.stat().st_mtime_ns
    assert write_card(copy, cache_dir=cache).read_text("utf-8") == text
    assert kept.stat().st_mtime_ns == before
    kept.write_text("{}")  # of another version
    assert write_card(copy, cache_dir=cache).read_text("utf-8") == text
    assert kept.read_text() != "{}"


def test_the_curators_words_stay(copy):
    path = copy / "README.md"
    text = path.read_text("utf-8")
    begin = next(line for line in text.splitlines() if line.startswith("<!-- Words of the curator"))
    path.write_text(text.replace(begin, f"{begin}\n\nFor our course of 2026: `{{{{ not a template }}}}`."), "utf-8")
    again = write_card(copy).read_text("utf-8")
    assert "\n\nFor our course of 2026: `{{ not a template }}`.\n" in again
    assert again.replace("\n\nFor our course of 2026: `{{ not a template }}`.", "", 1) == text


@pytest.mark.parametrize("text", ["# My own card\n", "<!-- End of the curator's words. -->\n"])
def test_a_card_that_was_not_made_here_is_not_replaced(copy, text):
    (copy / "README.md").write_text(text)
    with pytest.raises(BuildError, match=r"README\.md: .*Move it away"):
        write_card(copy)
    assert (copy / "README.md").read_text() == text


def test_a_folder_without_manifest_has_not_ended(copy):
    (copy / "manifest.json").unlink()
    with pytest.raises(SourceNotFound, match=r"manifest\.json: not found, so the build has not ended"):
        write_card(copy)


def test_a_missing_file_is_named(copy):
    (copy / "core_150k/test-00000-of-00001.parquet").unlink()
    with pytest.raises(SourceNotFound, match=r"core_150k/test-00000-of-00001\.parquet: is in manifest\.json and not"):
        write_card(copy)


@pytest.mark.parametrize("content", [b"{", b'{"files": [{}]}', b'{"files": []}'])
def test_a_manifest_that_says_nothing_is_an_error(copy, content):
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(BuildError, match=r"manifest\.json"):
        write_card(copy)


def test_another_writers_file_is_an_error(copy):
    path = copy / "conversation/test-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata(), path)
    with pytest.raises(BuildError, match="has no footer as the builder writes it"):
        write_card(copy)
