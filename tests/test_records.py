"""``read_records``: what can be used comes out to the letter, what cannot comes out as a defect that says where."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svit_datasets.errors import CorruptFile
from svit_datasets.records import DEFECT_KINDS, Defect, Dialogue, Record, read_records
from tests.strategies import SIZES, Trickle, llava_item, svit_item, written

Q = {"from": "user", "value": "What?"}
A = {"from": "gpt", "value": "That."}
BLOCK = {"topic": None, "content": [Q, A]}
GOOD = {"image_id": 7, "conversations": [BLOCK]}
LINE = {"id": "7", "image": "vg/VG_100K/2.jpg", "conversations": [{**Q, "from": "human"}, A]}


def read(items, form="svit"):
    return list(read_records(io.BytesIO(json.dumps(items).encode()), "a.json", form))


def block(*turns):
    return {"content": list(turns)}


def said(value):
    return {"from": "gpt", "value": value}


@given(data=st.data(), items=st.lists(svit_item(), max_size=4), sizes=SIZES)
def test_svit_records_are_what_was_written(data, items, sizes):
    file = data.draw(written(items))
    records = list(read_records(Trickle(file, sizes), "a.json", "svit"))
    assert [record.number for record in records] == list(range(len(items)))
    for record, item in zip(records, items, strict=True):
        assert isinstance(record, Record)
        assert record.image_id == item["image_id"]
        expected = [
            (each.get("topic"), tuple(turn["value"] for turn in each["content"])) for each in item["conversations"]
        ]
        assert list(record.blocks) == expected
        assert all(size % 2 == 0 < size for size in record.sizes)


@given(data=st.data(), items=st.lists(llava_item(), max_size=4), sizes=SIZES)
def test_llava_records_are_what_was_written(data, items, sizes):
    file = data.draw(written(items))
    found = list(read_records(Trickle(file, sizes), "a.json", "llava"))
    assert found == [
        Dialogue(
            number,
            str(item["id"]),
            item.get("image"),
            tuple(turn.get("value", turn.get("content")) for turn in item["conversations"]),
        )
        for number, item in enumerate(items)
    ]


@given(item=svit_item(), user=st.sampled_from(["User", " human ", "HUMAN"]), gpt=st.sampled_from(["GPT", "Assistant"]))
def test_names_of_roles_do_not_matter(item, user, gpt):
    """The usual spelling takes a short cut; the record is the same."""
    spelt = json.loads(json.dumps(item))
    for each in spelt["conversations"]:
        for turn in each["content"]:
            turn["from"] = {"user": user, "gpt": gpt}[turn["from"]]
    assert read([item]) == read([spelt])


@given(items=st.lists(svit_item(), min_size=1, max_size=3), data=st.data())
def test_a_cut_file_is_never_a_shorter_one(items, data):
    file = json.dumps(items, ensure_ascii=False).encode()
    with pytest.raises(CorruptFile, match=r"a\.json: .*byte \d+"):
        list(read_records(io.BytesIO(file[: data.draw(st.integers(0, len(file) - 1))]), "a.json", "svit"))


# kind, the item, which of its blocks, what the detail says
SVIT_DEFECTS = [
    ("empty_record", {**GOOD, "conversations": []}, None, "conversations is []"),
    ("empty_content", {**GOOD, "conversations": [BLOCK, block()]}, 1, "no turns"),
    ("odd_turns", {**GOOD, "conversations": [block(Q, A, Q)]}, 0, "3 turns: the last question has no answer"),
    ("odd_turns", {**GOOD, "conversations": [block(Q)]}, 0, "1 turns"),
    ("leading_answer", {**GOOD, "conversations": [block(A, Q)]}, 0, 'turn 0 is from "gpt"'),
    ("leading_answer", {**GOOD, "conversations": [block(A)]}, 0, "turn 0"),
    ("repeated_role", {**GOOD, "conversations": [block(Q, Q, A, A)]}, 0, 'turns 0 and 1 are both from "user"'),
    ("repeated_role", {**GOOD, "conversations": [block(Q, A, A, Q)]}, 0, 'turns 1 and 2 are both from "gpt"'),
    (
        "unknown_role",
        {**GOOD, "conversations": [block({**Q, "from": "system"}, Q)]},
        0,
        'turn 0 is from "system"',
    ),
    ("unknown_role", {**GOOD, "conversations": [block(Q, {**A, "from": None})]}, 0, "turn 1 is from null"),
    ("unknown_role", {**GOOD, "conversations": [block(Q, {**A, "from": ["gpt"]})]}, 0, 'turn 1 is from ["gpt"]'),
    ("blank_text", {**GOOD, "conversations": [block(Q, said(""))]}, 0, 'the text of turn 1 is ""'),
    ("blank_text", {**GOOD, "conversations": [block(Q, said(" \n\u00a0"))]}, 0, "the text of turn 1 is"),
    ("blank_text", {**GOOD, "conversations": [block(Q, said(None))]}, 0, "the text of turn 1 is null"),
    ("not_text", {**GOOD, "conversations": [block(Q, said(5))]}, 0, "the text of turn 1 is 5"),
    ("not_text", {**GOOD, "conversations": [block(Q, said(float("nan")))]}, 0, "the text of turn 1 is NaN"),
    ("not_text", {**GOOD, "conversations": [block(Q, said(["a"]))]}, 0, 'the text of turn 1 is ["a"]'),
    ("not_text", {**GOOD, "conversations": [block(Q, said("a\ud83d"))]}, 0, "turn 1 holds half a surrogate pair"),
    ("missing_key", {"image_id": 7}, None, "conversations is null"),
    ("missing_key", {**GOOD, "conversations": [BLOCK, BLOCK, {"topic": "t"}]}, 2, "the block has no content"),
    ("missing_key", {**GOOD, "conversations": [block(Q, {"from": "gpt"})]}, 0, "turn 1 has no value"),
    ("missing_key", {**GOOD, "conversations": [block({"value": "What?"}, A)]}, 0, "turn 0 has no from"),
    ("wrong_type", {**GOOD, "conversations": {"0": BLOCK}}, None, 'conversations is {"0"'),
    ("wrong_type", {**GOOD, "conversations": {}}, None, "conversations is {}"),
    ("wrong_type", {**GOOD, "conversations": "none"}, None, 'conversations is "none"'),
    ("wrong_type", {**GOOD, "conversations": None}, None, "conversations is null"),
    ("wrong_type", {**GOOD, "conversations": [[Q, A]]}, 0, "expected a block, found [{"),
    ("wrong_type", {**GOOD, "conversations": [None]}, 0, "expected a block, found null"),
    ("wrong_type", {**GOOD, "conversations": [{"content": {}}]}, 0, "content is {}"),
    ("wrong_type", {**GOOD, "conversations": [{"content": {"from": 1, "value": 2}}]}, 0, "content is {"),
    ("wrong_type", {**GOOD, "conversations": [{"content": "ab"}]}, 0, 'content is "ab"'),
    ("wrong_type", {**GOOD, "conversations": [{"content": None}]}, 0, "content is null"),
    ("wrong_type", {**GOOD, "conversations": [{**BLOCK, "topic": 3}]}, 0, "topic is 3"),
    ("wrong_type", {**GOOD, "conversations": [block(Q, "That.")]}, 0, 'turn 1 is "That."'),
    ("not_text", {**GOOD, "conversations": [{**BLOCK, "topic": "a\udc00"}]}, 0, "half a surrogate pair"),
    *(
        ("bad_image_id", {**GOOD, "image_id": value}, None, "image_id is")
        for value in (None, True, 1.0, "x", "", "1.0", "-5", "½", [7], {}, float("nan"), -5, 10**30, "9" * 30)
    ),
    ("bad_image_id", {"conversations": [BLOCK]}, None, "image_id is null"),
]
LLAVA_DEFECTS = [
    ("empty_content", {**LINE, "conversations": []}, "no turns"),
    ("odd_turns", {**LINE, "conversations": [Q]}, "1 turns"),
    ("leading_answer", {**LINE, "conversations": [A, Q]}, "turn 0"),
    ("repeated_role", {**LINE, "conversations": [Q, A, A]}, "turns 1 and 2"),
    ("unknown_role", {**LINE, "conversations": [{**Q, "from": "system"}, Q, A]}, "turn 0"),
    ("blank_text", {**LINE, "conversations": [Q, {"from": "gpt", "content": " "}]}, "turn 1"),
    ("not_text", {**LINE, "conversations": [Q, said({})]}, "turn 1"),
    ("not_text", {**LINE, "conversations": [Q, said("\udfff")]}, "half a surrogate pair"),
    ("missing_key", {"id": 1}, "conversations is null"),
    ("missing_key", {**LINE, "conversations": [Q, {"from": "gpt"}]}, "turn 1 has no value"),
    ("wrong_type", {**LINE, "conversations": "none"}, 'conversations is "none"'),
    ("wrong_type", {**LINE, "conversations": [Q, 5]}, "turn 1 is 5"),
    ("wrong_type", {**LINE, "image": 5}, "image is 5"),
    ("wrong_type", {**LINE, "image": ""}, 'image is ""'),
    ("wrong_type", {**LINE, "image": ["vg/VG_100K/2.jpg"]}, "image is ["),
    ("wrong_type", {**LINE, "id": None}, "id is null"),
    ("wrong_type", {**LINE, "id": [1]}, "id is [1]"),
    ("not_text", {**LINE, "image": "vg/\ud800.jpg"}, "half a surrogate pair"),
    ("not_text", {**LINE, "id": "a\udc00"}, "half a surrogate pair"),
]


def test_every_kind_of_defect_is_tested():
    assert {kind for kind, *_ in SVIT_DEFECTS} == set(DEFECT_KINDS)
    assert {kind for kind, *_ in LLAVA_DEFECTS} <= set(DEFECT_KINDS)


@pytest.mark.parametrize(("kind", "item", "in_block", "detail"), SVIT_DEFECTS)
def test_an_svit_defect_says_what_and_where(kind, item, in_block, detail):
    file = json.dumps([GOOD, {**GOOD, "image_id": 8}, item, {**GOOD, "image_id": 9}]).encode()
    found = list(read_records(io.BytesIO(file), "a.json", "svit"))
    defect = next(each for each in found if isinstance(each, Defect))
    byte = file.index(json.dumps(item).encode(), file.index(b'"image_id": 8'))
    image_id = None if kind == "bad_image_id" else 7
    expected = Defect(kind, 2, byte, image_id, in_block, defect.detail)
    assert defect == expected
    assert detail in defect.detail
    assert len(defect.detail) < 100
    good = [each for each in found if isinstance(each, Record)]
    kept = 0 if in_block is None else len(item["conversations"]) - 1
    assert [record.number for record in good] == ([0, 1, 2, 3] if kept else [0, 1, 3])
    assert all(sum(1 for _ in record.blocks) == kept for record in good if record.number == 2)


@pytest.mark.parametrize(("kind", "item", "detail"), LLAVA_DEFECTS)
def test_a_llava_defect_says_what_and_where(kind, item, detail):
    file = json.dumps([LINE, item, LINE]).encode()
    first, defect, last = read_records(io.BytesIO(file), "a.json", "llava")
    assert (first.number, last.number) == (0, 2)
    assert defect == Defect(kind, 1, len(json.dumps([LINE])) + 1, None, None, defect.detail)
    assert detail in defect.detail


@pytest.mark.parametrize("form", ["svit", "llava"])
@pytest.mark.parametrize("item", [5, "text", None, True, [], [[1]], 1.5])
def test_an_item_that_is_no_object(form, item):
    assert read([item], form) == [
        Defect("wrong_type", 0, 1, None, None, f"expected an object, found {json.dumps(item)}")
    ]


def test_one_bad_block_loses_no_other():
    blocks = [{**BLOCK, "topic": "a"}, block(Q), {**BLOCK, "topic": "c"}, {"topic": "d"}, block(Q, A, Q, A)]
    first, second, record = read([{**GOOD, "conversations": blocks}])
    assert [(each.kind, each.block) for each in (first, second)] == [("odd_turns", 1), ("missing_key", 3)]
    assert (record.topics, record.sizes) == (("a", "c", None), (2, 2, 4))
    assert record.texts == ("What?", "That.") * 4


def test_an_item_of_bad_blocks_only_gives_no_record():
    found = read([{**GOOD, "conversations": [block(Q), block()]}])
    assert [(each.kind, each.block) for each in found] == [("odd_turns", 0), ("empty_content", 1)]


@pytest.mark.parametrize("image_id", ["306", " 306\n", "0306", 306])
def test_an_id_may_be_written_as_text(image_id):
    (record,) = read([{**GOOD, "image_id": image_id}])
    assert (record.image_id, type(record.image_id)) == (306, int)


def test_the_same_image_may_come_again():
    assert [record.image_id for record in read([GOOD, GOOD, GOOD])] == [7, 7, 7]


def test_text_is_kept_to_the_letter():
    text = " <image>\n<st>a<ed> [0, 0.5, 1, 1] \u2028\0 😀 e\u0301 "
    (record,) = read([{**GOOD, "conversations": [block({**Q, "value": text}, A)]}])
    assert record.texts == (text, "That.")


def test_a_surrogate_pair_is_a_character():
    """Beside half a pair, which is refused: files with escapes only are common."""
    file = rb'[{"image_id": 7, "conversations": [{"content": [{"from": "user", "value": "\ud83d\ude00"}, '
    file += rb'{"from": "gpt", "value": "\uD83D\uDE00"}]}]}]'
    (record,) = read_records(io.BytesIO(file), "a.json", "svit")
    assert record.texts == ("😀", "😀")


def test_more_turns_than_the_short_cut_knows():
    (record,) = read([{**GOOD, "conversations": [block(*[Q, A] * 700), BLOCK]}])
    assert record.sizes == (1400, 2)
    (record,) = read([{**GOOD, "conversations": [BLOCK] * 600}])
    assert len(record.sizes) == 600


def test_nesting_of_any_depth_is_a_defect_or_an_error_of_ours():
    """Python gives up at some depth; just below it an item can be read and not be quoted."""
    outcomes = set()
    for depth in range(800, 1_100):
        file = b"[" * (depth + 1) + b"]" * (depth + 1)
        try:
            (defect,) = read_records(io.BytesIO(file), "a.json", "svit")
        except CorruptFile as error:
            outcomes.add(str(error))
        else:
            outcomes.add(defect.kind)
            assert len(defect.detail) < 100
    assert outcomes <= {"wrong_type", "a.json: record 0, byte 1: nested too deeply to be SVIT."}


def test_numbers_become_the_ids_of_dialogues():
    assert [each.id for each in read([{**LINE, "id": 306}, {**LINE, "id": "a"}], "llava")] == ["306", "a"]
    without = {key: value for key, value in LINE.items() if key != "id"}
    assert [each.id for each in read([without, without], "llava")] == ["0", "1"]


@pytest.mark.parametrize("item", [{**LINE, "image": None}, {k: v for k, v in LINE.items() if k != "image"}])
def test_a_dialogue_without_a_photo(item):
    (dialogue,) = read([item], "llava")
    assert dialogue.image_path is None


def test_it_is_lazy():
    found = read_records(io.BytesIO(json.dumps([GOOD]).encode() + b" x"), "a.json", "svit")
    assert next(found).image_id == 7
    with pytest.raises(CorruptFile, match="something follows"):
        next(found)
