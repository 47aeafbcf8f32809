"""What others make of a template: transformers' own render, its assistant mask, and TRL's training templates.

Nothing here asks `svit_datasets`. A render is *whole* where every message stands in it once and in order, which can be
told without spans where texts are unique. Which form of content a template takes is found by trying all.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from transformers.utils import chat_template_utils, logging

from tests.benchmarks.chat.gather import trl_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.chat.conversations import Talk

__all__ = [
    "CONTEXTS",
    "DATE",
    "SPECIAL",
    "Way",
    "has_tags",
    "mask_spans",
    "messages",
    "render",
    "right_mask",
    "trl_source",
    "ways",
    "whole",
]

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
DATE = datetime(2023, 7, 9)  # noqa: DTZ001 - what "today" is while checking
_TAG = re.compile(r"\{%-?\s*generation\s*-?%\}")  # as transformers looks for it
_FORMS = ("text", "parts in user turns", "parts everywhere")
CONTEXTS: tuple[dict[str, Any], ...] = (
    {},
    {"tools": []},
    {"tools": [], "functions": "[]", "datetime": "2023-07-09"},
    {"tools": None, "functions": "[]", "datetime": "2023-07-09"},
)
_FUNCTIONS = {"role": "functions", "content": "[]"}  # one template wants such a message
logging.set_verbosity_error()


@dataclass(frozen=True)
class Way:
    """One way of giving a conversation to a template."""

    form: str
    context: int  # of CONTEXTS
    keys: tuple[str, ...]  # of a part of text
    functions: bool  # an empty message of that role in front
    image_text: str | None  # what stands for the image in front of the first question; None: a part of type image

    @property
    def has_parts(self) -> bool:
        """Whether content is a list."""
        return self.form != "text"


def ways(image_texts: tuple[str, ...]) -> Iterator[Way]:
    """Yield all ways, the usual ones first."""
    for functions, context, keys in product((False, True), range(len(CONTEXTS)), (("text",), ("text", "content"))):
        for form in _FORMS:
            if form != "text":
                yield Way(form, context, keys, functions, None)
            elif keys == ("text",):
                for image_text in image_texts:
                    yield Way(form, context, keys, functions, image_text)


def messages(talk: Talk, way: Way, *, image: bool = True) -> list[dict[str, Any]]:
    """Return a conversation in the form of a way."""
    made: list[dict[str, Any]] = [_FUNCTIONS] if way.functions else []
    for number, text in enumerate(talk.texts):
        role = ("user", "assistant")[number % 2]
        first = image and number == 0
        if way.form == "text" or (way.form == "parts in user turns" and role == "assistant"):
            made.append({"role": role, "content": (way.image_text or "") + text if first else text})
            continue
        parts: list[dict[str, str]] = [{"type": "image"}] if first else []
        made.append({"role": role, "content": [*parts, {"type": "text", **dict.fromkeys(way.keys, text)}]})
    return made


def render(source: str, talk: Talk, way: Way, *, image: bool = True, special: dict[str, str] | None = None) -> str:
    """Return what transformers renders. Raises what it raises."""
    return _render(source, messages(talk, way, image=image), way, SPECIAL if special is None else special, mask=False)[
        0
    ]


def mask_spans(
    source: str, talk: Talk, way: Way, special: dict[str, str] | None = None
) -> tuple[str, list[tuple[int, int]]]:
    """Return the text and what its ``{% generation %}`` tags enclose, as transformers tracks it."""
    return _render(source, messages(talk, way), way, SPECIAL if special is None else special, mask=True)


def _render(
    source: str, chat: list[dict[str, Any]], way: Way, special: dict[str, str], *, mask: bool
) -> tuple[str, list[tuple[int, int]]]:
    compiled = chat_template_utils._compile_jinja_template(source)
    compiled.environment.globals["strftime_now"] = DATE.strftime
    texts, spans = chat_template_utils.render_jinja_template(
        [chat], chat_template=source, return_assistant_tokens_mask=mask, **{**special, **CONTEXTS[way.context]}
    )
    return texts[0], spans[0] if spans else []


def whole(text: str, talk: Talk) -> bool:
    """Whether every message of a conversation of unique texts stands in a text once and in order."""
    at = 0
    for said in talk.texts:
        core = said.strip()
        if text.count(core) != 1 or (found := text.find(core, at)) < 0:
            return False
        at = found + len(core)
    return re.search(r"""['"]type['"]: *['"](?:text|image)['"]""", text) is None


def has_tags(source: str) -> bool:
    """Whether transformers would find ``{% generation %}`` in it."""
    return _TAG.search(source) is not None


def right_mask(text: str, spans: list[tuple[int, int]], talk: Talk) -> bool:
    """Whether spans hold each answer wholly and nothing of a question; texts of the conversation are unique."""
    marked = bytearray(len(text))
    for start, stop in spans:
        marked[start:stop] = b"\1" * (stop - start)
    for number, said in enumerate(talk.texts):
        start = text.find(said.strip())
        inside = marked[start : start + len(said.strip())]
        if start < 0 or (not all(inside) if number % 2 else any(inside)):
            return False
    return True


# -- TRL ---------------------------------------------------------------------------------------------------------------


def trl_source(source: str) -> str | None:
    """Return the template that TRL trains with where ``assistant_only_loss`` is set; None where it refuses.

    Its rule (``trl/trainer/sft_trainer.py`` and ``chat_template_utils.get_training_chat_template``, 1.16.0): tags are
    taken as they are; a text that equals one it knows is exchanged; everything else is a ValueError.
    """
    return source if has_tags(source) else _known_to_trl().get(source)


@cache
def _known_to_trl() -> dict[str, str]:
    """Read its table of known templates out of its source: the files, then which of them is exchanged for which."""
    files = trl_files()
    tree = ast.parse(files["chat_template_utils.py"])
    names: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            file = re.search(r"'([\w.]+\.jinja)'", ast.unparse(node.value))
            if file:
                names[node.targets[0].id] = files[f"chat_templates/{file[1]}"]
    function = next(node for node in tree.body if getattr(node, "name", None) == "get_training_chat_template")
    known: dict[str, str] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and isinstance(node.body[0], ast.Return):
            against, result = node.test.comparators[0], node.body[0].value
            if isinstance(against, ast.Name) and isinstance(result, ast.Name) and against.id in names:
                known[names[against.id]] = names[result.id]
    return known
