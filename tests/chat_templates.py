"""Small chat templates, each written for one behaviour that real ones have; none is a real one.

Tests name the traps that they are about by these numbers:

1 most templates have no {% generation %} tags; 2 tags enclose more or less than the answer; 3 a list of parts is printed
as Python prints it; 4 an image is dropped, doubled or moved; 5 nobody knows the image token; 6 an image token or control
token is quoted in a text; 7 Arrow's None keys look like images; 8 some want parts in every turn; 9 system text is refused
or dropped; 10 turns must alternate; 11 thoughts are added or taken away; 12 a chat of n turns does not begin like one of
n + 1; 13 blanks are trimmed; 14 BOS comes never, once or twice; 15 nothing ends a turn, or the last one ends otherwise;
16 the date is in it; 17 a base model has no template; 18 template and tokenizer do not belong together; 19 truncation cuts
a round or an image; 20 a text forges control tokens; 21 a template is hostile; 22 apply_chat_template changes between
versions of transformers; 23 image tokens are in the labels; 24 a tokenizer has several templates; 25 a template wants
tools, functions or documents; 26 an answer is empty; 27 a renderer must pickle and hash alike everywhere.
"""

# ruff: noqa: E501 - where a template breaks its lines is part of it

from __future__ import annotations

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

CHATML = """{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

# Content as text only; turns must alternate; no system text; BOS once; end of turn behind answers only.
STRICT = """{{ bos_token }}{% for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{%- if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]{% elif m.role == 'assistant' %} {{ m.content | trim }}{{ eos_token }}
{%- else %}{{ raise_exception('no system text here') }}{% endif %}{% endfor %}"""

# Text or parts in every message; a placeholder an image; trims nothing; drops system text.
PARTS = """{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>
{%- if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}
{%- if p.type == 'image' %}<|img|>{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}<|end|>
{% endfor %}"""

# Parts in every message, and nothing else.
ONLY_PARTS = """{% for m in messages %}{{ m.role | capitalize }}:
{%- for p in m['content'] %}{% if p['type'] == 'image' %}<image>{% else %} {{ p['text'] }}{% endif %}{% endfor %}<eou>
{% endfor %}"""

# Any part with a key called image, or of type image, is an image: Arrow's None keys would double it.
KEYS = """{% for m in messages %}<|{{ m.role }}|>{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}
{%- if p.type == 'image' or 'image' in p %}<|img|>{% endif %}
{%- if 'text' in p %}{{ p.text }}{% endif %}{% endfor %}{% endif %}<|end|>{% endfor %}"""

FRONT = """{% for m in messages %}<|{{ m.role }}|>{% if m.content is string %}{{ m.content }}{% else %}
{%- for p in m.content if p.type == 'image' %}<image>
{% endfor %}{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}{% endif %}<|end|>{% endfor %}"""

# Takes parts, and says nothing of the image.
LOSES_IMAGE = """{% for m in messages %}<|{{ m.role }}|>{% if m.content is string %}{{ m.content }}{% else %}
{%- for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}{% endif %}<|end|>{% endfor %}"""

DOUBLES_IMAGE = PARTS.replace("<|img|>", "<|img|><|img|>")

# Another end behind the last answer than behind the others.
LAST_STOP = """{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}
{%- if loop.last %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}"""

NO_STOP = """{% for m in messages %}{{ 'Q: ' if m.role == 'user' else 'A: ' }}{{ m.content }}
{% endfor %}"""

HEADER_ONLY = """{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"""

# Thoughts stay in the last answer only, and are set anew there.
THINK = """{% for m in messages %}<|im_start|>{{ m.role }}
{% set content = m.content %}{% if m.role == 'assistant' %}
{%- if content.startswith('<think>') and '</think>' in content %}
{%- set thought = content.split('</think>')[0].split('<think>')[-1].strip() %}
{%- set content = content.split('</think>')[-1].lstrip() %}
{%- if loop.last %}<think>
{{ thought }}
</think>

{% endif %}{% elif loop.last %}<think>

</think>

{% endif %}{% endif %}{{ content }}<|im_end|>
{% endfor %}"""

TAGGED = """{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}
{%- else %}{{ m.content }}<|end|>{% endif %}{% endfor %}"""

DATED = """<|system|>Today is {{ strftime_now('%d %B %Y') }}.<|end|>""" + HEADER_ONLY.replace(
    "}}{% endfor", "}}<|end|>{% endfor"
)

DEFAULT_SYSTEM = (
    """{% if messages[0].role != 'system' %}<|im_start|>system
You are a careful helper.<|im_end|>
{% endif %}"""
    + CHATML
)

NEEDS_TOOLS = """{% if tools | length > 0 %}TOOLS {{ tools | tojson }}{% endif %}""" + CHATML

NEEDS_FUNCTIONS = """{% if messages[0].role != 'functions' %}{{ raise_exception('functions first') }}{% endif %}
{%- for m in messages[1:] %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{{ functions | length }}"""

CONTENT_KEY = """{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}
{%- if p.type == 'image' %}<|img|>{% else %}{{ p.content + '' }}{% endif %}{% endfor %}<|end|>{% endfor %}"""

# Reacts to a content as a whole, so that a mark inside it changes what is written.
COMPARES = """{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.content == 'Yes.' %}<|short|>{% endif %}<|end|>{% endfor %}"""

# Refuses every character outside Latin, and so any mark.
REFUSES_MARKS = """{% for m in messages %}{% for c in m.content if c > '\\udfff' %}{{ raise_exception('no such letters') }}{% endfor %}
{{- '<|' ~ m.role ~ '|>' ~ m.content ~ '<|end|>' }}{% endfor %}"""

UPPER = """{% for m in messages %}<|{{ m.role }}|>{{ m.content | upper }}<|end|>{% endfor %}"""

# Leaves the second answer out where it is long.
LOSES_LONG = """{% for m in messages %}<|{{ m.role }}|>{% if m.content | length < 40 %}{{ m.content }}{% endif %}<|end|>{% endfor %}"""

REPEATS = CHATML + "{{ messages[0].content }}"

PLACEHOLDER_IN_STRING = (
    """{% for m in messages %}<|{{ m.role }}|>{{ m.content | replace('<image>', '<|vision|>') }}<|end|>{% endfor %}"""
)
