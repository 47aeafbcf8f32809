"""The corpus check can fail: faults put into a rendered chat are found; and, slow, the run on real templates."""

from __future__ import annotations

import json
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from svit_datasets.chat import presets
from svit_datasets.chat.spans import Span
from tests.benchmarks.chat import oracle
from tests.benchmarks.chat.check import check, examined, renderer_for, tiny_tokenizer
from tests.benchmarks.chat.conversations import KINDS
from tests.benchmarks.chat.gather import Found, _in_tree, set_apart
from tests.benchmarks.chat.tokens import runs

LOOP = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
NATURAL = KINDS["natural"]


@pytest.fixture(scope="module")
def subject():
    return examined(Found("ours", "chatml", presets.preset("chatml").source))


@pytest.fixture(scope="module")
def rendered(subject):
    return renderer_for(subject, tiny_tokenizer()).render(NATURAL.row)


class Damaged:
    """Renders what it was given."""

    def __init__(self, rendered):
        self.rendered = rendered

    def render(self, row):
        return self.rendered


@pytest.mark.parametrize("kind", KINDS)
def test_presets_pass(kind):
    for name in presets.names():
        one = examined(Found("ours", name, presets.preset(name).source))
        verdict = check(one, renderer_for(one, tiny_tokenizer()), KINDS[kind])
        assert (verdict.wrong, verdict.refused, verdict.equal) == ([], "", True), name


def moved_turn(rendered):
    turn = rendered.turns[3]
    return replace(rendered, turns=(*rendered.turns[:3], turn._replace(end=turn.end - 1), *rendered.turns[4:]))


def lost_turn(rendered):
    return replace(rendered, turns=rendered.turns[:-1])


def swapped_turns(rendered):
    first, second, *others = rendered.turns
    return replace(rendered, turns=(first._replace(role="assistant"), second._replace(role="user"), *others))


def long_stop(rendered):
    turn = rendered.turns[1]
    beyond = turn._replace(stop_end=rendered.turns[2].end)
    return replace(rendered, turns=(rendered.turns[0], beyond, *rendered.turns[2:]))


def lost_image(rendered):
    return replace(rendered, images=())


def invented_image(rendered):
    return replace(rendered, text=rendered.text + "<image>")


def template_as_data(rendered):
    return replace(rendered, data=(Span(0, len(rendered.text)),))


def other_tags(rendered):
    first = rendered.generation[0]
    return replace(rendered, generation=(Span(first.start, first.stop + 1), *rendered.generation[1:]))


def row_as_template(rendered):
    return replace(rendered, data=rendered.data[1:])


@pytest.mark.parametrize(
    "damage",
    [
        moved_turn,
        lost_turn,
        swapped_turns,
        long_stop,
        lost_image,
        invented_image,
        template_as_data,
        row_as_template,
        other_tags,
    ],
)
def test_damage_is_found(subject, rendered, damage):
    assert check(subject, Damaged(rendered), NATURAL).wrong == []
    assert check(subject, Damaged(damage(rendered)), NATURAL).wrong


def test_a_text_that_transformers_would_not_write_is_told(subject, rendered):
    other = replace(rendered, text=rendered.text.replace("<|im_end|>", "<|im_END|>"))
    assert check(subject, Damaged(rendered), NATURAL).equal
    assert not check(subject, Damaged(other), NATURAL).equal


def test_an_error_that_is_not_ours_is_a_fault(subject):
    class Raising:
        def render(self, row):
            raise KeyError("content")

    assert check(subject, Raising(), NATURAL).wrong == ["KeyError: 'content'"]


# -- others ------------------------------------------------------------------------------------------------------------


def test_a_mask_of_transformers_is_right_where_tags_enclose_answers():
    tagged = LOOP.replace("{{ message['content'] }}", "{% generation %}{{ message['content'] }}{% endgeneration %}")
    way = examined(Found("ours", "loop", LOOP)).way
    assert not oracle.has_tags(LOOP)
    assert not oracle.right_mask(*oracle.mask_spans(tagged, NATURAL, way), NATURAL)  # questions are enclosed too
    only = tagged.replace("{% generation %}", "{% if message['role'] == 'assistant' %}{% generation %}")
    only = only.replace("{% endgeneration %}", "{% endgeneration %}{% else %}{{ message['content'] }}{% endif %}")
    assert oracle.right_mask(*oracle.mask_spans(only, NATURAL, way), NATURAL)


def test_a_render_is_whole_only_with_every_message_once_and_in_order():
    texts = NATURAL.texts
    assert oracle.whole("\n".join(texts), NATURAL)
    assert not oracle.whole("\n".join(texts[:-1]), NATURAL)
    assert not oracle.whole("\n".join([*texts, texts[0]]), NATURAL)
    assert not oracle.whole("\n".join(reversed(texts)), NATURAL)


# -- gathering ---------------------------------------------------------------------------------------------------------


def test_templates_are_read_from_files_of_four_kinds(tmp_path):
    (tmp_path / "a.jinja").write_text(LOOP, "utf-8")
    literal = f"ONE = {LOOP[:20]!r} + {LOOP[20:]!r}"
    no_literals = ['TWO = f"{ONE}{{% for message in messages %}}"', f"def three():\n    {LOOP!r}"]
    code = "\n".join(["import no_such_module", literal, *no_literals, ""])
    (tmp_path / "b.py").write_text(code, "utf-8")
    named = {"inner": [{"chat_template": [{"name": "default", "template": LOOP + "b"}]}]}
    (tmp_path / "c.json").write_text(json.dumps(named), "utf-8")
    value = (LOOP + "c").encode()
    key = b"tokenizer.chat_template"
    (tmp_path / "d.gguf").write_bytes(b"GGUF" + key + struct.pack("<IQ", 8, len(value)) + value + b"rest")
    assert list(_in_tree(tmp_path)) == [
        ("a.jinja", LOOP),
        ("b.py:2", LOOP),
        ("c.json:0", LOOP + "b"),
        ("d.gguf", LOOP + "c"),
    ]


@pytest.mark.parametrize(
    ("path", "source", "reason"),
    [
        ("a.jinja", LOOP, None),
        ("examples/reranker.jinja", LOOP, "another task"),
        ("tests/test_x.py:3", LOOP, "a toy"),
        ("a.py:1", LOOP.removesuffix("{% endfor %}"), "fragment"),
        ("a.jinja", "{% if x %}{{ messages[0] }}{% endif %}", "no loop"),
        ("a.jinja", "{% for x in things %}{{ x }}{% endfor %}", "reads no messages"),
    ],
)
def test_what_is_set_apart_and_why(path, source, reason):
    found = set_apart(Found("ours", path, source))
    assert found is None if reason is None else reason in found


def test_a_template_that_writes_no_conversation_is_no_subject():
    assert examined(Found("ours", "last", "{% for m in messages[-1:] %}{{ m['content'] }}{% endfor %}")) is None


def test_runs_of_a_mask():
    assert runs([1, 1, 0, 0, 1, 0, 1]) == [(0, 2), (4, 5), (6, 7)]
    assert runs([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--ci",), ()])
def test_nothing_is_wrong_with_real_templates(options):
    done = subprocess.run([str(Path(__file__).with_name("run")), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
