"""Batches: padding changes no label, images of several shapes go together, and any road's rows will do."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from svit_datasets import load_dataset, stream
from svit_datasets.chat import ChatRenderer, Collator
from svit_datasets.errors import BadRecord, EncodeError, OptionError
from svit_datasets.sample import write_sample
from tests.test_chat_processors import PLAIN, each, model, photo, renderer, row, with_models  # noqa: F401 - fixtures
from tests.tokenizer_packages import trained
from tests.vision_models import family

TEXTS = st.text(alphabet=st.sampled_from("The truck is red. Yes, 2<>/s\u00e9\u4e2d"), min_size=1, max_size=40).filter(
    str.strip
)
CHATS = st.lists(TEXTS, min_size=2, max_size=8).map(lambda some: some[: len(some) // 2 * 2])
KEYS = ("input_ids", "attention_mask", "labels")
RENDERER = ChatRenderer(trained("byte_bpe"), template="chatml")


@given(st.lists(CHATS, min_size=1, max_size=5), st.sampled_from(["left", "right"]), st.sampled_from([None, 1, 8, 13]))
@settings(max_examples=60)
def test_padding_changes_no_row(contents, side, multiple):
    """What is not padding is what encode gives; padding is attended to by nothing and learnt by nothing."""
    rows = [row(*some) for some in contents]
    encoded = [RENDERER.encode(some) for some in rows]
    batch = Collator(RENDERER, padding_side=side, pad_to_multiple_of=multiple, return_tensors="np")(rows)
    assert tuple(batch) == KEYS
    longest = max(len(one["input_ids"]) for one in encoded)
    width = batch["input_ids"].shape[1]
    assert longest <= width < longest + (multiple or 1)
    assert width % (multiple or 1) == 0
    for number, one in enumerate(encoded):
        length = len(one["input_ids"])
        here = slice(width - length, None) if side == "left" else slice(length)
        for name in KEYS:
            assert batch[name].dtype == np.int64
            assert batch[name][number, here].tolist() == one[name]
        padding = np.ones(width, bool)
        padding[here] = False
        assert (batch["labels"][number, padding] == -100).all()
        assert not batch["attention_mask"][number, padding].any()
        assert len(set(batch["input_ids"][number, padding].tolist())) <= 1


ARRAYS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4
)  # (photos or patches, height, width)


@given(ARRAYS, st.booleans())
def test_arrays_of_rows_are_put_behind_one_another(shapes, text_row_between):
    """Smaller ones are filled up with zeros; a row without the input has no part in it."""
    arrays = [np.random.default_rng(i).random(shape, np.float32) for i, shape in enumerate(shapes)]
    ids = {"input_ids": [1, 2], "attention_mask": [1, 1], "labels": [-100, 2]}
    rows = [{**ids, "pixel_values": array} for array in arrays]
    rows[1:1] = [{**ids, "pixel_values": None}] if text_row_between else []
    joined = Collator(RENDERER, return_tensors="np")(rows)["pixel_values"]
    assert joined.shape == (sum(shape[0] for shape in shapes), *np.max(shapes, axis=0)[1:])
    assert joined.dtype == np.float32
    assert np.isclose(joined.sum(dtype=np.float64), sum(array.sum(dtype=np.float64) for array in arrays))
    at = 0
    for array in arrays:
        count, height, width = array.shape
        np.testing.assert_array_equal(joined[at : at + count, :height, :width], array)
        at += count


def test_options_are_checked():
    with pytest.raises(OptionError, match="padding_side='middle' is none of 'right', 'left'"):
        Collator(RENDERER, padding_side="middle")
    with pytest.raises(OptionError, match="return_tensors='tf' is none of 'auto', 'np', 'pt'"):
        Collator(RENDERER, return_tensors="tf")
    with pytest.raises(OptionError, match="pad_to_multiple_of=0"):
        Collator(RENDERER, pad_to_multiple_of=0)


def test_errors_name_the_row():
    good, bad = row(*PLAIN), row("What?", " ", number=2317429)
    with pytest.raises(EncodeError, match=r"Row 1 of the batch \(id 2317429\): .*"):
        Collator(RENDERER)([good, bad])
    with pytest.raises(BadRecord, match=r"Row 0 of the batch \(id 5\): .* has no messages"):
        Collator(RENDERER)([{"id": 5}])
    with pytest.raises(EncodeError, match="no rows"):
        Collator(RENDERER)([])


def test_what_encode_made_is_taken_too():
    rows = [row(*PLAIN), row(*PLAIN[:2])]
    collate = Collator(RENDERER, return_tensors="np")
    for name, array in collate([RENDERER.encode(some) for some in rows]).items():
        np.testing.assert_array_equal(array, collate(rows)[name])


def test_max_length_drops_rounds():
    one = len(RENDERER.encode(row(*PLAIN[:2]))["input_ids"])
    batch = Collator(RENDERER, max_length=one, return_tensors="np")([row(*PLAIN)])
    assert batch["input_ids"].shape == (1, one)
    assert len(RENDERER.encode(row(*PLAIN))["input_ids"]) > one, "the renderer stays as it is"


def test_numpy_where_torch_is_not_imported():
    """And asking for torch then is an error that says what to do."""
    script = (
        "import sys; from svit_datasets.chat import ChatRenderer, Collator;"
        "from tests.tokenizer_packages import trained; from svit_datasets.errors import OptionError;"
        "r = ChatRenderer(trained('byte_bpe'), template='chatml');"
        "row = {'messages': [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}]};"
        "print(type(Collator(r)([row])['labels']).__module__, 'torch' in sys.modules);"
        "\ntry: Collator(r, return_tensors='pt')([row])\nexcept OptionError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[0] == "numpy False", done.stderr
    assert "import torch first" in done.stdout


@with_models
def test_a_batch_is_what_the_processor_makes_of_its_texts(each, renderer):  # noqa: F811
    """Photos of several shapes, so of several tiles, crops and patches, padded as the family's forward wants them."""
    rows = [
        row(*PLAIN, image=photo(66, 40)),
        row(*PLAIN[:2], image=photo(28, 28, 1)),
        row(*PLAIN[:4], image=photo(30, 90, 2)),
    ]
    batch = Collator(renderer, return_tensors="np")(rows)
    texts = [renderer.render(some).text for some in rows]
    special = not texts[0].startswith(str(each.processor.tokenizer.bos_token))
    images = [[some["image"]] for some in rows]
    expected = each.processor(
        text=texts, images=images, return_tensors="np", padding=True, padding_side="right", add_special_tokens=special
    )
    own_text = each.name == "paligemma"  # which writes into it; test_ids_are_those_of_the_processor compares that
    for name in {"pixel_values"} if own_text else {"input_ids", "attention_mask"} | each.inputs:
        np.testing.assert_array_equal(batch[name], expected[name], err_msg=name)


@with_models
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_padded_batch_trains_as_its_rows_do(each, renderer, model, side):  # noqa: F811
    """The loss of the batch is the mean of the rows' losses over their labels: no mask is off by one."""
    import torch

    rows = [row(*PLAIN, image=photo(66, 40)), row(*PLAIN[:2], image=photo(28, 28, 1)), row(*PLAIN[:4])]
    collate = Collator(renderer, padding_side=side, pad_to_multiple_of=8)
    model.eval()
    with torch.no_grad():
        alone = [(model(**collate([some])).loss.item(), len(learnt(renderer, some))) for some in rows]
        together = model(**collate(rows)).loss.item()
    model.train()
    losses, counts = zip(*alone, strict=True)
    assert together == pytest.approx(np.average(losses, weights=counts), rel=2e-3)


def learnt(renderer, some):  # noqa: F811
    return [label for label in renderer.encode(some)["labels"] if label >= 0]


@with_models
def test_tensors_share_memory_with_the_arrays():
    import torch

    model_family = family("llava")
    batch = Collator(ChatRenderer(model_family.processor, template=model_family.template))([row(*PLAIN, image=photo())])
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "input_ids": torch.int64,
        "attention_mask": torch.int64,
        "labels": torch.int64,
        "pixel_values": torch.float32,
    }


@with_models
def test_a_processor_beside_a_renderer_of_its_tokenizer():
    """The renderer names the image token; the processor puts in the tokens and the pixels."""
    model_family = family("llava")
    alone = ChatRenderer(model_family.processor.tokenizer, template="vicuna_v1", image="<image>")
    whole = ChatRenderer(model_family.processor, template="vicuna_v1")
    rows = [row(*PLAIN, image=photo()), row(*PLAIN[:2], image=photo(30, 90))]
    expected = Collator(whole, return_tensors="np")(rows)
    found = Collator(alone, model_family.processor, return_tensors="np")(rows)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("collate") / "sample"
    write_sample(root, images=8)
    return {"data_dir": root, "cache_dir": root.parent / "cache", "rows": "conversation", "holdout": None}


@with_models
def test_rows_of_every_road_give_the_same_batch(corpus):
    """Both readers, streamed and map-style, PIL images, arrays and bytes; encoded by map, or in the DataLoader."""
    from torch.utils.data import DataLoader

    model_family = family("llava")
    chats = ChatRenderer(model_family.processor, template=model_family.template)
    collate = Collator(chats)
    streamed = {
        decode: list(stream("complex_reasoning", order="record", decode=decode, **corpus)) for decode in ("pil", None)
    }
    streamed["numpy"] = list(stream("complex_reasoning", order="record", decode="numpy", decoder="pillow", **corpus))
    expected = collate(streamed["pil"][:4])
    stored = load_dataset("svit", "complex_reasoning", split="train", **corpus)
    read = load_dataset("svit", "complex_reasoning", split="train", streaming=True, **corpus)
    mapped = stored.select(range(4)).map(chats.encode, remove_columns=stored.column_names)
    lazily = read.map(chats.encode, remove_columns=read.column_names)
    loader = DataLoader(stream("complex_reasoning", order="record", **corpus), batch_size=4, collate_fn=collate)
    batches = {
        "bytes": collate(streamed[None][:4]),
        "numpy": collate(streamed["numpy"][:4]),
        "map-style": collate([stored[i] for i in range(4)]),
        "streaming": collate(list(read.take(4))),
        "map": collate(list(mapped)),
        "map, streaming": collate(list(lazily.take(4))),
        "DataLoader": next(iter(loader)),
    }
    for road, batch in batches.items():
        assert batch.keys() == expected.keys(), road
        for name, tensor in expected.items():
            assert batch[name].dtype == tensor.dtype, f"{road}: {name}"
            np.testing.assert_array_equal(batch[name], tensor, err_msg=f"{road}: {name}")


@with_models
def test_columns_of_rows_with_and_without_a_photo():
    """A batch of map has a value in every column for every row; the collator takes those rows too."""
    chats = ChatRenderer(family("llava").processor, template="vicuna_v1")
    rows = [row(*PLAIN), row(*PLAIN[:2], image=photo())]
    columns = chats.encode_batch({name: [some[name] for some in rows] for name in rows[0]})
    assert {len(values) for values in columns.values()} == {2}
    encoded = [{name: values[number] for name, values in columns.items()} for number in range(2)]
    collate = Collator(chats, return_tensors="np")
    for name, array in collate(rows).items():
        np.testing.assert_array_equal(collate(encoded)[name], array)


@with_models
def test_a_collator_pickles_for_spawned_workers():
    model_family = family("gemma3")
    rows = [row(*PLAIN, image=photo())]
    collate = Collator(ChatRenderer(model_family.processor), padding_side="left", pad_to_multiple_of=4)
    copy = pickle.loads(pickle.dumps(collate))
    for name, tensor in collate(rows).items():
        np.testing.assert_array_equal(copy(rows)[name], tensor)


@with_models
def test_a_photo_that_cannot_be_read_is_named():
    model_family = family("llava")
    broken = io.BytesIO()
    Image.new("RGB", (40, 40)).save(broken, format="PNG")
    collate = Collator(ChatRenderer(model_family.processor, template=model_family.template))
    with pytest.raises(EncodeError, match=r"Row 1 of the batch \(id 5\): .*cannot be read"):
        collate([row(*PLAIN), {**row(*PLAIN, number=5), "image": broken.getvalue()[:40]}])
