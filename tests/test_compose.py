"""The embedded model answers our prompts with true, varied, well-formed replies; the same for the same seed."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from svit_builder.annotations import open_annotations
from svit_builder.generate.clean import judge
from svit_builder.generate.compose import compose
from svit_builder.generate.compose.notes import read_notes
from svit_builder.generate.compose.places import relation, spot
from svit_builder.generate.compose.sights import told
from svit_builder.generate.compose.words import article, be, listed, phrase, plural, the
from svit_builder.generate.context import make_context
from svit_builder.generate.parse import parse_reply
from svit_builder.generate.prompts import TASKS, messages
from svit_builder.generate.protocol import Annotated, Object, Region, Reply

from svit_datasets.boxes import Box, parse
from svit_datasets.errors import OptionError
from svit_datasets.sample import write_sample

REAL = Path(__file__).parents[2] / "shared" / "data" / "real"

PHOTO = Annotated(
    1,
    100,
    100,
    None,
    (),
    (
        Object("car", Box(0.05, 0.5, 0.25, 0.7)),
        Object("car", Box(0.7, 0.5, 0.9, 0.7)),
        Object("tree", Box(0.4, 0.1, 0.6, 0.6)),
        Object("man", Box(0.3, 0.5, 0.36, 0.8)),
        Object("windows", Box(0.8, 0.1, 0.95, 0.3)),
        Object("dog", Box(0.45, 0.8, 0.55, 0.9)),
        Object("bench", Box(0.6, 0.75, 0.8, 0.95)),
    ),
    (Region("the tree is green", Box(0.4, 0.1, 0.6, 0.6)), Region("man wearing hat", Box(0.3, 0.5, 0.36, 0.8))),
)


def reply(photo, task, seed=1, **how):
    return compose(messages(make_context(photo, task), **how).messages, seed=seed)


def pairs(photo, task, seed=1):
    """Questions and answers of a reply in JSON."""
    content = json.loads(reply(photo, task, seed, json_schema=True))
    qas = content.get("qas") or [qa for one in content["conversations"] for qa in one["turns"]]
    return [(qa["question"], qa["answer"]) for qa in qas]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """All photos of the sample corpus as they are annotated."""
    folder = tmp_path_factory.mktemp("corpus")
    write_sample(folder)
    return list(open_annotations(folder, cache_dir=folder / "cache").read())


# What a reply is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_it_passes_the_rules_on_every_photo_of_the_sample(sample, task):
    for photo in sample:
        context = make_context(photo, task)
        prompt = messages(context)
        for seed, as_json in ((0, False), (1, True)):
            said = compose(messages(context, json_schema=as_json).messages, seed=seed)
            verdict = judge(task, Reply(said, "stop", "rules"), context, question=prompt.question)
            if task != "detail_description" and len(photo.objects) < 6:
                continue  # three dialogues about four things would repeat themselves: fewer are honest
            assert verdict.accepted, (photo.image_id, verdict.reason, verdict.findings)
            assert not verdict.findings, (photo.image_id, verdict.findings, said)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real annotations are not here")
@pytest.mark.parametrize("task", TASKS)
def test_it_passes_the_rules_on_the_first_five_real_photos(tmp_path, task):
    for photo in open_annotations(REAL, cache_dir=tmp_path).read():
        context = make_context(photo, task)
        prompt = messages(context)
        for seed in range(20):
            said = compose(prompt.messages, seed=seed)
            verdict = judge(task, Reply(said, "stop", "rules"), context, question=prompt.question)
            assert verdict.accepted, (photo.image_id, seed, verdict.reason, verdict.findings)
            assert not verdict.findings, (photo.image_id, seed, verdict.findings)
            blocks = len(verdict.conversations)
            assert blocks == {"conversation": 3, "complex_reasoning": 15, "referring_qa": 10}.get(task, 1)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("few_shot", [False, True])
def test_text_and_json_say_the_same(task, few_shot):
    plain = reply(PHOTO, task, few_shot=few_shot)
    as_json = reply(PHOTO, task, few_shot=few_shot, json_schema=True)
    assert parse_reply(task, plain).blocks == parse_reply(task, as_json).blocks


@pytest.mark.parametrize("task", TASKS)
def test_the_seed_decides_and_nothing_else(task):
    said = {seed: reply(PHOTO, task, seed) for seed in range(8)}
    assert said == {seed: reply(PHOTO, task, seed) for seed in range(8)}
    assert len(set(said.values())) > 3 or task == "detail_description"
    sent = json.dumps(messages(make_context(PHOTO, task)).messages)
    script = (
        "import json, sys; from svit_builder.generate.compose import compose; "
        "sys.stdout.write(compose(json.loads(sys.argv[1]), seed=3))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", script, sent],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": ":".join(sys.path)},
    )
    assert elsewhere.stdout == said[3]


def test_it_answers_only_our_prompts():
    with pytest.raises(OptionError, match="answers only the prompts"):
        compose([{"role": "user", "content": "Hello"}], seed=1)
    with pytest.raises(OptionError, match="answers only"):
        compose(
            [{"role": "system", "content": "Task: poetry (prompt svit-1)"}, {"role": "user", "content": ""}], seed=1
        )


NAMES = st.sampled_from(
    [
        "car",
        "Car",
        "bikes",
        "grass",
        'a "WALK" sign',
        "color",
        "man",
        "CPU",
        "x",
        "bus",
        "café",
        "<st>",
        "unicycle",
        "hour",
    ]
) | st.text(max_size=8)
BOXES = st.tuples(*[st.integers(0, 10)] * 4).map(
    lambda four: Box(min(four[0], four[2]) / 11, min(four[1], four[3]) / 11, max(four[0], four[2]) / 11 + 0.05,
                     max(four[1], four[3]) / 11 + 0.05)
)  # fmt: skip
PHRASES = st.sampled_from(["the car is red", "man", "A man wearing hat.", "it is", "two people", "The  end"]) | st.text(
    max_size=30
)
PHOTOS = st.builds(
    Annotated,
    st.integers(0, 9),
    st.just(10),
    st.just(10),
    st.none(),
    st.lists(PHRASES.map(lambda text: " ".join(text.split())), max_size=2).map(tuple),
    st.lists(st.builds(Object, NAMES.map(lambda text: " ".join(text.split())), BOXES), max_size=9).map(tuple),
    st.lists(st.builds(Region, PHRASES.map(lambda text: " ".join(text.split())), BOXES), max_size=6).map(tuple),
)


@settings(max_examples=120, deadline=None)
@given(PHOTOS, st.sampled_from(TASKS), st.booleans(), st.integers(0, 3))
def test_whatever_was_annotated_there_is_a_reply_of_the_form_and_every_box_is_one_of_the_context(photo, task, js, seed):
    context = make_context(photo, task)
    said = compose(messages(context, json_schema=js).messages, seed=seed)
    assert said.strip()
    blocks = parse_reply(task, said).blocks
    assert blocks
    for block in blocks:
        roles = [turn.role for turn in block.turns]
        assert roles == (["gpt"] if task == "detail_description" else ["user", "gpt"] * (len(roles) // 2))
        assert all(turn.text.strip() for turn in block.turns)
    known = {one.box for one in context.objects}
    for one in parse(said):
        assert set(one.boxes) <= known
        assert one.phrase in {thing.name for thing in context.objects} | {
            thing.name.lower() for thing in context.objects
        }


@pytest.mark.parametrize("task", TASKS)
def test_one_thing_gives_few_questions_and_nothing_at_all_gives_one_honest_answer(task):
    one = dataclasses.replace(PHOTO, objects=PHOTO.objects[2:3], regions=())
    bare = dataclasses.replace(PHOTO, objects=(), regions=())
    if task == "detail_description":
        assert "a tree" in reply(one, task)
        assert reply(bare, task) == "Nothing can be named with certainty."
        return
    assert 1 <= len(pairs(one, task)) < 15
    assert len({question for question, _ in pairs(one, task)}) == len(pairs(one, task))
    [(_, answer)] = pairs(bare, task)
    assert answer.startswith("Nothing can be named with certainty.")


# That it is true ----------------------------------------------------------------------------------------------------


def said_by_many(task, seeds=60):
    return {qa for seed in range(seeds) for qa in pairs(PHOTO, task, seed)}


def test_numbers_are_those_of_the_annotated_things():
    said = dict(said_by_many("conversation"))
    assert said["How many cars are there?"] in ("There are two cars.", "Two cars can be seen.")
    assert said["How many trees are there?"] in ("There is one tree.", "One tree can be seen.")
    assert said["How many of the cars are in the left half?"] == "One of them is."
    assert not any("window" in question for question in said if question.startswith("How many"))  # how many is unknown


def test_names_whose_number_is_not_sure_are_not_counted():
    twice = (*PHOTO.objects, Object("tree", Box(0.4, 0.1, 0.6, 0.4)))  # perhaps the same tree
    many = (*PHOTO.regions, Region("three cars on the street", Box(0, 0, 1, 1)))
    for photo in (dataclasses.replace(PHOTO, objects=twice), dataclasses.replace(PHOTO, regions=many)):
        counted = {q for seed in range(40) for q, _ in pairs(photo, "conversation", seed) if q.startswith("How many")}
        wrong = "trees" if photo.objects == twice else "cars"
        assert not any(wrong in question for question in counted)


def test_places_are_those_of_the_boxes():
    boxes = {one.name: one.box for one in PHOTO.objects}
    found = 0
    for task in ("conversation", "referring_qa"):
        for _, answer in said_by_many(task):
            plain = re.sub(r"<st>(.+?)<ed>(?: \[[^\]]*\],?)+", r"\1", answer)
            match = re.fullmatch(
                r"The (\w+) (?:is|are) (to the left of|to the right of|further left than) the (\w+)\.", plain
            )
            if match:
                found += 1
                one, how, other = boxes[match[1]], match[2], boxes[match[3]]
                assert one.x2 <= other.x1 if how == "to the left of" else (
                    one.x1 >= other.x2 if how == "to the right of" else one.x1 + one.x2 < other.x1 + other.x2
                )  # fmt: skip
    assert found > 4


def test_colours_are_said_only_where_remarks_agree():
    said = dict(said_by_many("conversation"))
    assert said.get("What colour is the tree?", "The tree is green.") == "The tree is green."
    notes = read_notes("captions:\n\nobjects:\ncup: [0, 0, 0.5, 0.5]\n\nregions:\nred cup\na blue cup on table")
    assert notes.kinds[0].colour is None
    one = read_notes("captions:\n\nobjects:\ncup: [0, 0, 0.5, 0.5]\n\nregions:\nred cup\nthe cup is red")
    assert one.kinds[0].colour == "red"
    for other in ("keyboard on the cup is red", "a red cup holder", "the cup is red and blue"):
        assert read_notes(f"captions:\n\nobjects:\ncup: [0, 0, 0.5, 0.5]\n\nregions:\n{other}").kinds[0].colour is None
    two = read_notes("captions:\n\nobjects:\ncup: [0, 0, 0.5, 0.5]\n\nregions:\nblack and red cup")
    assert two.kinds[0].colour is None


def test_what_is_not_what_it_is_called_is_taken_for_nothing():
    toys = dataclasses.replace(
        PHOTO, objects=(Object("teddy bear", Box(0, 0, 0.5, 0.5)), Object("hot dog", Box(0, 0, 1, 1)))
    )
    assert not any(
        "animal" in qa[1] or "alive" in qa[1] for seed in range(9) for qa in pairs(toys, "complex_reasoning", seed)
    )


def test_what_speaks_of_the_photo_itself_or_of_no_thing_is_left_aside():
    notes = read_notes(
        "captions:\nThe image shows a caption.\nA dog runs over wet grass.\n\nobjects:\ncolor: [0, 0, 1, 1]\n"
        "dog: [0, 0, 0.5, 0.5]\n\nregions:\nthe photo is blurry\nshe is here\na wet dog\n"
    )
    assert notes.captions == ("A dog runs over wet grass.",)
    assert [kind.name for kind in notes.kinds] == ["dog"]
    assert [remark.text for remark in notes.remarks] == ["a wet dog"]


# Words --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("apple", "an apple"), ("car", "a car"), ("unicycle", "a unicycle"), ("hourglass", "an hourglass"),
        ("windows", "some windows"), ("glass", "a glass"), ("bus", "a bus"), ("grass", "grass"), ("men", "some men"),
        ("umbrella", "an umbrella"), ("uniform", "a uniform"), ("one-way sign", "a one-way sign"),
    ],
)  # fmt: skip
def test_articles(name, spoken):
    assert article(name) == spoken


@pytest.mark.parametrize(
    ("one", "many"),
    [("car", "cars"), ("bus", "buses"), ("man", "men"), ("snow man", "snow men"), ("berry", "berries"), ("toy", "toys"),
     ("bench", "benches"), ("traffic light", "traffic lights"), ("sheep", "sheep"), ("shelf", "shelves")],
)  # fmt: skip
def test_plurals(one, many):
    assert plural(one) == many
    assert the(one, 2) == f"the two {many}"


def test_verbs_enumerations_and_phrases():
    assert [be("car"), be("cars"), be("car", 2), be("glass"), be("people")] == ["is", "are", "are", "is", "are"]
    assert listed(["a cup"]) == "a cup"
    assert listed(["a cup", "a bowl", "two pears"]) == "a cup, a bowl and two pears"
    assert phrase("Brick sidewalk beside the street.") == "a brick sidewalk beside the street"
    assert phrase("the clock") == "the clock"
    assert phrase("trees along road") == "trees along road"
    assert phrase("back of a car") == "the back of a car"
    assert phrase("CPU on floor") == "a CPU on floor"
    assert told("man is tall", is_clause=True) == "A man is tall."
    assert told("red cup on table", is_clause=False) == "There is a red cup on table."
    assert told("Trees on a hill", is_clause=False) == "There are trees on a hill."


def test_places_in_words():
    notes = read_notes(
        "captions:\n\nobjects:\na: [0, 0, 0.2, 0.2]\nb: [0.8, 0.8, 1, 1]\nc: [0.4, 0.4, 0.6, 0.6]\n\nregions:"
    )
    a, b, c = (next(kind.first for kind in notes.kinds if kind.name == name) for name in "abc")
    assert [spot(a), spot(b), spot(c)] == ["in the upper left part", "in the lower right part", "in the middle"]
    assert relation(a, b) == "to the left of"
    assert relation(b, a) == "to the right of"
    assert relation(a, a) is None
