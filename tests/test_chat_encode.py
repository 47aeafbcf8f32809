"""From a rendered chat to ids, masks and labels: what is learned, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svit_datasets.chat.encode import (
    IGNORED,
    Encoded,
    answers,
    encode,
    labelled,
    token_range,
    tokens,
    unknown_controls,
    with_eos,
    without_controls,
)
from svit_datasets.chat.encoders import FastEncoder
from svit_datasets.chat.offsets import ListedOffsets
from svit_datasets.chat.slow import CallableEncoder
from svit_datasets.chat.spans import Rendered, Span, Turn
from svit_datasets.errors import EncodeError, OptionError
from tests.tokenizer_packages import CONTROLS, THINK, TRAINED, chat, trained

TWO = (
    ("system", "Be brief."),
    ("user+image", "How many crates are there?"),
    ("assistant", "Two."),
    ("user", "Two?"),
    ("assistant", "Yes, two."),
)
LOSSLESS = ("byte_bpe", "llama", "first", "gemma")
words = st.lists(
    st.sampled_from(("Two", "two", "Yes.", " ", "\n", "é", "😀", "truck", "<", "-", "0.125", *CONTROLS, THINK)),
    min_size=1,
    max_size=6,
).map("".join)


def encoder_of(kind):
    return FastEncoder(trained(kind), eos_token="</s>")


def learned(kind, out):
    """What the learned ids say, run by run."""
    runs, run = [], []
    for token, bit in zip([*out["input_ids"], 0], [*out["assistant_mask"], 0], strict=True):
        if bit:
            run.append(token)
        elif run:
            runs.append(trained(kind).decode(run, skip_special_tokens=False))
            run = []
    return runs


def test_four_lists_of_one_length_and_labels_are_ids_where_the_mask_is():
    out = encode(chat(*TWO), encoder_of("byte_bpe"))
    assert list(out) == ["input_ids", "attention_mask", "assistant_mask", "labels"]
    assert {len(column) for column in out.values()} == {len(out["input_ids"])}
    assert set(out["attention_mask"]) == {1}
    for token, bit, label in zip(out["input_ids"], out["assistant_mask"], out["labels"], strict=True):
        assert label == (token if bit else IGNORED)


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("boundary", ["overlap", "split"])
def test_each_answer_is_learned_with_what_ends_it(kind, boundary):
    out = encode(chat(*TWO), encoder_of(kind), boundary=boundary)
    assert [run.strip() for run in learned(kind, out)] == ["Two.<|im_end|>", "Yes, two.<|im_end|>"]
    out = encode(chat(*TWO), encoder_of(kind), boundary=boundary, scope="content")
    assert [run.strip() for run in learned(kind, out)] == ["Two.", "Yes, two."]


@pytest.mark.parametrize("kind", TRAINED)
@settings(max_examples=25, deadline=None)
@given(answers=st.lists(words, min_size=1, max_size=3), boundary=st.sampled_from(["overlap", "split"]))
def test_every_character_of_every_answer_is_learned_and_no_token_of_anything_else(kind, answers, boundary):
    rendered = chat(*((role, text) for answer in answers for role, text in (("user", "Two?"), ("assistant", answer))))
    encoder = shared(kind)
    out = encode(rendered, encoder, boundary=boundary, bos="template")
    if boundary == "split":
        pieces = _pieces(rendered)
        expected = [token for text, data, _ in pieces for token in encoder.encode(text, data)[0]]
        mask = [bit for text, data, bit in pieces for _ in encoder.encode(text, data)[0]]
        assert (out["input_ids"], out["assistant_mask"]) == (expected, mask)
        return
    ids, offsets = encoder.encode(rendered.text, rendered.data)
    assert out["input_ids"] == ids
    spans = [(turn.start, turn.stop_end) for turn in rendered.turns if turn.role == "assistant"]
    for (start, stop), bit in zip(offsets, out["assistant_mask"], strict=True):
        inside = any(start < b and stop > a for a, b in spans)
        assert bit == inside or (start == stop and bit)  # a token of no width inside an answer belongs to it
    assert sum(
        first < second for first, second in zip([0, *out["assistant_mask"]], out["assistant_mask"], strict=False)
    ) == len(answers)


def _pieces(rendered):
    """The text cut at each answer: (piece, its data, whether it is learned)."""
    pieces, done = [], 0
    for turn in rendered.turns:
        if turn.role == "assistant":
            for start, stop, bit in ((done, turn.start, 0), (turn.start, turn.stop_end, 1)):
                data = [Span(a - start, b - start) for a, b in rendered.data if start <= a and b <= stop]
                pieces.append((rendered.text[start:stop], data, bit))
            done = turn.stop_end
    return [*pieces, (rendered.text[done:], [], 0)]


_encoders = {}


def shared(kind):
    return _encoders.setdefault(kind, encoder_of(kind))


def test_bos_comes_once_whoever_writes_it():
    """Trap 14."""
    bos = trained("byte_bpe").token_to_id("<s>")
    plain = chat(*TWO)
    out = encode(plain, encoder_of("byte_bpe"))
    assert (out["input_ids"][0], out["input_ids"].count(bos), out["labels"][0]) == (bos, 1, IGNORED)
    written = chat(*TWO, first="<s>")
    assert encode(written, encoder_of("byte_bpe")) == out
    written = chat(*TWO, first="\n<s>")  # not in the first place, and yet it is there
    assert encode(written, encoder_of("byte_bpe"))["input_ids"].count(bos) == 1
    assert bos not in encode(plain, encoder_of("byte_bpe"), bos="template")["input_ids"]


def test_bos_that_also_ends_answers_is_still_put_in_front():
    """OPT and others have one token for both; it stands at the end of answers whatever the template does in front."""
    tokenizer = trained("byte_bpe")
    bos = tokenizer.token_to_id("<s>")
    for boundary in ("overlap", "split"):
        ended = chat(*TWO, open_with="{}: ", close_with="<s>\n")
        out = encode(ended, FastEncoder(tokenizer), boundary=boundary)
        assert out["input_ids"][0] == bos
        assert out["input_ids"].count(bos) == 6


def test_a_literal_bos_in_the_data_does_not_stand_for_bos():
    out = encode(chat(("user", "<s>"), ("assistant", "Two.")), encoder_of("byte_bpe"))
    bos = trained("byte_bpe").token_to_id("<s>")
    assert (out["input_ids"][0], out["input_ids"].count(bos)) == (bos, 1)


def test_an_answer_without_a_token_is_an_error_and_never_an_empty_mask():
    empty = chat(("user", "Two?"), ("assistant", "Yes."), ("user", "Two?"), ("assistant", ""))
    assert learned("byte_bpe", encode(empty, encoder_of("byte_bpe"))) == ["Yes.<|im_end|>", "<|im_end|>"]
    for boundary in ("overlap", "split"):
        with pytest.raises(EncodeError, match="Answer 2 of the chat, '', has no token"):
            encode(empty, encoder_of("byte_bpe"), scope="content", boundary=boundary)
    with pytest.raises(EncodeError, match="no answer"):
        encode(chat(("user", "Two?")), encoder_of("byte_bpe"))
    erased = chat(("user", "Two?"), ("assistant", "\u0000"))  # the normaliser takes it away
    with pytest.raises(EncodeError, match="has no token"):
        encode(erased, encoder_of("wordpiece"), scope="content")


def test_scope_template_is_what_generation_tags_enclose():
    rendered = chat(*TWO)
    at = rendered.text.index("Yes")
    marked = Rendered(
        rendered.text,
        rendered.turns,
        rendered.images,
        rendered.data,
        (),
        (Span(at, at + len("Yes, two.<|im_end|>\n")),),
    )
    assert learned("byte_bpe", encode(marked, encoder_of("byte_bpe"), scope="template")) == ["Yes, two.<|im_end|>\n"]
    with pytest.raises(EncodeError, match="generation"):
        encode(rendered, encoder_of("byte_bpe"), scope="template")


def test_images_are_never_learned():
    """Trap 23."""
    rendered = chat(("user", "Two?"), ("assistant+image", "Yes."))
    (image,) = rendered.images
    inside = Rendered(
        rendered.text,
        (rendered.turns[0], Turn("assistant", image.start, rendered.turns[1].end, rendered.turns[1].stop_end)),
        rendered.images,
        rendered.data,
    )
    assert answers(inside, "reply") == [Span(image.stop, rendered.turns[1].stop_end)]
    for boundary in ("overlap", "split"):
        out = encode(inside, encoder_of("byte_bpe"), boundary=boundary)
        assert learned("byte_bpe", out) == ["Yes.<|im_end|>"]
        assert trained("byte_bpe").token_to_id("<image>") in out["input_ids"]


def test_labelled_leaves_out_what_is_ignored():
    out = labelled(Encoded([5, 6, 7, 8], [(1, 4)]), ignored=[(2, 3)])
    assert out["assistant_mask"] == [0, 1, 0, 1]
    assert out["labels"] == [IGNORED, 6, IGNORED, 8]


def test_token_range():
    offsets = ListedOffsets([(0, 2), (2, 2), (2, 5), (5, 6), (5, 6), (8, 9)])
    assert token_range(offsets, 0, 2) == (0, 1)
    assert token_range(offsets, 1, 3) == (0, 3)
    assert token_range(offsets, 5, 6) == (3, 5)
    assert token_range(ListedOffsets([]), 0, 3) == (0, 0)
    for start, stop in ((6, 8), (4, 4)):
        first, behind = token_range(offsets, start, stop)
        assert first == behind


# length


def rounds(count):
    return chat(*TWO[:3], *(TWO[3:] * (count - 1)))


@pytest.mark.parametrize("boundary", ["overlap", "split"])
def test_whole_rounds_are_dropped_until_it_fits(boundary):
    encoder = encoder_of("byte_bpe")
    lengths = [len(encode(rounds(count), encoder, boundary=boundary)["input_ids"]) for count in range(1, 6)]
    for limit in range(lengths[0], lengths[-1] + 2):
        out = encode(rounds(5), encoder, boundary=boundary, max_length=limit, fewer=rounds)
        most = max(count for count, length in enumerate(lengths, 1) if length <= limit)
        assert out == encode(rounds(most), encoder, boundary=boundary)


def test_where_not_even_one_round_fits_there_is_an_error():
    encoder = encoder_of("byte_bpe")
    with pytest.raises(EncodeError, match=r"first round alone has \d+ ids, which is more than max_length=9"):
        encode(rounds(3), encoder, max_length=9, fewer=rounds)
    with pytest.raises(EncodeError, match="first round alone"):
        encode(rounds(1), encoder, max_length=9, fewer=rounds)
    with pytest.raises(EncodeError, match="max_length=9"):
        encode(rounds(1), encoder, max_length=9)


def test_a_round_with_an_image_is_not_dropped():
    encoder = encoder_of("byte_bpe")

    def late(count):
        return chat(
            ("user", "Two?"), ("assistant", "Yes."), *(("user+image", "Two?"), ("assistant", "Yes."))[: 2 * (count - 1)]
        )

    with pytest.raises(EncodeError, match="round with its image"):
        encode(late(2), encoder, max_length=20, fewer=late)


# the template's and the tokenizer's tokens


def test_eos_is_written_where_the_template_ends_no_answer():
    plain = chat(
        ("user", "Two?"), ("assistant", "Yes."), ("user", ""), ("assistant", "No."), close_with="", open_with=" {}: "
    )
    ended = with_eos(plain, "</s>")
    assert ended.text == " user: Two? assistant: Yes.</s> user:  assistant: No.</s>"
    for before, after in zip(plain.turns, ended.turns, strict=True):
        assert ended.text[after.start : after.end] == plain.text[before.start : before.end]
        assert ended.text[after.end : after.stop_end] == ("</s>" if after.role == "assistant" else "")
    assert [ended.text[slice(*span)] for span in ended.data] == [plain.text[slice(*span)] for span in plain.data]
    assert learned("byte_bpe", encode(ended, encoder_of("byte_bpe"))) == [" Yes.</s>", " No.</s>"]  # overlap
    assert with_eos(chat(*TWO), "</s>") == chat(*TWO)


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.sampled_from(["", "a", "bc\n"]), min_size=2, max_size=6), header=st.sampled_from(["", "{}: "]))
def test_eos_moves_every_span_along_with_its_text(texts, header):
    roles = ("user+image", "assistant")
    plain = chat(*((roles[at % 2], text) for at, text in enumerate(texts)), close_with="", open_with=header)
    ended = with_eos(plain, "</s>")
    assert ended.text.replace("</s>", "") == plain.text
    assert ended.text.count("</s>") == len(texts) // 2
    for old, new in ((plain.data, ended.data), (plain.images, ended.images)):
        assert [ended.text[slice(*span)] for span in new] == [plain.text[slice(*span)] for span in old]
    for before, after in zip(plain.turns, ended.turns, strict=True):
        assert ended.text[after.start : after.end] == plain.text[before.start : before.end]
        assert ended.text[after.end : after.stop_end] == ("</s>" if after.role == "assistant" else "")


def test_control_tokens_can_be_taken_out_of_a_row():
    encoder = encoder_of("byte_bpe")
    assert without_controls("a</</s>s> <image>b</think>", encoder) == "a b"
    assert without_controls("a < b", encoder) == "a < b"


def test_tokens_of_the_template_that_the_tokenizer_lacks_are_named():
    encoder = encoder_of("byte_bpe")
    assert unknown_controls(chat(*TWO), encoder) == []
    written = "<|header|>{}[IMG] 3 < 4 > 2 </answer> <<SYS>> [INST] [/INST]"
    foreign = chat(("user", "<|quoted|>"), ("assistant", "b"), open_with=written)
    assert unknown_controls(foreign, encoder) == ["</answer>", "<|header|>", "[IMG]"]


def test_options_are_checked():
    for option in ("scope", "boundary", "bos"):
        with pytest.raises(OptionError, match=f"{option}='no'"):
            encode(chat(*TWO), encoder_of("byte_bpe"), **{option: "no"})


def test_an_encoder_without_offsets_splits():
    function = CallableEncoder(lambda text: list(text.encode()))
    out = encode(chat(*TWO), function)
    said = bytes(token for token, bit in zip(out["input_ids"], out["assistant_mask"], strict=True) if bit)
    assert said == b"Two.<|im_end|>Yes, two.<|im_end|>"
    assert bytes(out["input_ids"]).decode() == chat(*TWO).text


def test_tokens_gives_ranges_behind_the_lead():
    encoded = tokens(chat(*TWO), encoder_of("byte_bpe"))
    text = trained("byte_bpe").decode(encoded.ids[slice(*encoded.learned[0])], skip_special_tokens=False)
    assert text == "Two.<|im_end|>"


def test_importing_the_package_brings_no_heavy_library():
    code = (
        "import sys, svit_datasets.chat.encode, svit_datasets.chat.targets, svit_datasets.chat.mistral\n"
        "heavy = {'transformers', 'torch', 'datasets', 'tokenizers', 'tiktoken', 'mistral_common', 'pyarrow', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
