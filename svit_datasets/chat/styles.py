"""A chat in, the row that another trainer reads out: plain data of roles and text, with the image beside it.

No template and no tokenizer has a part in this; whoever reads the row applies his own. Where a form has no way to say
what a chat holds, it is an error rather than a row that would train on something else.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from svit_datasets.chat.turns import IMAGE, Chat, chats
from svit_datasets.errors import OptionError, TemplateLossError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STYLES", "messages"]

_MARKER = "<image>"
_BY_PATH = ("llava", "sharegpt", "alpaca")  # styles that name a file rather than hold an image


def messages(
    source: Chat | Mapping[str, Any],
    style: str = "trl",
    *,
    image: Any = None,
    row_id: str | int | None = None,
    control_tokens: str = "literal",
) -> dict[str, Any]:
    """Return a chat as a row for another trainer.

    ========== =====================================================================================================
    "trl"      ``messages`` of parts, and ``images``: TRL's SFTTrainer and its collator for vision
    "openai"   ``messages``, the image as an ``image_url`` part: the API of OpenAI and of servers that speak it
    "llava"    ``id``, ``image``, ``conversations`` of ``from`` and ``value``, with ``<image>``: LLaVA 1.5
    "sharegpt" ``conversations`` and ``images``: LLaMA-Factory's form of this name
    "alpaca"   ``instruction``, ``input``, ``output``, ``history``, ``system``, ``images``: LLaMA-Factory's too
    ========== =====================================================================================================

    All but the image of "trl" is what JSON can hold. "trl" has parts in every message, so Arrow can hold it too; where
    there is no image its ``images`` is an empty list, as TRL wants it. The last three take turns of one user and one
    assistant message: messages of one side in a row are joined by a blank line.

    Args:
        source: a chat, or a row of any configuration, all of whose conversations become one chat.
        style: one of the above.
        image: what stands for the image. "trl": the image itself, of any type; by default the row's. "openai": a URL,
            or bytes or a PIL image of which a data URL is made (PNG where PIL has no bytes to give); by default the
            row's image. The others: its path, by default the row's ``image_path``.
        row_id: LLaVA's ``id``; by default the row's ``id``, else its ``image_id``.
        control_tokens: what to do in "llava", "sharegpt" and "alpaca" with a word of the text that would be taken for
            an image there: "strip" takes it out; "literal" and "raise" are an error, for these forms cannot say that it
            is text. The other two can, and keep it.

    Raises:
        OptionError: an unknown style; or the style needs a path and there is none.
        TemplateLossError: the form cannot hold this chat; the message says why.
        BadRecord, EncodeError: as in `turns.chats`.
    """
    _allowed("style", style, tuple(STYLES))
    _allowed("control_tokens", control_tokens, ("literal", "strip", "raise"))
    given = image is not None
    if isinstance(source, Mapping):
        row = source
        [chat] = chats(row)
        row_id = next((value for value in (row_id, row.get("id"), row.get("image_id")) if value is not None), None)
        image = image if given else row.get("image_path" if style in _BY_PATH else "image")
    else:
        chat = source
    count = sum(part is IMAGE for message in chat.messages for part in message.parts)
    if count > 1:
        raise TemplateLossError(f"style {style!r}: the chat has {count} images; a row of SVIT has one.")
    if given and not count:
        raise TemplateLossError(f"style {style!r}: image= is given, and the chat has none. Leave it out for such rows.")
    if count and image is None:
        what = "its path" if style in _BY_PATH else "it"
        raise OptionError(f"style {style!r}: the chat has an image, and the row does not tell {what}. Give image=.")
    return STYLES[style](chat, image if count else None, row_id, strip=control_tokens == "strip")


def _allowed(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise OptionError(f"{option}={value!r} is not allowed. Allowed: {', '.join(map(repr, allowed))}.")


def _trl(chat: Chat, image: Any, _row_id: Any, *, strip: bool) -> dict[str, Any]:  # noqa: ARG001 - as the others
    said = [
        {
            "role": message.role,
            "content": [
                {"type": "image"} if part is IMAGE else {"type": "text", "text": part} for part in message.parts
            ],
        }
        for message in chat.messages
    ]
    return {"messages": said, "images": [] if image is None else [image]}


def _openai(chat: Chat, image: Any, _row_id: Any, *, strip: bool) -> dict[str, Any]:  # noqa: ARG001 - as the others
    def content(parts: tuple[Any, ...]) -> Any:
        if IMAGE not in parts:
            return "\n".join(parts)
        return [
            {"type": "image_url", "image_url": {"url": _url(image)}}
            if part is IMAGE
            else {"type": "text", "text": part}
            for part in parts
        ]

    return {"messages": [{"role": message.role, "content": content(message.parts)} for message in chat.messages]}


def _llava(chat: Chat, image: Any, row_id: Any, *, strip: bool) -> dict[str, Any]:
    system, turns = _turns(chat, "llava", (_MARKER,), strip=strip)
    if system:  # LLaVA's own code reads human and gpt only
        turns[0] = (turns[0][0], _before(system, turns[0][1]))
    row = {"id": str(row_id if row_id is not None else ""), "conversations": _from_value(turns)}
    return row if image is None else {"id": row["id"], "image": _path(image, "llava"), **row}


def _sharegpt(chat: Chat, image: Any, _row_id: Any, *, strip: bool) -> dict[str, Any]:
    system, turns = _turns(chat, "sharegpt", _FACTORY, strip=strip)
    first = [{"from": "system", "value": system}] if system else []
    return {"conversations": [*first, *_from_value(turns)], "images": _paths(image, "sharegpt")}


def _alpaca(chat: Chat, image: Any, _row_id: Any, *, strip: bool) -> dict[str, Any]:
    system, turns = _turns(chat, "alpaca", _FACTORY, strip=strip)
    said = [text for _, text in turns]
    rounds = [list(pair) for pair in zip(said[::2], said[1::2], strict=True)]
    [question, answer] = rounds[-1]
    return {
        "instruction": question,
        "input": "",
        "output": answer,
        "history": rounds[:-1],
        "system": system,
        "images": _paths(image, "alpaca"),
    }


# Words that LLaMA-Factory counts in every message, as many as there are files (src/llamafactory/data/mm_plugin.py,
# _validate_messages; https://github.com/hiyouga/LLaMA-Factory/issues/8440).
_FACTORY = (_MARKER, "<video>", "<audio>")

STYLES: dict[str, Callable[..., dict[str, Any]]] = {
    "trl": _trl,
    "openai": _openai,
    "llava": _llava,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
}


def _turns(chat: Chat, style: str, reserved: tuple[str, ...], *, strip: bool) -> tuple[str, list[tuple[str, str]]]:
    """Return the system text and (role, text) of strictly alternating turns, the image as ``<image>`` on a line."""
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    for message in chat.messages:
        text = "\n".join(_MARKER if part is IMAGE else _plain(part, style, reserved, strip) for part in message.parts)
        if message.role == "system" and not turns:
            system.append(text)
        elif turns and turns[-1][0] == message.role:
            turns[-1] = (message.role, f"{turns[-1][1]}\n\n{text}")
        else:
            turns.append((message.role, text))
    if len(turns) % 2 or any(role != ("user", "assistant")[i % 2] for i, (role, _) in enumerate(turns)):
        order = ", ".join(role for role, _ in turns)
        raise TemplateLossError(
            f"style {style!r} holds questions, each with its answer; this chat goes {order}. "
            "Leave out what has no counterpart, or take another style."
        )
    return "\n\n".join(system), turns


def _plain(text: str, style: str, reserved: tuple[str, ...], strip: bool) -> str:
    while word := next((word for word in reserved if word in text), None):
        if not strip:
            raise TemplateLossError(
                f"style {style!r}: the text holds {word!r}, which its reader would take for a file: {text[:80]!r}. "
                'Use control_tokens="strip" to take the word out, or another style.'
            )
        text = text.replace(word, "")
        if not text.strip():
            raise TemplateLossError(f"style {style!r}: a text is {word!r} and nothing else. Filter such rows out.")
    return text


def _before(system: str, text: str) -> str:
    """Put a system text before a question, behind the image."""
    marker = f"{_MARKER}\n"
    return f"{marker}{system}\n\n{text.removeprefix(marker)}" if text.startswith(marker) else f"{system}\n\n{text}"


def _from_value(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"from": "human" if role == "user" else "gpt", "value": text} for role, text in turns]


def _paths(image: Any, style: str) -> list[str]:
    return [] if image is None else [_path(image, style)]


def _path(image: Any, style: str) -> str:
    if not isinstance(image, str):
        raise OptionError(f"style {style!r} names its image by a path; image= is a {type(image).__name__}.")
    return image


def _url(image: Any) -> str:
    """Return a URL as it is; make a data URL of bytes, of a PIL image, or of datasets' {"bytes", "path"}."""
    if isinstance(image, str):
        return image
    if isinstance(image, Mapping) and (image.get("bytes") or image.get("path")):
        return _url(image.get("bytes") or image["path"])
    if hasattr(image, "save"):
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        image = buffer.getvalue()
    if not isinstance(image, bytes):
        raise OptionError(f"style 'openai': an image is a URL, bytes or a PIL image; this is a {type(image).__name__}.")
    kinds = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"GIF8": "gif", b"RIFF": "webp"}
    kind = next((name for start, name in kinds.items() if image.startswith(start)), "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
