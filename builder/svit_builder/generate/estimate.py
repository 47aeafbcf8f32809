"""A job in, what it would take out: requests, tokens, money; counted from the very contexts that would be sent.

Nothing is asked. Of many photos every k-th is counted, so that an estimate takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svit_builder.generate.context import estimate_tokens
from svit_builder.generate.plan import items

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from svit_builder.annotations import Annotations
    from svit_builder.generate.plan import Settings

__all__ = ["REPLY", "Estimate", "estimate"]

REPLY = {"conversation": 750, "complex_reasoning": 1425, "detail_description": 300, "referring_qa": 1600}
# Tokens of a good reply: 50 to 95 a question and answer; an assumption until a journal knows better.
_PHOTOS = 500  # that are counted


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a task would take, all photos asked once."""

    task: str
    requests: int
    prompt_tokens: int
    completion_tokens: int  # assumed: see REPLY
    most_completion_tokens: int  # if every reply were as long as it may be


def estimate(
    annotations: Annotations, settings: Settings, ids: np.ndarray[Any, Any], tasks: Sequence[str]
) -> list[Estimate]:
    """Return what each task would take, without regenerations, which add what is rejected.

    Tokens of prompts are those of `estimate_tokens`, which is never less than what common tokenizers need.

    Args:
        annotations: of the photos.
        settings: what decides what is asked.
        ids: of the photos, ascending.
        tasks: to be asked.
    """
    step = max(1, len(ids) // _PHOTOS)
    counted = ids[step // 2 :: step].tolist()
    prompt, most = dict.fromkeys(tasks, 0), dict.fromkeys(tasks, 0)
    for item in items(annotations, settings, [(image_id, task) for image_id in counted for task in tasks]):
        task = item.context.task
        request = item.request()
        prompt[task] += sum(estimate_tokens(str(message["content"])) + 4 for message in request.messages)
        most[task] += request.sampling.get("max_completion_tokens") or request.sampling.get("max_tokens") or 0
    each = len(ids) / max(1, len(counted))
    return [
        Estimate(task, len(ids), round(prompt[task] * each), REPLY[task] * len(ids), round(most[task] * each))
        for task in tasks
    ]
