"""A template in, what it does with a chat out, found out by rendering a dozen tiny ones.

Templates cannot be read for this: of 312 real ones, reading the syntax tree for the form of contents gives 23 that then
lose the image. So each behaviour is tried: a short chat of words that stand in no template goes in, and what comes out
is compared. What was learnt is kept for the process; `spans` and `renderer` go by it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from svit_datasets.chat.engine import RELEASE
from svit_datasets.chat.forms import Form, built
from svit_datasets.chat.scaffold import between, bos_place, controls, default_system, image_text, stops
from svit_datasets.chat.turns import IMAGE, Message
from svit_datasets.errors import TemplateError, TemplateLossError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from svit_datasets.chat.engine import Template

__all__ = ["Learnt", "TemplateReport", "learn", "string_image"]

_OTHER_DAY = datetime(2011, 11, 21)  # noqa: DTZ001 - a day, nowhere
_THOUGHT = "plover umber"


def _said(roles: str, *texts: str) -> list[Message]:
    names = {"s": "system", "u": "user", "a": "assistant"}
    return [Message(names[role], (text,)) for role, text in zip(roles, texts, strict=True)]


# Words that no template holds, so that what comes out can be told from what a template writes.
_WORDS = ("Brill wend tarn", "Sorrel quay mosk", "Dwale ruth ginko", "Frisk ob yarrow", "Larch tumbrel moth")
_Q1, _A1, _Q2, _A2, _S = _WORDS
_CHAT = _said("uaua", _Q1, _A1, _Q2, _A2)
_WITH_IMAGE = [Message("user", (IMAGE, _Q1)), *_CHAT[1:]]
# What templates may want beside messages, least first.
_VARIABLES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("", {}),
    ("empty lists of tools, documents and functions", {"tools": [], "documents": [], "functions": []}),
    ("tools and functions as JSON, a date", {"tools": "[]", "functions": "[]", "datetime": f"{RELEASE:%Y-%m-%d}"}),
)


@dataclass(frozen=True, slots=True)
class TemplateReport:
    """What a chat template does, as its renders show. ``str()`` gives a table."""

    name: str  # of the template
    content: str  # form of a chat with an image: "string", "list-user" (lists of parts in questions) or "list-all"
    text_content: str  # form of a chat without one
    image: str | None  # what is written for an image part; None: the template takes text only
    image_order: str | None  # an image between texts is "kept" there or moved to the "front"; None: takes text only
    system: str  # a system message is "kept", "dropped", or "raises" an error
    alternates: bool  # two questions in a row are refused or lost
    assistant_first: bool  # a chat may begin with an answer
    trims: tuple[str, ...]  # roles whose content loses blanks at its ends
    strips_think: bool  # <think> … </think> of an answer is left out, of every one or of all but the last
    stop: str | None  # control token behind an answer
    last_stop: str | None  # behind the last answer
    bos: str  # BOS in the text: "none", "start" (once), "elsewhere" (once) or "several"
    dated: bool  # today's date is in the text
    default_system: str | None  # text before the first question that nobody gave
    tagged: bool  # has {% generation %} tags
    needs: str | None  # what it must be given beside messages
    controls: tuple[str, ...]  # control tokens that were seen
    marks: bool  # a mark inside each content comes through and changes nothing; if not, spans cost more renders

    def rows(self) -> list[tuple[str, str]]:
        """Return (property, value) in words, one a field."""
        return [(field.name, _worded(getattr(self, field.name))) for field in fields(self)]

    def __str__(self) -> str:
        return "\n".join(f"{name:16}{value}" for name, value in self.rows())


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(value) or "-"
    return "-" if value is None else str(value).replace("\n", "\\n")


class Learnt(NamedTuple):
    """A report, and what it takes to render with the template."""

    report: TemplateReport
    form: Form  # of a chat with an image
    text_form: Form  # of a chat without one
    variables: dict[str, Any]  # special tokens, and what the template needs beside messages; not to be changed


def learn(template: Template, context: dict[str, str]) -> Learnt:
    """Return what a template does; some 12 renders, kept for the process.

    Args:
        template: to be tried.
        context: special tokens by name, as in `Template.render`.

    Raises:
        TemplateError: it cannot be compiled, or a plain chat does not come out of it whole in any form.
    """
    return _learn(template, template.name, tuple(sorted(context.items())))


@lru_cache(maxsize=1024)
def _learn(template: Template, name: str, context: tuple[tuple[str, str], ...]) -> Learnt:
    del name  # two templates of one source differ in it, and the report tells it
    return _Trials(template, dict(context)).learnt()


def string_image(template: Template, learnt: Learnt, token: str) -> str | None:
    """Return what a template makes of an image token in a string: the token, if all is well; None: nothing.

    Args:
        template: to be tried, with two renders.
        learnt: of it.
        token: what stands for an image, such as "<image>".
    """
    trials = _Trials(template, learnt.variables)
    form = learnt.form._replace(name="string", image=token, both_keys=False)
    with_image, without = trials.text(_WITH_IMAGE, form), trials.whole(_CHAT, form)
    if with_image is None or without is None:
        return None
    return token if with_image.count(token) == without.count(token) + 1 else image_text(with_image, without)


class _Trials:
    """Renders tiny chats with one template, and keeps the form that was found."""

    def __init__(self, template: Template, context: dict[str, Any]) -> None:
        self.template = template
        self.special = tuple(value for value in context.values() if isinstance(value, str))
        self.variables: dict[str, Any] = dict(context)
        self.context = context
        self.needs = ""
        self.form = self.text_form = Form("string")
        self.image: str | None = None
        self.error: TemplateError | None = None  # the first
        self.loses = False  # some render came out, and not whole

    def learnt(self) -> Learnt:
        """Try everything."""
        tagged = self.template.tagged()  # compiles it: an error in its syntax is told as such
        text = self.choose_form()
        lead, answered, asked, _, tail = pieces = between(text, _WORDS[:4]) or []
        ends = stops(lead, answered, asked, tail, self.special)
        report = TemplateReport(
            name=self.template.name,
            content=self.form.name,
            text_content=self.text_form.name,
            image=self.image,
            image_order=self.image_order(),
            system=self.system(),
            alternates=self.whole(_said("uua", _Q1, _Q2, _A1)) is None,
            assistant_first=self.whole(_said("aua", _A1, _Q1, _A2)) is not None,
            trims=self.trims(),
            strips_think=self.strips_think(),
            stop=ends.inner,
            last_stop=ends.last,
            bos=bos_place(pieces, self.context.get("bos_token")),
            dated=self.text(_CHAT, self.text_form, _OTHER_DAY) != text,
            default_system=default_system(lead, asked, self.special),
            tagged=tagged,
            needs=self.needs or None,
            controls=tuple(dict.fromkeys(controls("\n".join(pieces), self.special))),
            marks=self.takes_marks(text),
        )
        return Learnt(report, self.form, self.text_form, self.variables)

    def text(self, messages: Sequence[Message], form: Form, now: datetime = RELEASE) -> str | None:
        """Render; None where the template raises."""
        try:
            texts = [part for message in messages for part in message.parts if part is not IMAGE]
            return self.template.render(built(messages, texts, form), now=now, **self.variables)
        except TemplateError as error:
            self.error = self.error or error
            return None

    def whole(self, messages: list[Message], form: Form | None = None) -> str | None:
        """Render; None also where a text is lost, doubled or out of order, or a list was printed as it is."""
        text = self.text(messages, form or self.text_form)
        words = [part for message in messages for part in message.parts if part is not IMAGE]
        if text is None or between(text, words) is not None:
            return text
        self.loses = True
        return None

    def choose_form(self) -> str:
        """Find how to give contents, and what else is needed; returns the text of the plain chat."""
        for needs, more in _VARIABLES:
            self.variables, self.needs = {**self.context, **more}, needs
            text = self.try_forms(both_keys=False, preamble=False)
            if text is None and needs and "functions" in self.template.source:
                self.needs = f"{needs}, an empty message of role functions"
                text = self.try_forms(both_keys=False, preamble=True)
            if text is None:
                self.needs = ", ".join(filter(None, [needs, "texts of parts as their content too"]))
                text = self.try_forms(both_keys=True, preamble=False)
            if text is not None:
                return text
        if self.error is not None and not self.loses:
            raise TemplateError(f"{self.error} It was given a plain chat of two questions and their answers.")
        raise TemplateLossError(
            f"{self.template.name} loses, doubles or changes messages of a plain chat of two questions and their "
            "answers. Is it made for chats? Choose another with template=."
        )

    def try_forms(self, *, both_keys: bool, preamble: bool) -> str | None:
        """Try strings and lists; a form that takes an image is taken before strings."""
        string = Form("string", preamble=preamble)
        as_string = None if both_keys else self.whole(_CHAT, string)
        for name in ("list-user", "list-all"):
            form = Form(name, both_keys=both_keys, preamble=preamble)
            with_image = self.whole(_WITH_IMAGE, form)
            if with_image is None:
                continue
            plain = self.whole(_CHAT, form)
            without = plain or as_string
            self.image = None if without is None else image_text(with_image, without)
            if self.image is not None and without is not None:
                self.form, self.text_form = form, form if plain else string
                return without
        if as_string is not None:
            self.form = self.text_form = string
            return as_string
        for name in ("list-user", "list-all"):
            form = Form(name, both_keys=both_keys, preamble=preamble)
            plain = self.whole(_CHAT, form)
            if plain is not None:
                self.form = self.text_form = form
                return plain
        return None

    def image_order(self) -> str | None:
        """Put an image between two texts."""
        if self.image is None:
            return None
        messages = [Message("user", (_Q1, IMAGE, _Q2)), *_said("a", _A1)]
        text = self.whole(messages, self.form)
        if text is None:
            return "front"
        return "kept" if text.find(_Q1) < text.find(self.image) < text.find(_Q2) else "front"

    def system(self) -> str:
        """Put a system message first."""
        messages = _said("sua", _S, _Q1, _A1)
        if self.whole(messages) is not None:
            return "kept"
        text = self.text(messages, self.text_form)
        return "raises" if text is None else "dropped"

    def trims(self) -> tuple[str, ...]:
        """Put blanks round contents."""
        edge = " \n "
        chat = [Message(role, (f"{edge}{parts[0]}{edge}",)) for role, parts in _CHAT[:2]]
        text = self.text(chat, self.text_form)
        return tuple(role for role, parts in chat if text is None or parts[0] not in text)

    def strips_think(self) -> bool:
        """Let answers begin with a thought."""
        thought = f"<think>\n{_THOUGHT}\n</think>\n\n"
        text = self.text(_said("uaua", _Q1, thought + _A1, _Q2, thought + _A2), self.text_form)
        return text is not None and text.count(_THOUGHT) < 2

    def takes_marks(self, text: str) -> bool:
        """Put a mark into each content; it must come out, and nothing else may change."""
        mark = "\ue000"
        marked = [Message(role, (parts[0].replace(" ", f" {mark}", 1),)) for role, parts in _CHAT]
        found = self.text(marked, self.text_form)
        return found is not None and found.count(mark) == len(_CHAT) and found.replace(mark, "") == text
