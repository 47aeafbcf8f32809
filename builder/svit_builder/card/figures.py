"""A built folder in, the statistics of its configurations out: measured once, then in the cache while files stay."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from svit_builder.data import open_data
from svit_builder.stats import Statistics, measure
from svit_datasets.cache import cache_root, write_atomically

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from svit_builder.card.facts import FolderFacts

__all__ = ["kept_statistics"]


def kept_statistics(
    root: Path, facts: FolderFacts, cache_dir: str | os.PathLike[str] | None = None
) -> tuple[Statistics, ...]:
    """Return the statistics of each configuration, all splits together.

    Raises:
        SvitError: a file cannot be read.
        CacheError: the cache cannot be written.
    """
    return tuple(_of(root, name, _digest(facts, name), cache_dir) for name in (one.task.name for one in facts.configs))


def _digest(facts: FolderFacts, config: str) -> str:
    one = next(each for each in facts.configs if each.task.name == config)
    files = [(file.path, file.sha256) for split in one.splits for file in split.files]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def _of(root: Path, config: str, digest: str, cache_dir: str | os.PathLike[str] | None) -> Statistics:
    kept = cache_root(cache_dir) / "statistics" / f"{config}-{digest}.json"
    if kept.is_file():
        try:
            return Statistics.from_json(json.loads(kept.read_bytes()))
        except (ValueError, TypeError, KeyError):
            pass  # of another version
    found = measure(open_data(str(root), config, cache_dir=cache_dir))
    write_atomically(kept, json.dumps(found.to_json()).encode())
    return found
