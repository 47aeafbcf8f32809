"""Lists of concepts in, which of them a text mentions out.

A list is a text file with a concept a line: ``colour: red, green, blue`` or just a keyword that is its own concept.
Keywords are words or phrases; a keyword is found as whole words in any case, its last word in the plain plural too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from svit_datasets.errors import OptionError, SourceNotFound

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Concepts", "read_concepts"]

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_MOST = 1 << 16  # concepts; their numbers are kept in two bytes


@dataclass(frozen=True)
class Concepts:
    """c concepts with their keywords.

    Raises:
        OptionError: there is none, or too many, or one has no keyword.
    """

    keywords: Mapping[str, Sequence[str]]  # name -> words or phrases, in lower case
    _words: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _phrases: dict[str, list[tuple[str, int]]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.keywords) < _MOST:
            raise OptionError(f"{len(self.keywords):,} concepts were given. Give 1 to {_MOST - 1:,}.")
        for number, (name, keywords) in enumerate(self.keywords.items()):
            split = [_WORD.findall(keyword.lower()) for keyword in keywords]
            if not split or not all(split):
                raise OptionError(f"Concept {name!r} has a keyword without a letter or digit: {list(keywords)!r}.")
            for words in split:
                for last in _with_plural(words[-1]):
                    self._add([*words[:-1], last], number)

    def _add(self, words: list[str], number: int) -> None:
        if len(words) == 1:
            found = self._words.setdefault(words[0], [])
            if number not in found:
                found.append(number)
        else:
            self._phrases.setdefault(words[0], []).append((f" {' '.join(words)} ", number))

    @property
    def names(self) -> tuple[str, ...]:
        """The concepts, in the order of their numbers."""
        return tuple(self.keywords)

    def found(self, text: str) -> list[int]:
        """Return the numbers of the concepts that a text mentions, ascending, each once."""
        words = _WORD.findall(text.lower())
        different = set(words)
        numbers = {number for word in self._words.keys() & different for number in self._words[word]}
        begun = self._phrases.keys() & different
        if begun:
            whole = f" {' '.join(words)} "
            numbers.update(number for word in begun for phrase, number in self._phrases[word] if phrase in whole)
        return sorted(numbers)


def _with_plural(word: str) -> list[str]:
    if word.endswith(("s", "x", "ch", "sh")):
        return [word, f"{word}es"]
    if word.endswith("y") and word[-2:-1] not in ("", "a", "e", "i", "o", "u"):
        return [word, f"{word[:-1]}ies"]
    return [word, f"{word}s"]


def read_concepts(files: Iterable[str | os.PathLike[str]]) -> Concepts:
    """Read lists of concepts; one that stands in several has the keywords of all.

    Blank lines and lines that begin with # are skipped.

    Raises:
        SourceNotFound: a file is not there.
        OptionError: a line has no keyword; the message names file and line.
    """
    keywords: dict[str, list[str]] = {}
    for path in map(Path, files):
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except FileNotFoundError as error:
            raise SourceNotFound(f"{path}: there is no such list of concepts.") from error
        except UnicodeDecodeError as error:
            raise OptionError(f"{path}, byte {error.start}: a list of concepts is text in UTF-8.") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, colon, listed = (part.strip() for part in line.partition(":"))
            wanted = [keyword.strip().lower() for keyword in (listed if colon else name).split(",")]
            wanted = [keyword for keyword in wanted if keyword]
            if not name or not wanted or not all(_WORD.search(keyword) for keyword in wanted):
                raise OptionError(
                    f"{path}, line {number}: {line.strip()[:60]!r} has no keyword. A line is a keyword, or "
                    "`concept: keyword, keyword`."
                )
            known = keywords.setdefault(name.lower(), [])
            known.extend(keyword for keyword in dict.fromkeys(wanted) if keyword not in known)
    return Concepts(keywords)
