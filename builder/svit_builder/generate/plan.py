"""Annotations and settings in, requests out: which are still to be asked, and what each says.

A request is a pure function of photo, task, settings, attempt and how often a reply was cut off before, so a journal
need not keep what was asked. Photos are taken in ascending id, some hundred at a time; nothing is asked here.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_builder.generate.context import make_context
from svit_builder.generate.prompts import messages
from svit_builder.generate.protocol import Request
from svit_datasets.errors import OptionError, SourceChanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from svit_builder.annotations import Annotations
    from svit_builder.generate.calls import Call
    from svit_builder.generate.journal import Journal
    from svit_builder.generate.prompts import Prompt
    from svit_builder.generate.protocol import Annotated, Context

    Ids = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["TASKS", "Item", "Settings", "bind", "choose", "items", "pending", "unjudged"]

TASKS = ("conversation", "complex_reasoning", "detail_description", "referring_qa")
LONGEST = {"conversation": 2500, "complex_reasoning": 4000, "detail_description": 1000, "referring_qa": 3500}
# Tokens of a reply at most: about twice what a good one has (750, 1,425, 300 and 1,600 were assumed for estimates).
_LIMITS = ("max_tokens", "max_completion_tokens")  # names that endpoints have for it
_CHUNK = 256  # photos looked up at a time


@dataclass(frozen=True)
class Settings:
    """What decides what is asked; a journal keeps to one."""

    model: str = "rules"
    temperature: float = 0.7
    seed: int = 0
    max_tokens: int | None = None  # of a reply; None: by task, see LONGEST
    prompt: str = "svit-1"  # version
    context: str = "svit-1"  # version
    context_tokens: int = 6000  # that a context may have
    few_shot: bool = False
    json_schema: bool = False
    sampling: dict[str, Any] = field(default_factory=dict)  # further fields of a request; None takes one away


@dataclass(frozen=True, slots=True)
class Item:
    """A photo and a task: what one good reply is wanted for."""

    context: Context
    prompt: Prompt
    settings: Settings

    def request(self, attempt: int = 0, cut_off: int = 0) -> Request:
        """Return the request of an attempt.

        Args:
            attempt: 0-based; each has a seed of its own.
            cut_off: how many replies before it were cut off for length; each doubles how long this one may be.
        """
        settings, context = self.settings, self.context
        sampling: dict[str, Any] = {
            "temperature": settings.temperature,
            "seed": _seed(settings.seed, context.image_id, context.task, attempt),
            "max_tokens": settings.max_tokens or LONGEST[context.task],
        }
        if self.prompt.response_format is not None:
            sampling["response_format"] = self.prompt.response_format
        sampling |= settings.sampling
        for name in _LIMITS:
            if sampling.get(name):
                sampling[name] <<= cut_off
        return Request(
            context.image_id,
            context.task,
            attempt,
            settings.model,
            self.prompt.messages,
            {name: value for name, value in sampling.items() if value is not None},
            self.prompt.version,
            self.prompt.sha256,
            context.sha256,
        )


def _seed(*parts: object) -> int:
    """Return 31 bits that nothing but these parts decides."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4]) >> 1


def make_item(settings: Settings, photo: Annotated, task: str) -> Item:
    """Return what is asked of a photo for a task."""
    context = make_context(photo, task, budget_tokens=settings.context_tokens, version=settings.context)
    prompt = messages(context, version=settings.prompt, few_shot=settings.few_shot, json_schema=settings.json_schema)
    return Item(context, prompt, settings)


def choose(annotations: Annotations, wanted: Iterable[int] | None, shard: tuple[int, int] | None = None) -> Ids:
    """Return the ids of the photos to ask about, ascending.

    Args:
        annotations: what there is.
        wanted: only these; None: all.
        shard: (i, n): the photos whose id leaves i when divided by n.

    Raises:
        OptionError: a wanted photo has no annotations.
    """
    ids: Ids = np.asarray(annotations.image_ids, dtype=np.int64)
    if wanted is not None:
        asked = np.unique(np.fromiter(wanted, dtype=np.int64))
        unknown = np.setdiff1d(asked, ids)
        if len(unknown):
            examples = ", ".join(map(str, unknown[:3].tolist()))
            raise OptionError(
                f"{len(unknown):,} of {len(asked):,} images have no annotations, such as {examples}. Take them out of "
                "--images, or give the annotations that they are in."
            )
        ids = asked
    if shard is not None:
        ids = ids[ids % shard[1] == shard[0]]
    return ids


def bind(journal: Journal, settings: Settings) -> None:
    """Make a journal keep to these settings.

    Raises:
        OptionError: it holds replies that others asked for; the message names what differs.
    """
    now, before = asdict(settings), journal.get("settings")
    if before is not None and before != now and not journal.is_empty():
        differ = [
            f"{name} was {before.get(name)!r}, is {value!r}" for name, value in now.items() if before.get(name) != value
        ]
        raise OptionError(
            f"{journal.path}: its replies were asked for otherwise: {'; '.join(differ)}. Give the same options, or "
            "another --out."
        )
    journal.set("settings", now)


def items(annotations: Annotations, settings: Settings, wanted: Iterable[tuple[int, str]]) -> Iterator[Item]:
    """Yield what is asked for each (image id, task); image ids must ascend."""
    tasks: dict[int, list[str]] = defaultdict(list)
    for image_id, task in wanted:
        tasks[image_id].append(task)
    for photo in annotations.read(list(tasks)):
        for task in tasks[photo.image_id]:
            yield make_item(settings, photo, task)


def pending(
    journal: Journal, annotations: Annotations, settings: Settings, ids: Ids, *, tasks: Sequence[str], attempts: int
) -> Iterator[tuple[Item, int, int]]:
    """Yield what is still to be asked: (item, attempt, replies cut off before); lazy.

    An item is passed over that has an accepted reply, ``attempts`` others, or one that is waited for.
    """
    for some in _chunks(ids):
        calls = _by_item(journal.calls(int(some[0]), int(some[-1])))
        todo: dict[tuple[int, str], tuple[int, int]] = {}
        for image_id in some.tolist():
            for task in tasks:
                found = calls.get((image_id, task), [])
                if len(found) < attempts and all(call.status in {"rejected", "refused"} for call in found):
                    todo[image_id, task] = len(found), sum(call.finish_reason == "length" for call in found)
        for item in items(annotations, settings, todo):
            yield item, *todo[item.context.image_id, item.context.task]


def unjudged(journal: Journal, annotations: Annotations, settings: Settings, ids: Ids) -> Iterator[tuple[Item, Call]]:
    """Yield replies that no rule has seen yet, each with what was asked; lazy.

    Raises:
        SourceChanged: the annotations are not those that the reply is about.
    """
    for some in _chunks(ids):
        wanted = set(some.tolist())
        calls = _by_item(
            call
            for call in journal.calls(int(some[0]), int(some[-1]), raw=True)
            if call.status == "replied" and call.image_id in wanted
        )
        for item in items(annotations, settings, calls):
            for call in calls[item.context.image_id, item.context.task]:
                check_context(journal, item, call)
                yield item, call


def check_context(journal: Journal, item: Item, call: Call) -> None:
    """Make sure that a reply is about what the annotations say now.

    Raises:
        SourceChanged: it is not.
    """
    if call.context_sha256 != item.context.sha256:
        raise SourceChanged(
            f"{journal.path}: image {call.image_id}, {call.task}: the annotations, or the way they are told, have "
            "changed since the reply came. Give the annotations and the release it was made with, or another --out."
        )


def _chunks(ids: Ids) -> Iterator[Ids]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _by_item(calls: Iterable[Call]) -> dict[tuple[int, str], list[Call]]:
    found: dict[tuple[int, str], list[Call]] = defaultdict(list)
    for call in calls:
        found[call.image_id, call.task].append(call)
    return dict(found)
