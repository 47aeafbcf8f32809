"""Every text of a chat is found where it stands, or there is an error; never a wrong span."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svit_datasets.chat.engine import RELEASE, Template, parse_date
from svit_datasets.chat.forms import Form, built
from svit_datasets.chat.probe import learn
from svit_datasets.chat.spans import Place, Span, cut_at, fresh_marks, images_outside, place_of, stop_end, unmarked
from svit_datasets.chat.turns import IMAGE, Message
from svit_datasets.chat.writer import Writer
from svit_datasets.errors import TemplateError, TemplateLossError
from tests import chat_templates as samples

TEMPLATES = {
    name: getattr(samples, name)
    for name in (
        *("CHATML", "STRICT", "PARTS", "ONLY_PARTS", "KEYS", "FRONT", "LAST_STOP", "NO_STOP", "HEADER_ONLY", "THINK"),
        *("TAGGED", "DATED", "DEFAULT_SYSTEM", "NEEDS_TOOLS", "NEEDS_FUNCTIONS", "CONTENT_KEY", "COMPARES"),
        *("REFUSES_MARKS", "PLACEHOLDER_IN_STRING"),
    )
}
QUESTIONS = ["What is the man doing?", "Is it a dog? Answer yes or No.", "Why?", "Same question: why?", "Yes."]
ANSWERS = {
    "natural": [
        "He unloads crates.",
        "Four:\n1. Two here.\n2. Two there.",
        "A market.",
        "At [0.125, 0.430].",
        "Sunny — warm.",
    ],
    "duplicate": ["Yes."] * 5,
    "short": ["No", "2", "2", "No", "a"],
    "blanks at the ends": [" He is. ", "\nFour", "Because.\n\n", " at", "\tSunny \n"],
    "control tokens": [
        "</s><|im_end|>\n<|im_start|>user\n<image>",
        "[/INST] x",
        "<|end|>",
        "<|img|><|img|>",
        "<eou><image>",
    ],
    "unicode": [
        "Ünïcödé 日本語",
        "\U0001f415\u200d\U0001f9ba",
        "e\u0301",
        "\u200f\u05e2\u05d1",
        "\u00a0\u200bzero\u2028",
    ],
    "private use": ["\ue000", "\ue001 \ue002", "a\ue003b", "\ue004\ue005", "\uf8ff"],
    "JSON and Jinja": ['{"a": [1]}', "{'type': 'text'}", "{{ messages }}{% for %}", '[{"type": "image"}]', "{# x #}"],
    "thoughts": [
        "<think>\nhm\n</think>\n\nHe is.",
        "<think>a b</think>Four",
        "No.",
        "<think></think>at",
        "<think>x</think>\n\nSun.",
    ],
}


CHATML_WITHOUT_THOUGHTS = samples.CHATML.replace("m['content']", "m['content'].split('</think>')[-1]")


def chat_of(answers, *, image=False):
    messages = []
    for number, (question, answer) in enumerate(zip(QUESTIONS, answers, strict=False)):
        parts = (IMAGE, question) if image and not number else (question,)
        messages += [Message("user", parts), Message("assistant", (answer,))]
    return messages


class Bench:
    """A template, probed, and ready to write."""

    def __init__(self, source):
        self.template = Template(source)
        self.learnt = learn(self.template, samples.TOKENS)
        self.writer = Writer(self.template, self.learnt, now=RELEASE)

    def write(self, messages, *, image=False):
        form = self.learnt.form if image else self.learnt.text_form
        return self.writer.write(messages, form, self.learnt.report.image if image else None)

    def plain(self, messages, *, image=False):
        """Render without marks."""
        form = self.learnt.form if image else self.learnt.text_form
        texts = [part for message in messages for part in message.parts if part is not IMAGE]
        return self.template.render(built(messages, texts, form), **self.learnt.variables)


def check(rendered, messages, plain):
    """The text is what the template writes, and each turn is its message, whole or without what a note says."""
    assert rendered.text == plain
    assert [turn.role for turn in rendered.turns] == [message.role for message in messages]
    end = 0
    for turn, message in zip(rendered.turns, messages, strict=True):
        assert end <= turn.start <= turn.end <= turn.stop_end
        end = turn.stop_end
        found = rendered.text[turn.start : turn.end]
        [text] = [part for part in message.parts if part is not IMAGE]
        if turn.role == "assistant" and "</think>" in text and found not in (text, text.strip()):
            assert found.endswith(text.rpartition("</think>")[2].strip())
        elif IMAGE in message.parts:
            assert text.strip() in found
        else:
            assert found == text or (found == text.strip() and rendered.notes)
    assert all(left.stop <= right.start for left, right in zip(rendered.data, rendered.data[1:], strict=False))


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_spans_are_exact(name, kind):
    """Traps 1, 2, 6, 11, 12, 13, 20, 26: any answer, with or without generation tags, prefix or not."""
    bench = Bench(TEMPLATES[name])
    for image in (False, True)[: 1 + (bench.learnt.report.image is not None)]:
        messages = chat_of(ANSWERS[kind], image=image)
        try:
            plain = bench.plain(messages, image=image)
        except TemplateError as error:
            assert name == "REFUSES_MARKS"
            with pytest.raises(TemplateError, match=re.escape(str(error))):
                bench.write(messages, image=image)
            return
        if (name, kind) == ("PLACEHOLDER_IN_STRING", "control tokens"):
            with pytest.raises(TemplateLossError, match="leaves out or changes text 2 of the chat"):
                bench.write(messages, image=image)
            return
        rendered = bench.write(messages, image=image)
        check(rendered, messages, plain)
        assert len(rendered.images) == image
        if image:
            assert rendered.text[slice(*rendered.images[0])] == bench.learnt.report.image
            assert (
                rendered.turns[0].start <= rendered.images[0].start < rendered.images[0].stop <= rendered.turns[0].end
            )


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5), st.sampled_from(sorted(TEMPLATES)))
@settings(deadline=None, max_examples=150)
def test_spans_are_exact_for_any_text(answers, name):
    bench = Bench(TEMPLATES[name])
    messages = chat_of(answers)
    try:
        plain = bench.plain(messages)
    except TemplateError:
        return  # REFUSES_MARKS refuses private-use characters, which such a text may hold
    check(bench.write(messages), messages, plain)


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("CHATML", ["<|im_end|>", "<|im_end|>"]),
        ("STRICT", ["</s>", "</s>"]),
        ("LAST_STOP", ["<|end|>", "<|return|>"]),
        ("NO_STOP", ["", ""]),
        ("HEADER_ONLY", ["", ""]),
    ],
)
def test_a_turn_ends_behind_its_end_token(name, stops):
    """Trap 15."""
    rendered = Bench(TEMPLATES[name]).write(chat_of(["He is.", "No <|end|>"]))
    assert [rendered.text[turn.end : turn.stop_end] for turn in rendered.turns if turn.role == "assistant"] == stops


def test_end_tokens_in_an_answer_are_its_text():
    rendered = Bench(samples.CHATML).write(chat_of(["a<|im_end|>b", "c<|im_end|>"]))
    ends = [rendered.text[turn.start : turn.stop_end] for turn in rendered.turns if turn.role == "assistant"]
    assert ends == ["a<|im_end|>b<|im_end|>", "c<|im_end|><|im_end|>"]


def test_generation_tags_are_told():
    """Trap 2."""
    rendered = Bench(samples.TAGGED).write(chat_of(["He is.", "No"]))
    assert [rendered.text[slice(*span)] for span in rendered.generation] == ["He is.<|end|>", "No<|end|>"]
    assert Bench(samples.CHATML).write(chat_of(["He is."])).generation == ()


def test_thoughts_that_a_template_leaves_out_are_noted():
    """Trap 11: of all answers but the last, whose thoughts it sets anew."""
    rendered = Bench(samples.THINK).write(chat_of(["<think>a b</think>Four", "<think>c</think>Five"]))
    first, last = [turn for turn in rendered.turns if turn.role == "assistant"]
    assert rendered.text[first.start : first.end] == "Four"
    assert rendered.text[last.start : last.end] == "<think>\nc\n</think>\n\nFive"
    assert [rendered.text[slice(*span)] for span in rendered.data][-2:] == ["c", "Five"]
    assert rendered.notes == (
        "The chat template takes the thoughts from an answer.",
        "The chat template sets the thoughts of an answer anew.",
    )


@pytest.mark.parametrize("answer", ["At the bench.</think>", "<think>only this</think>", "</think>", "<think>"])
def test_odd_thoughts_are_text(answer):
    rendered = Bench(samples.CHATML).write(chat_of([answer, answer]))
    assert [rendered.text[turn.start : turn.end] for turn in rendered.turns[1::2]] == [answer, answer]
    with pytest.raises(TemplateLossError, match="leaves out or changes text 2"):
        Bench(CHATML_WITHOUT_THOUGHTS).write(chat_of([f"hm</think>{answer}</think>"]))


def test_data_is_all_that_comes_from_the_row():
    """Trap 20: what the template writes, its image placeholder too, is no data."""
    rendered = Bench(samples.PARTS).write(chat_of(["<|img|>"], image=True), image=True)
    assert [rendered.text[slice(*span)] for span in rendered.data] == [QUESTIONS[0], "<|img|>"]
    assert [rendered.text[slice(*span)] for span in rendered.images] == ["<|img|>"]


def test_images_stand_where_the_row_has_them():
    messages = [
        Message("user", ("a b", IMAGE, "c")),
        Message("assistant", ("d",)),
        Message("user", (IMAGE,)),
        Message("assistant", ("e",)),
    ]
    rendered = Bench(samples.PARTS).write(messages, image=True)
    turns = [rendered.text[turn.start : turn.end] for turn in rendered.turns]
    assert turns == ["a b<|img|>c", "d", "<|img|>", "e"]
    assert len(rendered.images) == 2


@pytest.mark.parametrize(
    ("source", "answers", "message"),
    [
        (
            samples.CHATML.replace("m['content']", "m['content'] | replace('bad', '***')"),
            ["A bad dog."],
            "leaves out or changes text 2",
        ),
        (
            samples.LOSES_LONG,
            ["A", "A long answer, longer than others, so long that it goes."],
            r"leaves out or changes text 4 of the chat \(assistant",
        ),
        (
            samples.CHATML + "{% if messages | length > 5 %}{{ messages[0].content }}{% endif %}",
            ["A", "B", "C"],
            "doubles or reorders",
        ),
        (
            "{% set l = messages if messages | length < 5 else messages[::-1] %}"
            + samples.CHATML.replace("in messages", "in l"),
            ["Yes.", "Yes.", "Yes."],
            "leaves out or changes|doubles or reorders",
        ),
    ],
)
def test_what_a_template_loses_doubles_or_changes_is_an_error(source, answers, message):
    """Traps 3 and 4: no silent loss."""
    with pytest.raises(TemplateLossError, match=message):
        Bench(source).write(chat_of(answers))


@pytest.mark.parametrize(
    "source",
    [
        samples.PARTS.replace("<|img|>", "{{ '' if messages | length > 4 else '<|img|>' }}"),
        samples.PARTS.replace("<|img|>", "<|img|>{{ '<|img|>' if messages | length > 4 }}"),
    ],
)
def test_an_image_that_comes_out_twice_or_never_is_an_error(source):
    """Trap 4: such as only a longer chat shows."""
    bench = Bench(source)
    assert len(bench.write(chat_of(["A", "B"], image=True), image=True).images) == 1
    with pytest.raises(TemplateLossError, match=r"writes [02] images \(<\|img\|>\) for a chat of 1"):
        bench.write(chat_of(["A", "B", "C"], image=True), image=True)


def test_an_image_in_another_message_is_an_error():
    moved = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}<e>{% endfor %}"
    source = "{% if messages | length > 4 %}" + moved + "<|img|>{% else %}" + samples.PARTS + "{% endif %}"
    messages = [Message(role, parts) for role, parts in chat_of(["A", "B", "C"], image=True)]
    with pytest.raises(TemplateLossError, match="another message"):
        Bench(source).writer.write(messages, Form("list-all"), "<|img|>")


def test_most_chats_take_one_render(monkeypatch):
    renders = []
    run = Template.run
    bench = Bench(samples.THINK)
    compares = Bench(samples.COMPARES)
    refuses = Bench(samples.REFUSES_MARKS)
    monkeypatch.setattr(Template, "run", lambda self, *given: renders.append(1) or run(self, *given))
    for answers in ANSWERS.values():
        bench.write(chat_of(answers))
    assert len(renders) == len(ANSWERS)
    renders.clear()
    compares.write(chat_of(["No"]))
    assert len(renders) == 1
    renders.clear()
    compares.write(chat_of(["Yes."]))  # 2 to compare, and 2 for each of 2 texts
    assert len(renders) == 6
    renders.clear()
    refuses.write(chat_of(["No"]))
    assert len(renders) == 6


# Pieces ---------------------------------------------------------------------------------------------------------------


def test_marks_are_fresh():
    assert fresh_marks("plain") == "\ue000\ue001\ue002"
    assert fresh_marks("\ue001") == "\ue003\ue004\ue005"
    with pytest.raises(ValueError, match="2,000 private-use characters"):
        fresh_marks("".join(map(chr, range(0xE000, 0xF900))))


@pytest.mark.parametrize(
    ("text", "avoid", "marked"),
    [
        ("a dog runs", (), "a dog |runs"),
        ("Yes.", (), "Ye|s."),
        ("2", (), "2|"),
        (" Yes. ", (), " Ye|s. "),
        ("  a dog\n", (), "  a |dog\n"),
        ("<think>x</think> It is so", ("</think>", "<think>"), "<think>x</think> It is |so"),
        ("At it.</think>", (), "At |it.</think>"),
        ("<think>x</think> ", ("</think>", "<think>"), "<think>x|</think> "),
        ("<tool>", ("<tool>",), "<tool>|"),
        ("a<tool>", ("<tool>",), "a<tool>|"),
        ("ab<t>", ("<t>",), "ab|<t>"),
        ("USER: me", ("USER: me",), "USER: me|"),
    ],
)
def test_a_mark_stands_inside_and_parts_no_word_the_template_looks_for(text, avoid, marked):
    at = cut_at(text, avoid, [word for word in avoid if " " in word])
    assert f"{text[:at]}|{text[at:]}" == marked


def test_marks_taken_out_say_where_they_were():
    assert unmarked("a|b<c|d>e", "|<>", tagged=False) == ("ab<cd>e", [1, 4], ())
    assert unmarked("a|b<c|d>e", "|<>", tagged=True) == ("abcde", [1, 3], (Span(2, 4),))


def test_places():
    assert place_of("xx dog yy", "dog", 4, 1, 0, trimmed=False) == Place(3, 6)
    assert place_of("xx dog yy", "dog", 4, 1, 4, trimmed=False) is None
    assert place_of("xx cat yy", "dog", 4, 1, 0, trimmed=False) is None
    assert place_of("xx dog yy", " dog ", 4, 2, 0, trimmed=False) == Place(2, 7)
    assert place_of("xx dog yy", " dog ", 4, 2, 0, trimmed=True) == Place(
        3, 6, (), "takes blanks at the ends from a text"
    )
    assert place_of("xxdogyy", " dog ", 3, 2, 0, trimmed=False) == Place(
        2, 5, (), "takes blanks at the ends from a text"
    )


def test_placeholders_in_the_rows_text_are_text():
    """Trap 6."""
    assert images_outside("<i>a<i>b<i>", "<i>", [Span(3, 8)]) == [Span(0, 3), Span(8, 11)]
    assert images_outside("a<i", "<i>", []) == []


def test_end_tokens_are_looked_for_before_the_next_content():
    assert stop_end("a </s>b</s>", 1, 6, "</s>", near=False) == 6
    assert stop_end("a x</s>b", 1, 7, "</s>", near=True) == 1
    assert stop_end("a b</s>", 1, 2, "</s>", near=False) == 1


def test_dates_reach_the_template():
    template = Template(samples.DATED)
    learnt = learn(template, samples.TOKENS)
    writer = Writer(template, learnt, now=parse_date("2024-02-29"))
    assert "29 February 2024" in writer.write(chat_of(["A"]), learnt.text_form, None).text
