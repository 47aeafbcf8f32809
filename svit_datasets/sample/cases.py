"""What a defective copy is: its files, and what a loader must do with it.

In come clean items of a corpus; out come `Case` objects, pure values with all file contents in memory. The tables of
cases stand in `broken_text`, `broken_files` and `broken_photos`; `defects` writes them.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svit_datasets.sample.corpus import Corpus, Item
    from svit_datasets.sample.scene import Scene

__all__ = ["PARENT_PHOTOS", "Case", "Material", "array", "fails", "gives", "offsets", "text"]

PARENT_PHOTOS = ("raw/images.zip", "raw/images2.zip")  # of the corpus around the cases


@dataclass(frozen=True, slots=True)
class Case:
    """One trap as a small data folder, with the outcome that is wanted."""

    slug: str  # folder below defects/
    trap: str  # "7.2": section and number in the list of known traps
    what: str  # one sentence
    files: dict[str, bytes]  # content by path relative to the case's folder
    outcomes: tuple[dict[str, Any], ...]  # options and what they lead to
    config: str = "complex_reasoning"
    images: tuple[str, ...] | None = PARENT_PHOTOS  # relative to the corpus; None: looked for in the folder itself
    inspect: dict[str, int] = field(default_factory=dict)  # what an inspection counts in the text, by kind

    def entry(self) -> dict[str, Any]:
        """Return the case as it stands in defects.json."""
        return {
            "id": self.slug,
            "trap": self.trap,
            "what": self.what,
            "data_dir": f"defects/{self.slug}",
            "images": None if self.images is None else list(self.images),
            "config": self.config,
            "inspect": self.inspect,
            "outcomes": list(self.outcomes),
        }


class Material:
    """Clean items of three images, fresh copies each time, so that a case may spoil them."""

    def __init__(self, corpus: Corpus) -> None:
        by_id = {
            task: {item["image_id"]: item["conversations"] for item in items} for task, items in corpus.items.items()
        }
        whole = [scene for scene in corpus.scenes if all(scene.image_id in items for items in by_id.values())]
        self.scenes: tuple[Scene, ...] = tuple(whole[:3])
        self.ids = [scene.image_id for scene in self.scenes]
        self._by_id = by_id

    def items(self, task: str = "complex_reasoning", *, blocks: int = 2) -> list[Item]:
        """Return one item an image, cut to the first blocks."""
        found = [{"image_id": i, "conversations": self._by_id[task][i][:blocks]} for i in self.ids]
        return copy.deepcopy(found)


def text(item: object) -> bytes:
    """Return JSON as UTF-8, not escaped."""
    return json.dumps(item, ensure_ascii=False).encode()


def array(items: list[Any]) -> bytes:
    """Return a JSON array whose items begin at `offsets`."""
    return b"[" + b", ".join(map(text, items)) + b"]"


def offsets(items: list[Any]) -> list[int]:
    """Return the byte offset of each item in `array`."""
    found, at = [], 1
    for item in items:
        found.append(at)
        at += len(text(item)) + 2
    return found


def gives(  # an outcome: rows come out
    image_ids: list[int],
    blocks: list[int],
    *,
    counts: dict[str, int] | None = None,
    options: dict[str, str] | None = None,
    texts: list[tuple[int, int, int, str]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return an outcome with rows; ``texts`` are (image id, block, turn, text to the letter)."""
    expect: dict[str, Any] = {"image_ids": image_ids, "blocks": blocks, "counts": counts or {}}
    if texts:
        expect["texts"] = [list(one) for one in texts]
    return {"options": options or {}, "expect": {**expect, **more}}


def fails(error: str, *mentions: str, options: dict[str, str] | None = None) -> dict[str, Any]:
    """Return an outcome with an error whose message holds each of ``mentions``."""
    return {"options": options or {}, "expect": {"error": error, "mentions": list(mentions)}}
