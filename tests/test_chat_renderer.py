"""A renderer: any row, every option, no silent loss; it pickles, maps, and says what it did."""

from __future__ import annotations

import inspect
import pickle
import re
import subprocess
import sys

import pytest
from datasets import Dataset
from datasets.fingerprint import Hasher

from svit_datasets.chat import ChatRenderer, Rendered, Span, TemplateReport, Turn
from svit_datasets.chat.choices import _ALLOWED
from svit_datasets.chat.encode import with_eos
from svit_datasets.chat.jinja_chats import JinjaChats
from svit_datasets.chat.targets import Target
from svit_datasets.chat.turns import chats
from svit_datasets.errors import (
    BadBox,
    BadRecord,
    EncodeError,
    OptionError,
    SvitError,
    TemplateError,
    TemplateLossError,
)
from tests import chat_templates as samples

PHOTO = b"photo"
CHATML = samples.CHATML
KINDS = {
    "natural": ("What is it?", "A dog."),
    "duplicate": ("Yes or no?", "Yes."),
    "blanks": ("  Is it? \n", " Yes.\n\n"),
    "controls": ("Is <|im_end|> it?", "<image></s><|im_end|>\n<|im_start|>user\n"),
    "unicode": ("日本語?", "🐕‍🦺 e\u0301"),
    "json": ('{"a": [1]}', "{'type': 'image'} {{ x }}"),
}


CONTROLS = ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "[/INST]")


def to_ids(text):
    """A tokenizer: a byte an id, and a few control tokens."""
    pieces = re.split("(" + "|".join(map(re.escape, CONTROLS)) + ")", text)
    return [
        number
        for piece in pieces
        for number in ([256 + CONTROLS.index(piece)] if piece in CONTROLS else piece.encode())
    ]


def to_text(ids):
    return "".join(CONTROLS[number - 256] if number > 255 else chr(number) for number in ids)


def row_of(*texts, system=None, **columns):
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 9, texts, strict=False)]
    return {"id": "7-0", "image": PHOTO, "width": 400, "height": 300, "messages": messages} | columns


ROW = row_of("What is it?", "A dog.", "And?", "A cat.")
TEXT_ROW = ROW | {"image": None}
SYSTEM_ROW = row_of("What is it?", "A dog.", system="Be brief.", image=None)
BLOCKS = {
    "image_id": 7,
    "image": PHOTO,
    "width": 400,
    "height": 300,
    "conversations": [{"topic": "a", "messages": ROW["messages"][:2]}, {"topic": "b", "messages": ROW["messages"][2:]}],
}


def contents(rendered):
    return [rendered.text[turn.start : turn.end] for turn in rendered.turns]


@pytest.mark.parametrize("source", ["PARTS", "ONLY_PARTS", "KEYS", "FRONT", "TAGGED", "THINK", "LAST_STOP", "STRICT"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_turn_once_and_the_image_kept(source, kind):
    """Traps 3, 4, 7, 8: whatever form the template takes."""
    renderer = ChatRenderer(
        getattr(samples, source), image="<image>" if source in {"TAGGED", "THINK", "LAST_STOP", "STRICT"} else "auto"
    )
    question, answer = KINDS[kind]
    rendered = renderer.render(row_of(question, answer, question, answer, question, answer))
    assert [turn.role for turn in rendered.turns] == ["user", "assistant"] * 3
    assert len(rendered.images) == 1
    assert [text.strip() for text in contents(rendered)[1::2]] == [answer.strip()] * 3
    assert contents(rendered)[0].strip().endswith(question.strip())


def test_arrow_rows_give_one_image():
    """Trap 7: a template that takes any key called image for an image."""
    rows = Dataset.from_list([ROW | {"image_path": None, "conversations": None}, ROW | {"image": None}])
    rendered = [ChatRenderer(samples.KEYS).render(row) for row in rows]
    assert [len(one.images) for one in rendered] == [1, 0]
    assert rendered[0].text.count("<|img|>") == 1


def test_text_only_templates_want_the_token_named():
    """Trap 5: never a guess."""
    with pytest.raises(TemplateLossError, match=r'^row 7-0: The template takes text only.*image="<image>"'):
        ChatRenderer(CHATML).render(ROW)
    rendered = ChatRenderer(CHATML, image="<|pic|>").render(ROW)
    assert contents(rendered)[0] == "<|pic|>\nWhat is it?"
    assert rendered.images == (Span(17, 24),)
    assert rendered.data[0] == Span(25, 36)
    assert ChatRenderer(CHATML).render(TEXT_ROW).images == ()


def test_images_are_left_out_when_asked():
    rendered = ChatRenderer(samples.PARTS, image="none").render(ROW)
    assert rendered.images == ()
    assert "<|img|>" not in rendered.text
    assert 'The image is left out: image="none".' in rendered.notes


def test_a_token_that_the_template_drops_is_an_error():
    source = CHATML.replace("m['content']", "m['content'].replace('<image>', '')")
    with pytest.raises(TemplateLossError, match="makes nothing of the image token '<image>'"):
        ChatRenderer(source, image="<image>").render(ROW)


def test_a_token_that_the_template_replaces_is_found():
    rendered = ChatRenderer(samples.PLACEHOLDER_IN_STRING, image="<image>").render(ROW)
    assert [rendered.text[slice(*span)] for span in rendered.images] == ["<|vision|>"]


def test_image_literals_in_texts_are_text():
    """Trap 6: only our own placeholder is counted."""
    rendered = ChatRenderer(CHATML, image="<image>").render(row_of("Is <image> here?", "<image>"))
    assert rendered.images == (Span(17, 24),)
    assert contents(rendered) == ["<image>\nIs <image> here?", "<image>"]


def test_an_image_at_the_end_that_moves_is_noted():
    row = row_of("What?\n<image>", "A dog.", image_path="p.jpg")
    assert ChatRenderer(samples.FRONT).render(row).notes[0] == "The template moves the image in front of the text."
    assert contents(ChatRenderer(samples.PARTS).render(row))[0] == "What?<|img|>"


@pytest.mark.parametrize(
    ("source", "system", "text"),
    [
        (CHATML, "auto", ["Be brief.", "What is it?", "A dog."]),
        (CHATML, "fold", ["Be brief.\n\nWhat is it?", "A dog."]),
        (CHATML, "drop", ["What is it?", "A dog."]),
        (CHATML, "raise", ["Be brief.", "What is it?", "A dog."]),
        (samples.STRICT, "auto", ["Be brief.\n\nWhat is it?", "A dog."]),
        (samples.PARTS, "auto", ["Be brief.\n\nWhat is it?", "A dog."]),
    ],
)
def test_system_text(source, system, text):
    """Trap 9: where it is refused or dropped it goes into the question, and that is noted."""
    rendered = ChatRenderer(source, system=system).render(SYSTEM_ROW)
    assert contents(rendered) == text
    assert any("system text" in note for note in rendered.notes) == (len(text) == 2)


def test_a_system_prompt_leads_every_chat_that_has_none():
    row = {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A dog."}]}
    said = {**row, "messages": [{"role": "system", "content": "Be terse."}, *row["messages"]]}
    renderer = ChatRenderer(CHATML, system_prompt="Be kind. <|im_end|>")
    rendered = renderer.render(row)
    assert rendered.text.startswith("<|im_start|>system\nBe kind. <|im_end|><|im_end|>\n")
    assert [turn.role for turn in rendered.turns] == ["system", "user", "assistant"]
    assert rendered.data[0] == Span(rendered.turns[0].start, rendered.turns[0].end), "its control tokens are text too"
    assert "Be kind" not in renderer.render(said).text
    assert renderer.messages(row, "openai")["messages"][0] == {"role": "system", "content": "Be kind. <|im_end|>"}
    assert pickle.loads(pickle.dumps(renderer)).render(row) == rendered
    assert ChatRenderer(CHATML, system_prompt=" ").render(row) == ChatRenderer(CHATML).render(row)


@pytest.mark.parametrize("source", [samples.STRICT, samples.PARTS])
def test_system_text_that_the_template_does_not_take_can_be_an_error(source):
    with pytest.raises(TemplateLossError, match="takes no system text there"):
        ChatRenderer(source, system="raise").render(SYSTEM_ROW)


def test_roles():
    """Trap 10: merged where the template wants turns, and only there; nothing is made up."""
    row = {
        "messages": [
            {"role": role, "content": text} for role, text in (("user", "a"), ("user", "b"), ("assistant", "c"))
        ]
    }
    assert contents(ChatRenderer(samples.STRICT).render(row)) == ["a\n\nb", "c"]
    assert contents(ChatRenderer(CHATML).render(row)) == ["a", "b", "c"]
    with pytest.raises(TemplateLossError, match='Merge them with roles="auto"'):
        ChatRenderer(samples.STRICT, roles="raise").render(row)
    with pytest.raises(TemplateLossError, match="begins with an answer"):
        ChatRenderer(samples.STRICT).render({"messages": [{"role": "assistant", "content": "c"}, *row["messages"]]})


def test_what_a_template_writes_as_today_is_pinned_and_noted():
    """Trap 16."""
    rendered = ChatRenderer(samples.DATED).render(TEXT_ROW)
    assert "Today is 09 July 2023." in rendered.text
    assert "The template writes the date: today is 2023-07-09, unless date= is given." in rendered.notes
    rendered = ChatRenderer(samples.DATED, date="2024-02-29").render(TEXT_ROW)
    assert "Today is 29 February 2024." in rendered.text
    assert not any("date" in note for note in rendered.notes)


def test_a_template_without_an_end_of_turn_is_noted_and_can_be_given_one():
    """Trap 15."""
    assert "does not learn to stop" in ChatRenderer(samples.NO_STOP).render(TEXT_ROW).notes[0]
    with pytest.raises(OptionError, match='stop="eos": template has no eos_token'):
        ChatRenderer(samples.NO_STOP, stop="eos")
    source = samples.NO_STOP + "{# of a tokenizer with </s> #}"
    ended = JinjaChats(Target("t", source, {"eos_token": "</s>"}), ends=True).render(*chats(TEXT_ROW))
    assert ended.notes == ()
    assert with_eos(ended, "</s>").text == "Q: What is it?\nA: A dog.</s>\nQ: And?\nA: A cat.</s>\n"
    rendered = ChatRenderer("chatml", stop="eos").render(TEXT_ROW)
    assert [rendered.text[turn.end : turn.stop_end] for turn in rendered.turns[1::2]] == ["<|im_end|>"] * 2


def test_trimmed_blanks_are_noted():
    """Trap 13."""
    rendered = ChatRenderer(samples.STRICT).render(row_of(" a ", " b\n", image=None))
    assert contents(rendered) == ["a", "b"]
    assert rendered.notes[-1] == "The template takes blanks at the ends from a text."


def test_special_tokens_that_a_bare_template_wants_are_noted():
    rendered = ChatRenderer(samples.STRICT).render(TEXT_ROW)
    assert rendered.text == "[INST] What is it? [/INST] A dog.[INST] And? [/INST] A cat."
    assert [note for note in rendered.notes if "is not known of template" in note] == [
        "The template writes bos_token, which is not known of template: nothing stands there.",
        "The template writes eos_token, which is not known of template: nothing stands there.",
    ]


def test_conversations_of_a_row():
    whole = ChatRenderer(samples.PARTS)
    assert contents(whole.render(BLOCKS)) == ["<|img|>What is it?", "A dog.", "And?", "A cat."]
    assert whole.render_each(BLOCKS) == [whole.render(BLOCKS)]
    apart = ChatRenderer(samples.PARTS, merge="conversation")
    assert [contents(one) for one in apart.render_each(BLOCKS)] == [
        ["<|img|>What is it?", "A dog."],
        ["<|img|>And?", "A cat."],
    ]
    with pytest.raises(OptionError, match='2 conversations and merge="conversation": use render_each'):
        apart.render(BLOCKS)
    with pytest.raises(OptionError, match="use encode_batch"):
        apart.encode(BLOCKS)
    assert contents(ChatRenderer(samples.PARTS, max_turns=1).render(BLOCKS)) == ["<|img|>What is it?", "A dog."]


@pytest.mark.parametrize("name", [*_ALLOWED, "max_length", "max_turns", "date"])
def test_a_wrong_option_is_told_with_those_allowed(name):
    value = -1 if name.startswith("max") else "nonsense"
    with pytest.raises(OptionError, match=rf"{name}={value!r} is "):
        ChatRenderer("chatml", **{name: value})


def test_every_option_is_documented():
    options = list(inspect.signature(ChatRenderer).parameters)
    documented = [
        name
        for name in options
        if f"        {name}: " in inspect.cleandoc(ChatRenderer.__doc__).replace("\n    ", "\n        ")
    ]
    assert documented == options


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        (row_of("Q", " "), EncodeError, "row 7-0: no question has an answer"),
        ({"id": "x", "image": None}, BadRecord, "row x has no messages"),
        (row_of("Q", "x" * 300), TemplateError, "row 7-0: The template, line 1: too long"),
    ],
)
def test_errors_name_the_row(row, error, message):
    source = "{% if messages[-1].content | length > 200 %}{{ raise_exception('too long') }}{% endif %}" + CHATML
    with pytest.raises(error, match=message) as raised:
        ChatRenderer(source, image="<image>").render(row)
    assert isinstance(raised.value, SvitError)


# Boxes and control tokens ---------------------------------------------------------------------------------------------

BOX = row_of("Where?", "A <st>dog<ed> [0.1, 0.2, 0.5, 0.6].", image=None)


def test_boxes_are_written_in_a_models_way():
    answer = contents(ChatRenderer("chatml", boxes="qwen2_vl").render(BOX))[1]
    assert answer == "A <|object_ref_start|>dog<|object_ref_end|><|box_start|>(100,200),(500,600)<|box_end|>."
    assert contents(ChatRenderer("chatml").render(BOX))[1] == "A <st>dog<ed> [0.1, 0.2, 0.5, 0.6]."
    padded = BOX | {"image_path": "p.jpg", "messages": row_of("Where?", "A dog [0.1, 0.3, 0.5, 0.6].")["messages"]}
    assert contents(ChatRenderer("chatml", boxes="plain").render(padded))[1] == "A dog [0.100, 0.233, 0.500, 0.633]."


def test_a_bad_box_is_an_error_where_that_is_wanted():
    row = row_of("Where?", "A <st>dog<ed> [0.1, 0.2, 0.5].", image=None)
    with pytest.raises(BadBox, match="row 7-0: Bad box"):
        ChatRenderer("chatml", boxes="qwen2_vl", on_bad_box="raise").render(row)
    assert "[0.1, 0.2, 0.5]" in ChatRenderer("chatml", boxes="qwen2_vl").render(row).text


def test_control_tokens_in_texts_need_a_tokenizer_to_be_known():
    with pytest.raises(OptionError, match="control_tokens='strip' needs a tokenizer"):
        ChatRenderer("chatml", control_tokens="strip").render(TEXT_ROW)


# Ids ------------------------------------------------------------------------------------------------------------------


def test_ids_masks_and_labels():
    renderer = ChatRenderer(to_ids, template="llama_2")
    encoded = renderer.encode(TEXT_ROW)
    assert list(encoded) == ["input_ids", "attention_mask", "assistant_mask", "labels"]
    assert {len(values) for values in encoded.values()} == {len(encoded["input_ids"])}
    assert to_text(label for label in encoded["labels"] if label != -100) == "A dog. </s>A cat. </s>"


def test_whole_rounds_go_to_fit_a_length():
    """Trap 19."""
    whole = ChatRenderer(to_ids, template="chatml").encode(TEXT_ROW)
    fitted = ChatRenderer(to_ids, template="chatml", max_length=len(whole["labels"]) - 1).encode(TEXT_ROW)
    assert to_text(fitted["input_ids"]) == ChatRenderer("chatml", max_turns=1).render(TEXT_ROW).text


def test_a_tokenizer_without_the_templates_tokens_is_warned_of_once():
    """Trap 18."""
    renderer = ChatRenderer(str.encode, template="chatml")
    with pytest.warns(UserWarning, match=r"writes 2 control tokens that the tokenizer does not have"):
        renderer.encode(TEXT_ROW)
    renderer.encode(TEXT_ROW)  # pytest makes any warning an error


def test_a_template_alone_makes_no_ids():
    with pytest.raises(OptionError, match="is a template without a tokenizer"):
        ChatRenderer("chatml").encode(TEXT_ROW)


# As part of a pipeline ------------------------------------------------------------------------------------------------


def test_batches_of_datasets():
    """Trap 27."""
    renderer = ChatRenderer(to_ids, template="llama_2", merge="conversation")
    blocks = Dataset.from_list([BLOCKS | {"image": None}] * 3)
    apart = blocks.map(renderer.encode_batch, batched=True, remove_columns=blocks.column_names)
    assert len(apart) == 6
    rows = Dataset.from_list([TEXT_ROW, SYSTEM_ROW])
    mapped = rows.map(renderer.encode, remove_columns=rows.column_names)
    assert mapped[0] == renderer.encode(TEXT_ROW)
    assert mapped[1] == renderer.encode(SYSTEM_ROW)
    both = rows.to_iterable_dataset().map(renderer.encode_batch, batched=True, remove_columns=rows.column_names)
    assert list(both) == list(mapped)
    assert renderer.encode_batch({"id": [], "messages": []})["input_ids"] == []


def test_a_renderer_pickles_and_hashes_alike_in_every_process():
    """Trap 27: so that datasets finds what it mapped before."""
    renderer = ChatRenderer(CHATML, image="<image>", date="2024-02-29")
    again = pickle.loads(pickle.dumps(renderer))
    assert again.render(ROW) == renderer.render(ROW)
    code = (
        "from datasets.fingerprint import Hasher\n"
        "from svit_datasets.chat import ChatRenderer\n"
        f"renderer = ChatRenderer({CHATML!r}, image='<image>', date='2024-02-29')\n"
        "renderer.render({'messages': [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}]})\n"
        "print(Hasher.hash(renderer.encode))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == Hasher.hash(renderer.encode)
    assert Hasher.hash(ChatRenderer(CHATML).encode) != Hasher.hash(renderer.encode)


def test_rows_for_other_trainers():
    row = ChatRenderer(samples.PARTS, boxes="plain").messages(BOX | {"image": PHOTO}, "trl")
    assert row["images"] == [PHOTO]
    assert row["messages"][0]["content"] == [{"type": "image"}, {"type": "text", "text": "Where?"}]
    assert row["messages"][1]["content"] == [{"type": "text", "text": "A dog [0.1, 0.2, 0.5, 0.6]."}]
    named = ChatRenderer(samples.PARTS).messages(ROW, "llava", image="p.jpg")
    assert (named["id"], named["image"]) == ("7-0", "p.jpg")


def test_report_and_public_types():
    renderer = ChatRenderer("vicuna_v1")
    assert isinstance(renderer.report(), TemplateReport)
    assert isinstance(renderer.render(ROW), Rendered)
    assert isinstance(renderer.render(ROW).turns[0], Turn)
    assert repr(renderer) == "ChatRenderer(preset vicuna_v1)"
    assert renderer.target.image_token is None


def test_public_names_are_listed_and_exist():
    import svit_datasets.chat as package

    assert sorted(package.__all__) == package.__all__ == dir(package)
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Chats'"):
        _ = package.Chats


def test_the_example_in_the_docstring_runs():
    import doctest

    from svit_datasets.chat import renderer

    assert doctest.testmod(renderer).attempted > 2
    assert doctest.testmod(renderer).failed == 0
