"""What is left out is counted once, by whichever process met it, and too many in a row are an error."""

from __future__ import annotations

import pickle

import pytest

from svit_datasets.errors import BadImage, ImageNotFound, TooManyFailures
from svit_datasets.report import MAX_RUN, Report, Tally
from tests.storage_contract import in_forked_child


@pytest.fixture
def tally(tmp_path):
    made = Tally(tmp_path / "reports" / "a.jsonl")
    made.begin([])
    return made


def test_nothing_was_left_out(tally, tmp_path):
    assert tally.report() == Report()
    assert str(tally.report()) == "nothing was left out"
    assert Tally(tmp_path / "none.jsonl").report() == Report()


def test_planning_and_reading_are_added_up(tally, caplog):
    tally.begin([("missing_image", 7, [f"image {number}" for number in range(7)]), ("message_is_empty", 0, [])])
    assert "missing_image: 7 left out, e.g. image 0" in caplog.text
    tally.failed("missing_image", "b.jpg", ImageNotFound("b.jpg: not found"))
    tally.failed("bad_image", "c.jpg", BadImage("c.jpg: cut off"))
    report = tally.report()
    assert report.counts == {"missing_image": 8, "bad_image": 1}
    assert report.examples == {
        "missing_image": [f"image {number}" for number in range(5)],
        "bad_image": ["c.jpg: cut off"],
    }
    assert str(report).splitlines() == [
        "        8  missing_image  e.g. image 0",
        "        1  bad_image  e.g. c.jpg: cut off",
    ]


def test_what_is_met_again_counts_once(tally, caplog):
    for _ in range(3):
        tally.failed("bad_image", "c.jpg", BadImage("c.jpg: cut off"))
        tally.succeeded()
    assert tally.report().counts == {"bad_image": 1}
    assert caplog.text.count("cut off") == 1
    tally.failed("missing_image", "c.jpg", BadImage("of another kind"))
    assert tally.report().counts == {"bad_image": 1, "missing_image": 1}


def test_a_new_begin_forgets(tally):
    tally.failed("bad_image", "c.jpg", BadImage("c.jpg: cut off"))
    tally.begin([])
    assert tally.report() == Report()
    tally.failed("bad_image", "c.jpg", BadImage("c.jpg: cut off"))
    assert tally.report().counts == {"bad_image": 1}


def test_processes_share_one_report(tally):
    copies = [pickle.loads(pickle.dumps(tally)) for _ in range(2)]
    tally.failed("bad_image", "a.jpg", BadImage("a"))
    for number, copy in enumerate(copies):

        def work(copy=copy, number=number):
            copy.failed("bad_image", "a.jpg", BadImage("a"))  # all meet this one
            copy.failed("bad_image", f"{number}.jpg", BadImage("own\nline ä"))
            return b"done"

        assert in_forked_child(work) == b"done"
    assert tally.report().counts == {"bad_image": 3}
    assert tally.report().examples["bad_image"] == ["a", "own\nline ä", "own\nline ä"]


def test_a_run_of_failures_is_an_error(tally):
    def fail(number):
        tally.failed("bad_image", f"{number}.jpg", BadImage(f"{number}.jpg: cut off"))

    for number in range(MAX_RUN - 1):
        fail(number)
    tally.succeeded()
    for number in range(MAX_RUN - 1):
        fail(number)  # the same once more: noted already, but it is a run
    with pytest.raises(TooManyFailures, match=r"100 photos in a row .* the last: last\.jpg: cut off") as caught:
        fail("last")
    assert isinstance(caught.value.__cause__, BadImage)
    assert tally.report().counts == {"bad_image": MAX_RUN}


def test_a_line_that_a_killed_process_left_unfinished(tally, tmp_path):
    tally.failed("bad_image", "a.jpg", BadImage("a"))
    with (tmp_path / "reports" / "a.jsonl").open("a") as file:
        file.write('{"kind": "bad_ima')
    assert tally.report().counts == {"bad_image": 1}
