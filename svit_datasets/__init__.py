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
    from svit_datasets.mixing import Mix, merge_states, mix
    from svit_datasets.reader import Stream
    from svit_datasets.report import Report
    from svit_datasets.streaming import stream

__all__ = [
    "Mix",
    "Report",
    "Stream",
    "SvitError",
    "last_report",
    "load_dataset",
    "merge_states",
    "mix",
    "register",
    "stream",
    "unregister",
]

_HOME = {
    "Mix": "mixing",
    "Report": "report",
    "Stream": "reader",
    "SvitError": "errors",
    "last_report": "load",
    "load_dataset": "load",
    "merge_states": "mixing",
    "mix": "mixing",
    "register": "load",
    "stream": "streaming",
    "unregister": "load",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use: the text parser alone must not cost the import of datasets (0.5 s, 100 MB)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
