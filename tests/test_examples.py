"""The examples of docs/examples, started as a user would: the loss falls, and after a kill the very next row comes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest

from svit_datasets import stream
from svit_datasets.sample import write_sample

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("torch", "transformers", "trl")), reason="torch, transformers, trl"
    ),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """24 photos, so about 70 conversations, which is 9 steps an epoch."""
    root = tmp_path_factory.mktemp("corpus") / "sample"
    write_sample(root, images=24)
    return root


def start(script, *options, launcher=(sys.executable,), **kwargs):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [*launcher, str(EXAMPLES / script), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **kwargs,
    )


def finish(process):
    try:
        output, errors = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its ranks
        process.communicate()
        raise
    assert process.returncode == 0, errors[-3000:]
    return output


def steps(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize("reader", ["stream", "datasets"])
def test_killed_and_resumed_is_as_never_stopped(corpus, tmp_path, reader):
    """The same rows in the same steps, and the same losses; over the end of an epoch, and the loss falls."""
    options = ("--data-dir", corpus, "--reader", reader, "--steps", 14, "--save-every", 3)
    whole = start("train_streaming.py", "--out", tmp_path / "whole", *options)
    killed = start("train_streaming.py", "--out", tmp_path / "killed", *options)
    seen = []
    for line in killed.stdout:
        seen += steps(line)
        if len(seen) == 8:
            killed.send_signal(signal.SIGKILL)
            break
    assert killed.wait(60) == -signal.SIGKILL
    killed.stdout.close(), killed.stderr.close()
    expected = steps(finish(whole))
    rest = steps(finish(start("train_streaming.py", "--out", tmp_path / "killed", *options)))
    assert [told["step"] for told in expected] == list(range(1, 15))
    assert seen == expected[:8]
    assert rest[0]["step"] in {7, 10}, "behind the last checkpoint that was whole"
    assert rest == expected[rest[0]["step"] - 1 :]
    losses = [told["loss"] for told in expected]
    assert mean(losses[-3:]) < 0.8 * mean(losses[:3])
    rows = list(chain.from_iterable(told["rows"] for told in expected))
    assert len(set(rows)) < len(rows), "the steps go into a second epoch"


def test_two_ranks_read_an_epoch_together(corpus, tmp_path):
    """Under torchrun, disjoint rows that are the epoch; and its state goes on with one rank."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    whole = {row["id"] for row in stream("conversation", data_dir=corpus, rows="conversation", decode=None)}
    half = len(whole) // 2
    first = -(-half // 12)
    options = ("--data-dir", corpus, "--out", tmp_path / "run", "--batch-size", 12, "--save-every", first - 1)
    told = steps(finish(start("train_streaming.py", *options, "--steps", first, launcher=launcher)))
    ranks = [[row for step in told if step["rank"] == rank for row in step["rows"]] for rank in (0, 1)]
    assert [len(rows) for rows in ranks] == [half, half]
    together = {*ranks[0], *ranks[1]}
    assert len(together) == 2 * half
    assert len(whole - together) == len(whole) % 2
    assert together <= whole
    saved = {row for step in told if step["step"] < first for row in step["rows"]}
    alone = steps(finish(start("train_streaming.py", *options, "--steps", first + 2)))
    assert [step["step"] for step in alone] == [first, first + 1, first + 2]
    rest = [row for step in alone for row in step["rows"]]
    assert {*saved, *rest[: len(together) - len(saved)]} == together


def test_trl_trains(corpus, tmp_path):
    """On TRL's own road, and with our collator in its trainer: from the same rows the same first loss."""
    first = {}
    started = {
        collator: start(
            "train_trl.py", "--data-dir", corpus, "--out", tmp_path / collator, "--collator", collator, "--steps", 10
        )
        for collator in ("trl", "svit")
    }
    for collator, process in started.items():
        losses = [float(loss) for loss in re.findall(r"'loss': '?([\d.]+)", finish(process))]
        assert len(losses) == 10
        assert mean(losses[-3:]) < 0.9 * mean(losses[:3])
        first[collator] = losses[0]
    assert first["svit"] == pytest.approx(first["trl"], abs=0.01)
