"""`svit select`: the most informative first, each concept up to its quota, and the same bytes again."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from svit_builder.data import open_data
from svit_builder.manifest import write_manifest
from svit_builder.select import Concepts, Wanted, again, read_concepts, select
from svit_builder.select.greedy import choose
from svit_builder.select.samples import Samples, gather
from svit_builder.select.scores import read_scores
from svit_builder.shards import write_config

import tests.strategies  # noqa: F401 - sets the profile: no deadline, no database
from svit_datasets import load_dataset
from svit_datasets.errors import BuildError, CorruptFile, OptionError, SourceChanged, SourceNotFound
from svit_datasets.sample import write_sample

TASKS = ("conversation", "complex_reasoning", "detail_description", "referring_qa")
CONCEPTS = Concepts(
    {"colour": ["red", "blue", "green"], "count": ["how many", "two"], "place": ["left", "right"], "tree": ["tree"]}
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("select") / "raw", images=16).root


# concepts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A red ball", ["colour"]),
        ("REDS and blues", ["colour"]),
        ("A hundred", []),  # red is inside of it
        ("How many trees?", ["count", "tree"]),
        ("how-many", []),
        ("How, many", ["count"]),  # what stands between words is not looked at
        ("Two on the left, two on the right", ["count", "place"]),
        ("", []),
    ],
)
def test_a_concept_is_mentioned_by_whole_words(text, found):
    assert [CONCEPTS.names[number] for number in CONCEPTS.found(text)] == found


def test_lists_are_read_line_by_line_and_put_together(tmp_path):
    (tmp_path / "one.txt").write_text("# of things\n\ncolour: Red, blue\ncity\n", "utf-8")
    (tmp_path / "two.txt").write_text("\ufeffColour: blue, traffic light\n", "utf-8")
    read = read_concepts([tmp_path / "one.txt", tmp_path / "two.txt"])
    assert read.keywords == {"colour": ["red", "blue", "traffic light"], "city": ["city"]}
    assert [read.names[number] for number in read.found("Cities have traffic lights.")] == ["colour", "city"]


@pytest.mark.parametrize("line", ["colour:", "colour: , ", ": red", "...", "colour: red, !"])
def test_a_line_without_a_keyword_is_named(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"tree\n{line}\n", "utf-8")
    with pytest.raises(OptionError, match=r"list\.txt, line 2"):
        read_concepts([tmp_path / "list.txt"])


def test_a_list_that_is_not_there_or_no_text_or_empty(tmp_path):
    with pytest.raises(SourceNotFound, match=r"none\.txt"):
        read_concepts([tmp_path / "none.txt"])
    (tmp_path / "bytes.txt").write_bytes(b"tree\n\xff\n")
    with pytest.raises(OptionError, match=r"bytes\.txt, byte 5"):
        read_concepts([tmp_path / "bytes.txt"])
    with pytest.raises(OptionError, match="0 concepts"):
        read_concepts([])


# the choice


def samples_of(rows):
    """Samples from (concepts, image_id, yes, no, words)."""
    sizes = [len(found) for found, *_ in rows]
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 5
    return Samples(
        config=np.zeros(len(rows), np.uint8),
        row=np.arange(len(rows), dtype=np.uint32),
        block=np.zeros(len(rows), np.uint16),
        number=np.arange(len(rows), dtype=np.uint16),
        image_id=np.array(columns[1], np.int32),
        words=np.array(columns[4], np.uint32),
        yes=np.array(columns[2], np.uint8),
        no=np.array(columns[3], np.uint8),
        starts=np.cumsum([0, *sizes]),
        indices=np.array([at for found in columns[0] for at in sorted(found)], np.uint16),
    )


rows = st.lists(
    st.tuples(
        st.sets(st.integers(0, 4), max_size=4),
        st.integers(1, 5),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(0, 30),
    ),
    max_size=30,
)
wanted = st.builds(
    Wanted,
    st.integers(1, 30),
    quota=st.sampled_from(["even", None, 1, 2, 5]),
    per_image=st.sampled_from([None, 1, 3]),
    yes_share=st.sampled_from([None, 0.5, 0.25]),
    min_words=st.sampled_from([0, 5]),
    max_words=st.sampled_from([None, 20]),
    seed=st.integers(0, 3),
)


@given(rows, wanted)
def test_every_limit_holds(given_rows, asked):
    samples = samples_of(given_rows)
    chosen = choose(samples, 5, asked)
    index = chosen.index.tolist()
    assert len(set(index)) == len(index) <= asked.budget
    assert len(index) + sum(chosen.left.values()) == len(given_rows)
    taken = [given_rows[at] for at in index]
    assert all(words >= asked.min_words for *_, words in taken)
    assert asked.max_words is None or all(words <= asked.max_words for *_, words in taken)
    images = [image for _, image, *_ in taken]
    assert asked.per_image is None or all(images.count(image) <= asked.per_image for image in images)
    if asked.yes_share is not None:
        yes, no = sum(row[2] for row in taken), sum(row[3] for row in taken)
        ratio = asked.yes_share / (1 - asked.yes_share)
        slack = 1 + 2 * max(ratio, 1 / ratio, 1)  # what one sample may add after the other answer came
        assert yes <= no * ratio + slack
        assert no <= yes / ratio + slack


@given(rows, st.integers(1, 30), st.sampled_from(["even", None, 1, 2, 5]))
def test_each_choice_is_the_best_there_is_at_its_time(given_rows, budget, quota):
    samples = samples_of(given_rows)
    chosen = choose(samples, 5, Wanted(budget, quota=quota, yes_share=None))
    assert len(chosen.index) == min(budget, len(given_rows))
    limit = -(-budget // 5) if quota == "even" else 1000 if quota is None else quota
    room = [limit] * 5
    rest = set(range(len(given_rows)))

    def gain(at):
        return sum(room[concept] > 0 for concept in given_rows[at][0])

    for at, told in zip(chosen.index.tolist(), chosen.gain.tolist(), strict=True):
        assert told == gain(at) == max(map(gain, rest))
        if told == 0:  # then by information
            assert len(given_rows[at][0]) == max(len(given_rows[other][0]) for other in rest)
        rest.remove(at)
        for concept in given_rows[at][0]:
            room[concept] -= 1


@given(rows, wanted, st.randoms())
def test_the_order_of_the_data_does_not_change_the_choice(given_rows, asked, random):
    shuffled = list(range(len(given_rows)))
    random.shuffle(shuffled)
    samples, other = samples_of(given_rows), samples_of([given_rows[at] for at in shuffled])
    other = Samples(**{**vars(other), "number": np.array(shuffled, np.uint16)})
    first, second = choose(samples, 5, asked), choose(other, 5, asked)
    assert first.index.tolist() == [shuffled[at] for at in second.index.tolist()]


def test_yes_and_no_come_in_balance_and_the_best_of_each():
    given_rows = [({0, 1}, at, 1, 0, 5) for at in range(50)] + [({0}, at, 0, 1, 5) for at in range(10)]
    chosen = choose(samples_of(given_rows), 5, Wanted(40, quota=None))
    yes = sum(at < 50 for at in chosen.index.tolist())
    assert (yes, len(chosen.index) - yes) == (11, 10)
    assert chosen.left == {"yes or no too many": 39}


def test_another_seed_breaks_ties_otherwise_and_the_better_score_wins():
    samples = samples_of([({0}, at, 0, 0, 5) for at in range(100)])
    picks = [set(choose(samples, 5, Wanted(10, seed=seed)).index.tolist()) for seed in (0, 0, 1)]
    assert picks[0] == picks[1] != picks[2]
    scores = np.arange(100, dtype=float)
    scores[95:] = np.nan
    assert sorted(choose(samples, 5, Wanted(10), scores).index.tolist()) == list(range(85, 95))
    assert choose(samples, 5, Wanted(100, min_score=90.0), scores).left == {"score": 95}


@pytest.mark.parametrize(
    "options",
    [{"budget": 0}, {"quota": 0}, {"quota": "odd"}, {"per_image": 0}, {"yes_share": 1.0}, {"min_words": -1}],
)
def test_values_that_are_not_allowed(options):
    with pytest.raises(OptionError, match="is not allowed"):
        Wanted(**{"budget": 10, **options})


# the whole


def test_what_is_chosen_loads_with_its_photos(raw, tmp_path):
    made = select(raw, tmp_path / "core", concepts=CONCEPTS, wanted=Wanted(80))
    assert made.counts["chosen"] == 80
    seen = set()
    for name, count in made.counts["configs"].items():
        chosen = load_dataset(
            "svit",
            name,
            split="train",
            data_dir=tmp_path / "core",
            images=raw / "raw",
            holdout=None,
            rows="conversation",
            cache_dir=tmp_path / "cache",
        )
        assert len(chosen) == count
        source = load_dataset("svit", name, split="train", data_dir=raw, rows="conversation")
        known = {(row["image_id"], row["topic"], json.dumps(row["messages"])) for row in source.remove_columns("image")}
        for row in chosen:
            assert row["image"].size == (row["width"], row["height"])
            assert (row["image_id"], row["topic"], json.dumps(row["messages"])) in known
        seen |= {(row["image_id"], name) for row in chosen.remove_columns("image")}
    table = pq.read_table(tmp_path / "core" / "selection.parquet").to_pylist()
    assert {(row["image_id"], row["config"]) for row in table} == seen
    held_out = set(map(int, (raw / "test_image_ids.txt").read_text().split()))
    assert not held_out & {row["image_id"] for row in table}


def test_the_manifest_makes_the_same_bytes_again(raw, tmp_path):
    options = {"quota": 7, "per_image": 5, "yes_share": 0.4, "seed": 3}
    select(raw, tmp_path / "one", concepts=CONCEPTS, wanted=Wanted(60, **options), configs=["referring_qa"])
    shutil.copytree(raw, tmp_path / "moved")
    again(tmp_path / "one" / "select.json", tmp_path / "moved", tmp_path / "two", num_workers=2)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert [str(path) for path in files] == ["data/referring_qa.json", "select.json", "selection.parquet"]
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in files)


def test_published_parquet_gives_the_same_choice(raw, tmp_path):
    for name in TASKS:
        write_config(name, tmp_path / "svit", data_dir=raw)
    write_manifest(tmp_path / "svit")
    tables = []
    for place in (raw, tmp_path / "svit"):
        select(place, tmp_path / "out", concepts=CONCEPTS, wanted=Wanted(50))
        tables.append((tmp_path / "out" / "selection.parquet").read_bytes())
    assert tables[0] == tables[1]


def test_another_copy_is_told_from_the_one_it_was_made_from(raw, tmp_path):
    other = write_sample(tmp_path / "other", images=16, seed=5).root
    select(raw, tmp_path / "one", concepts=CONCEPTS, wanted=Wanted(30), configs=["conversation"])
    with pytest.raises(SourceChanged, match="conversation is not what"):
        again(tmp_path / "one" / "select.json", other, tmp_path / "two")
    manifest = json.loads((tmp_path / "one" / "select.json").read_text())
    manifest["outputs"]["data/conversation.json"] = "0" * 64
    (tmp_path / "one" / "changed.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match=r"conversation\.json: has other bytes"):
        again(tmp_path / "one" / "changed.json", raw, tmp_path / "two")
    for broken in ("{", "[]", json.dumps({**manifest, "version": 99})):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(CorruptFile, match=r"broken\.json"):
            again(tmp_path / "broken.json", raw, tmp_path / "two")


def test_scores_are_read_by_name(raw, tmp_path):
    data = open_data(str(raw), "complex_reasoning", split="train")
    samples, _ = gather([data], CONCEPTS)
    names = [name for number, row in data.texts() for name in data.conversation_ids(number, row)]
    table = pa.table({"id": [*names[5:], "1/referring_qa/0"], "score": [*map(float, range(5, len(names))), 9.0]})
    pq.write_table(table, tmp_path / "scores.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "scores.csv")
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    for ending in ("parquet", "csv", "jsonl"):
        scores = read_scores(tmp_path / f"scores.{ending}", samples, ["complex_reasoning"])
        assert np.isnan(scores[:5]).all()
        assert scores[5:].tolist() == list(range(5, len(names)))
    pq.write_table(pa.table({"id": ["306"], "score": [1.0]}), tmp_path / "bad.parquet")
    with pytest.raises(CorruptFile, match="row 0: 306 is no id"):
        read_scores(tmp_path / "bad.parquet", samples, ["complex_reasoning"])
    pq.write_table(table.slice(len(names) - 5), tmp_path / "others.parquet")
    with pytest.raises(OptionError, match="none of its 1 ids"):
        read_scores(tmp_path / "others.parquet", samples, ["complex_reasoning"])
    with pytest.raises(OptionError, match="are read from"):
        read_scores(tmp_path / "scores.xlsx", samples, ["complex_reasoning"])


def test_configurations_that_cannot_be_chosen_from(raw, tmp_path):
    for name in ("core_150k", "all"):
        with pytest.raises(OptionError, match="cannot be chosen from"):
            select(raw, tmp_path / "out", concepts=CONCEPTS, wanted=Wanted(5), configs=[name])
