"""Streams of annotation JSON in, rows out: the key of a photo, short texts, and a box for each.

One form for every file: objects are names with boxes, regions are phrases with boxes, captions are sentences without.
The versions' differences end here: ``image_id`` or ``id``, ``names`` or ``name``, a key ``attributes`` that is missing,
sides called ``w`` or ``width``. Numbers stay as they are written; a photo's size is not known here.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from svit_datasets.errors import CorruptFile
from svit_datasets.json_stream import Window, iter_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

__all__ = ["Faults", "Row", "Sizes", "read_captions", "read_image_data", "read_instances", "read_photos"]

Sizes = np.ndarray[Any, np.dtype[np.int64]]
_MAX_ID = 2**63 - 1
_REMARKS = 5  # faults that are told one by one


class Row(NamedTuple):
    """What one item of a file says of one photo."""

    key: int  # Visual Genome id; COCO id in COCO's files
    texts: list[str]  # white space collapsed, none empty
    boxes: list[float]  # four a text: x, y, width, height; in pixels, in COCO's instances in shares; [] for captions


@dataclass
class Faults:
    """What was left out of a file, and why."""

    counts: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)  # the first few, with record and byte

    def add(self, kind: str, label: str, number: int, where: Callable[[], int], found: Any) -> None:
        """Count a fault; the first few with their place."""
        self.counts[kind] += 1
        if len(self.remarks) < _REMARKS:
            self.remarks.append(f"{label}, record {number}, byte {where()}: {kind}: {str(found)[:60]}")


def read_image_data(stream: BinaryIO, label: str) -> Sizes:
    """Return (4, photos) of Visual Genome's image_data: id, ascending and each once, width, height, COCO id.

    A size that is missing or not positive is 0. COCO ids null, 0 and -1 mean that there is none: -1. Of a photo that is
    listed twice the first entry counts.

    Raises:
        CorruptFile: the file breaks off, or an entry has no id; the message names record and byte.
    """
    photos: dict[int, tuple[int, int, int, int]] = {}
    for number, item, where in iter_items(stream, label):
        key = _key(item, label, number, where, "image_data")
        width, height = (
            side if type(side := item.get(name)) is int and side > 0 else 0 for name in ("width", "height")
        )
        coco = _as_id(item.get("coco_id")) or -1
        photos.setdefault(key, (key, width, height, coco))
    return np.array(sorted(photos.values()), dtype=np.int64).reshape(-1, 4).T.copy()


def read_photos(kind: str, stream: BinaryIO, label: str, faults: Faults) -> Iterator[Row]:
    """Yield a row an item of Visual Genome's objects, region_descriptions, attributes or relationships.

    Lazy; holds about 1 MB of text, or one item. An object without a name or a box is left out and added to ``faults``.
    Attributes read "green, tall clock" and relationships "man wears sneakers", with the box around both, so that they
    can stand in for regions.

    Raises:
        CorruptFile: the file breaks off, an item has no id of a photo, or not the list that its kind has.
    """
    name = {"region_descriptions": "regions"}.get(kind, kind)
    read = _READERS[kind]
    for number, item, where in iter_items(stream, label):
        key = _key(item, label, number, where, kind)
        entries = [] if name in item and item[name] is None else item.get(name)
        if not isinstance(entries, list):
            raise CorruptFile(
                f"{label}, record {number}, byte {where()}: expected a list {name!r}. Is this Visual Genome's {kind}?"
            )
        texts: list[str] = []
        boxes: list[float] = []
        for entry in entries:
            try:
                text, box = read(entry)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                faults.add("no_box" if isinstance(error, ValueError) else "wrong_type", label, number, where, entry)
                continue
            if text:
                texts.append(text)
                boxes += box
            elif text is not None:
                faults.add("no_name", label, number, where, entry)
        yield Row(key, texts, boxes)


def read_captions(stream: BinaryIO, label: str, faults: Faults) -> Iterator[Row]:
    """Yield a row a photo of COCO's captions, ascending by id; blank ones and those said twice are left out.

    The file does not keep a photo's captions together, so all its text is held: 100 MB and 4 s of CPU for the
    590,000 of train2017 (measured on as many made-up ones).

    Raises:
        CorruptFile: the file breaks off, or has no annotations.
    """
    keys, ends, text = array("q"), array("q", [0]), bytearray()
    for number, entry, where in _members(stream, label, ("annotations",)):
        key = _as_id(entry[1].get("image_id")) if isinstance(entry[1], dict) else None
        caption = entry[1].get("caption") if key is not None else None
        if key is None or not isinstance(caption, str) or not caption.strip():
            faults.add("no_caption", label, number, where, entry[1])
            continue
        keys.append(key)
        text += _plain(caption).encode("utf-8", "replace")
        ends.append(len(text))
    for key, rows in _grouped(keys):
        yield Row(key, list(dict.fromkeys(text[ends[row] : ends[row + 1]].decode() for row in rows)), [])


def read_instances(stream: BinaryIO, label: str, faults: Faults) -> Iterator[Row]:
    """Yield a row a photo of COCO's instances, ascending by id: names of categories, boxes in shares of COCO's photo.

    Crowds are left out: their box is around many. Holds 32 bytes an instance; the 860,000 of
    train2017 take 9 s of CPU (measured on as many made-up ones).

    Raises:
        CorruptFile: the file breaks off, or has no annotations.
    """
    keys, categories, boxes = array("q"), array("q"), array("f")
    sizes: dict[int, tuple[int, int]] = {}
    names: dict[int, str] = {}
    for number, (name, entry), where in _members(stream, label, ("images", "annotations", "categories")):
        try:
            if name == "images":
                sizes[entry["id"]] = (entry["width"], entry["height"])
            elif name == "categories":
                names[entry["id"]] = _plain(entry["name"])
            elif not entry.get("iscrowd"):
                box = _sides(*entry["bbox"])
                keys.append(entry["image_id"])
                categories.append(entry["category_id"])
                boxes.extend(box)
        except (AttributeError, KeyError, TypeError, ValueError):
            faults.add(f"bad_{name}", label, number, where, entry)
    for key, rows in _grouped(keys):
        width, height = sizes.get(key, (0, 0))
        if width <= 0 or height <= 0:
            faults.add("no_size", label, rows[0], lambda: 0, f"COCO photo {key}")
            continue
        known = [row for row in rows if categories[row] in names]
        shares = [
            value / side
            for row in known
            for value, side in zip(boxes[4 * row : 4 * row + 4], (width, height) * 2, strict=True)
        ]
        yield Row(key, [names[categories[row]] for row in known], shares)


def _members(
    stream: BinaryIO, label: str, wanted: tuple[str, ...]
) -> Iterator[tuple[int, tuple[str, Any], Callable[[], int]]]:
    """Yield the items of some lists in one JSON object: (number in its list, (list's name, item), byte)."""
    window = Window(stream, label)
    _expect(window, "{", label)
    seen = set()
    while window.peek() != "}":
        name, _ = window.decode(0)
        _expect(window, ":", label)
        if window.peek() != "[" or name not in wanted:
            window.decode(0)
        else:
            seen.add(name)
            window.at += 1
            number = 0
            while window.peek() != "]":
                item, start = window.decode(number)
                yield number, (name, item), lambda start=start: window.byte(start)  # type: ignore[misc]
                number += 1
                if window.peek() != "]":
                    _expect(window, ",", label)
                    window.peek()
            window.at += 1
        if window.peek() != "}":
            _expect(window, ",", label)
            window.peek()
    if "annotations" not in seen:
        raise CorruptFile(f"{label}: it has no list of annotations. Is this a file of COCO?")


def _expect(window: Window, char: str, label: str) -> None:
    found = window.peek()
    if found != char:
        what = repr(found) if found else "the end of the file: it breaks off. Copy or download it again"
        raise CorruptFile(f"{label}: expected {char!r} at byte {window.byte()}, found {what}.")
    window.at += 1


def _grouped(keys: array[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield each key, ascending, with the positions that it has, in their order."""
    plain = np.frombuffer(keys, dtype=np.int64)
    order = np.argsort(plain, kind="stable")
    starts = np.flatnonzero(np.diff(plain[order], prepend=-1)).tolist()
    for start, stop in pairwise([*starts, len(order)]):
        yield int(plain[order[start]]), order[start:stop].tolist()


def _object(entry: dict[str, Any]) -> tuple[str, Iterable[float]]:
    return _name(entry), _box(entry)


def _region(entry: dict[str, Any]) -> tuple[str, Iterable[float]]:
    return _plain(entry["phrase"]), _box(entry)


def _attributes(entry: dict[str, Any]) -> tuple[str | None, Iterable[float]]:
    told = entry.get("attributes") or ()
    noted = [_plain(word) for word in ([told] if isinstance(told, str) else told)]
    name = _name(entry)
    return (f"{', '.join(filter(None, noted))} {name}" if any(noted) and name else None), _box(entry)


def _relationship(entry: dict[str, Any]) -> tuple[str | None, Iterable[float]]:
    subject, object_ = entry["subject"], entry["object"]
    words = (_name(subject), _plain(entry["predicate"]).lower(), _name(object_))
    x1, y1, w1, h1 = _box(subject)
    x2, y2, w2, h2 = _box(object_)
    x, y = min(x1, x2), min(y1, y2)
    around = (x, y, max(x1 + w1, x2 + w2) - x, max(y1 + h1, y2 + h2) - y)
    return (" ".join(words) if all(words) else None), around


_READERS: dict[str, Callable[[dict[str, Any]], tuple[str | None, Iterable[float]]]] = {
    "objects": _object,
    "region_descriptions": _region,
    "attributes": _attributes,
    "relationships": _relationship,
}


def _name(entry: dict[str, Any]) -> str:
    """Return the first name that is one; "" if there is none."""
    names = entry.get("names") or entry.get("name") or entry.get("object_names") or ()
    if isinstance(names, str):
        return _plain(names)
    return next((plain for name in names if (plain := _plain(name))), "")


def _box(entry: dict[str, Any]) -> tuple[float, float, float, float]:
    try:
        return _sides(entry["x"], entry["y"], entry["w"], entry["h"])
    except KeyError:
        sides = [entry.get(name, entry.get(name[0])) for name in ("x", "y", "width", "height")]
        return _sides(*sides)


def _sides(x: Any, y: Any, w: Any, h: Any) -> tuple[float, float, float, float]:
    for value in (x, y, w, h):
        if type(value) is not int and (type(value) is not float or not math.isfinite(value)):
            raise ValueError(value)
    if w < 0 or h < 0 or max(abs(x), abs(y), w, h) > 1e6:
        raise ValueError(w)
    return x, y, w, h


def _plain(text: Any) -> str:
    if type(text) is not str:
        raise TypeError(text)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # JSON may escape half a surrogate pair
    return " ".join(text.split())


def _key(item: Any, label: str, number: int, where: Callable[[], int], kind: str) -> int:
    key = _as_id(item.get("image_id", item.get("id"))) if isinstance(item, dict) else None
    if key is None:
        raise CorruptFile(f"{label}, record {number}, byte {where()}: no image_id. Is this Visual Genome's {kind}?")
    return key


def _as_id(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MAX_ID else None
