"""Rows of every form become chats: roles, plain texts, the image in its place; nothing of Arrow's None keys is left."""

from __future__ import annotations

import pickle

import pytest

from svit_datasets.chat.turns import IMAGE, Chat, Message, alternating, chats, first_rounds, folded
from svit_datasets.errors import BadRecord, EncodeError

PHOTO = object()


def said(*texts):
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 9, texts, strict=False)]


def row_of(*blocks, **columns):
    conversations = [{"topic": f"t{number}", "messages": said(*block)} for number, block in enumerate(blocks)]
    return {"image_id": 7, "image": PHOTO, "width": 4, "height": 3, "conversations": conversations} | columns


def llava(*texts, **columns):
    return {
        "id": "a",
        "image": PHOTO,
        "width": 4,
        "height": 3,
        "image_path": "p.jpg",
        "messages": said(*texts),
    } | columns


def user(*parts):
    return Message("user", parts)


def assistant(text):
    return Message("assistant", (text,))


def test_all_conversations_of_a_row_become_one_chat_with_the_image_first():
    [chat] = chats(row_of(("Q1", "A1"), ("Q2", "A2")))
    assert chat == Chat((user(IMAGE, "Q1"), assistant("A1"), user("Q2"), assistant("A2")))


def test_conversations_become_a_chat_each_with_the_image_in_each():
    made = chats(row_of(("Q1", "A1"), ("Q2", "A2")), merge="conversation")
    assert [chat.messages for chat in made] == [
        (user(IMAGE, "Q1"), assistant("A1")),
        (user(IMAGE, "Q2"), assistant("A2")),
    ]


def test_a_row_of_one_conversation_is_one_chat():
    row = {"id": "7-0", "image_id": 7, "image": PHOTO, "topic": "t", "messages": said("Q", "A")}
    assert chats(row) == [Chat((user(IMAGE, "Q"), assistant("A")))]


@pytest.mark.parametrize("columns", [{"image": None}, {}])
def test_without_a_photo_there_is_no_image(columns):
    row = {"id": "7-0", "messages": said("Q", "A")} | columns
    assert chats(row) == [Chat((user("Q"), assistant("A")))]


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("<image>\nWhat?", (IMAGE, "What?")),
        ("What?\n<image>", ("What?", IMAGE)),
        ("<image>", (IMAGE,)),
        ("What?", (IMAGE, "What?")),
        ("What is <image> here?", (IMAGE, "What is <image> here?")),
        ("<image>\nIs it <image>", (IMAGE, "Is it <image>")),
    ],
)
def test_llava_form_has_its_marker_at_an_end_of_the_first_question(question, parts):
    """Trap 6: any other <image> is text."""
    [chat] = chats(llava(question, "See <image>.", "<image>\nAnd?", "No."))
    assert chat.messages == (user(*parts), assistant("See <image>."), user("<image>\nAnd?"), assistant("No."))


def test_llava_marker_of_a_missing_photo_goes_and_of_a_text_only_row_stays():
    assert chats(llava("<image>\nWhat?", "A", image=None))[0].messages[0] == user("What?")
    assert chats(llava("<image>\nWhat?", "A", image=None, image_path=None))[0].messages[0] == user("<image>\nWhat?")


def test_marker_in_svit_form_is_text():
    [chat] = chats(row_of(("<image>\nWhat?", "A")))
    assert chat.messages[0] == user(IMAGE, "<image>\nWhat?")


def test_none_keys_of_arrow_are_as_if_they_were_not_there():
    """Trap 7: a list of structs gives every part every key."""
    none = {"tool_calls": None, "name": None, "reasoning_content": None}
    parts = [
        {"type": "image", "text": None, "image": None, "content": None},
        {"type": "text", "text": "Q", "image": None, "content": None},
    ]
    row = {
        "id": None,
        "image": PHOTO,
        "image_path": None,
        "conversations": None,
        "messages": [{"role": "user", "content": parts} | none, {"role": "assistant", "content": "A"} | none, None],
    }
    assert chats(row) == [Chat((user(IMAGE, "Q"), assistant("A")))]


def test_parts_keep_their_order_and_texts_side_by_side_become_one():
    parts = [{"type": "text", "text": text} for text in ("a", "b", " ")] + [{"type": "image"}, {"text": "c"}]
    [chat] = chats(
        {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": [{"text": "A"}]}]}
    )
    assert chat.messages == (user("a\nb", IMAGE, "c"), assistant("A"))


@pytest.mark.parametrize("blank", ["", "  ", "\n\t", None])
def test_a_blank_answer_goes_with_its_question_and_the_image_stays(blank):
    """Trap 26: nothing of a blank answer can be found again in a text, and there is nothing to learn."""
    [chat] = chats(row_of(("Q1", blank, "Q2", "A2")))
    assert chat.messages == (user(IMAGE, "Q2"), assistant("A2"))
    assert chat.notes == ("2 messages left out: a question or its answer is empty.",)


def test_a_blank_question_goes_with_its_answer_unless_it_holds_the_image():
    [chat] = chats(row_of((" ", "A caption.", " ", "A2")))
    assert chat.messages == (user(IMAGE), assistant("A caption."))
    [chat] = chats(row_of((" ", "A1", "Q2", "A2"), image=None))
    assert chat.messages == (user("Q2"), assistant("A2"))


def test_a_row_without_any_answer_is_an_error_that_names_it():
    with pytest.raises(EncodeError, match="the row of image 7: no question has an answer"):
        chats(row_of(("Q", " ")))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "x", "image": None}, r"row x has no messages\. .* has \['id', 'image'\]"),
        ({"messages": []}, "a row without id has no messages"),
        ({"id": "x", "messages": [{"role": "gpt", "content": "A"}]}, "row x has a message of role 'gpt'"),
        ({"id": "x", "messages": [{"role": "user", "content": [{"type": "video"}]}]}, "part of type 'video'"),
    ],
)
def test_what_is_no_chat_is_an_error_that_says_why(row, message):
    with pytest.raises(BadRecord, match=message):
        chats(row)


def test_max_turns_counts_questions_with_their_answers():
    [chat] = chats(row_of(("Q1", "A1", "Q2", "A2", "Q3", "A3")), max_turns=2)
    assert chat.messages == (user(IMAGE, "Q1"), assistant("A1"), user("Q2"), assistant("A2"))
    assert chat.notes == ("2 messages left out: max_turns=2.",)


def test_first_rounds_take_questions_in_a_row_together():
    messages = [user("Q1"), user("Q2"), assistant("A"), user("Q3"), assistant("B")]
    assert first_rounds(messages, 1) == messages[:3]
    assert first_rounds(messages, 2) == messages


def test_system_text_is_folded_into_the_question_after_it():
    system = Message("system", ("Be brief.",))
    assert folded([system, user(IMAGE, "Q"), assistant("A")]) == [user(IMAGE, "Be brief.\n\nQ"), assistant("A")]
    assert folded([system, user(IMAGE)]) == [user(IMAGE, "Be brief.")]


def test_messages_of_one_side_in_a_row_become_one():
    merged = alternating([user(IMAGE), user("a"), user("b", IMAGE), assistant("A"), assistant("B")])
    assert merged == [user(IMAGE, "a\n\nb", IMAGE), assistant("A\n\nB")]


def test_a_subclass_of_str_becomes_str():
    class Text(str):
        __slots__ = ()

    row = {"messages": [{"role": "user", "content": Text("Q")}, {"role": "assistant", "content": Text("A")}]}
    assert [type(part) for message in chats(row)[0].messages for part in message.parts] == [str, str]


def test_the_image_is_one_object_also_after_pickling():
    assert pickle.loads(pickle.dumps(IMAGE)) is IMAGE
    assert repr(IMAGE) == "IMAGE"


def test_rows_are_not_changed():
    row = llava("<image>\nWhat?", "A")
    before = repr(row)
    chats(row)
    assert repr(row) == before
