"""Notes in, questions out that looking answers: what there is, where, how many, of which colour. By topic.

A writer gives as many questions as the notes have ground for. No answer says more than the notes do; where boxes of one
name overlap, nothing is counted.
"""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from svit_builder.generate.compose.knowledge import RARE, sorts_of
from svit_builder.generate.compose.places import apart, relation, spot
from svit_builder.generate.compose.words import QA, article, be, listed, number, phrase, plural, sentence

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from svit_builder.generate.compose.notes import Kind, Notes

__all__ = ["TOPICS", "as_sentence", "overview", "said_of"]


def overview(notes: Notes, rng: Random) -> str:
    """Return a sentence about the whole photo: somebody's own, or what stands out."""
    if notes.captions:
        return as_sentence(rng.choice(notes.captions))
    if notes.kinds:
        return sentence(f"it shows {listed(some(kind) for kind in notes.kinds[:4])}")
    if notes.remarks:
        return told(notes.remarks[0].text, is_clause=notes.remarks[0].is_clause)
    return "Nothing can be named with certainty."


def as_sentence(caption: str) -> str:
    """Return a caption as a sentence; what was typed in capitals only is put right."""
    return sentence(caption.lower() if caption.isupper() else caption)


def some(kind: Kind) -> str:
    """Return a kind as it is first spoken of: "a clock", "three cars", "some windows"."""
    if len(kind) == 1:
        return article(kind.name)
    return f"{number(len(kind))} {plural(kind.name)}" if kind.countable else article(kind.name)


def told(text: str, *, is_clause: bool) -> str:
    """Return a remark as a sentence."""
    words = phrase(text)
    return sentence(words if is_clause else f"there {_be_there(words)} {words}")


def _be_there(words: str) -> str:
    """Return the verb for a phrase that stands behind "there": by its article, else by its first noun."""
    if words.startswith(("a ", "an ", "one ", "another ")):
        return "is"
    head = re.split(r" (?:on|in|with|of) ", words, maxsplit=1)[0]
    return "are" if " and " in head else be(head)


def said_of(kind: Kind, notes: Notes) -> list[str]:
    """Return the remarks that begin with the name of a kind, as sentences."""
    name = kind.name.lower()
    begins = (f"{name} ", f"the {name} ", f"a {name} ", f"an {name} ")
    return [told(r.text, is_clause=r.is_clause) for r in notes.remarks if r.text.lower().startswith(begins)]


def _things(notes: Notes, rng: Random) -> list[QA]:
    kinds = list(notes.kinds)
    if not kinds:
        return []
    qas = [(rng.choice(("What is to be seen here?", "What does the photo show?")), overview(notes, rng))]
    others = kinds[4:8] or kinds
    qas.append(("Which other things can be made out?", sentence(f"one can make out {listed(map(some, others))}")))
    shown = rng.choice(notes.lone or kinds)
    if len(shown) == 1:
        question = f"{'Are' if shown.are == 'are' else 'Is'} there {article(shown.name)}?"
        qas.append((question, sentence(f"yes, {shown.the} {shown.are} {spot(shown.first)}")))
    absent = [name for name in RARE if not notes.mentions(name)]
    if absent:
        name = rng.choice(absent)
        qas.append((f"Can you see {article(name)} as well?", sentence(f"no, there is no {name} here")))
    big = kinds[0]
    if len(kinds) > 1 and big.first.area > 1.2 * kinds[1].first.area:
        qas.append(("What takes up the most room in the view?", sentence(f"{_one_of(big)} {_does(big)}")))
    for sort, question in (
        ("person", "Is anybody there?"),
        ("animal", "Are there animals?"),
        ("plant", "Does anything grow here?"),
        ("vehicle", "Is there anything to drive?"),
        ("seat", "Is there somewhere to sit?"),
    ):
        found = [kind for kind in kinds if sort in sorts_of(kind.name)]
        if found:
            qas.append((question, sentence(f"yes, there {found[0].are} {listed(map(some, found[:3]))}")))
    return qas


def _one_of(kind: Kind) -> str:
    return f"one of {kind.the}" if kind.countable and len(kind) > 1 else kind.the


def _does(kind: Kind) -> str:
    return "do" if kind.are == "are" and len(kind) == 1 else "does"


def _where(notes: Notes, rng: Random) -> list[QA]:
    lone = list(notes.lone)
    rng.shuffle(lone)
    qas = [(f"Where {k.are} {k.the}?", sentence(f"{k.the} {k.are} {spot(k.first)}")) for k in lone[:5]]
    for one, other in pairwise(lone):
        how = relation(one.first, other.first)
        if how in ("to the left of", "to the right of"):
            question = f"On which side of {other.the} {one.are} {one.the}?"
            qas.append((question, sentence(f"{one.the} {one.are} {how} {other.the}")))
        elif how is not None:
            question = f"Which is higher up in the view, {one.the} or {other.the}?"
            high = one if how == "higher up than" else other
            qas.append((question, sentence(f"{high.the} {high.are} higher up")))
    if len(lone) > 2:
        row = sorted(lone, key=lambda kind: kind.first.x)
        qas.append(("Of what is there only once, what is furthest to the left?", _that(row[0])))
        qas.append(("And what is furthest to the right?", _that(row[-1])))
    return qas


def _that(kind: Kind) -> str:
    return sentence(f"that {kind.are} {kind.the}")


def _numbers(notes: Notes, rng: Random) -> list[QA]:
    counted = [kind for kind in notes.kinds if kind.countable]
    usual = [kind for kind in counted if len(kind) > 1 or sorts_of(kind.name)]
    counted = usual if len(usual) > 4 else counted
    rng.shuffle(counted)
    counted.sort(key=lambda kind: len(kind) == 1)  # the more interesting first
    qas = []
    for kind in counted[:9]:
        many = plural(kind.name)
        noun = kind.name if len(kind) == 1 else many
        answer = rng.choice((f"there {kind.are} {number(len(kind))} {noun}", f"{number(len(kind))} {noun} can be seen"))
        qas.append((f"How many {many} are there?", sentence(answer)))
    several = [kind for kind in counted if len(kind) > 1]
    for one, other in combinations(several[:3], 2):
        if len(one) != len(other):
            fewer, more = sorted((one, other), key=len)
            question = f"Are there more {plural(one.name)} or more {plural(other.name)}?"
            answer = f"there are more {plural(more.name)}: {number(len(more))} against {number(len(fewer))}"
            qas.append((question, sentence(answer)))
    for kind in several[:2]:
        left = sum(thing.x < 0.5 for thing in kind.things)
        question = f"How many of the {plural(kind.name)} are in the left half?"
        qas.append((question, sentence(f"{number(left) if left else 'none'} of them {'is' if left == 1 else 'are'}")))
    return qas


def _colours(notes: Notes, rng: Random) -> list[QA]:
    coloured = [kind for kind in notes.kinds if kind.colour]
    rng.shuffle(coloured)
    qas = [(f"What colour {k.are} {k.the}?", sentence(f"{k.the} {k.are} {k.colour}")) for k in coloured[:6]]
    for one, other in pairwise(coloured[:4]):
        question = f"Are {one.the} and {other.the} of the same colour?"
        if one.colour == other.colour:
            qas.append((question, sentence(f"yes, both are {one.colour}")))
        else:
            answer = f"no, {one.the} {one.are} {one.colour} and {other.the} {other.are} {other.colour}"
            qas.append((question, sentence(answer)))
    if coloured:
        colour = coloured[-1].colour
        same = [kind for kind in coloured if kind.colour == colour]
        answer = f"{listed(kind.the for kind in same)} {same[0].are if len(same) == 1 else 'are'} {colour}"
        qas.append((f"Can you name something {colour}?", sentence(answer)))
    return qas


def _details(notes: Notes, rng: Random) -> list[QA]:
    qas: list[QA] = []
    for kind in notes.lone:
        said = said_of(kind, notes)
        if said:
            qas.append((f"What is worth knowing about {kind.the}?", rng.choice(said)))
    rest = [remark for remark in notes.remarks if len(remark.text.split()) > 3]
    rng.shuffle(rest)
    asked = (
        "Which detail would one easily overlook?",
        "What else is there to notice?",
        "Can you name one more particular?",
        "What could be added to that?",
        "And what besides?",
    )
    used = {answer for _, answer in qas}
    new = [text for remark in rest if (text := told(remark.text, is_clause=remark.is_clause)) not in used]
    rng.shuffle(qas)
    return qas[:4] + list(zip(asked, new, strict=False))


def _sizes(notes: Notes, rng: Random) -> list[QA]:
    lone = list(notes.lone)
    rng.shuffle(lone)
    qas = []
    for one, other in pairwise(lone[:8]):
        big, small = (one, other) if one.first.area > other.first.area else (other, one)
        if big.first.area > 1.5 * small.first.area:
            question = f"Which fills more of the view, {one.the} or {other.the}?"
            qas.append((question, sentence(f"{big.the} {_does(big)}")))
    for kind in lone[:3]:
        share = kind.first.area
        question = f"Does one have to look closely to find {kind.the}?"
        if share < 0.02:
            it = "they take" if kind.are == "are" else "it takes"
            qas.append((question, sentence(f"yes, {it} up only a small part of the view")))
        elif share > 0.2:
            qas.append(
                (question, sentence(f"no, {kind.the} {'fill' if kind.are == 'are' else 'fills'} much of the view"))
            )
    for one, other in pairwise(lone[:6]):
        if apart(one.first, other.first) or apart(other.first, one.first):
            left = one if one.first.x < other.first.x else other
            question = f"Which of the two is further left, {other.the} or {one.the}?"
            qas.append((question, sentence(f"{left.the} {left.are} further left")))
    return qas


TOPICS: dict[str, Callable[[Notes, Random], list[QA]]] = {
    "What there is": _things,
    "Where things are": _where,
    "Numbers of things": _numbers,
    "Colours": _colours,
    "Particulars": _details,
    "Comparing things": _sizes,
}
