"""Referring QAs in, COCO's JSON out: a box an annotation, a phrase a category; and refs to phrases as in RefCOCO."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

from svit_builder.export.photos import put_photo
from svit_datasets.boxes import parse
from svit_datasets.errors import ImageNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from svit_builder.export.items import Item, Plan
    from svit_datasets.boxes import Box, Referring

__all__ = ["write_coco"]


def write_coco(items: Iterable[Item], folder: Path, split: str, plan: Plan) -> None:
    """Write ``SPLIT.json`` in COCO's form and ``refs_SPLIT.json``, with photos under ``images/``.

    An annotation is a box of a phrase, once an image, ``bbox`` as x, y, width and height in pixels from the top left
    corner; its category is the phrase in lower case. A ref is a phrase where it is said: ``ann_id`` lists its boxes,
    ``sentences`` has the phrase, and the QA stands beside it. Boxes that cannot be read are left out and counted, and
    so are rows without photo. Memory grows with the number of different phrases, about 100 bytes each.
    """
    with (
        (folder / f"{split}.json").open("w", encoding="utf-8") as out,
        (folder / f"refs_{split}.json").open("w", encoding="utf-8") as said,
        tempfile.TemporaryFile("w+", encoding="utf-8") as late,  # annotations wait here: they come after all images
    ):
        coco = _Coco(split, _List(late), _List(said))
        out.write('{"info": {"description": "SVIT"}, "licenses": [], "images": [')
        said.write("[")
        images = _List(out)
        for item in items:
            if item.image_name is None:
                plan.leave_out("missing_image", ImageNotFound(f"{item.id}: without photo there are no pixels"))
                continue
            row = item.row
            image = {name: row[name] for name in ("width", "height")}
            image |= {"id": row["image_id"], "file_name": put_photo(item, folder, plan)}
            images.append(image)
            coco.add(row, image)
            plan.written += 1
        out.write('\n],\n"annotations": [')
        late.seek(0)
        out.writelines(late)
        out.write('\n],\n"categories": [')
        categories = _List(out)
        for phrase, category in coco.categories.items():
            categories.append({"id": category, "name": phrase, "supercategory": ""})
        out.write("\n]}\n")
        said.write("\n]\n")
        for kind, count in coco.found.items():
            if kind != "boxes":
                plan.left_out["bad_box"] += count


class _List:
    """Writes the members of a JSON array, a line each."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.count = 0

    def append(self, value: dict[str, Any]) -> None:
        self._file.write(("," if self.count else "") + "\n" + json.dumps(value))
        self.count += 1


class _Coco:
    """Writes the annotations and refs of rows, and numbers phrases, annotations and refs."""

    def __init__(self, split: str, annotations: _List, refs: _List) -> None:
        self.categories: dict[str, int] = {}  # phrase in lower case -> id, from 1
        self.found: Counter[str] = Counter()  # as `parse` counts
        self._split, self._annotations, self._refs = split, annotations, refs

    def add(self, row: dict[str, Any], image: dict[str, Any]) -> None:
        """Write what an image's QAs say."""
        known: dict[tuple[int, Box], int] = {}
        for referring, qa in self._said(row):
            phrase = referring.phrase.strip().lower()
            category = self.categories.setdefault(phrase, len(self.categories) + 1)
            for box in referring.boxes:
                if (category, box) not in known:
                    known[category, box] = self._annotate(box, category, image)
            number = self._refs.count
            ref = {
                "ref_id": number,
                "image_id": image["id"],
                "file_name": image["file_name"],
                "split": self._split,
                "category_id": category,
                "ann_id": [known[category, box] for box in referring.boxes],
                "sent_ids": [number],
                "sentences": [{"sent_id": number, "raw": referring.phrase, "sent": phrase, "tokens": phrase.split()}],
            }
            self._refs.append({**ref, **qa})

    def _annotate(self, box: Box, category: int, image: dict[str, Any]) -> int:
        x1, y1, x2, y2 = box.to_pixels(image["width"], image["height"])
        wide, high = round(x2 - x1, 3), round(y2 - y1, 3)
        annotation = {
            "id": self._annotations.count + 1,
            "image_id": image["id"],
            "category_id": category,
            "bbox": [round(x1, 3), round(y1, 3), wide, high],
            "area": round(wide * high, 3),
            "iscrowd": 0,
        }
        self._annotations.append(annotation)
        return self._annotations.count

    def _said(self, row: dict[str, Any]) -> Iterator[tuple[Referring, dict[str, str]]]:
        """Yield each phrase that has boxes, with the QA that says it."""
        for block in row.get("conversations") or [row]:
            question = ""
            for message in block["messages"]:
                if message["role"] == "user":
                    question = message["content"]
                    continue
                for text in (question, message["content"]):
                    for referring in parse(text, on_bad_box="drop", counts=self.found):
                        yield referring, {"question": question, "answer": message["content"]}
