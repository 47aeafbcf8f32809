"""A plan's images in, the Arrow columns of their text out, a row an image or a row a conversation.

Works on whole columns and copies text once. Photos come later, in `tables`, which the direct reader does without.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from svit_datasets.columns import as_numpy, flags, integers, strings

if TYPE_CHECKING:
    from svit_datasets.plan import Plan
    from svit_datasets.tasks import Task

__all__ = ["text_columns"]


def text_columns(plan: Plan, task: Task, rows: str) -> tuple[dict[str, pa.Array], Any]:
    """Return the text of a plan's images.

    Args:
        plan: which images.
        task: the configuration.
        rows: "image" or "conversation"; LLaVA form has a row a record either way.

    Returns:
        Columns by name (conversations; or id, topic, task, messages; or id, image_path, messages), and for each row the
        position of its image in the plan.
    """
    if task.form == "llava":
        text = plan.stores[0].take(plan.item_row).combine_chunks()
        return {name: text[name] for name in ("id", "image_path", "messages")}, np.arange(len(plan))
    blocks, owner, kept = _blocks(plan)
    columns = {name: pc.struct_field(blocks, name) for name in ("topic", "task", "messages")}
    if rows == "conversation":
        columns["id"] = strings(_block_ids(plan, owner, columns["task"]))
    if kept is not None:
        columns = {name: column.filter(flags(kept)) for name, column in columns.items()}
        owner = owner[kept]
    if rows == "conversation":
        return columns, owner
    sizes = np.bincount(owner, minlength=len(plan))
    offsets = integers(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
    names = ["topic", "task", "messages"] if task.parts else ["topic", "messages"]
    block = pa.StructArray.from_arrays([columns[name] for name in names], names)
    return {"conversations": pa.ListArray.from_arrays(offsets, block)}, np.arange(len(plan))


def _blocks(plan: Plan) -> tuple[pa.StructArray, Any, Any]:
    """Return all blocks of a plan's images; for each the position of its image; which stay, or None for all."""
    pieces, at = [], np.empty(len(plan.item_row), dtype=np.int64)
    filled = 0
    for number, (store, task) in enumerate(zip(plan.stores, plan.tasks, strict=True)):
        mine = np.flatnonzero(plan.item_store == number)
        if not len(mine):
            continue
        column = store.take(plan.item_row[mine])["conversations"].combine_chunks()
        pieces.append(column if task is None else _with_task(column, task))
        at[mine] = np.arange(filled, filled + len(mine))
        filled += len(mine)
    items = pa.concat_arrays(pieces).take(integers(at, pa.int64()))
    sizes = as_numpy(pc.list_value_length(items))
    owner = np.repeat(np.repeat(np.arange(len(plan)), np.diff(plan.offsets)), sizes)
    return pc.list_flatten(items), owner, _kept(plan, sizes)


def _with_task(items: pa.ListArray, task: str) -> pa.ListArray:
    blocks = items.flatten()
    fields = [pc.struct_field(blocks, name) for name in ("topic", "messages")]
    named = strings([task]).take(integers(np.zeros(len(blocks)), pa.int64()))
    block = pa.StructArray.from_arrays([fields[0], named, fields[1]], fields=list(blocks.type))
    sizes = as_numpy(pc.list_value_length(items))
    offsets = integers(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, block)


def _kept(plan: Plan, sizes: Any) -> Any:
    """Return a mask over the blocks of all items, or None where every block stays."""
    if not plan.dropped:
        return None
    mask = np.ones(int(sizes.sum()), dtype=bool)
    begin = 0
    for store, row, size in zip(plan.item_store.tolist(), plan.item_row.tolist(), sizes.tolist(), strict=True):
        for block in plan.dropped.get((store, row), ()):
            mask[begin + block] = False
        begin += size
    return None if mask.all() else mask


def _block_ids(plan: Plan, owner: Any, tasks: pa.Array) -> list[str]:
    """Name each block IMAGE/TASK/NUMBER; numbers count an image's blocks of one task, left out or not."""
    seen: Counter[tuple[int, str]] = Counter()
    ids = []
    for image_id, task in zip(plan.image_ids[owner].tolist(), tasks.to_pylist(), strict=True):
        ids.append(f"{image_id}/{task}/{seen[image_id, task]}")
        seen[image_id, task] += 1
    return ids
