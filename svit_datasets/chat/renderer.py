"""What the user has and wants in; a row as text, as ids with masks, or as another trainer's row out.

`ChatRenderer` holds the options and asks the other modules in turn: `turns` reads the row, `fitting` makes of it what
the template takes, `jinja_chats` or `mistral` renders, `encode` makes ids, `processors` adds the photo.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from svit_datasets.chat import encode as ids
from svit_datasets.chat.choices import box_tokens, check, eos_of
from svit_datasets.chat.fitting import Fitting, with_boxes
from svit_datasets.chat.jinja_chats import NO_STOP, JinjaChats
from svit_datasets.chat.targets import resolve
from svit_datasets.chat.turns import IMAGE, Chat, Message, chats, first_rounds, row_name
from svit_datasets.errors import BadBox, EncodeError, OptionError, TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date as Date  # noqa: N812 - `date` is the option's name

    from svit_datasets.chat.encoders import Encoder
    from svit_datasets.chat.probe import TemplateReport
    from svit_datasets.chat.spans import Rendered
    from svit_datasets.chat.targets import Target

__all__ = ["ChatRenderer"]

_PATHS = ("llava", "sharegpt", "alpaca")  # styles that name the image's file


class ChatRenderer:
    """Renders rows of SVIT with a model's chat template, exactly: every turn once, the image kept, spans true.

    Args:
        obj: a tokenizer or processor of transformers, a ``tokenizers.Tokenizer``, a ``MistralTokenizer``, a
            ``tiktoken.Encoding``, the folder of a model, a Jinja template or the path of one, the name of a preset, or
            a function from text to ids.
        template: instead of the object's own: the name of one of its templates or of a preset, a Jinja template, or the
            path of one.
        image: "auto" gives the image as the template wants it, or else as the object's own image token; "none" leaves
            images out; anything else is the image token itself, such as "<image>".
        system: where the template takes no system text: "auto" puts it in front of the question after it; "raise" is
            an error. "fold" and "drop" do so for any template.
        system_prompt: the system text of chats that have none, such as the one a model was trained with; None: none.
        roles: where the template wants turns: "auto" merges what one side says in a row, "raise" is an error.
        scope: what is learnt: "reply" (the answer and its end-of-turn token), "content" (the answer alone), or
            "template" (what the template's ``{% generation %}`` tags enclose).
        boundary: as in `encode.encode`.
        control_tokens: control tokens of the model in a row's text: "literal" keeps them as text, "strip" leaves them
            out, "raise" is an error.
        bos: "auto": BOS once, by the template or else as the tokenizer does; "template": only what the template writes.
        stop: "auto" learns the end-of-turn token that the template writes; "eos" writes EOS where it writes none.
        date: what the template takes for today, an ISO date; SVIT's first day, 2023-07-09, by default.
        max_length: ids at most; whole rounds are left out from the end.
        merge: "image": all conversations of a row are one chat; "conversation": a chat each.
        max_turns: questions with their answers a chat, at most.
        boxes: how boxes are written; a key of `svit_datasets.boxes.CONVENTIONS`. "svit" leaves them as they are.
        on_bad_box: "keep", "drop" or "raise"; as in `svit_datasets.boxes.convert`.

    A renderer pickles, and hashes alike in every process if ``obj`` does. Threads may share one.

    Raises:
        OptionError: an option has no such value, or ``obj`` is of no known kind.
        TemplateError: the template cannot be compiled, or not even a plain chat comes out of it.

    Examples:
        >>> row = {"image": None, "messages": [{"role": "user", "content": "What is it?"},
        ...                                    {"role": "assistant", "content": "A dog."}]}
        >>> rendered = ChatRenderer("vicuna_v1").render(row)
        >>> rendered.text
        'USER: What is it? ASSISTANT: A dog.</s>'
        >>> answer = rendered.turns[1]
        >>> rendered.text[answer.start : answer.stop_end]
        'A dog.</s>'
    """

    def __init__(
        self,
        obj: Any,
        *,
        template: str | None = None,
        image: str = "auto",
        system: str = "auto",
        system_prompt: str | None = None,
        roles: str = "auto",
        scope: str = "reply",
        boundary: str = "overlap",
        control_tokens: str = "literal",
        bos: str = "auto",
        stop: str = "auto",
        date: str | Date | None = None,
        max_length: int | None = None,
        merge: str = "image",
        max_turns: int | None = None,
        boxes: str = "svit",
        on_bad_box: str = "keep",
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in {"self", "obj"}}
        check(options)
        self._given = (partial(ChatRenderer, **options), (obj,))  # what pickle makes it of
        self.target: Target = resolve(obj, template=template, keep=box_tokens(boxes))
        self._image = image
        self._encode: dict[str, Any] = {"scope": scope, "boundary": boundary, "bos": bos}
        self._max_length = max_length
        self._chats = partial(chats, merge=merge, max_turns=max_turns)
        self._lead = (Message("system", (system_prompt,)),) if system_prompt and not system_prompt.isspace() else ()
        self._boxes = (boxes, on_bad_box)
        self._eos = eos_of(self.target) if stop == "eos" else None
        self._warned = False
        self._native: Any = None
        self._jinja: JinjaChats | None = None
        self._name = self.target.name
        takes = {"takes_system": True, "alternates": True, "assistant_first": True}  # as mistral-common has it
        if self.target.native is None:
            self._jinja = JinjaChats(self.target, image=image, date=date, ends=stop == "eos")
            report = self._jinja.learnt.report
            self._name, kept = report.name, report.system == "kept"
            takes = {"takes_system": kept, "alternates": report.alternates, "assistant_first": report.assistant_first}
        else:
            from svit_datasets.chat.mistral import MistralChats  # noqa: PLC0415 - only where the object is one

            self._native = MistralChats(self.target.native)
        self._fitting = Fitting(
            name=self._name,
            system=system,
            roles=roles,
            control_tokens=control_tokens,
            encoder=self.target.encoder,
            **takes,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self._given

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target.name})"

    def render(self, row: Mapping[str, Any]) -> Rendered:
        """Return a row as text.

        Args:
            row: of any configuration, its columns as `load_dataset` gives them. Has an image if ``image`` is not None.

        Raises:
            OptionError: merge="conversation", and the row has several; or no image token is known for the template.
            TemplateError: the template raises for this chat, or runs away.
            TemplateLossError: a text, an image or the system text would be lost, doubled or changed.
            EncodeError: nothing in the row can be learnt.
            BadRecord: the row has no conversations.
        """
        return self._rendered(self._only_chat(row, "render_each"), row)

    def render_each(self, row: Mapping[str, Any]) -> list[Rendered]:
        """Return each chat of a row as text; one, unless merge="conversation"."""
        return [self._rendered(chat, row) for chat in self._chats_of(row)]

    def encode(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as ``input_ids``, ``attention_mask``, ``assistant_mask`` and ``labels``: lists of one length.

        ``labels`` are the ids of what is learnt, and -100 elsewhere. Where ``obj`` is a processor, what it makes of the
        photo is there too, as numpy arrays with a batch axis of one. Raises as `render` does, and `EncodeError` where
        an answer has no token or ``max_length`` holds not even one round.
        """
        return self.encode_with(self.target.processor, row)

    def encode_with(self, processor: Any, row: Mapping[str, Any], *, max_length: int | None = None) -> dict[str, Any]:
        """Return what `encode` does, with another processor, or None for the text alone, and another limit."""
        return self._encoded(self._only_chat(row, "encode_batch"), row, processor, max_length or self._max_length)

    def encode_batch(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return rows encoded, for ``ds.map(renderer.encode_batch, batched=True, remove_columns=ds.column_names)``.

        Args:
            batch: lists of one length by column. With merge="conversation", a row becomes as many as it has.
        """
        names = list(batch)
        made: dict[str, list[Any]] = {name: [] for name in ("input_ids", "attention_mask", "assistant_mask", "labels")}
        for values in zip(*batch.values(), strict=True):
            row = dict(zip(names, values, strict=True))
            for chat in self._chats_of(row):
                encoded = self._encoded(chat, row, self.target.processor, self._max_length)
                count = len(made["input_ids"])
                for name in {**made, **encoded}:  # a row without a photo has None where others have its pixels
                    made.setdefault(name, [None] * count).append(encoded.get(name))
        return made

    def messages(self, row: Mapping[str, Any], style: str = "trl", *, image: Any = None) -> dict[str, Any]:
        """Return a row for another trainer, which applies the template itself.

        Args:
            row: as in `render`.
            style: "trl", "openai", "llava", "sharegpt" or "alpaca"; see `svit_datasets.chat.styles`.
            image: what stands for the image; by default the row's, or its ``image_path`` where the style wants a path.
        """
        from svit_datasets.chat import styles  # noqa: PLC0415 - who renders needs none

        chat = self._only_chat(row, 'merge="image"')
        boxes, on_bad_box = self._boxes
        if boxes != "svit":
            chat = Chat(tuple(with_boxes(chat, row, boxes, on_bad_box)), chat.notes)
        if image is None and any(IMAGE in message.parts for message in chat.messages):
            image = row.get("image_path" if style in _PATHS else "image")
        row_id = next((row[key] for key in ("id", "image_id") if row.get(key) is not None), None)
        return styles.messages(chat, style, image=image, row_id=row_id, control_tokens=self._fitting.control_tokens)

    def report(self) -> TemplateReport:
        """Return what was learnt of the template by rendering tiny chats with it."""
        if self._jinja is None:
            return self._native.report(self.target.name)  # type: ignore[no-any-return]
        return self._jinja.learnt.report

    def _chats_of(self, row: Mapping[str, Any]) -> list[Chat]:
        notes: tuple[str, ...] = ()
        if self._image == "none" and row.get("image") is not None:
            row, notes = {**row, "image": None}, ('The image is left out: image="none".',)
        made = self._chats(row)
        if not (notes or self._lead):
            return made
        return [
            Chat(chat.messages if _has_system(chat) else self._lead + chat.messages, chat.notes + notes)
            for chat in made
        ]

    def _only_chat(self, row: Mapping[str, Any], instead: str) -> Chat:
        made = self._chats_of(row)
        if len(made) > 1:
            raise OptionError(f'The row has {len(made)} conversations and merge="conversation": use {instead}.')
        return made[0]

    def _fitted(self, chat: Chat, row: Mapping[str, Any]) -> Chat:
        boxes, on_bad_box = self._boxes
        messages = chat.messages if boxes == "svit" else with_boxes(chat, row, boxes, on_bad_box)
        messages, notes = self._fitting.fit(messages)
        return Chat(tuple(messages), (*chat.notes, *notes))

    def _rendered(self, chat: Chat, row: Mapping[str, Any]) -> Rendered:
        try:
            fitted = self._fitted(chat, row)
            if self._jinja is None:
                return self._native.render(fitted, row.get("image"))  # type: ignore[no-any-return]
            rendered = self._jinja.render(fitted)
        except (TemplateError, EncodeError, BadBox) as error:
            raise type(error)(f"{row_name(row)}: {error}") from error.__cause__
        return rendered if self._eos is None else ids.with_eos(rendered, self._eos)

    def _encoded(self, chat: Chat, row: Mapping[str, Any], processor: Any, max_length: int | None) -> dict[str, Any]:
        def fewer(rounds: int) -> Chat:
            return Chat(tuple(first_rounds(chat.messages, rounds)), chat.notes)

        if self._jinja is None:
            return self._native.encode(  # type: ignore[no-any-return]
                self._fitted(chat, row),
                row.get("image"),
                scope=self._encode["scope"],
                max_length=max_length,
                fewer=lambda rounds: self._fitted(fewer(rounds), row),
            )
        encoder = self.target.encoder
        if encoder is None:
            raise OptionError(f"{self.target.name} is a template without a tokenizer: it renders, and makes no ids.")
        rendered = self._rendered(chat, row)
        self._warn(rendered, encoder)
        expand, finish = _with_photo(processor, rendered, row.get("image"))
        encoded = ids.encode(
            expand(rendered),
            encoder,
            max_length=max_length,
            fewer=lambda rounds: expand(self._rendered(fewer(rounds), row)),
            **self._encode,
        )
        made: dict[str, Any] = finish(encoded)
        return made

    def _warn(self, rendered: Rendered, encoder: Encoder) -> None:
        """Say once what is wrong with the pair of template and tokenizer."""
        if self._warned:
            return
        self._warned = True
        unknown = ids.unknown_controls(rendered, encoder)
        if unknown:
            warnings.warn(
                f"{self._name} writes {len(unknown)} control tokens that the tokenizer does not have "
                f"({', '.join(unknown[:8])}): they become plain text. Do template and tokenizer belong together?",
                stacklevel=4,
            )
        if all(turn.stop_end == turn.end for turn in rendered.turns if turn.role == "assistant"):
            warnings.warn(f"{self._name}: {NO_STOP}", stacklevel=4)


def _has_system(chat: Chat) -> bool:
    return any(message.role == "system" for message in chat.messages)


def _with_photo(processor: Any, rendered: Rendered, photo: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what puts a photo's tokens into a rendered chat, and what adds the model's other inputs to its ids."""
    if processor is None:
        return _as_it_is, _as_it_is
    from svit_datasets.chat import processors  # noqa: PLC0415 - only for who has one

    if not rendered.images:
        return _as_it_is, partial(processors.text_inputs, processor)
    prepared = processors.prepare(processor, photo, rendered.text[slice(*rendered.images[0])])
    return prepared.expand, prepared.add_to


def _as_it_is(value: Any) -> Any:
    return value
