"""What a manifest tells of how its files were made: from which sources, by which model, and what was left out."""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from svit_datasets.errors import AccessDenied, CorruptFile, SourceNotFound
from svit_datasets.sources import join_url
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from svit_builder.build.planning import Planned
    from svit_builder.build.report import BuildReport
    from svit_datasets.sources import TextFile
    from svit_datasets.storage import Storage

__all__ = ["origin"]

_PROVENANCE = "provenance.parquet"  # what `svit generate` writes beside its text
_COLUMNS = {"models": "model_returned", "prompts": "prompt_version"}


def origin(
    before: dict[str, Any], planned: Planned, report: BuildReport, data_dir: str | None, storage: Storage
) -> dict[str, Any]:
    """Return what the manifest tells; of configurations that were not built now, what it told before.

    Args:
        before: what it told.
        planned: what was built now.
        report: what came of it.
        data_dir: where its sources are; text that `svit generate` made has its models named there.
        storage: how they are reached.

    Raises:
        CorruptFile: what tells of the models cannot be read.
        SvitError: as in `Storage.open`.
    """
    sources = [one for one in before.get("sources", []) if one.get("config") not in planned.cuts]
    others = bool(sources)
    sources += [_source(name, text) for name, cut in planned.cuts.items() for text in cut.resolved.texts]
    left_out = before.get("left_out", {}) | {name: report.configs[name].left_out.counts for name in planned.cuts}
    told = {
        "version": version("svit-datasets"),
        "sources": sorted(sources, key=lambda one: (list(TASKS).index(one["config"]), one["name"])),
        "left_out": {name: left_out[name] for name in TASKS if left_out.get(name)},
    }
    generators = [before.get("generator") if others else None, _generator(data_dir, storage)]
    if any(generators):
        told["generator"] = {
            name: sorted({word for one in generators if one for word in one.get(name, [])}) for name in _COLUMNS
        }
    return told


def _source(config: str, text: TextFile) -> dict[str, Any]:
    """Return what a file of records was; not where, as that is nobody's business."""
    info = text.info
    known = {"config": config, "name": info.url.rsplit("/", 1)[-1], "bytes": info.size}
    if "://" in info.url:  # the Hub tells digests; what other servers tell is of their own making
        return known | ({"sha256": info.fingerprint} if re.fullmatch("[0-9a-f]{64}", info.fingerprint) else {})
    with Path(info.url).open("rb") as file:
        return known | {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _generator(data_dir: str | None, storage: Storage) -> dict[str, list[str]] | None:
    """Return the models and prompts that made the text; None where it is SVIT's own."""
    if data_dir is None:
        return None
    url = join_url(data_dir, _PROVENANCE)
    try:
        with storage.open(url) as file:
            table = pq.read_table(pa.PythonFile(file, mode="r"), columns=list(_COLUMNS.values()))
    except (SourceNotFound, AccessDenied):  # some servers refuse what is not there
        return None
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise CorruptFile(f"{url}: cannot be read ({error}). Run `svit generate` again: no reply is lost.") from error
    found = {name: pc.unique(table[column]).to_pylist() for name, column in _COLUMNS.items()}
    return {name: sorted(word for word in words if word) for name, words in found.items()}
