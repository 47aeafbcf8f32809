"""What an export must hold: the dataset's rows, read another way; shared by the tests of writers and of readers."""

from __future__ import annotations

import hashlib
import json

from svit_builder.data import open_data

CONFIGS = ("referring_qa", "mix_665k")  # SVIT form with boxes; LLaVA form with paths and text-only records


def rows_of(place, config, split):
    """Return all rows of a split, photos as bytes."""
    data = open_data(str(place), config, split=split)
    return [row for _, row in data.rows(range(len(data)), on_missing_image="error")]


def name_of(row):
    """What an exported record is called."""
    return row["id"] if "id" in row else str(row["image_id"])


def photo_name(row):
    """What its photo is called in an export; None where it has none."""
    if row["image"] is None:
        return None
    return row.get("image_path") or f"{row['image_id']}.jpg"


def texts_of(row):
    """Return what is said in a row, (role, text) in order, without LLaVA's mark."""
    blocks = row.get("conversations", [row])
    said = [(message["role"], message["content"]) for block in blocks for message in block["messages"]]
    return [(role, text.replace("<image>", "").strip()) for role, text in said]


def as_json(row):
    """Return a row as an export writes it beside its photo."""
    return json.loads(json.dumps({**row, "image": photo_name(row)}))


def tree(folder):
    """Return every file's digest by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
