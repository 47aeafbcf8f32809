"""Which clients are measured at which size, each in a fresh process against a server of its own in another."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.annotated import write_annotations
from tests.benchmarks.report import Floor
from tests.benchmarks.runner import REPOSITORY, CaseFailed, _environment, medians
from tests.benchmarks.streaming.environments import OWN, environments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.streaming.environments import Environment

    Results = dict[str, dict[str, float] | str]

DELAY = 0.02  # seconds before each reply
REPLY = "Question: What is above the meadow? Answer: A red kite, which the wind holds up there.\n" * 16  # 1.4 KB
_REQUIREMENTS = Path(__file__).with_name("requirements")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    requests: int
    repeats: int
    at_once: int = 32


FULL, QUICK = Size(1500, 3), Size(300, 1)


@dataclass(frozen=True, slots=True)
class Case:
    """A client."""

    label: str
    module: str
    name: str = "client"
    environment: str = OWN
    composed: bool = False  # the server composes real replies, or says the same to everything
    skip: int = 64  # requests before what is steady; 0: its start-up cannot be told apart


CASES = (
    Case("ours: client and journal", "ours"),
    Case("ours: all of svit generate", "ours", "whole", composed=True, skip=0),
    Case("litellm", "litellm_client", environment="litellm"),
    Case("distilabel", "distilabel_pipeline", environment="distilabel", skip=0),
)


def measure(size: Size, home: Path, tell: Callable[[str], None]) -> Results:
    """Run every case; what it took, or why it could not be run."""
    annotations = write_annotations(home / "annotations", size.requests // 4)
    results: Results = {}
    for case in CASES:
        tell(case.label)
        place = environments(home, [case.environment], _REQUIREMENTS)[case.environment]
        if place.missing:
            results[case.label] = place.missing
            continue
        try:
            results[case.label] = medians([_run(case, place, size, annotations) for _ in range(size.repeats)])
        except CaseFailed as error:
            results[case.label] = str(error)
    return results


def floors(results: Results) -> list[Floor]:
    """The promises."""
    ours, whole = results["ours: client and journal"], results["ours: all of svit generate"]
    assert isinstance(ours, dict), ours
    assert isinstance(whole, dict), whole
    return [
        Floor("CPU ms a request, client and journal", ours["cpu_ms"], 3, at_most=True),
        Floor("requests a second at 20 ms", ours["steady"], 300),
        Floor("CPU ms an item, all of svit generate", whole["cpu_ms"]),
    ]


def _run(case: Case, place: Environment, size: Size, annotations: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="svit-bench-", ignore_cleanup_errors=True) as scratch, _server(case) as url:
        setting = {
            "case": case.name,
            "url": f"{url}/v1",
            "count": size.requests,
            "at_once": size.at_once,
            "annotations": str(annotations),
            "scratch": scratch,
            "skip": case.skip,
            "started": time.monotonic(),
        }
        command = [place.python, "-m", f"tests.benchmarks.generate.peers.{case.module}"]
        try:
            done = subprocess.run(
                command, input=json.dumps(setting), capture_output=True, text=True, cwd=scratch, check=False,
                env=_environment(scratch, url), timeout=600,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise CaseFailed(f"{case.label}: not done after 600 s") from error
        if done.returncode:
            raise CaseFailed(f"{case.label}: exit status {done.returncode}: {done.stderr[-1500:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


@contextlib.contextmanager
def _server(case: Case) -> Iterator[str]:
    """An endpoint in a process of its own."""
    command = [sys.executable, "-m", "tests.servers.chat", "--delay", str(DELAY)]
    command += [] if case.composed else ["--reply", REPLY]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()
            server.wait(10)
