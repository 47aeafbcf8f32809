"""Chats by mistral-common: no Jinja, its tokenizers write the chat as ids, and text and masks are read off these.

https://github.com/mistralai/mistral-common is the reference for how Mistral's models see a chat. Its control tokens are
ids that no text can spell, each answer ends in EOS, and an answer's ids are those of the answer encoded by itself: so
masks are exact, and "overlap" and "split" are the same. The text is put together from the bytes of the ids; with
SentencePiece it has a blank in front of each piece that was encoded apart.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from svit_datasets.chat.encode import Encoded, answers, fitted, labelled
from svit_datasets.chat.offsets import ByteOffsets
from svit_datasets.chat.probe import TemplateReport
from svit_datasets.chat.spans import Rendered, Span, Turn
from svit_datasets.chat.turns import IMAGE, Chat, Message
from svit_datasets.errors import MissingDependency, TemplateError, TemplateLossError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from svit_datasets.chat.offsets import Offsets

__all__ = ["MistralChats"]

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_INST = "[/INST]"  # behind every user message: a token, but text in the first version


class MistralChats:
    """A MistralTokenizer, in the mode that takes whole conversations.

    Args:
        native: a ``mistral_common`` MistralTokenizer in any mode; it is not changed. Picklable if it is.
    """

    def __init__(self, native: Any) -> None:
        from mistral_common.protocol.instruct.normalize import get_normalizer  # noqa: PLC0415 - native is of it
        from mistral_common.protocol.instruct.validator import ValidationMode, get_validator  # noqa: PLC0415

        self._given = native
        self._inner = native.instruct_tokenizer.tokenizer
        version = self._inner.version
        self._tokenizer = type(native)(
            native.instruct_tokenizer,
            validator=get_validator(version, mode=ValidationMode.finetuning),
            request_normalizer=get_normalizer(version, self._inner.model_settings_builder),
        )
        self.eos_id: int = self._inner.eos_id
        self.pad_id: int | None = self._inner.pad_id if self._inner.pad_id >= 0 else None

    def render(self, chat: Chat, image: Any = None) -> Rendered:
        """Return a chat as text.

        Args:
            chat: messages in turn, user first.
            image: the PIL image, where the chat has one; takes a tokenizer with an image encoder, and opencv.

        Raises:
            TemplateError: mistral-common refuses the chat; the message holds its reason.
            TemplateLossError: a message is not in what it made as it was given, or the image cannot be.
        """
        return self._read(chat, image)[0]

    def encode(
        self,
        chat: Chat,
        image: Any = None,
        *,
        scope: str = "reply",
        max_length: int | None = None,
        fewer: Callable[[int], Chat] | None = None,
    ) -> dict[str, list[int]]:
        """Return the four lists of `encode.encode`, to which the arguments belong; ``fewer`` gives a shorter chat."""

        def encoded(some: Chat) -> tuple[Rendered, Encoded]:
            rendered, ids, offsets = self._read(some, image)
            return rendered, Encoded(ids, [offsets.tokens(*span) for span in answers(rendered, scope)])

        return labelled(fitted(chat, encoded, max_length, fewer))

    def report(self, name: str) -> TemplateReport:
        """Return what a few small chats show, under a name for the table; `probe.learn` does it for Jinja templates."""
        system, question, again, answer = (
            Message(role, (text,))
            for role, text in (("system", "wend"), ("user", "tarn"), ("user", "quay"), ("assistant", "mosk"))
        )
        rendered, ids, _ = self._read(Chat((question, answer)), None)
        stop = rendered.text[rendered.turns[-1].end :]
        padded = self.render(Chat((question, Message("assistant", (" mosk\n ",))))).turns[-1]
        encoder = self._given.instruct_tokenizer.image_encoder
        return TemplateReport(
            name=name,
            content="mistral-common",
            text_content="mistral-common",
            image=encoder and self._piece(encoder.special_ids.img).decode(),
            image_order=encoder and "front",
            system="kept" if self._takes(Chat((system, question, answer))) else "raises",
            alternates=not (
                self._takes(Chat((question, again, answer))) and self._takes(Chat((again, answer, answer)))
            ),
            assistant_first=self._takes(Chat((answer, question, answer))),
            trims=("assistant",) if padded.end - padded.start < len(" mosk\n ") else (),
            strips_think=False,
            stop=stop,
            last_stop=stop,
            bos="start" if ids[0] == self._inner.bos_id else "none",
            dated=False,
            default_system=None,
            tagged=False,
            needs=None,
            controls=tuple(dict.fromkeys(self._piece(i).decode() for i in ids if self._inner.is_special(i))),
            marks=False,
        )

    def _takes(self, chat: Chat) -> bool:
        try:
            return len(self.render(chat).turns) == len(chat.messages)
        except TemplateError:
            return False

    def _read(self, chat: Chat, image: Any) -> tuple[Rendered, list[int], Offsets]:
        """Encode a chat and find its messages in what came."""
        ids = self._ids(chat, image)
        pieces = [self._piece(token) for token in ids]
        text = b"".join(pieces).decode()
        offsets = ByteOffsets(text, map(len, pieces))
        ends = [position for position, token in enumerate(ids) if token == self.eos_id]
        replies = [message for message in chat.messages if message.role == "assistant"]
        if len(ends) != len(replies):
            raise TemplateLossError(
                f"mistral-common ended {len(ends)} answers of a chat that has {len(replies)}. Merge what one side says "
                "in a row into one message."
            )
        turns: list[Turn] = []
        before: list[Message] = []
        done = 0  # ids
        position = iter(ends)
        for message in chat.messages:
            if message.role != "assistant":
                before.append(message)
                continue
            end = next(position)
            first = end + 1 - len(self._answer(message))
            before, found = _prompt(before, text, self._runs(ids, offsets, text, done, first))
            begin, stop = _exactly(_words(message), text, offsets[first][0], offsets[end][0])
            turns += [*found, Turn("assistant", begin, stop, offsets[end][1])]
            done = end + 1
        if before:
            raise TemplateLossError(f"mistral-common left out {_words(before[0])!r}, what the {before[0].role} says.")
        data = tuple(Span(turn.start, turn.end) for turn in turns)
        images = self._images(ids, offsets)
        if images:  # it stands in front of the words of its message
            at = next(at for at, turn in enumerate(turns) if turn.end >= images[0].stop)
            turns[at] = turns[at]._replace(start=images[0].start)
        return Rendered(text, tuple(turns), images, data, chat.notes), ids, offsets

    def _ids(self, chat: Chat, image: Any) -> list[int]:
        from mistral_common.exceptions import MistralCommonException  # noqa: PLC0415 - native is of it
        from mistral_common.protocol.instruct.request import ChatCompletionRequest  # noqa: PLC0415
        from pydantic import ValidationError  # noqa: PLC0415 - comes with mistral-common

        if any(IMAGE in message.parts for message in chat.messages):
            self._check_image(image)
        try:
            request = ChatCompletionRequest(messages=[self._message(message, image) for message in chat.messages])
            ids: list[int] = list(self._tokenizer.encode_chat_completion(request).tokens)
        except (MistralCommonException, ValidationError) as error:
            raise TemplateError(f"mistral-common refuses the chat: {error}") from error
        except ImportError as error:
            raise MissingDependency(f"mistral-common needs another package for images: {error}.") from error
        return ids

    def _check_image(self, image: Any) -> None:
        if self._given.instruct_tokenizer.image_encoder is None:
            raise TemplateLossError(
                f"The chat has an image, and a tokenizer of version {self._inner.version.value} without image encoder "
                "cannot write it. Take the tokenizer of a model that sees, or leave the image out of the chat."
            )
        if image is None:
            raise TemplateLossError(
                "mistral-common writes as many image tokens as the image needs, and the image is not here. Give rows "
                "with their photos, or the model's processor of transformers instead of the tokenizer."
            )

    @staticmethod
    def _message(message: Message, image: Any) -> Any:
        from mistral_common.protocol.instruct.chunk import ImageChunk, TextChunk  # noqa: PLC0415 - native is of it
        from mistral_common.protocol.instruct.messages import (  # noqa: PLC0415
            AssistantMessage,
            SystemMessage,
            UserMessage,
        )

        words = _words(message)
        if message.role == "assistant":
            return AssistantMessage(content=words)
        if message.role == "system":
            return SystemMessage(content=words)
        if IMAGE not in message.parts:
            return UserMessage(content=words)
        return UserMessage(content=[ImageChunk(image=image), *([TextChunk(text=words)] if words else [])])

    def _answer(self, message: Message) -> list[int]:
        """Return the ids of an answer, with the EOS that ends it."""
        ids: list[int] = self._given.instruct_tokenizer.encode_assistant_message(
            self._message(message, None), is_before_last_user_message=False
        )
        return ids

    def _piece(self, token: int) -> bytes:
        """Return what an id stands for in the text."""
        if hasattr(self._inner, "id_to_byte_piece"):  # tekken
            piece: bytes = self._inner.id_to_byte_piece(token, "keep")
            return piece
        name: str = self._inner.id_to_piece(token)
        byte = _BYTE.fullmatch(name)
        return bytes([int(byte[1], 16)]) if byte else name.replace("\u2581", " ").encode()

    def _runs(self, ids: Sequence[int], offsets: Offsets, text: str, first: int, behind: int) -> list[tuple[int, int]]:
        """Return where there is text between the control tokens of some ids."""
        runs: list[tuple[int, int]] = []
        for special, group in groupby(range(first, behind), lambda position: self._inner.is_special(ids[position])):
            if not special:
                run = list(group)
                runs.append((offsets[run[0]][0], offsets[run[-1]][1]))
        if runs and self._inner.version.value == "v1":  # here the marker is text
            start, stop = runs[-1]
            runs[-1] = start, start + len(text[start:stop].rstrip().removesuffix(_INST))
        return runs

    def _images(self, ids: Sequence[int], offsets: Offsets) -> tuple[Span, ...]:
        """Return where images stand: each a run of image tokens up to the one that ends it."""
        encoder = self._given.instruct_tokenizer.image_encoder
        if encoder is None:
            return ()
        special = encoder.special_ids
        spans: list[Span] = []
        start = None
        for position, token in enumerate(ids):
            if token == special.img and start is None:
                start = offsets[position][0]
            if token == special.img_end and start is not None:
                spans.append(Span(start, offsets[position][1]))
                start = None
        return tuple(spans)

    def __getstate__(self) -> dict[str, Any]:
        return {"given": self._given}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["given"])  # type: ignore[misc]


def _words(message: Message) -> str:
    return "".join(part for part in message.parts if part is not IMAGE)


def _prompt(messages: Sequence[Message], text: str, runs: list[tuple[int, int]]) -> tuple[list[Message], list[Turn]]:
    """Find what was said before an answer, from its end on.

    Versions 2 and 3 put the system text in front of the last user's message; it is returned until it is there.

    Args:
        messages: what was said.
        text: of the chat.
        runs: where there is text between the control tokens before the answer, in order; used up.
    """
    turns: list[Turn] = []
    later: list[Message] = []
    for message in reversed(messages):
        words = _words(message).strip()
        while len(runs) > 1 and not text[slice(*runs[-1])].strip():
            runs.pop()
        start, stop = runs[-1] if runs else (0, 0)
        body = text[start:stop].rstrip()
        if body.endswith(words):
            end = start + len(body)
            turns.append(Turn(message.role, end - len(words), end, end))
            runs[-1:] = [(start, end - len(words))]
        elif message.role == "system":
            later.append(message)
        else:
            raise TemplateLossError(
                f"mistral-common did not write the {message.role}'s message {words!r} as it was given, but {body!r}."
            )
    return later[::-1], turns[::-1]


def _exactly(words: str, text: str, start: int, stop: int) -> tuple[int, int]:
    """Return where an answer stands between start and stop, without the blank that SentencePiece puts in front.

    Blanks at its end may be missing: from version 2 on they are taken off.
    """
    found = text[start:stop]
    for said in (words, words.rstrip(" ")):
        if found in (said, f" {said}"):
            return stop - len(said), stop
    raise TemplateLossError(f"mistral-common wrote the answer {words!r} as {found!r}.")
