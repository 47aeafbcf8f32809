"""Replies to turns: every way of writing them that models have, no text that breaks the parser, and back again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from svit_builder.generate.lines import plain
from svit_builder.generate.parse import Block, Turn, format_reply, parse_reply, tidy

import tests.strategies  # noqa: F401 - sets the profile: no deadline, no database

TASKS = ("conversation", "complex_reasoning", "referring_qa", "detail_description")
FIGURE = Path(__file__).parents[2] / "shared/data/real/svit/figure_example.json"


def turns(*texts):
    return tuple(Turn(("user", "gpt")[number % 2], text) for number, text in enumerate(texts))


def pairs(*texts):
    return tuple(Block(None, turns(*texts[at : at + 2])) for at in range(0, len(texts), 2))


TWO = pairs("What is red?", "The bus.", "Why?", "So\nit is.")
PAIR_FORMS = {
    "as asked": "Question: What is red?\nAnswer: The bus.\n\nQuestion: Why?\nAnswer: So\nit is.",
    "no empty lines": "Question: What is red?\nAnswer: The bus.\nQuestion: Why?\nAnswer: So\nit is.",
    "numbers before": "1. Question: What is red?\nAnswer: The bus.\n2. Question: Why?\nAnswer: So\nit is.",
    "numbers behind": "Question 1: What is red?\nAnswer 1: The bus.\nQuestion 2: Why?\nAnswer 2: So\nit is.",
    "numbers alone": "1.\nQuestion: What is red?\nAnswer: The bus.\n\n2)\nQuestion: Why?\nAnswer: So\nit is.",
    "short": "Q1: What is red?\nA1: The bus.\nQ2. Why?\nA2. So\nit is.",
    "small letters": "question: What is red?\nanswer: The bus.\nquestion: Why?\nanswer: So\nit is.",
    "bold labels": "**Question 1:** What is red?\n**Answer:** The bus.\n\n**Question**: Why?\n**Answer**: So\nit is.",
    "bold all": "**Question: What is red?**\nAnswer: The bus.\n**Question: Why?**\nAnswer: *So*\n*it is.*",
    "headings": "### Question 1\nWhat is red?\n### Answer\nThe bus.\n\n### Question 2\nWhy?\n### Answer\nSo\nit is.",
    "bullets": "- Question: What is red?\n- Answer: The bus.\n* Question: Why?\n* Answer: So\nit is.",
    "one line": "Q: What is red? A: The bus.\nQuestion: Why? Answer: So\nit is.",
    "questions only by number": "1. What is red?\nAnswer: The bus.\n2. Why?\nAnswer: So\nit is.",
    "categories": "Question 1 (Colours): What is red?\nAnswer: The bus.\nQuestion 2 (Why): Why?\nAnswer: So\nit is.",
    "dividers": "Question: What is red?\nAnswer: The bus.\n---\nQuestion: Why?\nAnswer: So\nit is.\n***",
    "fence": "```\nQuestion: What is red?\nAnswer: The bus.\nQuestion: Why?\nAnswer: So\nit is.\n```",
    "announced": "Sure! Here are two questions:\n\nQuestion: What is red?\nAnswer: The bus.\nQuestion: Why?\n"
    "Answer: So\n"
    "it is.\n\nI hope this helps! Let me know if you need more.",
    "topics": "Topic: Colours\nQuestion: What is red?\nAnswer: The bus.\n## Reasons\nQuestion: Why?\n"
    "Answer: So\nit is.",
    "windows": "\ufeffQuestion: What is red?\r\nAnswer: The bus.\r\nQuestion:\u00a0Why?\r\nAnswer: So\r\nit is.\r\n",
    "indented": "  Question: What is red?\n\tAnswer: The bus.\n  Question: Why?\n    Answer: So\n    it  is.",
    "thought over": "<think>Question: is it?\nAnswer: no</think>\nQuestion: What is red?\nAnswer: The bus.\n"
    "Question: Why?\n"
    "Answer: So\nit is.",
    "roles": "User: What is red?\nGPT: The bus.\nHuman: Why?\nAssistant: So\nit is.",
    "json": json.dumps(
        {
            "qas": [
                {"question": "What is red?", "answer": "The bus."},
                {"question": "Why?", "answer": "So\nit is."},
            ]
        }
    ),
    "json in a fence": "Here you go:\n```json\n"
    + json.dumps(
        {
            "qas": [
                {"question": "What is red?", "answer": "The bus."},
                {"question": "Why?", "answer": "So\nit is."},
            ]
        },
        indent=1,
    )
    + "\n```",
    "json list": json.dumps(
        [{"question": "What is red?", "answer": "The bus."}, {"question": "Why?", "answer": "So\nit is."}]
    ),
}


@pytest.mark.parametrize("form", PAIR_FORMS)
def test_questions_and_answers_are_found_in_any_dress(form):
    assert parse_reply("complex_reasoning", PAIR_FORMS[form]).blocks == TWO


DIALOGUES = (
    Block("The bus", turns("What is it?", "A bus.", "And?", "It is red.")),
    Block("Colours", turns("Hm?", "Yes.")),
)
DIALOGUE_FORMS = {
    "as asked": "Topic: The bus\nUser: What is it?\nGPT: A bus.\nUser: And?\nGPT: It is red.\n\nTopic: Colours\n"
    "User: Hm?\nGPT: Yes.",
    "numbered": "Conversation 1: The bus\nUser: What is it?\nGPT: A bus.\nUser: And?\nGPT: It is red.\n\n"
    "Conversation 2: Colours\nUser: Hm?\nGPT: Yes.",
    "both lines": "Conversation 1\nTopic: The bus\nUser: What is it?\nGPT: A bus.\nUser: And?\nGPT: It is red.\n\n"
    "Conversation 2:\nTopic: Colours\nUser: Hm?\nGPT: Yes.",
    "bold": "**Conversation 1: The bus**\n\n**User:** What is it?\n**GPT:** A bus.\n**User**: And?\n"
    "**GPT**: It is red.\n\n"
    "**Topic 2: Colours**\n**User:** Hm?\n**GPT:** Yes.",
    "headings": "## The bus\n\nUser: What is it?\nGPT: A bus.\nUser: And?\nGPT: It is red.\n\n## Colours\n\n"
    "User: Hm?\nGPT: Yes.",
    "numbers": "1. The bus\n\nUser: What is it?\nGPT: A bus.\nUser: And?\nGPT: It is red.\n\n2. Colours\n\n"
    "User: Hm?\nGPT: Yes.",
    "other names": "First conversation: The bus\nPerson: What is it?\nAI: A bus.\nHuman: And?\n"
    "Assistant: It is red.\n\n"
    "Dialogue II - Colours\nQ: Hm?\nA: Yes.",
    "announced": "Certainly! Here are the conversations:\n\n---\nTopic: The bus\nUser: What is it?\n"
    "GPT: A bus.\nUser: And?\n"
    "GPT: It is red.\n---\nTopic: Colours\nUser: Hm?\nGPT: Yes.\n---\nThese conversations cover the photo.",
    "json": json.dumps(
        {
            "conversations": [
                {
                    "topic": "The bus",
                    "turns": [
                        {"question": "What is it?", "answer": "A bus."},
                        {"question": "And?", "answer": "It is red."},
                    ],
                },
                {"topic": "Colours", "turns": [{"question": "Hm?", "answer": "Yes."}]},
            ]
        }
    ),
}


@pytest.mark.parametrize("form", DIALOGUE_FORMS)
def test_dialogues_are_found_with_their_topics(form):
    assert parse_reply("conversation", DIALOGUE_FORMS[form]).blocks == DIALOGUES


def test_dialogues_without_any_heading_are_one():
    reply = "User: What is it?\nGPT: A bus.\n\nUser: And?\nGPT: It is red."
    assert parse_reply("conversation", reply).blocks == (
        Block(None, turns("What is it?", "A bus.", "And?", "It is red.")),
    )


DESCRIPTIONS = {
    "plain": "The photo shows a bus.\n\nIt is red.",
    "announced": "Certainly! Here is a detailed description of the photo:\n\nThe photo shows a bus.\n\nIt is red.",
    "labelled": "**Description:** The photo shows a bus.\n\nIt is red.",
    "as a turn": "GPT: The photo shows a bus.\n\nIt is red.",
    "headed": "# A bus\n\nThe photo shows a bus.\n\n---\n\nIt is red.\n\nLet me know if you need more.",
    "json": '{"description": "The photo shows a bus.\\n\\nIt is red."}',
}


@pytest.mark.parametrize("form", DESCRIPTIONS)
def test_a_description_is_the_whole_text(form):
    text = DESCRIPTIONS[form]
    expected = "The photo shows a bus.\n\nIt is red."
    blocks = parse_reply("detail_description", text).blocks
    assert blocks == (Block(None, (Turn("gpt", expected),)),)


def test_what_is_said_stays_to_the_letter():
    answer = (
        "It has 2 * 3 = 6 seats [sic] & a sign: \u201cExit 4\u201d.\n\n1. Sit down\n2. Look out\n- or #1 sleep_well_2"
    )
    reply = f"Question: What is it?\nAnswer: {answer}\n\nQuestion: Next?\nAnswer: No."
    assert parse_reply("complex_reasoning", reply).blocks == pairs("What is it?", answer, "Next?", "No.")


def test_words_that_begin_like_labels_are_text():
    answer = (
        "A user of the bus.\nModel: T3, built in 1950.\nAnswers vary. Questioning helps.\nPerson to the left: a man."
    )
    reply = f"Question: Who?\nAnswer: {answer}"
    assert parse_reply("complex_reasoning", reply).blocks == pairs("Who?", answer)


def test_a_numbered_list_in_an_answer_is_no_topic():
    reply = "Topic: Games\nUser: How?\nGPT: Like this:\n\n1. Throw\n2. Catch\n\nUser: And?\nGPT: Run."
    assert parse_reply("conversation", reply).blocks == (
        Block("Games", turns("How?", "Like this:\n\n1. Throw\n2. Catch", "And?", "Run.")),
    )


def test_turns_without_counterpart_are_kept_for_the_rules():
    blocks = parse_reply("complex_reasoning", "Question: One?\nQuestion: Two?\nAnswer: 2.\nAnswer: 3.").blocks
    assert blocks == (
        Block(None, (Turn("user", "One?"),)),
        Block(None, (Turn("user", "Two?"), Turn("gpt", "2."), Turn("gpt", "3."))),
    )


@pytest.mark.parametrize(
    "text", ["", "Nothing to say.", "1. a\n2. b", '{"qas": 3}', '{"qas": [{"question": null}]}', "[" * 9000]
)
def test_a_text_in_no_form_is_loose(text):
    parsed = parse_reply("complex_reasoning", text)
    assert parsed.blocks == ()
    assert parsed.loose == tidy(text)


def test_what_is_taken_off_is_counted():
    stripped = parse_reply("complex_reasoning", PAIR_FORMS["announced"]).stripped
    assert (stripped["preamble"], stripped["epilogue"]) == (1, 1)
    assert parse_reply("complex_reasoning", PAIR_FORMS["numbers behind"]).stripped == {"numbering": 4}
    assert parse_reply("complex_reasoning", PAIR_FORMS["bold labels"]).stripped == {"numbering": 1, "markdown": 4}
    assert parse_reply("complex_reasoning", PAIR_FORMS["as asked"]).stripped == {}


# Any text -------------------------------------------------------------------------------------------------------------

PIECES = [
    *(
        "Question:",
        "Answer:",
        "User:",
        "GPT:",
        "Q1.",
        "A:",
        "Question",
        "Answer 3: ",
        "Topic: ",
        "Conversation 1",
        "Title -",
    ),
    *(
        "\n",
        "\n\n",
        " ",
        "1. ",
        "2) ",
        "(1)",
        "**",
        "*",
        "#",
        "## ",
        "> ",
        "- ",
        "---",
        "```",
        "`",
        ":",
        ".",
        "?",
        "[",
        "]",
    ),
    *("foo", "bar?", "Hope this helps!", "Here is it: ", "<think>", "</think>", "{", "}", "\u200b", "\ud800", "\r"),
    *(
        '{"qas": [{"question": "',
        '", "answer": "',
        '"}]}',
        "<st>",
        "<ed>",
        "[0.1, 0.2, 0.3, 0.4]",
        "Sure! ",
        "Description: ",
    ),
]
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=14).map("".join)


@pytest.mark.parametrize("task", TASKS)
@given(text=HOSTILE | st.text(st.characters()))
@example(text="2. `*}bar?\n\nAnswer:3) 1. ")
@example(text="Answer: Answer:\n1. bar? Hope this helps!\u200b.")
@example(text="Topic: </think>foo Topic: Conversation 1\n\nGPT:3) Answer:")
def test_no_text_breaks_the_parser_and_what_it_found_it_finds_again(task, text):
    blocks = parse_reply(task, text).blocks
    assert all(block.turns for block in blocks)
    again = parse_reply(task, format_reply(task, blocks))
    assert again.blocks == blocks


WORD = st.text(st.characters(categories=("L", "N"), include_characters=",'-"), min_size=1, max_size=8)
SAID = st.lists(WORD, min_size=1, max_size=12).map(lambda words: f"It {' '.join(words)}.")
ANSWER = st.lists(SAID, min_size=1, max_size=3).flatmap(
    lambda lines: st.sampled_from(["\n", "\n\n"]).map(lambda by: by.join(lines))
)


@given(data=st.lists(st.tuples(SAID, ANSWER), min_size=1, max_size=15))
def test_canonical_pairs_come_back(data):
    blocks = pairs(*(tidy(text) for pair in data for text in pair))
    assert parse_reply("complex_reasoning", format_reply("complex_reasoning", blocks)).blocks == blocks


@settings(max_examples=40)
@given(
    data=st.lists(
        st.tuples(st.none() | SAID, st.lists(st.tuples(SAID, ANSWER), min_size=1, max_size=5)), min_size=1, max_size=3
    )
)
def test_canonical_dialogues_come_back(data):
    blocks = tuple(
        Block(topic and tidy(topic), turns(*(tidy(text) for pair in said for text in pair))) for topic, said in data
    )
    assert parse_reply("conversation", format_reply("conversation", blocks)).blocks == blocks


@given(text=HOSTILE.filter(lambda text: "\n" not in text and "\r" not in text))
def test_taking_markdown_off_twice_changes_nothing(text):
    once = plain(tidy(text))
    assert plain(once) == once


@given(text=HOSTILE | st.text(st.characters()))
def test_tidying_twice_changes_nothing_and_leaves_what_can_be_stored(text):
    once = tidy(text)
    assert tidy(once) == once
    once.encode()


PIECES_OF_A_MEGABYTE = [
    *(
        "*",
        "> ",
        "# ",
        "[",
        "{",
        "\n",
        "User: ",
        "Question: ",
        "1. ",
        "1. a?\n",
        "Topic: ",
        "Topic: \n",
        "<think>",
        " ",
        "a ",
    ),
    *(" *a", "Hope this helps! ", "Hope this helps!\n", "```\n", "---\n", "Conversation 1\n", "User:\nGPT:\n", "A: "),
    *(
        "**Foo**\n",
        "Q1",
        "(",
        '{"qas":[',
        "1.\n",
        "\r",
        "Question 1 (",
        " A: x",
        "sure, ",
        "here is ",
        "\ud800",
        "Description: ",
    ),
]


def seconds(task, text):
    begin = time.process_time()
    parse_reply(task, text)
    return time.process_time() - begin


def test_anything_takes_linear_time():
    """CPU time for sixteen times as much text is about sixteen times as much; a square would be 256."""
    for piece in PIECES_OF_A_MEGABYTE:
        for task in ("conversation", "complex_reasoning"):
            few, many = (piece * (size // len(piece)) for size in (1 << 11, 1 << 15))
            spent = [min(seconds(task, text), seconds(task, text)) for text in (few, many)]
            assert spent[1] < 100 * max(spent[0], 0.001), (piece, task, spent)


def test_a_long_line_of_each_kind_takes_linear_time_up_to_a_megabyte():
    for piece in ("*", "Question: ", "\n"):
        assert seconds("complex_reasoning", piece * ((1 << 20) // len(piece))) < 8, piece


@pytest.mark.real
def test_the_authors_example_parses():
    if not FIGURE.exists():
        pytest.skip("the authors' figure does not lie beside this checkout")
    output = json.loads(FIGURE.read_text("utf-8"))["output"]
    said = output["conversation"]["turns"]
    reply = f"Topic: {output['conversation']['topic']}\n" + "\n".join(f"{role}: {text}" for role, text in said)
    assert parse_reply("conversation", reply).blocks == (
        Block("Traffic Light Installation", turns(*(text for _, text in said))),
    )
    qas = [*output["complex_reasoning"]["qas"], *(one["qa"] for one in output["referring_qa"]["qas"])]
    reply = "\n\n".join(f"Question: {question}\nAnswer: {answer}" for question, answer in qas)
    assert parse_reply("referring_qa", reply).blocks == pairs(*(text for qa in qas for text in qa))
    text = output["detail_description"]["text"]
    assert parse_reply("detail_description", text).blocks == (Block(None, (Turn("gpt", text),)),)
