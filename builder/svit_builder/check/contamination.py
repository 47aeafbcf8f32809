"""Lists of evaluation images in, the photos of a dataset that stand in them out.

A list is a file of ids, one a line, or a JSON of MS-COCO's or Karpathy's form. COCO ids are joined with Visual Genome's
photos by the ``coco_id`` of its image_data.json. No list is part of this package.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Ids = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["Against", "read_against", "standing_in"]

_PREFIX = re.compile(r"(?:(?P<name>[\w.+-]+)=)?(?P<kind>coco|vg):(?P<path>.+)")
_LINE = re.compile(r"\s*(?:\S*\D)?0*(\d{1,12})(?:\.\w+)?\s*")  # "391895", "COCO_val2014_000000391895.jpg"
_EVALUATION = frozenset({"val", "test"})  # of Karpathy's splits; "train" and "restval" are trained on


@dataclass(frozen=True)
class Against:
    """A list of images that a model is to be evaluated on."""

    name: str
    kind: Literal["coco", "vg"]  # whose ids they are
    ids: Ids  # ascending, each once


def read_against(text: str) -> Against:
    """Read a list as the command line names it.

    Args:
        text: ``coco:PATH`` or ``vg:PATH`` says whose ids they are; ``NAME=`` before it gives the list a name. A JSON of
            COCO (``captions_val2014.json``, ``instances_val2017.json``) or of Karpathy's splits needs neither; of the
            latter, val and test are taken.

    Raises:
        OptionError: the file cannot be read or understood, or does not say whose ids it holds.
    """
    named = _PREFIX.fullmatch(text)
    path = Path(named["path"] if named else text).expanduser()
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--against {text}: it cannot be read: {error}.") from error
    name = (named and named["name"]) or path.name.removesuffix(path.suffix)
    kind = named["kind"] if named else None
    if path.suffix == ".json":
        found, listed = _from_json(content, str(path))
        kind = kind or found
    else:
        listed = _from_lines(content, str(path))
    if kind is None:
        raise OptionError(f"--against {text}: say whose ids these are, with coco:{text} or vg:{text}.")
    return Against(name, "coco" if kind == "coco" else "vg", np.unique(np.array(listed, dtype=np.int64)))


def _from_lines(content: str, path: str) -> list[int]:
    ids = []
    for number, line in enumerate(content.removeprefix("\ufeff").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is not None:
            ids.append(int(match[1]))
        elif line.strip():
            raise OptionError(f"{path}, line {number}: expected an image id, found {line.strip()[:60]!r}.")
    return ids


def _from_json(content: str, path: str) -> tuple[str | None, list[int]]:
    try:
        found = json.loads(content)
        if isinstance(found, list):
            return None, [int(one) for one in found]
        images = found["images"]
        if any("cocoid" in image for image in images):
            return "coco", [int(image["cocoid"]) for image in images if image["split"] in _EVALUATION]
        return "coco", [int(image["id"]) for image in images]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OptionError(
            f"{path}: neither a list of ids nor a JSON with COCO's or Karpathy's images is in it ({error!r})."
        ) from error


def standing_in(lists: Sequence[Against], image_ids: Ids, coco_ids: Ids | None) -> dict[str, Ids]:
    """Return for each list the Visual Genome ids that stand in it, ascending.

    Args:
        lists: from `read_against`; several of one name are one list.
        image_ids: of the dataset's photos.
        coco_ids: of the same photos, -1 where one has none; None where that is not known.

    Raises:
        OptionError: a list has COCO ids, and those of the photos are not known.
    """
    found: dict[str, Ids] = {}
    for one in lists:
        mine = image_ids if one.kind == "vg" else coco_ids
        if mine is None:
            raise OptionError(
                f"The list {one.name} holds COCO ids, and which photos are COCO's stands in Visual Genome's "
                "image_data.json: name its folder with --annotations."
            )
        hits = image_ids[np.isin(mine, one.ids)]
        found[one.name] = np.union1d(found.get(one.name, hits[:0]), hits)
    return found
