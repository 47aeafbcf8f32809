"""Chat templates of nine families by name, for tokenizers and base models that come without one.

A name in, Jinja source with its special tokens out. The templates are written for this package from what the families
publish, and give the same text as the families' own (tests/test_chat_presets.py compares them, byte for byte).
They take content as text or as parts; an image part becomes ``<image>`` before the text of its message, as in LLaVA's
training. None brings a system text of its own: the well-known ones are their authors' words, so give yours as the
first message. ``{% generation %}`` encloses what a model is to learn: each answer and the token that ends it.

The sources are plain chat templates; ``tokenizer.chat_template = preset("vicuna_v1").source`` works too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Preset", "names", "preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A chat template that ships with this package."""

    name: str
    source: str  # Jinja
    tokens: Mapping[str, str]  # bos_token and eos_token as the family has them; a tokenizer's own go first
    image_token: str  # what stands for an image
    description: str  # one sentence
    url: str  # where the form is published


_LLAVA = "https://github.com/haotian-liu/LLaVA/blob/main/llava/conversation.py"
_IMAGE = "<image>"
_TABLE = {  # each name's bos_token and eos_token, what it is, and where it is published
    "vicuna_v1": (
        "<s>",
        "</s>",
        "Vicuna 1.1 and LLaVA 1.5: USER and ASSISTANT; the end-of-text token ends an answer.",
        _LLAVA,
    ),
    "llama_2": (
        "<s>",
        "</s>",
        "Llama 2 Chat: [INST] with the system text inside the first question, each round between <s> and </s>.",
        "https://github.com/meta-llama/llama/blob/main/llama/generation.py",
    ),
    "plain": (
        "<s>",
        "</s>",
        "LLaVA's first stage: the image and its caption, a line a message and no roles.",
        "https://github.com/haotian-liu/LLaVA/blob/main/llava/train/train.py",
    ),
    "mpt": ("", "<|im_end|>", "MPT Chat as LLaVA writes it: ChatML without line breaks between the turns.", _LLAVA),
    "chatml": (
        "",
        "<|im_end|>",
        "ChatML: <|im_start|>, role, text, <|im_end|>, a turn after the other.",
        "https://github.com/openai/openai-python/blob/v0.28.1/chatml.md",
    ),
    "mistral": (
        "<s>",
        "</s>",
        "Mistral 7B Instruct 0.1 and 0.2: [INST] with the system text before the first question.",
        "https://docs.mistral.ai/guides/tokenization/",
    ),
    "llama_3": (
        "<|begin_of_text|>",
        "<|eot_id|>",
        "Llama 3 Instruct: a header with the role, two line breaks, trimmed text, <|eot_id|>.",
        "https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3/",
    ),
    "gemma": (
        "<bos>",
        "<eos>",
        "Gemma 1 to 3: user and model between <start_of_turn> and <end_of_turn>; system text in the first question.",
        "https://ai.google.dev/gemma/docs/formatting",
    ),
    "phi_3": (
        "<s>",
        "<|endoftext|>",
        "Phi-3: <|user|>, <|assistant|> or <|system|> on a line, text, <|end|>; the end-of-text token after the last.",
        "https://huggingface.co/microsoft/Phi-3-mini-4k-instruct",
    ),
}


def names() -> list[str]:
    """Return the names of the presets."""
    return list(_TABLE)


@cache
def preset(name: str) -> Preset:
    """Return the preset of a name; reads its file once.

    Raises:
        OptionError: there is none of that name; the message lists them.
    """
    if name not in _TABLE:
        raise OptionError(f"There is no chat template preset {name!r}. Allowed: {', '.join(map(repr, _TABLE))}.")
    bos, eos, description, url = _TABLE[name]
    parts = [name] if name == "plain" else ["said", name]  # plain says it without a line break
    source = "".join((files(__package__) / f"{part}.jinja").read_text("utf-8") for part in parts)
    tokens = MappingProxyType({"bos_token": bos, "eos_token": eos})
    return Preset(name, source, tokens, _IMAGE, description, url)
