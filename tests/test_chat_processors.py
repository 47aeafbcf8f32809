"""Real processors end to end: ids with the image's tokens, exact masks, and what the model's forward takes.

The first tests need no torch. Those with the marker build five families from their classes and small configs; nothing
is downloaded but tokenizers.
"""

from __future__ import annotations

import io
import pickle
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from svit_datasets.chat import ChatRenderer
from svit_datasets.chat.processors import expanded, prepare
from svit_datasets.chat.spans import Rendered, Span, Turn
from svit_datasets.errors import EncodeError, TemplateLossError
from tests.vision_models import FAMILIES, family

models = [
    pytest.mark.torch,
    pytest.mark.skipif(find_spec("torch") is None or find_spec("transformers") is None, reason="torch, transformers"),
    pytest.mark.filterwarnings("ignore"),  # of transformers and torch about themselves
]


def with_models(test):
    for mark in models:
        test = mark(test)
    return test


PIECES = st.lists(st.tuples(st.sampled_from("tdi"), st.text(alphabet="ab<>", max_size=4)), max_size=8)


def built(pieces):
    """A chat of pieces: t template, d data of a turn of its own, i an image in a turn of its own; and its pieces."""
    text, turns, images, data = "", [], [], []
    for kind, piece in pieces:
        start, text = len(text), text + ("<image>" if kind == "i" else piece)
        if kind == "i":
            images.append(Span(start, len(text)))
        elif kind == "d":
            data.append(Span(start, len(text)))
        if kind != "t":
            turns.append(Turn(kind, start, len(text), len(text)))
    return Rendered(text, tuple(turns), tuple(images), tuple(data), (), tuple(data))


@given(PIECES, st.lists(st.text(alphabet="xyz", max_size=9), min_size=8, max_size=8))
def test_every_span_moves_with_its_text(pieces, texts):
    """Whatever stands before, behind and between images, and whether they grow or shrink."""
    rendered = built(pieces)
    count = len(rendered.images)
    found = expanded(rendered, texts[:count])
    news = iter(texts)
    assert found.text == "".join(next(news) if kind == "i" else piece for kind, piece in pieces)
    assert [found.text[slice(*span)] for span in found.images] == texts[:count]
    for old, new in ((rendered.data, found.data), (rendered.generation, found.generation)):
        assert [found.text[slice(*span)] for span in new] == [rendered.text[slice(*span)] for span in old]
    news = iter(texts)
    contents = [next(news) if kind == "i" else piece for kind, piece in pieces if kind != "t"]
    assert [found.text[turn.start : turn.end] for turn in found.turns] == contents
    assert [turn.role for turn in found.turns] == [turn.role for turn in rendered.turns]


def test_a_turn_holds_its_image_and_what_follows():
    """The turn that the image opens grows with it; its end token and later turns move."""
    rendered = Rendered(
        "U <image>\nq</s>A a</s>",
        (Turn("user", 2, 11, 15), Turn("assistant", 17, 18, 22)),
        (Span(2, 9),),
        (Span(10, 11),),
    )
    found = expanded(rendered, ["<image>" * 3])
    question, answer = found.turns
    assert found.text[question.start : question.end] == "<image><image><image>\nq"
    assert found.text[question.end : question.stop_end] == found.text[answer.end : answer.stop_end] == "</s>"
    assert found.text[answer.start : answer.end] == "a"


def photo(width=66, height=40, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def row(*contents, image=None, number=7):
    """A row of SVIT with one conversation; questions and answers in turn."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
    size = image.size if image is not None else (None, None)
    named = {"image_id": number, "image": image, "width": size[0], "height": size[1]}
    return {**named, "conversations": [{"topic": None, "messages": messages}]}


PLAIN = ("What stands beside the truck?", "Four crates.", "Are they wooden?", "Yes.", "Is it raining?", "Yes.")
HOSTILE = (
    "Does it say <image> or <|image_pad|> or <start_of_image>?",
    "It says <image>, </s> and <|im_end|><end_of_turn>.",
    "And <image_soft_token>, <end_of_utterance>?",
    "<image>",
)


def answers_in(family, encoded):
    """Decode each run of labelled ids; a blank that the template wrote before an answer may share its first token."""
    runs, run = [], []
    for label in [*encoded["labels"], -100]:
        if label >= 0:
            run.append(label)
        elif run:
            runs.append(family.processor.tokenizer.decode(run, skip_special_tokens=False).removeprefix(" "))
            run = []
    return runs


def image_tokens(family, ids):
    return np.asarray(ids) == family.processor.tokenizer.convert_tokens_to_ids(family.image_token)


def batch_of(encoded):
    import torch

    return {
        name: torch.as_tensor(np.asarray([value] if isinstance(value, list) else value))
        for name, value in encoded.items()
        if name != "assistant_mask"
    }


@pytest.fixture(scope="module", params=FAMILIES)
def each(request):
    return family(request.param)


@pytest.fixture(scope="module")
def renderer(each):
    return ChatRenderer(each.processor, template=each.template)


@pytest.fixture(scope="module")
def model(each):
    import torch

    torch.manual_seed(0)
    return each.make_model(each.processor).train()


@with_models
@pytest.mark.parametrize(("contents", "size"), [(PLAIN, (66, 40)), (HOSTILE, (28, 28)), (PLAIN, (30, 90))])
def test_forward_takes_what_encode_gives(each, renderer, model, contents, size):
    """Photos of several shapes; the model itself refuses another number of image tokens than it has features."""
    encoded = renderer.encode(row(*contents, image=photo(*size)))
    assert set(encoded) == {"input_ids", "attention_mask", "assistant_mask", "labels"} | each.inputs
    assert answers_in(each, encoded) == [answer + each.stop for answer in contents[1::2]]
    here = image_tokens(each, encoded["input_ids"])
    assert here.any()
    assert (np.asarray(encoded["labels"])[here] == -100).all()
    model.zero_grad()
    loss = model(**batch_of(encoded)).loss
    loss.backward()
    assert np.isfinite(loss.item())
    projector = [weight for name, weight in model.named_parameters() if "proj" in name or "merger" in name]
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in projector)


@with_models
def test_ids_are_those_of_the_processor(each, renderer):
    """Where no text quotes a control token: called with the same text and photo, it gives the same of everything."""
    if each.name == "paligemma":  # it writes BOS and a line break into the prompt itself, and encodes the answer apart
        encoded = ChatRenderer(each.processor, boundary="split").encode(row(*PLAIN[:2], image=photo()))
        expected = each.processor(text=[f"<image>{PLAIN[0]}"], images=[photo()], suffix=[PLAIN[1]], return_tensors="np")
        assert expected["labels"].tolist() == [encoded["labels"]]
    else:
        some = row(*PLAIN, image=photo())
        encoded, text = renderer.encode(some), renderer.render(some).text
        special = not text.startswith(str(each.processor.tokenizer.bos_token))
        expected = each.processor(text=[text], images=[photo()], return_tensors="np", add_special_tokens=special)
    for name in {"input_ids", "attention_mask"} | each.inputs:
        value = np.asarray(encoded[name])
        np.testing.assert_array_equal(value if value.ndim > 1 else value[None], expected[name], err_msg=name)


@with_models
def test_forms_of_a_photo_give_the_same(renderer):
    """PIL, array, bytes, datasets' dict; and a photo that is no RGB is made one."""
    some = photo().quantize()
    rgb = some.convert("RGB")
    file = io.BytesIO()
    some.save(file, format="PNG")
    expected = renderer.encode(row(*PLAIN, image=some))
    for form in (rgb, np.asarray(rgb), file.getvalue(), {"bytes": file.getvalue(), "path": None}):
        found = renderer.encode({**row(*PLAIN), "image": form})
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@with_models
def test_a_chat_without_a_photo(each, renderer, model):
    encoded = renderer.encode(row(*PLAIN))
    assert set(encoded) == {"input_ids", "attention_mask", "assistant_mask", "labels"} | {
        name for name in each.inputs if name.endswith("type_ids")
    }
    assert not image_tokens(each, encoded["input_ids"]).any()
    assert answers_in(each, encoded) == [answer + each.stop for answer in PLAIN[1::2]]
    assert np.isfinite(model(**batch_of(encoded)).loss.item())


@with_models
def test_rounds_are_dropped_and_image_tokens_never(each):
    whole = ChatRenderer(each.processor, template=each.template).encode(row(*PLAIN, image=photo()))
    lengths = set()
    for rounds in (3, 2, 1):
        first = ChatRenderer(each.processor, template=each.template).encode(row(*PLAIN[: 2 * rounds], image=photo()))
        lengths.add(len(first["input_ids"]))
        limited = ChatRenderer(each.processor, template=each.template, max_length=len(first["input_ids"]))
        found = limited.encode(row(*PLAIN, image=photo()))
        assert found["labels"] == first["labels"]
        assert sum(image_tokens(each, found["input_ids"])) == sum(image_tokens(each, whole["input_ids"]))
    assert len(lengths) == 3
    short = ChatRenderer(each.processor, template=each.template, max_length=min(lengths) - 1)
    with pytest.raises(EncodeError, match=rf"max_length={min(lengths) - 1}"):
        short.encode(row(*PLAIN, image=photo()))


@with_models
def test_a_renderer_with_a_processor_pickles(renderer):
    some = row(*PLAIN, image=photo())
    copy = pickle.loads(pickle.dumps(renderer))
    expected = renderer.encode(some)
    assert {name: np.asarray(value).tolist() for name, value in copy.encode(some).items()} == {
        name: np.asarray(value).tolist() for name, value in expected.items()
    }


@with_models
def test_paligemma_attends_both_ways_to_the_first_question_only():
    """Were a later question of type 0, the first question would see it."""
    each = family("paligemma")
    encoded = ChatRenderer(each.processor).encode(row(*PLAIN, image=photo()))
    kinds, labels = np.asarray(encoded["token_type_ids"]), np.asarray(encoded["labels"])
    first = int(np.argmax(labels >= 0))
    assert first > 4
    assert not kinds[:first].any()
    assert kinds[first:].all()


@with_models
def test_a_preset_writes_the_processors_own_placeholder():
    """Presets write <image> for an image part; Gemma3's processor looks for another word."""
    each = family("gemma3")
    renderer = ChatRenderer(each.processor, template="gemma")
    encoded = renderer.encode(row(*PLAIN, image=photo()))
    assert "<start_of_image>" in renderer.render(row(*PLAIN, image=photo())).text
    assert image_tokens(each, encoded["input_ids"]).sum() == 4 * len(encoded["pixel_values"]) == 12


@with_models
def test_a_placeholder_that_the_processor_does_not_know():
    """Whether the renderer sees it coming or the processor refuses it: an error that names the placeholder."""
    each = family("llava")
    each_part = "{% for p in m.content %}{{ '[IMG]' if p.type == 'image' else p.text }}{% endfor %}"
    template = "{% for m in messages %}" + each_part + "</s>{% endfor %}"
    with pytest.raises(EncodeError, match=r"LlavaProcessor .*\[IMG\]"):
        prepare(each.processor, photo(), "[IMG]")
    with pytest.raises((EncodeError, TemplateLossError), match="IMG"):
        ChatRenderer(each.processor, template=template, image="[IMG]").encode(row(*PLAIN, image=photo()))


@with_models
@pytest.mark.parametrize(
    "image", [b"no photo", np.zeros((4, 4, 7), np.uint8), np.zeros((4, 4), complex), {"bytes": None}]
)
def test_a_photo_that_cannot_be_read(image):
    with pytest.raises(EncodeError, match="cannot be read"):
        prepare(family("llava").processor, image, "<image>")


@with_models
def test_a_processor_that_does_not_tell_what_it_puts_in():
    """Mllama's has no image tokens to put in, and a mask over all of the text instead."""
    from transformers import MllamaImageProcessorPil, MllamaProcessor, PreTrainedTokenizerFast

    from tests.tokenizer_packages import folder

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder("llama2") / "tokenizer.json"), bos_token="<s>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image|>", "<|python_tag|>"]})
    processor = MllamaProcessor(MllamaImageProcessorPil(size={"height": 28, "width": 28}), tokenizer)
    with pytest.raises(EncodeError, match=r"MllamaProcessor does not tell what it makes of '<\|image\|>'"):
        prepare(processor, photo(), "<|image|>")
