"""What a build did, as values: files, rows, bytes, and what was left out, by configuration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from svit_datasets.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from svit_builder.build.making import Made
    from svit_builder.shard import Written
    from svit_builder.shards import Cut

__all__ = ["BuildReport", "ConfigReport", "report_config"]


@dataclass(frozen=True)
class ConfigReport:
    """What became of one configuration."""

    files: int  # that are there
    planned: int  # that there should be
    rows: dict[str, int]  # split -> rows of the files that are there
    bytes: int  # of these files
    left_out: Report  # by planning, and of these files


@dataclass(frozen=True)
class BuildReport:
    """What a build did and what there is."""

    out: str  # the folder
    configs: dict[str, ConfigReport]  # those that were asked for
    made: tuple[str, ...]  # paths of the files that were made now
    kept: tuple[str, ...]  # of those that were there
    missing: tuple[str, ...]  # of those that other parts have to make, or that failed there; () when all is done
    removed: tuple[str, ...]  # of those of an older build
    skipped: dict[str, str] = field(default_factory=dict)  # configuration -> why it was not built
    manifest: str | None = None  # None as long as files are missing
    card: str | None = None  # None: not written, because files are missing or the folder is an object store

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "out": self.out,
            "configs": {
                name: {
                    "files": config.files,
                    "planned": config.planned,
                    "rows": config.rows,
                    "bytes": config.bytes,
                    "left_out": config.left_out.counts,
                    "examples": config.left_out.examples,
                }
                for name, config in self.configs.items()
            },
            **{name: list(getattr(self, name)) for name in ("made", "kept", "missing", "removed")},
            "skipped": self.skipped,
            "manifest": self.manifest,
            "card": self.card,
        }


def report_config(cut: Cut, there: dict[str, Written], made: Iterable[Made]) -> ConfigReport:
    """Return what there is of one configuration.

    Args:
        cut: the configuration.
        there: all finished files, by path.
        made: what was made now; it alone has the words of what was left out while reading.
    """
    shards = [shard for shard in cut.shards if shard.path in there]
    rows: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for kind, count, words in cut.left:
        if count:
            counts[kind] += count
            examples.setdefault(kind, []).extend(words[:5])
    for shard in shards:
        rows[shard.split] += there[shard.path].rows
        counts.update(there[shard.path].left_out)
    of_config = {shard.path for shard in shards}
    for one in made:
        for kind, words in one.examples.items() if one.written.path in of_config else ():
            examples.setdefault(kind, []).extend(words[: 5 - len(examples[kind])] if kind in examples else words[:5])
    for kind in counts:
        examples.setdefault(kind, [f"see {cut.shards[0].config}'s footers"])
    size = sum(there[shard.path].bytes for shard in shards)
    return ConfigReport(len(shards), len(cut.shards), dict(rows), size, Report(dict(counts), examples))
