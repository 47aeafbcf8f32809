"""Where peers live: a virtual environment a set of requirements, made once and kept beside the corpus.

Two are needed, because mosaicml-streaming and `datasets` 5 cannot be installed together. Our own case of torch's
DataLoader runs in the one with torch, too. What does not ask for torch runs where this runs.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.runner import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable

OWN = "own"
WITH_OURS = {"torch"}  # environments that this repository is installed into
_REQUIREMENTS = Path(__file__).with_name("requirements")


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter with what a peer needs, or why there is none."""

    python: str
    missing: str = ""

    def versions(self, names: Iterable[str]) -> dict[str, str]:
        """Tell the versions of those of these packages that are installed."""
        code = (
            "import importlib.metadata as m, json, sys\n"
            "names = sys.argv[1:]\n"
            "have = {(d.metadata['Name'] or '').lower().replace('_', '-'): d.version for d in m.distributions()}\n"
            "print(json.dumps({name: have[name] for name in names if name in have}))"
        )
        command = [self.python, "-c", code, *names]
        found: dict[str, str] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return found


def environments(home: Path, names: Iterable[str], folder: Path | None = None) -> dict[str, Environment]:
    """The environments of these names, made where they are not there; "own" is the interpreter that runs this.

    `folder` has a file of requirements a name; without it, those beside this module.
    """
    return {
        name: Environment(sys.executable) if name == OWN else _made(home, name, folder or _REQUIREMENTS)
        for name in names
    }


def _made(home: Path, name: str, folder: Path) -> Environment:
    requirements = folder / f"{name}.txt"
    ours = ["--editable", f"{REPOSITORY}[fast]"] if name in WITH_OURS else []
    stamp = requirements.read_bytes() + sys.version.encode()
    if ours:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
        stamp += repr(project["dependencies"]).encode()
    folder = home / "environments" / f"{name}-{hashlib.sha256(stamp).hexdigest()[:12]}"
    python, done = folder / "bin" / "python", folder / "done"  # done: written last
    if not done.is_file():
        try:
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            _run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements), *ours])
        except subprocess.CalledProcessError as error:
            return Environment("", f"{name}: {(error.stderr or '').strip().splitlines()[-1:]}")
        done.touch()
    return Environment(str(python))


def _run(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
