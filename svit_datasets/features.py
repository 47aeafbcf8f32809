"""The columns of every configuration, named and typed in this one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datasets import Features, Image, List, Value

if TYPE_CHECKING:
    from svit_datasets.tasks import Task

__all__ = ["features_of"]

_MESSAGES = List({"role": Value("string"), "content": Value("string")})
_PHOTO = {"image": Image(mode="RGB"), "width": Value("int32"), "height": Value("int32")}


def features_of(task: Task, rows: str) -> Features:
    """Return the columns of a configuration.

    Args:
        task: the configuration.
        rows: "image" (a row an image, all its blocks) or "conversation" (a row a block); LLaVA form has a row a record.
    """
    if task.form == "llava":
        return Features({"id": Value("string"), **_PHOTO, "image_path": Value("string"), "messages": _MESSAGES})
    kind = {"task": Value("string")} if task.parts else {}
    block = {"topic": Value("string"), **kind, "messages": _MESSAGES}
    image_id = {"image_id": Value("int64")}
    if rows == "image":
        return Features({**image_id, **_PHOTO, "conversations": List(block)})
    return Features({"id": Value("string"), **image_id, **_PHOTO, **block})
