"""Replies judged: each rule has a reply that it must catch and near misses that it must not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from svit_builder.generate.clean import canonical, judge
from svit_builder.generate.context import make_context
from svit_builder.generate.faults import text_faults
from svit_builder.generate.protocol import Annotated, Object, Region, Reply
from svit_builder.generate.rules import ASKED, LEAST, RULES, rules_table
from svit_builder.svit_json import SvitWriter

from svit_datasets.boxes import Box
from svit_datasets.errors import OptionError
from svit_datasets.records import Record, read_records
from tests.test_parse import HOSTILE

DOCS = Path(__file__).parents[1] / "docs"
FIGURE = Path(__file__).parents[2] / "shared/data/real/svit/figure_example.json"

PHOTO = Annotated(
    306,
    500,
    375,
    None,
    ("A red bus waits beside a dog.", "The dog looks at the bus."),
    (Object("bus", Box(0.1, 0.2, 0.6, 0.8)), Object("dog", Box(0.7, 0.6, 0.9, 0.95))),
    (
        Region("a red bus with two decks", Box(0.1, 0.2, 0.6, 0.8)),
        Region("dog on the pavement", Box(0.7, 0.6, 0.9, 0.95)),
    ),
)
CONTEXTS = {task: make_context(PHOTO, task) for task in ASKED}
QUESTION = "What is to be seen?"


def said(text, finish_reason="stop"):
    return Reply(text, finish_reason, "model")


def qas(task, count=None):
    """Faultless questions and answers."""
    box = " <st>bus<ed> [0.1, 0.2, 0.6, 0.8]" if task == "referring_qa" else ""
    return [
        (f"What is the meaning of thing number {k}?", f"It is the {k}. thing near the{box} in the street.")
        for k in range(count or ASKED[task])
    ]


def written(pairs):
    return "\n\n".join(f"Question: {question}\nAnswer: {answer}" for question, answer in pairs)


def dialogues(*parts):
    return "\n\n".join(
        f"Topic: Topic {k}\n" + "\n".join(f"User: {question}\nGPT: {answer}" for question, answer in part)
        for k, part in enumerate(parts)
    )


def verdict(task, text, finish_reason="stop"):
    question = QUESTION if task == "detail_description" else None
    return judge(task, said(text, finish_reason), CONTEXTS[task], question=question)


def rules_of(found):
    return {finding.rule: finding.count for finding in found.findings}


def kept(found):
    return sum(len(block["content"]) // 2 for block in found.conversations)


def with_qa(task, question=None, answer=None, at=4):
    """A faultless reply but for one QA."""
    pairs = qas(task)
    pairs[at] = (question or pairs[at][0], pairs[at][1] if answer is None else answer)
    return verdict(task, written(pairs))


# Words ----------------------------------------------------------------------------------------------------------------

CAUGHT = {
    "empty_text": ["", "...", "-"],
    "message_is_empty": [
        "It seems like your message is empty. How can I assist you today?",
        "Your message appears to be empty.",
        "I apologize, but the message you sent was empty.",
    ],
    "refusal": [
        "I'm sorry, but I cannot help with that.",
        "Sorry, but I can't identify the person in the photo.",
        "As an AI language model, I cannot see images.",
        "There may be two. However, I am unable to say.",
        "Unfortunately, I do not have enough information.",
        "I\u2019m just an AI and cannot know.",
        "I cannot view the image, so the colour is unknown.",
        "I apologize for the confusion.",
        "I'm afraid I cannot tell.",
    ],
    "leak": [
        "According to the captions, the bus is red.",
        "The caption mentions a dog.",
        "One of the captions says that a dog is there. The captions also mention a bus.",
        "Based on the provided description, it is a bus.",
        "The description does not say.",
        "The image description indicates that it rains.",
        "It is inferred from the region descriptions.",
        "The bounding box of the bus is large.",
        "Its bounding boxes overlap.",
        "The coordinates show that the bus is left of the dog.",
        "Given the coordinates of the bus, it is on the left.",
        "The bus is at [0.1, 0.2, 0.6, 0.8].",
        "The bus begins at (0.12, 0.34).",
        "The <st>bus<ed> is red.",
        "The colour is not mentioned.",
        "It is not explicitly stated who drives.",
        "From the provided information, it is a bus.",
        "The information provided does not tell.",
        "In the given context, it is a bus.",
        "There is no mention of a driver.",
        "The list of objects has two buses.",
        "According to the notes, the bus is red.",
        "The annotations indicate a bus.",
    ],
    "prompt_echo": [
        "[answer]",
        "<answer here>",
        "Your answer",
        "Do not mention the source of the text.",
        "You are given a photo and write 15 questions about it.",
    ],
    "other_language": [
        "El autobús es rojo y está en la calle con un perro.",
        "Der Bus ist rot und steht auf der Straße mit einem Hund.",
        "Le bus est rouge et il est dans la rue avec un chien.",
        "这是一辆红色的公共汽车。",
        "Это красный автобус на улице.",
    ],
    "cut_off": ["The bus is red, and the", "It is a dog,", "There are two, a bus and a dog with", "A bus and the [sic"],
}
NEAR_MISSES = {
    "empty_text": ["2", "No", "Ü"],
    "message_is_empty": [
        "The bus is empty.",
        "The message board is nearly empty.",
        "The sign with a message is on an empty road.",
    ],
    "refusal": [
        "The man's sign says \"I'm sorry\".",
        "He seems sorry and apologetic.",
        "I can see a bus in the photo.",
        "I do not see any other dogs.",
        "She is unable to see the road.",
        "The robot looks like an AI robot.",
        "People may be afraid of the dog.",
        "I'm afraid of dogs, the child seems to say.",
    ],
    "leak": [
        "The caption on the poster says Bus Tours.",
        "A sign with a caption hangs at the stop.",
        "In the caption below the cartoon one reads a joke.",
        "The box beside the dog is brown.",
        "His tie coordinates with his shirt.",
        "The colour of the bus coordinates well.",
        "A player coordinates the attack.",
        "The conductor gives information to people.",
        "The bus fits the description of a double decker.",
        "The information desk is on the left.",
        "The price is not mentioned on the sign.",
        "The shelter provides shade (about 2.5 metres).",
        "A menu lists objects for sale.",
        "He takes notes. The notes on the wall are yellow.",
        "It is a list of drinks [in chalk].",
        "The regions of the map are green.",
        "The score is 2.5 [points].",
        "Based on the information in the image, it is a bus.",
        "The information provided in the picture is a timetable.",
        "The exact place is not specified in the photo.",
    ],
    "prompt_echo": ["The answer is written on the board.", "A quiz with ten questions.", "Ask the driver for help."],
    "other_language": [
        "The sign says \u201cBienvenidos a la playa del sol\u201d in large letters.",
        "The restaurant is called Le Petit Chien.",
        "The Chinese letter \u505c stands on the sign.",
        "Café, naïve, façade.",
        "Ja.",
    ],
    "cut_off": [
        "A dog and a bus",
        "Red",
        'It says "the"',
        "It is [0.5].",
        "Yes, it is!",
        "Something to sit on",
        "The one they look at",
    ],
}


@pytest.mark.parametrize(("rule", "answer"), [(rule, answer) for rule, answers in CAUGHT.items() for answer in answers])
def test_a_faulty_answer_is_left_out_and_the_others_stay(rule, answer):
    found = with_qa("complex_reasoning", answer=answer)
    assert rule in rules_of(found)
    assert found.accepted
    assert kept(found) == 14
    assert answer not in json.dumps(found.conversations) or not answer.strip(".-")


@pytest.mark.parametrize(
    ("rule", "answer"), [(rule, answer) for rule, answers in NEAR_MISSES.items() for answer in answers]
)
def test_a_near_miss_stays(rule, answer):
    found = with_qa("complex_reasoning", answer=answer)
    assert not any(RULES[name].action != "strip" for name in rules_of(found)), found.findings
    assert found.conversations[4]["content"][1]["value"] == answer


def test_a_visible_caption_is_no_leak_where_the_photo_is_known_to_show_one():
    answer = "The caption mentions a sale."
    assert [rule for rule, _ in text_faults("What does it say?", answer, marked=False)] == ["leak"]
    assert not list(text_faults("What does it say?", answer, marked=False, context="a poster with a caption"))
    given = "The provided captions mention a sale."
    assert [rule for rule, _ in text_faults("And?", given, marked=False, context="a poster with a caption")] == ["leak"]


def test_leaks_in_questions_are_caught_too():
    assert "leak" in rules_of(with_qa("complex_reasoning", question="What do the captions mention?"))


def test_the_same_question_again_is_left_out():
    pairs = qas("complex_reasoning")
    pairs[7] = (f" {pairs[3][0].upper()} ", "Another answer.")
    found = verdict("complex_reasoning", written(pairs))
    assert rules_of(found) == {"whitespace": 1, "duplicate_qa": 1, "few_qas": 1}
    pairs[7] = ("What is the meaning of it?", pairs[3][1])  # the same answer may be right twice
    assert rules_of(verdict("complex_reasoning", written(pairs))) == {}


def test_lines_of_the_context_are_an_echo():
    assert "prompt_echo" in rules_of(with_qa("complex_reasoning", answer="It has\nbus: [0.100, 0.200, 0.600, 0.800]"))
    echoed = "A red bus waits beside a dog.\nThe dog looks at the bus.\na red bus with two decks"
    assert rules_of(with_qa("complex_reasoning", answer=echoed)) == {"prompt_echo": 1, "few_qas": 1}
    assert rules_of(with_qa("complex_reasoning", answer="A red bus waits beside a dog.")) == {}


# Boxes ----------------------------------------------------------------------------------------------------------------

BAD_BOXES = {
    "malformed_box": [
        "A <st>bus<ed> [0.1, 0.2, 0.6].",
        "A <st>bus<ed> [0.1, 0.2, 0.6, 0.8, 0.9].",
        "A <st>bus<ed> [0.1, 0.2, 0.6, 0.8.1].",
        "A bus [0.1, 0.2, 0.6] without marks.",
    ],
    "impossible_box": [
        "A <st>bus<ed> [0.6, 0.2, 0.1, 0.8].",
        "A <st>bus<ed> [0.1, 0.8, 0.6, 0.2].",
        "A <st>bus<ed> [0.1, 0.2, 0.1, 0.8].",
        "A <st>bus<ed> [0.1, 0.2, 1.2, 0.8].",
        "A <st>bus<ed> [-0.1, 0.2, 0.5, 0.8].",
        "A <st>bus<ed> [50, 75, 300, 300].",
    ],
    "unbalanced_markup": [
        "A <st>bus [0.1, 0.2, 0.6, 0.8].",
        "A bus<ed> [0.1, 0.2, 0.6, 0.8] here.",
        "A <st>bus<ed> is here.",
        "A <st>bus<ed> and a <st>dog<ed> [0.7, 0.6, 0.9, 0.95].",
        "A <st><st>bus<ed> [0.1, 0.2, 0.6, 0.8].",
    ],
    "no_box": ["There is a bus."],
}
MENDED = {
    "A <st>bus<ed>[0.1, 0.2, 0.6, 0.8].": "A <st>bus<ed> [0.1, 0.2, 0.6, 0.8].",
    "A <st>bus<ed> [0.1,0.2,0.6,0.8].": "A <st>bus<ed> [0.100, 0.200, 0.600, 0.800].",
    "A <st>bus<ed> [0.1 0.2 0.6 0.8].": "A <st>bus<ed> [0.100, 0.200, 0.600, 0.800].",
    "A <st>bus<ed> [0.1, 0.2, 0.6., 0.8].": "A <st>bus<ed> [0.100, 0.200, 0.600, 0.800].",
    "A <st>bus<ed> [.1, 0.20001, 0.6, 0.8].": "A <st>bus<ed> [0.100, 0.200, 0.600, 0.800].",
    "A <st>bus<ed>: [0.1, 0.2, 0.6, 0.8].": "A <st>bus<ed> [0.1, 0.2, 0.6, 0.8].",
    "A <st>bus<ed> [-0.004, 0.2, 0.6, 1.01].": "A <st>bus<ed> [0, 0.200, 0.600, 1].",
    "Two <st>things<ed> [0, 0.2, 0.6, 1],[0.7, 0, 1, 1].": "Two <st>things<ed> [0, 0.2, 0.6, 1], [0.7, 0, 1, 1].",
    "The<st>bus<ed> [0.1, 0.2, 0.6, 0.8]waits.": "The <st>bus<ed> [0.1, 0.2, 0.6, 0.8] waits.",
}
FINE_BOXES = [
    "A <st>bus<ed> [0.1, 0.2, 0.6, 0.8] waits.",
    "Two <st>things<ed> [0, 0.2, 0.6, 1], [0.7, 0.6, 0.9, 0.95] are here [sic].",
    "On <st>line 1 [one]<ed> [0.1, 0.2, 0.6, 0.8] stands [1, 2, 3, 4, 5].",
]


@pytest.mark.parametrize(("rule", "answer"), [(rule, answer) for rule, some in BAD_BOXES.items() for answer in some])
def test_a_bad_box_costs_its_question(rule, answer):
    found = with_qa("referring_qa", answer=answer)
    assert rule in rules_of(found)
    assert found.accepted
    assert kept(found) == 9


@pytest.mark.parametrize("answer", MENDED)
def test_what_leaves_no_doubt_is_mended(answer):
    found = with_qa("referring_qa", answer=answer)
    rule = "box_border" if "-0.004" in answer else "box_spelling"
    assert rule in rules_of(found)
    assert kept(found) == 10
    assert found.conversations[4]["content"][1]["value"] == MENDED[answer]


@pytest.mark.parametrize("answer", FINE_BOXES)
def test_a_good_box_stays_as_it_is_written(answer):
    found = with_qa("referring_qa", answer=answer)
    assert not {"box_spelling", "box_border", "malformed_box", "impossible_box", "unbalanced_markup"} & set(
        rules_of(found)
    )
    assert found.conversations[4]["content"][1]["value"] == answer


def test_a_box_in_the_question_alone_suffices():
    question = "Why does the <st>dog<ed> [0.7, 0.6, 0.9, 0.95] wait?"
    assert rules_of(with_qa("referring_qa", question=question, answer="It is tired.")) == {}


def test_phrases_and_boxes_that_the_context_does_not_have_are_flagged():
    found = with_qa(
        "referring_qa", answer="A <st>zebra<ed> [0.1, 0.2, 0.6, 0.8] near <st>two dogs<ed> [0, 0, 0.2, 0.2]."
    )
    assert rules_of(found) == {"unknown_phrase": 1, "unlisted_box": 1}
    assert kept(found) == 10


# Counts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["complex_reasoning", "referring_qa"])
def test_enough_questions_are_accepted_and_fewer_are_not(task):
    assert rules_of(verdict(task, written(qas(task)))) == {}
    found = verdict(task, written(qas(task, LEAST[task])))
    assert (found.accepted, rules_of(found)) == (True, {"few_qas": 1})
    found = verdict(task, written(qas(task, LEAST[task] - 1)))
    assert (found.accepted, found.reason, found.conversations) == (False, "wrong_count", ())


def test_more_than_was_asked_for_is_left_out():
    found = verdict("referring_qa", written(qas("referring_qa", 12)))
    assert (kept(found), rules_of(found)) == (10, {"excess": 2})


def test_the_rule_that_cost_most_is_the_reason():
    pairs = qas("complex_reasoning")
    for at in range(3):
        pairs[at] = (pairs[at][0], "The captions mention it.")
    pairs[5] = (pairs[5][0], "I'm sorry, I cannot answer.")
    found = verdict("complex_reasoning", written(pairs))
    assert (found.accepted, found.reason) == (False, "leak")
    assert rules_of(found) == {"leak": 3, "refusal": 1}


def test_turns_without_counterpart_cost_themselves():
    pairs = qas("complex_reasoning")
    text = written(pairs).replace(f"Answer: {pairs[2][1]}\n", "")
    assert rules_of(verdict("complex_reasoning", text)) == {"not_alternating": 1, "few_qas": 1}


def test_in_a_dialogue_what_follows_goes_too():
    part = [qas("conversation")[at : at + 5] for at in (0, 5, 10)]
    assert rules_of(verdict("conversation", dialogues(*part))) == {}
    broken = list(part[1])
    broken[3] = (broken[3][0], "The captions mention it.")
    found = verdict("conversation", dialogues(part[0], broken, part[2]))
    assert rules_of(found) == {"leak": 1, "follow_up": 1, "few_qas": 1}
    assert [len(block["content"]) for block in found.conversations] == [10, 6, 10]
    assert [block["topic"] for block in found.conversations] == ["Topic 0", "Topic 1", "Topic 2"]
    broken[1] = (broken[1][0], "")
    found = verdict("conversation", dialogues(part[0], broken, part[2]))
    assert found.accepted
    assert [len(block["content"]) for block in found.conversations] == [10, 10]
    assert rules_of(found)["short_dialogue"] == 1


def test_a_conversation_needs_two_dialogues():
    part = [qas("conversation")[at : at + 5] for at in (0, 5, 10)]
    assert verdict("conversation", dialogues(*part[:2])).accepted
    assert verdict("conversation", dialogues(part[0])).reason == "wrong_count"
    assert verdict("conversation", dialogues(sum(part, []))).reason == "wrong_count"  # noqa: RUF017 - one long dialogue
    found = verdict(
        "conversation", dialogues(*part, [("One more?", "Yes."), ("Two?", "Yes, two."), ("Three?", "Yes, three.")])
    )
    assert (kept(found), rules_of(found)) == (15, {"excess": 3})


# Whole replies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ASKED)
@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("", "stop", "empty"),
        (" \n\u200b", None, "empty"),
        ("I'm sorry, but I cannot assist with that request.", "stop", "refusal"),
        ("It seems like your message is empty.", "stop", "message_is_empty"),
        ("Half of a", "length", "truncated"),
        ("", "content_filter", "filtered"),
    ],
)
def test_a_reply_without_use_is_asked_for_again(task, text, finish_reason, reason):
    found = verdict(task, text, finish_reason)
    assert (found.accepted, found.reason, found.conversations) == (False, reason, ())
    assert reason in rules_of(found)


@pytest.mark.parametrize("task", ["conversation", "complex_reasoning", "referring_qa"])
def test_other_texts_cannot_be_parsed_or_are_echoes(task):
    assert verdict(task, "The photo shows a red bus that waits beside a dog in the street.").reason == "unparsable"
    assert verdict(task, CONTEXTS[task].text).reason == "prompt_echo"


def test_a_description_is_judged_as_one_answer():
    text = "The photo shows a red bus, and a dog that waits beside it.\n\nThe street is wet."
    found = verdict(
        "detail_description", f"Certainly! Here is a description:\n\n{text}\n\nLet me know if you need more."
    )
    assert found.accepted
    assert rules_of(found) == {"preamble": 1, "epilogue": 1}
    assert found.conversations == (
        {"topic": None, "content": [{"from": "user", "value": QUESTION}, {"from": "gpt", "value": text}]},
    )
    assert verdict("detail_description", f"{text} The captions mention rain.").reason == "leak"
    assert verdict("detail_description", f"{text} It is at [0.1, 0.2, 0.3, 0.4].").reason == "leak"
    assert verdict("detail_description", f"{text} And the").reason == "cut_off"
    assert verdict("detail_description", written(qas("complex_reasoning"))).reason == "wrong_count"


def test_a_description_without_its_question_is_an_error_of_the_caller():
    with pytest.raises(OptionError, match="needs the question"):
        judge("detail_description", said("A bus."), CONTEXTS["detail_description"])
    with pytest.raises(OptionError, match="'all' is not allowed"):
        judge("all", said("A bus."), CONTEXTS["detail_description"])


def test_every_rule_is_shown_here_or_takes_off_only():
    text = Path(__file__).read_text("utf-8")
    for rule in RULES.values():
        assert rule.action == "strip" or f'"{rule.id}"' in text, rule.id


# Again ----------------------------------------------------------------------------------------------------------------


def assert_stable(task, found):
    again = verdict(task, canonical(task, found.conversations))
    assert again.accepted
    assert again.conversations == found.conversations
    assert all(finding.action == "flag" for finding in again.findings)


@pytest.mark.parametrize("task", ASKED)
@settings(max_examples=40)
@given(data=st.data())
def test_judging_what_was_accepted_again_changes_nothing(task, data):
    """Whatever stands in the answers of a reply that would be accepted."""
    if task == "detail_description":
        text = f"The bus is red.\n{data.draw(HOSTILE)}\n{data.draw(HOSTILE)}"
    else:
        pairs = [
            (f"{question} {data.draw(HOSTILE)}", f"{data.draw(HOSTILE)}{answer}")
            if at in (2, 6, 9)
            else (question, answer)
            for at, (question, answer) in enumerate(qas(task))
        ]
        text = written(pairs) if task != "conversation" else dialogues(pairs[:5], pairs[5:10], pairs[10:])
    found = verdict(task, text)
    if found.accepted:
        assert_stable(task, found)
    else:
        assert found.reason in RULES
        assert not found.conversations


@pytest.mark.parametrize("task", ASKED)
@settings(max_examples=40)
@given(text=HOSTILE | st.text(st.characters()))
def test_any_text_gets_a_verdict(task, text):
    found = verdict(task, text)
    assert found.accepted == (found.reason is None) == bool(found.conversations)


def test_mended_boxes_are_stable():
    for answer in MENDED:
        assert_stable("referring_qa", with_qa("referring_qa", answer=answer))


# What is published ----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_authors_example_is_svit_json_and_breaks_no_rule(tmp_path):
    """Their figure shows parts of replies, so counts are not judged; as a file it reads back as one record a task."""
    if not FIGURE.exists():
        pytest.skip("the authors' figure does not lie beside this checkout")
    output = json.loads(FIGURE.read_text("utf-8"))["output"]
    talk = [text for _, text in output["conversation"]["turns"]]
    description = output["detail_description"]["text"]
    said_there = {
        "conversation": list(zip(talk[::2], talk[1::2], strict=True)),
        "complex_reasoning": output["complex_reasoning"]["qas"],
        "referring_qa": [one["qa"] for one in output["referring_qa"]["qas"]],
        "detail_description": [(QUESTION, description)],
    }
    for task, pairs in said_there.items():
        for question, answer in pairs:
            assert not list(text_faults(question, answer, marked=task == "referring_qa")), answer
        turns = [[{"from": "user", "value": q}, {"from": "gpt", "value": a}] for q, a in pairs]
        topic = output["conversation"]["topic"] if task == "conversation" else None
        blocks = [sum(turns, [])] if task == "conversation" else turns  # noqa: RUF017 - three turns
        with SvitWriter(tmp_path / f"{task}.json") as writer:
            writer.write(306, [{"topic": topic, "content": content} for content in blocks])
        with (tmp_path / f"{task}.json").open("rb") as stream:
            [record] = read_records(stream, task, "svit")
        assert isinstance(record, Record)
        assert list(record.texts) == [text for pair in pairs for text in pair]
    assert verdict("detail_description", description).conversations[0]["content"][1]["value"] == description
    referring = written([*qas("referring_qa", 7), *said_there["referring_qa"]])
    assert rules_of(verdict("referring_qa", referring)).keys() <= {"unknown_phrase", "unlisted_box"}


def test_the_page_lists_the_rules_as_they_are():
    page = (DOCS / "cleaning.md").read_text("utf-8")
    table = re.search(r"<!-- rules -->\n\n(.*?)\n<!-- end of rules -->", page, re.DOTALL)
    assert table is not None
    assert table[1] == rules_table(), "write rules_table() of svit_builder.generate.rules between the marks"
