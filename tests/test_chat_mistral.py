"""mistral-common's seven tokenizers: the library's own ids, and exact masks read off them."""

from __future__ import annotations

import importlib.util
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from svit_datasets.chat import ChatRenderer
from svit_datasets.chat.encode import IGNORED
from svit_datasets.chat.mistral import MistralChats
from svit_datasets.chat.targets import resolve
from svit_datasets.chat.turns import IMAGE, Chat, Message
from svit_datasets.errors import EncodeError, MissingDependency, OptionError, TemplateError, TemplateLossError
from tests.tokenizer_packages import MISTRAL, mistral

ADVERSARIAL = (
    "Yes.",
    "No",
    "2",
    "I",
    " padded \n",
    "blank at the end ",
    "</s>[/INST] [INST] user",
    "[IMG]",
    "naïve 😀 é",
    '{"a": [1, 2]}',
    "- 1\n\n- 2",
)


def chat(*pairs, system=None):
    messages = [Message("system", (system,))] if system else []
    for question, answer in pairs:
        messages += [Message("user", (question,)), Message("assistant", (answer,))]
    return Chat(tuple(messages))


def learned(native, out):
    tokenizer = native.instruct_tokenizer.tokenizer
    runs, run = [], []
    for token, bit in zip([*out["input_ids"], 0], [*out["assistant_mask"], 0], strict=True):
        if bit:
            run.append(token)
        elif run:
            assert run[-1] == tokenizer.eos_id
            runs.append(tokenizer.decode(run[:-1]))
            run = []
    return runs


@pytest.mark.parametrize("name", MISTRAL)
@settings(max_examples=12, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.sampled_from(ADVERSARIAL), st.sampled_from(ADVERSARIAL)), min_size=1, max_size=4),
    system=st.sampled_from([None, "Be kind.", "I"]),
)
def test_ids_are_the_librarys_and_each_answer_is_learned_whole(name, pairs, system):
    from mistral_common.protocol.instruct.request import ChatCompletionRequest

    native = mistral(name)
    conversation = chat(*pairs, system=system)
    out = MistralChats(native).encode(conversation)
    request = ChatCompletionRequest.from_openai(
        [{"role": message.role, "content": message.parts[0]} for message in conversation.messages]
    )
    in_finetuning = MistralChats(native)._tokenizer
    assert out["input_ids"] == in_finetuning.encode_chat_completion(request).tokens
    answers = [answer for _, answer in pairs]
    assert [run.strip() for run in learned(native, out)] == [answer.strip() for answer in answers]
    assert all(
        label == (token if bit else IGNORED)
        for token, bit, label in zip(out["input_ids"], out["assistant_mask"], out["labels"], strict=True)
    )


@pytest.mark.parametrize("name", MISTRAL)
def test_the_text_shows_every_message_where_it_is(name):
    chats = MistralChats(mistral(name))
    rendered = chats.render(
        chat(("I", "Yes."), ("What is [/INST]?", " No </s>")),
    )
    said = [(turn.role, rendered.text[turn.start : turn.end]) for turn in rendered.turns]
    assert said == [("user", "I"), ("assistant", "Yes."), ("user", "What is [/INST]?"), ("assistant", " No </s>")]
    assert [rendered.text[turn.end : turn.stop_end] for turn in rendered.turns] == ["", "</s>", "", "</s>"]
    assert [rendered.text[slice(*span)] for span in rendered.data] == [text for _, text in said]
    assert rendered.text.startswith("<s>")


@pytest.mark.parametrize("name", MISTRAL)
def test_the_system_text_is_found_where_the_version_puts_it(name):
    rendered = MistralChats(mistral(name)).render(chat(("I", "Yes."), ("Why?", "No."), system="Be kind."))
    roles = [turn.role for turn in rendered.turns]
    last = name in ("v2", "v3", "tekken", "tekken_vision")  # in front of the last question
    assert roles.index("system") == (2 if last else 0)
    (system,) = (turn for turn in rendered.turns if turn.role == "system")
    assert rendered.text[system.start : system.end] == "Be kind."


def test_scope_content_leaves_out_eos_and_template_has_no_tags():
    chats = MistralChats(mistral("v3"))
    out = chats.encode(chat(("a", "Yes.")), scope="content")
    assert chats.eos_id not in [label for label in out["labels"] if label != IGNORED]
    with pytest.raises(EncodeError, match="generation"):
        chats.encode(chat(("a", "Yes.")), scope="template")


def test_whole_rounds_are_dropped_until_it_fits():
    chats = MistralChats(mistral("v3"))
    pairs = [("How many?", "Two."), ("Why?", "I do not know."), ("Well?", "No.")]
    two = chats.encode(chat(*pairs[:2]))
    out = chats.encode(chat(*pairs), max_length=len(two["input_ids"]), fewer=lambda count: chat(*pairs[:count]))
    assert out == two
    with pytest.raises(EncodeError, match="first round alone"):
        chats.encode(chat(*pairs), max_length=3, fewer=lambda count: chat(*pairs[:count]))


def test_what_the_library_refuses_is_said_in_its_words():
    with pytest.raises(TemplateError, match="mistral-common refuses the chat"):
        MistralChats(mistral("v3")).render(chat(("a", "")))
    with pytest.raises(TemplateError):
        MistralChats(mistral("v3")).render(Chat((Message("user", ("a",)),)))


def test_two_answers_in_a_row_are_not_taken_for_one():
    two = Chat((Message("user", ("a",)), Message("assistant", ("b",)), Message("assistant", ("c",))))
    with pytest.raises(TemplateLossError, match="ended 1 answers of a chat that has 2"):
        MistralChats(mistral("v3")).render(two)


def test_an_image_is_never_lost():
    with_image = Chat((Message("user", (IMAGE, "What?")), Message("assistant", ("A dog.",))))
    with pytest.raises(TemplateLossError, match="without image encoder"):
        MistralChats(mistral("v3")).render(with_image, Image.new("RGB", (32, 32)))
    seeing = MistralChats(mistral("tekken_vision"))
    with pytest.raises(TemplateLossError, match="the image is not here"):
        seeing.render(with_image)
    if importlib.util.find_spec("cv2") is None:
        with pytest.raises(MissingDependency, match="opencv"):
            seeing.render(with_image, Image.new("RGB", (32, 32)))
        return
    rendered = seeing.render(with_image, Image.new("RGB", (100, 60)))
    (image,) = rendered.images
    written = rendered.text[slice(*image)]
    assert (written.count("[IMG]"), written.count("[IMG_BREAK]"), written.count("[IMG_END]")) == (28, 3, 1)  # 7 x 4
    assert [rendered.text[slice(*span)] for span in rendered.data] == ["What?", "A dog."]
    assert rendered.turns[0].start == image.start


def test_any_mode_will_do_and_the_given_tokenizer_is_not_changed():
    native = mistral("v3")
    mode = native.mode
    chats = MistralChats(native)
    expected = chats.encode(chat(("a", "Yes.")))
    assert native.mode == mode
    again = pickle.loads(pickle.dumps(chats))
    assert again.encode(chat(("a", "Yes."))) == expected
    assert (again.eos_id, again.pad_id) == (2, None)


@pytest.mark.parametrize("name", MISTRAL)
def test_the_report_says_what_the_tokenizer_does(name):
    native = mistral(name)
    renderer = ChatRenderer(native)
    report = renderer.report()
    assert (report.system, report.stop, report.bos, report.alternates) == ("kept", "</s>", "start", True)
    assert report.image == ("[IMG]" if "vision" in name else None)
    assert set(report.controls) <= {"<s>", "</s>", "[INST]", "[/INST]"}
    row = {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A dog. "}]}
    said = renderer.render(row).turns[-1]
    assert ("assistant" in report.trims) == (said.end - said.start == len("A dog."))
    first = {"messages": [{"role": "assistant", "content": "Hello."}, *row["messages"]]}
    assert report.assistant_first == (len(renderer.render(first).turns) == 3)


def test_a_target_of_mistral_renders_natively():
    native = mistral("tekken")
    target = resolve(native)
    assert target.native is native
    assert (target.source, target.encoder, target.context["eos_token"]) == (None, None, "</s>")
    with pytest.raises(OptionError, match="its own templates"):
        resolve(native, template="chatml")
    with pytest.raises(OptionError, match="Give the MistralTokenizer"):
        resolve(native.instruct_tokenizer.tokenizer)
