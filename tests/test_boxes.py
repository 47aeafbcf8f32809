"""Boxes in text: each model's form, the frames they count in, the way back, and what happens to broken ones."""

from __future__ import annotations

import doctest
import random
import time
from collections import Counter
from importlib.util import find_spec

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import svit_datasets.boxes
from svit_datasets.boxes import CONVENTIONS, Box, Referring, convert, parse, qwen2_5_vl_size, write
from svit_datasets.errors import BadBox, OptionError
from svit_datasets.sample import write_sample
from svit_datasets.sample.llava import pad_boxes

SIZE = {"width": 640, "height": 480}
SENTENCE = (
    "Yes, there is a <st>white vehicle<ed> [0.472, 0.432, 0.962, 0.696] and <st>two cars<ed> "
    "[0, 0.448, 0.328, 0.795], [0.5, 0.25, 1, 0.5]."
)
MARKED = [name for name, convention in CONVENTIONS.items() if convention.marks or name == "qwen2_5_vl"]

FORMS = {
    "svit": SENTENCE,
    "plain": "Yes, there is a white vehicle [0.472, 0.432, 0.962, 0.696] and two cars "
    "[0, 0.448, 0.328, 0.795], [0.5, 0.25, 1, 0.5].",
    "padded": "Yes, there is a white vehicle [0.472, 0.449, 0.962, 0.647] and two cars "
    "[0, 0.461, 0.328, 0.721], [0.500, 0.312, 1, 0.500].",
    "qwen_vl": "Yes, there is a <ref>white vehicle</ref><box>(472,432),(962,696)</box> and <ref>two cars</ref>"
    "<box>(0,448),(328,795)</box><box>(500,250),(999,500)</box>.",
    "qwen2_vl": "Yes, there is a <|object_ref_start|>white vehicle<|object_ref_end|>"
    "<|box_start|>(472,432),(962,696)<|box_end|> and <|object_ref_start|>two cars<|object_ref_end|>"
    "<|box_start|>(0,448),(328,795)<|box_end|><|box_start|>(500,250),(999,500)<|box_end|>.",
    "qwen2_5_vl": 'Yes, there is a {"bbox_2d": [304, 206, 620, 331], "label": "white vehicle"} and '
    '[{"bbox_2d": [0, 213, 211, 378], "label": "two cars"}, {"bbox_2d": [322, 119, 644, 238], "label": "two cars"}].',
    "paligemma": "Yes, there is a <loc0442><loc0483><loc0712><loc0985> white vehicle and "
    "<loc0458><loc0000><loc0814><loc0335> two cars ; <loc0256><loc0512><loc0512><loc1023> two cars.",
    "kosmos2": "Yes, there is a <phrase>white vehicle</phrase><object><patch_index_0431><patch_index_0734></object> "
    "and <phrase>two cars</phrase><object><patch_index_0448><patch_index_0810></delimiter_of_multi_objects/>"
    "<patch_index_0272><patch_index_0511></object>.",
    "florence2": "Yes, there is a white vehicle<loc_472><loc_432><loc_962><loc_696> and two cars"
    "<loc_0><loc_448><loc_328><loc_795><loc_500><loc_250><loc_999><loc_500>.",
    "shikra": "Yes, there is a white vehicle[0.472,0.449,0.962,0.647] and two cars"
    "[0.000,0.461,0.328,0.721;0.500,0.312,1.000,0.500].",
    "internvl": "Yes, there is a <ref>white vehicle</ref><box>[[472, 432, 962, 696]]</box> and <ref>two cars</ref>"
    "<box>[[0, 448, 328, 795], [500, 250, 1000, 500]]</box>.",
    "ferret": "Yes, there is a white vehicle [472, 432, 962, 696] and two cars "
    "[0, 448, 328, 795], [500, 250, 1000, 500].",
    "cogvlm": "Yes, there is a white vehicle [[472,432,962,696]] and two cars [[000,448,328,795;500,250,999,500]].",
    "minigpt_v2": "Yes, there is a <p>white vehicle</p> {<47><43><96><70>} and <p>two cars</p> "
    "{<0><45><33><80>}<delim>{<50><25><100><50>}.",
}


def test_every_convention_has_its_form_here():
    assert list(FORMS) == list(CONVENTIONS)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_sentence_in_each_convention(name):
    assert convert(SENTENCE, to=name, **SIZE) == FORMS[name]


@pytest.mark.parametrize("name", MARKED)
def test_marked_phrases_come_back(name):
    found = parse(FORMS[name], name, **SIZE)
    assert [(one.phrase, len(one.boxes)) for one in found] == [("white vehicle", 1), ("two cars", 2)]
    back = convert(FORMS[name], to="svit", convention=name, **SIZE)
    assert [one.phrase for one in parse(back)] == ["white vehicle", "two cars"]
    assert back.startswith("Yes, there is a <st>white vehicle<ed> [")


def test_the_examples_of_the_docstring_are_true():
    assert doctest.testmod(svit_datasets.boxes) == (0, 3)


def test_places_are_told_in_characters():
    first, second = parse(SENTENCE)
    assert SENTENCE[first.start : first.stop] == "<st>white vehicle<ed> [0.472, 0.432, 0.962, 0.696]"
    assert SENTENCE[second.start :] == "<st>two cars<ed> [0, 0.448, 0.328, 0.795], [0.5, 0.25, 1, 0.5]."


# The way there and back -----------------------------------------------------------------------------------------------

SHARES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
PHRASES = st.text(st.characters(codec="utf-8", exclude_characters='<>[]{}|"\\'), min_size=1, max_size=12)


@st.composite
def boxes(draw):
    (x1, x2), (y1, y2) = (sorted(draw(st.tuples(SHARES, SHARES))) for _ in range(2))
    return Box(x1, y1, x2, y2)


REFERRINGS = st.lists(
    st.builds(Referring, PHRASES, st.lists(boxes(), min_size=1, max_size=3).map(tuple)), min_size=1, max_size=3
)


@pytest.mark.parametrize("name", CONVENTIONS)
@given(referrings=REFERRINGS, width=st.integers(28, 5000), height=st.integers(28, 5000))
@example(referrings=[Referring("all", (Box(0, 0, 1, 1), Box(1, 1, 1, 1)))], width=5000, height=28)
@example(referrings=[Referring("a", (Box(0.999, 0, 1, 0.001),))], width=28, height=29)
def test_boxes_come_back_within_a_bin_of_their_frame(name, referrings, width, height):
    sides = {"width": width, "height": height}
    text = " and ".join(write(one) for one in referrings)
    there = convert(text, to=name, on_bad_box="raise", **sides)
    back = parse(there, name, **sides)
    convention = CONVENTIONS[name]
    if name in MARKED:
        phrases = [one.phrase for one in referrings]
        assert [one.phrase for one in back] == phrases
    meant = [box for one in referrings for box in one.boxes]
    found = [box for one in back for box in one.boxes]
    assert len(found) == len(meant)
    unit = {
        "photo": (1, 1),
        "padded": (max(width, height) / width, max(width, height) / height),
        "resized": tuple(1 / side for side in qwen2_5_vl_size(width, height)),
    }[convention.frame]
    for one, other in zip(meant, found, strict=True):
        for value, kept, scale in zip(one, other, unit * 2, strict=True):
            assert abs(value - kept) <= convention.step * scale + 1e-9


@given(
    text=st.text(alphabet='ab<>stedref/box()[]{},.;:0159 \n|_"\\-', max_size=60),
    name=st.sampled_from(list(CONVENTIONS)),
)
@example(text='{"bbox_2d": [1, 2, null, 4]}', name="qwen2_5_vl")
@example(text='{"bbox_2d": [NaN, 2, 3, 4], "label": "\\x"}', name="qwen2_5_vl")
@example(text='{"bbox_2d": [1' + "0" * 400 + ", 2, 3, 4]}", name="qwen2_5_vl")
@example(text="<box>inf, 1_0</box>", name="internvl")
@example(text="<box>[[nan, 1, 2, 3]]</box>", name="internvl")
@example(text="<st>a<ed> [" + "9" * 400 + ", 0, 0, 0]", name="svit")
def test_any_text_goes_through(text, name):
    """And a text keeps every character in its own convention."""
    assert convert(text, to=name, convention=name, **SIZE) == text
    for policy in ("keep", "drop"):
        convert(text, to="kosmos2", convention=name, on_bad_box=policy, **SIZE)


@given(first=boxes(), second=boxes(), width=st.integers(28, 2000), height=st.integers(28, 2000))
def test_padding_agrees_with_the_published_files_form(first, second, width, height):
    """The sample corpus writes LLaVA's form on its own; margins may differ by half a pixel, so shares by that."""
    text = f"{write(Referring('', (first,)))} or {write(Referring('', (second,)))}"
    ours, theirs = (
        parse(one, "plain")
        for one in (convert(text, to="padded", width=width, height=height), pad_boxes(text, width, height))
    )
    assume(len(theirs) == 2)
    for one, other in zip(ours, theirs, strict=True):
        assert one.boxes[0] == pytest.approx(other.boxes[0], abs=0.5 / max(width, height) + 0.0011)


def test_a_box_that_equals_an_earlier_result_is_moved_once():
    text = "[0.1, 0.2, 0.3, 0.4] and [0.1, 0.275, 0.3, 0.425]"
    assert convert(text, to="padded", **SIZE) == "[0.100, 0.275, 0.300, 0.425] and [0.100, 0.331, 0.300, 0.444]"


@pytest.mark.parametrize("phrase", ['a "big" dog', "back\\slash", "two\nlines", '{"x": [1]}', "]}", "<b>"])
def test_a_label_in_json_may_hold_anything(phrase):
    there = convert(f"see <st>{phrase}<ed> [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]!", to="qwen2_5_vl", **SIZE)
    [back] = parse(there, "qwen2_5_vl", **SIZE)
    assert (back.phrase, len(back.boxes)) == (phrase, 2)


def test_a_longer_answer_keeps_everything_but_its_boxes():
    text = "1. [see 2]\n2. a <st>dog<ed> [0.1, 0.2, 0.3, 0.4]; {x} <b> [1, 2, 3, 4] [0.5]"
    there = convert(text, to="qwen_vl")
    assert there == "1. [see 2]\n2. a <ref>dog</ref><box>(100,200),(300,400)</box>; {x} <b> [1, 2, 3, 4] [0.5]"
    assert convert(there, to="svit", convention="qwen_vl") == text.replace(
        "[0.1, 0.2, 0.3, 0.4]", "[0.100, 0.200, 0.300, 0.400]"
    )


# Frames ---------------------------------------------------------------------------------------------------------------


def test_frames_of_a_box():
    box = Box(0.1, 0.2, 0.3, 0.4)
    assert box.to_pixels(640, 480) == (64.0, 96.0, 192.0, 192.0)
    assert box.to_padded(640, 480) == pytest.approx((0.1, 0.275, 0.3, 0.425))
    assert box.to_padded(480, 641) == pytest.approx(((48 + 80) / 641, 0.2, (144 + 80) / 641, 0.4))  # margin 80.5
    assert Box.from_padded(box.to_padded(480, 641), 480, 641) == pytest.approx(box)
    assert Box.from_pixels(box.to_pixels(33, 44), 33, 44) == pytest.approx(box)


def test_a_box_in_the_margin_of_the_square_is_not_in_the_photo():
    counts = Counter()
    text = "on it [0.1, 0.125, 0.3, 0.5], above it [0.1, 0.01, 0.3, 0.1]"
    assert convert(text, to="plain", convention="padded", on_bad_box="drop", counts=counts, **SIZE) == (
        "on it [0.100, 0, 0.300, 0.500], above it"
    )
    assert counts == {"boxes": 1, "bad_range": 1}


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (644, 476)), ((28, 28), (56, 56)), ((5000, 4000), (4004, 3192)), ((100, 3), (336, 28))],
)
def test_qwen2_5_vl_resizes_to_multiples_of_28(size, expected):
    got = qwen2_5_vl_size(*size)
    assert got == expected
    assert all(side % 28 == 0 for side in got)


def test_the_size_that_a_processor_was_told_counts():
    text = "<st>dog<ed> [0.5, 0.5, 1, 1]"
    assert convert(text, to="qwen2_5_vl", resized=(280, 140)) == '{"bbox_2d": [140, 70, 280, 140], "label": "dog"}'
    assert qwen2_5_vl_size(2000, 1000, max_pixels=280 * 140) == (280, 140)


@pytest.mark.parametrize("name", ["padded", "shikra", "qwen2_5_vl"])
def test_a_frame_that_needs_a_size_asks_for_it(name):
    with pytest.raises(OptionError, match="give width= and height="):
        convert(SENTENCE, to=name)
    assert convert("no box", to=name) == "no box"  # a record without photo has no size, and no boxes


def test_options_are_checked():
    with pytest.raises(OptionError, match="'qwen_vl'"):
        convert("", to="qwen3")
    with pytest.raises(OptionError, match="Allowed: 'keep', 'drop', 'raise'"):
        convert("", to="plain", on_bad_box="skip")
    with pytest.raises(OptionError, match="Allowed: 'raise', 'drop'"):
        parse("", on_bad_box="keep")
    with pytest.raises(OptionError, match="must be positive"):
        convert("", to="padded", width=0, height=1)
    with pytest.raises(OptionError, match="200 times"):
        qwen2_5_vl_size(28, 5601)
    with pytest.raises(OptionError, match="no box"):
        write(Referring("dog", ()))


# Broken boxes ---------------------------------------------------------------------------------------------------------

# text, its kind, what "keep" makes of it for another convention, what "drop" makes of it
BROKEN = {
    "three numbers": ("a <st>dog<ed> [0.1, 0.2, 0.3].", "numbers", "a dog [0.1, 0.2, 0.3].", "a dog."),
    "five numbers": ("a <st>dog<ed> [0, 0, 0, 1, 1].", "numbers", "a dog [0, 0, 0, 1, 1].", "a dog."),
    "two points": ("a <st>dog<ed> [0.4., 0, 1, 1].", "numbers", "a dog [0.4., 0, 1, 1].", "a dog."),
    "no number": ("a <st>dog<ed> [].", "numbers", "a dog [].", "a dog."),
    "a minus": ("a <st>dog<ed> [-0.1, 0, 1, 1].", "range", "a dog [-0.1, 0, 1, 1].", "a dog."),
    "too far": ("a <st>dog<ed> [0, 0, 1.001, 1].", "range", "a dog [0, 0, 1.001, 1].", "a dog."),
    "pixels": ("a <st>dog<ed> [10, 20, 30, 40].", "range", "a dog [10, 20, 30, 40].", "a dog."),
    "left and right": ("a <st>dog<ed> [0.5, 0, 0.4, 1].", "order", "a dog [0.5, 0, 0.4, 1].", "a dog."),
    "up and down": ("a <st>dog<ed> [0, 1, 1, 0.9].", "order", "a dog [0, 1, 1, 0.9].", "a dog."),
    "no box": ("a <st>dog<ed> there.", "markup", "a dog there.", "a dog there."),
    "no closing mark": ("a <st>dog there.", "markup", "a dog there.", "a dog there."),
    "no opening mark": ("a dog<ed> there.", "markup", "a dog there.", "a dog there."),
    "without phrase": ("a dog [0.9, 0.1, 0.2, 0.3].", "order", "a dog [0.9, 0.1, 0.2, 0.3].", "a dog."),
    "without phrase, three": ("a dog [0.9, 0.1, 0.2].", "numbers", "a dog [0.9, 0.1, 0.2].", "a dog."),
}


@pytest.mark.parametrize(("text", "kind", "kept", "dropped"), BROKEN.values(), ids=BROKEN)
def test_broken_boxes_are_treated_by_policy_and_counted(text, kind, kept, dropped):
    for policy, expected in (("keep", kept), ("drop", dropped)):
        counts = Counter()
        assert convert(text, to="qwen_vl", on_bad_box=policy, counts=counts) == expected
        assert counts[f"bad_{kind}"] == 1
        assert counts.total() == 1
    assert convert(text, to="plain") == kept
    assert convert(text, to="svit") == text
    assert parse(text, on_bad_box="drop") == []
    with pytest.raises(BadBox, match=r"at character \d+: '.*(dog|\[|<ed>|<st>).*'; .*on_bad_box=") as caught:
        convert(text, to="qwen_vl", on_bad_box="raise")
    assert isinstance(caught.value, ValueError)
    with pytest.raises(BadBox):
        parse(text)


def test_the_good_boxes_of_a_phrase_stay_under_drop():
    text = "<st>cats<ed> [0.1, 0.1, 0.2, 0.2], [0.3, 0.3], [0.4, 0.4, 0.5, 0.5]"
    assert convert(text, to="internvl", on_bad_box="drop") == (
        "<ref>cats</ref><box>[[100, 100, 200, 200], [400, 400, 500, 500]]</box>"
    )
    assert convert(text, to="internvl") == "cats [0.1, 0.1, 0.2, 0.2], [0.3, 0.3], [0.4, 0.4, 0.5, 0.5]"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qwen_vl", "<ref>dog</ref><box>(1,2),(3)</box>"),
        ("qwen_vl", "<ref>dog</ref><box>(1,2),(3,1001)</box>"),
        ("qwen2_5_vl", '{"bbox_2d": [1, 2, 3], "label": "dog"}'),
        ("qwen2_5_vl", '{"bbox_2d": [1, 2, 3000, 4], "label": "dog"}'),
        ("kosmos2", "<phrase>dog</phrase><object><patch_index_0001></object>"),
        ("kosmos2", "<phrase>dog</phrase><object><patch_index_0001><patch_index_1999></object>"),
        ("internvl", "<ref>dog</ref><box>[1, 2]</box>"),
        ("minigpt_v2", "<p>dog</p> {<1><2><3>}"),
    ],
)
def test_what_a_model_answers_may_be_broken_too(name, text):
    assert convert(text, to="svit", convention=name, on_bad_box="drop", **SIZE) == "dog"
    with pytest.raises(BadBox):
        parse(text, name, **SIZE)


def test_boxes_are_found_without_spaces_and_without_area():
    found = parse("<st>dog<ed>[0,.5,0.500,0.5] <st>cat<ed>\n[ 0.1,0.2 , 0.3,1.0 ]")
    assert [one.boxes for one in found] == [(Box(0, 0.5, 0.5, 0.5),), (Box(0.1, 0.2, 0.3, 1.0),)]


HOSTILE = [
    "<st>",
    "<ed>",
    "[",
    "[0.1,",
    "0.1, ",
    "<box>",
    "<ref>",
    "<|box_start|>",
    '{"bbox_2d": [',
    '[{"bbox_2d": [1]}, ',
]
HOSTILE += [
    '"label": "\\',
    "<loc0001>",
    "<loc_1>",
    "<object><patch_index_0001>",
    "[[1,",
    "[0.1;",
    "{<1>",
    "{<1>}<delim>",
    "  ",
]


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_megabyte_of_marks_takes_linear_time(name):
    """Measured at most 0.4 s; a quadratic pattern would take minutes."""
    rng = random.Random(0)
    text = "".join(rng.choice(HOSTILE) * rng.choice((1, 2, 20_000)) for _ in range(40))[:1_000_000].ljust(
        1_000_000, "["
    )
    begin = time.process_time()
    convert(text, to="kosmos2", convention=name, **SIZE)
    assert time.process_time() - begin < 5


# The sample corpus, and the models' own code --------------------------------------------------------------------------


def test_every_box_of_the_sample_corpus_is_read(tmp_path):
    from svit_datasets import load_dataset

    write_sample(tmp_path, images=12)
    counts = Counter()
    rows = load_dataset(
        "svit", "referring_qa", split="train", data_dir=tmp_path, holdout=None, cache_dir=tmp_path / "c", streaming=True
    )
    for row in rows:
        for block in row["conversations"]:
            for message in block["messages"]:
                text = message["content"]
                there = convert(text, to="internvl", on_bad_box="raise", counts=counts)
                back = convert(there, to="svit", convention="internvl", on_bad_box="raise")
                assert back == text
    assert counts["boxes"] > 50
    assert counts.total() == counts["boxes"]


@pytest.mark.torch
@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
@given(box=boxes(), width=st.integers(28, 5000), height=st.integers(28, 5000))
def test_transformers_computes_the_same_patches_and_sizes(box, width, height):
    from transformers.models.kosmos2.processing_kosmos2 import coordinate_to_patch_index, patch_index_to_coordinate
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    for limits in ({"min_pixels": 3136, "max_pixels": 1_003_520}, {"min_pixels": 200_704, "max_pixels": 12_845_056}):
        assert smart_resize(height, width, **limits) == qwen2_5_vl_size(width, height, **limits)[::-1]
    assume(box.x1 < box.x2 and box.y1 < box.y2)
    first, last = coordinate_to_patch_index(box, 32)
    text = write(Referring("", (box,)), "kosmos2")
    assert text == f"<object><patch_index_{first:04d}><patch_index_{last:04d}></object>"
    assert parse(text, "kosmos2")[0].boxes[0] == pytest.approx(patch_index_to_coordinate(first, last, 32))
