"""Templates render to the same bytes as in transformers, from plain data, and bombs end in an error."""

# ruff: noqa: E501 - a template is best read on one line

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from enum import StrEnum

import numpy as np
import pytest

from svit_datasets.chat import caps, engine
from svit_datasets.chat.engine import RELEASE, Template, parse_date, plain
from svit_datasets.errors import OptionError, TemplateError
from tests import chat_templates
from tests.chat_templates import TOKENS

CHAT = [
    {"role": "user", "content": " What <b>is</b> it?\n1. é — 日本\n"},
    {"role": "assistant", "content": "A \"dog\" & 'cat'."},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nNothing."},
]
PARTS = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]},
]
BOTH_KEYS = [{"role": "user", "content": [{"type": "text", "text": "Q", "content": "Q"}]}]
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d <é>", "parameters": {"a": [1, 2.5, None]}}}]
TODAY = datetime.now()  # noqa: DTZ005 - as transformers asks for it
CHATS = [
    CHAT,
    PARTS,
    CHAT[1:],
    BOTH_KEYS,
    *([{"role": role, "content": "S"}, *CHAT] for role in ("system", "functions")),
]

# What templates are made of, each in one; beside those in chat_templates.
LANGUAGE = {
    "json": "{{ messages | tojson }}{{ messages | tojson(indent=2, sort_keys=True) }}{{ 'é<&' | tojson(ensure_ascii=True) }}",
    "json separators": "{{ tools | tojson(separators=(',', ':')) }}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "loop controls": "{% for m in messages %}{% if loop.index0 == 2 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
    "loop": "{% for m in messages %}{{ loop.first }}{{ loop.last }}{{ loop.index }}{{ loop.revindex0 }}{{ loop.length }}"
    "{{ loop.previtem.role if not loop.first }}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "filtered loop": "{% for m in messages if m.role == 'user' %}{{ loop.length }}{{ m.content }}{% else %}none{% endfor %}",
    "recursive": "{% for x in [[1, [2]], [3]] recursive %}{% if x is number %}{{ x }}{% else %}{{ loop(x) }}{% endif %}{% endfor %}",
    "macro": "{% macro f(a, b='x') %}<{{ a }}{{ b }}{{ caller() if caller }}>{% endmacro %}{{ f(1) }}{{ f(2, b=3) }}"
    "{% call f(4) %}in{% endcall %}",
    "captured": "{% set x %}{{ messages[0].role }} a{% endset %}{{ x + x ~ x ~ 1 ~ none }}{% filter upper %}b{% endfilter %}",
    "filters": "{{ messages | map(attribute='role') | join(', ') }}{{ messages | selectattr('role', 'eq', 'user') | list | length }}"
    "{{ 'a b' | title | replace('A', 'c') | indent(4, true) | center(20) }}{{ [3, 1] | sort | string }}{{ [1, 2] | sum }}"
    "{{ none | map('upper') | list }}{{ {'b': 1, 'a': 2} | dictsort }}{{ '%s-%d' | format('a', 3) }}{{ 3.14159 | round(2) }}"
    "{{ [1, 2, 3] | batch(2, 0) | list }}{{ 'x' | e }}{{ '<' | e ~ '<' }}{{ ('<' | safe) + '>' }}{{ 'abc' | list | last }}",
    "methods": "{{ 'a,b'.split(',') }}{{ '-'.join(['a', 'b']) }}{{ '{}:{x}'.format(1, x=2) }}{{ 'a'.ljust(3) }}|{{ 'ab'.replace('b', 'c') }}"
    "{{ messages[0].get('name', 'none') }}{{ messages[0].items() | list }}{{ '%s' % 'a' }}{{ '%d%%' % 3 }}{{ messages[0].role.upper() }}",
    "operators": "{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 10 }}{{ 'ab' * 3 }}{{ [1] * 2 + [2] }}{{ -3 }}{{ 1 < 2 <= 2 }}{{ 'a' in 'ab' }}{{ 1.5 * 2 }}",
    "slices": "{{ messages[1:] | length }}{{ messages[::-1][0].role }}{{ 'abc'[1:] }}{{ messages[-1].content[:3] }}",
    "undefined": "{{ nothing }}{{ messages[0].nothing }}{% if nothing is defined %}a{% endif %}{{ nothing | default('d') }}",
    "literals": "{{ {'a': messages[0].role, 'b': (1, 'x')} }}{{ [messages[0].role, none, true] }}{{ dict(a=1) }}{{ range(3) | list }}",
    "whitespace": "  {% if true %}\n  a  \n  {%- endif %}\n\n{% set x = 1 %}\nb\n",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% set x = 1 %}{% endgeneration %}{{ x }}{% endfor %}",
    "variables": "{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ tools }}{{ documents }}",
    "year": "{{ strftime_now('%Y') }}",
}
OWN = {name: value for name, value in vars(chat_templates).items() if name.isupper() and isinstance(value, str)}


@pytest.fixture(scope="module")
def transformers_render():
    """The function behind apply_chat_template; transformers warns of what it does not find, such as torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils.chat_template_utils import render_jinja_template

    def render(source, messages, **variables):
        try:
            return render_jinja_template([messages], chat_template=source, **variables)[0][0]
        except Exception as error:  # noqa: BLE001 - whatever it raises is what is compared
            return error

    return render


@pytest.mark.parametrize("name", [*OWN, *LANGUAGE])
def test_same_bytes_as_transformers(name, transformers_render):
    """Trap 21: caps and counters change nothing of what a template writes; it raises where transformers does."""
    source = {**OWN, **LANGUAGE}[name]
    rendered = 0
    for messages in CHATS:
        for tools in (None, TOOLS):
            for prompt in (False, True):
                variables = {"tools": tools, "functions": [], "add_generation_prompt": prompt, **TOKENS}
                expected = transformers_render(source, messages, **variables)
                if isinstance(expected, Exception):
                    with pytest.raises(TemplateError):
                        Template(source).render(messages, now=TODAY, **variables)
                else:
                    assert Template(source).render(messages, now=TODAY, **variables) == expected
                    rendered += 1
    assert rendered


def test_lines_of_errors_are_the_templates():
    source = "{% for m in messages %}\n{% if m.role == 'tool' %}\n{{ raise_exception('No tools here!') }}{% endif %}{% endfor %}"
    with pytest.raises(TemplateError, match=r"^The chat template, line 3: No tools here!$"):
        Template(source).render([{"role": "tool", "content": ""}])
    with pytest.raises(TemplateError, match=r"^T, line 2: 'foo' is undefined\.$"):
        Template("\n{{ foo.bar }}", "T").render(CHAT)
    with pytest.raises(TemplateError, match=r"^T, line 3: Unexpected end of template"):
        Template("\n\n{% if a %}", "T").render(CHAT)
    with pytest.raises(TemplateError, match=r"No filter named 'urlize'"):
        Template("{{ 'a' | urlize }}").render(CHAT)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ messages.append(1) }}", "is unsafe"),
        ("{{ ''.__class__.__mro__[1] }}", "is undefined|is unsafe"),
        ("{{ messages.__class__.__base__.__subclasses__() }}", "is undefined|is unsafe"),
        ("{{ '{0.__class__.__mro__}'.format('') }}", "is undefined|is unsafe"),
        ("{{ ('{0.__cl' + 'ass__}').format(range)[0].x }}", "has no element 0"),  # it was "" there
        (
            "{% set ns = namespace() %}{% set ns.__init__ = 1 %}{{ raise_exception('reached') }}",
            "must not begin with _",
        ),
        ("{{ namespace(__class__=1) }}", "must not begin with _"),
        ("{% include '/etc/passwd' %}", "Include has no place"),
        ("{% block a %}{% endblock %}", "Block has no place"),
        ("{% import 'a' as a %}", "Import has no place"),
    ],
)
def test_ways_out_of_the_sandbox_are_closed(source, message):
    with pytest.raises(TemplateError, match=message):
        Template(source).render(CHAT)


def test_templates_see_plain_data_only():
    """Trap 21: an image or an array has methods, some of which write files."""

    class Role(StrEnum):
        USER = "user"

    class Photo:
        def save(self, path):
            raise AssertionError(path)

    value = {"role": Role.USER, "n": np.int64(3), "x": np.float64(0.5), "image": Photo(), "t": (1, True, None)}
    made, _ = plain(value)
    assert made == {"role": "user", "n": "<int64>", "x": 0.5, "image": "<Photo>", "t": (1, True, None)}
    assert [type(item) for item in made.values()] == [str, str, float, str, tuple]
    assert Template("{{ messages[0].image }}").render([{"image": Photo()}]) == "<Photo>"
    with pytest.raises(TemplateError):
        Template("{{ messages[0].image.save('x') }}").render([{"image": Photo()}])


def test_a_template_is_compiled_once_and_pickles_by_its_source():
    """Trap 27."""
    template = Template("{# only here #}{{ messages[0].role }}", "one")
    before = engine._compiled.cache_info().misses
    for other in (template, pickle.loads(pickle.dumps(template)), Template(template.source, "two")):
        assert other.render(CHAT) == "user"
        assert (other, hash(other), other.key) == (template, hash(template), template.key)
    assert engine._compiled.cache_info().misses == before + 1


def test_threads_render_at_once():
    template = Template(chat_templates.CHATML)
    chats = [[{"role": "user", "content": f"question {number} " * 50}] for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(template.render, chats))
    assert made == [f"<|im_start|>user\n{chat[0]['content']}<|im_end|>\n" for chat in chats]


def test_dates_are_pinned():
    """Trap 16."""
    template = Template("{{ strftime_now('%d %B %Y') }}")
    assert template.render(CHAT) == "09 July 2023"
    for given in ("2024-02-29", date(2024, 2, 29), datetime(2024, 2, 29, 12, tzinfo=UTC)):
        assert template.render(CHAT, now=parse_date(given)) == "29 February 2024"
    assert parse_date(None) == RELEASE
    with pytest.raises(OptionError, match="date='yesterday' is no date"):
        parse_date("yesterday")


def test_generation_blocks_are_marked_on_demand():
    template = Template("{% generation %}a{% endgeneration %}b{%- generation -%} c {%- endgeneration %}")
    assert template.render(CHAT) == "abc"
    assert template.run({"messages": []}, 0, marks=("<", ">")) == "<a>b<c>"
    assert template.tagged()
    assert not Template("generation {{ 'generation' }}").tagged()


def test_texts_that_a_template_looks_for_are_read_from_it():
    inside, whole = Template(
        "{% if '<t>' in c and c != 'x' %}{{ c.split('</t>') }}{{ c | replace('r', 's') }}{% endif %}"
    ).looked_for()
    assert inside == {"<t>", "</t>", "r", "s"}
    assert "x" in whole


# Bombs ----------------------------------------------------------------------------------------------------------------

BOMBS = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loops that find nothing": "{% for i in range(99999) %}{% for j in range(99999) if j < 0 %}{% endfor %}{% endfor %}",
    "repeated text": "{{ 'a' * 10**10 }}",
    "repeated list": "{{ [0] * 10**10 }}",
    "power": "{{ 10 ** (10 ** 9) }}",
    "squares": "{% set n = namespace(i=10**99) %}{% for i in range(99) %}{% set n.i = n.i * n.i %}{% endfor %}{{ n.i }}",
    "doubled sums": "{% set n = namespace(i=1) %}{% for i in range(99999) %}{% set n.i = n.i + n.i %}{% endfor %}{{ n.i }}",
    "doubled text": "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
    "doubled by ~": "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    "doubled blocks": "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}{% endfor %}",
    "doubled without a loop": "{% set s = 'ab' %}" + "{% set s = s + s %}" * 60 + "{{ s }}",
    "doubled lists": "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
    "compared lists": "{% set n = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}"
    "{% set n.b = [n.b, n.b] %}{% endfor %}{{ n.a == n.b }}",
    "doubled dicts": "{% set n = namespace(d={}) %}{% for i in range(60) %}{% set n.d = dict(a=n.d, b=n.d) %}{% endfor %}{{ n.d | tojson }}",
    "kept strings": "{% set s = ' ' + 'a' * 1000000 %}{% set n = namespace(l=[]) %}{% for i in range(99999) %}"
    "{% set n.l = n.l + [s | trim] %}{% endfor %}",
    "kept slices": "{% set s = 'a' * 1000000 %}{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = n.l + [s[1:]] %}{% endfor %}",
    "written again": "{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{{ s }}{% endfor %}",
    "joined": "{{ range(99999) | join('a' * 100000) }}",
    "joined by a method": "{{ ('a' * 100000).join(range(99999) | map('string')) }}",
    "replaced": "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
    "replaced by a method": "{{ ('a' * 100000).replace('', 'b' * 100000) }}",
    "indented": "{{ ('\\n' * 100000) | indent('a' * 100000) }}",
    "centred": "{{ 'a' | center(10**9) }}",
    "padded": "{{ 'a'.ljust(10**9) }}",
    "tabs": "{{ ('\\t' * 100000).expandtabs(60000) }}",
    "wide %": "{{ '%1000000000d' % 1 }}",
    "wide %*": "{{ '%*d' % (10**9, 1) }}",
    "wide format": "{{ '{:1000000000}'.format(1) }}",
    "nested format": "{{ '{:{}}'.format(1, 10**9) }}",
    "many fields": "{{ ('{0}' * 100000).format('a' * 1000000) }}",
    "wide filter": "{{ '%1000000000d' | format(1) }}",
    "indented json": "{{ range(1000) | list | tojson(indent=10**8) }}",
    "many pieces": "{{ [1] | batch(10**9, 1) | list }}",
    "escapes": "{{ ('<' * 1000000)" + " | e | string | replace('a', 'a')" * 20 + " }}",
    "mapped": "{{ (['a' * 1000000] * 99999) | map('upper') | list | length }}",
    "searched": "{{ (['a' * 1000000] * 99999) | select('in', 'b' * 10000000) | list }}",
    "printed": "{{ ['a' * 1000000] * 99999 }}",
    "added lists": "{{ ([[0] * 1000] * 99999) | sum(start=[]) | length }}",
    "bytes": "{{ (1).to_bytes(10**10, 'big') }}",
    "endless macro": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "macro tree": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "endless loop": "{% for i in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "deep brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "long sum": "{{ " + "a + " * 50000 + "1 }}",
    "long source": "a" * ((1 << 20) + 1),
}
_RUN = """
import json, re, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from svit_datasets.chat.engine import Template
from svit_datasets.errors import TemplateError
for name, source in json.load(sys.stdin).items():
    start = time.process_time()
    try:
        told = f"rendered {len(Template(source).render([{'role': 'user', 'content': 'x'}]))}"
    except TemplateError as error:
        told = f"TemplateError: {error}"
    seconds = time.process_time() - start
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())  # ru_maxrss counts the parent's too
    print(json.dumps([name, told[:300], seconds, int(peak[1]) >> 10]), flush=True)
"""


@pytest.fixture(scope="module")
def exploded():
    """Each bomb rendered in one process that may have 1 GiB: what it told, CPU seconds, peak MiB so far."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN], input=json.dumps(BOMBS), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: found for name, *found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_an_error_soon_and_without_much_memory(name, exploded):
    """Trap 21."""
    told, seconds, peak = exploded[name]
    assert told.startswith("TemplateError: The chat template")
    assert "does not fit into memory" not in told
    assert seconds < 4
    assert peak < 400


def test_time_is_limited_where_steps_are_not(monkeypatch):
    """Each step searches a megabyte: few steps, little memory, much time."""
    monkeypatch.setattr(caps, "SECONDS", 0.5)
    source = "{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{% if 'ab' in s %}{% endif %}{% endfor %}"
    with pytest.raises(TemplateError, match=r"takes more than 0\.5 seconds"):
        Template(source).render(CHAT)


def test_long_chats_have_room():
    """Limits grow with the chat: a million characters, each looked at, and the whole written 20 times."""
    content = "word " * 200_000
    source = "{% for m in messages %}{% for c in m.content %}{% endfor %}{% for i in range(20) %}{{ m.content }}{% endfor %}{% endfor %}"
    assert len(Template(source).render([{"role": "user", "content": content}])) == 20 * len(content)


def test_a_loop_of_a_hundred_thousand_short_turns_is_no_bomb():
    source = "{% set n = namespace(c=0) %}{% for i in range(99999) %}{% set n.c = n.c + 1 %}{% endfor %}{{ n.c }}"
    assert Template(source).render(CHAT) == "99999"


@pytest.mark.parametrize("name", ["svit_datasets.chat", "svit_datasets.chat.renderer"])
def test_import_is_cheap(name):
    heavy = {"datasets", "torch", "transformers", "tokenizers", "pyarrow", "PIL", "fsspec"}
    code = f"import sys, {name}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
