"""The table of configurations, and the guess at what a block is where no file says it."""

from __future__ import annotations

import dataclasses

import pytest

from svit_datasets.errors import OptionError
from svit_datasets.sources import upstream
from svit_datasets.tasks import TASKS, get_task, infer_tasks


def test_tasks_are_found_by_name():
    assert [get_task(name).name for name in TASKS] == list(TASKS)


@pytest.mark.parametrize("name", ["", "svit", "Conversation", None])
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    with pytest.raises(OptionError, match=r"conversation, complex_reasoning, .*mix_665k") as caught:
        get_task(name)
    assert isinstance(caught.value, ValueError)


def test_the_table_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_task("all").stem = "x"


def test_every_configuration_has_its_published_file_and_sound_parts():
    published = upstream()
    for task in TASKS.values():
        folder = "data" if task.form == "svit" else "format/llava-v1.5"
        assert published[task.stem].url == f"hf://datasets/BAAI/SVIT/{folder}/{task.stem}.zip"
        assert all(TASKS[part].form == task.form and not TASKS[part].parts for part in task.parts)


def guess(*blocks):
    """Blocks as (topic, texts)."""
    texts = tuple(text for _, said in blocks for text in said)
    return infer_tasks(tuple(topic for topic, _ in blocks), tuple(len(said) for _, said in blocks), texts)


QA, LONG, BOX = ("Q?", "A."), ("Q?", "A.") * 5, ("Where?", "A <st>dog<ed> [0, 0, 1, 1].")


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([(None, QA)], ["detail_description"]),
        ([(None, QA)] * 15, ["complex_reasoning"] * 15),
        ([(None, BOX)], ["referring_qa"]),
        ([(None, BOX), (None, QA)], ["referring_qa", "referring_qa"]),
        ([("t", QA)], ["conversation"]),
        ([(None, LONG)], ["conversation"]),
        ([("", QA), (None, LONG)], ["conversation", "conversation"]),
        (
            [("t", LONG), (None, QA), (None, BOX), (None, QA)],
            ["conversation", "complex_reasoning", "referring_qa", "complex_reasoning"],
        ),
        ([("t", BOX)], ["conversation"]),
        ([], []),
    ],
)
def test_a_block_s_task_is_guessed_from_its_shape(blocks, expected):
    assert guess(*blocks) == expected


def test_marks_are_looked_for_in_the_block_itself():
    assert guess((None, BOX), ("t", LONG), (None, QA)) == ["referring_qa", "conversation", "complex_reasoning"]
