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


def infer_tasks(topics: tuple[str | None, ...], sizes: tuple[int, ...], texts: tuple[str, ...]) -> list[str]:
    """Guess the task of each block of an item that holds several tasks without saying which.

    Used only for svit.zip when the four files are not there. A block with a topic or more than one question is
    conversation; one with box markup is referring_qa; of the rest, the only block of an item is its detail_description,
    the others are referring_qa where every marked block of the item is one, else complex_reasoning.

    Args:
        topics: one a block.
        sizes: messages a block.
        texts: all messages, in order.

    Returns:
        One configuration name a block.
    """
    tasks: list[str | None] = []
    at = 0
    for topic, size in zip(topics, sizes, strict=True):
        if topic is not None or size > 2:
            tasks.append("conversation")
        elif any("<st>" in text for text in texts[at : at + size]):
            tasks.append("referring_qa")
        else:
            tasks.append(None)
        at += size
    known = set(tasks) - {None}
    rest = (
        "detail_description"
        if len(tasks) == 1
        else "referring_qa"
        if known == {"referring_qa"}
        else "complex_reasoning"
    )
    return [task or rest for task in tasks]
