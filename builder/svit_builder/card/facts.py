"""A folder of published Parquet in, what its card tells of it out: read from `manifest.json` and the files' footers.

No row is read and no photo. What the builder wrote into each footer (`svit_builder.shard`) tells images and
conversations; the Parquet format itself tells rows, bytes and messages.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from svit_datasets.errors import BuildError, SourceNotFound
from svit_datasets.parquet import ENTRY
from svit_datasets.repository import MANIFEST
from svit_datasets.tasks import TASKS, Task

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ConfigFacts", "FileFacts", "FolderFacts", "SplitFacts", "read_facts"]

_PATH = re.compile(r"(\w+)/(\w+)-\d{5}-of-\d{5}\.parquet")
_SPLITS = ("train", "test")  # their order; others follow by name


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One Parquet file."""

    path: str  # under the folder, "/" between the parts
    bytes: int  # on disk
    rows: int
    sha256: str  # hexadecimal
    uncompressed: int  # bytes of all column chunks before compression
    messages: int  # of all conversations
    schema: pa.Schema  # of Arrow, with the metadata of `datasets`
    entry: dict[str, Any]  # what `svit_builder` wrote of the rows


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """One split of a configuration."""

    name: str
    files: tuple[FileFacts, ...]  # in order

    @property
    def rows(self) -> int:
        """How many rows the files have together."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """How many bytes the files have on disk."""
        return sum(file.bytes for file in self.files)

    @property
    def uncompressed(self) -> int:
        """How many bytes the columns have before compression; near to what they take in Arrow."""
        return sum(file.uncompressed for file in self.files)

    @property
    def conversations(self) -> int:
        """How many conversations the rows have."""
        return sum(sum(file.entry["conversations"]) for file in self.files)

    @property
    def answers(self) -> int:
        """How many answers they have: every second message is one."""
        return sum(file.messages for file in self.files) // 2

    @property
    def images(self) -> frozenset[int]:
        """Which Visual Genome images; records of LLaVA form may have others, which are not counted here."""
        return frozenset(image for file in self.files for image in file.entry["image_ids"] if image >= 0)

    @property
    def without_photo(self) -> int:
        """How many rows have no photo, as they are text only or it was missing."""
        return sum(len(file.entry["missing"]) + len(file.entry["text_only"]) for file in self.files)

    @property
    def build(self) -> str:
        """What tells the files of one build from those of another."""
        return str(self.files[0].entry["build"])


@dataclass(frozen=True)
class ConfigFacts:
    """One configuration."""

    task: Task
    splits: tuple[SplitFacts, ...]  # train first

    @cached_property
    def features(self) -> Features:
        """The columns as `datasets` has them, by the footer of the first file."""
        return Features.from_arrow_schema(self.splits[0].files[0].schema)

    @property
    def files(self) -> tuple[FileFacts, ...]:
        """The files of all splits, in order."""
        return tuple(file for split in self.splits for file in split.files)


@dataclass(frozen=True)
class FolderFacts:
    """The whole folder."""

    configs: tuple[ConfigFacts, ...]  # in the order of TASKS
    build: dict[str, Any]  # what the manifest tells of how it was made; {} where it tells nothing

    @property
    def default(self) -> ConfigFacts:
        """The configuration that is loaded where none is named: `conversation`, else the first."""
        return next((config for config in self.configs if config.task.name == "conversation"), self.configs[0])

    @property
    def generated(self) -> dict[str, Any]:
        """What is known of how `svit generate` made the text: models, prompts; {} where it is SVIT's own."""
        return dict(self.build.get("generator") or {})

    @property
    def answers(self) -> int:
        """How many different answers there are at least: those of the four tasks, else of the largest configuration."""
        counts = {config.task.name: sum(split.answers for split in config.splits) for config in self.configs}
        tasks = [count for name, count in counts.items() if TASKS[name].form == "svit" and not TASKS[name].parts]
        return max(sum(tasks), *counts.values())

    @property
    def images(self) -> frozenset[int]:
        """Which Visual Genome images occur anywhere."""
        return frozenset[int]().union(*(split.images for config in self.configs for split in config.splits))


def read_facts(root: Path) -> FolderFacts:
    """Read what is known of a folder that the builder has written.

    Files whose digest is not in the manifest are read to their end for it.

    Raises:
        SourceNotFound: there is no manifest, or a file that it names is missing.
        BuildError: the manifest, or a footer, is not what the builder writes.
    """
    try:
        manifest = json.loads((root / MANIFEST).read_bytes())
        listed = [(str(file["path"]), file) for file in manifest["files"]]
    except FileNotFoundError:
        raise SourceNotFound(f"{root / MANIFEST}: not found, so the build has not ended. Run it again.") from None
    except (ValueError, TypeError, KeyError) as error:
        raise BuildError(f"{root / MANIFEST}: is no list of files as the builder writes it ({error!r}).") from error
    found: dict[str, dict[str, list[FileFacts]]] = {}
    for path, listing in listed:
        match = _PATH.fullmatch(path)
        if match is not None and match[1] in TASKS:
            found.setdefault(match[1], {}).setdefault(match[2], []).append(_read_file(root, path, listing))
    if not found:
        raise BuildError(f"{root / MANIFEST}: names no Parquet file of a configuration. Build some first.")
    return FolderFacts(
        tuple(ConfigFacts(task, _splits(found[name])) for name, task in TASKS.items() if name in found),
        dict(manifest.get("build") or {}),
    )


def _splits(found: dict[str, list[FileFacts]]) -> tuple[SplitFacts, ...]:
    names = sorted(found, key=lambda name: (_SPLITS.index(name) if name in _SPLITS else len(_SPLITS), name))
    return tuple(SplitFacts(name, tuple(sorted(found[name], key=lambda file: file.path))) for name in names)


def _read_file(root: Path, path: str, listing: dict[str, Any]) -> FileFacts:
    where = root / path
    try:
        footer = pq.read_metadata(where)
        schema = footer.schema.to_arrow_schema()
        entry = json.loads((footer.metadata or {})[ENTRY.encode()])
        for key in ("build", "image_ids", "conversations", "missing", "text_only"):
            entry[key]
    except FileNotFoundError:
        raise SourceNotFound(f"{where}: is in {MANIFEST} and not there. Build it again.") from None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise BuildError(f"{where}: has no footer as the builder writes it ({error!r}). Build it again.") from error
    digest = listing.get("sha256")
    if digest is None:
        with where.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    return FileFacts(
        path,
        where.stat().st_size,
        footer.num_rows,
        str(digest),
        sum(group.total_byte_size for group in groups),
        sum(_messages(group) for group in groups),
        schema,
        entry,
    )


def _messages(group: Any) -> int:
    """Return how many messages a row group has: the roles that are not null."""
    columns = (group.column(number) for number in range(group.num_columns))
    roles = [column for column in columns if column.path_in_schema.endswith(".role")]
    return sum(column.num_values - (column.statistics.null_count if column.statistics else 0) for column in roles)
