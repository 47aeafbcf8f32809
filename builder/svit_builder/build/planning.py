"""Arguments in, the plan out: which configurations there are, the files that each becomes, and which are there already.

The plan depends on the sources and the options alone. So every process that makes it, on any machine, makes the same,
and takes its part of it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from svit_builder.manifest import MARKS, read_manifest, read_marks
from svit_builder.shards import cut_shards
from svit_datasets.errors import CorruptFile, SourceNotFound
from svit_datasets.parquet import open_parquet
from svit_datasets.repository import MANIFEST
from svit_datasets.sources import HUB, find_text_under
from svit_datasets.tasks import TASKS, get_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from svit_builder.folder import Folder
    from svit_builder.shard import Shard, Written
    from svit_builder.shards import Cut
    from svit_datasets.options import Options
    from svit_datasets.storage import Storage

__all__ = ["DEFAULT", "Planned", "choose", "finished", "known_files", "plan"]

DEFAULT = tuple(name for name, task in TASKS.items() if not task.parts)  # "all" has the photos of these once more


@dataclass(frozen=True)
class Planned:
    """What is to be built."""

    cuts: dict[str, Cut]  # configuration -> its files
    skipped: dict[str, str]  # configuration -> why it is not built

    @property
    def shards(self) -> list[Shard]:
        """All files, configuration after configuration."""
        return [shard for cut in self.cuts.values() for shard in cut.shards]


def choose(configs: Iterable[str] | None, data_dir: str | None, storage: Storage) -> tuple[list[str], dict[str, str]]:
    """Return which configurations to build, in the order of the table, and why others are not.

    Raises:
        OptionError: there is no configuration of a name.
        SourceNotFound: none was named, and there is no file of any.
    """
    if configs is not None:
        wanted = {get_task(name).name for name in configs}
        return [name for name in TASKS if name in wanted], {}
    place = HUB if data_dir is None else data_dir
    chosen, skipped = [], {}
    for name in DEFAULT:
        if find_text_under(get_task(name), (), place, storage):
            chosen.append(name)
        else:
            skipped[name] = f"no file of it under {place}"
    if not chosen:
        raise SourceNotFound(
            f"No file of any configuration under {place}: give the folder that holds data/conversation.zip and its "
            "like, or the files themselves."
        )
    return chosen, skipped


def plan(
    chosen: tuple[list[str], dict[str, str]],
    options_of: Callable[[str], Options],
    storage: Storage,
    cache: Path,
    *,
    row_group: int,
    shard_bytes: int,
) -> Planned:
    """Return the files of all configurations; text is parsed if need be, every photo is located, nothing is written.

    Raises:
        SvitError: as in `cut_shards`.
    """
    names, skipped = chosen
    cuts = {
        name: cut_shards(options_of(name), storage, cache, row_group=row_group, shard_bytes=shard_bytes)
        for name in names
    }
    return Planned(cuts, skipped)


def known_files(folder: Folder, shards: list[Shard]) -> dict[str, Written]:
    """Return what marks, and the manifest of this build or of the one before, say of files; by path."""
    before, _ = read_manifest(folder, f"{MARKS}/{MANIFEST}")
    now, _ = read_manifest(folder)
    return before | now | read_marks(folder, [shard.path for shard in shards])


def finished(
    folder: Folder, shards: list[Shard], known: dict[str, Written], storage: Storage, cache: Path
) -> dict[str, Written]:
    """Return which of some files need not be made again, by path.

    A file counts where its mark or the manifest, its size, and its own footer agree that it is of this build. Its
    pages are not read: that is `verify`.

    Raises:
        SvitError: the folder cannot be reached.
    """

    def check(shard: Shard) -> Written | None:
        written = known.get(shard.path)
        if written is None or written.build != shard.build or not written.sha256:
            return None
        try:
            info = storage.stat(folder.url_of(shard.path))
            if info.size != written.bytes:
                return None
            file = open_parquet(info, get_task(shard.config), storage, cache)
            entry, rows = file.entry or {}, int(file.groups()[0].sum())
        except (SourceNotFound, CorruptFile):
            return None
        agreed = (entry.get("path"), entry.get("build"), rows) == (shard.path, shard.build, written.rows)
        return written if agreed else None

    with ThreadPoolExecutor(8) as pool:
        return {found.path: found for found in pool.map(check, shards) if found is not None}
