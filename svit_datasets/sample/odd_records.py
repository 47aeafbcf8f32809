"""Cases of records that look odd and must load, to the letter, under every policy; and of answers known to be bad.

In comes clean material, out come cases. Here belongs what the text of the real files really does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from svit_datasets.sample.broken_records import FILE
from svit_datasets.sample.cases import Case, Material, array, gives

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.sample.corpus import Item

__all__ = ["odd_records"]

POLICIES: tuple[dict[str, str], ...] = ({}, {"on_bad_record": "error"}, {"on_bad_record": "skip"})

BOX_FAULTS = {
    "double-dot": "[0.4., 0.2, 0.6, 0.5]",
    "no-spaces": "[0.1,0.2,0.3,0.4]",
    "minus-sign": "[-0.1, 0.2, 0.3, 0.4]",
    "three-numbers": "[0.1, 0.2, 0.3]",
    "x1-above-x2": "[0.6, 0.2, 0.3, 0.4]",
    "outside": "[0.1, 0.2, 1.3, 0.4]",
    "zero-area": "[0.1, 0.2, 0.1, 0.4]",
}
LEAKS = {
    "caption": "According to the caption, this is a friendly place.",
    "description": "Based on the description, nothing else can be said.",
    "bounding-box": "The bounding box suggests that it stands on the left.",
}
EMPTY = {
    "message-is-empty": "I am sorry, but the message is empty, so there is nothing to write about.",
    "your-message-is-empty": "It looks as if your message is empty. Please send the picture again.",
}


def odd_records(material: Material) -> Iterator[Case]:
    """Return the cases of odd but usable records (traps 6.1 to 6.5, 7.6 to 7.9)."""
    yield from _known_bad(material)
    yield from _leaks(material)
    yield from _markup(material)
    yield from _keys(material)
    yield from _ids(material)
    yield from _letters(material)


def _loads(slug: str, trap: str, what: str, items: list[Any], rows: tuple[list[int], list[int]], **more: Any) -> Case:
    """A case that loads alike under every policy; ``more`` goes into the expectation."""
    inspect, config = more.pop("inspect", {}), more.pop("config", "complex_reasoning")
    outcomes = tuple(gives(*rows, options=options, **more) for options in POLICIES)
    return Case(slug, trap, what, {f"data/{config}.json": array(items)}, outcomes, config=config, inspect=inspect)


def _answer(items: list[Item], value: str, *, block: int = -1) -> list[Item]:
    """Return the items with another last answer in the second one."""
    items[1]["conversations"][block]["content"][1]["value"] = value
    return items


def _known_bad(material: Material) -> Iterator[Case]:
    ids, config = material.ids, "detail_description"
    for slug, answer in EMPTY.items():
        items = _answer(material.items(config), answer)
        items[2]["conversations"][0]["content"][1]["value"] += " The basket at the side is empty."
        dropped = gives([ids[0], ids[2]], [1, 1], counts={"message_is_empty": 1})
        kept = gives(ids, [1, 1, 1], options={"known_bad": "keep"}, texts=[(ids[1], 0, 1, answer)])
        files = {f"data/{config}.json": array(items)}
        yield Case(slug, "6.1", "An answer only says that the message is empty.", files, (dropped, kept), config=config)


def _leaks(material: Material) -> Iterator[Case]:
    ids, config = material.ids, "detail_description"
    for slug, answer in LEAKS.items():
        what = f"An answer betrays its source by the words “{slug.replace('-', ' ')}”."
        items = _answer(material.items(config), answer)
        letters = [(ids[1], 0, 1, answer)]
        rows = ids, [1, 1, 1]
        yield _loads(
            f"leaks-{slug}", "6.2", what, items, rows, config=config, texts=letters, inspect={"mentions_source": 1}
        )


def _markup(material: Material) -> Iterator[Case]:
    faults = [
        (f"box-{slug}", "6.3", f"A box is malformed: {box}.", f"There is a <st>red car<ed> {box}.", "malformed_box")
        for slug, box in BOX_FAULTS.items()
    ]
    bare = "There is a <st>red car<ed> on the road."
    unclosed = "There is a <st>red car [0.1, 0.2, 0.3, 0.4]."
    unopened = "There is a red car<ed> [0.1, 0.2, 0.3, 0.4]."
    faults += [
        ("markup-without-box", "6.4", "A marked phrase has no box.", bare, "markup_without_box"),
        ("markup-not-closed", "6.5", "A mark is opened and not closed.", unclosed, "unbalanced_markup"),
        ("markup-not-opened", "6.5", "A mark is closed and was not opened.", unopened, "unbalanced_markup"),
    ]
    ids, config = material.ids, "referring_qa"
    for slug, trap, what, answer, kind in faults:
        items = _answer(material.items(config), answer)
        letters = [(ids[1], 1, 1, answer)]
        yield _loads(slug, trap, what, items, (ids, [2, 2, 2]), config=config, texts=letters, inspect={kind: 1})


def _keys(material: Material) -> Iterator[Case]:
    ids, even = material.ids, [2, 2, 2]
    items = material.items()
    items[0] |= {"image": "somewhere/else.jpg", "source": {"model": "unknown", "tries": [1, 2]}}
    items[1]["conversations"][0] |= {"score": 0.5}
    items[2]["conversations"][0]["content"][0] |= {"lang": "en"}
    yield _loads("extra-keys", "7.6", "Items, blocks and turns have keys that nobody knows.", items, (ids, even))
    items = [{"conversations": item["conversations"], "image_id": item["image_id"]} for item in material.items()]
    for item in items:
        for block in item["conversations"]:
            block["content"] = [{"value": turn["value"], "from": turn["from"]} for turn in block["content"]]
    yield _loads("other-key-order", "7.6", "Keys stand in another order.", items, (ids, even))
    items = material.items("conversation")
    items[1]["conversations"][0]["topic"] = None
    del items[2]["conversations"][0]["topic"]
    what = "One topic is null and another is absent."
    yield _loads("topic-null", "7.6", what, items, (ids, even), config="conversation")
    first, second, third = material.items()
    again = {"image_id": first["image_id"], "conversations": first["conversations"][1:]}
    first["conversations"] = first["conversations"][:1]
    letters = [(ids[0], 1, 1, again["conversations"][0]["content"][1]["value"])]
    what = "An image comes twice; its blocks belong together at its first place."
    yield _loads("image-twice", "7.6", what, [first, second, again, third], (ids, even), texts=letters)
    items = material.items()
    items[1]["conversations"] = []
    left = [ids[0], ids[2]], [2, 2]
    yield _loads("no-blocks", "7.7", "An item has no blocks, as is normal.", items, left, counts={"empty_record": 1})


def _ids(material: Material) -> Iterator[Case]:
    ids, even = material.ids, [2, 2, 2]
    items = material.items()
    for item in items:
        item["image_id"] = str(item["image_id"])
    yield _loads("text-ids", "7.8", "All image ids are digits in quotes.", items, (ids, even))
    items = material.items()
    items[1]["image_id"] = str(ids[1])
    yield _loads("mixed-ids", "7.8", "Some image ids are numbers, one is digits in quotes.", items, (ids, even))
    items = material.items()
    again = {"image_id": str(ids[0]), "conversations": items[0]["conversations"][1:]}
    items[0]["conversations"] = items[0]["conversations"][:1]
    what = "An image comes as a number and again as digits in quotes: it is the same image."
    yield _loads("image-twice-mixed-ids", "7.8", what, [*items, again], (ids, even))


def _letters(material: Material) -> Iterator[Case]:
    ids, even = material.ids, [2, 2, 2]
    odd = {
        "stray-whitespace": ("7.7", "Text begins and ends with white space.", " \n It is a quiet place.\t \n"),
        "image-token": (
            "7.9",
            "An answer holds <image> as plain text.",
            "Write <image> where the photo goes: <image>.",
        ),
        "mark-tokens": ("7.9", "An answer holds <st> and <ed> in a task without boxes.", "The <st>old<ed> way."),
    }
    for slug, (trap, what, answer) in odd.items():
        yield _loads(slug, trap, what, _answer(material.items(), answer), (ids, even), texts=[(ids[1], 1, 1, answer)])
    aliases = ("User", "GPT", "human", "Assistant", "HUMAN", "gpt")
    items = material.items()
    turns = [turn for item in items for block in item["conversations"] for turn in block["content"]]
    for number, turn in enumerate(turns):
        turn["from"] = aliases[number % len(aliases)]
    yield _loads("other-role-names", "7.7", "Speakers go by all names that derivatives use.", items, (ids, even))
    wide = "“Größe” 猫 \U0001f600 \\ / \u2028 end"
    items = _answer(material.items(), wide)
    yield _escaped(items, ids, wide)


def _escaped(items: list[Item], ids: list[int], wide: str) -> Case:
    r"""The same text as \u escapes, surrogate pairs among them."""
    outcomes = tuple(gives(ids, [2, 2, 2], options=options, texts=[(ids[1], 1, 1, wide)]) for options in POLICIES)
    what = r"Letters beyond ASCII are written as \u escapes, some as surrogate pairs."
    return Case("escaped-letters", "7.7", what, {FILE: json.dumps(items, ensure_ascii=True).encode()}, outcomes)
