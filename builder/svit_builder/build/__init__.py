"""Builds the Hub dataset from the raw files: on one machine, on a Ray cluster, or as jobs that know nothing of another.

`planning` says which files there are to be, `executors` who makes them, `making` makes one, `building` puts all of it
together, `verifying` reads what was built to its last byte. A name below is loaded when it is first used: a worker of
`executors` needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svit_builder.build.building import build
    from svit_builder.build.report import BuildReport, ConfigReport
    from svit_builder.build.verifying import Checked, verify

__all__ = ["BuildReport", "Checked", "ConfigReport", "build", "verify"]

_HOME = {
    "BuildReport": "report",
    "Checked": "verifying",
    "ConfigReport": "report",
    "build": "building",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
