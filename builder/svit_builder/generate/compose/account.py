"""Notes in, one long text about the photo out: the whole first, then things and their places, then particulars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_builder.generate.compose.places import spot
from svit_builder.generate.compose.sights import as_sentence, overview, some, told
from svit_builder.generate.compose.thoughts import surroundings
from svit_builder.generate.compose.words import listed, phrase, sentence

if TYPE_CHECKING:
    from random import Random

    from svit_builder.generate.compose.notes import Kind, Notes

__all__ = ["account"]


def account(notes: Notes, rng: Random) -> str:
    """Return one to four paragraphs; never empty."""
    parts = [_whole(notes, rng), _things(notes), _particulars(notes, rng), _setting(notes)]
    return "\n\n".join(part for part in parts if part)


def _whole(notes: Notes, rng: Random) -> str:
    if len(notes.captions) < 2:
        return overview(notes, rng).replace("It shows", "The photo shows", 1)
    return " ".join(map(as_sentence, rng.sample(notes.captions, 2)))


def _things(notes: Notes) -> str:
    """Say where the larger things are, part by part of the view, and which colour they have."""
    by_spot: dict[str, list[Kind]] = {}
    for kind in notes.lone[:12]:
        by_spot.setdefault(spot(kind.first), []).append(kind)
    said = [
        sentence(f"{where}, one sees {listed(_with_colour(kind) for kind in kinds)}")
        for where, kinds in by_spot.items()
    ]
    several = [some(kind) for kind in notes.kinds if len(kind) > 1 and kind.countable][:4]
    if several:
        said.append(sentence(f"there are also {listed(several)}"))
    return " ".join(said)


def _with_colour(kind: Kind) -> str:
    return some(kind) if kind.colour is None else phrase(f"{kind.colour} {kind.name}")


def _particulars(notes: Notes, rng: Random) -> str:
    remarks = [remark for remark in notes.remarks if len(remark.text.split()) > 3]
    chosen = rng.sample(remarks, min(8, len(remarks)))
    clauses = [told(remark.text, is_clause=True) for remark in chosen if remark.is_clause]
    phrases = [phrase(remark.text) for remark in chosen if not remark.is_clause]
    if phrases:
        clauses.append(sentence(f"further particulars are {'; '.join(phrases)}"))
    return " ".join(clauses)


def _setting(notes: Notes) -> str:
    found = surroundings(notes)
    if found is None:
        return ""
    where, shown = found
    verb = "suggest" if len(shown) > 1 or shown[0].are == "are" else "suggests"
    return sentence(f"all in all, {listed(kind.the for kind in shown)} {verb} that the photo was taken {where}")
