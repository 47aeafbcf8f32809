"""The messages of a request in, what they tell of one photo out: its kinds of things and their places, and remarks.

Only the text that a model would get is read. Names and remarks that would not make good English, or that speak of the
photo instead of what is on it, are left aside.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from svit_builder.generate.compose.words import be, is_mass, is_plural, plural, the, word_set
from svit_builder.generate.context import normal_name
from svit_datasets.boxes import Box

__all__ = ["Kind", "Notes", "Remark", "Thing", "read_notes"]

_OBJECT = re.compile(r"(.+): (\[([\d.]+), ([\d.]+), ([\d.]+), ([\d.]+)\])")
_NAME = re.compile(r"[A-Za-z][A-Za-z'-]*(?: [A-Za-z0-9'-]+){0,3}")
_REMARK = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ',-]*")
_LEAKS = re.compile(
    r"\b(captions?|descri\w+|annotat\w+|bounding|box(?:es)? of|coordinates?|regions?|photo\w*|pictures?|images?|camera|"
    r"cameras|blur\w*|background|foreground|pixel\w*|screenshot|sorry|unable|cannot|can't|i|you|we|me|my|our|your|test|"
    r"caption|empty|message|object|objects|provided|information|given|context|unknown|none|nothing|unclear)\b",
    re.IGNORECASE,
)
# What annotators call a part, a quality or no thing at all: true, but nothing to point at.
_VAGUE = word_set(
    "color colour colors colours area areas back front part parts side sides top bottom edge piece pieces group "
    "scene section corner end ends view spot shade shadow shadows reflection design pattern line lines item items "
    "thing things object objects stuff it view left right middle center centre inside outside day daytime night "
    "time"
)
_PRONOUNS = word_set("he she it they this that these those there here his her its their who which what")
_CLAUSE = re.compile(r"^\S+(?: \S+){0,5}? (?:is|are|has|have|was|were|wears|stands|sits|hangs|walks|holds|lies)\b")
_ENDS_NAME = "on|in|at|with|under|near|beside|behind|by|against|is|are|next|above|below|along|inside|and"
COLOURS = (
    "red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white", "grey", "gray", "silver",
    "golden", "beige", "tan", "turquoise", "violet",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing in the photo."""

    name: str
    box: Box
    written: str  # the box as it stands in the message: "[0, 0.250, 0.500, 1]"

    @property
    def x(self) -> float:
        """Its middle, as a share of the width."""
        return (self.box.x1 + self.box.x2) / 2

    @property
    def y(self) -> float:
        """Its middle, as a share of the height."""
        return (self.box.y1 + self.box.y2) / 2

    @property
    def area(self) -> float:
        """Its box, as a share of the photo."""
        return (self.box.x2 - self.box.x1) * (self.box.y2 - self.box.y1)


@dataclass(frozen=True)
class Kind:
    """All things of one name."""

    name: str  # as it was first written, in lower case but for what is all capitals
    things: tuple[Thing, ...]  # from left to right
    colour: str | None  # of its only thing, where remarks agree on it
    countable: bool  # the name is of one thing, its plural stands nowhere, and no two boxes overlap much

    def __len__(self) -> int:
        return len(self.things)

    @property
    def first(self) -> Thing:
        """The largest."""
        return max(self.things, key=lambda thing: thing.area)

    @property
    def the(self) -> str:
        """Its name with article: "the clock", "the three cars"; "the street" where boxes may show the same twice."""
        return the(self.name, len(self) if self.countable else 1)

    @property
    def are(self) -> str:
        """The verb that goes with it."""
        return be(self.name, len(self) if self.countable else 1)


@dataclass(frozen=True, slots=True)
class Remark:
    """A short text about a part of the photo."""

    text: str  # without a full stop
    is_clause: bool  # it has a verb: "the clock is green"; else a noun phrase: "a green clock"
    words: frozenset[str]  # in lower case


@dataclass(frozen=True)
class Notes:
    """What a request tells of a photo."""

    captions: tuple[str, ...]
    kinds: tuple[Kind, ...]  # the largest first
    remarks: tuple[Remark, ...]
    text: str  # all of it, in lower case

    @cached_property
    def lone(self) -> tuple[Kind, ...]:
        """Kinds of one thing each, which a definite article points at; those without doubt, if they are enough."""
        lone = tuple(kind for kind in self.kinds if len(kind) == 1)
        sure = tuple(kind for kind in lone if kind.countable or is_plural(kind.name) or is_mass(kind.name))
        return sure if len(sure) >= 6 else lone

    def mentions(self, name: str) -> bool:
        """Tell whether anything speaks of such a thing."""
        return name in self.text


def read_notes(text: str) -> Notes:
    """Return what the last message of a request tells."""
    sections: dict[str, list[str]] = {"captions": [], "objects": [], "regions": []}
    order = iter(sections)
    wanted, current = next(order), ""
    for line in text.splitlines():
        if line == f"{wanted}:":
            current, wanted = wanted, next(order, "")
        elif current and line.strip():
            sections[current].append(line.strip())
    remarks = list(dict.fromkeys(filter(None, map(_remark, sections["regions"]))))
    return Notes(
        tuple(caption for caption in sections["captions"] if _is_usable(caption, 4, 40)),
        _kinds(sections["objects"], remarks, text.lower()),
        tuple(remarks),
        text.lower(),
    )


def _remark(line: str) -> Remark | None:
    match = _OBJECT.fullmatch(line)  # regions of referring_qa have boxes
    text = (match[1] if match else line).strip().rstrip(" .,;:!")
    if not _REMARK.fullmatch(text) or not _is_usable(text, 2, 14) or text.split(" ")[0].lower() in _PRONOUNS:
        return None
    return Remark(text, _CLAUSE.match(text.lower()) is not None, frozenset(text.lower().replace(",", "").split()))


def _is_usable(text: str, fewest: int, most: int) -> bool:
    return text.isascii() and fewest <= len(text.split()) <= most and not _LEAKS.search(text)


def _kinds(lines: list[str], remarks: list[Remark], text: str) -> tuple[Kind, ...]:
    said = set(re.findall(r"[a-z'-]+", text))
    by_name: dict[str, list[Thing]] = defaultdict(list)
    for line in lines:
        match = _OBJECT.fullmatch(line)
        if match is None or not _NAME.fullmatch(match[1]):
            continue
        name = match[1] if match[1].isupper() else match[1].lower()
        if name not in _VAGUE and not _LEAKS.search(name):
            box = Box(*(float(share) for share in match.groups()[2:]))
            by_name[normal_name(name)].append(Thing(name, box, match[2]))
    kinds = []
    for key, things in by_name.items():
        name = things[0].name
        one = len(things) == 1
        is_one = not is_plural(name) and not is_mass(name)
        countable = is_one and plural(key).rsplit(" ", 1)[-1] not in said and not _any_overlap(things)
        colour = _colour(key, remarks) if one else None
        kinds.append(Kind(name, tuple(sorted(things, key=lambda thing: thing.x)), colour, countable))
    return tuple(sorted(kinds, key=lambda kind: -kind.first.area))


def _any_overlap(things: list[Thing]) -> bool:
    """Tell whether two boxes share more than a third of the smaller one: perhaps one thing, noted twice."""
    for k, one in enumerate(things):
        for other in things[:k]:
            width = min(one.box.x2, other.box.x2) - max(one.box.x1, other.box.x1)
            height = min(one.box.y2, other.box.y2) - max(one.box.y1, other.box.y1)
            if width > 0 and height > 0 and width * height > min(one.area, other.area) / 3:
                return True
    return False


def _colour(name: str, remarks: list[Remark]) -> str | None:
    """Return the colour that remarks give a thing; None where they give none, or several."""
    found: set[str] = set()
    either = "|".join(COLOURS)
    before = re.compile(rf"(?<!and )(?<!, )\b({either}) {re.escape(name)}(?= (?:{_ENDS_NAME})\b|,|$)")
    behind = re.compile(rf"^(?:the |a |an )?{re.escape(name)} (?:is|are) ({either})(?: in colou?r)?$")
    for remark in remarks:
        if name.split(" ", 1)[0] in remark.words:
            for pattern in (before, behind):
                found.update("grey" if match == "gray" else match for match in pattern.findall(remark.text.lower()))
    return found.pop() if len(found) == 1 else None
