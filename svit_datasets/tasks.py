"""The configurations, in one frozen table: what each is called, which file holds it, which form its rows have.

Nothing is opened here. Counts are the paper's (arXiv 2307.04087, v3) and serve as orientation, never as a check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from svit_datasets.errors import OptionError

__all__ = ["TASKS", "Task", "get_task"]

Form = Literal["svit", "llava"]


@dataclass(frozen=True, slots=True)
class Task:
    """One configuration."""

    name: str  # the configuration's name, as in load_dataset("svit", NAME)
    stem: str  # its file's name without ending: data/STEM.zip holds STEM.json
    form: Form  # "svit": an item an image, blocks of turns; "llava": an item a conversation, image by path
    summary: str  # one sentence for the card, the docs and `svit sources`
    parts: tuple[str, ...] = ()  # the configurations that it is the union of


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("conversation", "conversation", "svit", "Three dialogues of five QAs a photo, each with its topic."),
        Task("complex_reasoning", "complex_reasoning", "svit", "Up to 15 QAs a photo that need reasoning."),
        Task("detail_description", "detail_description", "svit", "One long description a photo."),
        Task("referring_qa", "referring_qa", "svit", "Up to 10 QAs a photo whose objects carry boxes."),
        Task(
            "all",
            "svit",
            "svit",
            "The four tasks together, each block with its task.",
            parts=("conversation", "complex_reasoning", "detail_description", "referring_qa"),
        ),
        Task("core_150k", "SVIT_core_150K", "llava", "157,712 informative records in LLaVA form."),
        Task("mix_665k", "SVIT_mix_665K", "llava", "LLaVA-1.5's mix with SVIT-core inside; about 6 % text-only."),
    )
}


def get_task(name: str | None) -> Task:
    """Return the configuration called ``name``.

    Raises:
        OptionError: there is none of that name, or no name was given; the message lists them.
    """
    if name is None:
        raise OptionError(f"Config name is missing. Please pick one among the available configs: {', '.join(TASKS)}")
    try:
        return TASKS[name]
    except KeyError:
        raise OptionError(f"Unknown config {name!r}. Available: {', '.join(TASKS)}") from None
