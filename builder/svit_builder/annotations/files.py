"""A place in, the annotation files that lie there out; and each of them as a stream of JSON.

A place is a folder, a zip or a URL of either. Folders that can be listed are searched by the files' names, in the few
folders that such files are kept in; http cannot list, so there names are asked for, up to two hundred. Nothing is
parsed here.
"""

from __future__ import annotations

import gzip
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svit_datasets.errors import AccessDenied, CorruptFile, SourceNotFound
from svit_datasets.sources import ZIP_TAIL, explain_damage, guarded, join_url, upstream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from svit_datasets.storage import FileInfo, Storage

__all__ = ["COCO", "VG", "Source", "find_sources", "open_source"]

VG = ("image_data", "objects", "region_descriptions", "attributes", "relationships")
COCO = ("captions", "instances")
NAMES = (
    "NAME.json, NAME.json.zip or NAME.json.gz with NAME such as objects, objects_v1_2_0 or objects_v1; "
    "captions_train2017.json and the like; or annotations*.zip that holds them"
)
_ANNOTATIONS = re.compile(
    rf"(?:(?P<vg>{'|'.join(VG)})(?:_v(?P<version>\d+(?:_\d+)*))?"
    rf"|(?P<coco>{'|'.join(COCO)})_(?P<split>train|val)(?P<year>2014|2017))\.json(?P<packed>\.zip|\.gz)?"
)
_ARCHIVE = re.compile(r"annotations\w*\.zip")
_FOLDER = re.compile(
    r"raw|annotations|data(set)?|(ms)?coco_?(20\d\d)?|vg|visual_?genome|v?\d+([._]\d+)*", re.IGNORECASE
)
_DEPTH = 3  # folders below the place: raw/annotations/v1.4
_PLACES = ("", "raw/annotations/", "annotations/", "raw/", "vg/", "coco/")  # asked where nothing can be listed
_COCO_PLACES = ("coco/annotations/", "coco/", "annotations/", "")
_ENDINGS = (".json", ".json.zip")
_ARCHIVES = ("annotations.zip", "annotations_trainval2017.zip", "annotations_trainval2014.zip")
_VERSIONS = ("_v1_2_0", "_v1_2", "_v1")


@dataclass(frozen=True, slots=True)
class Source:
    """One annotation file that exists."""

    kind: str  # one of VG or COCO
    info: FileInfo
    member: str | None = None  # its name in a zip that holds several; None: the file is its own, packed or not
    version: str | None = None  # as its name or its folder tells: "1.2.0"; COCO: "2017"

    @property
    def url(self) -> str:
        """Where it is, a member of a zip behind ``::``."""
        return f"{self.info.url}::{self.member}" if self.member else self.info.url


def find_sources(place: str, storage: Storage) -> dict[str, tuple[Source, ...]]:
    """Return the files of each kind: of Visual Genome's the one to use, of COCO's all, those of 2017 first.

    Where one kind is there in several versions, the file without a version in its name or folder is used, else the
    highest version; of equals the one that needs no unpacking.

    Raises:
        SourceNotFound: the place is none, or has no ``objects`` or no ``image_data``; the message lists the names.
        AccessDenied: it may not be read.
        SvitError: as in `Storage.stat`.
    """
    if place.lower().endswith((".json", ".json.gz")):
        raise SourceNotFound(f"{place}: that is one file. Give the folder, zip or URL that holds it and the others.")
    if place.lower().endswith(".zip"):
        found = _in_archive(storage.stat(join_url(place, "")), storage)
    elif storage.list(join_url(place, "")) is None:
        found = _asked_for(place, storage)
    else:
        found = _listed(join_url(place, ""), storage, _DEPTH)
        if not found and "://" not in place and not Path(place).expanduser().exists():
            raise SourceNotFound(f"{place}: there is no such folder. Give the folder, zip or URL of annotation files.")
    by_kind: dict[str, tuple[Source, ...]] = {}
    for kind in (*VG, *COCO):
        ranked = sorted((source for source in found if source.kind == kind), key=_rank)
        if ranked:
            by_kind[kind] = tuple(ranked[:1]) if kind in VG else tuple(_once(ranked))
    for kind in ("objects", "image_data"):
        if kind not in by_kind:
            raise SourceNotFound(_not_there(kind, place, found))
    return by_kind


def _not_there(kind: str, place: str, found: list[Source]) -> str:
    seen = ", ".join(sorted(source.url.rsplit("/", 1)[-1] for source in found)) or "no annotation file"
    folder = upstream()["image_data"].url.rsplit("/", 1)[0]
    return (
        f"No {kind} of Visual Genome under {place}: accepted are {NAMES}. Found: {seen}. "
        f"Visual Genome publishes them in {folder}/."
    )


def _rank(source: Source) -> tuple[Any, ...]:
    plain = not source.info.url.endswith((".zip", ".gz"))
    if source.kind in COCO:
        return (-int(source.version or 0), _split(source), not plain, source.url)
    numbers = [int(number) for number in re.findall(r"\d+", source.version or "99")]
    version = tuple(-number for number in (*numbers, 0, 0)[:3])
    return (version, not plain, source.url)


def _split(source: Source) -> str:
    return "train" if "_train" in source.url.rsplit("/", 1)[-1] else "val"


def _once(ranked: list[Source]) -> list[Source]:
    """Leave out what is the same split of the same year again."""
    return list({(source.version, _split(source)): source for source in reversed(ranked)}.values())[::-1]


def _named(name: str, folder: str) -> tuple[str, str | None] | None:
    """Return kind and version of a file called ``name``, or None if it is no annotation file."""
    match = _ANNOTATIONS.fullmatch(name.rsplit("/", 1)[-1])
    if match is None:
        return None
    if match["coco"]:
        return match["coco"], match["year"]
    if match["version"]:
        return match["vg"], match["version"].replace("_", ".")
    above = re.search(r"(?:^|/)v?(\d+(?:[._]\d+)+)/?$", folder)
    return match["vg"], above[1].replace("_", ".") if above else None


def _listed(folder: str, storage: Storage, depth: int) -> list[Source]:
    found: list[Source] = []
    for name in storage.list(folder) or []:
        url = join_url(folder, name)
        named = _named(name, folder)
        if named is not None:
            found.append(Source(named[0], storage.stat(url), version=named[1]))
        elif _ARCHIVE.fullmatch(name):
            found += _in_archive(storage.stat(url), storage)
        elif depth and _FOLDER.fullmatch(name):
            found += _listed(url, storage, depth - 1)
    return found


def _in_archive(info: FileInfo, storage: Storage) -> list[Source]:
    with storage.open_found(info, tail=ZIP_TAIL) as raw, explain_damage(info.url, raw):
        names = zipfile.ZipFile(raw).namelist()
    found = []
    for name in names:
        named = _named(name, name.rpartition("/")[0])
        if named is not None and _is_content(name):
            found.append(Source(named[0], info, name, named[1]))
    return found


def _asked_for(place: str, storage: Storage) -> list[Source]:
    """Ask for names: in all places for the two files that must be there and for zips, then beside them for the rest."""
    refused: list[AccessDenied] = []  # some servers refuse what is not there
    ask = partial(_ask, storage=storage, refused=refused)
    found = ask(["image_data", "objects"], [join_url(place, folder).rstrip("/") for folder in _PLACES], _ARCHIVES)
    if not found and refused:
        raise refused[0]
    beside = sorted({source.info.url.rpartition("/")[0] for source in found if source.member is None})
    coco = [f"{kind}_{split}{year}" for kind in COCO for year in (2017, 2014) for split in ("train", "val")]
    near = dict.fromkeys(beside + [join_url(place, folder).rstrip("/") for folder in _COCO_PLACES])
    return found + ask(VG[2:], beside) + (ask(coco, list(near)) if found else [])


def _ask(
    stems: Sequence[str],
    folders: Sequence[str],
    archives: Sequence[str] = (),
    *,
    storage: Storage,
    refused: list[AccessDenied],
) -> list[Source]:
    """Return which of the files are in the folders; a versioned name is asked for where no plain one was found."""

    def ask(url: str) -> list[Source]:
        try:
            info = storage.stat(url)
        except SourceNotFound:
            return []
        except AccessDenied as error:
            refused.append(error)
            return []
        folder, _, name = url.rpartition("/")
        named = _named(name, folder)
        return _in_archive(info, storage) if named is None else [Source(named[0], info, version=named[1])]

    def ask_all(names: Sequence[str]) -> list[Source]:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, [f"{folder}/{name}" for folder in folders for name in names]))
        return [source for answer in answers for source in answer]

    found = ask_all([f"{stem}{ending}" for stem in stems for ending in _ENDINGS] + [*archives])
    missing = [stem for stem in stems if stem in VG and all(source.kind != stem for source in found)]
    return found + ask_all(
        [f"{stem}{version}{ending}" for stem in missing for version in _VERSIONS for ending in _ENDINGS]
    )


@contextmanager
def open_source(source: Source, storage: Storage) -> Iterator[tuple[BinaryIO, str, int | None]]:
    """Open a file as uncompressed JSON: (stream, name for errors, bytes or None where unknown).

    Raises:
        CorruptFile: the zip or gzip file is damaged, or has no such member; also from the stream's ``read``.
        SvitError: as in `Storage.open`.
    """
    info = source.info
    with storage.open_found(info, tail=ZIP_TAIL if info.url.endswith(".zip") else 0) as raw:
        stream: Any = raw
        label, total = source.url, None
        with explain_damage(info.url, raw):
            if info.url.endswith(".zip"):
                archive = zipfile.ZipFile(raw)
                member = source.member or _member(archive, source)
                stream, total = archive.open(member), archive.getinfo(member).file_size
                label = f"{info.url}::{member}"
            elif info.url.endswith(".gz"):
                stream = gzip.GzipFile(fileobj=raw)
            else:
                total = info.size
        yield guarded(stream, label, raw), label, total


def _member(archive: zipfile.ZipFile, source: Source) -> str:
    """Return the member that holds the file: the one with its name, in whatever folder, else the only JSON."""
    names = [name for name in archive.namelist() if name.endswith(".json") and _is_content(name)]
    wanted = [name for name in names if (_named(name, "") or ("",))[0] == source.kind]
    if len(wanted or names) != 1:
        found = ", ".join(archive.namelist()[:8]) or "nothing"
        raise CorruptFile(f"{source.url}: expected one JSON file of {source.kind} inside, found {found}.")
    return (wanted or names)[0]


def _is_content(name: str) -> bool:
    return not name.startswith("__MACOSX/") and not name.rsplit("/", 1)[-1].startswith("._")
