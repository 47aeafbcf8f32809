"""`executors.run` on processes of this machine: a worker that dies costs time and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from svit_builder.build.executors import run

from svit_datasets.errors import BuildError, OptionError
from tests.work import Item, attempts, do, refuse

REPOSITORY = Path(__file__).parents[1]


def items(folder, count, **first):
    return [Item(folder, f"i{number}", **(first if number == 0 else {})) for number in range(count)]


def test_every_item_is_done_once_in_other_processes(tmp_path):
    found = dict(run(do, iter(items(tmp_path, 7)), num_workers=2))
    assert {index: name for index, (name, _) in found.items()} == {index: f"I{index}" for index in range(7)}
    assert 1 <= len({pid for _, pid in found.values()} - {os.getpid()}) <= 2
    assert all(len(attempts(tmp_path, f"i{index}")) == 1 for index in range(7))


def test_no_workers_means_this_process(tmp_path):
    assert [pid for _, (_, pid) in run(do, items(tmp_path, 3), num_workers=0)] == [os.getpid()] * 3


def test_no_items_start_nothing():
    assert list(run(do, [], num_workers=2)) == []


def test_items_are_drawn_as_they_are_needed(tmp_path):
    drawn = []

    def source():
        for item in items(tmp_path, 100):
            drawn.append(item)
            yield item

    results = run(do, source(), num_workers=1)
    next(results)
    assert len(drawn) <= 2
    results.close()


def test_a_dead_worker_s_item_is_done_by_another(tmp_path):
    found = dict(run(do, items(tmp_path, 5, kills=1), num_workers=2))
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert len(set(attempts(tmp_path, "i0"))) == 2


def test_an_item_that_kills_every_worker_is_named_and_no_other_is(tmp_path):
    found = []
    slow = [Item(tmp_path, f"slow{number}", seconds=0.3) for number in range(2)]
    with pytest.raises(BuildError, match=r"item i0: the process that worked on it died 3 times, the last time alone"):
        found.extend(run(do, [*items(tmp_path, 1, kills=99), *slow], num_workers=2))
    assert len(attempts(tmp_path, "i0")) == 3
    assert all(index != 0 for index, _ in found)


def test_what_a_function_raises_ends_the_run_and_is_not_tried_again(tmp_path):
    with pytest.raises(ValueError, match="item i0 is refused"):
        list(run(refuse, items(tmp_path, 3), num_workers=1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"executor": "spark"}, "executor='spark' is not allowed. Allowed: 'local', 'ray'."),
        ({"num_workers": -1}, "num_workers=-1 is not allowed: give 1 or more."),
        ({"executor": "ray", "num_workers": 0}, "num_workers=0 is not allowed: give 1 or more."),
        ({"address": "auto"}, "address='auto' is for executor=\"ray\" only."),
        ({"retries": 0}, "retries=0 is not allowed"),
    ],
)
def test_a_wrong_option_names_the_right_ones(options, words):
    with pytest.raises(OptionError) as caught:
        list(run(do, [], **options))
    assert words in str(caught.value)


SCRIPT = """
import sys
from pathlib import Path
from svit_builder.build.executors import run
from tests.work import Item, write_slowly

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    list(run(write_slowly, [Item(folder, f"i{number}") for number in range(4)], num_workers=2))
"""


@pytest.fixture
def driver(tmp_path):
    """A process with two workers that are in the middle of something."""
    script = tmp_path / "driver.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, script, folder], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            wait_until(lambda: len(pids(folder)) == 2)
            yield process, folder, pids(folder)
        finally:
            process.kill()


def pids(folder):
    return [int(text) for path in folder.glob("*.writing") if (text := path.read_text())]


def wait_until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_end_with_a_driver_that_is_killed(driver):
    process, _, workers = driver
    process.kill()
    wait_until(lambda: not any(map(lives, workers)))


def test_ctrl_c_ends_the_workers_which_leave_nothing_half_written(driver):
    """As a terminal sends it: to the driver and its workers at once."""
    process, folder, workers = driver
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert not any(map(lives, workers))
    assert pids(folder) == []
    assert process.returncode == -signal.SIGINT
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1
