"""Five to seven short captions of a scene, as five to seven people would have written them.

In comes a scene, out come sentences, some with a stray blank or newline at the end, as in MS-COCO.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_datasets.sample.conversation import people
from svit_datasets.sample.scene import groups
from svit_datasets.sample.words import a, are, listed, tell

if TYPE_CHECKING:
    from random import Random

    from svit_datasets.sample.scene import Scene

__all__ = ["captions"]


def captions(scene: Scene, rng: Random) -> list[str]:
    """Return five to seven captions of ``scene``."""
    found = [group for group in groups(scene) if group.kind.name != "table"]
    rng.shuffle(found)
    first, second, third, *_ = found
    setting, short = scene.place.setting, scene.place.name
    told = [
        f"{tell(listed([a(first), a(second)]))} in a {short} scene.",
        f"There {are(first)} {a(first)} and also {a(third)}.",
        f"{tell(setting)} with {listed([a(second), a(third)])}.",
        f"A view of {setting}, where {a(third)} can be seen.",
        f"{tell(listed(a(group) for group in found[:4]))}.",
        f"{tell(setting)} {'indoors' if scene.place.indoors else 'in the open'} with several things in it.",
        f"{tell(a(people(scene)[0]))}, and {setting} all around."
        if people(scene)
        else f"Nobody is in this view of {setting}.",
    ]
    kept = rng.sample(told, rng.randint(5, 7))
    return [text + rng.choice(("", "", "", " ", "\n")) for text in kept]
