"""Corpora to publish: some answers say the message was empty, and photos may fill row groups of megabytes."""

from __future__ import annotations

import json
import random
import zipfile

from svit_datasets.sample import write_sample

EMPTY = "I am sorry, but the message is empty."
KINDS = ("conversation", "complex_reasoning", "detail_description", "referring_qa")


def write_corpus(root, images, *, swollen=False):
    """A sample; swollen, its photos have 60 to 180 KB, about 120 on average."""
    write_sample(root, images=images)
    for name in KINDS:
        empty_some(root, name)
    if swollen:
        numbers = random.Random(5)
        for name in ("images.zip", "images2.zip"):
            swell(root / "raw" / name, numbers)
    return root


def empty_some(root, name):
    """Of every fifth item an answer in the middle, of every seventh the first and the last are said to be empty."""
    path = root / "data" / f"{name}.zip"
    with zipfile.ZipFile(path) as archive:
        items = json.loads(archive.read(f"{name}.json"))
    for number, item in enumerate(items):
        blocks = item["conversations"]
        if len(blocks) < 3:
            continue
        chosen = [1] if number % 5 == 0 else [0, len(blocks) - 1] if number % 7 == 0 else []
        for block in chosen:
            blocks[block]["content"][-1]["value"] = EMPTY
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.json", json.dumps(items))


def swell(path, numbers):
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            size = max(0, numbers.randrange(60_000, 180_000) - len(data))
            comments = [numbers.randbytes(min(65_533, size - at)) for at in range(0, size, 65_533)]
            parts = (b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment for comment in comments)
            archive.writestr(name, data[:2] + b"".join(parts) + data[2:])
