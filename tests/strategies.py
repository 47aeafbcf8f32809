"""What real files of text may look like, for Hypothesis: items of both forms, and every way to write them down."""

from __future__ import annotations

import codecs
import json
from itertools import cycle
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

# A busy machine is slow, not wrong; and what was found is written down as a test, not kept in a folder.
settings.register_profile("svit", deadline=None, database=None)
settings.load_profile("svit")

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)  # no half surrogate pair: UTF-8 has none
SAID = TEXT.filter(str.strip)  # what a turn may say
IDS = st.integers(1, 2_417_997)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=6,
)


@st.composite
def shuffled(draw, item: dict[str, Any]) -> dict[str, Any]:
    """The same object with its keys in any order."""
    return {key: item[key] for key in draw(st.permutations(list(item)))}


@st.composite
def turns(draw, roles: tuple[str, str], key: str = "value", most: int = 3) -> list[dict[str, str]]:
    """Questions with their answers, flat."""
    said = draw(st.lists(st.tuples(SAID, SAID), min_size=1, max_size=most))
    return [draw(shuffled({"from": role, key: text})) for pair in said for role, text in zip(roles, pair, strict=True)]


@st.composite
def svit_item(draw, most: int = 3) -> dict[str, Any]:
    """An item of ``data/``: an image with at least one block."""
    blocks = []
    for _ in range(draw(st.integers(1, most))):
        block = {"content": draw(turns(("user", "gpt")))}
        if draw(st.booleans()):
            block["topic"] = draw(st.none() | TEXT)
        blocks.append(draw(shuffled(block)))
    item = {"image_id": draw(IDS), "conversations": blocks}
    if draw(st.booleans()):
        item["image"] = draw(TEXT)  # advisory; nothing depends on it
    return draw(shuffled(item))


@st.composite
def llava_item(draw) -> dict[str, Any]:
    """An item of ``format/llava-v1.5/``: one conversation, with a photo's path or without."""
    item = {
        "id": draw(IDS | TEXT),
        "conversations": draw(turns(("human", "gpt"), draw(st.sampled_from(["value", "content"])))),
    }
    if draw(st.booleans()):
        item["image"] = draw(st.sampled_from(["vg/VG_100K/2.jpg", "coco/train2017/000000000009.jpg", "größe.png"]))
    return draw(shuffled(item))


@st.composite
def written(draw, items: list[Any]) -> bytes:
    """``items`` as a file: an array or JSON lines, with any white space, escapes and byte order mark."""
    ascii_only = draw(st.booleans())
    space = st.sampled_from(["", " ", "\n", "\r\n", "\t \n"])
    as_lines = bool(items) and isinstance(items[0], dict) and draw(st.booleans())
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :\n")]))
    indent = None if as_lines else draw(st.sampled_from([None, 0, 2, "\t"]))
    if as_lines:
        lines = [json.dumps(item, ensure_ascii=ascii_only, separators=separators) for item in items]
        text = "".join(line + draw(st.sampled_from(["\n", "\r\n", "\n\n"])) for line in lines)
    else:
        text = json.dumps(items, ensure_ascii=ascii_only, separators=separators, indent=indent)
    text = draw(space) + text + draw(space)
    return (codecs.BOM_UTF8 if draw(st.booleans()) else b"") + text.encode()


class Trickle:
    """A stream whose reads are as short as told, over and over; each gives at least one byte until the end."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes, self.at = data, cycle(sizes), 0

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`."""
        part = self._data[self.at : self.at + min(size, next(self._sizes))]
        self.at += len(part)
        return part


SIZES = st.lists(st.integers(1, 9) | st.just(1 << 20), min_size=1, max_size=5)  # of reads
