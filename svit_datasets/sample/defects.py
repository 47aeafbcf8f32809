"""Writes the defective copies beside a sample corpus, and the list of what must become of each.

In comes the corpus's folder; out come ``defects/<slug>/`` and ``defects.json``. Two known traps cannot be shown by a
small file and are left to tests of their own: 7.1, arrays of gigabytes, and 7.5, a gated repository's refusal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from svit_datasets.sample.broken_files import broken_files
from svit_datasets.sample.broken_photos import broken_photos
from svit_datasets.sample.broken_records import broken_records
from svit_datasets.sample.cases import Case, Material
from svit_datasets.sample.odd_records import odd_records

if TYPE_CHECKING:
    from pathlib import Path

    from svit_datasets.sample.corpus import Corpus

__all__ = ["write_defects"]


def write_defects(root: Path, corpus: Corpus) -> tuple[str, ...]:
    """Write every case below ``root`` and return their slugs; the corpus needs three images that have all tasks."""
    material = Material(corpus)
    cases = [*odd_records(material), *broken_records(material), *broken_files(material), *broken_photos(material)]
    cases.sort(key=_order)
    for case in cases:
        for name, content in case.files.items():
            path = root / "defects" / case.slug / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    listed = {"version": 1, "defects": [case.entry() for case in cases]}
    (root / "defects.json").write_text(
        json.dumps(listed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
    )
    return tuple(case.slug for case in cases)


def _order(case: Case) -> tuple[int, int]:
    section, number = case.trap.split(".")
    return int(section), int(number)
