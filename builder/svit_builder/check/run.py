"""A dataset in, a report out; and, where asked for, a cleaned copy. Configurations are checked one after another."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.annotations import open_annotations
from svit_builder.check.contamination import Against, read_against, standing_in
from svit_builder.check.examine import Findings, examine
from svit_builder.check.fixing import Fixer
from svit_builder.check.objects import vocabulary
from svit_builder.data import configs_in, open_data, url_of
from svit_builder.generate.rules import RULES_VERSION
from svit_datasets.errors import OptionError, SourceNotFound
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from svit_builder.annotations import Annotations
    from svit_builder.data import Data

    Ids = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["CHANGES", "Report", "check"]

CHANGES = "changes.jsonl"  # in the folder of the cleaned copy
_VALIDATION = re.compile(r"(val201[47])")


@dataclass
class Report:
    """What was found in a dataset."""

    place: str
    findings: list[Findings] = field(default_factory=list)  # one a configuration
    photos: int = 0  # of Visual Genome, each once
    in_coco: int | None = None  # photos that are COCO's too; None: not known
    lists: list[Against] = field(default_factory=list)
    standing: dict[str, Ids] = field(default_factory=dict)  # name of a list -> photos that stand in it
    fixed: dict[str, dict[str, int]] = field(default_factory=dict)  # configuration -> QAs left out, mended

    @property
    def exclude(self) -> list[int]:
        """The photos that stand in any of the lists, ascending; ``load_dataset(exclude=...)`` leaves them out."""
        found: set[int] = set().union(*(ids.tolist() for ids in self.standing.values()))
        return sorted(found)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; as JSON this is what ``exclude=`` reads."""
        return {
            "version": 1,
            "place": self.place,
            "rules": RULES_VERSION,
            "configs": [one.to_json() for one in self.findings],
            "photos": self.photos,
            "in_coco": self.in_coco,
            "against": [
                {"name": one.name, "ids": len(one.ids), "kind": one.kind, "photos": self.standing[one.name].tolist()}
                for one in self.lists
            ],
            "fixed": self.fixed,
            "exclude": self.exclude,
        }


def check(
    place: str,
    *,
    configs: Sequence[str] = (),
    images: Sequence[str] | None = None,
    annotations: str | None = None,
    against: Iterable[str] = (),
    similar: bool = False,
    fix: str | os.PathLike[str] | None = None,
    keep: int = 5,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    storage_options: dict[str, Any] | None = None,
    progress: bool = False,
    on_config: Callable[[Data, Findings], None] | None = None,
) -> Report:
    """Check a dataset: one pass over its texts, in bounded memory; no photo is read.

    Args:
        place: as for `svit_builder.data.open_data`.
        configs: only these; by default all that are there, but not ``all`` where its parts are.
        images: where photos are; for what ``on_config`` reads.
        annotations: folder, zip or URL of Visual Genome's and MS-COCO's annotations. Objects, boxes and numbers are
            compared with them; COCO's val2014 and val2017 files among them are lists of evaluation images.
        against: more such lists; see `contamination.read_against`.
        similar: look for nearly equal answers too; needs rensa, and 270 bytes of memory an answer.
        fix: write a cleaned copy into this folder, which must not exist yet or be empty.
        keep: examples of each check.
        cache_dir: where prepared text and annotations are kept.
        token: of the Hub.
        storage_options: of fsspec.
        progress: show bars on a terminal.
        on_config: called with each configuration when it is done.

    Raises:
        OptionError: ``fix`` holds files; a list cannot be read.
        MissingDependency: rensa is not installed.
        SvitError: a file cannot be read.
    """
    lists = [read_against(text) for text in against]
    options = {"cache_dir": cache_dir, "token": token, "storage_options": storage_options}
    known = None if annotations is None else open_annotations(annotations, **options)  # type: ignore[arg-type]
    report = Report(place, lists=[*lists, *_validation_lists(known)])
    names = list(configs) or _without_union(configs_in(place, token=token, storage_options=storage_options))
    nouns = frozenset() if known is None else vocabulary(known.read())
    ids: list[Ids] = []
    with ExitStack() as stack:
        out = None if fix is None else _empty_folder(fix)
        changes = None if out is None else stack.enter_context((out / CHANGES).open("w", encoding="utf-8"))
        for name in names:
            data = open_data(place, name, images=images, known_bad="keep", **options)  # type: ignore[arg-type]
            ids.append(data.image_ids)
            found_of = {"annotations": known, "nouns": nouns, "similar": similar, "keep": keep, "progress": progress}
            if out is None or changes is None:
                found = examine(data, **found_of)  # type: ignore[arg-type]
            else:
                with Fixer(out, data.task, changes) as fixer:
                    found = examine(data, on_row=fixer, **found_of)  # type: ignore[arg-type]
                    fixer.unusable(found.unusable)
                report.fixed[name] = {"left_out": fixer.left_out, "mended": fixer.mended}
            report.findings.append(found)
            if on_config is not None:
                on_config(data, found)
    _add_lists(report, np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *ids])), known, options)
    return report


def _without_union(names: list[str]) -> list[str]:
    """Leave out a configuration whose parts are there: all of it would be looked at twice."""
    return [name for name in names if not TASKS[name].parts or not set(TASKS[name].parts) <= set(names)]


def _empty_folder(fix: str | os.PathLike[str]) -> Path:
    out = Path(fix).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptionError(f"--fix {out}: it holds files already. Name a folder that does not exist yet.")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _validation_lists(known: Annotations | None) -> Iterator[Against]:
    """Yield COCO's validation images, as far as its files lie among the annotations."""
    if known is None:
        return
    found: dict[str, list[Ids]] = {}
    for file, ids in known.coco_files():
        match = _VALIDATION.search(file)
        if match is not None:
            found.setdefault(match[1], []).append(ids)
    for name, parts in sorted(found.items()):
        yield Against(name, "coco", np.unique(np.concatenate(parts)))


def _add_lists(report: Report, ids: Ids, known: Annotations | None, options: dict[str, Any]) -> None:
    ids = ids[ids >= 0]
    report.photos = len(ids)
    if known is None and any(one.kind == "coco" for one in report.lists):
        try:
            known = open_annotations(url_of(report.place), **options)
        except SourceNotFound:
            known = None
    coco = None
    if known is not None:
        coco = known.coco_ids(ids)
        report.in_coco = int((coco > 0).sum())
    report.standing = standing_in(report.lists, ids, coco)
