"""Annotation files of drawn scenes without the drawings: hundreds in a moment, in the layout of the real ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from svit_datasets.sample.annotations import annotate
from svit_datasets.sample.corpus import make_corpus

if TYPE_CHECKING:
    from pathlib import Path


def write_annotations(folder: Path, images: int, seed: int = 0) -> Path:
    """Write what `images` photos would be annotated with; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in annotate(make_corpus(images, seed)).items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    return folder
