"""A user's own folder in, what is in each of its files out; where the files were published is never asked.

Puts together what `facts` counts in the text, which photos can be found, and how many images are held out. Photos are
looked for by name and not opened.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.cache import cache_root
from svit_datasets.cli.facts import Facts, read_facts, spread
from svit_datasets.errors import SourceNotFound, SourceUnreachable, SvitError
from svit_datasets.image_sources import find_image_sources
from svit_datasets.images import Locator
from svit_datasets.sources import HUB, find_text, join_url, read_holdout, upstream
from svit_datasets.storage import Storage
from svit_datasets.tasks import TASKS, get_task
from svit_datasets.vg import CocoIds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from svit_datasets.located import ImageSource, Located
    from svit_datasets.sources import TextFile
    from svit_datasets.storage import FileInfo

__all__ = ["Inspection", "OwnFiles", "Photos", "as_json", "find_texts", "inspect_files", "relative"]

_EXAMPLES = 5
_TOP_TOPICS = 10


@dataclass
class OwnFiles(Storage):
    """Storage that knows the places the user named, and refuses the published ones.

    Args:
        places: URLs or absolute paths of what the user named; below them everything may be read.
    """

    places: tuple[str, ...] = field(default=(), kw_only=True)

    def stat(self, url: str) -> FileInfo:
        """Return size and fingerprint of a file of the user's; as `Storage.stat`."""
        self._refuse(url)
        return super().stat(url)

    def read(self, url: str, start: int = 0, stop: int | None = None, fingerprint: str = "") -> bytes:
        """Read a part of a file of the user's; as `Storage.read`."""
        self._refuse(url)
        return super().read(url, start, stop, fingerprint)

    def open(self, url: str) -> BinaryIO:
        """Open a file of the user's; as `Storage.open`."""
        self._refuse(url)
        return super().open(url)

    def _refuse(self, url: str) -> None:
        published = url.startswith(HUB) or url in {row.url for row in upstream().values()}
        if published and not url.startswith(self.places):
            raise SourceNotFound(f"{url}: not asked, because only your own files are looked at.")


@dataclass(frozen=True, slots=True)
class Photos:
    """Which photos of a file can be found, by name."""

    found: dict[str, int] = field(default_factory=dict)  # place -> how many photos of this file are there
    untried: int = 0  # would be asked for one by one over http, and were not
    missing: int = 0
    examples: list[int | str] = field(default_factory=list)  # the first few that are missing
    note: str = ""  # why a place could not be asked


@dataclass(frozen=True, slots=True)
class Inspection:
    """One file of the user's."""

    facts: Facts
    photos: Photos
    held_out: tuple[int, int] | None  # images of this file in the test list, ids on the list; None: no list at hand


def find_texts(data_dir: str, storage: Storage, configs: tuple[str, ...] = ()) -> list[TextFile]:
    """Return the file of each configuration that ``data_dir`` holds, in the order of the table of tasks.

    Raises:
        SourceNotFound: it is no folder.
        SourceUnreachable: its server does not answer.
        OptionError: there is no such configuration.
    """
    found: list[TextFile] = []
    for task in map(get_task, configs or TASKS):
        try:
            found.extend(find_text(task, (), data_dir, storage))
        except SourceNotFound as error:
            if isinstance(error.__cause__, SourceUnreachable):  # a server that is down has not said that it has none
                raise error.__cause__ from error
            if "://" not in data_dir and not Path(data_dir).expanduser().is_dir():
                raise
    return found


def inspect_files(
    data_dir: str, *, images: tuple[str, ...] = (), configs: tuple[str, ...] = ()
) -> Iterator[Inspection]:
    """Inspect each file of records under ``data_dir``, one after another; lazy.

    Args:
        data_dir: a folder or URL in any layout that ``load_dataset`` reads.
        images: where the photos are, as in ``load_dataset``; none: under ``data_dir``.
        configs: only these; none: all that are there.

    Raises:
        SourceNotFound: no file of records is there, or a place for photos is not.
        SvitError: as in `find_image_sources`.
    """
    storage = OwnFiles(places=tuple(join_url(place, "") for place in (data_dir, *images)))
    files = find_texts(data_dir, storage, configs)
    if not files:
        wanted = ", ".join(configs or TASKS)
        raise SourceNotFound(
            f"{data_dir}: no file of records for {wanted}. They are called like data/conversation.zip or "
            "conversation.json; `svit sources` lists them."
        )
    places = tuple(place for place in find_image_sources(images or None, data_dir, storage) if not place.origin)
    cache = cache_root(None)
    coco_ids = CocoIds(data_dir, storage, cache) if images else None
    try:
        held_out = read_holdout("official", data_dir, storage, cache)
    except SvitError:  # no list under data_dir, nor one fetched before
        held_out = None
    for file in files:
        facts = read_facts(file, storage)
        photos = _find_photos(facts, places, storage, cache, coco_ids)
        listed = None if held_out is None else (len(facts.ids.intersection(held_out.tolist())), len(held_out))
        yield Inspection(facts, photos, listed)


def _find_photos(
    facts: Facts, places: tuple[ImageSource, ...], storage: Storage, cache: Path, coco_ids: CocoIds | None
) -> Photos:
    images = list(facts.blocks)
    is_svit = TASKS[facts.config].form == "svit"
    note = ""
    for coco in (None,) if coco_ids is None else (coco_ids, None):  # without COCO's ids where they cannot be had
        locator = Locator(places, storage, cache, coco)
        try:
            located = (
                locator.by_id(np.array(images, dtype=np.int64)) if is_svit else locator.by_path(list(map(str, images)))
            )
        except SvitError as error:
            note = f"{error}"
            continue
        return _photos(images, located, note or located.note)
    return Photos(missing=len(images), examples=images[:_EXAMPLES], note=note)


def _photos(images: list[int | str], located: Located, note: str) -> Photos:
    found = {}
    untried = 0
    for number, source in enumerate(located.sources):
        count = int((located.source == number).sum())
        if source.kind == "template":
            untried += count
        elif count:
            found[source.urls[0]] = count
    missing = np.flatnonzero(located.source < 0).tolist()
    return Photos(found, untried, len(missing), [images[number] for number in missing[:_EXAMPLES]], note)


def _distribution(counts: Counter[int]) -> dict[str, Any] | None:
    middle = spread(counts)
    return None if middle is None else {**middle, "histogram": {str(value): counts[value] for value in sorted(counts)}}


def relative(url: str, data_dir: str) -> str:
    """Return how a place is called from ``data_dir``."""
    root = join_url(data_dir, "").rstrip("/")
    return url.removeprefix(f"{root}/") if url != root else "."


def as_json(inspection: Inspection, data_dir: str) -> dict[str, Any]:
    """Return an inspection as JSON values; see docs/cli.md for the keys."""
    facts, photos = inspection.facts, inspection.photos
    in_file, listed = inspection.held_out or (None, None)
    return {
        "config": facts.config,
        "path": relative(facts.url, data_dir),
        "member": facts.member,
        "bytes": facts.bytes,
        "damage": facts.damage,
        "records": facts.records,
        "images": len(facts.blocks),
        "repeated_images": facts.repeated,
        "text_only": facts.text_only,
        "ascending": facts.ascending,
        "id_types": facts.id_types,
        "keys": facts.keys,
        "blocks_per_image": _distribution(Counter(facts.blocks.values())),
        "turns_per_block": _distribution(facts.turns),
        "roles": facts.roles,
        "topics": {
            "blocks": facts.topic_state,
            "distinct": len(facts.topics),
            "top": facts.topics.most_common(_TOP_TOPICS),
        },
        "questions": {"count": facts.lengths["question"].total(), "characters": spread(facts.lengths["question"])},
        "answers": {
            "count": facts.lengths["answer"].total(),
            "characters": spread(facts.lengths["answer"]),
            "with_markup": facts.marked_answers,
            "faults": facts.answers,
        },
        "defects": facts.defects,
        "examples": facts.examples,
        "order": facts.runs,
        "photos": {
            **asdict(photos),
            "found": {relative(place, data_dir): count for place, count in photos.found.items()},
        },
        "held_out": {"in_file": in_file, "listed": listed},
    }
