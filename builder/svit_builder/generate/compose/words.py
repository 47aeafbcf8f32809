"""Grammar for names that people gave: number, article, verb, enumeration; rules and short lists, no dictionary.

Names are whatever Visual Genome's annotators typed, so every function has an answer for any word; where the rules do
not know better, a word is a countable noun in the singular.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "QA",
    "article",
    "be",
    "is_mass",
    "is_plural",
    "listed",
    "number",
    "phrase",
    "plural",
    "sentence",
    "tell",
    "the",
    "word_set",
]

QA = tuple[str, str]  # question, answer


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_IRREGULAR = {
    "man": "men", "woman": "women", "child": "children", "person": "people", "foot": "feet", "tooth": "teeth",
    "goose": "geese", "mouse": "mice", "knife": "knives", "leaf": "leaves", "shelf": "shelves", "wolf": "wolves",
    "loaf": "loaves", "half": "halves", "scarf": "scarves", "calf": "calves", "sheep": "sheep", "fish": "fish",
    "deer": "deer", "snowman": "snowmen", "policeman": "policemen", "fireman": "firemen", "bookshelf": "bookshelves",
    "aircraft": "aircraft",
}  # fmt: skip
_PLURALS = frozenset(_IRREGULAR.values()) - {"sheep", "fish", "deer", "aircraft"}
_SINGULAR_S = word_set(
    "bus gas lens glass grass dress canvas cactus iris tennis bass chess moss walrus octopus christmas hummus "
    "asparagus compass mattress cross class boss harness hibiscus apparatus series news campus census circus "
    "virus surplus"
)
_MASS = word_set(
    "grass water sand snow sky rice bread hair food furniture clothing traffic mud dirt gravel foliage greenery "
    "vegetation smoke steam fur ice butter cheese meat broccoli luggage equipment sunlight light-blue air sea "
    "ocean jewelry soil hay wool wood metal plastic paper fabric concrete pavement shade text writing graffiti "
    "lettuce cereal soup milk coffee tea beer wine juice sauce salad fruit sunshine fog rain dust cardboard tile "
    "brick"
)
_DETERMINERS = word_set(
    "a an the this that these those some any no one two three four five six seven eight nine ten several many few "
    "all both each every another other his her its their my your our lots most half multiple various numerous"
)
_ENDS = word_set("back front top side bottom edge end corner middle center rest left right inside outside")
_BREAKS = word_set(
    "on in at of with under over near beside behind by along against inside above below around between from to "
    "for next into across through and or that which who is are was were has have standing sitting walking parked "
    "hanging wearing holding made lying growing attached covered laying riding looking facing leaning flying "
    "resting"
)


def number(n: int) -> str:
    """Return ``n`` as a word up to twelve, as digits beyond."""
    return _NUMBERS[n] if n < len(_NUMBERS) else str(n)


def is_plural(name: str) -> bool:
    """Tell whether a name speaks of several."""
    word = name.rsplit(" ", 1)[-1].lower()
    if word in _PLURALS:
        return True
    return len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")) and word not in _SINGULAR_S


def is_mass(name: str) -> bool:
    """Tell whether a name speaks of a stuff."""
    return name.rsplit(" ", 1)[-1].lower() in _MASS


def plural(name: str) -> str:
    """Return the plural of a name in the singular."""
    before, _, word = name.rpartition(" ")
    low = word.lower()
    if low in _IRREGULAR:
        many = _IRREGULAR[low]
    elif low.endswith(("s", "x", "z", "ch", "sh")):
        many = f"{word}es"
    elif re.search(r"[^aeiou]y$", low):
        many = f"{word[:-1]}ies"
    else:
        many = f"{word}s"
    return f"{before} {many}".strip()


def article(name: str) -> str:
    """Return a name as it is first spoken of: "a car", "an apple", "some windows", "grass"."""
    if is_mass(name):
        return name
    if is_plural(name):
        return f"some {name}"
    return f"{_a(name)} {name}"


def _a(text: str) -> str:
    word = text.lower()
    silent = word.startswith(("hour", "honest", "8", "11", "18"))
    spoken_y = re.match(r"(uni(?!n)|use|usu|eu|one\b|once|ut[ei]|u\b)", word)
    return "an" if silent or (word[0] in "aeiou" and not spoken_y) else "a"


def the(name: str, n: int = 1) -> str:
    """Return a name as of something known: "the car", "the windows"; of several "the three cars"."""
    if n == 1 or is_plural(name) or is_mass(name):
        return f"the {name}"
    return f"the {number(n)} {plural(name)}"


def be(name: str, n: int = 1) -> str:
    """Return the verb that goes with ``n`` things of a name."""
    return "are" if n > 1 or is_plural(name) else "is"


def listed(parts: Iterable[str], last: str = "and") -> str:
    """Return the parts as an enumeration: "a cup, a bowl and two pears"."""
    words = list(parts)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def sentence(text: str) -> str:
    """Return a text with a capital first letter and a full stop."""
    text = text.strip().rstrip(" .,;:!")
    return f"{tell(text)}."


def tell(text: str) -> str:
    """Return a text with a capital first letter."""
    return text[:1].upper() + text[1:]


def phrase(text: str, *, known: bool = False) -> str:
    """Return a noun phrase with an article, if it needs one, and without a capital at its beginning.

    Args:
        text: such as "Brick sidewalk beside the street".
        known: use "the" instead of "a".
    """
    words = text.strip().rstrip(" .,;:!").split()
    if not (len(words[0]) > 1 and words[0].isupper()):
        words[0] = words[0].lower()
    if words[0].lower() in _DETERMINERS or words[0][0].isdigit() or words[0].endswith("'s"):
        return " ".join(words)
    head = next((k for k, word in enumerate(words) if k and word.lower().strip(",") in _BREAKS), len(words))
    noun = " ".join(words[:head])
    if known:
        return f"the {' '.join(words)}"
    if words[0] in _ENDS:
        return f"the {' '.join(words)}"
    if is_plural(noun) or is_mass(noun):
        return " ".join(words)
    return f"{_a(words[0])} {' '.join(words)}"
