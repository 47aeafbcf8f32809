"""A noun in, the same for its plural out."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["stem"]

_IRREGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth"}


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return a noun in small letters without the ending of its plural, roughly: "bus" and "buses" come out the same."""
    word = _IRREGULAR.get(word, word)
    for ending, least in (("ies", 5), ("es", 5), ("s", 4), ("y", 4), ("e", 4)):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            return word[: -len(ending)]
    return word
