"""Rules on files: what their footers and page indexes tell of how they can be read. No row is read.

The figures are those of the dataset viewer of August 2026, which reads pages by the offset index, and of datasets 5.2's
own writer.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from svit_builder.doctor.pages import window_bytes
from svit_builder.doctor.rule import Finding, rule
from svit_datasets.repository import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.doctor.folder import File, Folder

__all__ = ["checksums"]

_BUILD = "Write the files again with `svit build`."
_PAGE_ROWS = 100  # that the viewer asks for at once
_SCAN = 300_000_000  # bytes that it reads for them at most
_GROUP = 100_000_000  # bytes before compression; datasets.config.MAX_ROW_GROUP_SIZE
_FILE = 50_000_000_000  # bytes; what the Hub takes over http
_COLUMNS, _NAME = 1000, 500  # of the viewer


def _readable(folder: Folder) -> list[File]:
    return [file for file in folder.files.values() if not file.why]


@rule(
    "error",
    "`load_dataset` and the viewer fail at it.",
    "Copy or build the file again.",
)
def parquet(folder: Folder) -> Iterator[Finding]:
    """Every file is whole Parquet."""
    for file in folder.files.values():
        yield Finding(file.why or "whole", file.path, bad=bool(file.why))


@rule(
    "error",
    "The upload is refused.",
    "Build with smaller shards.",
    limit=_FILE,
    unit="bytes",
)
def file_bytes(folder: Folder) -> Iterator[Finding]:
    """No file is larger than the Hub takes."""
    for file in folder.files.values():
        yield Finding(file.info.size, file.path, bad=file.info.size > _FILE)


@rule(
    "error",
    "Rows are missing, or come twice.",
    "Remove the files of the older build, or build again.",
)
def shards(folder: Folder) -> Iterator[Finding]:
    """Of each split all files are there, numbered from 0, and none of another build."""
    for config in folder.configs:
        for split, paths in config.splits.items():
            numbered = [re.search(r"-(\d{5})-of-(\d{5})\.parquet$", path) for path in paths]
            found = sorted((int(match[2]), int(match[1])) for match in numbered if match)
            if not found:
                continue
            where = f"config {config.name}, split {split}"
            counts = sorted({count for count, _ in found})
            numbers = [number for _, number in found]
            if len(counts) > 1:
                yield Finding(f"files of {' and of '.join(map(str, counts))}", where, bad=True)
            elif missing := sorted(set(range(counts[0])) - set(numbers)):
                yield Finding(
                    f"{len(missing)} of {counts[0]} missing, the first is number {missing[0]}", where, bad=True
                )
            else:
                yield Finding(len(found), where)


@rule(
    "error",
    "`svit_datasets.stream` over http, and a build that is resumed, go by it.",
    "Run `svit build` again: it writes what is missing and the manifest last.",
)
def manifest(folder: Folder) -> Iterator[Finding]:
    """The manifest lists exactly the files that are there, with their bytes and rows."""
    if folder.manifest is None:
        yield Finding(folder.manifest_problem or "is not there", MANIFEST, bad=True)
        return
    listed = {str(file["path"]): file for file in folder.manifest["files"]}
    for path in sorted(listed.keys() | folder.files.keys()):
        file = folder.files.get(path)
        if path not in listed:
            yield Finding("is not listed", path, bad=True)
        elif path not in folder.names:
            yield Finding("is listed and not there", path, bad=True)
        elif file is None:
            yield Finding("is listed and in no configuration", path, bad=True)
        elif not file.why:
            have = (file.info.size, file.footer.num_rows)
            says = (int(listed[path]["bytes"]), int(listed[path]["rows"]))
            figure = "{:,} bytes and {:,} rows".format(*have)
            more = ", the manifest says {:,} and {:,}".format(*says) if have != says else ""
            yield Finding(figure + more, path, bad=have != says)


@rule(
    "error",
    "Something changed the file after it was built.",
    "Build or copy the file again.",
)
def checksums(folder: Folder) -> Iterator[Finding]:
    """Every file has the digest that the manifest tells. Looked at with `--verify` only."""
    for listed in (folder.manifest or {}).get("files", ()):
        file = folder.files.get(str(listed["path"]))
        if file is None or not listed.get("sha256"):
            continue
        digest = hashlib.sha256()
        with folder.storage.open_found(file.info) as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
        found = digest.hexdigest()
        yield Finding(f"sha256 {found[:16]}…", file.path, bad=found != listed["sha256"])


@rule(
    "error",
    "Photos are loaded as structs of bytes, not as images.",
    _BUILD,
)
def huggingface_metadata(folder: Folder) -> Iterator[Finding]:
    """Every footer has the columns' types as `datasets` writes them."""
    for file in _readable(folder):
        yield Finding("written" if file.has_features else "none", file.path, bad=not file.has_features)


@rule(
    "error",
    "`load_dataset` fails with CastError at the file that differs.",
    _BUILD,
)
def one_schema(folder: Folder) -> Iterator[Finding]:
    """All files of a configuration have the same columns."""
    for config in folder.configs:
        first: File | None = None
        for path in (path for paths in config.splits.values() for path in paths):
            file = folder.files.get(path)
            if file is None or file.why:
                continue
            first = first or file
            same = file.schema.equals(first.schema) and _same_features(file, first)
            yield Finding("the same" if same else f"other than {first.path}", file.path, bad=not same)


def _same_features(one: File, other: File) -> bool:
    if not (one.has_features and other.has_features):  # another rule's business
        return True
    return bool(one.features == other.features)


@rule(
    "error",
    "The viewer does not show the configuration.",
    "Leave columns out, or nest them.",
    limit=_COLUMNS,
    unit="columns",
)
def columns(folder: Folder) -> Iterator[Finding]:
    """No file has more columns than the viewer takes."""
    for file in _readable(folder):
        yield Finding(len(file.schema), file.path, bad=len(file.schema) > _COLUMNS)


@rule(
    "error",
    "The viewer does not show the configuration.",
    "Shorten the name.",
    limit=_NAME,
    unit="characters",
)
def column_names(folder: Folder) -> Iterator[Finding]:
    """No column has a longer name than the viewer takes."""
    for file in _readable(folder):
        longest = max(file.schema.names, key=len, default="")
        yield Finding(len(longest), f"{file.path}, column {longest[:40]}", bad=len(longest) > _NAME)


@rule(
    "error",
    "The viewer reads whole row groups where a page would do, and runs into its limit.",
    "Write the files again with `write_page_index=True`.",
)
def offset_index(folder: Folder) -> Iterator[Finding]:
    """Every column of every row group has an offset index."""
    for file in _readable(folder):
        bare: dict[str, int] = {}
        for number in range(file.footer.num_row_groups):
            group = file.footer.row_group(number)
            for at in range(group.num_columns):
                if not group.column(at).has_offset_index:
                    bare[group.column(at).path_in_schema] = bare.get(group.column(at).path_in_schema, 0) + 1
        for column, count in bare.items():
            yield Finding(f"none in {_groups(count)}", f"{file.path}, column {column}", bad=True)
        if not bare:
            yield Finding("on every column", file.path)


@rule(
    "error",
    "The viewer shows no rows, but TooBigContentError.",
    "Write the files again with smaller row groups and a page index; scale photos down if that is not enough.",
    limit=_SCAN,
    unit="bytes",
)
def page_window(folder: Folder) -> Iterator[Finding]:
    """Any 100 neighbouring rows of a split can be read with few bytes: those of the pages they touch."""
    for config, split, files in folder.split_files():
        size, row = window_bytes([(file.footer.num_rows, file.chunks) for file in files], _PAGE_ROWS)
        yield Finding(size, f"config {config.name}, split {split}, from row {row:,}", bad=size > _SCAN)


@rule(
    "warning",
    "Every reader holds a row group at a time in memory, each worker its own.",
    "Write the files again with 32 to 100 rows a row group.",
    limit=_GROUP,
    unit="bytes",
)
def row_group_bytes(folder: Folder) -> Iterator[Finding]:
    """Row groups are small, measured before compression."""
    for file in _readable(folder):
        sizes = [file.footer.row_group(number).total_byte_size for number in range(file.footer.num_row_groups)]
        if sizes:
            worst = max(range(len(sizes)), key=sizes.__getitem__)
            yield Finding(sizes[worst], f"{file.path}, row group {worst}", bad=sizes[worst] > _GROUP)


@rule(
    "warning",
    "A JPEG does not become smaller; readers decompress for nothing, and the Hub stores equal photos twice.",
    "Write `image.bytes` with compression none and encoding PLAIN.",
)
def image_encoding(folder: Folder) -> Iterator[Finding]:
    """Photos' bytes are neither compressed again nor in a dictionary."""
    for file in _readable(folder):
        wanted = {f"{name}.bytes" for name in file.photos}
        found: dict[tuple[str, str], int] = {}
        for number in range(file.footer.num_row_groups):
            group = file.footer.row_group(number)
            for column in (group.column(at) for at in range(group.num_columns)):
                if column.path_in_schema in wanted:
                    how = _encoding(column)
                    found[column.path_in_schema, how] = found.get((column.path_in_schema, how), 0) + 1
        for (name, how), count in found.items():
            bad = how != "UNCOMPRESSED PLAIN"
            yield Finding(f"{how} in {_groups(count)}" if bad else how, f"{file.path}, column {name}", bad=bad)


def _groups(count: int) -> str:
    return f"{count} row group{'' if count == 1 else 's'}"


def _encoding(column: Any) -> str:
    encodings = sorted(set(column.encodings) - {"RLE", "BIT_PACKED"})  # those are of levels
    return f"{column.compression} {'+'.join(encodings)}"
