"""Cases in, numbers out: each in a fresh process against a server in another, repeated in turns, the median of each.

Says which cases there are at which size, and which ratios between them are promised (`floors`). Judges nothing else and
prints nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.benchmarks.corpus import corpus, json_array
from tests.servers import spawned

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from tests.benchmarks.corpus import Corpus
    from tests.servers import Spawned

LATENCY = 0.02  # seconds added before every answer
REPOSITORY = Path(__file__).parents[2]
PILLOW, SIMPLEJPEG = "stream, storage order, Pillow", "stream, storage order, simplejpeg"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    images: int
    json_mb: int
    peer_images: int  # for `datasets`, which is slow here
    naive_images: int  # for fsspec, which is slower
    repeats: int


FULL = Size(images=2000, json_mb=200, peer_images=192, naive_images=40, repeats=3)
SHORT = Size(images=200, json_mb=20, peer_images=128, naive_images=10, repeats=1)
# Photos that may be under way when the first comes: 64 requests of load_dataset, 2 a thread of the peer.
_UNDER_WAY = {"skip": 64}
_SPANS_UNDER_WAY = 448  # of stream: 32 MB and the span in use


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the table: a case and its setting."""

    label: str
    case: str
    setting: dict[str, Any] = field(default_factory=dict)
    cache: str = "fresh"  # "kept": what an earlier run of a kept cache prepared is there


@dataclass(frozen=True, slots=True)
class Floor:
    """A promise and what was measured."""

    says: str
    measured: float
    bound: float | None  # None: told beside the promises, not promised
    at_most: bool = False
    of_full_size: bool = False  # a small corpus flatters the peer: what it reads for one photo serves others too

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        if self.bound is None:
            return True
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


Results = dict[str, dict[str, float]]  # by label


def runs(size: Size, made: Corpus, array: Path, root: str) -> list[Run]:
    """All lines, in the order of the table; that of simplejpeg only where it is installed."""
    urls = [made.member_url(root, name) for name in made.names]
    peer = {"urls": urls[: size.peer_images], "threads": 32}
    local = str(made.folder)
    direct = {"root": root, "skip": min(_SPANS_UNDER_WAY, size.images // 4)}
    lines = [
        Run("load_dataset", "ours", {"root": root, **_UNDER_WAY}),
        Run("load_dataset, 2 threads", "ours", {"root": root, "threads": 2, **_UNDER_WAY}),
        Run("stream, record order, Pillow", "stream", {**direct, "order": "record", "decoder": "pillow"}),
        Run(PILLOW, "stream", {**direct, "order": "storage", "decoder": "pillow"}),
        Run(SIMPLEJPEG, "stream", {**direct, "order": "storage", "decoder": "simplejpeg"}),
        Run("datasets zip://, 32 threads", "datasets_zip", {**peer, **_UNDER_WAY}),
        Run("fsspec.open a photo", "fsspec_zip", {"urls": urls[: size.naive_images]}),
        Run("memory", "memory", {"root": local, "threads": 0, **_UNDER_WAY}),
        Run("memory, 2 threads", "memory", {"root": local, "threads": 2, **_UNDER_WAY}),
        Run("load_dataset, local", "ours", {"root": local, **_UNDER_WAY}),
        Run("first row, http", "ours", {"root": root, "limit": 1}, "kept"),
        Run("first row, local", "ours", {"root": local, "limit": 1}, "kept"),
        Run("json, ours", "json_ours", {"file": str(array)}),
        Run("json, datasets", "json_datasets", {"file": str(array)}),
        Run("svit demo", "demo"),
    ]
    return [line for line in lines if line.label != SIMPLEJPEG or find_spec("simplejpeg") is not None]


def measure(
    size: Size, home: Path, *, only: Container[str] | None = None, tell: Callable[[str], object] = lambda _: None
) -> tuple[Results, Corpus]:
    """Run everything `repeats` times in turns, so that what else the machine does falls on all alike.

    Args:
        size: how much.
        home: where the corpus is kept.
        only: labels of the lines to measure; None for all.
        tell: called with each line's label before it runs.
    """
    made, array = corpus(home, size.images), json_array(home, size.json_mb)
    found: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        server = stack.enter_context(spawned(made.folder, latency=LATENCY))
        kept = stack.enter_context(tempfile.TemporaryDirectory(prefix="svit-bench-"))
        lines = [line for line in runs(size, made, array, server.url) if only is None or line.label in only]
        for line in lines:
            if line.cache == "kept":
                _run(line, server, kept)
        for _ in range(size.repeats):
            for line in lines:
                tell(line.label)
                with tempfile.TemporaryDirectory(prefix="svit-bench-") as fresh:
                    outcome = _run(line, server, kept if line.cache == "kept" else fresh)
                found.setdefault(line.label, []).append(outcome)
    return {label: _median(outcomes) for label, outcomes in found.items()}, made


def floors(results: Results) -> list[Floor]:
    """What is promised, on what was measured; and the same ratios of our other lines, told without a promise.

    Both promises against peers are of one line, `stream` in storage order with Pillow, which decodes in two threads.
    """
    peer, naive = results["datasets zip://, 32 threads"]["steady"], results["fsspec.open a photo"]["steady"]
    limit = results["memory, 2 threads"]["steady"]
    ours_json, peer_json = results["json, ours"], results["json, datasets"]
    remote = [label for label in results if label.startswith(("load_dataset", "stream")) and "local" not in label]
    found = [
        Floor(f"{PILLOW}: times datasets, 32 threads", results[PILLOW]["steady"] / peer, 20, of_full_size=True),
        Floor(f"{PILLOW}: times fsspec", results[PILLOW]["steady"] / naive, 100, of_full_size=True),
        Floor("JSON: times datasets, streaming", ours_json["steady"] / peer_json["steady"], 10, of_full_size=True),
        Floor("JSON: peak MB", ours_json["rss_mb"], 60, at_most=True),
        Floor("load_dataset: peak MB", _peak(results, "load_dataset"), 250, at_most=True),
        Floor("stream: peak MB", _peak(results, "stream"), 250, at_most=True),
        Floor("first row prepared, http: seconds", results["first row, http"]["first_s"], 1.5, at_most=True),
        Floor("first row prepared, local: seconds", results["first row, local"]["first_s"], 1.5, at_most=True),
        Floor("svit demo: seconds", results["svit demo"]["first_s"], 10, at_most=True),
    ]
    for label in remote:
        if label != PILLOW:
            found.append(Floor(f"{label}: times datasets, 32 threads", results[label]["steady"] / peer, None))
            found.append(Floor(f"{label}: times fsspec", results[label]["steady"] / naive, None))
        found.append(Floor(f"{label}: of Pillow's limit, 2 threads", results[label]["steady"] / limit, None))
    return found


def _peak(results: Results, line: str) -> float:
    return max(found["rss_mb"] for label, found in results.items() if label.startswith(line))


def _run(line: Run, server: Spawned, home: str) -> dict[str, float]:
    """One case in its own process; what it tells, with what the server saw."""
    environment = {
        **os.environ,
        "HF_HOME": home,
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nothing here may ask anybody outside
        "PYTHONPATH": str(REPOSITORY),
    }
    server.reset()
    setting = {"scratch": home, **line.setting, "started": time.monotonic()}
    command = [sys.executable, "-m", "tests.benchmarks.cases", line.case]
    done = subprocess.run(
        command, input=json.dumps(setting), capture_output=True, text=True, env=environment, cwd=home, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{line.label}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), **server.counters()}


def _median(outcomes: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: median(outcome[key] for outcome in outcomes) for key in outcomes[0]}
