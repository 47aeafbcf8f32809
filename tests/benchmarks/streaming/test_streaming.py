"""The streaming benchmark works: on a tiny corpus by facts that no busy machine can change; and, slow, all of it.

Here is nothing of the peers that need torch, and no time is looked at.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks.corpus import corpus
from tests.benchmarks.report import missed
from tests.benchmarks.streaming.chart import Bar, chart
from tests.benchmarks.streaming.environments import OWN, Environment, environments
from tests.benchmarks.streaming.floors import floors
from tests.benchmarks.streaming.page import bars, page
from tests.benchmarks.streaming.readers import (
    FORMS,
    LIMITS,
    LOAD,
    LOADERS,
    NAIVE,
    OUR_PARQUET,
    PILLOW,
    READERS,
    RESUMING,
    SHUFFLED,
)
from tests.benchmarks.streaming.suite import Results, Resumed, Size, Suite

TINY = Size(images=96, repeats=1, path_rows=2, naive_rows=2, stops=(0.4,), near=False)
MEASURED = {PILLOW, LOAD, OUR_PARQUET, NAIVE, SHUFFLED}
TEXT = 600_000  # bytes; of a tiny corpus: a zip's text, 128 KiB at the end of each zip, what lies between photos


@dataclass
class Measured:
    suite: Suite
    results: Results


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    suite = Suite(TINY, tmp_path_factory.mktemp("benchmark"))
    return Measured(suite, suite.measure(MEASURED))


@pytest.mark.parametrize("what", ["decoded", "undecoded"])
@pytest.mark.parametrize("label", [PILLOW, LOAD, OUR_PARQUET])
def test_ours_reads_each_photo_once_and_little_else(tiny, label, what):
    found = tiny.results.figures[label, what]
    assert found["done"] == TINY.images
    assert found["body_bytes"] <= 1.15 * tiny.suite.made.photo_bytes  # the rest is text, directories and footers
    assert found["rss_mb"] < 500


def test_neighbours_in_a_zip_are_one_request(tiny):
    of = tiny.results.figures
    assert of[PILLOW, "decoded"]["requests"] <= 40
    assert 0.8 * TINY.images <= of[LOAD, "decoded"]["requests"] <= TINY.images + 20  # record order has few neighbours
    assert of[NAIVE, "decoded"]["done"] == TINY.naive_rows
    assert of[NAIVE, "decoded"]["requests"] > 2 * TINY.naive_rows


def test_a_prepared_text_is_not_read_again(tiny):
    fresh, prepared = (tiny.results.figures[PILLOW, what] for what in ("decoded", "prepared"))
    assert prepared["done"] == 1
    assert prepared["requests"] < fresh["requests"]


def test_a_shuffled_epoch_with_stops_gives_every_row_once(tiny):
    resumed = tiny.results.resumed[SHUFFLED]
    assert (resumed.stops, resumed.lost, resumed.repeated) == (1, 0, 0)
    assert 0 <= resumed.photos_again <= resumed.again <= TEXT


def test_nothing_was_left_unmeasured(tiny):
    assert tiny.results.missing == {}
    assert set(tiny.results.conversions) == {"ours"}
    assert set(tiny.suite.environments) == {OWN}


def test_every_case_that_is_named_is_there():
    named = [(reader.module, case) for reader in READERS for case in (reader.decoded, reader.undecoded) if case]
    named += [(loader.module, "delivered") for loader in LOADERS]
    named += [(reader.module, "resumed") for reader in RESUMING]
    named += [(form.module, form.case) for form in FORMS]
    named += [("limits", case) for case, _ in LIMITS.values()]
    for module, case in named:
        assert callable(getattr(import_module(f"tests.benchmarks.streaming.peers.{module}"), case)), (module, case)


def test_labels_are_names():
    assert len({reader.label for reader in READERS}) == len(READERS)
    assert {each.form for each in (*READERS, *LOADERS, *RESUMING)} - {""} == {form.folder for form in FORMS}


def test_the_page_tells_what_was_measured(tiny):
    found = floors(tiny.results)
    text = page(tiny.suite, found, full=False, load=(0.1, 0.2))
    assert "{{" not in text
    assert str(tiny.suite.home) not in text
    assert all(f"| {label} |" in text for label in MEASURED)
    assert "| webdataset | no state to go on from |" in text
    assert "NOT MEASURED" in text  # what was left out here is not passed over
    assert missed(found, full=False)


def test_promises_hold_or_are_missed_by_the_numbers():
    numbers = {"steady": 1.0, "first_s": 1.0, "rss_mb": 1.0}
    whats = ("decoded", "undecoded", "prepared", "delivered", "limit")
    labels = [each.label for each in (*READERS, *LOADERS)] + list(LIMITS)
    results = Results({(label, what): numbers for label in labels for what in whats})
    results.resumed[SHUFFLED] = Resumed(3, 0, 1, 9e6, 4e6)
    verdicts = {floor.says: floor.verdict(full=True) for floor in floors(results)}
    assert verdicts["share of Pillow's limit, 2 threads"] == "kept"
    assert verdicts["times datasets, zip:// paths"] == "MISSED"
    assert verdicts["resume: MB of photos read again"] == "kept"
    assert verdicts["resume: rows repeated"] == "MISSED"
    assert verdicts["times litdata"] == ""


def test_the_chart_draws_a_bar_a_figure(tiny):
    drawn = ET.fromstring(chart("a < b", [("one", [Bar("x & y", 4, "ours"), Bar("z", 1, "peer")])]))
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.get("width", 0)) for bar in drawn.findall(f"{space}rect")[1:]]
    assert widths[0] == pytest.approx(4 * widths[1], abs=0.2)
    assert [text.text for text in drawn.findall(f"{space}text")] == ["one", "x & y", "4", "z", "1"]
    assert ET.fromstring(bars(tiny.results)).tag == f"{space}svg"


def test_an_environment_that_cannot_be_made_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tests.benchmarks.streaming.environments._REQUIREMENTS", Path(tmp_path, "requirements")
    )  # a set of requirements that names no package
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "odd.txt").write_text("./not-there-9\n", "utf-8")
    made = environments(tmp_path, [OWN, "odd"])
    assert made[OWN].missing == ""
    assert made["odd"] == Environment("", made["odd"].missing)
    assert "not-there-9" in made["odd"].missing


def test_the_same_count_gives_the_same_corpus(tmp_path):
    first, second = corpus(tmp_path / "a", 4), corpus(tmp_path / "b", 4)
    assert first.names == second.names
    for file in ("data/complex_reasoning.zip", "raw/images.zip", "raw/images2.zip"):
        assert (first.folder / file).read_bytes() == (second.folder / file).read_bytes()


@pytest.mark.slow
def test_every_promise_is_kept(tmp_path):
    command = [str(Path(__file__).with_name("run")), "--out", str(tmp_path)]
    python = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=python)
    assert done.returncode == 0, done.stdout + done.stderr
