"""A text in, the words out by which it lets on what a model was given: captions, descriptions, boxes, lists.

What a photo may show, such as a sign with a caption or a map with coordinates, is told from that by the words around.
Patterns are tried only where one word of theirs stands, so a text without such words costs a few microseconds.
"""

from __future__ import annotations

import re

__all__ = ["leak", "quoted"]

_SHOWN = 80  # characters of a finding that are quoted


def quoted(text: str) -> str:
    """Return the beginning of a text in one line."""
    text = " ".join(text[: _SHOWN * 2].split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


_GIVEN = r"(?:provided|given|supplied)"
_KIND = rf"(?:(?:image|photo|picture|scene|region|regional|object|text|textual|{_GIVEN}|above|first|second) )"
_BY = r"(?:based on|according to|from|in|per|by|using|given)"
_THE = r"(?:the|this|these|those|all|any|both|some)"
_THE_ONES = r"(?:the|this|these|those|all|several|some|most|both|image|other|two|three|five|multiple)"
# Words behind a caption or a description that a photo shows.
_SHOWN_ON = (
    r"(?! (?:on|below|above|under|underneath|beneath|printed|written|painted|beside|next to|at the (?:top|bottom)))"
)
_TELLS = (
    r",? (?:also |only |all |clearly |explicitly )?"
    r"(?:mention(?:s|ed)?|state[sd]?|describe[sd]?|indicate[sd]?|suggest(?:s|ed)?|note[sd]?|specif(?:y|ies|ied)|"
    r"impl(?:y|ies|ied)|provide[sd]?|reveal(?:s|ed)?|refers?|include[sd]?|tells?|says? (?:that|there)|"
    r"do(?:es)? ?n[o']t|did ?n[o']t)\b"
)


def _told_by(noun: str) -> str:
    """Return a pattern for "according to the X", "the X mentions" and "the provided X"."""
    return (
        rf"\b{_BY} (?:{_THE}(?: of the)? )?{_KIND}{{0,2}}{noun}\b{_SHOWN_ON}|"
        rf"\b(?:{_THE_ONES}|{_GIVEN}) {_KIND}{{0,2}}{noun}{_TELLS}|\b{_GIVEN} {noun}\b"
    )


_LEAKS = {
    "caption": rf"{_told_by('captions?')}|\bcaptions? (?:of|for) the (?:image|photo|picture|scene)\b",
    "description": rf"{_told_by('descriptions?')}|\b(?:region|image) descriptions?\b{_SHOWN_ON}",
    "annotation": _told_by("annotations?"),
    "notes": rf"\b(?:based on|according to|{_GIVEN}|using|from) (?:{_THE} )?notes\b{_SHOWN_ON}|\bthe notes{_TELLS}",
    "bounding": r"\bbounding[ -]?box(?:es)?\b",
    "bbox": r"\bbbox(?:es)?\b",
    "coordinate": (
        rf"\b(?:the|these|those|its|their|box|object|image|normali[sz]ed|exact|following|{_GIVEN}) coordinates?\b"
        r"(?! (?:with|on|the|his|her|its|their|and|a|traffic|at))|\bcoordinates? ?[\[(\d]|"
        r"\bcoordinates of (?:the|a|an|its|each|this)\b"
    ),
    "information": (
        rf"\b{_GIVEN} (?:\w+ )?information\b|"
        rf"\binformation (?:that (?:is|was) )?{_GIVEN}\b(?! (?:on|by|at|to|for|in the))|"
        r"\b(?:based on|from|given) the (?:available )?information\b"
        r"(?! (?:on|at|in the (?:image|photo|picture|scene)|desk|board|panel|sign|screen|display|booth|kiosk|plaque|"
        r"cent(?:er|re)))"
    ),
    "context": rf"\b{_GIVEN} context\b|\bcontext {_GIVEN}\b",
    "list": r"\b(?:object list|list of (?:the )?(?:objects|regions)|listed (?:objects|regions))\b",
    "not ": (
        r"\b(?:is|are|was|were)(?: also)? not (?:explicitly |specifically |directly |clearly )?"
        r"(?:mentioned|specified|stated)\b(?! (?:on|by|in the (?:image|photo|picture|scene))\b)|"
        r"\bnot (?:explicitly|specifically) (?:described|provided|given|listed)\b"
    ),
    "no ": r"\bno (?:explicit |specific )?mention (?:of|is)\b",
    "region": rf"\bregions? (?:descriptions?|boxes|list)\b|\b(?:the|listed) regions?{_TELLS}",
}
_PATTERNS = {word: re.compile(pattern) for word, pattern in _LEAKS.items()}
_NUMBERS = re.compile(r"[\[(]\s?-?[01]?\.\d+\s?,\s?-?(?:[01]?\.\d+|[01])\b|</?(?:st|ed)>")
# What a photo can show: no leak where somebody said that this one does, unless the words are plainer.
_VISIBLE = frozenset({"caption", "description", "coordinate", "information", "annotation", "list", "notes"})
_IS_GIVEN = re.compile(_GIVEN)


def leak(text: str, *, marked: bool, context: str = "") -> str:
    """Return how a text mentions what the model was given, or "".

    Args:
        text: a question or an answer.
        marked: whether boxes may stand in it, as in referring_qa.
        context: what is known to be in the photo, in words.
    """
    lower = text.lower()
    for word, pattern in _PATTERNS.items():
        if word not in lower:
            continue
        match = pattern.search(lower)
        if match is None or (word in _VISIBLE and word in context.lower() and not _IS_GIVEN.search(match[0])):
            continue
        return quoted(match[0])
    if marked or ("<" not in text and ("." not in text or ("[" not in text and "(" not in text))):
        return ""
    match = _NUMBERS.search(text)
    return quoted(match[0]) if match else ""
