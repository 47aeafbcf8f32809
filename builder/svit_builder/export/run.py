"""A dataset and a format in, a folder out: written under another name, and renamed when all of it is there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from svit_builder.export.formats import get_format
from svit_builder.export.items import Plan, items_of
from svit_datasets.boxes import CONVENTIONS
from svit_datasets.errors import BuildError, OptionError

if TYPE_CHECKING:
    import os

    from svit_builder.data import Data
    from svit_builder.export.formats import Format

__all__ = ["ExportReport", "export"]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written."""

    out: str  # the folder
    format: str
    splits: dict[str, int]  # split -> records
    photos: int  # files, or cells of records
    files: int
    bytes: int
    left_out: dict[str, int]  # "missing_image", "bad_record": records; "bad_box": boxes; empty where nothing was
    examples: dict[str, str]  # the first of each kind


def export(
    data: Data,
    out: str | os.PathLike[str],
    *,
    format: str,  # noqa: A002 - as the option is called
    rows: str = "image",
    boxes: str | None = None,
    limit: int | None = None,
    on_missing_image: str = "error",
    on_bad_record: str = "error",
    shard_bytes: int = 256 << 20,
    progress: bool = False,
) -> ExportReport:
    """Write a configuration as another trainer's files.

    Streams: holds some 32 rows. Photos keep their bytes; formats with a folder of photos have each once. The folder
    is written as ``OUT.partial`` and renamed last; what an earlier call left under that name is removed.

    Args:
        data: the configuration, from `svit_builder.data.open_data`.
        out: a folder that does not exist yet, or is empty.
        format: a key of `FORMATS`.
        rows: "image" (a record an image, all its conversations in one chat), or "conversation"; the latter not in
            formats whose records hold the photo, which would then be there several times. LLaVA form has its records.
        boxes: the convention that boxes are written in; by default the format's own. In LLaVA form the text's own
            is "padded", and stays where "svit" is asked for.
        limit: rows of each split, at most.
        on_missing_image: "error", "skip", or "null", which keeps the text.
        on_bad_record: "error" or "skip", for conversations that the format cannot hold.
        shard_bytes: of a file, about, in formats of several.
        progress: show a bar on a terminal.

    Raises:
        OptionError: an argument has a value that is not allowed.
        MissingDependency: the format needs a package that is not installed.
        BuildError: a file cannot be written.
        SvitError: as in `Data.rows`; or a record cannot be used.
    """
    chosen = get_format(format)
    if chosen.only and data.task.name not in chosen.only:
        told = " and ".join(chosen.only)
        raise OptionError(f"Format {format!r} is for {told}, whose boxes are in the photo's frame.")
    plan = Plan(data.task, rows, boxes or chosen.boxes, on_missing_image, on_bad_record, shard_bytes)
    _check(chosen, plan, limit)
    target = _free(Path(out).expanduser())
    partial = target.with_name(f"{target.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    splits: dict[str, int] = {}
    try:
        partial.mkdir(parents=True)
        for split, size in data.splits.items():
            before = plan.written
            items = tqdm(
                items_of(data, split, plan, limit),
                total=min(size, limit or size) if rows == "image" else None,
                desc=f"{data.task.name}, {split}",
                unit=" records",
                delay=1,
                leave=False,
                disable=None if progress else True,
            )
            chosen.write(items, partial, split, plan)
            splits[split] = plan.written - before
        files = [path.stat().st_size for path in partial.rglob("*") if path.is_file()]
        if target.exists():
            target.rmdir()  # it is empty
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if type(error).__module__.startswith("svit_datasets"):
            raise
        raise BuildError(f"{out}: {error}. Nothing partial was kept; run it again when there is room.") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    left_out = dict(sorted((+plan.left_out).items()))
    return ExportReport(str(out), format, splits, plan.photos, len(files), sum(files), left_out, plan.examples)


def _check(chosen: Format, plan: Plan, limit: int | None) -> None:
    one_photo = chosen.in_rows or bool(chosen.only)
    allowed = {
        "rows": (plan.rows, ("image",) if one_photo else ("image", "conversation")),
        "on_missing_image": (plan.on_missing_image, ("error", "skip", "null")),
        "on_bad_record": (plan.on_bad_record, ("error", "skip")),
        "boxes": (plan.boxes, ("svit",) if chosen.only else tuple(CONVENTIONS)),
    }
    for name, (value, values) in allowed.items():
        if value not in values:
            told = ", ".join(map(repr, values))
            raise OptionError(f"{name}={value!r} is not allowed for format {chosen.name!r}. Allowed: {told}.")
    if not 1 << 16 <= plan.shard_bytes <= 2 << 30:  # MDS counts bytes of a file in 32 bits
        raise OptionError(f"shard_bytes={plan.shard_bytes!r} is not allowed: give 65,536 to 2,147,483,648.")
    if limit is not None and limit < 1:
        raise OptionError(f"limit={limit!r} is not allowed: give 1 or more.")


def _free(target: Path) -> Path:
    """Return the folder if nothing is in it.

    Raises:
        OptionError: something is.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OptionError(f"{target} is not an empty folder. Name another one: an export overwrites nothing.")
    return target
