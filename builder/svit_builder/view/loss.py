"""A row and the name of a chat template in; the text that a model reads out, with what of it is learned.

Templates and tokenizers are chosen by name among those that were there at the start: a page's address can open no
other file.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING

from svit_datasets.chat import ChatRenderer
from svit_datasets.chat.encode import answers
from svit_datasets.chat.presets import names
from svit_datasets.errors import SvitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from svit_datasets.chat import Rendered, Span
    from svit_datasets.rows import Row

__all__ = ["Coloured", "Templates"]


@dataclass(frozen=True, slots=True)
class Coloured:
    """A chat as text, in parts."""

    name: str  # of the template
    parts: tuple[tuple[str, str], ...] = ()  # kind and text: "learned", "row" (said in the row), "image", "template"
    characters: int = 0
    learned: int = 0  # characters
    tokens: int | None = None  # None: there is no tokenizer
    learned_tokens: int = 0
    notes: tuple[str, ...] = ()
    trouble: str = ""  # why it cannot be rendered


class Templates:
    """The presets, and the tokenizers that were given.

    Args:
        tokenizers: folders of models, Jinja files or presets; as ``svit render --tokenizer`` takes them.
        template: used instead of the tokenizers' own.

    Raises:
        SvitError: as in `ChatRenderer`.
    """

    def __init__(self, tokenizers: Sequence[str] = (), template: str | None = None) -> None:
        self._renderers: dict[str, ChatRenderer] = {}
        for path in tokenizers:
            self._renderers[PurePath(path).name or path] = ChatRenderer(path, template=template)
        if template is not None and not tokenizers:
            self._renderers[PurePath(template).name] = ChatRenderer(template)
        self.names = tuple(dict.fromkeys([*self._renderers, *names()]))

    @property
    def default(self) -> str:
        """The first that was given, or LLaVA 1.5's."""
        return next(iter(self._renderers), "vicuna_v1")

    def coloured(self, name: str, row: Row) -> Coloured:
        """Return a row as a template gives it; what cannot be rendered is told of, and is no error.

        Args:
            name: one of ``names``.
            row: with its photo.
        """
        try:
            renderer = self._renderers.get(name) or ChatRenderer(name)
            rendered = renderer.render(row)
            learned = answers(rendered, "reply")
            tokens, learned_tokens, warned = _tokens(renderer, row)
        except SvitError as error:
            return Coloured(name, trouble=str(error))
        return Coloured(
            name,
            tuple(_parts(rendered, learned)),
            len(rendered.text),
            sum(stop - start for start, stop in learned),
            tokens,
            learned_tokens,
            (*rendered.notes, *warned),
        )


def _tokens(renderer: ChatRenderer, row: Row) -> tuple[int | None, int, list[str]]:
    """Count the tokens of the text, all and learned; the image counts as its placeholder, before a processor."""
    if renderer.target.encoder is None:
        return None, 0, []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        encoded = renderer.encode_with(None, row)
    return len(encoded["input_ids"]), sum(encoded["assistant_mask"]), [str(one.message) for one in warned]


def _parts(rendered: Rendered, learned: Sequence[Span]) -> list[tuple[str, str]]:
    cuts = {0, len(rendered.text)}
    for spans in (learned, rendered.images, rendered.data):
        cuts.update(at for span in spans for at in span)
    parts: list[tuple[str, str]] = []
    for start, stop in pairwise(sorted(cuts)):
        kind = _kind(rendered, learned, start)
        text = rendered.text[start:stop]
        if parts and parts[-1][0] == kind:
            text = parts.pop()[1] + text
        parts.append((kind, text))
    return parts


def _kind(rendered: Rendered, learned: Sequence[Span], at: int) -> str:
    for kind, spans in (("image", rendered.images), ("learned", learned), ("row", rendered.data)):
        if any(start <= at < stop for start, stop in spans):
            return kind
    return "template"
