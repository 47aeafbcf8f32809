"""Writes the sample corpus to disk in the layout of the real files.

In come a folder and the options; out come zips, JSON, photos and annotations, complete or not at all. What the files
hold is decided elsewhere: `corpus` and `llava` the text, `draw` the pixels, `annotations` the rest.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from svit_datasets.errors import OptionError
from svit_datasets.sample.annotations import annotate
from svit_datasets.sample.corpus import Corpus, folder, make_corpus
from svit_datasets.sample.defects import write_defects
from svit_datasets.sample.draw import encode, render
from svit_datasets.sample.files import dump, member, write, write_zip
from svit_datasets.sample.llava import COCO_LOOSE, Forms, make_forms
from svit_datasets.sample.pages import BOOKS, SIGNS, paint_page
from svit_datasets.sample.pen import seeded

if TYPE_CHECKING:
    import os

    from svit_datasets.sample.scene import Scene

__all__ = ["SampleSummary", "write_sample"]

ZIPS = {"VG_100K": "images.zip", "VG_100K_2": "images2.zip"}


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What was written."""

    root: Path  # the folder, to be given as data_dir
    image_ids: tuple[int, ...]  # Visual Genome ids, in the order of the JSON files
    test_image_ids: tuple[int, ...]  # the held-out ones among them, ascending
    records: dict[str, int]  # JSON items by config
    questions: dict[str, int]  # questions with answers by config
    files: dict[str, int]  # bytes by path relative to root, "/" between the parts, sorted
    defects: tuple[str, ...]  # slugs of the defective copies, empty without defects


def write_sample(
    directory: str | os.PathLike[str], *, images: int = 64, seed: int = 0, defects: bool = False
) -> SampleSummary:
    """Write a small corpus of drawn scenes into ``directory``, in the real layout.

    Equal arguments give equal bytes. Either everything is written or the folder stays as it was.

    Args:
        directory: a folder that does not exist yet, or is empty.
        images: how many scenes, at least 2.
        seed: another seed gives other ids, scenes and texts.
        defects: also write ``defects/`` with a tiny broken copy for each known trap, listed in ``defects.json``.

    Raises:
        OptionError: the folder is not empty, or there are too few images (2, with defects 4).
    """
    target = Path(directory)
    if images < 2:
        raise OptionError(f"images={images}: give at least 2, so that there is one for training and one held out")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OptionError(f"{target} is not an empty folder: give a new one, or remove what is in it first")
    if defects and images < 4:
        raise OptionError(f"images={images}: defects=True needs at least 4, three of them to be spoilt")
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    corpus = make_corpus(images, seed)
    forms = make_forms(corpus)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}-") as beside:
        root = Path(beside, "corpus")
        _write_text(root, corpus, forms)
        _write_photos(root, corpus)
        slugs = _write_defects(root, corpus) if defects else ()
        if target.exists():
            target.rmdir()
        root.rename(target)
    return _summary(target, corpus, forms, slugs)


def _write_defects(root: Path, corpus: Corpus) -> tuple[str, ...]:

    return write_defects(root, corpus)


def _everything(corpus: Corpus) -> dict[str, list[dict[str, Any]]]:
    """The SVIT files by stem; the fifth is the other four one after another."""
    return {**corpus.items, "svit": [item for items in corpus.items.values() for item in items]}


def _write_text(root: Path, corpus: Corpus, forms: Forms) -> None:
    for stem, items in _everything(corpus).items():
        write_zip(root / "data" / f"{stem}.zip", {f"{stem}.json": dump(items)})
    llava = root / "format" / "llava-v1.5"
    write(llava / "SVIT_core_150K.json", dump(forms.core))
    write_zip(llava / "SVIT_mix_665K.zip", {"SVIT_mix_665K.json": dump(forms.mix)})
    for name, content in annotate(corpus).items():
        write(root / "raw" / "annotations" / name, dump(content))
    write(root / "test_image_ids.txt", "".join(f"{image_id}\n" for image_id in corpus.test_ids).encode())


def _write_photos(root: Path, corpus: Corpus) -> None:
    """Write the two zips, whose members stand in another order than the JSON, and the loose copies beside them."""
    raw = root / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    loose = dict(list(corpus.coco.items())[:COCO_LOOSE])
    gqa = {scene.image_id for scene in corpus.scenes[:2]}
    for name, archive in ZIPS.items():
        with zipfile.ZipFile(raw / archive, "w") as zipped:
            for scene in _storage_order(corpus, name):
                picture = render(scene)
                photo = encode(picture)
                zipped.writestr(member(f"{name}/{scene.image_id}.jpg", zipfile.ZIP_STORED), photo)
                if scene.image_id in gqa:
                    write(raw / "gqa" / "images" / f"{scene.image_id}.jpg", photo)
                if copy := loose.get(scene.image_id):
                    smaller = picture.resize((copy.width, copy.height), Image.Resampling.BICUBIC)
                    write(raw / "coco" / copy.split / copy.file_name, encode(smaller))
    for page in (*BOOKS, *SIGNS):
        write(raw / page.path, encode(paint_page(page)))


def _storage_order(corpus: Corpus, name: str) -> list[Scene]:
    scenes = [scene for scene in corpus.scenes if folder(scene.image_id) == name]
    stored = seeded(corpus.seed, name).sample(scenes, len(scenes))
    return stored if stored != scenes else scenes[::-1]


def _summary(root: Path, corpus: Corpus, forms: Forms, slugs: tuple[str, ...]) -> SampleSummary:
    svit = {"all" if stem == "svit" else stem: items for stem, items in _everything(corpus).items()}
    llava = {"core_150k": forms.core, "mix_665k": forms.mix}
    questions: Counter[str] = Counter()
    for config, items in svit.items():
        questions[config] = sum(len(block["content"]) // 2 for item in items for block in item["conversations"])
    for config, items in llava.items():
        questions[config] = sum(len(item["conversations"]) // 2 for item in items)
    return SampleSummary(
        root=root,
        image_ids=tuple(scene.image_id for scene in corpus.scenes),
        test_image_ids=corpus.test_ids,
        records={config: len(items) for config, items in {**svit, **llava}.items()},
        questions=dict(questions),
        files={
            path.relative_to(root).as_posix(): path.stat().st_size for path in sorted(root.rglob("*")) if path.is_file()
        },
        defects=slugs,
    )
