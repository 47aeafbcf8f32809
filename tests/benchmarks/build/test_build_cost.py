"""The benchmark of building, run as a test: the small size, every case and table."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks.build.tree import took
from tests.benchmarks.runner import REPOSITORY


@pytest.mark.slow
def test_the_quick_run_ends_well(tmp_path):
    command = [sys.executable, "-m", "tests.benchmarks.build", "--quick", "--home", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CPU an image: ours to the plain pool" in done.stdout


def test_processor_time_of_processes_that_nobody_waits_for_is_counted(tmp_path):
    """A grandchild works half a second after its parent has gone."""
    burn = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    result = took([sys.executable, "-c", leave], "", {}, tmp_path)
    assert 0.5 <= result.cpu < 3
