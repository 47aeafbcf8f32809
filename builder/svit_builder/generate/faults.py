"""One question with its answer in, what is wrong with their words out; ids as in `rules`.

Made for millions of texts: a few words that must be there are looked for first, patterns only where one is. What a
photo may show (a sign with a caption, a map with coordinates) is told from what a model was given by the words around.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from svit_builder.generate.leaks import leak, quoted
from svit_datasets.filters import is_message_empty

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["cut_off", "echo", "has_words", "is_english", "normal", "refusal", "repeats", "text_faults"]


def text_faults(question: str, answer: str, *, marked: bool, context: str = "") -> Iterator[tuple[str, str]]:
    """Yield (rule, what was found) for the words of a question and its answer.

    Args:
        question: the user's turn.
        answer: the model's.
        marked: whether boxes belong in them, as in referring_qa; elsewhere they are a leak.
        context: what is known to be in the photo, in words; a caption that stands there is no leak.
    """
    if not has_words(answer) or not has_words(question):
        yield "empty_text", ""
        return
    if is_message_empty(answer):
        yield "message_is_empty", quoted(answer)
    if found := refusal(answer):
        yield "refusal", found
    if found := leak(answer, marked=marked, context=context) or leak(question, marked=marked, context=context):
        yield "leak", found
    if found := echo(question) or echo(answer):
        yield "prompt_echo", found
    if not is_english(answer) or not is_english(question):
        yield "other_language", quoted(answer)
    if found := cut_off(answer):
        yield "cut_off", found


def has_words(text: str) -> bool:
    """Tell whether there is a letter or a digit."""
    return text.isalnum() or any(map(str.isalnum, text))


_NOT_WORDS = re.compile(r"[\W_]+")


def normal(text: str) -> str:
    """Return a text for comparison: small letters and digits only."""
    return _NOT_WORDS.sub(" ", text.casefold()).strip()


def repeats(questions: Sequence[tuple[int, str]]) -> set[int]:
    """Return which questions were asked before, by position.

    Two dialogues may share a question, since each is read alone; but not all of their questions.

    Args:
        questions: (dialogue, question), dialogue after dialogue.
    """
    again: set[int] = set()
    asked: set[tuple[int, str]] = set()
    dialogues: dict[int, list[str]] = {}
    places: dict[int, list[int]] = {}
    for place, (dialogue, question) in enumerate(questions):
        key = (dialogue, normal(question))
        if key in asked:
            again.add(place)
        asked.add(key)
        dialogues.setdefault(dialogue, []).append(key[1])
        places.setdefault(dialogue, []).append(place)
    seen = set()
    for dialogue, words in dialogues.items():
        if tuple(words) in seen:
            again.update(places[dialogue])
        seen.add(tuple(words))
    return again


# Refusals -------------------------------------------------------------------------------------------------------------

_REFUSAL_WORDS = ("sorry", "apolog", "language model", "as an ai", "i can", "i'm", "i am", "unable", "i do")
# At the beginning of a sentence and not inside quotes: somebody in the photo may say that he is sorry.
_REFUSAL = re.compile(
    r"(?:^|[.!?:;,]\s+|\n)(?:(?:but|however|unfortunately|sorry),? )*(?:"
    r"(?:i'?m|i am) (?:very |really |truly )?(?:sorry|afraid (?:that )?i\b)|i apologi[sz]e|my apologies|"
    r"sorry,? (?:but )?i\b|"
    r"(?:i'?m|i am) (?:not able|unable)\b|"
    r"(?:i'?m|i am) (?:just |only )?an? (?:large |text.based )?(?:ai\b|language model)|"
    r"i (?:can(?:no|')t|can not|do(?:n't| not)) (?:actually )?"
    r"(?:(?:see|view|access|open) (?:the |this |your |any |actual )*(?:image|photo|picture)|provide|assist|"
    r"help (?:you|with)|answer|generate|create|comply|fulfil|determine|identify|"
    r"have (?:the ability|access|enough|sufficient))|"
    r"(?:it is|it's) not possible for me\b)|"
    r"\bas an? (?:ai|artificial intelligence|large language model|language model)\b(?! (?:robot|camera|system))|"
    r"\b(?:unable|not able) to (?:see|view|access|open) (?:the|this|any|your) (?:image|photo|picture)"
)


def refusal(answer: str) -> str:
    """Return how an answer refuses, or ""."""
    lower = answer.lower().replace("\u2019", "'")
    if not any(word in lower for word in _REFUSAL_WORDS):
        return ""
    match = _REFUSAL.search(lower)
    return quoted(match[0]) if match else ""


# Echoes, language, broken ends ----------------------------------------------------------------------------------------

_ECHO_WORDS = (
    "you are given",
    "you will be given",
    "your task",
    "do not mention",
    "question",
    "answer",
    "topic",
    "pairs",
)
_ECHO = re.compile(
    r"\byou (?:are|will be) given\b|\byour task is\b|\bdo not mention\b|"
    r"\b(?:write|generate|create|ask) (?:\d+|five|ten|fifteen|three) (?:\w+ ){0,3}"
    r"(?:questions|pairs|dialogues|conversations)\b"
)
_PLACEHOLDER = re.compile(
    r"[\[<({]*(?:(?:your|the|first|insert|write|next)[ _-])*(?:question|answer|topic)"
    r"(?:[ _-](?:here|text|goes here|\d+))?[\]>)}.…?]*|[\[<{][^\[\]<>{}]{1,40}[\]>}]|\.{2,}|…",
    re.IGNORECASE,
)


def echo(text: str) -> str:
    """Return which words of a prompt a question or an answer is made of, or ""."""
    if len(text) < 45 and _PLACEHOLDER.fullmatch(text):
        return quoted(text)
    lower = text.lower()
    if not any(word in lower for word in _ECHO_WORDS):
        return ""
    match = _ECHO.search(lower)
    return quoted(match[0]) if match else ""


_LETTERS = re.compile(r"[^\W\d_]+")
_ENGLISH_WORDS = """
the a an and or of to in on at is are was were be been it its this that these those there with for from by as his her
their they he she you your we what which who where when why how can could would should do does did has have had not no
yes but if so than then because while some any all one two more other may might will near
"""
_FOREIGN_WORDS = """
el la los las un una unos del que y en es son por con para su sus se lo al como hay está están más qué cuál dónde
le les une des du et est sont dans sur avec pour qui ce cette il elle pas plus où quel quelle aux
der das ein eine einen einem und ist sind mit auf von zu den dem im nicht auch sich wo wie wer für
gli uno di che è sono nel nella della per o os uma não são na da em um mais de het een van op dat zijn met niet
"""
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_FOREIGN = frozenset(_FOREIGN_WORDS.split())


def is_english(text: str) -> bool:
    """Tell whether a text may be English; a quoted word of another language does not matter, short texts pass.

    Letters of other scripts may be a fifth of all; of the words of a longer text, more must be common English ones than
    common ones of other European languages.
    """
    if not text.isascii():
        letters = "".join(_LETTERS.findall(text))
        latin = sum(map(_is_latin, letters))
        if len(letters) - latin > max(1, len(letters) // 5):
            return False
    words = _LETTERS.findall(text.lower()[:600])
    if len(words) < 6:
        return True
    foreign = sum(word in _FOREIGN for word in words)
    return foreign < 2 or foreign <= sum(word in _ENGLISH for word in words)


def _is_latin(letter: str) -> bool:
    return letter < "\u0250" or "\u1e00" <= letter < "\u1f00"


_DANGLING = re.compile(r"(?:,|-|\b(?:the|a|an|and|or|of|because|which|while|its|their|his))$", re.IGNORECASE)
# A short answer may end with one of these: "The one they look at".
_OPEN_ENDED = re.compile(r"\b(?:to|with|in|at|is|are|was|were|for|from|as|by)$", re.IGNORECASE)
_SHORT = 6  # words


def cut_off(answer: str) -> str:
    """Return the end of an answer that breaks off, or ""."""
    tail = answer[-60:]
    last = tail[-1:]
    if last in ".!?]":
        return ""
    long = answer.count(" ") >= _SHORT
    if _DANGLING.search(tail) or tail.rfind("[") > tail.rfind("]") or (long and _OPEN_ENDED.search(tail)):
        return quoted(tail)
    return ""
