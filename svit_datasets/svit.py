"""The builder: declares configurations and columns, connects the parts, opens nothing itself.

`datasets` names a builder after its module, and rewrites ``open`` and ``os.path`` inside the module that defines one;
so this file is called svit.py and does no I/O of its own.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import datasets
from datasets.builder import Key
from datasets.fingerprint import Hasher

from svit_datasets.ahead import shard_windows
from svit_datasets.cache import cache_root
from svit_datasets.corpus import make_plan
from svit_datasets.features import features_of
from svit_datasets.filters import excluded_ids, listed_ids, split_rows
from svit_datasets.keep import cell_for
from svit_datasets.options import Options, resolve
from svit_datasets.report import Tally
from svit_datasets.storage import Storage
from svit_datasets.tables import tables
from svit_datasets.tasks import TASKS, get_task

if TYPE_CHECKING:
    import os

    import pyarrow as pa

    from svit_datasets.plan import Plan
    from svit_datasets.tables import Cell

__all__ = ["Svit", "SvitConfig"]


@dataclass
class SvitConfig(datasets.BuilderConfig):  # type: ignore[misc]  # datasets ships no types
    """The arguments of `load_dataset` that are this dataset's own; see there."""

    images: Any = None
    rows: str = "image"
    holdout: Any = "official"
    on_missing_image: str = "error"
    on_bad_record: str = "error"
    image_ids: Any = None
    exclude: Any = None
    known_bad: str = "drop"
    verify: bool = True

    def options(self) -> Options:
        """Return them checked."""
        own = {field.name: getattr(self, field.name) for field in fields(Options) if field.name != "task"}
        return Options(get_task(self.name), **own)


@dataclass(frozen=True)
class Shard:
    """A part of a split; travels to worker processes."""

    plan: Plan
    number: int  # of plan.shards()
    cell: Cell


class Svit(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """SVIT's configurations, joined from the raw files while they are read."""

    BUILDER_CONFIG_CLASS = SvitConfig
    BUILDER_CONFIGS = [SvitConfig(name=task.name, description=task.summary) for task in TASKS.values()]  # noqa: RUF012

    def __init__(self, cache_dir: str | os.PathLike[str] | None = None, **arguments: Any) -> None:
        self._sources = cache_root(cache_dir)
        super().__init__(cache_dir=None if cache_dir is None else str(cache_dir), **arguments)

    def _create_builder_config(
        self, config_name: str | None = None, custom_features: Any = None, config_id: str | None = None, **own: Any
    ) -> tuple[SvitConfig, str]:
        """Find the files now, so that the cache's name says which they are: a changed source is another dataset."""
        task = get_task(config_name)
        config, _ = super()._create_builder_config(task.name, custom_features, config_id or f"{task.name}-svit")
        config = copy.deepcopy(config)
        for name, value in own.items():  # datasets itself would leave out a None, which holdout=None means
            if not hasattr(config, name):
                raise ValueError(f"load_dataset('svit') has no argument {name!r}.")
            setattr(config, name, tuple(value) if isinstance(value, Iterator) else value)  # it is asked more than once
        self._storage = Storage(options=self.storage_options or None, token=self.token)
        self._resolved = resolve(config.options(), self._storage, self._sources)
        policies = (config.verify, config.on_missing_image, config.on_bad_record, config.known_bad)
        choice = [config.rows, *policies, config.image_ids]
        if config.image_ids is not None and not callable(config.image_ids):
            choice[-1] = listed_ids(config.image_ids).tolist()
        if config.exclude is not None:
            choice.append(excluded_ids(config.exclude).tolist())
        digest = hashlib.sha256(f"{self._resolved.fingerprint}\0{Hasher.hash(choice)}".encode()).hexdigest()[:16]
        return config, config_id or f"{task.name}-{digest}"

    def _info(self) -> datasets.DatasetInfo:
        task = get_task(self.config.name)
        return datasets.DatasetInfo(
            description=task.summary,
            features=features_of(task, self.config.rows),
            homepage="https://huggingface.co/datasets/BAAI/SVIT",
            license="cc-by-4.0",
        )

    @property
    def tally(self) -> Tally:
        """Where what is left out of this dataset is counted."""
        return Tally(self._sources / "reports" / f"{self.config_id}.jsonl")

    def plan(self) -> Plan:
        """Parse the text if need be, locate every photo, and say what to read; both splits together.

        Raises:
            SvitError: as in `make_plan`.
        """
        plan, left = make_plan(self.config.options(), self._resolved, self._storage, self._sources)
        self.tally.begin(left)
        return plan

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        plan = self.plan()
        task = get_task(self.config.name)
        embeds = self.config.rows == "image" and task.form == "svit"
        cell = cell_for(streaming=dl_manager.is_streaming, embeds=embeds, folder=self._sources / "photos")
        splits = split_rows(plan.image_ids, self._resolved.holdout)
        return [
            datasets.SplitGenerator(name, gen_kwargs={"shards": _shards(plan.take(rows), cell)})
            for name, rows in splits.items()
        ]

    def _generate_tables(self, shards: list[Shard]) -> Iterator[tuple[Key, pa.Table]]:
        task, rows, policy = get_task(self.config.name), self.config.rows, self.config.on_missing_image
        tally, verify, schema = self.tally, self.config.verify, features_of(task, rows).arrow_schema
        for shard in shards:
            number = 0
            for window in shard_windows(shard.plan, shard.number, policy, self._storage, tally, verify=verify):
                for table in tables(window, task, rows, shard.cell, schema):
                    yield Key(shard.number, number), table
                    number += 1


def _shards(plan: Plan, cell: Cell) -> list[Shard]:
    return [Shard(plan, number, cell) for number in range(len(plan.shards()))]
