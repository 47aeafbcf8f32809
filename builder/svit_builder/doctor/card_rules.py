"""Rules on the card and on names: what the Hub and `datasets` must understand before they open a file.

From datasets 5.2 (`utils/metadata.py`, `load.py`, `builder.py`) and the dataset viewer of August 2026 (its
`libcommon/constants.py` and the worker's `config.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from datasets import Features

from svit_builder.doctor.folder import CARD, OVERRIDE
from svit_builder.doctor.rule import Finding, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.doctor.folder import Folder

_MAKE_CARD = "Make the card again with `svit build`, or mend it by hand."
_BAD_LETTERS = r"<>:/\|?*"
_SPLIT = re.compile(r"\w+(\.\w+)*")
_SPLITS = 30  # a configuration, in the viewer
_CLOSE = 0.25  # share by which num_bytes may be off: they are of Arrow or of the columns before compression


@rule(
    "error",
    "Without it the Hub shows no page, and `datasets` guesses what is what.",
    _MAKE_CARD,
)
def card(folder: Folder) -> Iterator[Finding]:
    """README.md is there and begins with YAML that can be read."""
    yield Finding(folder.card_problem or "can be read", CARD, bad=folder.card is None)


@rule(
    "error",
    "`load_dataset` fails; without a list every file of the repository is taken for data, documentation too.",
    _MAKE_CARD,
)
def configs(folder: Folder) -> Iterator[Finding]:
    """The card lists its configurations, each with files that are there."""
    if folder.card is None:
        return
    if not folder.listed:
        yield Finding("no configs", CARD, bad=True)
        return
    for config in folder.configs:
        for pattern in config.empty:
            yield Finding(f"no file is {pattern}", f"{CARD}, config {config.name}", bad=True)
        if not config.splits:
            yield Finding("no data_files", f"{CARD}, config {config.name}", bad=True)
    yield Finding(len(folder.configs), CARD)


@rule(
    "error",
    "With several `load_dataset` fails; with none it wants a name every time.",
    "Write `default: true` below one of `configs` in the card.",
    unit="configurations",
)
def one_default(folder: Folder) -> Iterator[Finding]:
    """Exactly one configuration is the default."""
    if folder.listed:
        count = sum(config.default or config.name == "default" for config in folder.configs)
        yield Finding(count, CARD, bad=len(folder.configs) > 1 and count != 1)


@rule(
    "error",
    "`load_dataset` refuses such a name, or reads another configuration.",
    "Rename the configuration and its folder.",
)
def config_names(folder: Folder) -> Iterator[Finding]:
    r"""Configurations have names that are allowed: not `data`, without any of `<>:/\|?*`, none twice."""
    counts = Counter(config.name for config in folder.configs)
    for name, count in counts.items():
        bad = name in ("", "data") or any(letter in name for letter in _BAD_LETTERS) or count > 1
        yield Finding(name if count == 1 else f"{name}, {count} times", CARD, bad=bad)


@rule(
    "error",
    "`load_dataset` refuses others; a dash is the usual one.",
    "Rename the split in the card and its files.",
)
def split_names(folder: Folder) -> Iterator[Finding]:
    """Splits have names of letters, digits and underscores."""
    for config in folder.configs:
        for split in config.splits:
            yield Finding(split, f"{CARD}, config {config.name}", bad=_SPLIT.fullmatch(split) is None)


@rule(
    "error",
    "The viewer does not show the configuration.",
    "Make several configurations of it.",
    limit=_SPLITS,
    unit="splits",
)
def split_count(folder: Folder) -> Iterator[Finding]:
    """A configuration has not more splits than the viewer takes."""
    for config in folder.configs:
        yield Finding(len(config.splits), f"{CARD}, config {config.name}", bad=len(config.splits) > _SPLITS)


@rule(
    "error",
    "`datasets` takes the format of the first configuration for all of them.",
    "Put files of another format into another repository, or into a folder that no configuration names.",
)
def one_format(folder: Folder) -> Iterator[Finding]:
    """All files of all configurations have one format, Parquet."""
    for config in folder.configs:
        for paths in config.splits.values():
            for path in paths:
                suffix = PurePosixPath(path).suffix
                yield Finding(suffix or "none", path, bad=suffix != ".parquet")


@rule(
    "error",
    "`load_dataset` refuses the folder: it takes the file for a dataset script.",
    "Rename or remove the file.",
)
def script(folder: Folder) -> Iterator[Finding]:
    """There is no Python file that has the name of the folder."""
    name = f"{folder.url.rsplit('/', 1)[-1].partition('@')[0]}.py"
    if name in folder.names:
        yield Finding("a dataset script", name, bad=True)
    else:
        yield Finding("none", name)


@rule(
    "warning",
    "What it says wins over the card, unseen by whoever reads that.",
    "Move what it says into README.md.",
)
def override(folder: Folder) -> Iterator[Finding]:
    """No .huggingface.yaml stands beside the card."""
    there = OVERRIDE in folder.names
    yield Finding(f"says {', '.join(folder.override) or 'nothing'}" if there else "none", OVERRIDE, bad=there)


# What the card says of the files -------------------------------------------------------------------------------------


def _infos(folder: Folder) -> dict[str, dict[str, Any]]:
    """Return what the card tells of each configuration, by name; what is no list of splits counts as none."""
    found = folder.metadata.get("dataset_info")
    infos = {}
    for entry in found if isinstance(found, list) else [found]:
        if isinstance(entry, dict):
            splits = entry.get("splits")
            listed = [one for one in splits if isinstance(one, dict)] if isinstance(splits, list) else []
            infos[str(entry.get("config_name", "default"))] = {**entry, "splits": listed}
    return infos


@rule(
    "warning",
    "Columns are then guessed from the first file, and nobody sees sizes before a download.",
    _MAKE_CARD,
)
def dataset_info(folder: Folder) -> Iterator[Finding]:
    """The card describes every configuration under `dataset_info`."""
    if not folder.listed:
        return
    infos = _infos(folder)
    for config in folder.configs:
        missing = [key for key in ("features", "splits", "download_size") if not infos.get(config.name, {}).get(key)]
        figure = f"no {', no '.join(missing)}" if missing else "described"
        yield Finding(figure, f"{CARD}, config {config.name}", bad=bool(missing))


@rule(
    "error",
    "`load_dataset` reads everything and then fails with NonMatchingSplitsSizesError.",
    _MAKE_CARD,
)
def info_rows(folder: Folder) -> Iterator[Finding]:
    """Splits and their rows in the card are those of the files."""
    infos = _infos(folder)
    for config in folder.configs:
        told = infos.get(config.name, {}).get("splits")
        if not told or not folder.is_whole(config):
            continue
        rows = {
            split: sum(folder.files[path].footer.num_rows for path in paths) for split, paths in config.splits.items()
        }
        says = {str(one.get("name")): one.get("num_examples") for one in told}
        for split in sorted(says.keys() | rows.keys()):
            where = f"{CARD}, config {config.name}, split {split}"
            same = says.get(split) == rows.get(split)
            figure = f"{rows.get(split, 'no')} rows"
            yield Finding(
                figure if same else f"{figure}, the card says {says.get(split, 'nothing')}", where, bad=not same
            )


@rule(
    "error",
    "Who asks how much there is to download, or whether the disk is large enough, is told wrong.",
    _MAKE_CARD,
)
def info_bytes(folder: Folder) -> Iterator[Finding]:
    """Sizes in the card are those of the files."""
    infos = _infos(folder)
    on_disk: dict[int, int] = {}
    for config, split, files in folder.split_files():
        on_disk[id(config)] = on_disk.get(id(config), 0) + sum(file.info.size for file in files)
        told = {str(one.get("name")): one.get("num_bytes") for one in infos.get(config.name, {}).get("splits", ())}
        groups = [file.footer.row_group(number) for file in files for number in range(file.footer.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        if isinstance(says := told.get(split), int):
            off = abs(says - size) > _CLOSE * size
            figure = f"about {size:,} bytes" + (f", the card says {says:,}" if off else "")
            yield Finding(figure, f"{CARD}, config {config.name}, split {split}", bad=off)
    for config in folder.configs:
        if not folder.is_whole(config):
            continue
        info = infos.get(config.name, {})
        parts = [one.get("num_bytes") for one in info.get("splits", ())]
        columns = sum(part for part in parts if isinstance(part, int))
        for key, size in {"download_size": on_disk[id(config)], "dataset_size": columns}.items():
            says = info.get(key)
            figure = f"{size:,} bytes" + (f", the card says {says:,}" if isinstance(says, int) and says != size else "")
            if says is not None:
                yield Finding(figure, f"{CARD}, config {config.name}, {key}", bad=says != size)


@rule(
    "error",
    "`load_dataset` and the viewer go by the card: they cast to it, or fail with CastError.",
    _MAKE_CARD,
)
def features(folder: Folder) -> Iterator[Finding]:
    """Columns and their types in the card are those in the files."""
    infos = _infos(folder)
    for config in folder.configs:
        told = infos.get(config.name, {}).get("features")
        paths = [path for split in config.splits.values() for path in split if path in folder.files]
        first = next((folder.files[path] for path in paths if folder.files[path].has_features), None)
        if told is None or first is None:
            continue
        where = f"{CARD}, config {config.name}"
        try:
            says = Features._from_yaml_list(told)  # noqa: SLF001 - what `datasets` itself reads a card with
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            yield Finding(f"cannot be read: {error!r}", where, bad=True)
            continue
        have = first.features
        if says == have and list(says) == list(have):
            yield Finding(f"{len(have)} columns", where)
            continue
        differ = [name for name in {**have, **says} if says.get(name) != have.get(name)] or ["their order"]
        yield Finding(f"other than in {first.path}: {', '.join(differ)}", where, bad=True)


@rule(
    "info",
    "Otherwise it finds the exact words only.",
)
def language(folder: Folder) -> Iterator[Finding]:
    """With exactly one language in the card, search treats word forms of it as one."""
    found = folder.metadata.get("language")
    names = [name for name in (found if isinstance(found, list) else [found]) if name]
    stemmer = "searched by its word forms" if len(names) == 1 else "searched by exact words"
    yield Finding(f"{', '.join(map(str, names)) or 'none'}: {stemmer}", CARD)
