"""Questions whose things carry boxes: up to ten a scene, in the markup ``<st>phrase<ed> [x1, y1, x2, y2]``.

Boxes are shares of the picture's own width and height with three decimals; a bare 0 or 1 stands at the border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svit_datasets.sample.conversation import people
from svit_datasets.sample.scene import groups
from svit_datasets.sample.words import QA, are, be, listed, name, nearer, single, spot, tell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from svit_datasets.sample.scene import Box, Group, Scene

__all__ = ["mark", "referrings"]


def referrings(scene: Scene, rng: Random) -> list[QA]:
    """Return up to ten questions with answers; the answers, and some questions, carry boxes."""
    found = [*_by_group(scene, rng), *_by_pair(scene, rng), *_by_trait(scene), *_by_side(scene), *_by_distance(scene)]
    rng.shuffle(found)
    return found[:10]


def mark(group: Group, scene: Scene) -> str:
    """Return the group's name in markup, followed by the box of each of its things from left to right."""
    boxes = ", ".join(f"[{', '.join(corners(thing.box, scene))}]" for thing in group.things)
    return f"<st>{name(group)}<ed> {boxes}"


def corners(box: Box, scene: Scene) -> list[str]:
    """Return x1, y1, x2, y2 as written in the markup."""
    shares = (box.x / scene.width, box.y / scene.height, box.right / scene.width, box.bottom / scene.height)
    return [{"0.000": "0", "1.000": "1"}.get(text := f"{share:.3f}", text) for share in shares]


def _marks(found: Sequence[Group], scene: Scene) -> str:
    return listed(mark(group, scene) for group in found)


def _by_group(scene: Scene, rng: Random) -> list[QA]:
    chosen = rng.sample(groups(scene), min(3, len(groups(scene))))
    qas = []
    for group in chosen:
        there = {"sky": "up in the sky", "wall": "on the wall", "water": "out on the water"}.get(group.first.level)
        place = there or (f"{spot(group.first.box, scene)} of the picture" if len(group) == 1 else "in the picture")
        qas.append((f"Where {are(group)} the {name(group)}?", f"The {mark(group, scene)} {are(group)} {place}."))
    return qas


def _by_pair(scene: Scene, rng: Random) -> list[QA]:
    lone = single(scene)
    rng.shuffle(lone)
    qas = []
    for one, other in zip(lone[::2], lone[1::2], strict=False):
        left, right = sorted((one, other), key=lambda group: group.first.box.x)
        if left.first.box.right <= right.first.box.x:
            qas.append(
                (
                    f"Which of the two is further left, the {name(one)} or the {name(other)}?",
                    f"The {mark(left, scene)} is further left than the {mark(right, scene)}.",
                )
            )
            qas.append(
                (
                    f"Is the {mark(right, scene)} to the right of the {mark(left, scene)}?",
                    f"Yes, the {name(right)} is to the right of the {name(left)}.",
                )
            )
    return qas[:4]


def _by_trait(scene: Scene) -> list[QA]:
    questions = {
        "animal": "Which animals are here?",
        "seat": "Where could one sit?",
        "plant": "What grows here?",
        "food": "What is there to eat?",
        "motor": "Which vehicles can be seen?",
        "wind": "What could the wind set in motion?",
    }
    qas = []
    for trait, question in questions.items():
        found = [group for group in groups(scene) if trait in group.kind]
        if found:
            qas.append((question, f"Here {be(sum(map(len, found)))} the {_marks(found, scene)}."))
    folk = people(scene)
    if folk:
        qas.append(("Who is in the picture?", f"One can see the {_marks(folk, scene)}."))
    return qas


def _by_side(scene: Scene) -> list[QA]:
    qas = []
    for side in ("left", "right"):
        found = [group for group in single(scene) if spot(group.first.box, scene) == f"on the {side}"]
        if found:
            qas.append(
                (f"What stands out on the {side} side?", f"On the {side} one notices the {_marks(found[:3], scene)}.")
            )
    return qas


def _by_distance(scene: Scene) -> list[QA]:
    lone = {group.first: group for group in single(scene)}
    order = nearer(list(lone), scene.height)
    if not order:
        return []
    near, far = lone[order[0]], lone[order[-1]]
    answer = f"The {mark(near, scene)} is nearer than the {mark(far, scene)}, because it stands lower in the picture."
    return [(f"{tell(name(near))} or {name(far)}: which is nearer to the viewer?", answer)]
