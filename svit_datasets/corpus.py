"""What was asked for and where it lies in, the plan of what to read out: parses text if need be, locates every photo.

Shared by the builder and the direct reader, so that both read the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from svit_datasets.images import Locator
from svit_datasets.plan import plan_dialogues, plan_images
from svit_datasets.store import open_store
from svit_datasets.vg import CocoIds

if TYPE_CHECKING:
    from pathlib import Path

    from svit_datasets.options import Options, Resolved
    from svit_datasets.plan import Left, Plan
    from svit_datasets.storage import Storage

__all__ = ["make_plan"]


def make_plan(options: Options, resolved: Resolved, storage: Storage, cache: Path) -> tuple[Plan, Left]:
    """Return the plan of all splits together, and what it leaves out: (kind, how many, the first few in words).

    Raises:
        SvitError: as in `open_store`, `plan_images` and `plan_dialogues`.
    """
    coco_ids = None if options.images is None else CocoIds(options.data_dir, storage, cache)
    locator = Locator(resolved.image_sources, storage, cache, coco_ids)
    locator.begin()
    stores = tuple(open_store(text, storage, cache) for text in resolved.texts)
    if options.task.form == "svit":
        tasks = tuple(None if text.task.parts else text.task.name for text in resolved.texts)
        plan, left = plan_images(stores, tasks, options, locator)
    else:
        plan, left = plan_dialogues(stores[0], options, locator)
    pa.default_memory_pool().release_unused()  # planning all of SVIT leaves 30 MB of it behind
    return plan, left
