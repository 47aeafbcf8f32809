"""Rows for other trainers: what a chat says comes back out of each form, and each trainer's own code takes it."""

from __future__ import annotations

import base64
import importlib
import io
import json
import logging
import re
import subprocess
import sys
import types
import zipfile
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from svit_datasets.chat.styles import STYLES, messages
from svit_datasets.chat.turns import IMAGE, Chat, Message, chats
from svit_datasets.errors import OptionError, TemplateLossError

PHOTO = Image.new("RGB", (4, 3), (200, 30, 30))
PATH = "vg/VG_100K/306.jpg"
BY_PATH = ("llava", "sharegpt", "alpaca")


def row(*said, **columns):
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
    blocks = [{"topic": None, "messages": turns[i : i + 2]} for i in range(0, len(turns), 2)]
    return {"image_id": 306, "image": PHOTO, "width": 4, "height": 3, "conversations": blocks, **columns}


ROW = row("What is it?", "A dog.", "Is it big?", "Yes.")
LLAVA_ROW = {
    "id": "svit_000001",
    "image": PHOTO,
    "width": 4,
    "height": 3,
    "image_path": PATH,
    "messages": [
        {"role": "user", "content": "What is it?\n<image>"},
        {"role": "assistant", "content": "A dog."},
    ],
}


def style_of(name, source, **options):
    """A row in a style, with an image of the kind that the style wants where there is one."""
    has_image = source.get("image") is not None if isinstance(source, dict) else True
    if has_image and name in BY_PATH:
        options.setdefault("image", PATH)
    return messages(source, name, **options)


# What each form looks like --------------------------------------------------------------------------------------------


def test_trl():
    text = [{"role": "assistant", "content": [{"type": "text", "text": "A dog."}]}]
    text += [{"role": "user", "content": [{"type": "text", "text": "Is it big?"}]}]
    text += [{"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}]
    first = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}
    made = messages(ROW)
    assert made == {"messages": [first, *text], "images": [PHOTO]}
    assert made["images"][0] is PHOTO


def test_openai():
    made = messages(ROW, "openai", image="https://example.org/306.jpg")
    assert made["messages"][0] == {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "https://example.org/306.jpg"}},
            {"type": "text", "text": "What is it?"},
        ],
    }
    assert made["messages"][1:] == [
        {"role": "assistant", "content": "A dog."},
        {"role": "user", "content": "Is it big?"},
        {"role": "assistant", "content": "Yes."},
    ]


def test_llava():
    assert messages(ROW, "llava", image=PATH) == {
        "id": "306",
        "image": PATH,
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": "A dog."},
            {"from": "human", "value": "Is it big?"},
            {"from": "gpt", "value": "Yes."},
        ],
    }


def test_a_record_in_llava_form_becomes_itself_again():
    assert messages(LLAVA_ROW, "llava") == {
        "id": "svit_000001",
        "image": PATH,
        "conversations": [{"from": "human", "value": "What is it?\n<image>"}, {"from": "gpt", "value": "A dog."}],
    }


def test_sharegpt():
    made = messages(ROW, "sharegpt", image=PATH)
    assert made == {"conversations": messages(ROW, "llava", image=PATH)["conversations"], "images": [PATH]}


def test_alpaca():
    assert messages(ROW, "alpaca", image=PATH) == {
        "instruction": "Is it big?",
        "input": "",
        "output": "Yes.",
        "history": [["<image>\nWhat is it?", "A dog."]],
        "system": "",
        "images": [PATH],
    }


SYSTEM = Chat(
    (
        Message("system", ("Be brief.",)),
        Message("user", (IMAGE, "What is it?")),
        Message("assistant", ("A dog.",)),
    )
)


def test_a_system_text_has_its_place_in_each_form():
    assert messages(SYSTEM, "trl", image=PHOTO)["messages"][0] == {
        "role": "system",
        "content": [{"type": "text", "text": "Be brief."}],
    }
    assert messages(SYSTEM, "openai", image="u")["messages"][0] == {"role": "system", "content": "Be brief."}
    assert messages(SYSTEM, "llava", image=PATH)["conversations"][0]["value"] == "<image>\nBe brief.\n\nWhat is it?"
    assert messages(SYSTEM, "sharegpt", image=PATH)["conversations"][0] == {"from": "system", "value": "Be brief."}
    alpaca = messages(SYSTEM, "alpaca", image=PATH)
    assert (alpaca["system"], alpaca["instruction"]) == ("Be brief.", "<image>\nWhat is it?")


@pytest.mark.parametrize("name", STYLES)
def test_a_row_without_image_has_none(name):
    made = messages(row("Hello?", "Yes.", image=None), name)
    assert "<image>" not in str(made)
    assert made.get("images", []) == []
    assert "image" not in made


def test_the_row_s_own_id_goes_first():
    assert messages(LLAVA_ROW, "llava", row_id=7)["id"] == "7"
    assert messages(row("a", "b", id="306/x/0"), "llava", image=PATH)["id"] == "306/x/0"
    assert messages(SYSTEM, "llava", image=PATH)["id"] == ""


# There and back -------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda text: text.strip())


def said_in(name, made):
    """Read a row of a style as its trainer does: (role, text) of each message, and where the image stands."""
    if name == "trl":
        return [(m["role"], [p.get("text", IMAGE) for p in m["content"]]) for m in made["messages"]]
    if name == "openai":
        parts = [
            (m["role"], [{"type": "text", "text": m["content"]}] if isinstance(m["content"], str) else m["content"])
            for m in made["messages"]
        ]
        return [(role, [p.get("text", IMAGE) for p in some]) for role, some in parts]
    if name == "alpaca":
        pairs = [*made["history"], [made["instruction"], made["output"]]]
        turns = [(role, text) for pair in pairs for role, text in zip(("user", "assistant"), pair, strict=True)]
    else:
        turns = [({"human": "user", "gpt": "assistant"}[t["from"]], t["value"]) for t in made["conversations"]]
    return [
        (role, [IMAGE, text.removeprefix("<image>\n")] if text.startswith("<image>\n") else [text])
        for role, text in turns
    ]


@pytest.mark.parametrize("name", STYLES)
@given(said=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3))
def test_what_was_said_comes_back(name, said):
    said = [text for pair in said for text in pair]
    made = style_of(name, row(*said))
    back = said_in(name, made)
    assert [role for role, _ in back] == [("user", "assistant")[i % 2] for i in range(len(said))]
    assert back[0][1] == [IMAGE, said[0]]
    assert [parts for _, parts in back[1:]] == [[text] for text in said[1:]]
    kept = {**made, "images": []} if name == "trl" else made
    assert json.loads(json.dumps(kept)) == kept


@pytest.mark.parametrize("name", STYLES)
def test_keys_that_arrow_adds_make_no_difference(name):
    padded = row("What is it?", "A dog.", "Is it big?", "Yes.", task=None, image_path=None)
    for block in padded["conversations"]:
        for message in block["messages"]:
            message.update(tool_calls=None, name=None)
    assert style_of(name, padded) == style_of(name, ROW)


# What a form cannot say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_PATH)
def test_a_word_that_would_be_an_image_is_not_written(name):
    odd = row("Is <image> a tag?", "Yes, <im<image>age> is.")
    for policy in ("literal", "raise"):
        with pytest.raises(TemplateLossError, match=r"'<image>'.*strip"):
            messages(odd, name, image=PATH, control_tokens=policy)
    made = messages(odd, name, image=PATH, control_tokens="strip")
    assert said_in(name, made) == [("user", [IMAGE, "Is  a tag?"]), ("assistant", ["Yes,  is."])]
    with pytest.raises(TemplateLossError, match="nothing else"):
        messages(row("What is it?", " <image> "), name, image=PATH, control_tokens="strip")


@pytest.mark.parametrize("name", ["trl", "openai"])
def test_parts_keep_such_a_word_as_text(name):
    odd = row("Is <image> a tag?", "Yes, <video> too.")
    assert said_in(name, messages(odd, name)) == [
        ("user", [IMAGE, "Is <image> a tag?"]),
        ("assistant", ["Yes, <video> too."]),
    ]


def test_only_llama_factory_counts_videos():
    odd = row("Is it a <video>?", "No.")
    assert messages(odd, "llava", image=PATH)["conversations"][0]["value"] == "<image>\nIs it a <video>?"
    with pytest.raises(TemplateLossError, match="'<video>'"):
        messages(odd, "sharegpt", image=PATH)


@pytest.mark.parametrize("name", BY_PATH)
def test_turns_of_one_side_are_joined_and_a_lone_turn_is_refused(name):
    two = Chat((Message("user", ("a",)), Message("user", ("b",)), Message("assistant", ("c",))))
    assert said_in(name, messages(two, name)) == [("user", ["a\n\nb"]), ("assistant", ["c"])]
    for roles in (("user",), ("assistant", "user"), ("user", "assistant", "user"), ("user", "assistant", "system")):
        lone = Chat(tuple(Message(role, ("text",)) for role in roles))
        with pytest.raises(TemplateLossError, match=f"this chat goes {', '.join(roles)}"):
            messages(lone, name)


def test_an_image_is_never_lost():
    with pytest.raises(OptionError, match="Give image="):
        messages(ROW, "llava")
    with pytest.raises(OptionError, match="Give image="):
        messages(SYSTEM, "trl")
    with pytest.raises(OptionError, match="is a Image"):
        messages(ROW, "sharegpt", image=PHOTO)
    with pytest.raises(OptionError, match="a URL, bytes or a PIL image"):
        messages(ROW, "openai", image=3)
    with pytest.raises(TemplateLossError, match="the chat has none"):
        messages(row("a", "b", image=None), "llava", image=PATH)
    twice = Chat((Message("user", (IMAGE, IMAGE, "a")), Message("assistant", ("b",))))
    with pytest.raises(TemplateLossError, match="has 2 images"):
        messages(twice, "trl", image=PHOTO)


def test_options_are_checked():
    with pytest.raises(OptionError, match="'trl', 'openai', 'llava', 'sharegpt', 'alpaca'"):
        messages(ROW, "vicuna")
    with pytest.raises(OptionError, match="'literal', 'strip', 'raise'"):
        messages(ROW, "trl", control_tokens="keep")


def test_an_image_becomes_a_data_url_with_its_own_bytes():
    buffer = io.BytesIO()
    PHOTO.save(buffer, "JPEG")
    for image in (buffer.getvalue(), {"bytes": buffer.getvalue(), "path": None}):
        url = messages(ROW, "openai", image=image)["messages"][0]["content"][0]["image_url"]["url"]
        kind, data = url.split(";base64,")
        assert (kind, base64.b64decode(data)) == ("data:image/jpeg", buffer.getvalue())
    kind, data = messages(ROW, "openai")["messages"][0]["content"][0]["image_url"]["url"].split(";base64,")
    assert kind == "data:image/png"
    assert Image.open(io.BytesIO(base64.b64decode(data))).tobytes() == PHOTO.tobytes()


# The trainers' own code -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converter(tmp_path_factory):
    """LLaMA-Factory's converters, from its wheel; the packages around them would import torch.

    They warn through a logger of their own where they would drop a row; here that is an error.
    """
    folder = tmp_path_factory.mktemp("factory")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", folder, "llamafactory==0.9.5"], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode and re.search(r"from versions: none|onnection|Temporary failure|Max retries", done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "tree")
    before = set(sys.modules)
    for name in ("llamafactory", "llamafactory.data", "llamafactory.extras"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder / "tree" / name.replace(".", "/"))]
        sys.modules[name] = package
    sys.modules["llamafactory.extras.logging"] = types.SimpleNamespace(get_logger=logging.getLogger)
    try:
        yield importlib.import_module("llamafactory.data.converter")
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]


@pytest.mark.parametrize("source", [ROW, LLAVA_ROW, row("a?", "b.", image=None)], ids=["svit", "llava", "text"])
@pytest.mark.parametrize("name", ["sharegpt", "alpaca"])
def test_llama_factory_reads_what_was_said(name, source, converter):
    kind = {"sharegpt": converter.SharegptDatasetConverter, "alpaca": converter.AlpacaDatasetConverter}[name]
    columns = types.SimpleNamespace(
        load_from="hf_hub",
        ranking=False,
        kto_tag=None,
        tools=None,
        videos=None,
        audios=None,
        images="images",
        messages="conversations",
        role_tag="from",
        content_tag="value",
        user_tag="human",
        assistant_tag="gpt",
        observation_tag="observation",
        function_tag="function_call",
        system_tag="system",
        history="history",
        system="system" if name == "alpaca" else None,
        prompt="instruction",
        query="input",
        response="output",
    )  # fmt: skip - the attributes of its DatasetAttr, with the names it takes by default
    made = style_of(name, source)
    read = kind(columns, None)(made)
    turns = [*read["_prompt"], *read["_response"]]
    assert [turn["role"] for turn in turns] == [message.role for message in chats(source)[0].messages]
    assert "".join(turn["content"] for turn in turns).count("<image>") == len(read["_images"] or [])
    assert read["_images"] == (made["images"] or None)
    for turn, message in zip(turns, chats(source)[0].messages, strict=True):
        assert turn["content"] == "\n".join("<image>" if part is IMAGE else part for part in message.parts)


@pytest.mark.torch
@pytest.mark.skipif(find_spec("trl") is None, reason="trl==1.16.0 is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("source", [ROW, LLAVA_ROW, row("a?", "b.", image=None)], ids=["svit", "llava", "text"])
def test_trl_takes_the_rows_and_puts_the_image_in(source):
    from trl.data_utils import is_conversational, prepare_multimodal_messages

    made = messages(source)
    assert is_conversational(made)
    prepared = prepare_multimodal_messages(made["messages"], images=made["images"])
    images = [part["image"] for message in prepared for part in message["content"] if part["type"] == "image"]
    assert images == made["images"]
    text = [[part["text"] for part in message["content"] if part["type"] == "text"] for message in prepared]
    assert text == [[part for part in m.parts if part is not IMAGE] for m in chats(source)[0].messages]


@pytest.mark.torch
@pytest.mark.skipif(find_spec("trl") is None, reason="trl==1.16.0 is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_trl_takes_rows_that_have_been_through_arrow():
    from datasets import Dataset
    from trl.data_utils import prepare_multimodal_messages

    rows = Dataset.from_list([messages(ROW), messages(LLAVA_ROW)])
    for row_ in rows:
        prepared = prepare_multimodal_messages(row_["messages"], images=row_["images"])
        assert sum(part.get("image") is not None for message in prepared for part in message["content"]) == 1
