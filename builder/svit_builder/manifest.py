"""A folder of finished Parquet files in, `manifest.json` beside them out: which files there are.

Written last, so its presence means that a build has ended. An http server lists no folders; `svit_datasets.stream`
reads the names here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from svit_datasets.cache import write_atomically
from svit_datasets.repository import MANIFEST
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    import os

__all__ = ["write_manifest"]


def write_manifest(out: str | os.PathLike[str]) -> Path:
    """Write the list of the Parquet files under a folder, each with its size and rows; returns the manifest's path.

    Raises:
        OSError: a file is no Parquet file.
        CacheError: the folder cannot be written.
    """
    root = Path(out).expanduser()
    files = [
        {
            "path": path.relative_to(root).as_posix(),
            "bytes": path.stat().st_size,
            "rows": pq.read_metadata(path).num_rows,
        }
        for config in TASKS
        for path in sorted((root / config).glob("*.parquet"))
    ]
    write_atomically(root / MANIFEST, json.dumps({"version": 1, "files": files}, indent=1).encode())
    return root / MANIFEST
