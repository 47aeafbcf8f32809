"""What the user has of a model in; the source of its chat template, its special tokens and its encoder out.

Objects are recognised by the module their class is from, so that no tokenizer library is imported to ask; and their
attributes are read only, as `apply_chat_template` and its relatives change from version to version.
Reading a model's folder is the business of `folders`; rendering the template that of `spans`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svit_datasets.chat.encoders import FastEncoder, TiktokenEncoder
from svit_datasets.chat.slow import CallableEncoder, SlowEncoder
from svit_datasets.errors import OptionError, TemplateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svit_datasets.chat.encoders import Encoder

__all__ = ["Target", "resolve"]

_JINJA = re.compile(r"\{[{%#]")
_KINDS = (
    "a tokenizer or processor of transformers, a tokenizers.Tokenizer, a MistralTokenizer, a tiktoken.Encoding, the "
    "folder of a model, a Jinja template or the path of one, the name of a preset, or a function from text to ids"
)
# Names that only ever meant one thing, for a bare tokenizers.Tokenizer, which does not say what its tokens are for.
_BOS_NAMES = ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<｜begin▁of▁sentence｜>")  # noqa: RUF001
_EOS_NAMES = ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "<｜end▁of▁sentence｜>")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of a model's chats."""

    name: str  # for messages
    source: str | None  # of the Jinja template; None: `native` renders
    context: dict[str, str] = field(default_factory=dict)  # special tokens by their names in templates: bos_token …
    encoder: Encoder | None = None  # None: text only
    image_token: str | None = None  # what stands for an image in the text given to the processor, where that is known
    processor: Any | None = None  # of transformers, as given
    native: Any | None = None  # a MistralTokenizer, as given


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an object holds, before a template is chosen."""

    name: str
    templates: Mapping[str, str] = field(default_factory=dict)  # by name; the only one is "default"
    context: dict[str, str] = field(default_factory=dict)
    encoder: Encoder | None = None
    image_token: str | None = None
    processor: Any | None = None


def resolve(obj: Any, *, template: str | None = None, keep: frozenset[str] = frozenset()) -> Target:
    """Tell what an object is and take what a renderer needs from it.

    Args:
        obj: a tokenizer or processor of transformers, a ``tokenizers.Tokenizer``, a ``MistralTokenizer``, a
            ``tiktoken.Encoding``, a local folder of a model, a Jinja template or the path of one, the name of a preset,
            or any function from text to ids.
        template: instead of the object's own default: the name of another of its templates, the name of a preset, a
            Jinja template, or the path of one. A template made for tools is never taken unless it is named.
        keep: added tokens that are tokens in a row's text too, such as those of a box convention.

    Raises:
        OptionError: the object is of no known kind, or there is no such template.
        TemplateError: the object has no chat template, and none was given.
        MissingDependency: a folder is to be read and the package for its tokenizer is not installed.
    """
    native = _mistral(obj)
    if native is not None:
        if template is not None:
            raise OptionError("mistral-common has its own templates: give no template= with a MistralTokenizer.")
        return Target(f"{type(obj).__name__} {_version(native)}", None, _mistral_context(native), native=native)
    parts = _parts(obj, keep)
    source, tokens = _source(parts, template)
    return Target(
        parts.name,
        source,
        {**tokens, **parts.context},
        parts.encoder,
        parts.image_token,
        parts.processor,
    )


def _parts(obj: Any, keep: frozenset[str]) -> _Parts:
    if isinstance(obj, str | os.PathLike):
        return _named(os.fspath(obj), keep)
    home = _modules(obj)
    if "tokenizers" in home:
        return _bare(obj, keep)
    if "tiktoken.core" in home:
        eos = {"eos_token": "<|endoftext|>"} if "<|endoftext|>" in obj.special_tokens_set else {}
        return _Parts(f"tiktoken {obj.name}", context=eos, encoder=TiktokenEncoder(obj, keep=keep))
    if "transformers.processing_utils" in home:
        if getattr(obj, "tokenizer", None) is None:
            raise OptionError(f"{type(obj).__name__} has no tokenizer, so it has no chat. Give one that has.")
        parts = _tokenizer(obj.tokenizer, keep)
        return _Parts(
            type(obj).__name__,
            _by_name(getattr(obj, "chat_template", None)) or parts.templates,
            parts.context,
            parts.encoder,
            _processor_image_token(obj) or parts.image_token,
            obj,
        )
    if "transformers.tokenization_utils_base" in home:
        return _tokenizer(obj, keep)
    if callable(obj):
        return _Parts(getattr(obj, "__qualname__", type(obj).__name__), encoder=CallableEncoder(obj))
    raise OptionError(f"A {type(obj).__name__} is none of what a renderer can be made for: {_KINDS}.")


def _modules(obj: Any) -> frozenset[str]:
    """Return the modules of an object's classes."""
    return frozenset(cls.__module__ for cls in type(obj).__mro__)


def _named(text: str, keep: frozenset[str]) -> _Parts:
    """Take a string for a preset's name, a folder, a file or a template, in this order."""
    from svit_datasets.chat import folders, presets  # noqa: PLC0415 - a tokenizer at hand needs neither

    if text in presets.names():
        return _Parts(f"preset {text}", {"default": text})
    if _JINJA.search(text):
        return _Parts("template", {"default": text})
    path = Path(text).expanduser()
    if path.is_dir():
        folder = folders.read(path)
        return _Parts(
            str(path),
            folder.templates,
            folder.tokens,
            FastEncoder(
                folder.tokenizer,
                keep=keep,
                eos_token=folder.tokens.get("eos_token"),
                pad_token=folder.tokens.get("pad_token"),
            ),
            folder.image_token,
        )
    if path.is_file():
        return _Parts(str(path), {"default": _file(path)})
    raise OptionError(
        f"{text!r} is no file or folder here, no Jinja template and none of the presets "
        f"({', '.join(presets.names())}). Models are read from local folders only: load the tokenizer, and give that."
    )


def _file(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        raise OptionError(f"{path} is JSON. Give the folder it lies in, or a file that holds the Jinja template alone.")
    return text


def _bare(tokenizer: Any, keep: frozenset[str]) -> _Parts:
    """A tokenizers.Tokenizer says nothing of its tokens' roles; BOS is what it puts in front, EOS has a known name."""
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    encoder = FastEncoder(tokenizer, keep=keep)
    context = {}
    lead = [tokenizer.id_to_token(token) for token in encoder.lead()]
    for role, names in (("bos_token", (*lead[:1], *_BOS_NAMES)), ("eos_token", _EOS_NAMES)):
        known = [name for name in names if name in special]
        if known:
            context[role] = known[0]
    return _Parts(
        "tokenizers.Tokenizer",
        context=context,
        encoder=FastEncoder(tokenizer, keep=keep, eos_token=context.get("eos_token")),
    )


def _tokenizer(tokenizer: Any, keep: frozenset[str]) -> _Parts:
    """Take a tokenizer of transformers apart."""
    context = {
        name: str(token)
        for name, token in tokenizer.special_tokens_map.items()
        if not isinstance(token, list | tuple | dict)
    }
    backend = getattr(tokenizer, "backend_tokenizer", None)
    encoder: Encoder
    if backend is not None and "tokenizers" in _modules(backend):
        encoder = FastEncoder(
            backend, keep=keep, eos_token=context.get("eos_token"), pad_token=context.get("pad_token")
        )
    else:
        encoder = SlowEncoder(tokenizer, keep=keep)
    image = getattr(tokenizer, "image_token", None)
    return _Parts(
        type(tokenizer).__name__,
        _by_name(getattr(tokenizer, "chat_template", None)),
        context,
        encoder,
        str(image) if image else None,
    )


def _processor_image_token(processor: Any) -> str | None:
    """Return what a processor looks for in a text: one token an image, which it then repeats or surrounds."""
    if getattr(processor, "full_image_sequence", None) and getattr(processor, "boi_token", None):
        return str(processor.boi_token)  # Gemma 3 looks for the begin of an image, not for its image_token
    token = getattr(processor, "image_token", None)
    return str(token) if token else None


def _by_name(templates: Any) -> dict[str, str]:
    """Return templates by name from the forms transformers has had: a string, a dict, a list of {name, template}."""
    if not templates:
        return {}
    if isinstance(templates, str):
        return {"default": templates}
    if isinstance(templates, dict):
        return dict(templates)
    return {entry["name"]: entry["template"] for entry in templates}


def _source(parts: _Parts, template: str | None) -> tuple[str, dict[str, str]]:
    """Choose the template; returns its source, and special tokens that a preset brings."""
    from svit_datasets.chat import presets  # noqa: PLC0415 - see _named

    chosen = parts.templates.get("default") if template is None else parts.templates.get(template, template)
    if chosen is None:
        if parts.templates:
            raise OptionError(
                f"{parts.name} has several chat templates and none is called default. Choose one with template=: "
                f"{', '.join(sorted(parts.templates))}."
            )
        raise TemplateError(
            f"{parts.name} has no chat template, as base models have none. Choose one with template=: a preset "
            f"({', '.join(presets.names())}), a Jinja template, or the path of one."
        )
    if chosen in presets.names():
        preset = presets.preset(chosen)
        return preset.source, dict(preset.tokens)
    if _JINJA.search(chosen):
        return chosen, {}
    if Path(chosen).expanduser().is_file():
        return _file(Path(chosen).expanduser()), {}
    raise OptionError(
        f"template={chosen!r} is no preset ({', '.join(presets.names())}), no Jinja template and no file"
        + (f", and none of the object's own ({', '.join(sorted(parts.templates))})." if parts.templates else ".")
    )


def _mistral(obj: Any) -> Any | None:
    """Return the MistralTokenizer that an object is, or that transformers' wrapper holds."""
    if any(module.startswith("mistral_common.") for module in _modules(obj)):
        if hasattr(obj, "instruct_tokenizer"):
            return obj
        raise OptionError(f"A {type(obj).__name__} has no chat. Give the MistralTokenizer that it is part of.")
    inner = getattr(obj, "tokenizer", None) if "transformers.tokenization_mistral_common" in _modules(obj) else None
    return inner if inner is not None and hasattr(inner, "instruct_tokenizer") else None


def _version(native: Any) -> str:
    return str(native.instruct_tokenizer.tokenizer.version.value)


def _mistral_context(native: Any) -> dict[str, str]:
    inner = native.instruct_tokenizer.tokenizer
    return {"bos_token": inner.id_to_piece(inner.bos_id), "eos_token": inner.id_to_piece(inner.eos_id)}
