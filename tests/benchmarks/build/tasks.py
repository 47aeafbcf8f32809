"""A corpus of `complex_reasoning` in, all four tasks out: other texts on the same photos, each task without some."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

from tests.publishing import swell

if TYPE_CHECKING:
    from pathlib import Path

TASKS = ("conversation", "complex_reasoning", "detail_description", "referring_qa")
WITHOUT = 0.044  # of the photos; SVIT has 95.6 % of the blocks that it could have


def four_tasks(source: Path, target: Path, *, without: float = WITHOUT) -> int:
    """Copy a corpus, with photos of 60 to 180 kB as Visual Genome has them, and write ``data/TASK.zip`` of each task.

    Args:
        source: the folder of the corpus.
        target: a new folder.
        without: which share of the photos each task does not have; another one each.

    Returns:
        Bytes of all photos together.
    """
    shutil.copytree(source, target)
    for name in ("images.zip", "images2.zip"):
        swell(target / "raw" / name, random.Random(name))
    with zipfile.ZipFile(target / "data/complex_reasoning.zip") as archive:
        items = json.loads(archive.read("complex_reasoning.json"))
    for task in TASKS:
        chance = random.Random(task)
        some = [_item(task, item) for item in items if chance.random() >= without]
        with zipfile.ZipFile(target / f"data/{task}.zip", "w") as archive:
            archive.writestr(f"{task}.json", json.dumps(some), zipfile.ZIP_DEFLATED)
    total = 0
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(target / "raw" / name) as archive:
            total += sum(member.file_size for member in archive.infolist())
    return total


def _item(task: str, item: dict[str, Any]) -> dict[str, Any]:
    turns = [block["content"] for block in item["conversations"]]
    if task == "conversation":  # three dialogues of five
        blocks = [
            {"topic": f"Part {part}", "content": [message for turn in turns[5 * part :][:5] for message in turn]}
            for part in range(3)
        ]
    elif task == "detail_description":
        answer = " ".join(turn[1]["value"] for turn in turns[:3])
        blocks = [{"content": [turns[0][0], {"from": "gpt", "value": answer}]}]
    else:
        blocks = [{"content": turn} for turn in turns[:10]]
    return {"image_id": item["image_id"], "conversations": blocks}
