"""What is sent for a photo and a task: our own wording, versioned, the same for the same arguments."""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from collections import Counter
from importlib.resources import files

import pytest
from svit_builder.generate import prompts
from svit_builder.generate.context import estimate_tokens, make_context
from svit_builder.generate.prompts import TASKS, instructions, messages
from svit_builder.generate.prompts.forms import SCHEMAS, write_reply
from svit_builder.generate.protocol import Annotated, Context, Object

from svit_datasets.boxes import Box, parse
from svit_datasets.errors import OptionError
from svit_datasets.sample import write_sample

PHOTO = Annotated(7, 10, 10, None, ("A cat on a mat.",), (Object("cat", Box(0, 0, 0.5, 1)),), ())
WHOLE = [(task, few_shot, as_json) for task in TASKS for few_shot in (False, True) for as_json in (False, True)]


def context(task, image_id=7):
    return dataclasses.replace(make_context(PHOTO, task), image_id=image_id)


def example(task):
    """The drawn scene and the whole reply of a task's example."""
    _, told, reply = files(prompts).joinpath(f"example_{task}.txt").read_text("utf-8").split("\n---\n")
    return told, json.loads(reply)


def test_there_is_a_prompt_for_each_of_the_four_tasks():
    assert set(TASKS) == {"conversation", "complex_reasoning", "detail_description", "referring_qa"}


@pytest.mark.parametrize(("task", "few_shot", "as_json"), WHOLE)
def test_the_system_text_names_task_and_version_first_and_the_form_last(task, few_shot, as_json):
    prompt = messages(context(task), few_shot=few_shot, json_schema=as_json)
    system = prompt.messages[0]["content"]
    assert system.startswith(f"Task: {task} (prompt svit-1)\n\n")
    assert system.endswith("\n\nReply in JSON." if as_json else "\n\nReply in plain text.")
    roles = ["system", "user", "assistant", "user"] if few_shot else ["system", "user"]
    assert [message["role"] for message in prompt.messages] == roles
    assert prompt.messages[-1]["content"] == context(task).text
    assert prompt.version == "svit-1"
    assert estimate_tokens(system) < 1400


def test_the_tasks_ask_for_what_svit_has():
    asked = {task: messages(context(task)).messages[0]["content"] for task in TASKS}
    for task, words in {
        "conversation": (
            "three separate dialogues",
            "exactly five questions",
            "topic",
            "User:",
            "GPT:",
            "fifty tokens",
        ),
        "complex_reasoning": ("fifteen questions", "step by step", "Question:", "Answer:"),
        "referring_qa": ("ten questions", "<st>name<ed> [x1, y1, x2, y2]", "Question:", "Answer:"),
        "detail_description": ("running text",),
    }.items():
        for word in words:
            assert word in asked[task]
        assert "Never let on that you worked from notes" in asked[task]


def test_the_digest_is_of_everything_but_the_photo():
    digests = {messages(context(task), few_shot=f, json_schema=j).sha256 for task, f, j in WHOLE}
    assert len(digests) == len(WHOLE)
    for task in TASKS:
        first, second = messages(context(task, 1)), messages(context(task, 2))
        assert first.sha256 == second.sha256
        assert re.fullmatch("[0-9a-f]{64}", first.sha256)


def test_changing_what_was_returned_changes_nothing_for_the_next():
    prompt = messages(context("conversation"))
    prompt.messages[0]["content"] = "changed"
    assert messages(context("conversation")).messages[0]["content"] != "changed"


def test_other_versions_and_tasks_are_refused():
    with pytest.raises(OptionError, match="svit-9"):
        messages(context("conversation"), version="svit-9")
    with pytest.raises(OptionError, match="no prompt for task 'all'"):
        messages(Context(1, "all", "svit-1", "", (), (), ()))


# The instructions of detail_description -----------------------------------------------------------------------------


def test_there_are_at_least_thirty_different_instructions_of_one_line():
    known = instructions()
    assert len(known) >= 30
    assert len({line.lower() for line in known}) == len(known)
    assert all(line == line.strip() and line[-1] in ".?" and 20 < len(line) < 120 for line in known)


def test_a_photo_s_instruction_is_drawn_by_its_id_and_is_not_sent():
    drawn = [messages(context("detail_description", n)).question for n in range(3_600)]
    assert drawn == [messages(context("detail_description", n)).question for n in range(3_600)]
    counts = Counter(drawn)
    assert set(counts) == set(instructions())
    assert max(counts.values()) < 2 * min(counts.values())
    assert all(question not in str(messages(context("detail_description")).messages) for question in counts)
    assert messages(context("conversation")).question is None
    assert drawn[7] == "Could you paint this photo for me in words?"  # or published data would change


# The examples -------------------------------------------------------------------------------------------------------


def conforms(value, schema):
    """Check a value against the part of JSON schema that the schemas use."""
    if schema["type"] == "object":
        assert schema["additionalProperties"] is False
        assert set(value) == set(schema["required"]) == set(schema["properties"])
        return all(conforms(value[key], part) for key, part in schema["properties"].items())
    if schema["type"] == "array":
        return isinstance(value, list) and all(conforms(one, schema["items"]) for one in value)
    return isinstance(value, str) and bool(value.strip())


@pytest.mark.parametrize("task", TASKS)
def test_an_example_is_a_context_with_a_reply_of_the_form_and_number_asked_for(task):
    told, reply = example(task)
    assert told.startswith("captions:\n")
    assert conforms(reply, SCHEMAS[task])
    if task == "conversation":
        assert [len(one["turns"]) for one in reply["conversations"]] == [5, 5, 5]
    elif task != "detail_description":
        assert len(reply["qas"]) == {"complex_reasoning": 15, "referring_qa": 10}[task]


def test_the_boxes_of_the_referring_example_are_those_of_its_context():
    told, reply = example("referring_qa")
    for qa in reply["qas"]:
        found = parse(qa["question"] + qa["answer"])
        assert found
        for one in found:
            for box in one.boxes:
                numbers = ", ".join({0.0: "0", 1.0: "1"}.get(side, f"{side:.3f}") for side in box)
                assert f"[{numbers}]" in told


def test_the_examples_are_drawn_scenes_of_the_sample_corpus(tmp_path):
    write_sample(tmp_path)
    with zipfile.ZipFile(tmp_path / "data" / "complex_reasoning.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith("complex_reasoning.json"))
        known = archive.read(name).decode("utf-8-sig")
    for qa in example("complex_reasoning")[1]["qas"]:
        assert json.dumps(qa["question"])[1:-1] in known


@pytest.mark.parametrize("task", TASKS)
def test_an_example_s_reply_is_sent_in_the_form_asked_for(task):
    _, reply = example(task)
    plain = messages(context(task), few_shot=True).messages[2]["content"]
    assert plain == write_reply(task, reply)
    assert json.loads(messages(context(task), few_shot=True, json_schema=True).messages[2]["content"]) == reply


# Forms --------------------------------------------------------------------------------------------------------------


def test_plain_replies_have_labels_at_the_beginnings_of_lines():
    qas = [{"question": "Q1?", "answer": "A1."}, {"question": "Q2?", "answer": "A2."}]
    assert write_reply("complex_reasoning", {"qas": qas}) == "Question: Q1?\nAnswer: A1.\n\nQuestion: Q2?\nAnswer: A2."
    two = {"conversations": [{"topic": "T", "turns": qas}, {"topic": "U", "turns": qas[:1]}]}
    assert write_reply("conversation", two) == (
        "Topic: T\nUser: Q1?\nGPT: A1.\nUser: Q2?\nGPT: A2.\n\nTopic: U\nUser: Q1?\nGPT: A1."
    )
    assert write_reply("detail_description", {"description": "Long."}) == "Long."


@pytest.mark.parametrize("task", TASKS)
def test_the_json_schema_is_one_that_strict_endpoints_take(task):
    wanted = messages(context(task), json_schema=True).response_format
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["strict"] is True
    assert wanted["json_schema"]["name"] == task
    assert json.loads(json.dumps(wanted)) == wanted
    assert messages(context(task)).response_format is None
