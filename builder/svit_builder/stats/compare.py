"""Statistics in, tables out that set them beside the paper's: other datasets, SVIT as published, and this copy.

The paper's figures are those of arXiv 2307.04087 v3, which rounds them; None stands where it gives none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.stats.sketch import ids_of, united
from svit_builder.stats.statistics import VISUAL_GENOME
from svit_datasets.tasks import TASKS, get_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from svit_builder.stats.statistics import Statistics

__all__ = ["PAPER", "PUBLISHED", "counts", "coverage", "table", "united_images", "whole"]

# Images; what was annotated in them and given to the language model (boxes, regions, captions); what came out.
PAPER: tuple[dict[str, Any], ...] = (
    {"dataset": "MiniGPT-4", "images": 3_500, "boxes": None, "regions": None, "captions": None, "answers": 3_500},
    {"dataset": "LLaVAR", "images": 16_000, "boxes": None, "regions": None, "captions": None, "answers": 16_000},
    {
        "dataset": "LLaVA",
        "images": 81_500,
        "boxes": 600_000,
        "regions": None,
        "captions": 404_700,
        "questions": 150_000,
        "answers": 150_000,
    },
    {
        "dataset": "SVIT",
        "images": 108_100,
        "boxes": 3_800_000,
        "regions": 5_400_000,
        "captions": 257_600,
        "questions": 4_200_000,
        "answers": 4_200_000,
    },
)

# QAs of each task; in LLaVA form, records.
PUBLISHED: dict[str, int] = {
    "conversation": 1_600_000,
    "complex_reasoning": 1_600_000,
    "detail_description": 106_000,
    "referring_qa": 1_000_000,
    "core_150k": 157_712,
    "mix_665k": 665_298,
}
_TASKS = TASKS["all"].parts
_COLUMNS = ("dataset", "images", "boxes", "regions", "captions", "questions", "answers")


def table(statistics: Sequence[Statistics]) -> list[dict[str, Any]]:
    """Return the paper's comparison of datasets, a row each, and this copy's own as the last.

    The columns are ``dataset``, ``images``, ``boxes``, ``regions``, ``captions``, ``questions`` and ``answers``. Those
    in the middle count what a dataset was made from, which is not in a copy: there they are None, as where the paper
    gives no figure. The copy's row is what `whole` takes of the configurations, together.
    """
    parts = whole(statistics)
    copy = {
        "dataset": "this copy",
        "images": parts[0].images if len(parts) == 1 else united_images(parts),
        "questions": sum(one.questions.total for one in parts),
        "answers": sum(one.qas for one in parts),
    }
    return [{name: row.get(name) for name in _COLUMNS} for row in (*PAPER, copy)]


def counts(statistics: Sequence[Statistics]) -> list[dict[str, Any]]:
    """Return for each configuration what was published and what this copy has.

    Columns: ``config``; ``unit``, "QAs", or "records" in LLaVA form; ``paper``; ``copy``; ``share``, the copy's of the
    paper's, rounded to three places. Where the union `all` was measured and a task was not, the union tells its QAs.
    """
    own: dict[str, int] = {}
    for one in statistics:
        if TASKS[one.config].parts:
            own = {**one.task_qas, **own}
        else:
            own[one.config] = one.rows if TASKS[one.config].form == "llava" else one.qas
    return [
        {
            "config": config,
            "unit": "records" if get_task(config).form == "llava" else "QAs",
            "paper": PUBLISHED[config],
            "copy": own[config],
            "share": round(own[config] / PUBLISHED[config], 3),
        }
        for config in PUBLISHED
        if config in own
    ]


def coverage(statistics: Sequence[Statistics]) -> dict[str, Any]:
    """Return how many of Visual Genome's images there are, for each configuration and by how many tasks they have.

    ``of`` is how many Visual Genome has; ``images`` how many of them any configuration has; ``configs`` how many each
    has; ``tasks`` how many images have 1, 2, 3 and 4 of the four tasks, as far as these were measured one by one.
    """
    tasks = [ids_of(one.image_ids) for one in statistics if one.config in _TASKS]
    _, times = np.unique(np.concatenate([np.zeros(0, np.int64), *tasks]), return_counts=True)
    return {
        "of": VISUAL_GENOME,
        "images": united_images(statistics),
        "configs": {one.config: one.visual_genome for one in statistics},
        "tasks": {number: int(np.count_nonzero(times == number)) for number in range(1, len(tasks) + 1)},
    }


def whole(statistics: Sequence[Statistics]) -> list[Statistics]:
    """Return those that together make SVIT, with nothing twice.

    These are the tasks, or the union of them where it has more tasks than were measured; where neither is there, the
    last configuration alone: Mix-665K contains Core-150K.
    """
    tasks = [one for one in statistics if one.config in _TASKS]
    union = [one for one in statistics if TASKS[one.config].parts and len(one.task_qas) > len(tasks)]
    return union or tasks or list(statistics[-1:])


def united_images(statistics: Sequence[Statistics]) -> int:
    """Return how many different images of Visual Genome some configurations have together."""
    return sum(stop - first for first, stop in united(*(one.image_ids for one in statistics)))
