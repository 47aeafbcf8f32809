"""The folder of a model in; its chat templates, special tokens and tokenizer out, without transformers.

Reads what `save_pretrained` writes: ``chat_template.jinja`` and ``additional_chat_templates/``, ``chat_template.json``,
``tokenizer_config.json``, ``special_tokens_map.json``, ``processor_config.json`` and ``tokenizer.json``. The last is
taken as it stands; transformers 5 rebuilds it for some classes (Llama, GPT-2), and then its ids may be others: who
wants these gives the loaded tokenizer instead of the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svit_datasets.errors import MissingDependency, OptionError, SourceNotFound

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Folder", "read"]

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class Folder:
    """What a model's folder says of its chats."""

    templates: dict[str, str]  # by name
    tokens: dict[str, str]  # special tokens by role, such as "bos_token"
    tokenizer: Any  # a tokenizers.Tokenizer
    image_token: str | None


def read(path: Path) -> Folder:
    """Read a folder.

    Raises:
        SourceNotFound: it holds no ``tokenizer.json``.
        OptionError: a file in it is no JSON object.
        MissingDependency: the package tokenizers is not installed.
    """
    config = _json(path / "tokenizer_config.json")
    tokens = {}
    for source in (_json(path / "special_tokens_map.json"), config):
        for role, value in source.items():
            token = value.get("content") if isinstance(value, dict) else value
            if (role in _ROLES or role.endswith("_token")) and isinstance(token, str):
                tokens[role] = token
    named = config.get("extra_special_tokens")
    if isinstance(named, dict):
        tokens |= {role: token for role, token in named.items() if isinstance(token, str)}
    image = _json(path / "processor_config.json").get("image_token") or tokens.get("image_token")
    if isinstance(image, dict):
        image = image.get("content")
    return Folder(_templates(path, config), tokens, _tokenizer(path, config, tokens), image)


def _templates(path: Path, config: dict[str, Any]) -> dict[str, str]:
    """Return the folder's templates; files of their own win over the entry in the tokenizer's configuration."""
    own = config.get("chat_template") or {}
    if isinstance(own, str):
        own = {"default": own}
    templates = dict(own) if isinstance(own, dict) else {entry["name"]: entry["template"] for entry in own}
    legacy = _json(path / "chat_template.json").get("chat_template")  # written by processors until transformers 4.50
    if isinstance(legacy, str):
        templates["default"] = legacy
    jinja = path / "chat_template.jinja"
    if jinja.is_file():
        templates["default"] = jinja.read_text(encoding="utf-8")
    for extra in sorted((path / "additional_chat_templates").glob("*.jinja")):
        templates[extra.stem] = extra.read_text(encoding="utf-8")
    return templates


def _tokenizer(path: Path, config: dict[str, Any], tokens: dict[str, str]) -> Any:
    file = path / "tokenizer.json"
    if not file.is_file():
        raise SourceNotFound(
            f"{path} holds no tokenizer.json. Load the tokenizer with the library it is made for, and give that object."
        )
    try:
        import tokenizers  # noqa: PLC0415 - the only way to read the file, and only asked for with a folder
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"{file} needs the package tokenizers: pip install tokenizers. Or give the template alone, for text."
        ) from error
    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # Some tokens stand in the configuration alone; transformers adds them when it loads, in the order of their ids.
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    flags = ("lstrip", "rstrip", "normalized", "single_word", "special")
    declared = sorted((config.get("added_tokens_decoder") or {}).items(), key=lambda entry: int(entry[0]))
    missing = [entry for _, entry in declared if entry["content"] not in known]
    missing += [
        {"content": token, "special": True}
        for token in dict.fromkeys(tokens.values())
        if token not in known and all(entry["content"] != token for entry in missing)
    ]
    for entry in missing:
        options = {flag: entry[flag] for flag in flags if flag in entry}
        tokenizer.add_tokens([tokenizers.AddedToken(entry["content"], **options)])
    return tokenizer


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OptionError(f"{path} is no JSON: {error}. Fetch the model's files again.") from error
    if not isinstance(value, dict):
        raise OptionError(f"{path} is no JSON object. Fetch the model's files again.")
    return value
