"""What people wrote of a photo in, what a model is told of it for one task out: three sections that fit a budget.

The text is ``captions:`` (a line each), ``objects:`` (a line each, ``name: [x1, y1, x2, y2]``) and ``regions:`` (a line
each, with its box for referring_qa only). A heading stands alone on its line, an empty section has no other line, an
empty line stands between sections. Boxes are shares of the photo with three decimals, as SVIT writes them. This form is
called "svit-1": whoever changes what stands here gives it another name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from svit_builder.generate.protocol import Context, Object, Region
from svit_datasets.boxes import Box
from svit_datasets.boxes.forms import brackets
from svit_datasets.errors import OptionError
from svit_datasets.tasks import get_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from svit_builder.generate.protocol import Annotated

__all__ = ["SAME", "VERSION", "estimate_tokens", "make_context", "merge_objects", "normal_name"]

VERSION = "svit-1"
SAME = 0.7  # intersection over union from which two boxes of one name are the same thing
_STEP = 0.001  # of the numbers in the text
_WORD = re.compile(r"[A-Z]?[a-z]+")
_FREE = re.compile(r"\s(?=[A-Za-z])")  # white space that belongs to the word behind it
_PLAIN = re.compile(r"[^\w\s]+")


def make_context(
    annotated: Annotated,
    task: str,
    *,
    budget_tokens: int = 6000,
    version: str = VERSION,
    count_tokens: Callable[[str], int] | None = None,
) -> Context:
    """Return what a model is told of a photo.

    Boxes are cut at the photo's border; one that lies wholly outside, or has no area, leaves its object or region out
    and counts as dropped (`open_annotations` gives none). A box narrower than 0.001 is written that wide. Objects that
    `merge_objects` takes for one are one. What is more than the budget is dropped, smallest area first: first objects
    and regions whose name or text a larger one has too; then regions; then objects. Captions stay. The rest keeps its
    order. The result depends on nothing but the arguments. An image of 35 objects and 50 regions takes less than 1 ms.

    Args:
        annotated: the photo's annotations.
        task: conversation, complex_reasoning, detail_description or referring_qa.
        budget_tokens: that the text may have at most. 6,000 leaves room for prompt and reply in a window of 8,192.
        version: of the form; only "svit-1".
        count_tokens: gives the tokens of a text as the model counts them; called once a line. None: `estimate_tokens`.

    Raises:
        OptionError: another task or version; or the budget does not hold the captions.
    """
    if version != VERSION:
        raise OptionError(f"version={version!r} is not known. Known: {VERSION!r}.")
    if get_task(task).form != "svit" or get_task(task).parts:
        raise OptionError(f"task={task!r} is none that answers are made for: it is made of others.")
    objects = [Object(one.name, box) for one in annotated.objects if (box := _written(one.box))]
    regions = [Region(one.text, box) for one in annotated.regions if (box := _written(one.box))]
    merged = merge_objects(objects)
    lines = [f"{one.name}: {_numbers(one.box)}" for one in merged]
    with_boxes = task == "referring_qa"
    said = [f"{one.text}: {_numbers(one.box)}" if with_boxes else one.text for one in regions]
    count = count_tokens or estimate_tokens
    head = "captions:\n" + "".join(f"{caption}\n" for caption in annotated.captions) + "\nobjects:\n\nregions:"
    room = budget_tokens - count(head)
    if room < 0:
        raise OptionError(
            f"Image {annotated.image_id}: a budget of {budget_tokens} tokens does not hold its captions, which take "
            f"{count(head)}. Raise budget_tokens."
        )
    costs = [count(f"{line}\n") for line in (*lines, *said)]
    kept = _fitting(merged, regions, costs, room)
    things = [k for k in range(len(merged)) if k in kept]
    parts = [k for k in range(len(regions)) if k + len(merged) in kept]
    text = "\n".join(
        ["captions:", *annotated.captions, "", "objects:", *(lines[k] for k in things), "", "regions:"]
        + [said[k] for k in parts]
    )
    return Context(
        annotated.image_id,
        task,
        version,
        text,
        tuple(merged[k] for k in things),
        tuple(regions[k] for k in parts),
        annotated.captions,
        merged_objects=len(objects) - len(merged),
        dropped_objects=len(merged) - len(things) + len(annotated.objects) - len(objects),
        dropped_regions=len(annotated.regions) - len(parts),
    )


def merge_objects(objects: Sequence[Object]) -> list[Object]:
    """Return objects without those that are another one again, in their order.

    Two are the same where their names are, by `normal_name`, and their boxes have an intersection over union of 0.7 or
    more. The larger stands for both, as it was written; several may be the same as one. Visual Genome's annotators
    worked one after another, so that many a thing was boxed twice.
    """
    by_name: dict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(objects):
        by_name[normal_name(one.name)].append(number)
    kept: list[int] = []
    for numbers in by_name.values():
        mine: list[int] = []
        for number in sorted(numbers, key=lambda k: -_area(objects[k].box)):
            if all(_overlap(objects[number].box, objects[other].box) < SAME for other in mine):
                mine.append(number)
        kept += mine
    return [objects[number] for number in sorted(kept)]


def normal_name(name: str) -> str:
    """Return a name in lower case, without punctuation, single spaces between its words."""
    plain = name.lower()
    return plain if plain.isalpha() else " ".join(_PLAIN.sub(" ", plain).split())


def estimate_tokens(text: str) -> int:
    """Return how many tokens a text has, or more: never fewer in what contexts are made of.

    Half the letters of a word, rounded up, a capital beginning a new one; one for each digit and mark and for a space
    or line break that no word follows; a byte of UTF-8 for whatever else there is. The tokenizers of GPT-4, GPT-4o,
    Llama 2 and 3, Qwen, Gemma, DeepSeek, Claude and Mistral need less for names and phrases of Visual Genome and COCO,
    and for boxes: see the tests. A made-up word of rare letters may need more; where a limit is hard, count with the
    model's own tokenizer.
    """
    words = _WORD.findall(text)
    return len(text.encode()) - len(_FREE.findall(text)) - sum([len(word) // 2 for word in words])


def _fitting(objects: list[Object], regions: list[Region], costs: list[int], room: int) -> set[int]:
    """Return which of objects and regions stay, by their number in both lists together."""
    kept = set(range(len(costs)))
    over = sum(costs) - room
    if over <= 0:
        return kept
    names = [normal_name(one.name) for one in objects]
    texts = [normal_name(one.text) for one in regions]
    areas = [_area(one.box) for one in objects] + [_area(one.box) for one in regions]
    order = sorted(range(len(costs)), key=lambda k: (areas[k], -k))  # of equals the later goes first
    largest: dict[tuple[bool, str], int] = {}
    keys = [(k < len(names), name) for k, name in enumerate((*names, *texts))]
    for k in order:
        largest[keys[k]] = k
    duplicates = [k for k in order if largest[keys[k]] != k]
    rest = [k for k in order if largest[keys[k]] == k]
    for k in (*duplicates, *(k for k in rest if k >= len(names)), *(k for k in rest if k < len(names))):
        if over <= 0:
            break
        kept.discard(k)
        over -= costs[k]
    return kept


def _written(box: Box) -> Box | None:
    """Return a box with the numbers that stand in the text; None if it is not in the photo or has no area."""
    x1, y1, x2, y2 = (min(max(side, 0.0), 1.0) for side in box)
    if not (x1 < x2 and y1 < y2):
        return None
    (x1, x2), (y1, y2) = _apart(x1, x2), _apart(y1, y2)
    return Box(x1, y1, x2, y2)


def _apart(low: float, high: float) -> tuple[float, float]:
    low, high = round(low, 3), round(high, 3)
    if low < high:
        return low, high
    return (low, round(low + _STEP, 3)) if low < 1.0 else (round(1.0 - _STEP, 3), 1.0)


def _numbers(box: Box) -> str:
    return brackets([box])


def _area(box: Box) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def _overlap(one: Box, other: Box) -> float:
    """Return intersection over union."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(one) + _area(other) - shared)
