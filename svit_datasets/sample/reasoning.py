"""Questions that need a thought: up to fifteen a scene, each answer a conclusion with the fact it rests on.

In comes a scene, out come questions with answers. A writer returns nothing when the scene gives its question no ground.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_datasets.sample.conversation import people
from svit_datasets.sample.scene import groups
from svit_datasets.sample.words import QA, a, are, be, listed, nearer, number, single, tell, the

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from svit_datasets.sample.scene import Group, Scene

__all__ = ["reasonings"]


def reasonings(scene: Scene, rng: Random) -> list[QA]:
    """Return ten to fifteen questions with answers, or fewer if the scene has not so many to give."""
    found = [qa for write in WRITERS for qa in write(scene, rng)]
    rng.shuffle(found)
    return found[: rng.randint(10, 15)]


def _with(scene: Scene, trait: str) -> list[Group]:
    return [group for group in groups(scene) if trait in group.kind and group.kind.name != "table"]


def _daytime(scene: Scene, _: Random) -> list[QA]:
    if scene.place.indoors:
        return []
    why = {
        "morning": "the sky fades into a warm, pale tone near the horizon while the air above is already light, "
        "which fits the morning hours",
        "midday": "the sky is a strong, clear blue and everything is brightly lit, which fits the middle of the day",
        "evening": "the sky turns from violet to a rosy orange and the colours of the land are dimmed, "
        "which fits the evening",
    }[scene.light]
    return [("Which time of day does the light suggest, and why?", f"Look at the sky first: {why}.")]


def _season(scene: Scene, _: Random) -> list[QA]:
    question = "What can be said about the temperature here?"
    answers = {
        "snow field": "Snow covers the ground and does not melt at once, so it must be about freezing or colder.",
        "beach": "A beach with playthings is mostly visited when it is warm, so it is probably mild or hot.",
    }
    return [(question, answers[scene.place.name])] if scene.place.name in answers else []


def _nearest(scene: Scene, _: Random) -> list[QA]:
    order = nearer([group.first for group in single(scene)], scene.height)
    if not order:
        return []
    by_thing = {group.first: group for group in single(scene)}
    near, far = by_thing[order[0]], by_thing[order[-1]]
    question = f"Which is closer to the viewer, {the(far)} or {the(near)}?"
    answer = (
        f"{tell(the(near))} is closer. Both stand on the same level surface, and what stands lower in the picture "
        f"is nearer; {the(far)} stands higher up and so further away."
    )
    return [(question, answer)]


def _sit(scene: Scene, _: Random) -> list[QA]:
    seats, folk = _with(scene, "seat"), people(scene)
    who = tell(the(folk[0])) if folk else "A tired visitor"
    if seats:
        such = "it is" if len(seats[0]) == 1 else "they are"
        answer = f"{who} could sit on {the(seats[0])}, because {such} made for that."
    else:
        answer = (
            f"There is no seat in sight, so {who[0].lower() + who[1:]} would have to stay standing or look elsewhere."
        )
    return [("Where could somebody with tired legs sit down?", answer)]


def _wind(scene: Scene, _: Random) -> list[QA]:
    moved = _with(scene, "wind")
    if not moved:
        return []
    first = moved[0]
    question = "What would change first if a strong wind came up?"
    answer = (
        f"{tell(the(first))} would move first, since {'it offers' if len(first) == 1 else 'they offer'} "
        "the air a large surface."
    )
    return [(question, answer)]


def _alive(scene: Scene, _: Random) -> list[QA]:
    grown, made = _with(scene, "alive"), _with(scene, "made")
    if not grown or not made:
        return []
    question = "Which things here are alive, and which were made by people?"
    answer = (
        f"Alive {be(sum(map(len, grown)))} {listed(map(the, grown))}, because they eat or grow. "
        f"{tell(listed(map(the, made)))} {be(sum(map(len, made)))} the work of people."
    )
    return [(question, answer)]


def _roll(scene: Scene, _: Random) -> list[QA]:
    round_ones = _with(scene, "rolls")
    if not round_ones:
        return []
    question = "If the ground were tilted, what could start to roll?"
    answer = (
        f"{tell(listed(map(the, round_ones)))} could, because a round shape or wheels let "
        f"{'it' if sum(map(len, round_ones)) == 1 else 'them'} move easily."
    )
    return [(question, answer)]


def _noise(scene: Scene, _: Random) -> list[QA]:
    motors, beasts = _with(scene, "motor"), _with(scene, "animal")
    if motors:
        answer = f"There may be the sound of an engine, because {the(motors[0])} {are(motors[0])} here."
    elif beasts:
        answer = f"Hardly. No engine is in sight, and at most an animal may be heard, such as {the(beasts[0])}."
    else:
        answer = "It is probably quiet: neither an engine nor an animal is in sight."
    return [("Is this likely to be a noisy place at this moment?", answer)]


def _carry(scene: Scene, _: Random) -> list[QA]:
    light = [group for group in _with(scene, "hand") if group.first.level != "sky"]
    if not light:
        return []
    question = "What could a child carry away in one hand?"
    answer = (
        f"{tell(listed((the(g) if len(g) == 1 else 'one of ' + the(g) for g in light), 'or'))} would do, "
        "being small and light enough."
    )
    return [(question, answer)]


def _feed(scene: Scene, _: Random) -> list[QA]:
    beasts = _with(scene, "animal")
    if not beasts:
        return []
    one = sum(map(len, beasts)) == 1
    question = "Who needs to be cared for here, and how?"
    answer = (
        f"{tell(listed(map(the, beasts)))} {be(1 if one else 2)} in need of food, water and some shelter, "
        "as every animal that lives with people is."
    )
    return [(question, answer)]


def _remain(scene: Scene, _: Random) -> list[QA]:
    qas = []
    for group in groups(scene):
        if len(group) > 1 and group.kind.traits & {"food", "animal", "hand"} and "sky" not in group.kind:
            left = len(group) - 1
            verb = "is eaten" if "food" in group.kind else "walks away" if "animal" in group.kind else "is taken away"
            rest = group.kind.name if left == 1 else group.kind.plural
            answer = (
                f"There are {number(len(group))} now, and {number(len(group))} less one is {number(left)}: "
                f"{number(left)} {group.colour} {rest} would remain."
            )
            qas.append((f"If one of {the(group)} {verb}, how many remain?", answer))
    return qas


def _walk(scene: Scene, _: Random) -> list[QA]:
    row = sorted(single(scene), key=lambda group: group.first.box.middle)
    if len(row) < 3:
        return []
    names = [the(group) for group in row]
    return [
        (
            "Moving the eye from left to right, in which order does one meet the things that occur only once?",
            f"Ordered by their centres one meets first {names[0]}, then {listed(names[1:])}.",
        )
    ]


def _tallest(scene: Scene, _: Random) -> list[QA]:
    order = sorted(scene.things, key=lambda thing: -thing.box.h)
    top = next(group for group in groups(scene) if order[0] in group.things)
    if order[0].box.h < order[1].box.h * 1.1 or order[0].level == "table":
        return []
    subject = the(top) if len(top) == 1 else f"one of {the(top)}"
    question = "What takes up the most height in the picture, and does that make it the tallest in reality?"
    answer = (
        f"{tell(subject)} takes up the most height. "
        "That alone proves nothing, since near things look larger than far ones."
    )
    return [(question, answer)]


def _night(scene: Scene, _: Random) -> list[QA]:
    lamps = _with(scene, "light")
    answer = (
        f"{tell(the(lamps[0]))} would give light, because that is what such lamps are for."
        if lamps
        else "None of the things here is a lamp, so one would have to bring a torch."
    )
    return [("What would help to see something here after dark?", answer)]


def _missing_people(scene: Scene, _: Random) -> list[QA]:
    folk, made = people(scene), _with(scene, "made")
    if folk or not made:
        return []
    question = "Nobody is to be seen. How can one still tell that people come here?"
    answer = (
        f"{tell(the(made[0]))} {are(made[0])} made by people and did not get here alone, "
        "so somebody must have been around."
    )
    return [(question, answer)]


def _company(scene: Scene, _: Random) -> list[QA]:
    folk = people(scene)
    heads = sum(map(len, folk))
    if not heads:
        return []
    if heads == 1:
        answer = f"Only {the(folk[0])} is in sight, so at least in this view there is no company."
    else:
        answer = f"There are {number(heads)} people in sight, {listed(map(the, folk))}, so nobody has to be alone."
    return [("Is anyone here on their own?", answer)]


def _visit(scene: Scene, _: Random) -> list[QA]:
    return [
        (
            "What should one bear in mind before spending an hour here?",
            f"The scene is {scene.place.setting}. {scene.place.visit}",
        )
    ]


def _choice(scene: Scene, rng: Random) -> list[QA]:
    useful = [group for group in groups(scene) if group.kind.use and group.kind.name != "table"]
    wanted = rng.sample(useful, min(5, len(useful)))
    return [
        (
            f"Someone wants to {group.kind.use}. What here would help?",
            f"{tell(the(group))} would help; this is just what {group.kind.plural} allow.",
        )
        for group in wanted
        if [g.kind.use for g in groups(scene)].count(group.kind.use) == 1
    ]


def _repaint(scene: Scene, _: Random) -> list[QA]:
    qas = []
    for group in groups(scene):
        others = [g for g in groups(scene) if g.kind is group.kind and g != group]
        if others and "made" in group.kind:
            n = sum(map(len, others))
            qas.append(
                (
                    f"How many {group.kind.plural} would have to be repainted so that all of them are {group.colour}?",
                    f"{tell(listed(map(a, others)))} {be(n)} of another colour, so that makes {number(n)}.",
                )
            )
    return qas[:1]


def _risk(scene: Scene, _: Random) -> list[QA]:
    reasons = {
        "street": "No. There is a road in front, and a ball that rolls onto it can lead a child before a car.",
        "lake": "Only with an adult nearby, because open water is close to the shore.",
        "beach": "Yes, sand is soft to fall on, though someone should watch because the sea is near.",
        "kitchen": "Hardly, since things that break easily stand about where people prepare food.",
    }
    plain = "Yes, there is room and neither a road nor open water, so little can go wrong."
    return [("Would this be a good place for a small child to play ball?", reasons.get(scene.place.name, plain))]


WRITERS: tuple[Callable[[Scene, Random], list[QA]], ...] = (
    _daytime, _season, _nearest, _sit, _wind, _alive, _roll, _noise, _carry, _feed, _remain, _walk, _tallest, _night,
    _missing_people, _company, _visit, _choice, _repaint, _risk,
)  # fmt: skip
