"""The numbers of a box as each model spells them: decimals, thousandths, bins, patches, JSON; read and written.

Readers take what a convention's pattern found and give the numbers in the convention's frame. They raise ValueError
where these are not fours of numbers; whether a box lies in the photo is not their business. Writers take a phrase, ""
for none, and at least one box in that frame. `conventions` says which belong together.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from svit_datasets.boxes.frames import Quad

    # The label that stands in the numbers' own text, if any; and the numbers, None where a labelled box has not four.
    Found = list[tuple[str | None, Quad | None]]

__all__ = [
    "after",
    "as_bin",
    "brackets",
    "marked",
    "read_internvl",
    "read_json",
    "read_kosmos2",
    "read_lists",
    "read_numbers",
    "read_paligemma",
    "thousandths",
    "write_json",
    "write_kosmos2",
    "write_paligemma",
]

_NUMBER = re.compile(r"[-+]?(?:\d++\.?\d*+|\.\d++)")


def after(phrase: str, boxes: str, gap: str = " ") -> str:
    """Return a phrase and what follows it, or just that where there is no phrase."""
    return f"{phrase}{gap}{boxes}" if phrase else boxes


def marked(phrase: str, boxes: str, marks: tuple[str, str], gap: str = "") -> str:
    """Return a phrase between its marks and what follows it, or just that where there is no phrase."""
    return after(f"{marks[0]}{phrase}{marks[1]}" if phrase else "", boxes, gap)


def as_bin(value: float, count: int) -> int:
    """Return which of ``count`` equal bins holds a share; the right border belongs to the last."""
    return min(max(math.floor(value * count + 1e-9), 0), count - 1)


def thousandths(quad: Quad, top: int = 1000) -> list[int]:
    """Return shares in rounded thousandths, at most ``top``."""
    return [min(round(value * 1000), top) for value in quad]


def _share(value: float) -> str:
    """Three decimals, and a bare 0 or 1 at the border, as SVIT writes them."""
    return {"0.000": "0", "-0.000": "0", "1.000": "1"}.get(text := f"{value:.3f}", text)


def brackets(quads: Sequence[Quad]) -> str:
    """Return boxes as SVIT writes them: ``[0, 0.25, 0.5, 1], [0.5, 0, 1, 0.125]``."""
    return ", ".join(f"[{', '.join(map(_share, quad))}]" for quad in quads)


def _fours(values: Sequence[float], text: str) -> list[Quad]:
    if not values or len(values) % 4:
        raise ValueError(text)
    return [(values[i], values[i + 1], values[i + 2], values[i + 3]) for i in range(0, len(values), 4)]


def read_numbers(text: str, unit: float, shift: float = 0.0) -> Found:
    """Return all numbers of a text in fours, as (number + shift) / unit."""
    return [(None, quad) for quad in _fours([(float(v) + shift) / unit for v in _NUMBER.findall(text)], text)]


def read_lists(text: str, unit: float = 1.0) -> Found:
    """Return lists of four between brackets and semicolons; strict, so that "0.4." and a missing number are noticed."""
    found: Found = []
    for part in text.strip("[]").split(";"):
        [quad] = _fours([float(field) / unit for field in part.split(",")], text)
        found.append((None, quad))
    return found


def read_internvl(text: str) -> Found:
    """Read ``<box>[[x1, y1, x2, y2], ...]</box>``, thousandths."""
    return [found for part in re.findall(r"\[([^][]*+)\]", text) or [""] for found in read_lists(part, 1000)]


def read_json(text: str) -> Found:
    """Read ``{"bbox_2d": [x1, y1, x2, y2], "label": phrase}`` or a list of such, in pixels."""
    items = json.loads(text)
    found: Found = []
    for item in items if isinstance(items, list) else [items]:
        values = [float(value) for value in item["bbox_2d"]]
        quad = (values[0], values[1], values[2], values[3]) if len(values) == 4 else None
        found.append((item.get("label", ""), quad))
    return found


def write_json(phrase: str, quads: Sequence[Quad]) -> str:
    """Write one box as an object, several as a list of objects; pixels, rounded."""
    label = {"label": phrase} if phrase else {}
    items = [json.dumps({"bbox_2d": [round(value) for value in quad], **label}, ensure_ascii=False) for quad in quads]
    return items[0] if len(items) == 1 else f"[{', '.join(items)}]"


def read_paligemma(text: str) -> Found:
    """Read ``<locNNNN>`` in fours, top left bottom right, as the middle of 1024 bins."""
    values = [(float(value) + 0.5) / 1024 for value in _NUMBER.findall(text)]
    return [(None, (x1, y1, x2, y2)) for y1, x1, y2, x2 in _fours(values, text)]


def write_paligemma(phrase: str, quads: Sequence[Quad]) -> str:
    """Write each box before its phrase, boxes apart by semicolons, as in the answers to "detect"."""
    boxes = ("".join(f"<loc{as_bin(v, 1024):04d}>" for v in (y1, x1, y2, x2)) for x1, y1, x2, y2 in quads)
    return " ; ".join(f"{box} {phrase}" if phrase else box for box in boxes)


def read_kosmos2(text: str) -> Found:
    """Read pairs of patches, the first and the last of a rectangle, of 32 by 32 patches counted row by row."""
    indices = [int(index) for index in re.findall(r"patch_index_(\d+)", text)]
    if not indices or len(indices) % 2:
        raise ValueError(text)
    found: Found = []
    for first, last in zip(indices[::2], indices[1::2], strict=True):
        (top, left), (bottom, right) = divmod(first, 32), divmod(last, 32)
        # The published decoder takes the middle of both patches, or outer borders where they share a row or a column.
        near, far = (0.0, 1.0) if left == right or top == bottom else (0.5, 0.5)
        found.append((None, ((left + near) / 32, (top + near) / 32, (right + far) / 32, (bottom + far) / 32)))
    return found


def write_kosmos2(phrase: str, quads: Sequence[Quad]) -> str:
    """Write the first and the last patch that a box touches."""
    pairs = []
    for x1, y1, x2, y2 in quads:
        left, top = as_bin(x1, 32), as_bin(y1, 32)
        right, bottom = (max(math.ceil(v * 32 - 1e-9) - 1, low) for v, low in ((x2, left), (y2, top)))
        pairs.append(f"<patch_index_{top * 32 + left:04d}><patch_index_{bottom * 32 + right:04d}>")
    boxes = f"<object>{'</delimiter_of_multi_objects/>'.join(pairs)}</object>"
    return marked(phrase, boxes, ("<phrase>", "</phrase>"))
