"""A row of SVIT in, one or several chats out: roles, plain text, and where the image stands.

Takes rows of every configuration and of both forms (see `svit_datasets.features`), and rows whose content is a list
of parts, as other trainers have them. Rows may come from Arrow, with keys that are None at any depth. Knows no template
and no tokenizer: `renderer` fits the chats to a template, `styles` to other trainers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from svit_datasets.errors import BadRecord, EncodeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["IMAGE", "Chat", "Message", "alternating", "chats", "first_rounds", "folded", "row_name"]

_MARKER = "<image>"  # of LLaVA-form records; anywhere else the word is text
_ROLES = ("system", "user", "assistant")


class _Image:
    """The type of `IMAGE`; there is one instance, also after pickling."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "IMAGE"

    def __reduce__(self) -> str:
        return "IMAGE"


IMAGE: Final = _Image()


class Message(NamedTuple):
    """What one side says."""

    role: str  # "system", "user" or "assistant"
    parts: tuple[Any, ...]  # str, none of them blank, or IMAGE where the image stands


@dataclass(frozen=True, slots=True)
class Chat:
    """The messages of one example, in order."""

    messages: tuple[Message, ...]
    notes: tuple[str, ...] = ()  # what was changed on the way, a sentence each


def chats(row: Mapping[str, Any], *, merge: str = "image", max_turns: int | None = None) -> list[Chat]:
    """Return the chats of a row, at least one.

    The image stands in front of the first question; in LLaVA form where the record's ``<image>`` stood. A row whose
    ``image`` is None or not there gives chats without one. Questions whose answer is blank are left out, and noted.

    Args:
        row: as `load_dataset` gives it; not changed.
        merge: "image": all conversations of the row in one chat; "conversation": a chat each.
        max_turns: questions with their answers a chat, at most; the rest is left out and noted.

    Raises:
        BadRecord: the row has no conversations, or a message is none.
        EncodeError: every answer is blank, so nothing could be learnt from it.
    """
    if row.get("conversations") is not None:
        blocks = [block["messages"] for block in row["conversations"] if block and block.get("messages")]
        if merge == "image":
            blocks = [[message for block in blocks for message in block]]
    else:
        blocks = [row.get("messages")]
    if not any(blocks):
        raise BadRecord(
            f"{row_name(row)} has no messages. A row has conversations or messages; this one has {sorted(row)}."
        )
    return [_chat(row, block, max_turns) for block in blocks]


def _chat(row: Mapping[str, Any], block: Iterable[Any], max_turns: int | None) -> Chat:
    messages = [_message(row, message) for message in block if message is not None]
    has_image = row.get("image") is not None
    at_end = False
    if row.get("image_path") is not None:
        messages, at_end = _without_marker(messages)
    answered = _answered(messages, has_image)
    notes = []
    if len(answered) < len(messages):
        notes.append(f"{len(messages) - len(answered)} messages left out: a question or its answer is empty.")
    if not any(message.role == "assistant" for message in answered):
        raise EncodeError(
            f"{row_name(row)}: no question has an answer, so nothing can be learnt from it. Filter it out."
        )
    if has_image and not any(IMAGE in message.parts for message in answered):
        answered = _with_image(answered, at_end=at_end)
    if max_turns is not None and (stop := _end_of_round(answered, max_turns)) < len(answered):
        notes.append(f"{len(answered) - stop} messages left out: max_turns={max_turns}.")
        answered = answered[:stop]
    return Chat(tuple(answered), tuple(notes))


def _message(row: Mapping[str, Any], message: Any) -> Message:
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES:
        raise BadRecord(f"{row_name(row)} has a message of role {role!r}. Known are {', '.join(_ROLES)}.")
    if isinstance(content, str):
        text = content if content.__class__ is str else str.__str__(content)
        return Message(role, (text,) if text and not text.isspace() else ())
    return Message(role, tuple(_parts(row, content)))


def _parts(row: Mapping[str, Any], content: Any) -> list[Any]:
    """Read a list of parts; Arrow gives every part every key, with None where it has no value."""
    parts: list[Any] = []
    for part in content or ():
        kind = part.get("type") or ("text" if part.get("text") is not None else "image")
        text = part.get("text")
        if kind == "image":
            parts.append(IMAGE)
        elif kind != "text":
            raise BadRecord(f"{row_name(row)} has a part of type {kind!r}. Known are text and image.")
        elif text and not text.isspace():
            if parts and parts[-1] is not IMAGE:
                text = f"{parts.pop()}\n{text}"
            parts.append(str.__str__(text))
    return parts


def _without_marker(messages: list[Message]) -> tuple[list[Message], bool]:
    """Take LLaVA's marker from the first question; return also whether it stood at the end."""
    for index, (role, parts) in enumerate(messages):
        if role == "user":
            text = parts[0].strip() if parts and parts[0] is not IMAGE else ""
            at_end = text.endswith(_MARKER) and not text.startswith(_MARKER)
            if at_end or text.startswith(_MARKER):
                text = text.removesuffix(_MARKER).rstrip() if at_end else text.removeprefix(_MARKER).lstrip()
                rest = (text, *parts[1:]) if text else parts[1:]
                return [*messages[:index], Message(role, rest), *messages[index + 1 :]], at_end
            break
    return messages, False


def _answered(messages: list[Message], has_image: bool) -> list[Message]:
    """Leave out blank answers with their questions, and blank questions with their answers.

    A template gives back nothing of a blank text that could be found again, and there is nothing to learn from it.
    """
    kept: list[Message] = []
    asked: list[Message] = []  # since the last answer
    for message in messages:
        if message.role == "system":
            kept += [message] if message.parts else []
        elif message.role == "user":
            asked.append(message)
        else:
            alone = has_image and not any(earlier.role == "user" for earlier in kept)  # the image is question enough
            questions = [question for question in asked if question.parts]
            if message.parts and (questions or not asked or alone):
                kept += [*(questions or asked[:1]), message]
            asked = []
    return kept + [question for question in asked if question.parts]


def _with_image(messages: list[Message], *, at_end: bool) -> list[Message]:
    for index, (role, parts) in enumerate(messages):
        if role == "user":
            placed = Message(role, (*parts, IMAGE) if at_end else (IMAGE, *parts))
            return [*messages[:index], placed, *messages[index + 1 :]]
    raise EncodeError("the chat has an image and no question that it could stand in. Give it a user message.")


def folded(messages: Sequence[Message]) -> list[Message]:
    """Return messages with each system text put in front of the question after it, a blank line between."""
    made: list[Message] = []
    system = ""
    for role, parts in messages:
        if role == "system":
            system += "".join(f"{part}\n\n" for part in parts)
        elif system and role == "user":
            text = next((index for index, part in enumerate(parts) if part is not IMAGE), None)
            if text is None:
                made.append(Message(role, (*parts, system.rstrip())))
            else:
                made.append(Message(role, (*parts[:text], system + parts[text], *parts[text + 1 :])))
            system = ""
        else:
            made.append(Message(role, parts))
    return made


def alternating(messages: Sequence[Message]) -> list[Message]:
    """Return messages with what one side says in a row made one message, a blank line between."""
    made: list[Message] = []
    for role, parts in messages:
        if made and made[-1].role == role:
            last = made[-1].parts
            joint = (last[-1], parts[0]) if IMAGE in (last[-1], parts[0]) else (f"{last[-1]}\n\n{parts[0]}",)
            made[-1] = Message(role, (*last[:-1], *joint, *parts[1:]))
        else:
            made.append(Message(role, parts))
    return made


def first_rounds(messages: Sequence[Message], rounds: int) -> list[Message]:
    """Return messages up to the end of a round: a question, or some, with the answer."""
    return list(messages[: _end_of_round(messages, rounds)])


def _end_of_round(messages: Sequence[Message], rounds: int) -> int:
    """Return behind which message a number of rounds ends; a round ends where a question follows an answer."""
    for index, message in enumerate(messages):
        if index and message.role == "user" and messages[index - 1].role == "assistant":
            rounds -= 1
            if rounds == 0:
                return index
    return len(messages)


def row_name(row: Mapping[str, Any]) -> str:
    """Return what messages call a row."""
    for key in ("id", "image_id"):
        if row.get(key) is not None:
            return f"row {row[key]}" if key == "id" else f"the row of image {row[key]}"
    return "a row without id"
