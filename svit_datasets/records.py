"""Bytes of SVIT or LLaVA-form JSON in, records out: streaming, in bounded memory, text kept to the letter.

A file is a JSON array or JSON lines, plain, gzipped or in a zip. What cannot be used is not hidden and not fatal here:
it comes out as a `Defect` between the records, and the caller's policy decides. Only a file that breaks off or is no
JSON raises. Nothing is known here of photos, tables or splits.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from svit_datasets.json_stream import iter_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from svit_datasets.tasks import Form

__all__ = ["DEFECT_KINDS", "Defect", "Dialogue", "Record", "read_records"]

_USER = frozenset({"user", "human"})
_ASSISTANT = frozenset({"gpt", "assistant"})

DEFECT_KINDS = {
    "empty_record": "the image has no blocks; normal in SVIT, never an error",
    "empty_content": "a block without turns",
    "odd_turns": "the last question has no answer",
    "leading_answer": "a block that begins with an answer",
    "repeated_role": "two turns of the same role in a row",
    "unknown_role": "a turn from neither user nor assistant",
    "blank_text": "a turn whose text is null, empty or only white space",
    "not_text": "a turn whose text is not a string, or holds half a surrogate pair",
    "missing_key": "a key that is needed is absent",
    "wrong_type": "an object or list was expected and something else stands there",
    "bad_image_id": "no usable image_id",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One item of an SVIT-form file: what is said about one image. Flat, because the next station is a table."""

    number: int  # 0-based position of the item in the file
    image_id: int  # Visual Genome id
    topics: tuple[str | None, ...]  # one a block
    sizes: tuple[int, ...]  # messages a block; each is even and at least 2
    texts: tuple[str, ...]  # all messages in order; in each block user and assistant alternate, user first

    @property
    def blocks(self) -> Iterator[tuple[str | None, tuple[str, ...]]]:
        """Each block as (topic, texts)."""
        at = 0
        for topic, size in zip(self.topics, self.sizes, strict=True):
            yield topic, self.texts[at : at + size]
            at += size


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One item of a LLaVA-form file: one conversation, with or without an image."""

    number: int  # 0-based position of the item in the file
    id: str  # as in the file; a number becomes its digits
    image_path: str | None  # such as "vg/VG_100K/2.jpg"; None for text-only
    texts: tuple[str, ...]  # user and assistant alternate, user first; even, at least 2


@dataclass(frozen=True, slots=True)
class Defect:
    """Something that cannot be used: one block of an item, or the whole item."""

    kind: str  # a key of DEFECT_KINDS
    number: int  # 0-based position of the item in the file
    byte: int  # 0-based offset of the item's first byte in the uncompressed JSON
    image_id: int | None  # None where the item tells none
    block: int | None  # 0-based position of the block in the item; None: the whole item
    detail: str  # what was found, short


def read_records(stream: BinaryIO, name: str, form: Form) -> Iterator[Record | Dialogue | Defect]:
    """Parse one uncompressed JSON stream.

    Lazy; holds about 1 MB of text, or one item where that is longer. The stream is read once, front to back.

    Args:
        stream: the JSON bytes (UTF-8, a byte order mark is allowed); see `sources.open_text` for zip and gzip.
        name: what errors call the file.
        form: "svit" gives Record, "llava" gives Dialogue.

    Raises:
        CorruptFile: the file breaks off, or is not JSON; the message names record and byte.
    """
    read = _read_svit if form == "svit" else _read_llava
    for number, item, where in iter_items(stream, name):
        yield from read(number, item, where)


_content, _from, _value = itemgetter("content"), itemgetter("from"), itemgetter("value")
_ALTERNATING = ("user", "gpt") * 512
_TOPIC_TYPES = frozenset({str, type(None)})
_MAX_ID = 2**63 - 1


def _read_svit(number: int, item: Any, where: Callable[[], int]) -> Iterator[Record | Defect]:
    try:  # the usual item in one sweep over all its turns; half the time of looking at each block
        blocks = item["conversations"]
        contents = list(map(_content, blocks))
        turns = list(chain.from_iterable(contents))
        sizes = tuple(map(len, contents))
        texts = tuple(map(_value, turns))
        topics = tuple([block.get("topic") for block in blocks])
        if (
            type(item["image_id"]) is int
            and 0 <= item["image_id"] <= _MAX_ID
            and sizes
            and 0 not in sizes
            and not any(size & 1 for size in sizes)
            and tuple(map(_from, turns)) == _ALTERNATING[: len(turns)]
            and all(map(str.strip, texts))
            and _TOPIC_TYPES.issuperset(map(type, topics))
            and _is_text("".join(texts))
            and _is_text("".join(filter(None, topics)))
        ):
            yield Record(number, item["image_id"], topics, sizes, texts)
            return
    except (TypeError, KeyError, AttributeError):
        pass
    yield from _examine_svit(number, item, where)


def _examine_svit(number: int, item: Any, where: Callable[[], int]) -> Iterator[Record | Defect]:
    """Look at an unusual item block by block."""
    if not isinstance(item, dict):
        yield Defect("wrong_type", number, where(), None, None, f"expected an object, found {_short(item)}")
        return
    image_id = _as_id(item.get("image_id"))
    if image_id is None:
        yield Defect("bad_image_id", number, where(), None, None, f"image_id is {_short(item.get('image_id'))}")
        return
    blocks = item.get("conversations")
    if not isinstance(blocks, list):
        kind = "wrong_type" if "conversations" in item else "missing_key"
        yield Defect(kind, number, where(), image_id, None, f"conversations is {_short(blocks)}")
        return
    if not blocks:
        yield Defect("empty_record", number, where(), image_id, None, "conversations is []")
        return
    topics: list[str | None] = []
    sizes: list[int] = []
    texts: list[str] = []
    for index, block in enumerate(blocks):
        fault = _block_fault(block) or _turns_fault(block["content"])
        if fault is not None:
            yield Defect(fault[0], number, where(), image_id, index, fault[1])
            continue
        topics.append(block.get("topic"))
        sizes.append(len(block["content"]))
        texts.extend(turn["value"] for turn in block["content"])
    if sizes:
        yield Record(number, image_id, tuple(topics), tuple(sizes), tuple(texts))


def _read_llava(number: int, item: Any, where: Callable[[], int]) -> Iterator[Dialogue | Defect]:
    if not isinstance(item, dict):
        yield Defect("wrong_type", number, where(), None, None, f"expected an object, found {_short(item)}")
        return
    turns: Any = item.get("conversations")
    path, record_id = item.get("image"), item.get("id", number)
    fault = None
    if not isinstance(turns, list):
        fault = ("wrong_type" if "conversations" in item else "missing_key", f"conversations is {_short(turns)}")
    elif path is not None and (not isinstance(path, str) or not path):
        fault = ("wrong_type", f"image is {_short(path)}")
    elif not isinstance(record_id, str | int):
        fault = ("wrong_type", f"id is {_short(record_id)}")
    elif not _is_text(f"{path}{record_id}"):
        fault = ("not_text", "id or image holds half a surrogate pair")
    else:
        turns = [_with_value(turn) for turn in turns]
        fault = _turns_fault(turns)
    if fault is not None:
        yield Defect(fault[0], number, where(), None, None, fault[1])
        return
    yield Dialogue(number, str(record_id), path, tuple(turn["value"] for turn in turns))


def _with_value(turn: Any) -> Any:
    """Some copies of the LLaVA form say ``content`` instead of ``value``."""
    if isinstance(turn, dict) and "value" not in turn and "content" in turn:
        return {**turn, "value": turn["content"]}
    return turn


def _block_fault(block: Any) -> tuple[str, str] | None:
    if not isinstance(block, dict):
        return "wrong_type", f"expected a block, found {_short(block)}"
    if "content" not in block:
        return "missing_key", "the block has no content"
    if not isinstance(block["content"], list):
        return "wrong_type", f"content is {_short(block['content'])}"
    if not isinstance(block.get("topic"), str | None):
        return "wrong_type", f"topic is {_short(block['topic'])}"
    if not _is_text(block.get("topic") or ""):
        return "not_text", "the topic holds half a surrogate pair"
    return None


def _turns_fault(turns: list[Any]) -> tuple[str, str] | None:
    """Say what is wrong with the turns of one conversation, or None."""
    if not turns:
        return "empty_content", "no turns"
    for index, turn in enumerate(turns):
        fault = _turn_fault(turn, index)
        if fault is not None:
            return fault
    roles = [_is_user(turn["from"]) for turn in turns]
    if not roles[0]:
        return "leading_answer", f"turn 0 is from {_short(turns[0]['from'])}"
    for index in range(1, len(roles)):
        if roles[index] == roles[index - 1]:
            return "repeated_role", f"turns {index - 1} and {index} are both from {_short(turns[index]['from'])}"
    if len(roles) % 2:
        return "odd_turns", f"{len(roles)} turns: the last question has no answer"
    return None


def _turn_fault(turn: Any, index: int) -> tuple[str, str] | None:
    if not isinstance(turn, dict):
        return "wrong_type", f"turn {index} is {_short(turn)}"
    if "from" not in turn or "value" not in turn:
        return "missing_key", f"turn {index} has no {'value' if 'from' in turn else 'from'}"
    role, text = turn["from"], turn["value"]
    if not isinstance(role, str) or role.strip().lower() not in _USER | _ASSISTANT:
        return "unknown_role", f"turn {index} is from {_short(role)}"
    if text is None or (isinstance(text, str) and not text.strip()):
        return "blank_text", f"the text of turn {index} is {_short(text)}"
    if not isinstance(text, str):
        return "not_text", f"the text of turn {index} is {_short(text)}"
    if not _is_text(text):
        return "not_text", f"the text of turn {index} holds half a surrogate pair"
    return None


def _is_text(text: str) -> bool:
    """Tell whether a string can be stored: JSON may escape half a surrogate pair, which no encoding has bytes for."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_user(role: str) -> bool:
    return role.strip().lower() in _USER


def _as_id(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,19}\s*", value):
        value = int(value)
    return value if type(value) is int and 0 <= value <= _MAX_ID else None


def _short(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=True)
    except RecursionError:
        text = f"a {type(value).__name__} nested very deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."
