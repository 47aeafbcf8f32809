"""Cases of records that cannot be used: one flaw each, in the second of three items.

In comes clean material, out come cases. A flaw in a block costs that block, a flaw in an item costs the item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svit_datasets.sample.cases import Case, Material, array, fails, gives, offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svit_datasets.sample.corpus import Item

__all__ = ["FILE", "broken_records"]

FILE = "data/complex_reasoning.json"


def _turns(change: Callable[[Item, Item], list[Any]]) -> Callable[[Item], Item]:
    """Make a change of a block out of a change of its question and answer."""
    return lambda block: {**block, "content": change(*block["content"])}


def _without(turn: Item, key: str) -> Item:
    return {name: value for name, value in turn.items() if name != key}


BLOCK_FLAWS: tuple[tuple[str, str, str, Callable[[Any], Any]], ...] = (
    ("empty-content", "empty_content", "A block has no turns.", lambda block: {**block, "content": []}),
    ("odd-turns", "odd_turns", "A block ends with a question.", _turns(lambda q, _: [q])),
    ("odd-turns-later", "odd_turns", "A second question has no answer.", _turns(lambda q, a: [q, a, q])),
    ("leading-answer", "leading_answer", "A block begins with an answer.", _turns(lambda q, a: [a, q, a])),
    ("two-questions", "repeated_role", "Two user turns follow one another.", _turns(lambda q, a: [q, q, a])),
    ("two-answers", "repeated_role", "Two gpt turns follow one another.", _turns(lambda q, a: [q, a, a])),
    ("unknown-role", "unknown_role", "A turn is from a narrator.", _turns(lambda q, a: [q, {**a, "from": "narrator"}])),
    ("null-text", "blank_text", "An answer is null.", _turns(lambda q, a: [q, {**a, "value": None}])),
    ("empty-text", "blank_text", "An answer is the empty text.", _turns(lambda q, a: [q, {**a, "value": ""}])),
    ("blank-text", "blank_text", "A question is white space only.", _turns(lambda q, a: [{**q, "value": " \n\t"}, a])),
    ("number-text", "not_text", "An answer is a number.", _turns(lambda q, a: [q, {**a, "value": 7}])),
    ("list-text", "not_text", "An answer is a list of texts.", _turns(lambda q, a: [q, {**a, "value": ["Yes."]}])),
    ("no-content", "missing_key", "A block has no content.", lambda block: _without(block, "content")),
    ("no-from", "missing_key", "A turn does not say who speaks.", _turns(lambda q, a: [_without(q, "from"), a])),
    ("no-value", "missing_key", "A turn has no text.", _turns(lambda q, a: [q, _without(a, "value")])),
    ("block-is-text", "wrong_type", "A text stands where a block should.", lambda _: "What is this?"),
    ("content-is-object", "wrong_type", "content is an object, not a list.", lambda block: {**block, "content": {}}),
    ("turn-is-text", "wrong_type", "A text stands where a turn should.", _turns(lambda q, _: [q, "Yes."])),
)
ITEM_FLAWS: tuple[tuple[str, str, str, Callable[[Any], Any]], ...] = (
    ("no-image-id", "bad_image_id", "An item has no image_id.", lambda item: _without(item, "image_id")),
    ("true-image-id", "bad_image_id", "An image_id is true.", lambda item: {**item, "image_id": True}),
    ("null-image-id", "bad_image_id", "An image_id is null.", lambda item: {**item, "image_id": None}),
    ("word-image-id", "bad_image_id", "An image_id is a word.", lambda item: {**item, "image_id": "front page"}),
    ("fraction-image-id", "bad_image_id", "An image_id is a fraction.", lambda item: {**item, "image_id": 12.5}),
    ("item-is-list", "wrong_type", "A list stands where an item should.", lambda item: item["conversations"]),
    ("conversations-is-text", "wrong_type", "conversations is a text.", lambda item: {**item, "conversations": "none"}),
    ("no-conversations", "missing_key", "An item has no conversations.", lambda item: _without(item, "conversations")),
)


def broken_records(material: Material) -> Iterator[Case]:
    """Return the cases of flawed blocks and items (traps 7.7 and 7.8)."""
    ids = material.ids
    for slug, kind, what, spoil in BLOCK_FLAWS:
        items = material.items()
        items[1]["conversations"][1] = spoil(items[1]["conversations"][1])
        yield _case(slug, what, items, gives(ids, [2, 1, 2], counts={kind: 1}, options={"on_bad_record": "skip"}))
    for slug, kind, what, spoil in ITEM_FLAWS:
        items = material.items()
        items[1] = spoil(items[1])
        left = gives([ids[0], ids[2]], [2, 2], counts={kind: 1}, options={"on_bad_record": "skip"})
        yield _case(slug, what, items, left)
    yield from _several(material)


def _several(material: Material) -> Iterator[Case]:
    ids, items = material.ids, material.items()
    items[1]["conversations"] = [{"content": []}, {"content": items[1]["conversations"][1]["content"][:1]}]
    counts = {"empty_content": 1, "odd_turns": 1}
    left = gives([ids[0], ids[2]], [2, 2], counts=counts, options={"on_bad_record": "skip"})
    yield _case("no-block-left", "None of an item's blocks can be used, each for another reason.", items, left)


def _case(slug: str, what: str, items: list[Any], skipped: dict[str, Any]) -> Case:
    # Letters of several bytes before the flaw: a loader that counts characters names the wrong byte.
    items[0]["conversations"][0]["content"][0]["value"] += " Voilà, 猫?"
    place = f"byte {offsets(items)[1]}"
    error = fails("BadRecord", "complex_reasoning.json", "record 1", place, options={"on_bad_record": "error"})
    default = fails("BadRecord", "complex_reasoning.json", "record 1", place)
    return Case(slug, "7.7", what, {FILE: array(items)}, (default, error, skipped))
