"""Notes in, questions out that need a thought: what is there, what everybody knows of it, and what follows.

The writers here rest on sorts of things (a chair is to sit on), those of `views` on places alone. Conclusions that are
likely and not certain say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_builder.generate.compose.knowledge import sorts_of
from svit_builder.generate.compose.sights import some
from svit_builder.generate.compose.views import views
from svit_builder.generate.compose.words import QA, listed, tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from svit_builder.generate.compose.notes import Kind, Notes

__all__ = ["surroundings", "thoughts"]


def thoughts(notes: Notes, rng: Random) -> list[QA]:
    """Return questions with answers, those that rest on what things are before those that rest on places alone."""
    known = [qa for write in _WRITERS for qa in write(notes, rng)]
    rng.shuffle(known)
    return known + views(notes, rng)


def _of(notes: Notes, sort: str) -> list[Kind]:
    return [kind for kind in notes.kinds if sort in sorts_of(kind.name)][:3]


def _all(kinds: list[Kind]) -> str:
    return listed(kind.the for kind in kinds)


def _do(kinds: list[Kind], many: str, one: str) -> str:
    return many if len(kinds) > 1 or kinds[0].are == "are" else one


def surroundings(notes: Notes) -> tuple[str, list[Kind]] | None:
    """Return "outdoors" or "indoors" with what shows it; None where nothing or both are shown."""
    out, inside = _of(notes, "open_air"), _of(notes, "indoor")
    if bool(out) == bool(inside):
        return None
    return ("outdoors", out) if out else ("indoors", inside)


def _setting(notes: Notes, _: Random) -> list[QA]:
    found = surroundings(notes)
    if found is None:
        return []
    where, shown = found
    usual = "belong to the open air" if where == "outdoors" else "are found inside buildings"
    answer = f"{tell(_all(shown))} can be seen. Such things {usual}, so the photo was most likely taken {where}."
    return [("Was this photo taken indoors or outdoors, and what tells?", answer)]


def _rest(notes: Notes, _: Random) -> list[QA]:
    seats = _of(notes, "seat")
    if not seats:
        return []
    answer = (
        f"{tell(_all(seats))} {_do(seats, 'are', 'is')} here, and seats are made for resting. "
        f"So a tired person could sit down there, if nobody else needs {_do(seats, 'them', 'it')}."
    )
    return [("Where could a tired person rest, and why there?", answer)]


def _power(notes: Notes, _: Random) -> list[QA]:
    found = _of(notes, "powered")
    if not found:
        return []
    answer = (
        f"{tell(_all(found))} {_do(found, 'need', 'needs')} electricity to work. Without it, and without a battery, "
        f"{_do(found, 'they', 'it')} would stop, while things that need none would stay as they are."
    )
    return [("What here would stop working if the power failed?", answer)]


def _dark(notes: Notes, _: Random) -> list[QA]:
    lamps = _of(notes, "lamp")
    if not lamps:
        return []
    answer = f"Lamps are there to give light. So {_all(lamps)} would probably help, once switched on."
    return [("What would help one to see here after dark?", answer)]


def _care(notes: Notes, _: Random) -> list[QA]:
    found = _of(notes, "fragile")
    if not found:
        return []
    answer = (
        f"{tell(_all(found))} may be made of glass or china, which breaks when it falls. So it is best to handle "
        f"{_do(found, 'them', 'it')} with care."
    )
    return [("What should be handled with care when tidying up here?", answer)]


def _hunger(notes: Notes, _: Random) -> list[QA]:
    found = _of(notes, "food")
    if not found:
        return []
    answer = (
        f"{tell(_all(found))} {_do(found, 'are', 'is')} food, and hunger is stilled by eating. So "
        f"{_do(found, 'these', 'this')} would be the thing to ask for."
    )
    return [("What here would a hungry guest look at first?", answer)]


def _beasts(notes: Notes, _: Random) -> list[QA]:
    found = _of(notes, "animal")
    if not found:
        return []
    them = _do(found, "them", "it")
    answer = (
        f"{tell(_all(found))} {_do(found, 'are alive', 'is alive')}, and every animal needs food, water and rest. So "
        f"somebody or nature itself has to provide {them} with these."
    )
    calm = f"A sudden noise often frightens animals. {tell(_all(found))} would therefore probably look up or move away."
    return [
        (f"What {_do(found, 'do', 'does')} {_all(found)} need to stay well?", answer),
        ("What might happen if there were a sudden loud noise?", calm),
    ]


def _plants(notes: Notes, _: Random) -> list[QA]:
    found = _of(notes, "plant")
    if not found:
        return []
    answer = (
        f"Plants live on water and light. Without rain or watering for weeks, {_all(found)} would probably dry out and "
        "lose colour."
    )
    return [("What would a long drought do to what grows here?", answer)]


def _wheels(notes: Notes, _: Random) -> list[QA]:
    found = _of(notes, "vehicle") + _of(notes, "cycle")
    if not found:
        return []
    power = "an engine" if "vehicle" in sorts_of(found[0].name) else "the legs of a rider"
    answer = (
        f"{tell(found[0].the)} {found[0].are} made to move people or goods. What moves "
        f"{'them' if found[0].are == 'are' else 'it'} is usually {power}, so one would start with that."
    )
    qas = [(f"How could {found[0].the} get from here to another place?", answer)]
    people = _of(notes, "person")
    if people and "vehicle" in sorts_of(found[0].name):
        careful = (
            f"{tell(some(people[0]))} and {some(found[0])} can be seen. Vehicles are heavy and may start to move, so "
            "whoever is on foot should look both ways, and whoever drives should go slowly."
        )
        qas.append(("Why is some caution in order here?", careful))
    return qas


def _folk(notes: Notes, _: Random) -> list[QA]:
    found, worn = _of(notes, "person"), _of(notes, "worn")
    made = _of(notes, "made")
    qas = []
    if found and worn:
        answer = (
            f"{tell(_all(worn))} can be seen. Clothing covers the body, keeps it warm and often shields it from sun or "
            "dirt, so it is of use to whoever wears it."
        )
        qas.append(("What purpose does the clothing in the photo serve?", answer))
    if (
        made
        and not found
        and not notes.mentions("man")
        and not notes.mentions("person")
        and not notes.mentions("people")
    ):
        answer = (
            f"{tell(_all(made))} {_do(made, 'are', 'is')} the work of people and did not get here without them. So "
            "people have been here, or still are, outside of what the photo shows."
        )
        qas.append(("What tells that people come to this place?", answer))
    return qas


def _weather(notes: Notes, _: Random) -> list[QA]:
    qas = []
    moved = _of(notes, "wind")
    if moved:
        answer = (
            f"Light things with a large surface are moved first. So {_all(moved)} would probably show the wind before "
            "anything heavy does."
        )
        qas.append(("By what would one notice that a wind comes up?", answer))
    if any(kind.name in ("snow", "ice") for kind in notes.kinds):
        cold = "Snow and ice only stay where it is about freezing. So warm clothes would be a good choice here."
        qas.append(("How should one dress for this place?", cold))
    return qas


def _uses(notes: Notes, _: Random) -> list[QA]:
    qas = []
    for sort, question, tail in (
        (
            "clock",
            "How could one learn what time it is without asking anybody?",
            "shows the hours to all who look at it",
        ),
        ("holder", "What would serve somebody who has many small things to carry?", "is made to keep things together"),
        ("way_in", "How would one get from here to what lies behind?", "is there to be passed through"),
        ("glazed", "How may daylight get through a wall here?", "lets light through while keeping wind out"),
        ("reading", "What here is meant to be read or looked up?", "bears words or pictures for that purpose"),
        ("round", "What would roll away on a slope?", "is round, and round things roll easily"),
        ("table", "Where could one put something down within reach of the hands?", "offers a flat top at that height"),
        ("boat", "How could one cross water from here?", "floats and is made for that"),
        ("flyer", "What here is able to leave the ground?", "has wings or rotors that lift it"),
    ):
        found = _of(notes, sort)
        if found:
            one = f"one of {found[0].the}" if found[0].are == "are" else found[0].the
            answer = f"{tell(one)} would do, because such a thing {tail}."
            qas.append((question, answer))
    return qas


_WRITERS: tuple[Callable[[Notes, Random], list[QA]], ...] = (
    _setting, _rest, _power, _dark, _care, _hunger, _beasts, _plants, _wheels, _folk, _weather, _uses,
)  # fmt: skip
