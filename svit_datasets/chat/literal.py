"""Which added tokens are control tokens; and a tokenizer that takes these for ordinary text.

`encoders` needs the latter for the rare text that quotes a control token. In the copy each control token has a private
name of two characters that no text contains; its id, its flags and all else stay. A text in which the template's own
control tokens are replaced by these names is then encoded in one go, exactly as the original would, and a literal
``</s>`` in an answer finds neither an added token, nor an entry of the vocabulary, nor a merge.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["PRIVATE", "controls_of", "is_control", "one_of", "renamed"]

PRIVATE = range(0xF0000, 0xFFFFE)  # Unicode's private plane 15: what a name may begin with; plane 16 ends it
_BLANKS = " \t\r\n\u2581"  # U+2581 stands for the space inside SentencePiece vocabularies


def is_control(content: str, *, special: bool) -> bool:
    """Tell the added tokens that steer a model from those that are vocabulary.

    Gemma's added tokens include line breaks, a pad token may be "!", and users add words of their field. In these there
    is nothing to forge, and without them plain text would be encoded as the model never saw it.
    """
    if len(content) == 1 or not content.strip(_BLANKS):
        return False
    return special or not content.isalnum()


def controls_of(names: Mapping[int, Any], keep: frozenset[str]) -> dict[int, Any]:
    """Return those of a tokenizer's added tokens, by id, that count as control tokens."""
    return {
        index: token
        for index, token in names.items()
        if token.content not in keep and is_control(token.content, special=token.special)
    }


def one_of(contents: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds the longest of some literals; of none, one that finds nothing."""
    return re.compile("|".join(map(re.escape, sorted(contents, key=lambda text: (-len(text), text)))) or r"(?!)")


def renamed(source: str, names: Mapping[str, str]) -> str:
    """Return a tokenizers JSON whose added tokens ``names`` have new names, everywhere they could be matched.

    Args:
        source: what ``tokenizers.Tokenizer.to_str`` gives.
        names: old content to new; the new ones occur nowhere in the JSON.
    """
    spec: dict[str, Any] = json.loads(source)
    spec["truncation"] = spec["padding"] = None
    for token in spec["added_tokens"]:
        if token["content"] in names:
            token.update(content=names[token["content"]], normalized=False)  # a name is matched as it stands
    model = spec["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(piece, piece): index for piece, index in model["vocab"].items()}
    else:  # Unigram: [piece, score]; it would find "</s>" in plain text, as control pieces have the best score
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        pairs = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"])
        model["merges"] = [
            [left, right]
            for left, right in pairs
            if left not in names and right not in names and left + right not in names
        ]
    return json.dumps(spec, ensure_ascii=False)
