"""A chat as the row has it in; messages that a template takes out: boxes, control tokens, system text and roles.

What a template takes is told by `probe`. Nothing is changed that need not be, and every change is noted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svit_datasets.chat.turns import IMAGE, Message, alternating, folded
from svit_datasets.errors import EncodeError, OptionError, TemplateLossError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from svit_datasets.chat.encoders import Encoder
    from svit_datasets.chat.turns import Chat

__all__ = ["CONTROL_TOKENS", "ROLES", "SYSTEMS", "Fitting", "with_boxes"]

SYSTEMS = ("auto", "fold", "drop", "raise")
ROLES = ("auto", "raise")
CONTROL_TOKENS = ("literal", "strip", "raise")


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a template takes, and what the user wants where it does not."""

    name: str  # of the template, for messages
    takes_system: bool
    alternates: bool  # refuses two messages of one side in a row
    assistant_first: bool  # a chat may begin with an answer
    system: str  # one of SYSTEMS
    roles: str  # one of ROLES
    control_tokens: str  # one of CONTROL_TOKENS
    encoder: Encoder | None  # knows the control tokens

    def fit(self, messages: Sequence[Message]) -> tuple[Sequence[Message], tuple[str, ...]]:
        """Return the messages for the template, and what was changed.

        Raises:
            TemplateLossError: the template does not take such a chat, and changing it is not wanted.
            EncodeError: a text holds a control token, and that is not wanted.
        """
        notes: list[str] = []
        if self.control_tokens != "literal":
            messages = self._without_controls(messages, notes)
        roles = [message.role for message in messages]
        if "system" in roles:
            messages = self._with_system(messages, notes)
        if self.alternates and any(map(_same_role, messages, messages[1:])):
            if self.roles == "raise":
                raise TemplateLossError(
                    f'{self.name} does not take two messages of one side in a row. Merge them with roles="auto".'
                )
            notes.append("What one side says in a row is merged into one message: the template wants turns.")
            messages = alternating(messages)
        if not self.assistant_first and next(m.role for m in messages if m.role != "system") == "assistant":
            raise TemplateLossError(
                f"{self.name} does not take a chat that begins with an answer, and none is made up."
            )
        return messages, tuple(notes)

    def _with_system(self, messages: Sequence[Message], notes: list[str]) -> Sequence[Message]:
        leading = all(message.role != "system" for message in messages[1:])
        if self.system == "drop":
            notes.append('The system text is left out: system="drop".')
            return [message for message in messages if message.role != "system"]
        if self.system != "fold" and self.takes_system and leading:
            return messages
        if self.system == "raise":
            raise TemplateLossError(
                f'{self.name} takes no system text there. Fold it into the question: system="auto".'
            )
        notes.append("The system text stands in front of the question after it: the template takes none there.")
        if messages[-1].role == "system":
            raise TemplateLossError("A system text stands behind the last question, where no template takes it.")
        return folded(messages)

    def _without_controls(self, messages: Sequence[Message], notes: list[str]) -> Sequence[Message]:
        from svit_datasets.chat.encode import without_controls  # noqa: PLC0415 - only for who wants it

        if self.encoder is None:
            raise OptionError(f"control_tokens={self.control_tokens!r} needs a tokenizer, which knows them.")
        encoder = self.encoder
        if self.control_tokens == "strip":
            stripped = _mapped(messages, lambda text: without_controls(text, encoder))
            if stripped != list(messages):
                notes.append('Control tokens in texts are left out: control_tokens="strip".')
            return stripped
        for role, parts in messages:
            for part in parts:
                found = encoder.quoted(part) if part is not IMAGE else ()
                if found:
                    token = part[found[0][0] : found[0][1]]
                    raise EncodeError(
                        f'A text of role {role} holds {token!r}, which is a control token of the model. "literal" '
                        'encodes it as text, "strip" leaves it out.'
                    )
        return messages


def with_boxes(chat: Chat, row: Mapping[str, Any], to: str, on_bad_box: str) -> Sequence[Message]:
    """Return a chat's messages with their boxes written in another convention.

    Args:
        chat: of the row.
        row: for the photo's width and height, in pixels. In LLaVA form boxes are in the frame of the padded square.
        to: a key of `svit_datasets.boxes.CONVENTIONS`.
        on_bad_box: as in `svit_datasets.boxes.convert`.
    """
    from svit_datasets.boxes import CONVENTIONS, convert, qwen2_5_vl_size  # noqa: PLC0415 - only where boxes change

    width, height = row.get("width"), row.get("height")
    resized = qwen2_5_vl_size(width, height) if CONVENTIONS[to].frame == "resized" and width and height else None
    convention = "padded" if row.get("image_path") is not None else "svit"

    def converted(text: str) -> str:
        if "[" not in text and "<" not in text:
            return text
        return convert(
            text, to=to, convention=convention, width=width, height=height, resized=resized, on_bad_box=on_bad_box
        )

    return _mapped(chat.messages, converted)


def _mapped(messages: Sequence[Message], change: Callable[[str], str]) -> list[Message]:
    made = []
    for role, parts in messages:
        texts: list[Any] = [part if part is IMAGE else change(part) for part in parts]
        kept = tuple([text for text in texts if text is IMAGE or text.strip()])
        if not kept:
            raise EncodeError(f"Nothing is left of a text of role {role} without its control tokens or bad boxes.")
        made.append(Message(role, kept))
    return made


def _same_role(left: Message, right: Message) -> bool:
    return left.role == right.role
