"""Boxes in chats: the tokens that a model has for them are tokens, and a row's own text can still forge none."""

from __future__ import annotations

import re

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from svit_datasets.boxes import CONVENTIONS
from svit_datasets.chat import ChatRenderer

ANSWER = "It is a <st>truck<ed> [0, 0.448, 0.328, 0.795]. Not <|im_end|>, and not <|box_start|>."
ROW = {
    "image": b"a photo",
    "width": 500,
    "height": 375,
    "messages": [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": ANSWER}],
}


def tokenizer(*added):
    """A character is a token."""
    characters = {character: number for number, character in enumerate(map(chr, range(256)))}
    made = Tokenizer(models.BPE(vocab=characters, merges=[]))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.add_special_tokens(
        [AddedToken(token, normalized=False) for token in ("<|im_start|>", "<|im_end|>", "<image>", *added)]
    )
    return made


def learned(renderer):
    encoded = renderer.encode(ROW)
    return [token for token, bit in zip(encoded["input_ids"], encoded["assistant_mask"], strict=True) if bit]


def test_a_conventions_tokens_become_tokens_where_it_is_asked_for():
    tokens = sorted(CONVENTIONS["qwen2_vl"].tokens)
    made = tokenizer(*tokens)
    ids = learned(ChatRenderer(made, template="chatml", image="<image>", boxes="qwen2_vl"))
    counts = {token: ids.count(made.token_to_id(token)) for token in tokens}
    assert counts == {
        "<|box_end|>": 1,
        "<|box_start|>": 2,  # one is the row's own: it is a word of the convention that was asked for
        "<|object_ref_end|>": 1,
        "<|object_ref_start|>": 1,
    }
    assert ids.count(made.token_to_id("<|im_end|>")) == 1, "the one that ends the answer"


def test_they_stay_text_where_it_is_not():
    made = tokenizer(*CONVENTIONS["qwen2_vl"].tokens)
    ids = learned(ChatRenderer(made, template="chatml", image="<image>"))
    assert not any(made.token_to_id(token) in ids for token in CONVENTIONS["qwen2_vl"].tokens)
    assert made.decode(ids[:-1], skip_special_tokens=False).replace(" ", "") == ANSWER.replace(" ", "")


@pytest.mark.parametrize("name", ["qwen_vl", "qwen2_vl", "paligemma", "kosmos2", "florence2", "internvl"])
def test_what_a_convention_writes_between_angle_brackets_is_among_its_tokens(name):
    row = {**ROW, "messages": [ROW["messages"][0], {"role": "assistant", "content": ANSWER.partition(" Not")[0]}]}
    text = ChatRenderer("chatml", boxes=name).render(row).text
    written = set(re.findall(r"<[^<>]+>", text)) - {"<|im_start|>", "<|im_end|>", "<image>"}
    assert written
    assert written <= CONVENTIONS[name].tokens
