"""Rows of a dataset in, items out that any format can write: named, boxes converted, what cannot be used told apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from svit_datasets.boxes import convert
from svit_datasets.chat.styles import messages
from svit_datasets.errors import BadRecord, EncodeError, ImageNotFound, MissingDependency, TemplateLossError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from svit_builder.data import Data
    from svit_datasets.rows import Row
    from svit_datasets.tasks import Task

__all__ = ["Item", "Plan", "items_of", "needed", "plain_row"]

_KINDS = ((b"\x89PNG", "png"), (b"GIF8", "gif"), (b"RIFF", "webp"), (b"BM", "bmp"))  # photos that are no JPEG


@dataclass(frozen=True, slots=True)
class Item:
    """What becomes one record of an export."""

    number: int  # of its row in the split, 0-based
    id: str  # "306", "306/complex_reasoning/3", or the record's own
    row: Row  # columns as in `svit_datasets.features`; image is the bytes of its file, or None
    image_name: str | None  # of the photo's file, such as "306.jpg" or "vg/VG_100K/306.jpg"; None: no photo


@dataclass(slots=True)
class Plan:
    """How an export is made, and what is counted on the way."""

    task: Task  # the configuration
    rows: str  # "image" or "conversation"
    boxes: str  # convention that boxes are written in; a key of `CONVENTIONS`
    on_missing_image: str  # "error", "skip" or "null"
    on_bad_record: str  # "error" or "skip", for what a format cannot hold
    shard_bytes: int  # of a file, about, where a format cuts
    written: int = 0  # records
    photos: int = 0  # files, or cells
    left_out: Counter[str] = field(default_factory=Counter)  # kind -> records
    examples: dict[str, str] = field(default_factory=dict)  # kind -> the first one's message

    def leave_out(self, kind: str, error: Exception) -> None:
        """Count a record that is left out."""
        self.left_out[kind] += 1
        self.examples.setdefault(kind, str(error))

    def said(self, items: Iterable[Item], style: str) -> Iterator[tuple[Item, dict[str, Any]]]:
        """Yield items with their chats in a style of `svit_datasets.chat.styles.messages`.

        In styles that mark the image in the text, the word ``<image>`` of a text is taken out, as it would be taken for
        one.

        Raises:
            BadRecord, EncodeError, TemplateLossError: the style cannot hold it, under ``on_bad_record="error"``.
        """
        for item in items:
            image = item.row["image"] if style == "trl" else item.image_name
            try:
                chat = messages(item.row, style, image=image, row_id=item.id, control_tokens="strip")
            except (BadRecord, EncodeError, TemplateLossError) as error:
                if self.on_bad_record == "error":
                    raise
                self.leave_out("bad_record", error)
            else:
                yield item, chat


def items_of(data: Data, split: str, plan: Plan, limit: int | None) -> Iterator[Item]:
    """Yield the items of a split, in order; 32 photos or so are held.

    Args:
        data: the configuration.
        split: one of its splits.
        plan: how; what is left out is counted there.
        limit: rows of the dataset, at most.

    Raises:
        SvitError: a photo is missing or a record cannot be used, unless the plan says otherwise.
    """
    first = 0
    for name, size in data.splits.items():
        if name == split:
            break
        first += size
    size = data.splits[split]
    numbers = range(first, first + (size if limit is None else min(size, limit)))
    policy = "error" if plan.on_missing_image == "error" else "null"
    for number, found in data.rows(numbers, on_missing_image=policy):
        named = found.get("image_path", "by its id") is not None
        if found["image"] is None and named and plan.on_missing_image == "skip":
            which = found.get("image_id", found.get("id"))
            plan.leave_out("missing_image", ImageNotFound(f"{split}, row {number - first:,}: no photo of {which}"))
            continue
        row = _with_boxes(found, data.task.form, plan)
        photo = _image_name(row)
        if data.task.form == "llava":
            yield Item(number - first, row["id"], row, photo)
        elif plan.rows == "image":
            yield Item(number - first, str(row["image_id"]), row, photo)
        else:
            blocks = row.pop("conversations")
            for one, block in zip(data.conversation_ids(number, found), blocks, strict=True):
                yield Item(number - first, one, {"id": one, **row, **block}, photo)


def needed(module: str, command: str) -> Any:
    """Import a module of an optional package.

    Raises:
        MissingDependency: it is not installed; the message has the command.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependency(f"This format needs {module.partition('.')[0]}: {command}") from error


def plain_row(item: Item) -> dict[str, Any]:
    """Return an item's columns without its photo, as JSON holds them; ``image`` is the photo's name or None."""
    return {**item.row, "image": item.image_name}


def _image_name(row: Row) -> str | None:
    """Return where a photo's file goes in a folder of photos; what the data call it may not lead elsewhere.

    Raises:
        BadRecord: a path leads out of the folder.
    """
    if row["image"] is None:
        return None
    path = row.get("image_path")
    if path is None:
        kind = next((name for start, name in _KINDS if row["image"].startswith(start)), "jpg")
        return f"{row['image_id']}.{kind}"
    if "\\" in path or "\0" in path or ":" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise BadRecord(f"Record {row['id']}: the path of its image, {path[:80]!r}, would lead out of the folder.")
    return str(path)


def _with_boxes(row: Row, form: str, plan: Plan) -> Row:
    """Return the row with boxes in the plan's convention. LLaVA form has them in the padded frame already."""
    source = "padded" if form == "llava" else "svit"
    target = "plain" if row["width"] is None and plan.boxes not in ("svit", source) else plan.boxes
    if target == source or (form == "llava" and target == "svit") or (form == "llava" and row["width"] is None):
        return dict(row)

    def said(block: dict[str, Any]) -> dict[str, Any]:
        return {
            **block,
            "messages": [
                {
                    **message,
                    "content": convert(
                        message["content"], to=target, convention=source, width=row["width"], height=row["height"]
                    ),
                }
                for message in block["messages"]
            ],
        }

    if form == "llava":
        return said(row)
    return {**row, "conversations": [said(block) for block in row["conversations"]]}
