"""The benchmarks work: on a tiny corpus by facts that no busy machine can change; and, slow, all of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import table, verdict, verdicts
from tests.benchmarks.corpus import Corpus, corpus
from tests.benchmarks.suite import PILLOW, Floor, Size, floors, measure, runs

TINY = Size(images=48, json_mb=2, peer_images=2, naive_images=2, repeats=1)
MEASURED = ["load_dataset", "stream, record order, Pillow", PILLOW, "fsspec.open a photo", "json, ours"]


def test_what_is_read_and_held_for_a_photo_is_bounded(tmp_path):
    results, made = measure(TINY, tmp_path, only=MEASURED)
    assert list(results) == MEASURED
    for label in MEASURED[:3]:
        found = results[label]
        assert found["done"] == TINY.images
        assert found["requests"] <= TINY.images + 60  # the rest asks for names, text and directories
        assert found["body_bytes"] <= 1.3 * made.photo_bytes
        assert found["rss_mb"] < 500
    assert results[PILLOW]["requests"] <= 60  # neighbours in a zip are one range
    assert results["fsspec.open a photo"]["requests"] > 2 * TINY.naive_images
    assert results["json, ours"]["done"] >= TINY.json_mb
    assert results["json, ours"]["rss_mb"] < 100
    assert len(table(results)) == 2 + len(MEASURED)


def test_every_floor_has_what_it_needs(tmp_path):
    made = Corpus(tmp_path, ("VG_100K/2.jpg",), 1)
    numbers = {"done": 1.0, "first_s": 1.0, "rate": 1.0, "steady": 1.0, "rss_mb": 1.0}
    found = floors({run.label: numbers for run in runs(TINY, made, tmp_path, "http://127.0.0.1:9")})
    promised = [floor for floor in found if floor.bound is not None]
    assert [floor.holds for floor in promised] == [False] * 3 + [True] * 6
    assert len(found) > len(promised)


def test_what_is_only_told_is_not_judged():
    told = Floor("times a peer", 5, None)
    assert verdict(told, full=True) == verdict(told, full=False) == ""
    assert verdicts([told], full=True)[2:] == ["| times a peer | 5.00 |  |  |"]


def test_a_missed_floor_is_called_missed():
    slow = Floor("times a peer", 5, 10, of_full_size=True)
    large = Floor("peak MB", 300, 250, at_most=True)
    assert verdict(slow, full=True) == verdict(large, full=True) == verdict(large, full=False) == "MISSED"
    assert verdict(slow, full=False) == "judged at full size only"


def test_the_same_count_gives_the_same_corpus(tmp_path):
    first, second = corpus(tmp_path / "a", 4), corpus(tmp_path / "b", 4)
    assert first.names == second.names
    for file in ("data/complex_reasoning.zip", "raw/images.zip", "raw/images2.zip"):
        assert (first.folder / file).read_bytes() == (second.folder / file).read_bytes()


@pytest.mark.slow
def test_every_floor_is_kept():
    done = subprocess.run([str(Path(__file__).with_name("run"))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
