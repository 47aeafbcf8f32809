"""`svit check`: finds what was planted and nothing else, writes a copy without it, and says what it left out."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zipfile
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from svit_builder.annotations import open_annotations
from svit_builder.check import CHECKS, check
from svit_builder.check.contamination import read_against
from svit_builder.check.duplicates import Exact, Similar
from svit_builder.check.examine import length_bound
from svit_builder.check.run import CHANGES
from svit_builder.check.table import checks_table
from svit_builder.data import open_data
from svit_builder.shards import write_config

from svit_datasets import load_dataset
from svit_datasets.cli import main
from svit_datasets.errors import OptionError
from svit_datasets.sample import write_sample
from svit_datasets.tasks import TASKS
from tests.planting import TASKS as KINDS
from tests.planting import plant_texts, plant_things
from tests.servers import FileServer
from tests.test_clean import DOCS

ALL = 10_000  # examples: every one
OF_ANNOTATIONS = [one.id for one in CHECKS.values() if one.needs == "annotations"]
OF_TEXTS = [one.id for one in CHECKS.values() if one.needs not in {"annotations", "rensa"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("check")


@pytest.fixture(scope="module")
def texts(folder):
    return plant_texts(folder / "texts")


@pytest.fixture(scope="module")
def things(folder):
    return plant_things(folder / "things")


@pytest.fixture(scope="module")
def clean(folder):
    return write_sample(folder / "clean", images=80).root  # the scenes of `texts`, before anything was planted


def places(report):
    """Return what was found: check -> places, as `planting` notes them."""
    return {
        name: {
            (one.task, one.image_id, one.conversation, one.qa)
            for found in report.findings
            for one in found.examples.get(name, [])
        }
        for name in CHECKS
    }


def assert_found(planted, found, checks, capsys):
    """Print precision and recall of each check; both are 1."""
    lines = [f"{'check':<18} planted found precision recall"]
    for name in checks:
        truth, hits = planted.truth[name], found[name]
        both = len(truth & hits)
        precision, recall = both / len(hits) if hits else 1.0, both / len(truth) if truth else float("nan")
        lines.append(f"{name:<18} {len(truth):7} {len(hits):5} {precision:9.2f} {recall:6.2f}")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    for name in checks:
        assert planted.truth[name], f"nothing was planted for {name}"
        assert found[name] == planted.truth[name], name
        assert not found[name] & planted.near_misses


def test_what_is_planted_in_texts_is_found_and_nothing_else(texts, clean, folder, capsys):
    """Answers that the drawn corpus itself repeats are not counted."""
    report = check(str(texts.root), configs=KINDS, keep=ALL, cache_dir=folder)
    found = places(report)
    before = places(check(str(clean), configs=KINDS, keep=ALL, cache_dir=folder))["repeated_answer"]
    found["repeated_answer"] -= before - texts.truth["repeated_answer"]
    assert_found(texts, found, OF_TEXTS, capsys)
    unusable = {kind: count for one in report.findings for kind, count, _ in one.unusable}
    assert unusable == texts.unusable


def test_what_is_planted_beside_the_annotations_is_found_and_nothing_else(things, folder, capsys):
    report = check(str(things.root), configs=KINDS, annotations=str(things.root), keep=ALL, cache_dir=folder)
    assert_found(things, places(report), OF_ANNOTATIONS, capsys)
    boxes = {one.config: one.boxes for one in report.findings}["referring_qa"]
    assert boxes["boxes"] > boxes["named"] == boxes["iou_50"] + 4 == boxes["iou_90"] + 4


def test_the_clean_corpus_has_no_fault(clean, folder):
    """But that answers of its small vocabulary come again."""
    report = check(str(clean), annotations=str(clean), similar=True, cache_dir=folder)
    assert [one.config for one in report.findings] == [*KINDS, "core_150k", "mix_665k"]
    for found in report.findings:
        assert set(+found.counts) <= {"repeated_answer", "similar_answer"}, found.counts
        assert found.unusable == []
    assert sum(found.qas for found in report.findings) > 4000


def test_published_parquet_is_judged_as_the_raw_files(texts, folder, tmp_path):
    write_config(
        "complex_reasoning", tmp_path, data_dir=texts.root, on_bad_record="skip", known_bad="keep", cache_dir=folder
    )
    raw = check(str(texts.root), configs=["complex_reasoning"], keep=ALL, cache_dir=folder)
    built = check(str(tmp_path), keep=ALL, cache_dir=folder)
    assert built.findings[0].counts == raw.findings[0].counts
    mine, theirs = places(built), places(raw)
    for name in CHECKS:  # rows stand in another order, so another of two equal answers is the first
        assert mine[name] == theirs[name] or name == "repeated_answer"


# The cleaned copy -----------------------------------------------------------------------------------------------------


def read_items(path, stem):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(f"{stem}.json"))


def qas_in(items):
    """Return (image_id, question, answer) of all QAs."""
    return Counter(
        (item.get("image_id", item.get("id")), turns[at]["value"], turns[at + 1]["value"])
        for item in items
        for block in (item["conversations"] if "image_id" in item else [{"content": item["conversations"]}])
        for turns in [block["content"]]
        for at in range(0, len(turns) - 1, 2)
    )


def test_the_copy_has_no_fault_and_all_that_differs_is_listed(texts, folder, tmp_path):
    out = tmp_path / "fixed"
    report = check(str(texts.root), fix=out, cache_dir=folder)
    again = check(str(out), cache_dir=folder)
    for found in again.findings:
        assert not [name for name in +found.counts if CHECKS[name].remedy != "none"], found.counts
        assert found.unusable == []
    changes = [json.loads(line) for line in (out / CHANGES).read_text("utf-8").splitlines()]
    for task in KINDS:
        before = qas_in(read_items(texts.root / "data" / f"{task}.zip", task))
        after = qas_in(read_items(out / "data" / f"{task}.zip", task))
        mine = [one for one in changes if one["config"] == task]
        gone = Counter((one["image_id"], one["question"], one["answer"]) for one in mine if one["action"] != "unusable")
        came = Counter(
            (one["image_id"], one["question_after"], one["answer_after"]) for one in mine if one["action"] == "mended"
        )
        unusable = sum(one["count"] for one in mine if one["action"] == "unusable")
        lost = before - gone + came - after
        assert lost.total() == (1 if task == "complex_reasoning" else 0)  # blank; an odd turn is no QA
        assert not after - (before - gone + came)
        assert unusable == (2 if task == "complex_reasoning" else 0)
        assert report.fixed[task]["left_out"] == sum(one["action"] == "left out" for one in mine)
        assert report.fixed[task]["mended"] == sum(one["action"] == "mended" for one in mine)
    assert {one["check"] for one in changes} >= {"leak", "refusal", "box_spelling", "follow_up", "malformed_box"} - {
        "follow_up"
    }


def test_the_copy_of_a_clean_corpus_is_the_corpus_and_loads(clean, folder, tmp_path):
    out = tmp_path / "fixed"
    check(str(clean), fix=out, cache_dir=folder)
    assert (out / CHANGES).read_text("utf-8") == ""
    for task in KINDS:
        mine, theirs = (read_items(root / "data" / f"{task}.zip", task) for root in (out, clean))
        assert sorted(mine, key=lambda item: item["image_id"]) == sorted(
            (item for item in theirs if item["conversations"]), key=lambda item: item["image_id"]
        )
    for name in ("core_150k", "mix_665k"):
        options = {"split": "train", "streaming": True, "holdout": None, "images": [str(clean / "raw")]}
        rows = [
            [
                row["messages"]
                for row in load_dataset("svit", name, data_dir=root, cache_dir=tmp_path, **options).decode(False)
            ]
            for root in (clean, out)
        ]
        assert sorted(map(str, rows[0])) == sorted(map(str, rows[1]))


def test_of_the_union_a_file_a_task_is_written(texts, folder, tmp_path):
    """Its blocks could not be told apart in one."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    report = check(str(texts.root), configs=["all"], fix=whole, cache_dir=folder)
    check(str(texts.root), configs=KINDS, fix=parts, cache_dir=folder)
    assert sum(one["left_out"] for one in report.fixed.values()) > 60
    for task in KINDS:
        mine, theirs = (read_items(root / "data" / f"{task}.zip", task) for root in (whole, parts))
        assert qas_in(mine) == qas_in(theirs)


def test_a_folder_with_files_is_not_written_into(clean, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="holds files already"):
        check(str(clean), fix=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_behind_what_is_left_out_of_a_dialogue_nothing_stays(folder, tmp_path):
    root = write_sample(tmp_path / "svit", images=4).root
    items = read_items(root / "data/conversation.zip", "conversation")
    items[0]["conversations"][0]["content"][5]["value"] = "The captions mention it."
    with zipfile.ZipFile(root / "data/conversation.zip", "w") as archive:
        archive.writestr("conversation.json", json.dumps(items))
    check(str(root), configs=["conversation"], fix=tmp_path / "out", cache_dir=tmp_path)
    changes = [json.loads(line)["check"] for line in (tmp_path / "out" / CHANGES).read_text("utf-8").splitlines()]
    assert changes == ["leak", "follow_up", "follow_up"]
    found = {item["image_id"]: item for item in read_items(tmp_path / "out/data/conversation.zip", "conversation")}
    assert len(found[items[0]["image_id"]]["conversations"][0]["content"]) == 4


# Evaluation images ----------------------------------------------------------------------------------------------------


def test_photos_of_evaluation_sets_are_found_by_either_id(clean, folder, tmp_path):
    photos = {
        item["image_id"]: item["coco_id"]
        for item in json.loads((clean / "raw/annotations/image_data.json").read_text())
    }
    there = set(open_data(str(clean), "conversation", cache_dir=folder).image_ids.tolist())
    in_coco = {image: coco for image, coco in photos.items() if coco and coco > 0 and image in there}
    some, others = list(in_coco)[:5], [image for image in there if image not in in_coco][:3]
    (tmp_path / "names.txt").write_text("".join(f"COCO_val2014_{in_coco[image]:012d}.jpg\n" for image in some[:2]))
    (tmp_path / "gqa.txt").write_text("".join(f"{image}\n" for image in others))
    karpathy = [
        {"cocoid": in_coco[image], "split": split}
        for image, split in zip(some[2:], ("val", "test", "train"), strict=True)
    ]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": karpathy}))
    report = check(
        str(clean),
        configs=["conversation"],
        against=[f"coco:{tmp_path}/names.txt", f"GQA=vg:{tmp_path}/gqa.txt", f"{tmp_path}/dataset_coco.json"],
        annotations=str(clean),
        cache_dir=folder,
    )
    val = json.loads((clean / "raw/annotations/captions_val2017.json").read_text())
    in_val = {one["id"] for one in val["images"]}
    expected = {
        "names": set(some[:2]),
        "GQA": set(others),
        "dataset_coco": set(some[2:4]),
        "val2017": {image for image, coco in in_coco.items() if coco in in_val},
    }
    assert {name: set(ids.tolist()) for name, ids in report.standing.items()} == expected
    assert report.in_coco == len(in_coco)
    (tmp_path / "report.json").write_text(json.dumps(report.to_json()))
    rows = load_dataset(
        "svit",
        "conversation",
        split="train",
        holdout=None,
        streaming=True,
        data_dir=clean,
        exclude=tmp_path / "report.json",
    )
    assert {row["image_id"] for row in rows.decode(False)} == there - set.union(*expected.values())


def test_coco_ids_need_image_data(folder, tmp_path):
    write_config("conversation", tmp_path / "svit", data_dir=write_sample(tmp_path / "raw", images=4).root)
    (tmp_path / "ids.txt").write_text("139\n")
    with pytest.raises(OptionError, match=r"image_data\.json: name its folder with --annotations"):
        check(str(tmp_path / "svit"), against=[f"coco:{tmp_path}/ids.txt"], cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "name", "text", "message"),
    [
        ("1\nx y\n", "ids.txt", "coco:{}", "line 2: expected an image id, found 'x y'"),
        ("1\n", "ids.txt", "{}", "say whose ids these are"),
        ("[1]", "ids.json", "{}", "say whose ids these are"),
        ("{}", "ids.json", "{}", "neither a list of ids nor"),
        (None, "ids.txt", "vg:{}", "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_its_reason(tmp_path, content, name, text, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(OptionError, match=message):
        read_against(text.format(tmp_path / name))


# Duplicates and lengths -----------------------------------------------------------------------------------------------


def test_repeated_answers_are_those_of_a_plain_search():
    numbers = np.random.default_rng(3)
    words = [f"answer {number}" for number in numbers.integers(0, 60, size=200)]
    exact = Exact()
    for place, one in enumerate(words):
        exact.add(place * 7, one)
    assert exact.repeated() == [
        (place * 7, words.index(one) * 7) for place, one in enumerate(words) if words.index(one) < place
    ]
    assert Exact().repeated() == []


def test_similar_answers_are_those_of_a_plain_search():
    """Of words changed here and there: all that are nearly equal are found, none that is not similar."""
    numbers = np.random.default_rng(5)
    answers = []
    for _ in range(60):
        first = [f"w{number}" for number in numbers.integers(0, 5000, size=120)]
        for changes in (0, 1, 3, 15, 40):
            words = list(first)
            for at in numbers.integers(0, 120, size=changes):
                words[at] = "other"
            answers.append(" ".join(words))
    similar = Similar()
    for place, answer in enumerate(answers):
        similar.add(place, answer)
    pairs = [set(pairwise(answer.split())) for answer in answers]

    def alike(one, other):
        return len(pairs[one] & pairs[other]) / len(pairs[one] | pairs[other])

    found = similar.repeated()
    assert all(first < later and alike(first, later) > 0.6 for later, first in found)
    near = {later for later in range(len(answers)) if any(alike(later, first) > 0.95 for first in range(later))}
    assert near <= {later for later, _ in found}
    assert len(near) >= 60
    assert Similar().repeated() == []


def test_the_bound_of_lengths_follows_the_quartiles():
    assert length_bound(Counter()) == 0
    assert length_bound(Counter({20: 100})) == 68
    assert length_bound(Counter({10: 50, 40: 50})) == 40 * 4**3


# The command ----------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.images, self.text = Counter(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        if tag == "img":
            self.images.append(dict(attributes)["src"])

    def handle_data(self, data):
        self.text.append(data)


def run(*arguments):
    done = CliRunner().invoke(main, ["check", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    root = write_sample(tmp_path / "svit", images=6).root
    items = read_items(root / "data/referring_qa.zip", "referring_qa")
    evil = "<script>alert(1)</script> <img src=x onerror=alert(1)> The captions mention it."
    items[0]["conversations"][0]["content"][1]["value"] += f" {evil}"
    with zipfile.ZipFile(root / "data/referring_qa.zip", "w") as archive:
        archive.writestr("referring_qa.json", json.dumps(items))
    done = run(root, "--config", "referring_qa", "--html", tmp_path / "report.html", "--annotations", root)
    assert "leak" in done.stdout
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Page(text)
    assert page.tags["script"] == 0
    assert evil in "".join(page.text)
    assert page.tags["svg"] == 2
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)
    assert page.images
    for uri in page.images:
        image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert max(image.size) == 240
    shutil.rmtree(root / "raw")
    with FileServer({}, required_headers={"key": "of others"}) as server:
        photos = f"{server.url}/{{image_id}}.jpg"
        run(root, "--config", "referring_qa", "--html", tmp_path / "bare.html", "--images", photos)
    page = Page((tmp_path / "bare.html").read_text("utf-8"))
    assert evil in "".join(page.text)
    assert not page.images


def test_json_holds_all_that_was_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    root = write_sample(tmp_path / "svit", images=6).root
    done = run(root, "--json")
    report = json.loads(done.stdout)
    assert report["version"] == 1
    assert report["exclude"] == []
    assert [one["config"] for one in report["configs"]] == [name for name in TASKS if name != "all"]
    assert all(set(one["checks"]) <= {"repeated_answer"} for one in report["configs"])


def test_the_page_of_the_docs_lists_the_checks():
    text = (DOCS / "check.md").read_text("utf-8")
    table = re.search(r"<!-- checks -->\n\n(.*?)\n<!-- end of checks -->", text, re.DOTALL)
    assert table is not None
    assert table[1] == checks_table(), "write checks_table() of svit_builder.check.table between the marks"


def test_photos_without_annotations_are_compared_with_nothing(clean, folder, tmp_path):
    """The other corpus shares a few photos with this one."""
    other = write_sample(tmp_path / "other", images=4, seed=9).root
    ids = set(open_annotations(other, cache_dir=tmp_path).image_ids.tolist())
    data = open_data(str(clean), "referring_qa", cache_dir=folder)
    [found] = check(str(clean), configs=["referring_qa"], annotations=str(other), cache_dir=folder).findings
    assert 0 < found.annotated == len(ids & set(data.image_ids.tolist())) <= 4
    assert found.counts["unlisted_box"] + found.counts["unknown_phrase"] > 0  # the scenes are others
    assert found.boxes["boxes"] < 100
