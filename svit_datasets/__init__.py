"""SVIT in one call: its JSON joined with its photos, map-style and streaming.

    from svit_datasets import load_dataset

    ds = load_dataset("svit", "complex_reasoning", split="train", streaming=True)

The names below are the public ones; importing this package does no work, each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svit_datasets.errors import SvitError
    from svit_datasets.load import last_report, load_dataset, register, unregister
    from svit_datasets.report import Report

__all__ = ["Report", "SvitError", "last_report", "load_dataset", "register", "unregister"]

_HOME = {
    "Report": "report",
    "SvitError": "errors",
    "last_report": "load",
    "load_dataset": "load",
    "register": "load",
    "unregister": "load",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use: the text parser alone must not cost the import of datasets (0.5 s, 100 MB)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
