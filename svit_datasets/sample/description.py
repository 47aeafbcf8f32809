"""One long text a scene, asked for by one of our instructions, going from the back of the scene to its front.

In comes a scene, out comes one question with its answer; the text names every thing of the scene once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_datasets.sample.scene import groups
from svit_datasets.sample.words import QA, a, listed, spot, tell, the

if TYPE_CHECKING:
    from random import Random

    from svit_datasets.sample.scene import Group, Scene

__all__ = ["INSTRUCTIONS", "depict"]

INSTRUCTIONS = (
    "Tell me everything you notice in this picture.",
    "Walk me through the scene from the back to the front.",
    "Imagine I cannot see the picture: put it into words for me.",
    "Give a thorough account of what is shown here.",
    "What would a careful observer write down about this view?",
    "Please go over this photo thing by thing.",
    "Write a paragraph that lets a painter repeat this scene.",
    "How does this place look? Leave nothing out.",
    "Could you set out in full what the photo contains?",
    "Take your time and report all that can be seen.",
)

LEVELS = {
    "sky": ("In the sky", "Above it all"),
    "wall": ("On the wall", "Behind, on the wall"),
    "water": ("On the water", "Further out on the water"),
    "ground": ("Around the place", "Standing there"),
    "table": ("On the table", "On the table top"),
}
LIGHT = {
    "morning": "The light is soft, as it is in the morning.",
    "midday": "The light is bright and the colours are strong.",
    "evening": "The light is dim and a little violet, as it is in the evening.",
}
CLOSINGS = (
    "The whole has a calm, almost naïve charm.",
    "Nothing seems to be in a hurry.",
    "It is a plain and friendly view.",
    "One could look at it for quite a while.",
)


def depict(scene: Scene, rng: Random) -> QA:
    """Return an instruction and the text that follows it."""
    sentences = [f"The picture shows {scene.place.setting}, with {scene.place.behind} at the back."]
    if not scene.place.indoors:
        sentences.append(LIGHT[scene.light])
    for level, openings in LEVELS.items():
        found = [group for group in groups(scene) if group.first.level == level and group.kind.name != "table"]
        if found:
            sentences.append(f"{rng.choice(openings)} one sees {listed(_placed(group, scene) for group in found)}.")
    if table := next((group for group in groups(scene) if group.kind.name == "table"), None):
        sentences.append(f"{tell(the(table))} fills the lower part of the picture from one side to the other.")
        return _with_end(sentences, rng)
    thing = max(scene.things, key=lambda t: t.box.w * t.box.h)
    largest = next(group for group in groups(scene) if thing in group.things)
    subject = the(largest) if len(largest) == 1 else f"one of {the(largest)}"
    sentences.append(f"Of all that stands, hangs or floats here, {subject} takes the most room.")
    return _with_end(sentences, rng)


def _with_end(sentences: list[str], rng: Random) -> QA:
    return rng.choice(INSTRUCTIONS), " ".join([*sentences, rng.choice(CLOSINGS)])


def _placed(group: Group, scene: Scene) -> str:
    return f"{a(group)} {spot(group.first.box, scene)}" if len(group) == 1 else a(group)
