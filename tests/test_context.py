"""What a model is told of a photo: three sections, boxes in the photo, doubles merged, within a budget."""

from __future__ import annotations

import dataclasses
import json
import time
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from svit_builder.annotations import open_annotations
from svit_builder.generate.context import estimate_tokens, make_context, merge_objects, normal_name
from svit_builder.generate.protocol import Annotated, Object, Region
from tokenizers import Tokenizer

from svit_datasets.boxes import Box
from svit_datasets.errors import OptionError
from tests.tokenizer_packages import SMALL, folder

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"
TASKS = ("conversation", "complex_reasoning", "detail_description", "referring_qa")

PHOTO = Annotated(
    42,
    640,
    480,
    None,
    ("A cat on a mat.", "A grey cat rests."),
    (Object("cat", Box(0.1, 0.2, 0.5, 0.8)), Object("mat", Box(0, 0.72512, 1, 1))),
    (Region("cat on a mat", Box(0.1, 0.2, 0.9, 1)),),
)


def test_the_text_has_three_sections_a_line_an_entry():
    assert make_context(PHOTO, "conversation").text == (
        "captions:\nA cat on a mat.\nA grey cat rests.\n\n"
        "objects:\ncat: [0.100, 0.200, 0.500, 0.800]\nmat: [0, 0.725, 1, 1]\n\n"
        "regions:\ncat on a mat"
    )


@pytest.mark.parametrize("task", TASKS)
def test_regions_have_boxes_for_referring_qa_only(task):
    last = make_context(PHOTO, task).text.splitlines()[-1]
    assert last == ("cat on a mat: [0.100, 0.200, 0.900, 1]" if task == "referring_qa" else "cat on a mat")


def test_a_photo_of_which_nothing_is_written_has_three_empty_sections():
    bare = dataclasses.replace(PHOTO, captions=(), objects=(), regions=())
    assert make_context(bare, "conversation").text == "captions:\n\nobjects:\n\nregions:"


def test_it_tells_what_stands_in_the_text_and_which_form_it_has():
    context = make_context(PHOTO, "referring_qa")
    assert (context.image_id, context.task, context.version) == (42, "referring_qa", "svit-1")
    assert context.captions == PHOTO.captions
    assert [one.name for one in context.objects] == ["cat", "mat"]
    assert context.objects[1].box == Box(0, 0.725, 1, 1)  # the numbers of the text
    assert context.merged_objects == context.dropped_objects == context.dropped_regions == 0


def test_boxes_are_cut_at_the_border_and_those_outside_count_as_dropped():
    objects = (
        Object("cut", Box(-0.5, 0.5, 0.5, 1.5)),
        Object("outside", Box(1.2, 0, 1.5, 1)),
        Object("flat", Box(0.2, 0.2, 0.2, 0.9)),
        Object("tiny", Box(0.50001, 0.9999, 0.50002, 1)),
    )
    regions = (Region("outside", Box(-1, -1, 0, 0)), Region("inside", Box(0, 0, 1, 1)))
    context = make_context(dataclasses.replace(PHOTO, objects=objects, regions=regions), "referring_qa")
    assert [(one.name, one.box) for one in context.objects] == [
        ("cut", Box(0, 0.5, 0.5, 1)),
        ("tiny", Box(0.5, 0.999, 0.501, 1)),
    ]
    assert (context.dropped_objects, context.dropped_regions) == (2, 1)


# Doubles ------------------------------------------------------------------------------------------------------------


def test_two_boxes_of_one_name_that_overlap_by_seven_tenths_are_one_thing_and_the_larger_stands():
    at = Box(0.1, 0.1, 0.5, 0.5)
    almost = Box(0.1, 0.1, 0.5, 0.48)
    assert merge_objects([Object("Cat", almost), Object(" cat!", at)]) == [Object(" cat!", at)]
    assert len(merge_objects([Object("cat", at), Object("dog", at)])) == 2
    other = Box(0.1, 0.1, 0.5, 0.1 + 0.4 * 0.69)
    assert len(merge_objects([Object("cat", at), Object("cat", other)])) == 2
    assert len(merge_objects([Object("cat", at), Object("cat", Box(0.6, 0.6, 0.9, 0.9))])) == 2


def test_several_may_be_the_same_as_one_and_the_rest_keeps_its_order():
    at = Box(0.1, 0.1, 0.5, 0.5)
    objects = [
        Object("mat", Box(0, 0, 1, 1)),
        Object("cat", at),
        Object("hat", at),
        Object("cat", at),
        Object("cat", at),
    ]
    assert [one.name for one in merge_objects(objects)] == ["mat", "cat", "hat"]
    context = make_context(dataclasses.replace(PHOTO, objects=tuple(objects)), "conversation")
    assert context.merged_objects == 2


BOXES = st.tuples(*[st.integers(0, 20)] * 4).map(
    lambda four: Box(min(four[0], four[2]) / 20, min(four[1], four[3]) / 20, max(four[0], four[2]) / 20 + 0.01,
                     max(four[1], four[3]) / 20 + 0.01)
)  # fmt: skip
OBJECTS = st.lists(st.builds(Object, st.sampled_from(["cat", "Cat", "dog", "two dogs", "x" * 30]), BOXES), max_size=12)
REGIONS = st.lists(
    st.builds(Region, st.sampled_from(["a cat", "A cat.", "dogs at play", "y " * 20]), BOXES), max_size=12
)


@given(OBJECTS)
def test_merging_again_changes_nothing_and_no_name_is_lost(objects):
    merged = merge_objects(objects)
    assert merge_objects(merged) == merged
    assert {normal_name(one.name) for one in merged} == {normal_name(one.name) for one in objects}


# The budget ---------------------------------------------------------------------------------------------------------


def area(one):
    return (one.box.x2 - one.box.x1) * (one.box.y2 - one.box.y1)


def test_the_smallest_doubles_go_first_then_regions_then_objects():
    def box(side):
        return Box(0, 0, side, side)

    photo = dataclasses.replace(
        PHOTO,
        captions=(),
        objects=(Object("cat", box(0.9)), Object("cat", box(0.2)), Object("cat", box(0.3)), Object("hat", box(0.1))),
        regions=(Region("a hat", box(0.25)), Region("a cat", box(0.5)), Region("A hat!", box(0.6))),
    )
    left = []
    for budget in range(300, 10, -1):
        context = make_context(photo, "conversation", budget_tokens=budget)
        now = [f"{one.name} {one.box.x2}" for one in context.objects] + [one.text for one in context.regions]
        if not left or now != left[-1]:
            left.append(now)
        if not now:
            break
    gone = [next(iter(set(before) - set(after))) for before, after in pairwise(left)]
    assert gone == ["cat 0.2", "a hat", "cat 0.3", "a cat", "A hat!", "hat 0.1", "cat 0.9"]


@settings(max_examples=60, deadline=None)
@given(OBJECTS, REGIONS, st.integers(40, 400), st.sampled_from(TASKS))
def test_the_text_keeps_the_budget_and_everything_is_accounted_for(objects, regions, budget, task):
    photo = dataclasses.replace(PHOTO, objects=tuple(objects), regions=tuple(regions))
    context = make_context(photo, task, budget_tokens=budget)
    assert estimate_tokens(context.text) <= budget
    assert len(context.objects) + context.merged_objects + context.dropped_objects == len(objects)
    assert len(context.regions) + context.dropped_regions == len(regions)
    assert make_context(photo, task, budget_tokens=budget) == context
    assert context.text.count("\n") + 1 == 7 + len(context.objects) + len(context.regions)


def test_a_tokenizer_of_the_user_counts_instead():
    photo = dataclasses.replace(PHOTO, regions=PHOTO.regions * 50)
    words = make_context(photo, "conversation", budget_tokens=60, count_tokens=lambda text: len(text.split()))
    assert 40 < len(words.text.split()) <= 60
    assert make_context(photo, "conversation", budget_tokens=60).dropped_regions > words.dropped_regions


def test_a_budget_that_does_not_hold_the_captions_is_an_error():
    with pytest.raises(
        OptionError, match=r"Image 42: a budget of 10 tokens does not hold its captions, which take \d+"
    ):
        make_context(PHOTO, "conversation", budget_tokens=10)


def test_unknown_tasks_and_versions_are_refused():
    with pytest.raises(OptionError, match="'svit-0'"):
        make_context(PHOTO, "conversation", version="svit-0")
    for task in ("all", "core_150k", "poetry"):
        with pytest.raises(OptionError, match=task):
            make_context(PHOTO, task)


# Tokens -------------------------------------------------------------------------------------------------------------

LINES = [
    *(f"{a} {b} {c}: [0.{n:03d}, 0, 0.5{n % 90:02d}, 1]" for n, (a, b, c) in enumerate(
        product(("a", "the", "Blue", "two"), ("cork-board", "fire hydrant", "zebra", "windows", "pluged"),
                ("on wall", "by A MAN", "next to it", "w/ 3 (old) strings")))),
    "captions:", "objects:", "regions:", 'a "WALK" sign & it\'s lit', "café Zoë 東京",
]  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_real_tokenizers_never_need_more_than_the_estimate(name):
    tokenizer = Tokenizer.from_file(str(next(folder(name).rglob("tokenizer.json"))))
    lines = list(LINES)
    if REAL.is_dir():
        for kind, text in (("objects", "names"), ("region_descriptions", "phrase")):
            for item in json.loads((REAL / "vg" / "v1.2.0" / f"{kind}.json").read_text()):
                lines += [str(one[text]) for one in item["objects" if kind == "objects" else "regions"]]
        for split in ("train", "val"):
            captions = json.loads((REAL / "coco" / f"captions_{split}2017.json").read_text())["annotations"]
            lines += [one["caption"] for one in captions]
    needed = [len(tokens.ids) for tokens in tokenizer.encode_batch(lines, add_special_tokens=False)]
    short = [line for line, n in zip(lines, needed, strict=True) if n > estimate_tokens(line)]
    assert short == []
    assert sum(map(estimate_tokens, lines)) < 2.2 * sum(needed)  # and it is no wild guess


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_estimate_of_two_lines_is_that_of_each(one, other):
    whole = estimate_tokens(f"{one}\n{other}")
    assert whole <= estimate_tokens(f"{one}\n") + estimate_tokens(other)
    assert estimate_tokens(one) >= len(one.split()) * bool(one.strip())


# On the real annotations --------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real annotations are not here")
def test_contexts_of_the_first_five_real_photos(tmp_path):
    for photo in open_annotations(REAL, cache_dir=tmp_path).read():
        for task in TASKS:
            context = make_context(photo, task)
            assert estimate_tokens(context.text) <= 6000
            lines = context.text.splitlines()
            assert lines[0] == "captions:"
            assert lines[2] == "objects:"
            assert len(context.objects) + context.merged_objects + context.dropped_objects == len(photo.objects)
            for one in context.objects:
                assert 0 <= one.box.x1 < one.box.x2 <= 1
                assert 0 <= one.box.y1 < one.box.y2 <= 1
        # 250 regions with boxes are too many, without boxes they are not.
        assert context.dropped_regions > 50 if task == "referring_qa" else context.dropped_regions == 0
        assert make_context(photo, "referring_qa", budget_tokens=20_000).dropped_regions == 0
    first = next(open_annotations(REAL, cache_dir=tmp_path).read([1]))
    assert "clock: [0.526, 0.152, 0.625, 0.717]\n" in make_context(first, "conversation").text
    assert make_context(first, "conversation").merged_objects == 2  # a man and a bike, each boxed twice


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real annotations are not here")
def test_an_image_of_35_objects_and_50_regions_takes_about_a_millisecond(tmp_path):
    photo = next(open_annotations(REAL, cache_dir=tmp_path).read([3]))
    photo = dataclasses.replace(photo, objects=photo.objects[:35], regions=photo.regions[:50])
    make_context(photo, "referring_qa")
    begin = time.process_time()
    for _ in range(100):
        make_context(photo, "referring_qa")
    assert (time.process_time() - begin) / 100 < 0.003  # 0.6 ms measured; a busy machine may take longer
