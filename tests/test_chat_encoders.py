"""Encoders: control tokens are tokens where the template wrote them and text elsewhere; else nothing changes."""

from __future__ import annotations

import io
import pickle
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from svit_datasets.chat.encoders import FastEncoder, TiktokenEncoder, gaps, overlaps
from svit_datasets.chat.literal import is_control
from svit_datasets.chat.slow import CallableEncoder, SlowEncoder
from svit_datasets.errors import OptionError
from tests.tokenizer_packages import CONTROLS, THINK, TRAINED, chat, trained

WORDS = (
    "truck",
    "The man",
    " ",
    "\n",
    "  ",
    "\n\n",
    "Yes.",
    "é",
    "e\u0301",
    "ﬁ",
    "😀",
    "<",
    "|>",
    "1, 2",
    "\u2581",
    "İ",
)
plain_texts = st.lists(st.sampled_from(WORDS), max_size=8).map("".join)
hostile_texts = st.lists(st.sampled_from((*WORDS, *CONTROLS, THINK, "<|im_", "end|>", "</", "s>")), max_size=8).map(
    "".join
)


def controls_of(encoder, text, ids, offsets):
    """Where control tokens came out, and what is written there; the one for unknown characters aside."""
    added = trained_tokens(encoder)
    return [
        (where, text[slice(*where)])
        for token, where in zip(ids, offsets, strict=True)
        if token in added
        and is_control(added[token].content, special=added[token].special)
        and added[token].content != "<unk>"
    ]


def trained_tokens(encoder):
    return encoder._given.get_added_tokens_decoder()


@pytest.mark.parametrize("kind", TRAINED)
@settings(max_examples=25, deadline=None)
@given(question=plain_texts, answer=plain_texts)
def test_without_control_tokens_in_the_data_the_ids_are_the_plain_tokenizers(kind, question, answer):
    tokenizer = trained(kind)
    rendered = chat(("user", question), ("assistant", answer))
    ids, offsets = FastEncoder(tokenizer).encode(rendered.text, rendered.data)
    expected = tokenizer.encode(rendered.text, add_special_tokens=False)
    assert ids == expected.ids
    assert len(offsets) == len(ids)


@pytest.mark.parametrize("kind", TRAINED)
@settings(max_examples=25, deadline=None)
@given(question=plain_texts, answer=plain_texts)
def test_the_renamed_copy_encodes_as_the_tokenizer_itself(kind, question, answer):
    rendered = chat(("user", question), ("assistant", answer))
    encoder = shared(kind)
    assert listed(encoder._literal(rendered.text, rendered.data)) == listed(
        encoder.encode(rendered.text, rendered.data)
    )


def listed(encoded):
    ids, offsets = encoded
    return ids, offsets[:]


_encoders = {}


def shared(kind):
    """An encoder whose copy is made once for all examples."""
    return _encoders.setdefault(kind, FastEncoder(trained(kind)))


@pytest.mark.parametrize("kind", TRAINED)
@settings(max_examples=40, deadline=None)
@given(question=hostile_texts, answer=hostile_texts)
def test_control_tokens_in_the_data_are_text(kind, question, answer):
    encoder = shared(kind)
    rendered = chat(("user+image", question), ("assistant", answer))
    ids, offsets = encoder.encode(rendered.text, rendered.data)
    found = controls_of(encoder, rendered.text, ids, offsets)
    expected = ["<|im_start|>", "<image>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]
    assert [literal for _, literal in found] == expected
    assert not any(overlaps(*where, [span for span in rendered.data if span.start < span.stop]) for where, _ in found)


@pytest.mark.parametrize("kind", ["byte_bpe", "stripping", "normalized"])
@settings(max_examples=25, deadline=None)
@given(answer=hostile_texts)
def test_no_byte_of_a_quoted_control_token_is_lost(kind, answer):
    rendered = chat(("user", "a"), ("assistant", answer))
    encoder = shared(kind)
    ids, offsets = encoder.encode(rendered.text, rendered.data)
    tokenizer = trained(kind)
    text = tokenizer.decode(ids, skip_special_tokens=False)
    if kind == "byte_bpe":
        assert text == rendered.text
    assert all(character in text for character in answer if character in "</s>|im_end")
    assert offsets[-1][1] >= len(rendered.text) - 1


@pytest.mark.parametrize("kind", TRAINED)
@settings(max_examples=25, deadline=None)
@given(question=hostile_texts, answer=hostile_texts)
def test_offsets_never_decrease(kind, question, answer):
    rendered = chat(("user", question), ("assistant", answer))
    _, offsets = shared(kind).encode(rendered.text, rendered.data)
    for (start, stop), (next_start, next_stop) in pairwise(offsets):
        assert start <= next_start
        assert stop <= next_stop


def test_a_literal_across_the_border_of_the_data_is_no_token():
    encoder = shared("byte_bpe")
    text = "a <|im_end|> b"
    border = text.index("end")
    for data in ([(0, border)], [(border, len(text))], [(border, border + 3)]):
        ids, offsets = encoder.encode(text, data)
        assert controls_of(encoder, text, ids, offsets) == []
    ids, offsets = encoder.encode(text, [])
    assert controls_of(encoder, text, ids, offsets) == [((2, 12), "<|im_end|>")]


def test_an_unigram_model_does_not_find_a_control_token_in_plain_text():
    tokenizer = trained("unigram")
    assert tokenizer.token_to_id("</s>") in tokenizer.encode("a</s>b").ids
    assert tokenizer.token_to_id("</s>") not in FastEncoder(tokenizer).encode("a</s>b", [(0, 6)])[0]


def test_a_control_token_has_the_offsets_of_its_literal_without_the_blanks_it_swallows():
    tokenizer = trained("stripping")
    text = "a <|end|> \n b"
    assert (1, 12) in tokenizer.encode(text, add_special_tokens=False).offsets
    assert (2, 9) in FastEncoder(tokenizer).encode(text, [(0, 1), (12, 13)])[1]
    # blanks of the data are swallowed as well, and do not make a literal of the data of it
    assert (2, 9) in FastEncoder(tokenizer).encode(text, [(0, 2), (9, 13)])[1]


def test_blanks_and_words_that_were_added_stay_tokens_in_the_data():
    gemma = trained("gemma")
    breaks = gemma.token_to_id("\n\n")
    assert breaks in FastEncoder(gemma).encode("a\n\nb </s>", [(0, 9)])[0]
    normalized = trained("normalized")
    ids, _ = FastEncoder(normalized).encode("a truck </s>", [(0, 12)])
    assert normalized.token_to_id("truck") in ids
    assert normalized.token_to_id("</s>") not in ids


def test_tokens_to_keep_are_tokens_in_the_data_too():
    tokenizer = trained("normalized")
    place = tokenizer.token_to_id("<loc0001>")
    text = "at <loc0001> </s>"
    assert place not in FastEncoder(tokenizer).encode(text, [(0, len(text))])[0]
    ids, _ = FastEncoder(tokenizer, keep=frozenset({"<loc0001>"})).encode(text, [(0, len(text))])
    assert place in ids
    assert tokenizer.token_to_id("</s>") not in ids


def test_what_is_control_and_what_is_vocabulary():
    assert is_control("</think>", special=False)
    assert is_control("<|im_end|>", special=True)
    assert is_control("sop", special=True)
    assert not is_control("truck", special=False)
    assert not is_control("!", special=True)
    assert not is_control("\n\n", special=False)
    assert not is_control("\u2581\u2581", special=False)


def test_truncation_padding_and_split_special_tokens_of_the_users_tokenizer_do_not_matter():
    tokenizer = Tokenizer.from_str(trained("byte_bpe").to_str())
    rendered = chat(("user", "How many crates are there?"), ("assistant", "Two </s> crates."))
    expected = listed(FastEncoder(tokenizer).encode(rendered.text, rendered.data))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=99)
    tokenizer.encode_special_tokens = True
    before = tokenizer.to_str()
    encoder = FastEncoder(tokenizer)
    assert listed(encoder.encode(rendered.text, rendered.data)) == expected
    assert encoder.lead() == [tokenizer.token_to_id("<s>")]
    assert tokenizer.to_str() == before


def test_a_text_may_hold_the_characters_that_names_are_made_of():
    encoder = FastEncoder(trained("byte_bpe"))
    for answer in ("</s>", "\U000f0000\U00100001</s>", "\U000f0001\U00100001\U000f0000</s>"):
        rendered = chat(("user", "a"), ("assistant", answer))
        ids, offsets = encoder.encode(rendered.text, rendered.data)
        assert len(controls_of(encoder, rendered.text, ids, offsets)) == 4
        assert trained("byte_bpe").decode(ids, skip_special_tokens=False) == rendered.text


@pytest.mark.parametrize("kind", ["byte_bpe", "unigram"])
def test_an_encoder_can_be_pickled_and_its_pickle_does_not_change_with_use(kind):
    encoder = FastEncoder(trained(kind), eos_token="</s>")
    before = pickle.dumps(encoder)
    rendered = chat(("user", "a </s>"), ("assistant", "b <|im_end|>"))
    expected = listed(encoder.encode(rendered.text, rendered.data))
    assert pickle.dumps(encoder) == before
    again = pickle.loads(before)
    assert listed(again.encode(rendered.text, rendered.data)) == expected
    assert again.eos_id == trained(kind).token_to_id("</s>")


def test_lead_is_what_the_post_processor_puts_in_front():
    tokenizer = Tokenizer.from_str(trained("llama").to_str())
    assert FastEncoder(tokenizer).lead() == [tokenizer.token_to_id("<s>")]
    tokenizer.post_processor = None
    assert FastEncoder(tokenizer).lead() == []


def test_gaps_and_overlaps():
    assert list(gaps([(2, 3), (3, 5), (7, 7)], 9)) == [(0, 2), (5, 7), (7, 9)]
    assert list(gaps([], 3)) == [(0, 3)]
    assert overlaps(2, 4, [(0, 1), (3, 5)])
    assert not overlaps(1, 3, [(0, 1), (3, 5)])
    assert not overlaps(0, 9, [])


# tiktoken


@pytest.fixture(scope="module")
def tiktoken_encoding():
    import tiktoken

    merges = [b"th", b"he", b" t", b"the", b" the", b"\xf0\x9f", b"\xc3\xa9", b"es", b"Yes"]
    ranks = {bytes([byte]): byte for byte in range(256)} | {pair: 256 + at for at, pair in enumerate(merges)}
    special = {"<|endoftext|>": 300, "<|im_start|>": 301, "<|im_end|>": 302, "<|im_end|><|im_end|>": 303}
    return tiktoken.Encoding(
        "tiny", pat_str=r"""\p{L}+| ?[^\s\p{L}]+|\s+""", mergeable_ranks=ranks, special_tokens=special
    )


@settings(max_examples=60, deadline=None)
@given(question=plain_texts, answer=plain_texts)
def test_tiktoken_ids_are_the_plain_ones_and_offsets_its_own(tiktoken_encoding, question, answer):
    rendered = chat(("user", question), ("assistant", answer))
    ids, offsets = TiktokenEncoder(tiktoken_encoding).encode(rendered.text, rendered.data)
    assert ids == tiktoken_encoding.encode(rendered.text, allowed_special="all")
    text, starts = tiktoken_encoding.decode_with_offsets(ids)
    assert text == rendered.text
    assert [start for start, _ in offsets] == starts
    assert list(offsets[:]) == [offsets[at] for at in range(len(offsets))]


@settings(max_examples=60, deadline=None)
@given(question=hostile_texts, answer=hostile_texts)
def test_tiktoken_special_tokens_in_the_data_are_text(tiktoken_encoding, question, answer):
    rendered = chat(("user", question), ("assistant", answer))
    ids, offsets = TiktokenEncoder(tiktoken_encoding).encode(rendered.text, rendered.data)
    assert [token for token in ids if token >= 300] == [301, 302, 301, 302]
    assert tiktoken_encoding.decode(ids) == rendered.text
    assert all(rendered.text[slice(*where)] for where in offsets)


def test_tiktoken_encoder_pickles_and_knows_its_tokens(tiktoken_encoding):
    encoder = TiktokenEncoder(tiktoken_encoding, keep=frozenset({"<|im_start|>"}))
    encoder.encode("warm", [])
    again = pickle.loads(pickle.dumps(encoder))
    assert again.encode("the <|im_start|><|im_end|>", [(0, 26)])[0][:3] == [*tiktoken_encoding.encode("the "), 301]
    assert 302 not in again.encode("the <|im_start|><|im_end|>", [(0, 26)])[0]
    assert again.knows("<|im_end|>")
    assert not again.knows("</s>")
    assert (again.eos_id, again.pad_id, again.lead()) == (300, None, [])
    assert encoder.quoted("a<|im_end|>b") == [(1, 11)]


# slow tokenizers


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A SentencePiece tokenizer behind transformers, with a control token that the model itself knows."""
    import sentencepiece
    from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(
            ["the man near the truck", "How many crates are there? Yes, two.", "user assistant"] * 9
        ),
        model_writer=model,
        vocab_size=330,
        model_type="bpe",
        byte_fallback=True,
        user_defined_symbols=["<|im_end|>"],
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("slow") / "tokenizer.model"
    path.write_bytes(model.getvalue())
    tokenizer = SentencePieceBackend(vocab_file=str(path), bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>", "<image>"]})
    tokenizer.add_tokens([THINK])
    return tokenizer


def test_a_slow_tokenizer_gives_its_own_ids_and_offsets_that_spell_the_text(slow):
    rendered = chat(("user", "How many  crates?\n"), ("assistant", "Yes, two é 😀."))
    ids, offsets = SlowEncoder(slow).encode(rendered.text, rendered.data)
    assert ids == slow.encode(rendered.text, add_special_tokens=False)
    at = rendered.text.index("Yes")
    assert "".join(rendered.text[a:b] for a, b in dict.fromkeys(offsets) if a >= at).startswith("Yes, two é 😀.")


@settings(max_examples=60, deadline=None)
@given(question=hostile_texts, answer=hostile_texts)
def test_control_tokens_in_the_data_are_text_for_a_slow_tokenizer(slow, question, answer):
    rendered = chat(("user", question), ("assistant", answer))
    ids, _ = SlowEncoder(slow).encode(rendered.text, rendered.data)
    controls = {slow.convert_tokens_to_ids(token) for token in (*CONTROLS[:5], THINK)}
    start, end = slow.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert [token for token in ids if token in controls] == [start, end, start, end]


def test_a_slow_tokenizer_that_changes_the_text_has_no_offsets():
    from transformers import ByT5Tokenizer

    encoder = SlowEncoder(ByT5Tokenizer())
    assert listed(encoder.encode("Yes.", [(0, 4)])) == ([92, 104, 118, 49], [(0, 1), (1, 2), (2, 3), (3, 4)])
    ids, offsets = encoder.encode("é", [(0, 1)])
    assert (len(ids), offsets) == (2, None)
    assert 1 not in encoder.encode("a</s>", [(0, 5)])[0]
    assert encoder.encode("a</s>", [])[0][-1] == encoder.eos_id == 1


def test_a_slow_encoder_can_be_pickled(slow):
    encoder = SlowEncoder(slow, keep=frozenset({"<image>"}))
    again = pickle.loads(pickle.dumps(encoder))
    image = slow.convert_tokens_to_ids("<image>")
    assert image in again.encode("a <image></s>", [(0, 13)])[0]
    assert again.knows("<image>")
    assert not again.knows("<|nothing|>")


# functions


def test_a_function_is_an_encoder_without_offsets():
    encoder = CallableEncoder(lambda text: [ord(character) for character in text])
    assert encoder.encode("ab", []) == ([97, 98], None)
    assert encoder.lead() == []
    assert encoder.knows("a")
    assert not encoder.knows("</s>")


def test_what_a_function_puts_in_front_of_every_text_is_its_lead():
    encoder = CallableEncoder(lambda text: trained("byte_bpe").encode(text).ids)
    assert encoder.lead() == [trained("byte_bpe").token_to_id("<s>")]
    assert encoder.encode("truck", [])[0] == trained("byte_bpe").encode("truck", add_special_tokens=False).ids


def test_a_function_that_appends_a_token_is_refused():
    with pytest.raises(OptionError, match="append"):
        CallableEncoder(lambda text: [1, *text.encode(), 2])
