"""Cases of whole files: other wrappings that must load, damage that must not, files that are not there, LLaVA records.

In comes clean material, out come cases.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from typing import TYPE_CHECKING, Any

from svit_datasets.sample.broken_records import FILE
from svit_datasets.sample.cases import PARENT_PHOTOS, Case, Material, array, fails, gives, offsets, text
from svit_datasets.sample.corpus import folder
from svit_datasets.sample.files import member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.sample.corpus import Item

__all__ = ["broken_files"]

ZIP = "data/complex_reasoning.zip"
NAME = "complex_reasoning.json"
TASKS = ("conversation", "complex_reasoning", "detail_description", "referring_qa")
CORE = "format/llava-v1.5/SVIT_core_150K.json"
MIX = "format/llava-v1.5/SVIT_mix_665K.json"


def broken_files(material: Material) -> Iterator[Case]:
    """Return the cases of files (traps 7.2, 7.3, 7.4, 7.8 and 7.11)."""
    yield from _wrappings(material)
    yield from _damage(material)
    yield from _companions(material)
    yield from _llava(material)


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(member(name, zipfile.ZIP_DEFLATED), content)
    return buffer.getvalue()


def _wrappings(material: Material) -> Iterator[Case]:
    items = material.items()
    plain, lines = array(items), b"".join(text(item) + b"\n" for item in items)
    mac = {f"__MACOSX/._{NAME}": b"\x00\x05\x16\x07 resource fork", NAME: plain}
    deep_mac = {f"complex_reasoning/{NAME}": plain, f"__MACOSX/complex_reasoning/._{NAME}": b"\x00\x05\x16\x07"}
    for slug, what, name, content in (
        ("plain-json", "The file is plain JSON.", FILE, plain),
        ("json-lines", "The file is JSON lines.", "data/complex_reasoning.jsonl", lines),
        (
            "json-lines-cut-end",
            "The last of the JSON lines has no newline.",
            "data/complex_reasoning.jsonl",
            lines[:-1],
        ),
        ("gzip", "The file is gzipped JSON.", f"{FILE}.gz", gzip.compress(plain, mtime=0)),
        ("folder-in-zip", "The JSON lies in a folder of the zip.", ZIP, _zip({f"complex_reasoning/{NAME}": plain})),
        ("macosx-in-zip", "The zip holds __MACOSX entries first.", ZIP, _zip(mac)),
        ("macosx-and-folder", "The zip holds a folder and __MACOSX entries.", ZIP, _zip(deep_mac)),
        ("byte-order-mark", "The file begins with a byte order mark.", FILE, b"\xef\xbb\xbf" + plain),
        ("space-around", "White space stands before and after the array.", FILE, b" \r\n\t" + plain + b"\n\n  \r\n"),
        ("indented", "The JSON is spread over lines.", FILE, plain.replace(b"}, {", b"}\r\n,\r\n  {")),
    ):
        outcomes = tuple(gives(material.ids, [2, 2, 2], options=options) for options in ({}, {"on_bad_record": "skip"}))
        yield Case(slug, "7.2", what, {name: content}, outcomes)


def _damage(material: Material) -> Iterator[Case]:
    items = material.items()
    plain = array(items)
    zipped = _zip({NAME: plain})
    with zipfile.ZipFile(io.BytesIO(zipped)) as whole:
        crc = whole.getinfo(NAME).CRC
    other_crc = zipped.replace(crc.to_bytes(4, "little"), (crc ^ 1).to_bytes(4, "little"))
    gz = gzip.compress(plain, mtime=0)
    whole_items = plain[: offsets(items)[2] - 2]  # ends after a whole item, without a bracket
    for slug, what, name, content, file in (
        ("cut-in-record", "The file breaks off inside a record.", FILE, plain[: offsets(items)[2] + 40], NAME),
        ("cut-between-records", "The file breaks off between two records.", FILE, whole_items, NAME),
        (
            "cut-zip",
            "The zip breaks off, its directory is missing.",
            ZIP,
            zipped[: len(zipped) // 2],
            "complex_reasoning",
        ),
        ("wrong-checksum", "The zip's checksum is not that of its content.", ZIP, other_crc, "complex_reasoning"),
        ("cut-gzip", "The gzip breaks off.", f"{FILE}.gz", gz[: len(gz) // 2], "complex_reasoning"),
    ):
        policies: tuple[dict[str, str], ...] = ({}, {"on_bad_record": "error"}, {"on_bad_record": "skip"})
        outcomes = tuple(fails("CorruptFile", file, "byte", options=options) for options in policies)
        yield Case(slug, "7.2", what, {name: content}, outcomes)


def _companions(material: Material) -> Iterator[Case]:
    """Cases of which other files lie beside the wanted one."""
    ids, clean = material.ids, {task: material.items(task) for task in TASKS}
    four = {f"data/{task}.zip": _zip({f"{task}.json": array(items)}) for task, items in clean.items()}
    union = [item for items in clean.values() for item in items]
    five = {**four, "data/svit.zip": _zip({"svit.json": array(union)})}
    once = "svit.zip repeats the other four: each block must come once."
    yield Case("union-beside", "7.3", once, five, (gives(ids, [2, 2, 2]),), config="conversation")
    yield Case("union-itself", "7.3", once, five, (gives(ids, [7, 7, 7]),), config="all")
    older = {name: content for name, content in four.items() if "referring_qa" not in name}
    gone = fails("SourceNotFound", "referring_qa")
    yield Case("no-referring", "7.4", "An older copy has no referring_qa.", older, (gone,), config="referring_qa")
    yield Case(
        "no-referring-others", "7.4", "An older copy still gives its other tasks.", older, (gives(ids, [2, 2, 2]),)
    )
    two = {f"data/{task}.json": array(clean[task]) for task in TASKS[:2]}
    what = "Only one of two files beside one another has the key topic."
    for slug, task in (("topic-here", "conversation"), ("topic-elsewhere", "complex_reasoning")):
        yield Case(slug, "7.11", what, two, (gives(ids, [2, 2, 2]),), config=task)


def _record(record_id: Any, item: Item, **more: Any) -> Item:
    turns = item["conversations"][0]["content"]
    flat = [{"from": "human" if turn["from"] == "user" else "gpt", "value": turn["value"]} for turn in turns]
    image = f"vg/{folder(item['image_id'])}/{item['image_id']}.jpg"
    return {"id": record_id, "image": image, "conversations": flat} | more


def _rows(
    ids: list[str], *, options: dict[str, str] | None = None, counts: dict[str, int] | None = None
) -> dict[str, Any]:
    """An outcome with LLaVA rows: their ids as text and two messages each."""
    return {"options": options or {}, "expect": {"ids": ids, "messages": [2] * len(ids), "counts": counts or {}}}


def _llava(material: Material) -> Iterator[Case]:
    one, two, three = material.items()
    policies: tuple[dict[str, str], ...] = ({}, {"on_bad_record": "skip"})
    mixed = [_record(17, one), _record("000000000018", two), _record("chat-19", three)]
    fine = tuple(_rows(["17", "000000000018", "chat-19"], options=options) for options in policies)
    what = "Record ids are numbers and texts; as text they have no quotes inside."
    yield Case("llava-mixed-ids", "7.8", what, {CORE: array(mixed)}, fine, "core_150k", PARENT_PHOTOS)
    records = [_record(name, item) for name, item in zip("abc", (one, two, three), strict=True)]
    renamed = [{"from": turn["from"], "content": turn["value"]} for turn in records[1]["conversations"]]
    files = {CORE: array([records[0], records[1] | {"conversations": renamed}, records[2]])}
    fine = tuple(_rows(["a", "b", "c"], options=options) for options in policies)
    yield Case(
        "llava-content", "7.6", "A record says content instead of value.", files, fine, "core_150k", PARENT_PHOTOS
    )
    bare = {key: value for key, value in records[1].items() if key != "image"}
    files = {MIX: array([records[0], bare, records[2]])}
    yield Case("llava-text-only", "7.6", "A record has no image.", files, fine, "mix_665k", PARENT_PHOTOS)
    records[0]["conversations"][0]["value"] += " Voilà, 猫?"  # bytes are not characters
    spoilt = [records[0], records[1] | {"conversations": records[1]["conversations"][:1]}, records[2]]
    bad = fails("BadRecord", "SVIT_core_150K.json", "record 1", f"byte {offsets(spoilt)[1]}")
    left = _rows(["a", "c"], options={"on_bad_record": "skip"}, counts={"odd_turns": 1})
    what = "A record ends with a question; the whole record is lost."
    yield Case("llava-odd-turns", "7.7", what, {CORE: array(spoilt)}, (bad, left), "core_150k", PARENT_PHOTOS)
