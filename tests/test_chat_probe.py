"""What a template does with a chat is found out by rendering tiny ones."""

from __future__ import annotations

import pytest

from svit_datasets.chat import probe
from svit_datasets.chat.engine import Template
from svit_datasets.chat.probe import learn, string_image
from svit_datasets.chat.scaffold import alike, between, bos_place, controls, default_system, image_text, stops
from svit_datasets.errors import TemplateError, TemplateLossError
from tests import chat_templates as samples


def report_of(source, **tokens):
    return learn(Template(source), {**samples.TOKENS, **tokens}).report


@pytest.mark.parametrize(
    ("source", "content", "image"),
    [
        (samples.CHATML, "string", None),
        (samples.STRICT, "string", None),
        (samples.PARTS, "list-user", "<|img|>"),
        (samples.KEYS, "list-user", "<|img|>"),
        (samples.FRONT, "list-user", "<image>"),
        (samples.ONLY_PARTS, "list-all", "<image>"),
        (samples.LOSES_IMAGE, "string", None),
        (samples.DOUBLES_IMAGE, "string", None),
        (samples.CONTENT_KEY, "list-all", "<|img|>"),
    ],
)
def test_form_of_content_and_placeholder(source, content, image):
    """Traps 3, 4, 8: lists only where they come out whole; an image that is dropped or doubled is not taken."""
    report = report_of(source)
    assert (report.content, report.image) == (content, image)


@pytest.mark.parametrize(
    ("source", "order"), [(samples.PARTS, "kept"), (samples.FRONT, "front"), (samples.CHATML, None)]
)
def test_image_between_texts(source, order):
    assert report_of(source).image_order == order


@pytest.mark.parametrize(
    ("source", "system"), [(samples.CHATML, "kept"), (samples.PARTS, "dropped"), (samples.STRICT, "raises")]
)
def test_system_text(source, system):
    """Trap 9."""
    assert report_of(source).system == system


def test_roles():
    """Trap 10."""
    strict, free = report_of(samples.STRICT), report_of(samples.CHATML)
    assert (strict.alternates, strict.assistant_first) == (True, False)
    assert (free.alternates, free.assistant_first) == (False, True)


def test_blanks_and_thoughts():
    """Traps 11 and 13."""
    assert report_of(samples.STRICT).trims == ("user", "assistant")
    assert report_of(samples.CHATML).trims == ()
    assert report_of(samples.THINK).strips_think
    assert not report_of(samples.CHATML).strips_think


@pytest.mark.parametrize(
    ("source", "stop", "last_stop"),
    [
        (samples.CHATML, "<|im_end|>", "<|im_end|>"),
        (samples.STRICT, "</s>", "</s>"),
        (samples.LAST_STOP, "<|end|>", "<|return|>"),
        (samples.NO_STOP, None, None),
        (samples.HEADER_ONLY, None, None),  # what follows an answer opens the next question
    ],
)
def test_end_of_turn(source, stop, last_stop):
    """Trap 15."""
    report = report_of(source)
    assert (report.stop, report.last_stop) == (stop, last_stop)


@pytest.mark.parametrize(
    ("source", "bos"),
    [
        (samples.STRICT, "start"),
        (samples.CHATML, "none"),
        ("x" + samples.STRICT, "elsewhere"),
        (samples.CHATML.replace("{% for m in messages %}", "{% for m in messages %}{{ bos_token }}"), "several"),
    ],
)
def test_bos(source, bos):
    """Trap 14."""
    assert report_of(source).bos == bos


def test_date_and_default_system_text():
    """Trap 16."""
    assert report_of(samples.DATED).dated
    assert not report_of(samples.CHATML).dated
    assert report_of(samples.DEFAULT_SYSTEM).default_system == "You are a careful helper."
    assert report_of(samples.CHATML).default_system is None


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        (samples.CHATML, None),
        (samples.NEEDS_TOOLS, "empty lists of tools, documents and functions"),
        (samples.NEEDS_FUNCTIONS, "empty lists of tools, documents and functions, an empty message of role functions"),
        (samples.CONTENT_KEY, "texts of parts as their content too"),
        ("{{ datetime[:4] + functions }}" + samples.CHATML, "tools and functions as JSON, a date"),
    ],
)
def test_what_a_template_needs_beside_messages(source, needs):
    """Trap 25."""
    assert report_of(source).needs == needs


def test_marks_and_tags():
    assert report_of(samples.TAGGED).tagged
    assert not report_of(samples.CHATML).tagged
    assert report_of(samples.CHATML).marks
    assert not report_of(samples.REFUSES_MARKS).marks


def test_control_tokens_are_those_that_the_template_writes():
    assert report_of(samples.STRICT).controls == ("<s>", "[INST]", "[/INST]", "</s>")
    assert report_of(samples.STRICT, eos_token="~END~").stop == "~END~"


def test_a_template_that_loses_messages_is_refused():
    with pytest.raises(TemplateLossError, match="loses, doubles or changes messages of a plain chat"):
        report_of("{{ messages[0].content }}")
    with pytest.raises(TemplateLossError, match="loses, doubles or changes"):
        report_of(samples.REPEATS)
    with pytest.raises(TemplateLossError, match="loses, doubles or changes"):
        report_of(samples.UPPER)


def test_a_template_that_refuses_any_chat_is_told_with_its_own_words():
    with pytest.raises(TemplateError, match=r"line 1: One message only!.* It was given a plain chat of two questions"):
        report_of("{% if messages | length > 1 %}{{ raise_exception('One message only!') }}{% endif %}")


def test_a_template_is_probed_once_a_process_with_few_renders(monkeypatch):
    """At most 12 or so, and none the second time."""
    renders = []
    run = Template.run
    monkeypatch.setattr(Template, "run", lambda self, *given: renders.append(1) or run(self, *given))
    probe._learn.cache_clear()
    for source, most in ((samples.CHATML, 12), (samples.PARTS, 12), (samples.ONLY_PARTS, 13)):
        renders.clear()
        report_of(source)
        assert 6 < len(renders) <= most
        renders.clear()
        report_of(source)
        assert renders == []


def test_report_is_a_table():
    report = report_of(samples.STRICT)
    rows = dict(report.rows())
    assert list(rows) == list(type(report).__dataclass_fields__)
    assert rows["trims"] == "user assistant"
    assert rows["alternates"] == "yes"
    assert rows["image"] == "-"
    assert [line.split()[0] for line in str(report).splitlines()] == list(rows)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (samples.CHATML, "<image>"),
        (samples.PLACEHOLDER_IN_STRING, "<|vision|>"),
        (samples.CHATML.replace("m['content']", "m['content'].replace('<image>', '')"), None),
        (samples.ONLY_PARTS, None),
    ],
)
def test_what_becomes_of_an_image_token_in_a_string(source, found):
    template = Template(source)
    assert string_image(template, learn(template, samples.TOKENS), "<image>") == found


# What templates write round contents ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("with_image", "without", "found"),
    [
        ("<|u|><|img|>Q<|end|>", "<|u|>Q<|end|>", "<|img|>"),
        ("<|u|><|img|><|t|>Q", "<|u|><|t|>Q", "<|img|>"),
        ("[INST][IMG]Q", "[INST]Q", "[IMG]"),
        ("U:<image>\nQ", "U: Q", "<image>"),
        ("<|a|><|pad|><|b|>Q", "Q", "<|a|><|pad|><|b|>"),
        ("<|s|>x<|img|>Q", "<|s|>sys<|e|><|s|>xQ", "<|img|>"),
        ("pixels Q", "Q", "pixels"),
        ("<img><p><p><p></img>Q", "Q", "<img><p><p><p></img>"),
        ("Q", "Q", None),
        (" Q", "Q", None),
        ("<image><image>Q", "Q", None),
    ],
)
def test_placeholder_is_the_difference_of_two_renders(with_image, without, found):
    assert image_text(with_image, without) == found


def test_control_tokens_by_their_looks():
    tokens = ["<s>", "[INST]", "[/INST]", "</s>", "<|im_end|>", "<|turn>", "<turn|>", "<\uff5cUser\uff5c>", "[|user|]"]
    tokens += ["<<SYS>>", "<用户>"]
    for text in ("", "a <b > 1 < 2", "<think>[1, 2]</think>"):
        assert controls(text.join(tokens)) == tokens
    assert controls("a END b", ["END", ""]) == ["END"]


@pytest.mark.parametrize(
    ("lead", "answered", "asked", "tail", "found"),
    [
        ("<u>", "<e><a>", "<e><u>", "<e>", ("<e>", "<e>")),
        ("<u>", "<a>", "<u>", "", (None, None)),
        ("<u>", "<a>", "<e><u>", "", ("<e>", None)),
        ("<x>sys<e><u>", "<e><a>", "<e><u>", "<r>", ("<e>", "<r>")),
        ("<u>", "<a>", "<u>", "<r>", (None, "<r>")),
        ("USER: ", " ASSISTANT: ", "\nUSER: ", "\n", (None, None)),
    ],
)
def test_an_end_of_turn_is_no_header_of_the_next(lead, answered, asked, tail, found):
    assert stops(lead, answered, asked, tail) == found


def test_texts_between_contents():
    assert between("<a>Q<b>A<c>", ["Q", "A"]) == ["<a>", "<b>", "<c>"]
    assert between("<a>A<b>Q", ["Q", "A"]) is None
    assert between("Q A Q", ["Q", "A"]) is None
    assert between("[{'type': 'text', 'text': 'Q'}] A", ["Q", "A"]) is None
    assert bos_place(["<s>a", "b"], None) == "none"
    assert default_system("Be kind to all.<e><u>", "<e><u>") == "Be kind to all."
    assert default_system("<u>", "<e><u>") is None
    assert (alike("abc", "abd"), alike("ab", "abc"), alike("", "a")) == (2, 2, 0)
