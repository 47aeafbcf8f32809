"""Formats that are JSON with a folder of photos beside it: LLaVA's, ShareGPT's, and the rows as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from svit_builder.export.items import plain_row
from svit_builder.export.photos import put_photo
from svit_builder.svit_json import JsonArrayWriter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from svit_builder.export.items import Item, Plan

__all__ = ["write_jsonl", "write_llava", "write_sharegpt"]

_MARKER = "<image>"


def write_llava(items: Iterable[Item], folder: Path, split: str, plan: Plan) -> None:
    """Write ``SPLIT.json`` as LLaVA 1.5 reads it with ``--data_path`` and ``--image_folder OUT/images``.

    ``<image>`` stands once, at the start of the first question; text-only records have no ``image``.
    """
    with JsonArrayWriter(folder / f"{split}.json") as out:
        for item, chat in plan.said(items, "llava"):
            put_photo(item, folder, plan)
            if item.image_name is not None:
                first = chat["conversations"][0]
                text = first["value"].replace(_MARKER, "").strip()
                chat["conversations"][0] = {**first, "value": f"{_MARKER}\n{text}"}
            out.append(chat)
            plan.written += 1


def write_sharegpt(items: Iterable[Item], folder: Path, split: str, plan: Plan) -> None:
    """Write ``SPLIT.json``, and in ``dataset_info.json`` how LLaMA-Factory reads it, as ``svit_SPLIT``."""
    with JsonArrayWriter(folder / f"{split}.json") as out:
        for item, chat in plan.said(items, "sharegpt"):
            path = put_photo(item, folder, plan)
            out.append({**chat, "images": [] if path is None else [path]})
            plan.written += 1
    info = folder / "dataset_info.json"
    known: dict[str, Any] = json.loads(info.read_text("utf-8")) if info.exists() else {}
    known[f"svit_{split}"] = {
        "file_name": f"{split}.json",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
    }
    info.write_text(json.dumps(known, indent=2) + "\n", "utf-8")


def write_jsonl(items: Iterable[Item], folder: Path, split: str, plan: Plan) -> None:
    """Write ``SPLIT.jsonl``: the columns of the dataset, ``image`` as the path of its file or null."""
    with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as out:
        for item in items:
            row = {**plain_row(item), "image": put_photo(item, folder, plan)}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            plan.written += 1
