"""A context in, the messages that ask a model for one task's answers out.

The wording is our own and lies beside this module, a text file a task: what to do, the form of a reply as plain text,
its form as JSON. ``notes.txt`` stands before each, ``instructions.txt`` has the questions of detail_description, and
``example_*.txt`` are drawn scenes with whole replies. The first line of each file names its version. How replies are
written in either form is in `forms`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from svit_builder.generate.prompts.forms import SCHEMAS, write_reply
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from svit_builder.generate.protocol import Context

__all__ = ["TASKS", "VERSION", "Prompt", "instructions", "messages"]

TASKS = tuple(SCHEMAS)
VERSION = "svit-1"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent for one photo and task, and what identifies it."""

    messages: tuple[dict[str, Any], ...]  # system, where asked for an example's user and assistant, and user
    version: str  # "svit-1"
    sha256: str  # hexadecimal, of all but the context: system text, example, form, list of instructions
    question: str | None  # the instruction drawn for a detail_description, which is not sent; None for other tasks
    response_format: dict[str, Any] | None  # for endpoints that keep to a JSON schema; None: plain text


def messages(context: Context, *, version: str = VERSION, few_shot: bool = False, json_schema: bool = False) -> Prompt:
    """Return what to send for a photo and a task; the same for the same arguments.

    The first line of the system text is ``Task: NAME (prompt VERSION)``, its last ``Reply in plain text.`` or ``Reply
    in JSON.``; the last message is the context's text.

    Args:
        context: of one of the four tasks.
        version: of the wording; only "svit-1".
        few_shot: put a drawn scene with a whole reply between; costs an estimated 900 to 2,400 tokens a request.
        json_schema: ask for JSON, and give the schema as ``response_format``.

    Raises:
        OptionError: another version or task.
    """
    if version != VERSION:
        raise OptionError(f"version={version!r} is not known. Known: {VERSION!r}.")
    if context.task not in TASKS:
        raise OptionError(f"There is no prompt for task {context.task!r}. There is one for {', '.join(TASKS)}.")
    fixed, schema, digest = _fixed(context.task, version, few_shot, json_schema)
    question = _draw(context.image_id) if context.task == "detail_description" else None
    sent = tuple(dict(message) for message in fixed)
    return Prompt((*sent, {"role": "user", "content": context.text}), version, digest, question, schema)


def instructions() -> tuple[str, ...]:
    """Return the questions that a detail_description may answer."""
    return tuple(_parts("instructions")[0].splitlines())


@cache
def _fixed(
    task: str, version: str, few_shot: bool, json_schema: bool
) -> tuple[tuple[dict[str, Any], ...], dict[str, Any] | None, str]:
    """Return the messages before the context, the schema, and the digest of both."""
    ask, text_form, json_form = _parts(task)
    form = f"{json_form}\n\nReply in JSON." if json_schema else f"{text_form}\n\nReply in plain text."
    [notes] = _parts("notes")
    system = f"Task: {task} (prompt {version})\n\n{notes}\n\n{ask}\n\n{form}"
    fixed = [{"role": "system", "content": system}]
    if few_shot:
        told, reply = _parts(f"example_{task}")
        fixed.append({"role": "user", "content": told})
        fixed.append({"role": "assistant", "content": write_reply(task, json.loads(reply), as_json=json_schema)})
    schema = {"type": "json_schema", "json_schema": {"name": task, "strict": True, "schema": SCHEMAS[task]}}
    whole = [fixed, schema if json_schema else None, instructions() if task == "detail_description" else None]
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    return tuple(fixed), schema if json_schema else None, digest


def _draw(image_id: int) -> str:
    """Return a photo's instruction: each equally often over many photos, the same for a photo at any time."""
    known = instructions()
    number = int.from_bytes(hashlib.sha256(f"{VERSION} {image_id}".encode()).digest()[:8], "big")
    return known[number % len(known)]


@cache
def _parts(name: str) -> tuple[str, ...]:
    """Return the parts of a text file, without the line that names its version."""
    version, *parts = files(__package__).joinpath(f"{name}.txt").read_text("utf-8").split("\n---\n")
    if version != f"prompt {VERSION}":
        raise AssertionError(f"{name}.txt is of {version!r}, not of {VERSION!r}")
    return tuple(part.strip() for part in parts)
