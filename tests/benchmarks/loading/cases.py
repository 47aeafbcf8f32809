"""Cases of loading, one a process; see ``timing`` for what a case is.

echo '{"case": "load", "root": "/data/svit", "started": 0}' | python -m tests.benchmarks.loading.cases
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.timing import MB, main

if TYPE_CHECKING:
    from tests.benchmarks.timing import Items


def load(setting: dict[str, Any]) -> Items:
    """What the quickstart says: `load_dataset`, streaming."""
    from svit_datasets import load_dataset

    options = {"split": "train", "streaming": True, "data_dir": setting["root"], "holdout": None}
    for row in load_dataset("svit", "complex_reasoning", **options):
        row["image"].load()
        yield row["image_id"]


def json_ours(setting: dict[str, Any]) -> Items:
    """Our parser over an array of records; yields MB, and first nothing, when it is imported."""
    from svit_datasets.records import read_records

    yield 0.0
    done = 0
    with Path(setting["file"]).open("rb", buffering=0) as stream:
        for number, _ in enumerate(read_records(stream, setting["file"], "svit")):
            if number % 64 == 0:
                yield (stream.tell() - done) / MB
                done = stream.tell()
        yield (stream.tell() - done) / MB


def json_datasets(setting: dict[str, Any]) -> Items:
    """The peer's parser over the same array, which it reads whole before the first row; yields as `json_ours`."""
    from datasets import load_dataset

    yield 0.0
    for _ in load_dataset("json", data_files=setting["file"], split="train", streaming=True):
        pass
    yield Path(setting["file"]).stat().st_size / MB


def demo(setting: dict[str, Any]) -> Items:
    """``svit demo``; yields once it has printed its conversations and ended well."""
    import subprocess
    import sys

    command = [str(Path(sys.executable).with_name("svit")), "demo"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=setting["scratch"])
    yield 1.0


if __name__ == "__main__":
    main([load, json_ours, json_datasets, demo])
