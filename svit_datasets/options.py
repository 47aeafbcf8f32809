"""What the user asked for, checked; and what it means in files: the sources that were found for it.

Options are the arguments of ``load_dataset`` as one frozen value. Resolving them asks where files are and what they are
called, reads no text and no photo, and gives the identity under which prepared data are cached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.errors import OptionError
from svit_datasets.filters import excluded_ids, select_ids
from svit_datasets.image_sources import find_image_sources
from svit_datasets.sources import find_text, read_holdout
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

    from svit_datasets.filters import IdList, ImageIds
    from svit_datasets.located import ImageSource
    from svit_datasets.sources import TextFile
    from svit_datasets.storage import Storage
    from svit_datasets.tasks import Task

__all__ = ["Options", "Resolved", "resolve"]

_ALLOWED = {
    "rows": ("image", "conversation"),
    "on_missing_image": ("error", "skip", "null"),
    "on_bad_record": ("error", "skip"),
    "known_bad": ("drop", "keep"),
}


@dataclass(frozen=True)
class Options:
    """The arguments of ``load_dataset`` that decide which rows there are; see there."""

    task: Task
    data_dir: str | None = None
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None
    rows: str = "image"
    holdout: str | os.PathLike[str] | None = "official"
    on_missing_image: str = "error"
    on_bad_record: str = "error"
    image_ids: ImageIds | None = None
    exclude: IdList | None = None
    known_bad: str = "drop"

    def __post_init__(self) -> None:
        for name in ("image_ids", "exclude"):  # they are asked more than once
            if isinstance(getattr(self, name), Iterator):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise OptionError(
                    f"{name}={getattr(self, name)!r} is not allowed. Allowed: {', '.join(map(repr, allowed))}."
                )

    def wants(self, image_ids: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which of some Visual Genome ids ``image_ids=`` asks for and ``exclude=`` leaves."""
        wanted = select_ids(image_ids, self.image_ids)
        return wanted if self.exclude is None else wanted & ~np.isin(image_ids, excluded_ids(self.exclude))


@dataclass(frozen=True)
class Resolved:
    """The files that options stand for."""

    texts: tuple[TextFile, ...]
    image_sources: tuple[ImageSource, ...]
    holdout: np.ndarray[Any, np.dtype[np.int64]] | None  # int64, ascending; None: one split

    @property
    def fingerprint(self) -> str:
        """A digest of the names, sizes and fingerprints of all files; changes when any of them does."""
        parts = [
            repr(self.texts),
            repr(self.image_sources),
            "" if self.holdout is None else self.holdout.tobytes().hex(),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def resolve(options: Options, storage: Storage, cache: Path) -> Resolved:
    """Find the files that options stand for.

    Raises:
        SvitError: as in `sources.find_text`, `image_sources.find_image_sources` and `sources.read_holdout`.
    """
    parts = tuple(TASKS[name] for name in options.task.parts)
    with ThreadPoolExecutor(2) as pool:  # all of it is waiting, where files are far away
        sources = pool.submit(find_image_sources, options.images, options.data_dir, storage)
        held = None
        if options.holdout is not None:
            held = pool.submit(read_holdout, options.holdout, options.data_dir, storage, cache)
        texts = find_text(options.task, parts, options.data_dir, storage)
    return Resolved(texts, sources.result(), None if held is None else held.result())
