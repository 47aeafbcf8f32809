"""A case in, what it took out: each in a fresh process with an empty cache, against a server of ours on loopback.

The server stands in this process, which does nothing else while a case runs. What happens in the case's own process is
in ``timing``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.servers import FileServer

REPOSITORY = Path(__file__).parents[2]
_TIMEOUT = 600  # seconds a case
_FORWARDED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Case:
    """One process to be measured."""

    module: str  # under tests.benchmarks
    name: str  # of the case in it
    setting: dict[str, Any] = field(default_factory=dict)
    python: str = sys.executable  # of the environment it runs in
    latency: float = 0.02  # seconds that the server waits before every answer


class CaseFailed(Exception):
    """A case ended badly; says which, how, and its last words."""


def run(case: Case, server: FileServer, home: str) -> dict[str, Any]:
    """Run a case to its end; what it tells, with what the server saw: requests, body bytes, bytes of photos in zips.

    Args:
        case: what to run.
        server: that it may ask.
        home: its cache, its scratch, and where it stands.

    Raises:
        CaseFailed: its exit status was not 0, or it took ten minutes.
    """
    server.latency = case.latency
    server.log.reset()
    command = [case.python, "-m", f"tests.benchmarks.{case.module}"]
    setting = {"case": case.name, "scratch": home, **case.setting, "started": time.monotonic()}
    try:
        done = subprocess.run(
            command,
            input=json.dumps(setting),
            capture_output=True,
            text=True,
            env=_environment(home, server.url),
            cwd=home,
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise CaseFailed(f"{case.module} {case.name}: not done after {_TIMEOUT} s") from error
    if done.returncode:
        raise CaseFailed(f"{case.module} {case.name}: exit status {done.returncode}\n{done.stderr[-3000:]}")
    asked = list(server.log.requests)
    photos = sum(_range_size(line.range) for line in asked if line.path.startswith("/raw/"))
    seen = {"requests": len(asked), "body_bytes": server.log.body_bytes, "photo_bytes": photos}
    return {**json.loads(done.stdout.splitlines()[-1]), **seen}


@contextmanager
def fresh() -> Iterator[str]:
    """A folder that a case finds empty."""
    with tempfile.TemporaryDirectory(prefix="svit-bench-", ignore_cleanup_errors=True) as folder:
        yield folder


def medians(outcomes: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The median of each number over several runs of a case."""
    return {key: median(outcome[key] for outcome in outcomes) for key in outcomes[0]}


def _environment(home: str, url: str) -> dict[str, str]:
    """Little of the caller's: what a case does must not hang on it. Nothing here may ask anybody outside."""
    return {
        **{name: os.environ[name] for name in _FORWARDED if name in os.environ},
        "PYTHONPATH": str(REPOSITORY),
        "HF_HOME": home,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "LITDATA_DISABLE_VERSION_CHECK": "1",
        "S3_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def _range_size(header: str | None) -> int:
    if not header:
        return 0
    first, _, last = header.removeprefix("bytes=").partition("-")
    return int(last) + 1 - int(first) if first and last else 0
