"""A reply's content as plain values in, the reply as a model is asked to write it out: plain text, or JSON by a schema.

The values are those of the JSON form: ``{"conversations": [{"topic", "turns": [{"question", "answer"}]}]}`` for
conversation, ``{"qas": [{"question", "answer"}]}`` for complex_reasoning and referring_qa, ``{"description"}`` for
detail_description. Reading replies, which come in many more forms, is the business of `svit_builder.generate.parse`.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["SCHEMAS", "write_reply"]


def write_reply(task: str, content: dict[str, Any], *, as_json: bool = False) -> str:
    """Return a reply with that content in the form that the task's prompt asks for.

    Args:
        task: a key of SCHEMAS.
        content: values that its schema allows; no text may hold a line break but a description's.
        as_json: write JSON instead of plain text.
    """
    if as_json:
        return json.dumps(content, ensure_ascii=False)
    if task == "detail_description":
        return str(content["description"])
    if task == "conversation":
        return "\n\n".join(
            "\n".join(
                [f"Topic: {one['topic']}"]
                + [f"User: {turn['question']}\nGPT: {turn['answer']}" for turn in one["turns"]]
            )
            for one in content["conversations"]
        )
    return "\n\n".join(f"Question: {qa['question']}\nAnswer: {qa['answer']}" for qa in content["qas"])


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with just these keys; strict modes want each required and no other allowed."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT = {"type": "string"}
_QAS = _list(_object(question=_TEXT, answer=_TEXT))

SCHEMAS: dict[str, dict[str, Any]] = {
    "conversation": _object(conversations=_list(_object(topic=_TEXT, turns=_QAS))),
    "complex_reasoning": _object(qas=_QAS),
    "detail_description": _object(description=_TEXT),
    "referring_qa": _object(qas=_QAS),
}
