"""`svit_builder.stats`: the numbers are those of a plain count, add up over parts, and are made in bounded memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from svit_builder.data import open_data
from svit_builder.manifest import write_manifest
from svit_builder.shards import write_config
from svit_builder.stats import Statistics, compare, measure, tables
from svit_builder.stats.meter import Meter
from svit_builder.stats.plots import plots
from svit_builder.stats.sketch import KEPT, SketchWriter, hash_text, ids_of, runs_of, united
from svit_builder.stats.statistics import AREAS, GRID, quantiles

from svit_datasets.cli import main
from svit_datasets.errors import MissingDependency, OptionError
from svit_datasets.sample import write_sample
from svit_datasets.tasks import TASKS

KINDS = TASKS["all"].parts
FILES = {name: f"data/{task.stem}.zip" for name, task in TASKS.items() if task.form == "svit"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("stats") / "svit", images=30).root


@pytest.fixture(scope="module")
def measured(corpus):
    return {config: measure(open_data(str(corpus), config)) for config in TASKS}


# A count of our own: whole lists in memory, from the JSON itself ------------------------------------------------------


def read_json(corpus, config):
    stem = TASKS[config].stem
    [path] = [path for path in corpus.rglob(f"{stem}.*") if path.suffix in (".json", ".zip")]
    if path.suffix == ".json":
        return json.loads(path.read_text("utf-8"))
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(archive.namelist()[0]))


def texts_of(item):
    """Return a list of QAs for each conversation of an item."""
    if "image_id" not in item:
        return [[turn["value"] for turn in item["conversations"]]]
    return [[turn["value"] for turn in block["content"]] for block in item["conversations"]]


def words_of(text):
    text = re.sub(r"\[[-+\d., ]*\]", "", re.sub(r"<st>|<ed>|<image>", "", text))
    stripped = (re.sub(r"^[^\w]+|[^\w]+$", "", word) for word in text.split())
    return [word.lower() for word in stripped if word]


def boxes_of(text):
    return [tuple(map(float, inside.split(","))) for inside in re.findall(r"\[([\d.]+(?:, ?[\d.]+){3})\]", text)]


def ngrams(texts, n):
    return [tuple(words[at : at + n]) for words in map(words_of, texts) for at in range(len(words) - n + 1)]


@pytest.mark.parametrize("config", list(TASKS))
def test_the_numbers_are_those_of_a_plain_count(corpus, measured, config):
    items, one = read_json(corpus, config), measured[config]
    blocks = [block for item in items for block in texts_of(item)]
    questions = [text for block in blocks for text in block[::2]]
    answers = [text for block in blocks for text in block[1::2]]
    rows = Counter()
    for number, item in enumerate(items):
        rows[item.get("image_id", f"record {number}")] += sum(len(block) // 2 for block in texts_of(item))
    assert (one.rows, one.conversations, one.qas) == (len(rows), len(blocks), len(answers))
    assert one.qas_a_row == Counter(rows.values())
    assert one.qas_a_conversation == Counter(len(block) // 2 for block in blocks)
    for side, texts in (("question", questions), ("answer", answers)):
        assert getattr(one, f"{side}_words") == Counter(len(words_of(text)) for text in texts)
        for n, variety in enumerate(getattr(one, f"{side}_ngrams"), start=1):
            counted = ngrams(texts, n)
            assert (variety.total, variety.distinct) == (len(counted), len(set(counted)))
    first = Counter((words_of(answer) or [""])[0] for answer in answers)
    assert (one.yes, one.no) == (first["yes"], first["no"])
    assert one.questions.distinct == len({tuple(words_of(question)) for question in questions})
    assert one.openings == Counter(" ".join(words_of(question)[:3]) for question in questions)
    for n in (1, 2, 3):
        assert one.first_words(n) == Counter(" ".join(words_of(question)[:n]) for question in questions)


@pytest.mark.parametrize("config", list(TASKS))
def test_images_and_their_coverage_are_those_of_a_plain_count(corpus, measured, config):
    items, one = read_json(corpus, config), measured[config]
    if TASKS[config].form == "svit":
        ids = {item["image_id"] for item in items}
        assert one.images == one.visual_genome == len(ids)
        assert ids_of(one.image_ids).tolist() == sorted(ids)
        assert one.text_only == 0
    else:
        assert one.images == len({item["image"] for item in items if "image" in item})
        assert one.text_only == sum("image" not in item for item in items)
        genome = {int(found[1]) for item in items if (found := re.search(r"VG_100K\S*/(\d+)", item.get("image", "")))}
        assert ids_of(one.image_ids).tolist() == sorted(genome)


@pytest.mark.parametrize("config", list(TASKS))
def test_boxes_are_those_of_a_plain_count(corpus, measured, config):
    items, one = read_json(corpus, config), measured[config]
    texts = [text for item in items for block in texts_of(item) for text in block]
    per_qa = Counter()
    for item in items:
        for block in texts_of(item):
            per_qa.update(
                len(boxes_of(question + answer)) for question, answer in zip(block[::2], block[1::2], strict=True)
            )
    boxes = [box for text in texts for box in boxes_of(text)]
    assert one.boxes == len(boxes)
    assert one.boxes_a_qa == per_qa
    assert one.referring_qas == sum(count for number, count in per_qa.items() if number)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    assert list(one.box_areas) == np.histogram(areas, AREAS)[0].tolist()
    centres = np.zeros((GRID, GRID), int)
    for x1, y1, x2, y2 in boxes:
        centres[int((y1 + y2) / 2 * GRID), int((x1 + x2) / 2 * GRID)] += 1
    assert list(one.box_centres) == centres.flatten().tolist()
    phrases = Counter(phrase.lower() for text in texts for phrase in re.findall(r"<st>(.*?)<ed>", text))
    if TASKS[config].form == "svit":
        assert one.phrases == phrases
    assert not one.bad_boxes
    assert bool(boxes) == (config not in ("conversation", "complex_reasoning", "detail_description"))


def test_topics_and_tasks_of_the_union_are_those_of_its_parts(corpus, measured):
    union = measured["all"]
    assert union.task_qas == {kind: measured[kind].qas for kind in sorted(KINDS)}
    assert union.task_images == {kind: measured[kind].rows for kind in sorted(KINDS)}
    assert union.topics == measured["conversation"].topics
    items = read_json(corpus, "conversation")
    assert union.topics == Counter(block["topic"] for item in items for block in item["conversations"])


def test_published_parquet_and_each_split_have_the_same_numbers(corpus, measured, tmp_path):
    for config in ("referring_qa", "mix_665k"):
        write_config(config, tmp_path, data_dir=corpus, known_bad="keep")
    write_manifest(tmp_path)
    for config in ("referring_qa", "mix_665k"):
        assert measure(open_data(str(tmp_path), config)) == measured[config]
        parts = [measure(open_data(str(tmp_path), config, split=split)) for split in ("train", "test")]
        assert parts[0] | parts[1] == measured[config]
        assert all(part.rows for part in parts)


# Parts add up; JSON ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", list(TASKS))
def test_parts_add_up_to_the_whole(corpus, measured, config):
    data = open_data(str(corpus), config)
    cuts = [0, 1, len(data) // 3, len(data) - 1, len(data)]
    parts = [measure(data, start=low, stop=high) for low, high in pairwise(cuts)]
    added = parts[0] | parts[1] | parts[2] | parts[3]
    assert added == measured[config]
    assert parts[3] | parts[1] | parts[0] | parts[2] == added


SAID = st.text(st.sampled_from("aA bB,.-é<st>[0.1, 2]\n\ud800"), max_size=40)
MESSAGES = st.lists(st.tuples(SAID, SAID), max_size=4).map(
    lambda qas: [
        {"role": role, "content": text} for qa in qas for role, text in zip(("user", "assistant"), qa, strict=True)
    ]
)
ROWS = st.lists(
    st.builds(
        lambda image_id, blocks: {"image_id": image_id, "conversations": blocks},
        st.integers(1, 40),
        st.lists(st.builds(lambda topic, said: {"topic": topic, "messages": said}, st.none() | SAID, MESSAGES)),
    ),
    max_size=6,
)


def metered(rows):
    meter = Meter("conversation", is_llava=False, tokenizer=lambda text: [*map(ord, text)])
    for row in rows:
        meter.add(row)
    return meter.statistics({"train": len(rows)}, np.array([row["image_id"] for row in rows], np.int64))


@given(ROWS, ROWS)
@settings(max_examples=40)
def test_any_rows_can_be_counted_added_up_and_written_as_json(left, right):
    both = metered(left + right)
    assert metered(left) | metered(right) == both
    assert Statistics.from_json(json.loads(json.dumps(both.to_json()))) == both
    json.dumps(both.summary())
    answers = [said["content"] for row in left + right for block in row["conversations"] for said in block["messages"]]
    assert both.qas == len(answers) // 2
    assert sum(both.answer_words.values()) == both.qas
    assert both.answer_ngrams[0].total == sum(words * count for words, count in both.answer_words.items())
    assert sum(both.openings.values()) == both.qas
    assert sum(both.topics.values()) <= both.conversations
    assert sum(both.box_centres) == both.boxes == sum(boxes * count for boxes, count in both.boxes_a_qa.items())


def test_statistics_of_different_things_do_not_add_up(measured):
    with pytest.raises(OptionError, match="config 'all' and 'mix_665k' do not add up"):
        measured["all"] | measured["mix_665k"]
    with pytest.raises(OptionError, match="version 0; this package reads 1"):
        Statistics.from_json({**measured["all"].to_json(), "version": 0})


@given(st.dictionaries(st.integers(0, 50), st.integers(1, 9), min_size=1))
def test_quantiles_are_those_of_the_written_out_values(counts):
    values = [value for value, count in counts.items() for _ in range(count)]
    found = quantiles(counts)
    for name, share in (("p5", 5), ("p25", 25), ("median", 50), ("p75", 75), ("p95", 95)):
        assert found[name] == np.percentile(values, share, method="inverted_cdf")
    assert (found["min"], found["max"]) == (min(values), max(values))
    assert found["mean"] == pytest.approx(np.mean(values), abs=0.006)
    assert quantiles({}) is None


# Bounded memory -------------------------------------------------------------------------------------------------------


def sketch_of(*batches):
    writer = SketchWriter()
    for batch in batches:
        writer.add(np.asarray(batch, np.uint64))
    return writer.sketch()


def test_a_sketch_is_exact_up_to_its_limit():
    hashes = [hash_text(f"word {number}") for number in range(KEPT - 1)]
    assert sketch_of(hashes, hashes[:100]).count == KEPT - 1
    assert sketch_of(hashes).exact
    assert not sketch_of(hashes, [hash_text("one"), hash_text("more")]).exact
    assert sketch_of().count == 0


@pytest.mark.parametrize("different", [20_000, 60_000, 250_000])
def test_beyond_it_a_sketch_is_as_close_as_it_says(different):
    """Three standard errors of 0.8 %; the words are fixed, so this never fails by chance."""
    hashes = np.array([hash_text(f"{different} {number}") for number in range(different)], np.uint64)
    sketch = sketch_of(hashes, hashes[::7])
    assert abs(sketch.count / different - 1) < 3 / (KEPT - 2) ** 0.5
    half = different // 2
    assert sketch_of(hashes[half:], hashes[half - 5000 :]) | sketch_of(hashes[:half]) == sketch
    assert sketch_of(hashes[::-1]) == sketch


def test_ngrams_beyond_the_limit_are_estimated_as_well():
    """Three-word sequences of few words are many; their hashes must be as well spread as those of words."""
    numbers = np.random.default_rng(0).integers(0, 400, 120_000)
    texts = [[f"w{word}" for word in numbers[at : at + 40]] for at in range(0, len(numbers), 40)]
    counted, hashed = tables.Ngrams(), tables.Spellings()
    for text in texts:
        counted.add([hashed[word] for word in text])
    for n, variety in enumerate(counted.varieties(), start=1):
        exact = [tuple(text[at : at + n]) for text in texts for at in range(len(text) - n + 1)]
        assert variety.total == len(exact)
        assert abs(variety.distinct / len(set(exact)) - 1) < 3 / (KEPT - 2) ** 0.5
    assert [variety.sketch.exact for variety in counted.varieties()] == [True, False, False]


@given(st.lists(st.integers(0, 60)), st.lists(st.integers(0, 60)))
def test_runs_hold_just_the_ids(left, right):
    assert ids_of(runs_of(left)).tolist() == sorted(set(left))
    assert united(runs_of(left), runs_of(right)) == runs_of(left + right)


def test_a_full_table_puts_rare_openings_together_by_the_words_before(monkeypatch):
    monkeypatch.setattr(tables, "MOST", 50)
    table, plain = tables.Table(by_words=True), tables.Table()
    for number in range(400):
        for name in (f"what is w{number}", "where is it"):
            table.add(name)
            plain.add(name)
    assert len(table.counts) <= 100
    assert table.counts["where is it"] == 400
    assert sum(table.counts.values()) == 800
    assert sum(count for name, count in table.counts.items() if name.startswith("what")) == 400
    assert sum(plain.counts.values()) == 800
    assert plain.counts[""] > 250


def test_memory_does_not_grow_with_the_data():
    """Every word, question, topic and path is new. Tables are small here, so that they are full before the first look;
    16,384 hashes are as they are."""
    code = """if True:
    import sys
    from svit_builder.stats import tables
    from svit_builder.stats.meter import Meter
    tables.MOST, tables._SPELLINGS = 500, 1000

    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

    meters = Meter("conversation", False, None), Meter("mix_665k", True, None)
    peaks = []
    for number in range(36_000):
        words = " ".join(f"w{number}x{at}" for at in range(12))
        said = [{"role": "user", "content": words + "?"}, {"role": "assistant", "content": words}]
        if number % 2:
            meters[0].add({"conversations": [{"topic": words, "messages": said}]})
        else:
            meters[1].add({"image_path": words, "messages": said})
        if number in (16_000, 35_999):
            peaks.append(peak())
    import numpy as np
    done = [meter.statistics({}, np.zeros(0, int)) for meter in meters]
    assert all(abs(one.answer_ngrams[0].distinct / one.answer_ngrams[0].total - 1) < 0.03 for one in done)
    print(*peaks)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    early, late = map(int, done.stdout.split())
    assert late - early < 6_000, f"kB: {early} then {late}"  # 20,000 QAs of 24 new words: tens of MB were they kept


# Tokens ---------------------------------------------------------------------------------------------------------------


def test_tokens_are_those_of_the_tokenizer(corpus):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"the": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    data = open_data(str(corpus), "detail_description")
    texts = [text for item in read_json(corpus, "detail_description") for block in texts_of(item) for text in block]
    lengths = [len(tokenizer.encode(text).ids) for text in texts]
    for counter in (tokenizer, lambda text: tokenizer.encode(text).ids):
        one = measure(data, tokenizer=counter)
        assert one.question_tokens == Counter(lengths[::2])
        assert one.answer_tokens == Counter(lengths[1::2])
        assert one.tokenizer
    with pytest.raises(OptionError, match="preset vicuna_v1 has no tokenizer"):
        measure(data, tokenizer="vicuna_v1")


# Beside the paper -----------------------------------------------------------------------------------------------------


def test_the_papers_table_ends_with_this_copy(measured):
    rows = compare.table(list(measured.values()))
    assert [row["dataset"] for row in rows] == ["MiniGPT-4", "LLaVAR", "LLaVA", "SVIT", "this copy"]
    assert [row["answers"] for row in rows[:4]] == [3_500, 16_000, 150_000, 4_200_000]
    assert rows[3] == {
        "dataset": "SVIT",
        "images": 108_100,
        "boxes": 3_800_000,
        "regions": 5_400_000,
        "captions": 257_600,
        "questions": 4_200_000,
        "answers": 4_200_000,
    }
    assert rows[4]["answers"] == rows[4]["questions"] == measured["all"].qas
    assert rows[4]["images"] == measured["all"].images
    assert compare.table([measured["all"]])[4] == rows[4]
    assert compare.table([measured["all"], measured["referring_qa"]])[4] == rows[4]
    assert compare.table([measured["mix_665k"]])[4]["images"] == measured["mix_665k"].images


def test_the_papers_counts_stand_beside_this_copys(measured):
    rows = {row["config"]: row for row in compare.counts(list(measured.values()))}
    assert list(rows) == list(compare.PUBLISHED)
    assert [rows[kind]["paper"] for kind in KINDS] == [1_600_000, 1_600_000, 106_000, 1_000_000]
    assert [rows[kind]["copy"] for kind in KINDS] == [measured[kind].qas for kind in KINDS]
    assert rows["core_150k"]["copy"] == measured["core_150k"].rows
    assert [row["config"] for row in compare.counts([measured["all"]])] == list(KINDS)


def test_coverage_says_how_many_images_have_how_many_tasks(corpus, measured):
    tasks = Counter(image for kind in KINDS for image in {item["image_id"] for item in read_json(corpus, kind)})
    wanted = Counter(tasks.values())
    covered = compare.coverage(list(measured.values()))
    assert covered["tasks"] == {number: wanted[number] for number in (1, 2, 3, 4)}
    assert covered["images"] == 30
    assert covered["of"] == 108_077


# Plots ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(measured):
    return plots([measured["referring_qa"]])


def words_in(svg):
    return [text.text for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_plots_are_small_pictures_whose_text_can_be_searched(measured):
    some = {config: measured[config] for config in ("conversation", "referring_qa", "mix_665k")}
    drawn = plots(list(some.values()))
    names = ["counts", "images", "qas_an_image", "lengths", "first_words", "answers", "topics", "boxes"]
    assert list(drawn) == names
    assert max(map(len, drawn.values())) < 150_000
    for config, one in some.items():
        assert {config, f"{one.qas:,}"} <= set(words_in(drawn["counts"]))
    assert "what" in words_in(drawn["first_words"])
    assert set(measured["conversation"].topics) <= set(words_in(drawn["topics"]))
    assert not any("<image" in svg or "<dc:date>" in svg for svg in drawn.values())


def test_plots_have_the_same_bytes_in_every_process(corpus, drawn):
    code = (
        "import sys; from svit_builder.data import open_data; from svit_builder.stats import measure; "
        "from svit_builder.stats.plots import plots; "
        "print(*plots([measure(open_data(sys.argv[1], 'referring_qa'))]).values(), sep='', end='')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(corpus)], capture_output=True, text=True, check=True)
    assert done.stdout == "".join(drawn.values())


def test_threads_draw_the_same_plots(measured, drawn):
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(plots, [[measured["referring_qa"]]] * 2)) == [drawn, drawn]


def test_words_of_the_data_are_drawn_as_they_are():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    hostile = ["<script>alert(1)</script>", r"$\frac{1}", "null \0 and \x1b[31m", "漢字 \ud800", "a" * 300]
    blocks = [
        {"topic": text, "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}]}
        for text in hostile
    ]
    drawn = plots([metered([{"image_id": 1, "conversations": blocks}])])
    shown = words_in(drawn["topics"])
    assert {hostile[0], hostile[1], "null \ufffd and \ufffd[31m", "漢字 \ufffd", "a" * 47 + "…"} <= set(shown)
    assert r"$\frac{1" in words_in(drawn["first_words"])
    assert dict(mpl.rcParams) == before


def test_nothing_to_draw_is_no_plot(measured, drawn):
    assert plots([]) == {}
    assert "boxes" not in plots([measured["conversation"]])
    assert "topics" not in drawn


def test_without_matplotlib_plots_say_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r'pip install "svit-datasets\[stats\]"'):
        plots([])


# The command ----------------------------------------------------------------------------------------------------------


def svit(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env={"COLUMNS": "100"})
    assert result.exit_code == code, result.output
    return result


def test_the_command_prints_a_page_a_configuration(corpus, measured):
    result = svit("stats", corpus, "--config", "referring_qa", "--config", "conversation")
    one = measured["referring_qa"]
    assert f"{one.qas:,} in {one.conversations:,} conversations" in result.stdout
    assert f"{one.boxes:,} in {one.referring_qas:,} QAs" in result.stdout
    assert re.search(r"^  words an answer +[\d.]+ +\d+ ", result.stdout, re.MULTILINE)
    assert result.stdout.index("── conversation") < result.stdout.index("── referring_qa")
    assert re.search(
        rf"^conversation +{measured['conversation'].images} +{measured['conversation'].qas} ",
        result.stdout,
        re.MULTILINE,
    )
    assert "Next: svit stats" in result.stderr


def test_the_command_as_json_gives_the_summaries_and_tables(corpus, measured):
    printed = json.loads(svit("stats", corpus, "--json").stdout)
    assert printed["configs"] == json.loads(json.dumps([one.summary() for one in measured.values()]))
    assert printed["comparison"] == compare.table(list(measured.values()))
    assert printed["counts"] == compare.counts(list(measured.values()))


def test_the_command_compares_with_the_paper(corpus, measured):
    printed = svit("stats", corpus, "--compare").stdout
    assert re.search(r"^SVIT +108,100 +3,800,000 +5,400,000 +257,600 +4,200,000 +4,200,000$", printed, re.MULTILINE)
    assert re.search(rf"^this copy +30 +{measured['all'].qas:,} +{measured['all'].qas:,}$", printed, re.MULTILINE)


def test_the_command_writes_plots_of_one_split(corpus, tmp_path):
    result = svit("stats", corpus, "--config", "referring_qa", "--split", "test", "--plots", tmp_path / "a" / "plots")
    only = measure(open_data(str(corpus), "referring_qa", split="test"))
    written = {path.stem: path.read_text("utf-8") for path in (tmp_path / "a" / "plots").glob("*.svg")}
    assert written == plots([only])
    assert f"{len(written)} plots in" in result.stderr
    assert "available: 'train', 'test'" in svit("stats", corpus, "--split", "tset", code=1).stderr.lower()


def test_a_pass_costs_little(corpus, measured):
    """A guard against a slip, an order of magnitude above what was measured: about 25 us a QA."""
    import time

    data = open_data(str(corpus), "all")
    begin = time.process_time()
    measure(data)
    assert (time.process_time() - begin) / measured["all"].qas < 400e-6
