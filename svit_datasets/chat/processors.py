"""A photo, a processor of transformers and a rendered chat in; the chat with image tokens and the model's inputs out.

The processor is shown the photo and the template's placeholder for it, never the row's text: an answer that quotes
``<image>`` cannot disturb it, and nothing depends on how it tokenizes. What it makes of the placeholder is put into the
rendered text, and all spans behind it move along; `encode` then works as it does without a processor, so masks stand on
the expanded ids by construction. Nothing is imported from transformers.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.chat.spans import Rendered, Span, Turn
from svit_datasets.errors import EncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["TOKEN_INPUTS", "Prepared", "expanded", "prepare", "text_inputs"]

TOKEN_INPUTS = ("token_type_ids", "mm_token_type_ids")  # inputs of models with a value for every token
_OURS = {*TOKEN_INPUTS, "input_ids", "attention_mask", "labels", "offset_mapping", "text_replacement_offsets"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a processor made of one photo."""

    text: str  # what the placeholder becomes
    inputs: dict[str, Any]  # arrays as the processor gives them for a batch of one: the first axis is the batch's
    kinds: dict[str, dict[int, int]]  # input with a value for every token -> token id -> value, where it is not 0
    causal: str | None  # the input that tells the prompt (0) from what follows the first answer's begin (1)

    def expand(self, rendered: Rendered) -> Rendered:
        """Return the chat with the placeholder's text replaced."""
        return expanded(rendered, [self.text] * len(rendered.images))

    def add_to(self, encoded: dict[str, Any]) -> dict[str, Any]:
        """Return what `encode.encode` gave for the expanded chat, with the model's other inputs beside it."""
        ids, labels = encoded["input_ids"], encoded["labels"]
        rows = {name: [values.get(token, 0) for token in ids] for name, values in self.kinds.items()}
        if self.causal is not None:
            rows[self.causal] = _behind_prompt(labels)
        return {**encoded, **rows, **self.inputs}


def expanded(rendered: Rendered, texts: Sequence[str]) -> Rendered:
    """Return a chat whose image placeholders are replaced, with every span where its text now stands.

    Args:
        rendered: a chat; its image spans are in order and apart.
        texts: what each placeholder becomes.
    """
    moves: list[tuple[int, int]] = []  # (behind a placeholder, by how much what follows moves)
    pieces: list[str] = []
    images: list[Span] = []
    done = gained = 0
    for (start, stop), text in zip(rendered.images, texts, strict=True):
        pieces += rendered.text[done:start], text
        images.append(Span(start + gained, start + gained + len(text)))
        gained += len(text) - (stop - start)
        moves.append((stop, gained))
        done = stop

    def moved(at: int) -> int:
        return at + next((by for behind, by in reversed(moves) if at >= behind), 0)

    def shift(spans: Sequence[Span]) -> tuple[Span, ...]:
        return tuple(Span(moved(start), moved(stop)) for start, stop in spans)

    return replace(
        rendered,
        text="".join([*pieces, rendered.text[done:]]),
        turns=tuple(
            Turn(turn.role, moved(turn.start), moved(turn.end), moved(turn.stop_end)) for turn in rendered.turns
        ),
        images=tuple(images),
        data=shift(rendered.data),
        generation=shift(rendered.generation),
    )


def prepare(processor: Any, image: Any, placeholder: str) -> Prepared:
    """Show a processor one photo and what the template writes for it.

    Args:
        processor: a ``ProcessorMixin`` of transformers 5.18 or newer, or what is called like one.
        image: a PIL image, an array (height, width, 3) of uint8, the bytes of a photo, or {"bytes", "path"} as
            `datasets` gives it with ``decode=False``.
        placeholder: what stands in the text for the image.

    Raises:
        EncodeError: the photo cannot be read, or the processor does not take the placeholder.
    """
    photo = _opened(image)
    try:
        given = processor(text=[placeholder], images=[photo], return_tensors="np", return_text_replacement_offsets=True)
    except (TypeError, ValueError) as error:
        raise EncodeError(
            f"{type(processor).__name__} refuses {placeholder!r}, which the chat template writes for an image: {error} "
            "Take the template that belongs to the processor, or name the processor's image token with image=."
        ) from error
    kinds: dict[str, dict[int, int]] = {}
    ids = np.asarray(given["input_ids"])[0].tolist()
    for name in _token_inputs(processor):
        if name in given:
            values = np.asarray(given[name])[0].tolist()
            kinds[name] = {token: value for token, value in zip(ids, values, strict=True) if value}
    inputs = {name: np.asarray(value) for name, value in given.items() if name not in _OURS}
    return Prepared(_expansion(processor, placeholder, given), inputs, kinds, _causal(processor))


def text_inputs(processor: Any, encoded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `encode.encode` gave for a chat without an image, with the inputs that go by tokens beside it."""
    rows: dict[str, Any] = {name: [0] * len(encoded["input_ids"]) for name in _token_inputs(processor)}
    causal = _causal(processor)
    if causal is not None:
        rows[causal] = _behind_prompt(encoded["labels"])
    return {**encoded, **rows}


def _token_inputs(processor: Any) -> list[str]:
    names = getattr(processor, "model_input_names", ())
    return [name for name in TOKEN_INPUTS if name in names]


def _causal(processor: Any) -> str | None:
    """Return "token_type_ids" for the PaliGemma family, whose models attend both ways within the prompt.

    Its processors take the answer apart from the prompt, as ``suffix``, and give the prompt's tokens type 0 and the
    answer's type 1. In a chat of several rounds all that follows the first answer's begin is of type 1: were a later
    question of type 0, the first would see it.
    """
    call = inspect.signature(type(processor).__call__)
    return "token_type_ids" if "suffix" in call.parameters else None


def _behind_prompt(labels: Sequence[int]) -> list[int]:
    prompt = next((at for at, label in enumerate(labels) if label >= 0), len(labels))
    return [0] * prompt + [1] * (len(labels) - prompt)


def _expansion(processor: Any, placeholder: str, given: Mapping[str, Any]) -> str:
    """Return the placeholder with its image tokens, as the processor put them in."""
    offsets = given.get("text_replacement_offsets")
    if not offsets:
        raise EncodeError(
            f"{type(processor).__name__} does not tell what it makes of {placeholder!r}, as most processors do since "
            "transformers 5.18. Install a newer transformers; if it is new, this family cannot be had yet: make the "
            "renderer from the tokenizer, and give images to the model yourself."
        )
    text, done = "", 0
    for found in offsets[0]:
        start, stop = found["span"]
        text += placeholder[done:start] + found["replacement"]
        done = stop
    return text + placeholder[done:]


def _opened(image: Any) -> Any:
    """Return an RGB image of Pillow; arrays too, as processors guess which axis of an array is which."""
    from PIL import Image  # noqa: PLC0415 - only where there are images

    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")
    if isinstance(image, (bytes, bytearray, memoryview)):
        image = BytesIO(image)
    try:
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        elif not isinstance(image, Image.Image):
            image = Image.open(image)
        return image if image.mode == "RGB" else image.convert("RGB")
    except (OSError, TypeError, ValueError, AttributeError, Image.DecompressionBombError) as error:
        raise EncodeError(
            f"The row's image, a {type(image).__name__}, cannot be read: {error}. It may be a PIL image, an array "
            "(height, width, 3) of uint8, or the bytes of a photo."
        ) from error
