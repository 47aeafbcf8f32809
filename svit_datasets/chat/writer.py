"""A chat and a template in, the rendered chat with its spans out; or an error, never a wrong span.

One render with a mark in every text is what nearly every chat takes. Where a template reacts to marks, or to just what
a text holds, each text is found by rendering the chat with two others in its place (after the way axolotl finds spans),
which takes two renders a text.
"""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from svit_datasets.chat.forms import built
from svit_datasets.chat.scaffold import alike
from svit_datasets.chat.spans import (
    Place,
    Rendered,
    Span,
    Turn,
    cut_at,
    fresh_marks,
    images_outside,
    place_of,
    stop_end,
    unmarked,
)
from svit_datasets.chat.turns import IMAGE, Message
from svit_datasets.errors import TemplateError, TemplateLossError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from svit_datasets.chat.engine import Template
    from svit_datasets.chat.forms import Form
    from svit_datasets.chat.probe import Learnt

__all__ = ["Writer"]


class _Render(NamedTuple):
    """One render."""

    plain: str
    positions: list[int]  # of the marks
    generation: tuple[Span, ...]


class Writer:
    """Renders chats with one template; holds what is looked up once. Threads may share one."""

    def __init__(self, template: Template, learnt: Learnt, *, now: datetime) -> None:
        self._template = template
        self._report = learnt.report
        self._now = now
        self._defaults = {"tools": None, "documents": None, "add_generation_prompt": False, **learnt.variables}
        inside, self._whole = template.looked_for()
        self._avoid = tuple(text for text in sorted(inside) if len(text) > 1 and not text.isspace())
        self._spaced = tuple(text for text in self._avoid if any(map(str.isspace, text)))

    def write(
        self, messages: Sequence[Message], form: Form, image: str | None, notes: tuple[str, ...] = ()
    ) -> Rendered:
        """Return the text of a chat with its spans.

        Args:
            messages: as the template takes them; no text is blank.
            form: how contents are given.
            image: what the template writes for an image; None: the chat has none.
            notes: what was changed before.

        Raises:
            TemplateError: the template raises for this chat, or runs away.
            TemplateLossError: a text or an image would be lost, doubled or changed.
        """
        texts = [part for _, parts in messages for part in parts if part is not IMAGE]
        joined = "\n".join(texts)
        marks = fresh_marks(joined)
        spaced = [word for word in self._spaced if word in joined]
        cuts = [cut_at(text, self._avoid, spaced) for text in texts]
        roles = [role for role, parts in messages for part in parts if part is not IMAGE]
        places: list[Span | Place] | None = None
        if self._report.marks and self._whole.isdisjoint(texts):
            render = self._rendered(messages, _marked(texts, cuts, marks[0]), form, marks, len(joined))
            places = self._places(render, texts, cuts, roles)
        if places is None:
            render, places = self._compared(messages, texts, cuts, roles, form, marks)
        return self._with_turns(messages, render, places, image, notes)

    def _rendered(
        self, messages: Sequence[Message], texts: Sequence[str], form: Form, marks: str, size: int
    ) -> _Render:
        """Render messages with other texts in their place."""
        variables = {**self._defaults, "messages": built(messages, texts, form)}
        tagged = self._report.tagged
        raw = self._template.run(variables, size, self._now, (marks[1], marks[2]) if tagged else None)
        return _Render(*unmarked(raw, marks, tagged=tagged))

    def _places(
        self, render: _Render, texts: Sequence[str], cuts: Sequence[int], roles: Sequence[str]
    ) -> list[Span | Place] | None:
        """Return where the texts stand by their marks; None if any is not there once, in order and unchanged."""
        plain, positions, _ = render
        if len(positions) != len(texts):
            return None
        places: list[Span | Place] = []
        after = 0
        for text, at, cut, role in zip(texts, positions, cuts, roles, strict=True):
            start = at - cut
            if start >= after and plain.startswith(text, start) and not (text[0].isspace() or text[-1].isspace()):
                after = start + len(text)  # the common case, told apart for its speed
                places.append(Span(start, after))
                continue
            place = place_of(plain, text, at, cut, after, trimmed=role in self._report.trims)
            if place is None:
                return None
            places.append(place)
            after = place.stop
        return places

    def _compared(  # noqa: PLR0917 - what `write` prepared
        self,
        messages: Sequence[Message],
        texts: Sequence[str],
        cuts: Sequence[int],
        roles: Sequence[str],
        form: Form,
        marks: str,
    ) -> tuple[_Render, list[Span | Place]]:
        """Find the texts in an unmarked render: by one with marks if that is the same, else text by text."""
        size = sum(map(len, texts))
        render = self._rendered(messages, texts, form, marks, size)
        try:
            marked = self._rendered(messages, _marked(texts, cuts, marks[0]), form, marks, size)
        except TemplateError:  # it refuses a marked text; the plain one it took
            marked = render
        places = self._places(marked, texts, cuts, roles) if marked.plain == render.plain else None
        if places is not None:
            return marked, places
        found = [self._position(messages, texts, number, form, marks) for number in range(len(texts))]
        places = self._places(render._replace(positions=found), texts, [0] * len(texts), roles)
        if places is None:
            raise TemplateLossError(self._loss(render.plain, texts, roles))
        return render, places

    def _position(self, messages: Sequence[Message], texts: Sequence[str], number: int, form: Form, marks: str) -> int:
        """Return where a text begins: where two renders differ, with other texts of its length in its place.

        Past the end of the chat if they differ elsewhere too, or nowhere: the text is there more than once, or never.
        """
        core = texts[number].strip()
        lead = texts[number].index(core)
        renders = []
        for letter in "xy":
            others = list(texts)
            others[number] = texts[number].replace(core, letter * len(core))
            renders.append(self._rendered(messages, others, form, marks, sum(map(len, texts))).plain)
        left, right = renders
        start = alike(left, right)
        stop = start + len(core)
        return start - lead if stop <= len(left) and left[stop:] == right[stop:] else len(left) + len(right)

    def _loss(self, plain: str, texts: Sequence[str], roles: Sequence[str]) -> str:
        """Say which text is lost."""
        name, end = self._template.name, 0
        for number, (text, role) in enumerate(zip(texts, roles, strict=True), 1):
            core = text.strip()
            at = plain.find(core, end)
            if at < 0:
                return (
                    f"{name} leaves out or changes text {number} of the chat ({role}: {_short(core)}), so its place is "
                    "not known. Leave this row out, or choose another template with template=."
                )
            end = at + len(core)
        return f"{name} doubles or reorders the texts of this chat. Choose another template with template=."

    def _with_turns(
        self,
        messages: Sequence[Message],
        render: _Render,
        places: list[Span | Place],
        image: str | None,
        notes: tuple[str, ...],
    ) -> Rendered:
        """Put texts and images together to turns."""
        plain = render.plain
        odd = [place for place in places if isinstance(place, Place)]
        data: Any = tuple(chain.from_iterable(map(_data_of, places)) if odd else places)
        images = self._images(messages, plain, image, data) if image else []
        edges = places if not images and len(places) == len(messages) else _edges(messages, places, images)
        stop, last_stop = self._report.stop, self._report.last_stop or self._report.stop
        turns = []
        limits = [edge[0] for edge in edges[1:]]
        limits.append(len(plain))
        for (role, _), edge, limit in zip(messages, edges, limits, strict=True):
            end = edge[1]
            token = stop if limit < len(plain) else last_stop
            if token is None:
                behind = end
            elif plain.startswith(token, end):
                behind = end + len(token)
            else:
                behind = stop_end(plain, end, limit, token, near=role != "assistant")
            turns.append(Turn(role, edge[0], end, behind))
        changes = dict.fromkeys([place.change for place in odd if place.change])
        notes += tuple([f"{self._template.name} {change}." for change in changes])
        return Rendered(plain, tuple(turns), tuple(images), data, notes, render.generation)

    def _images(self, messages: Sequence[Message], plain: str, image: str, data: Sequence[Span]) -> list[Span]:
        """Return where the images stand; each must be there once."""
        images = images_outside(plain, image, data)
        wanted = sum([part is IMAGE for _, parts in messages for part in parts])
        if len(images) != wanted:
            raise TemplateLossError(
                f"{self._template.name} writes {len(images)} images ({image}) for a chat of {wanted}. "
                'Name the image token of the model with image="<image>" (or whatever it is), or leave images out with '
                'image="none".'
            )
        return images


def _marked(texts: Sequence[str], cuts: Sequence[int], mark: str) -> list[str]:
    return [f"{text[:cut]}{mark}{text[cut:]}" for text, cut in zip(texts, cuts, strict=True)]


def _data_of(place: Span | Place) -> Sequence[Span]:
    """Return the row's own characters of a place."""
    return (place.data if isinstance(place, Place) else ()) or (Span(place.start, place.stop),)


def _edges(
    messages: Sequence[Message], places: Sequence[Span | Place], images: Sequence[Span]
) -> list[tuple[int, int]]:
    """Return the first and behind the last character of each message."""
    following, pictures = iter(places), iter(images)
    edges: list[tuple[int, int]] = []
    for _, parts in messages:
        spans: list[Any] = [next(pictures) if part is IMAGE else next(following) for part in parts]
        edges.append((min([span[0] for span in spans]), max([span[1] for span in spans])))
    if any(left[1] > right[0] for left, right in pairwise(edges)):
        raise TemplateLossError("The chat template puts an image into another message than it belongs to.")
    return edges


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
