"""Chats of SVIT for any tokenizer: rows in, text with exact spans, ids and masks out.

    from svit_datasets.chat import ChatRenderer

    renderer = ChatRenderer(tokenizer)
    ds = ds.map(renderer.encode)

The names below are the public ones; importing this package does no work, each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svit_datasets.chat.collate import Collator
    from svit_datasets.chat.probe import TemplateReport
    from svit_datasets.chat.renderer import ChatRenderer
    from svit_datasets.chat.spans import Rendered, Span, Turn

__all__ = ["ChatRenderer", "Collator", "Rendered", "Span", "TemplateReport", "Turn"]

_HOME = {
    "ChatRenderer": "renderer",
    "Collator": "collate",
    "Rendered": "spans",
    "Span": "spans",
    "TemplateReport": "probe",
    "Turn": "spans",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use: jinja2 costs 0.1 s, and who only wants a box convention needs none."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
