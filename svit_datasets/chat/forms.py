"""Messages in, in the form that a template takes them: contents as text, or as lists of parts.

Which form a template takes is found out by `probe`. Nothing here renders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from svit_datasets.chat.turns import IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from svit_datasets.chat.turns import Message

__all__ = ["FORMS", "Form", "built"]

FORMS = ("string", "list-user", "list-all")


class Form(NamedTuple):
    """How contents are given to a template."""

    name: str  # "string"; "list-user": lists of parts in questions; "list-all": in every message
    image: str | None = None  # what stands for an image in a string
    both_keys: bool = False  # a part's text is under "content" as well as under "text"
    preamble: bool = False  # an empty message of role "functions" comes first


def built(messages: Iterable[Message], texts: Iterable[str], form: Form) -> list[dict[str, Any]]:
    """Return messages as plain data, with these texts in place of theirs, in order.

    In a string, an image stands on a line of its own.
    """
    name, image, both, _ = form
    made: list[dict[str, Any]] = [{"role": "functions", "content": ""}] if form.preamble else []
    following = iter(texts)
    for role, parts in messages:
        content: Any
        if name == "string" or (name == "list-user" and role != "user"):
            if len(parts) == 1 and parts[0] is not IMAGE:
                content = next(following)
            else:
                content = "\n".join([image or "" if part is IMAGE else next(following) for part in parts])
        else:
            content = [{"type": "image"} if part is IMAGE else _text(next(following), both=both) for part in parts]
        made.append({"role": role, "content": content})
    return made


def _text(text: str, *, both: bool) -> dict[str, str]:
    return {"type": "text", "text": text, "content": text} if both else {"type": "text", "text": text}
