"""Rules on what rows hold: the first of each split, as the viewer shows them; and photos that are not there.

Photos' bytes are not read, but for row groups of files whose writer does not tell which of them are null.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Image, Value

from svit_builder.doctor.rule import Finding, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.doctor.folder import Config, File, Folder

_PAGE_ROWS, _FEWEST = 100, 10  # rows of the first page: at most, and those that are always shown
_PAGE = 200_000  # bytes of its JSON, as the Hub's viewer is set up
_CELL = 100  # bytes that are left of a cell that is cut
_PHOTO = 350  # bytes of JSON that stand for a photo: its address, width and height
_URLS = 0.3  # share of cells from which a column of texts counts as one of addresses
_LABELS, _LABEL_SHARE = 1000, 0.2  # at most so many different texts, and so many a row, count as labels


def _first_splits(folder: Folder) -> Iterator[tuple[Config, str, list[File]]]:
    """Yield one split of each configuration: what is only good to know is told of it alone."""
    seen = set()
    for config, split, files in folder.split_files():
        if config.name not in seen:
            seen.add(config.name)
            yield config, split, files


def _first_rows(folder: Folder, files: list[File]) -> pa.Table:
    """Return the first rows of a split without their photos; read once, as many row groups as it takes."""
    if files[0].path not in folder.kept:
        wanted = [name for name in files[0].schema.names if name not in files[0].photos]
        parts: list[pa.Table] = []
        there = 0
        for file in files:
            groups = []
            for number in range(file.footer.num_row_groups):
                if there < _PAGE_ROWS:
                    groups.append(number)
                    there += file.footer.row_group(number).num_rows
            if groups or not parts:
                parts.append(folder.read(file, wanted, groups).replace_schema_metadata())
        whole = pa.concat_tables(parts, promote_options="permissive")
        folder.kept[files[0].path] = whole.slice(0, _PAGE_ROWS)
    return folder.kept[files[0].path]


def _row_sizes(folder: Folder, files: list[File]) -> list[tuple[int, str]]:
    """Return the JSON bytes of each of the first rows, and its largest column."""
    photos = len(files[0].photos)
    sizes = []
    for number, row in enumerate(_first_rows(folder, files).to_pylist()):
        cells = {name: len(json.dumps(value, ensure_ascii=False, default=str).encode()) for name, value in row.items()}
        frame = len(json.dumps({"row_idx": number, "row": dict.fromkeys(row, 0), "truncated_cells": []}))
        sizes.append((sum(cells.values()) + frame + _PHOTO * photos, max(cells, key=cells.__getitem__, default="")))
    return sizes


@rule(
    "warning",
    f"It cuts the texts of these rows to {_CELL} bytes a cell.",
    "Put fewer or shorter texts into a row.",
    limit=_PAGE,
    unit="bytes of JSON",
)
def first_rows(folder: Folder) -> Iterator[Finding]:
    """The first 10 rows of a split fit on the viewer's first page."""
    for config, split, files in folder.split_files():
        sizes = _row_sizes(folder, files)[:_FEWEST]
        total = sum(size for size, _ in sizes)
        where = f"config {config.name}, split {split}"
        if sizes:
            where += f", most of it in column {max(sizes)[1]}"
        yield Finding(total, where, bad=total > _PAGE)


@rule(
    "info",
    "The others are on further pages.",
)
def first_page(folder: Folder) -> Iterator[Finding]:
    """The viewer's first page has as many of a split's first 100 rows as fit."""
    for config, split, files in _first_splits(folder):
        sizes = [size for size, _ in _row_sizes(folder, files)]
        shown, total = 0, 0
        for size in sizes:
            total += size
            if total > _PAGE and shown >= _FEWEST:
                break
            shown += 1
        yield Finding(f"{shown} of {len(sizes)} rows", f"config {config.name}, split {split}")


@rule(
    "error",
    "A web address breaks the preview of its split; a path on a disk is shown as nothing, and found by nobody else.",
    "Write the photos' bytes into the rows: build again.",
)
def image_cells(folder: Folder) -> Iterator[Finding]:
    """Every photo is inside its row, or at an address on the Hub."""
    for file in folder.files.values():
        for column in file.photos if not file.why else ():
            bare: dict[str, int] = {}
            for number in _with_nulls(file, column):
                cells = folder.read(file, [column], [number])[column].combine_chunks()
                data, path = cells.field("bytes"), cells.field("path")
                for name in path.filter(pc.and_(pc.is_null(data), pc.is_valid(cells))).to_pylist():
                    if not str(name).startswith("hf://"):
                        bare[_kind(name)] = bare.get(_kind(name), 0) + 1
            for kind, count in bare.items():
                yield Finding(
                    f"{count} photo{'' if count == 1 else 's'} {kind}", f"{file.path}, column {column}", bad=True
                )
            if not bare:
                yield Finding("all inside", f"{file.path}, column {column}")


def _with_nulls(file: File, column: str) -> list[int]:
    """Return the row groups that have photos without bytes, or may have: by how many values have which level."""
    chunks = [chunk for chunk in file.chunks if chunk.column == f"{column}.bytes"]
    return [chunk.group for chunk in chunks if len(chunk.levels) < 2 or chunk.levels[-2]]


def _kind(path: str | None) -> str:
    if path is None:
        return "with neither bytes nor path"
    return "at web addresses" if path.startswith(("http://", "https://")) else "on a disk"


@rule(
    "info",
    "Others are shown as text. Looked at in the first rows of each configuration.",
)
def url_columns(folder: Folder) -> Iterator[Finding]:
    """A text column of which more than 30 % are web addresses is shown as what is there, photos as photos."""
    for config, split, files in _first_splits(folder):
        table = _first_rows(folder, files)
        says = []
        for name in _texts(files[0]):
            values = [value for value in table[name].to_pylist() if value]
            share = sum(value.startswith(("http://", "https://")) for value in values) / max(1, len(table))
            says.append(f"{name} as {'addresses' if share > _URLS else 'text'}")
        if says:
            yield Finding(", ".join(says), f"config {config.name}, split {split}")


@rule(
    "info",
    f"Few: at most {_LABELS:,}, and {_LABEL_SHARE:.0%} of the rows. Looked at in the first file of each configuration.",
)
def statistics(folder: Folder) -> Iterator[Finding]:
    """A text column's statistics are those of labels if it has few different texts, else those of lengths."""
    for config, split, files in _first_splits(folder):
        says = []
        for name in _texts(files[0]):
            values = folder.read(files[0], [name])[name]
            different = pc.count_distinct(values).as_py()
            labels = different <= _LABELS and different <= _LABEL_SHARE * len(values)
            says.append(f"{name} string_{'label' if labels else 'text'} ({different:,} different)")
        if says:
            yield Finding(", ".join(says), f"config {config.name}, split {split}")


@rule(
    "info",
    "Digits and other scripts are not found.",
)
def search(folder: Folder) -> Iterator[Finding]:
    """The viewer searches every column that holds text at any depth; words of letters a to z only."""
    for config in folder.configs:
        paths = (path for split in config.splits.values() for path in split if path in folder.files)
        first = next((folder.files[path] for path in paths if not folder.files[path].why), None)
        if first is not None:
            found = [name for name, kind in first.features.items() if _has_text(kind)]
            yield Finding(", ".join(found) or "none", f"config {config.name}")


def _texts(file: File) -> list[str]:
    return [
        name
        for name, kind in file.features.items()
        if isinstance(kind, Value) and kind.dtype in {"string", "large_string"}
    ]


def _has_text(kind: Any) -> bool:
    if isinstance(kind, dict):
        return any(map(_has_text, kind.values()))
    if isinstance(kind, Value):
        return kind.dtype in {"string", "large_string"}
    return not isinstance(kind, Image) and hasattr(kind, "feature") and _has_text(kind.feature)
