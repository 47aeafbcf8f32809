"""`svit inspect`: every count is that of the files, every fault is found and no other, nothing published is asked."""

import json
import re
import zipfile
from collections import Counter

import pytest
from click.testing import CliRunner

from svit_datasets import sample
from svit_datasets.cli import main
from svit_datasets.cli.answers import ANSWER_KINDS, faults_in
from svit_datasets.cli.facts import spread
from svit_datasets.cli.inspection import OwnFiles, find_texts
from svit_datasets.errors import SourceNotFound, SourceUnreachable
from svit_datasets.records import DEFECT_KINDS
from svit_datasets.sources import upstream
from svit_datasets.tasks import TASKS

IMAGES = 20


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return sample.write_sample(tmp_path_factory.mktemp("inspection") / "svit", images=IMAGES, defects=True)


@pytest.fixture(scope="module")
def files(corpus):
    """What inspect says of the clean corpus, by config."""
    found = inspect(corpus.root)
    assert [file["config"] for file in found] == list(TASKS)
    return {file["config"]: file for file in found}


def run(*arguments, code=0):
    result = CliRunner().invoke(main, ["inspect", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def inspect(*arguments, code=0):
    return json.loads(run(*arguments, "--json", code=code).stdout)["files"]


def items_of(corpus, config):
    found = next(path for path in corpus.files if re.fullmatch(rf"(data|format/.*)/{TASKS[config].stem}\.\w+", path))
    if found.endswith(".json"):
        return json.loads((corpus.root / found).read_bytes())
    with zipfile.ZipFile(corpus.root / found) as zipped:
        return json.loads(zipped.read(zipped.namelist()[0]))


# -- the clean corpus --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", TASKS)
def test_records_questions_and_answers_are_those_that_were_written(corpus, files, config):
    file = files[config]
    assert file["records"] == corpus.records[config]
    assert file["questions"]["count"] == file["answers"]["count"] == corpus.questions[config]
    assert file["bytes"] == corpus.files[file["path"]]
    assert file["damage"] is None
    assert file["defects"] == {}
    assert file["answers"]["faults"] == {}


@pytest.mark.parametrize("config", [name for name, task in TASKS.items() if task.form == "svit"])
def test_shape_is_that_of_the_json(corpus, files, config):
    file, items = files[config], items_of(corpus, config)
    blocks = [block for item in items for block in item["conversations"]]
    turns = [turn for block in blocks for turn in block["content"]]
    per_image = Counter()
    for item in items:
        per_image[item["image_id"]] += len(item["conversations"])
    histogram = Counter(str(count) for count in per_image.values())
    assert file["blocks_per_image"]["histogram"] == histogram
    assert file["blocks_per_image"]["min"] == min(per_image.values())
    assert file["turns_per_block"]["histogram"] == Counter(str(len(block["content"])) for block in blocks)
    assert file["images"] == len(per_image)
    assert file["repeated_images"] == len(items) - len(per_image)
    assert file["roles"] == Counter(turn["from"] for turn in turns)
    lengths = sorted(len(turn["value"]) for turn in turns if turn["from"] == "gpt")
    assert file["answers"]["characters"] == {
        "min": lengths[0],
        "median": lengths[(len(lengths) - 1) // 2],
        "max": lengths[-1],
    }
    assert file["answers"]["with_markup"] == sum("<st>" in turn["value"] for turn in turns if turn["from"] == "gpt")
    assert file["id_types"] == {"number": len(items)}
    topics = Counter(block["topic"] for block in blocks if "topic" in block)
    assert file["topics"]["distinct"] == len(topics)
    assert dict(file["topics"]["top"]).items() <= topics.items()
    states = {"text": topics.total(), "absent": len(blocks) - topics.total()}
    assert file["topics"]["blocks"] == {state: count for state, count in states.items() if count}


def test_the_open_questions_have_answers(corpus, files):
    assert files["conversation"]["member"] == "conversation.json"
    assert files["core_150k"]["member"] is None
    with_topics = {name for name, file in files.items() if file["topics"]["distinct"]}
    assert with_topics == {"conversation", "all"}
    four = TASKS["all"].parts
    assert files["all"]["order"] == [[task, corpus.records[task]] for task in four]
    assert files["all"]["ascending"] is False
    assert files["mix_665k"]["text_only"] > 0
    assert files["mix_665k"]["ascending"] is None


@pytest.mark.parametrize("config", TASKS)
def test_all_photos_are_found_and_test_ids_counted(corpus, files, config):
    file = files[config]
    assert file["photos"]["missing"] == file["photos"]["untried"] == 0
    assert sum(file["photos"]["found"].values()) == file["images"]
    assert {"raw/images.zip", "raw/images2.zip"} <= file["photos"]["found"].keys()
    assert file["held_out"]["listed"] == len(corpus.test_image_ids)
    ids = {item["image_id"] for item in items_of(corpus, config)} if TASKS[config].form == "svit" else None
    if ids is not None:
        assert file["held_out"]["in_file"] == len(ids & set(corpus.test_image_ids))


def test_llava_form_counts_images_by_path(corpus, files):
    items = items_of(corpus, "core_150k")
    paths = Counter(item["image"] for item in items)
    file = files["core_150k"]
    assert file["images"] == len(paths)
    assert file["repeated_images"] == len(items) - len(paths)
    assert file["blocks_per_image"]["histogram"] == Counter(str(count) for count in paths.values())
    assert file["roles"].keys() == {"human", "gpt"}


# -- defects -----------------------------------------------------------------------------------------------------------


def test_every_defective_copy_shows_its_defect_and_no_other(corpus):
    for entry in json.loads((corpus.root / "defects.json").read_text("utf-8"))["defects"]:
        fails = {outcome["expect"].get("error") for outcome in entry["outcomes"]}
        damaged, absent = "CorruptFile" in fails, "SourceNotFound" in fails
        folder = corpus.root / entry["data_dir"]
        options = [option for path in entry["images"] or () for option in ("--images", corpus.root / path)]
        result = run(folder, "--config", entry["config"], *options, "--json", code=damaged or absent)
        if absent:
            assert "no file of records" in result.stderr
            continue
        (file,) = json.loads(result.stdout)["files"]
        assert (file["damage"] is not None) == damaged, entry["id"]
        skipped = next(
            (o for o in entry["outcomes"] if o["options"].get("on_bad_record") == "skip"), entry["outcomes"][0]
        )
        counts = skipped["expect"].get("counts", {})
        assert file["defects"] == {kind: n for kind, n in counts.items() if kind in DEFECT_KINDS}, entry["id"]
        counted = [outcome["expect"].get("counts", {}) for outcome in entry["outcomes"]]
        empty = max(counts.get("message_is_empty", 0) for counts in counted)
        assert file["answers"]["faults"] == entry["inspect"] | ({"message_is_empty": empty} if empty else {}), entry[
            "id"
        ]
        assert file["examples"].keys() == file["defects"].keys() | file["answers"]["faults"].keys()
        assert file["photos"]["missing"] == max(counts.get("missing_image", 0) for counts in counted), entry["id"]


def test_a_damaged_file_is_read_as_far_as_it_goes(corpus):
    whole = inspect(corpus.root / "defects" / "plain-json")[0]
    result = run(corpus.root / "defects" / "cut-in-record", code=1)
    assert re.search(r"^  records +2$", result.stdout, re.MULTILINE)
    assert re.search(r"^  images +2, ", result.stdout, re.MULTILINE)
    assert whole["records"] == 3
    assert re.search(r"^Error: .*breaks off at byte \d+.*1 of 1 files cannot be read to their end", result.stderr)
    assert result.stderr.count("\n") == 1


def test_roles_and_ids_are_shown_as_they_are_spelled(corpus):
    (file,) = inspect(corpus.root / "defects" / "other-role-names")
    assert file["roles"].keys() == {"User", "GPT", "human", "Assistant", "HUMAN", "gpt"}
    (file,) = inspect(corpus.root / "defects" / "mixed-ids")
    assert file["id_types"] == {"number": 2, "text": 1}
    assert file["repeated_images"] == 0
    (file,) = inspect(corpus.root / "defects" / "image-twice-mixed-ids")
    assert (file["images"], file["repeated_images"]) == (3, 1)
    (file,) = inspect(corpus.root / "defects" / "topic-null")
    assert file["topics"]["blocks"] == {"text": 4, "null": 1, "absent": 1}
    (file,) = inspect(corpus.root / "defects" / "extra-keys")
    assert {"image", "source"} < file["keys"]["item"].keys()
    assert file["keys"]["turn"]["lang"] == 1


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        ("A <st>car<ed> [0.472, 0.432, 0.962, 0.696] and a <st>truck<ed> [0, 0.448, 0.328, 1].", []),
        ("<st>Two cars<ed> [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1] pass.", []),
        ("<st>Two cars<ed> [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1.001] pass.", ["malformed_box"]),
        ("No marks, but a list [1, 2].", []),
        ("<st>car<ed> [0.1, 0.2, 0.3, 0.4, 0.5]", ["malformed_box"]),
        ("<st>car<ed> [0.1, 0.2, 0.3, 0.4", ["malformed_box"]),
        ("<st>car<ed> [0.1,0.2,0.3,0.4]", ["malformed_box"]),
        ("<st>car<ed> [0.1, 0.2, 0.1, 0.4]", ["malformed_box"]),
        ("<st>car<ed> [-0, 0.2, 0.1, 0.4]", ["malformed_box"]),
        ("<st>car<ed> [a red one]", ["malformed_box"]),
        ("<st>car<ed> stops", ["markup_without_box"]),
        ("<ed>car<st> [0.1, 0.2, 0.3, 0.4]", ["unbalanced_markup"]),
        ("<st><st>car<ed> [0.1, 0.2, 0.3, 0.4]", ["unbalanced_markup"]),
        ("<st>a<ed> stands by <st>b<ed> [0.1, 0.2]", ["malformed_box", "markup_without_box"]),
        ("The bounding-box of the Captions", ["mentions_source"]),
        ("It is captioned; descriptive.", []),
        ("I would answer, but your message is empty. Ask me something.", ["message_is_empty"]),
    ],
)
def test_faults_of_an_answer(answer, kinds):
    assert faults_in(answer, marked=True) == kinds
    assert set(kinds) <= set(ANSWER_KINDS)
    about_markup = {"malformed_box", "unbalanced_markup", "markup_without_box"}
    assert faults_in(answer, marked=False) == [kind for kind in kinds if kind not in about_markup]


def test_long_odd_markup_takes_no_time():
    assert "malformed_box" in faults_in("<ed> " + "[ , " * 20_000, marked=True)
    assert faults_in("<st>" * 20_000, marked=True) == ["unbalanced_markup"]


# -- photos and places -------------------------------------------------------------------------------------------------


def test_missing_photos_are_counted_and_named_without_asking_their_origin(corpus, tmp_path):
    """tests/conftest.py leads the Hub nowhere, and the two zips' host is not asked: this takes no time-out."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "complex_reasoning.zip").write_bytes((corpus.root / "data/complex_reasoning.zip").read_bytes())
    (file,) = inspect(tmp_path)
    assert file["photos"]["missing"] == file["images"]
    assert file["photos"]["examples"] == [item["image_id"] for item in items_of(corpus, "complex_reasoning")][:5]
    assert file["held_out"] == {"in_file": None, "listed": None}
    (file,) = inspect(tmp_path, "--images", corpus.root / "raw" / "images.zip")
    assert 0 < file["photos"]["missing"] < file["images"]
    (file,) = inspect(tmp_path, "--images", "http://127.0.0.1:9/{image_id}.jpg")
    assert file["photos"]["untried"] == file["images"]


def test_what_was_published_is_refused_unless_it_is_named():
    own = OwnFiles(places=("/data/svit",))
    for row in upstream().values():
        with pytest.raises(SourceNotFound, match="only your own files"):
            own.stat(row.url)
        with pytest.raises(SourceNotFound, match="only your own files"):
            own.read(row.url)
        with pytest.raises(SourceNotFound, match="only your own files"):
            own.open(row.url)


def test_a_folder_over_http_is_inspected_in_place(corpus, http_server):
    for path in corpus.files:
        if not path.startswith("defects"):
            http_server.put(path, (corpus.root / path).read_bytes())
    (file,) = inspect(http_server.url, "--config", "referring_qa")
    assert file["path"] == "data/referring_qa.zip"
    assert file["records"] == corpus.records["referring_qa"]
    assert file["photos"]["found"].keys() == {"raw/images.zip", "raw/images2.zip"}
    assert file["held_out"]["listed"] == len(corpus.test_image_ids)


def test_no_file_of_records_is_an_error_that_names_what_was_wanted(corpus, tmp_path):
    assert "no file of records for conversation, " in run(tmp_path, code=1).stderr
    assert "is no folder" in run(tmp_path / "nowhere", code=1).stderr
    result = run(corpus.root / "defects" / "plain-json", "--config", "conversation", code=1)
    assert "no file of records for conversation." in result.stderr


def test_a_server_that_is_down_is_not_taken_for_an_empty_one():
    url = "http://127.0.0.1:9"
    with pytest.raises(SourceUnreachable, match="Gave up after 1 attempt"):
        find_texts(url, OwnFiles(places=(url,), attempts=1))


# -- what people see ---------------------------------------------------------------------------------------------------


def test_the_page_fits_and_ends_with_an_overview(corpus, monkeypatch):
    monkeypatch.setenv("COLUMNS", "84")
    result = run(corpus.root)
    assert max(map(len, result.stdout.splitlines())) <= 84
    for config in TASKS:
        assert re.search(rf"^── {config} ─+$", result.stdout, re.MULTILINE)
        assert re.search(rf"^{config} +{corpus.records[config]} ", result.stdout, re.MULTILINE)
    assert result.stderr == f"Next: svit head conversation --data-dir {corpus.root}\n"


def test_spread():
    assert spread(Counter()) is None
    assert spread({5: 1}) == {"min": 5, "median": 5, "max": 5}
    assert spread({1: 2, 3: 2, 9: 1}) == {"min": 1, "median": 3, "max": 9}
