"""A reply in JSON in, the same as labelled text out, so that one parser reads both.

The shapes are those that the prompts ask for in JSON mode: ``{"conversations": [{"topic", "turns": [{"question",
"answer"}]}]}``, ``{"qas": [{"question", "answer"}]}`` and ``{"description"}``. Fences around it are seen through.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

__all__ = ["from_json"]

_FENCED = re.compile(r"```(?:json)?\s*+([\[{])", re.IGNORECASE)


def from_json(task: str, text: str, stripped: Counter[str]) -> str | None:
    """Return the labelled text of a reply that is JSON of a known shape, or None."""
    start = 0
    if not text.startswith(("{", "[")):
        fence = _FENCED.search(text)
        if fence is None:
            return None
        start = fence.start(1)
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    try:
        lines = list(_lines(task, value))
    except (TypeError, KeyError, AttributeError):
        return None
    stripped["markdown"] += start > 0
    stripped["preamble"] += bool(text[:start].partition("```")[0].strip())
    stripped["epilogue"] += bool(text[end:].strip(" \n`"))
    return "\n".join(lines)


def _lines(task: str, value: Any) -> Iterator[str]:
    if task == "detail_description":
        yield f"Answer: {_said(value['description'])}"
    elif task == "conversation":
        for number, dialogue in enumerate(value["conversations"], start=1):
            yield f"Conversation {number}"
            if dialogue.get("topic"):
                yield f"Topic: {' '.join(_said(dialogue['topic']).split())}"
            for turn in dialogue["turns"]:
                yield f"User: {_said(turn['question'])}"
                yield f"GPT: {_said(turn['answer'])}"
    else:
        for pair in value if isinstance(value, list) else value["qas"]:
            yield f"Question: {_said(pair['question'])}"
            yield f"Answer: {_said(pair['answer'])}"


def _said(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
