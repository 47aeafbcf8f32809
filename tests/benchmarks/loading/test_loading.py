"""The loading benchmark works: on little text by facts that no busy machine can change; and, slow, all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.loading.__main__ import results_table
from tests.benchmarks.loading.suite import Size, floors, lines, measure
from tests.benchmarks.report import Floor, floors_table, missed

TINY = Size(images=8, json_mb=2, repeats=1)
MEASURED = ["first row, local", "json, ours"]


def test_little_is_held_of_the_text(tmp_path):
    results = measure(TINY, tmp_path, only=MEASURED)
    assert list(results) == MEASURED
    assert results["first row, local"]["done"] == 1
    assert results["json, ours"]["done"] >= TINY.json_mb
    assert results["json, ours"]["rss_mb"] < 100
    assert len(results_table(results)) == 2 + len(MEASURED)


def test_every_promise_has_what_it_needs():
    numbers = {"done": 1.0, "first_s": 1.0, "rate": 1.0, "steady": 1.0, "rss_mb": 1.0}
    found = floors({line.label: numbers for line in lines("", "", "")})
    assert [floor.holds for floor in found] == [False] + [True] * 5


def test_what_is_only_told_is_not_judged():
    told = Floor("times a peer", 5)
    assert told.verdict(full=True) == told.verdict(full=False) == ""
    assert floors_table([told], full=True)[2:] == ["| times a peer | 5.00 |  |  |  |"]


def test_a_missed_promise_is_called_missed():
    slow = Floor("times a peer", 5, 10, of_full_size=True)
    large = Floor("peak MB", 300, 250, at_most=True)
    unknown = Floor("times a peer", None, 10)
    assert slow.verdict(full=True) == large.verdict(full=True) == large.verdict(full=False) == "MISSED"
    assert slow.verdict(full=False) == "judged at full size only"
    assert unknown.verdict(full=True) == "NOT MEASURED"
    assert [missed([floor], full=False) for floor in (slow, large, unknown)] == [False, True, True]


def test_what_was_hoped_for_is_told_apart_from_what_was_promised():
    assert Floor("ratio", 24, 20, 30).verdict(full=True) == "kept, at 0.80 of what is wanted"
    assert Floor("ratio", 31, 20, 30).verdict(full=True) == "kept"
    assert Floor("share", 0.4, 0.5, 0.3, at_most=True).verdict(full=True) == "kept, at 1.33 of what is wanted"


@pytest.mark.slow
def test_every_promise_is_kept():
    command, python = [str(Path(__file__).with_name("run"))], {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=python)
    assert done.returncode == 0, done.stdout + done.stderr
