"""The corpus as Visual Genome 1.2 and MS-COCO would have annotated it.

In comes a `Corpus`; out come the contents of the annotation files, by file name. Visual Genome boxes are pixels of the
drawn things, to the pixel; COCO has captions only.
"""

from __future__ import annotations

from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

from svit_datasets.sample.captions import captions
from svit_datasets.sample.corpus import Corpus, folder
from svit_datasets.sample.pen import seeded
from svit_datasets.sample.words import article, listed, where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.sample.scene import Box, Scene, Thing

__all__ = ["annotate"]

Json = dict[str, Any]


def annotate(corpus: Corpus) -> dict[str, Any]:
    """Return the content of each annotation file, by its name."""
    scenes = sorted(corpus.scenes, key=lambda scene: scene.image_id)
    objects = _object_ids(scenes)
    ids = count(1_382)
    return {
        "image_data.json": [_image(scene, corpus) for scene in scenes],
        "objects.json": [
            {"image_id": s.image_id, "objects": [_object(t, objects[s.image_id, k]) for k, t in enumerate(s.things)]}
            for s in scenes
        ],
        "region_descriptions.json": [{"regions": list(_regions(scene, ids)), "id": scene.image_id} for scene in scenes],
        "attributes.json": [
            {
                "image_id": s.image_id,
                "attributes": [_with_colour(t, objects[s.image_id, k]) for k, t in enumerate(s.things)],
            }
            for s in scenes
        ],
        "relationships.json": [
            {"relationships": list(_relationships(scene, objects, ids)), "image_id": scene.image_id} for scene in scenes
        ],
        **{f"captions_{split}.json": _coco(corpus, split) for split in ("train2017", "val2017")},
    }


def _object_ids(scenes: list[Scene]) -> dict[tuple[int, int], int]:
    keys = ((scene.image_id, number) for scene in scenes for number in range(len(scene.things)))
    return dict(zip(keys, count(1_058_498), strict=False))


def _image(scene: Scene, corpus: Corpus) -> Json:
    copy = corpus.coco.get(scene.image_id)
    return {
        "width": scene.width,
        "url": f"https://sample.invalid/{folder(scene.image_id)}/{scene.image_id}.jpg",
        "height": scene.height,
        "image_id": scene.image_id,
        "coco_id": copy.coco_id if copy else None,
        "flickr_id": seeded(scene.image_id, "flickr").randint(10**8, 10**10) if copy else None,
    }


def _place(box: Box) -> Json:
    return {"h": box.h, "w": box.w, "y": box.y, "x": box.x}


def _object(thing: Thing, object_id: int) -> Json:
    kind = thing.kind
    return {"synsets": [kind.synset], "object_id": object_id, "names": [kind.name], **_place(thing.box)}


def _with_colour(thing: Thing, object_id: int) -> Json:
    """As in the real file, the key ``attributes`` is missing where nobody noted one: here on the sun."""
    noted = {} if thing.kind.name == "sun" else {"attributes": [thing.colour]}
    return {**_object(thing, object_id), **noted}


def _regions(scene: Scene, ids: Iterator[int]) -> Iterator[Json]:
    for thing in scene.things:
        yield _region(scene, f"{_noun(thing)} {where(thing, scene)}", thing.box, next(ids))
    for one, other in pairwise(sorted(scene.things, key=lambda thing: thing.box.x)):
        phrase = listed(article(_noun(thing)) for thing in (one, other))
        yield _region(scene, phrase, one.box.union(other.box), next(ids))


def _noun(thing: Thing) -> str:
    if "person" in thing.kind:
        return f"{thing.kind.name} in {thing.colour}"
    return f"{thing.colour} {thing.kind.name}"


def _region(scene: Scene, phrase: str, box: Box, region_id: int) -> Json:
    return {
        "region_id": region_id,
        "width": box.w,
        "height": box.h,
        "image_id": scene.image_id,
        "phrase": phrase,
        "y": box.y,
        "x": box.x,
    }


def _relationships(scene: Scene, objects: dict[tuple[int, int], int], ids: Iterator[int]) -> Iterator[Json]:
    numbered = list(enumerate(scene.things))
    tables = [(k, thing) for k, thing in numbered if thing.kind.name == "table"]
    pairs = [
        ("ON", "on.r.01", one, table)
        for one in numbered
        for table in tables
        if one[1].level == "table" and one is not table and one != table
    ]
    rest = sorted((p for p in numbered if p not in tables), key=lambda pair: pair[1].box.x)
    pairs += [("to the left of", "", one, other) for one, other in pairwise(rest) if one[1].box.right <= other[1].box.x]
    for predicate, synset, (k, one), (j, other) in pairs:
        yield {
            "predicate": predicate,
            "object": _party(other, objects[scene.image_id, j]),
            "relationship_id": next(ids),
            "synsets": [synset] if synset else [],
            "subject": _party(one, objects[scene.image_id, k]),
        }


def _party(thing: Thing, object_id: int) -> Json:
    kind = thing.kind
    return {"name": kind.name, "object_id": object_id, "synsets": [kind.synset], **_place(thing.box)}


def _coco(corpus: Corpus, split: str) -> Json:
    rng = seeded(corpus.seed, "coco", split)
    found = [(scene, corpus.coco[scene.image_id]) for scene in corpus.scenes if scene.image_id in corpus.coco]
    found = [(scene, copy) for scene, copy in found if copy.split == split]
    told = [(copy.coco_id, caption) for scene, copy in found for caption in captions(scene, rng)]
    rng.shuffle(told)  # the real file does not keep an image's captions together
    return {
        "info": {
            "description": "Drawn scenes in the layout of COCO captions",
            "url": "https://sample.invalid",
            "version": "1.0",
            "year": 2026,
            "contributor": "svit-datasets",
            "date_created": "2026/01/01",
        },
        "licenses": [{"url": "https://www.apache.org/licenses/LICENSE-2.0", "id": 1, "name": "Apache License 2.0"}],
        "images": [
            {
                "license": 1,
                "file_name": copy.file_name,
                "coco_url": f"https://sample.invalid/{split}/{copy.file_name}",
                "height": copy.height,
                "width": copy.width,
                "date_captured": "2026-01-01 00:00:00",
                "flickr_url": f"https://sample.invalid/flickr/{copy.file_name}",
                "id": copy.coco_id,
            }
            for _, copy in found
        ],
        "annotations": [
            {"image_id": coco_id, "id": number, "caption": caption}
            for number, (coco_id, caption) in enumerate(told, 37)
        ],
    }
