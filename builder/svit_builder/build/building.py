"""Sources in, a finished dataset out: plan, make what is missing, and last of all the manifest and the card.

The order of the last steps is what makes a killed build safe: file, mark, then the manifest, then files of an older
build go. While a manifest is there, everything that it names is there too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from svit_builder.build import executors
from svit_builder.build.making import Job, make
from svit_builder.build.origin import origin
from svit_builder.build.planning import choose, finished, known_files, plan
from svit_builder.build.report import BuildReport, report_config
from svit_builder.folder import Folder
from svit_builder.manifest import MARKS, files_in, read_manifest, read_marks, save, seen
from svit_datasets.cache import cache_root
from svit_datasets.errors import BuildError, OptionError
from svit_datasets.options import Options
from svit_datasets.repository import MANIFEST
from svit_datasets.storage import Storage
from svit_datasets.tasks import TASKS, get_task

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

    from svit_builder.build.making import Made
    from svit_builder.build.planning import Planned
    from svit_builder.shard import Shard, Written
    from svit_datasets.filters import ImageIds

__all__ = ["build"]


def build(
    out: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    configs: Iterable[str] | None = None,
    executor: str = "local",
    num_workers: int | None = None,
    address: str | None = None,
    resume: bool = True,
    shard: tuple[int, int] | None = None,
    finish: bool = False,
    statistics: bool = False,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    holdout: str | os.PathLike[str] | None = "official",
    on_missing_image: str = "error",
    on_bad_record: str = "error",
    image_ids: ImageIds | None = None,
    known_bad: str = "drop",
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    storage_options: dict[str, Any] | None = None,
    row_group: int = 32,
    shard_bytes: int = 500 << 20,
) -> BuildReport:
    """Build the Hub dataset: Parquet files of some configurations, `manifest.json`, and the card.

    A file is a pure function of the sources and the options, so it does not matter who makes it, or how often. A
    rerun makes only files that are not there yet; configurations that are there and not asked for stay as they are.
    In memory are the plan, 80 bytes an image, and in each worker a few row groups.

    Args:
        out: the folder of the dataset; or a URL of an object store, such as s3://…: each file is then written to a
            temporary file on the worker and sent. The card is written only into a folder.
        data_dir: as for `load_dataset`. With several machines, a path that all of them have, or a URL.
        configs: which configurations; None: those of the four tasks, core_150k and mix_665k whose file is there.
        executor: "local" or "ray"; see `executors.run`, also for the next two.
        num_workers: files at a time.
        address: of a Ray cluster.
        resume: False makes every file again.
        shard: (i, n) makes the i-th of n parts of what there is to make, 0-based, and no manifest: for n jobs that
            know nothing of each other. The same call without it, afterwards, is the last step.
        finish: only the last step: make no file, and fail if one is missing.
        statistics: measure texts for a table in the card, about 25 µs an answer; `svit publish` does it in any case.
        images: where photos are, as for `load_dataset`, like the next eight.
        holdout: which images are the test split.
        on_missing_image: "error", "skip" or "null".
        on_bad_record: "error" or "skip".
        image_ids: only these images.
        known_bad: "drop" or "keep".
        cache_dir: where prepared text is kept; each machine makes its own.
        token: of the Hub.
        storage_options: of fsspec, for what is read and for what is written.
        row_group: as in `shards.write_config`, like the next.
        shard_bytes: of a file, at most.

    Returns:
        What was made, what there is, and what was left out.

    Raises:
        OptionError: an argument has a value that is not allowed.
        BuildError: a worker died again and again; or ``finish``, and files are missing.
        SvitError: as in `load_dataset`. Finished files stay, and count at the next run.
        OSError: a file cannot be written.
    """
    _check(out, executor, num_workers, shard, finish=finish)
    storage, cache = Storage(options=storage_options, token=token), cache_root(cache_dir)
    folder = Folder.at(out, storage)
    _check_card(folder)
    place = None if data_dir is None else str(data_dir)
    options = Options(  # a wrong one is told before anything is looked for
        get_task("conversation"),
        data_dir=place,
        images=tuple(images) if isinstance(images, Iterator) else images,
        holdout=holdout,
        on_missing_image=on_missing_image,
        on_bad_record=on_bad_record,
        image_ids=image_ids,
        known_bad=known_bad,
    )
    planned = plan(
        choose(configs, place, storage),
        lambda name: replace(options, task=get_task(name)),
        storage,
        cache,
        row_group=row_group,
        shard_bytes=shard_bytes,
    )
    shards = planned.shards
    there = finished(folder, shards, known_files(folder, shards), storage, cache) if resume or finish else {}
    kept = tuple(there)
    missing = [one for one in shards if one.path not in there]
    if finish and missing:
        raise BuildError(_still_missing(out, shards, missing))
    mine = missing if shard is None else [one for one in shards[shard[0] :: shard[1]] if one.path not in there]
    kept_at = None if cache_dir is None else str(cache_dir)
    jobs = [Job(one, planned.cuts[one.config].resolved.texts, folder, storage, kept_at) for one in mine]
    if jobs:
        _forget(folder, {one.path for one in mine})
    made = list(_made(jobs, executor=executor, num_workers=num_workers, address=address))
    there |= {one.written.path: one.written for one in made}
    report = BuildReport(
        folder.url,
        {name: report_config(cut, there, made) for name, cut in planned.cuts.items()},
        tuple(one.written.path for one in made),
        kept,
        tuple(one.path for one in shards if one.path not in there),
        (),
        planned.skipped,
    )
    if shard is not None:
        return report
    return _end(folder, planned, there, report, data_dir=place, statistics=statistics, cache_dir=kept_at)


def _check(out: object, executor: str, num_workers: int | None, shard: tuple[int, int] | None, *, finish: bool) -> None:
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise OptionError(f"shard={shard!r} is not allowed: give (i, n) with i from 0 to n - 1.")
    if shard is not None and finish:
        raise OptionError("finish=True is not allowed with shard=…: it is the step after all parts.")
    if str(out).startswith("memory://") and (executor != "local" or num_workers != 0):
        raise OptionError("memory:// belongs to one process: give num_workers=0.")


def _check_card(folder: Folder) -> None:
    """Raise now rather than after the last file, if the card cannot be written."""
    from svit_builder.card.write import CARD, is_ours  # noqa: PLC0415 - the card reads what was built

    if folder.path is not None and (folder.path / CARD).exists() and not is_ours(folder.path / CARD):
        raise BuildError(
            f"{folder.path / CARD}: was not made here, and would be lost. Move it away; the card that is made has a "
            "place for words of your own."
        )


def _made(jobs: list[Job], **how: Any) -> Iterator[Made]:
    """Yield what was made as it comes, with a progress bar on a terminal."""
    images = sum(len(job.shard.plan) for job in jobs)
    with tqdm(total=images, desc="Building", unit=" images", disable=not (jobs and sys.stderr.isatty())) as bar:
        for index, one in executors.run(make, jobs, **how):
            if jobs[index].folder.size(one.written.path) != one.written.bytes:
                raise BuildError(
                    f"{jobs[index]} was made by another machine and is not here: name a folder that all of them "
                    "share, or an object store such as s3://…"
                )
            bar.update(len(jobs[index].shard.plan))
            yield one


def _still_missing(out: object, shards: list[Shard], missing: list[Shard]) -> str:
    return (
        f"{out}: {len(missing)} of {len(shards)} files are not there, or not of this build: "
        f"{', '.join(one.path for one in missing[:3])}{', …' if len(missing) > 3 else ''}. Run their part again, or "
        "all of it without finish: only what is missing is made."
    )


# The last step --------------------------------------------------------------------------------------------------------


def _forget(folder: Folder, paths: set[str]) -> None:
    """Before the first of some files is replaced: take the manifest away, and all that is said of these files.

    What it says of the others is kept aside.
    """
    files, build = _known_now(folder)
    if files:
        others = [written for path, written in files.items() if path not in paths]
        save(folder, others, build, name=f"{MARKS}/{MANIFEST}")
        folder.remove(MANIFEST)
    for path in read_marks(folder, paths):
        folder.remove(f"{MARKS}/{path}.json")


def _known_now(folder: Folder) -> tuple[dict[str, Written], dict[str, Any]]:
    """Return what the manifest says, and where it is silent, the one that was set aside."""
    before, build_before = read_manifest(folder, f"{MARKS}/{MANIFEST}")
    now, build = read_manifest(folder)
    return before | now, build or build_before


def _end(
    folder: Folder,
    planned: Planned,
    there: dict[str, Written],
    report: BuildReport,
    *,
    data_dir: str | None,
    statistics: bool,
    cache_dir: str | None,
) -> BuildReport:
    """Write the manifest, remove what is of an older build, and write the card."""
    others = [name for name in TASKS if name not in planned.cuts]
    known, before = _known_now(folder)
    files = dict(there)
    for path in (f"{config}/{name}" for config in others for name in files_in(folder, config)):
        listed = known.get(path)
        same = listed is not None and listed.sha256 and listed.bytes == folder.size(path)
        files[path] = listed if listed is not None and same else seen(folder, path)
    save(folder, files.values(), origin(before, planned, report, data_dir, folder.storage))
    removed = [
        path
        for path in (f"{config}/{name}" for config in planned.cuts for name in files_in(folder, config))
        if path not in files
    ]
    marks = [f"{MARKS}/{config}/{name}" for config in planned.cuts for name in folder.list(f"{MARKS}/{config}")]
    for path in (*removed, *marks, f"{MARKS}/{MANIFEST}"):
        folder.remove(path)
    _tidy(folder.path, list(planned.cuts))
    card = None
    if folder.path is not None:
        from svit_builder.card import write_card  # noqa: PLC0415 - the card reads what was built, not the other way

        card = str(write_card(folder.path, statistics=None if statistics else (), cache_dir=cache_dir))
    return replace(report, removed=tuple(removed), manifest=folder.url_of(MANIFEST), card=card)


def _tidy(root: Path | None, configs: list[str]) -> None:
    """Remove what killed processes left, and the folders of marks that are empty now."""
    if root is None:
        return
    for config in configs:
        for left_over in (root / config).glob(".*.parquet.*.writing"):
            left_over.unlink(missing_ok=True)
    for folder in (*(root / MARKS / config for config in configs), root / MARKS):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
