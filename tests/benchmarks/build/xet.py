"""How much of a second, third and fourth configuration the Hub's storage has already: asked of its own library.

`hf_xet` cuts files into chunks where their content says so (64 kB on average) and stores each chunk once. It also works
with a store in a local folder, and tells how many bytes were new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_builder.build import build

from tests.benchmarks.build.tasks import TASKS, WITHOUT, four_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def stored(source: Path, home: Path, *, without: float = WITHOUT) -> list[tuple[str, int, int]]:
    """Build the four tasks and send one after another into an empty store: (task, its bytes, new bytes).

    Args:
        source: the folder of a corpus of `complex_reasoning`.
        home: an empty folder.
        without: which share of the photos each task does not have.
    """
    four_tasks(source, home / "raw", without=without)
    build(home / "svit", data_dir=home / "raw", configs=TASKS, cache_dir=home / "cache", holdout=None)
    store = home / "xet"
    store.mkdir()
    return [(task, *_sent(store, sorted((home / "svit" / task).glob("*.parquet")))) for task in TASKS]


def _sent(store: Path, files: Iterable[Path]) -> tuple[int, int]:
    import hf_xet

    commit = hf_xet.XetSession().new_upload_commit(endpoint=f"local://{store}")
    for file in files:
        commit.start_upload_file(str(file), hf_xet.SKIP_SHA256)
    metrics = commit.wait_to_finish().dedup_metrics
    return metrics.total_bytes, metrics.new_bytes
