"""Items of work for executors, in a module of its own: a worker process imports it by name, and little else."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Item:
    """Work that leaves a line per attempt in a folder, and may kill its process."""

    folder: Path
    name: str
    kills: int = 0  # of its attempts, the first so many kill their process
    seconds: float = 0.0

    def __str__(self):
        return f"item {self.name}"


def attempts(folder, name):
    """The process ids of an item's attempts."""
    path = folder / name
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def do(item):
    with (item.folder / item.name).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(item.seconds)
    if len(attempts(item.folder, item.name)) <= item.kills:
        os.kill(os.getpid(), signal.SIGKILL)
    return item.name.upper(), os.getpid()


def refuse(item):
    raise ValueError(f"{item} is refused")


def write_slowly(item):
    """Write a temporary file, remove it on the way out."""
    temporary = item.folder / f"{item.name}.writing"
    temporary.write_text(str(os.getpid()))
    try:
        time.sleep(60)
    finally:
        temporary.unlink()
