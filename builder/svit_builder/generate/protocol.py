"""What the parts of generation hand to each other: plain values that hash, compare and pickle.

`svit_builder.annotations` gives `Annotated`; `context` makes a `Context` of it, `prompts` a `Request`; `client` answers
with a `Reply`, which `clean` judges: a `Verdict`. Nothing here does anything.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from svit_datasets.boxes import Box

__all__ = ["Annotated", "Context", "Finding", "Object", "Region", "Reply", "Request", "Verdict"]

Action = Literal["strip", "repair", "drop_qa", "regenerate", "flag"]


@dataclass(frozen=True, slots=True)
class Object:
    """A thing in a photo, as Visual Genome names it."""

    name: str
    box: Box  # shares of the photo's size


@dataclass(frozen=True, slots=True)
class Region:
    """A described part of a photo."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Annotated:
    """All that people wrote of one photo."""

    image_id: int
    width: int  # pixels, as annotated; some are wrong
    height: int
    coco_id: int | None
    captions: tuple[str, ...]  # of MS-COCO; empty where the photo is not one of its
    objects: tuple[Object, ...]
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """What a model is told of a photo for one task."""

    image_id: int
    task: str
    version: str  # "svit-1"
    text: str
    objects: tuple[Object, ...]  # those that stand in the text
    regions: tuple[Region, ...]
    captions: tuple[str, ...]
    merged_objects: int = 0  # near-duplicates put into one
    dropped_objects: int = 0  # left out to keep the token budget
    dropped_regions: int = 0

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """One question to a model; two with the same key are the same question."""

    image_id: int
    task: str
    attempt: int  # 0-based; each has a seed of its own
    model: str
    messages: tuple[dict[str, Any], ...]  # as /v1/chat/completions takes them
    sampling: dict[str, Any]  # temperature, seed, max_tokens, response_format, … as the endpoint takes them
    prompt_version: str
    prompt_sha256: str
    context_sha256: str

    @cached_property
    def key(self) -> str:
        """Hexadecimal digest of all that decides what is asked."""
        parts = [
            self.image_id,
            self.task,
            self.attempt,
            self.model,
            self.sampling,
            self.prompt_version,
            self.prompt_sha256,
            self.context_sha256,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered."""

    text: str
    finish_reason: str | None  # "stop", "length", "content_filter", …
    model: str  # as the endpoint named it
    prompt_tokens: int = 0
    completion_tokens: int = 0
    response_id: str | None = None
    system_fingerprint: str | None = None
    latency: float = 0.0  # seconds


@dataclass(frozen=True, slots=True)
class Finding:
    """That a rule held, and what was done."""

    rule: str  # its id
    action: Action
    count: int = 1
    detail: str = ""  # what was found, shortened


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a reply."""

    accepted: bool
    conversations: tuple[dict[str, Any], ...]  # {"topic": str | None, "content": [{"from", "value"}]}; as SVIT's JSON
    findings: tuple[Finding, ...] = field(default=())
    reason: str | None = None  # id of the rule that asks for another reply; None where accepted
