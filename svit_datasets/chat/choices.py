"""The choices a renderer's user has, checked; and what two of them mean for a target.

What each option does is written at `renderer.ChatRenderer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svit_datasets.boxes import CONVENTIONS
from svit_datasets.chat import encode as ids
from svit_datasets.chat.fitting import CONTROL_TOKENS, ROLES, SYSTEMS
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svit_datasets.chat.targets import Target

__all__ = ["box_tokens", "check", "eos_of"]

_ALLOWED = {
    "system": SYSTEMS,
    "roles": ROLES,
    "scope": ids.SCOPES,
    "boundary": ids.BOUNDARIES,
    "control_tokens": CONTROL_TOKENS,
    "bos": ids.BOS,
    "stop": ("auto", "eos"),
    "merge": ("image", "conversation"),
    "boxes": tuple(CONVENTIONS),
    "on_bad_box": ("keep", "drop", "raise"),
}


def check(options: Mapping[str, Any]) -> None:
    """Raise OptionError for a value that is not allowed."""
    for name, allowed in _ALLOWED.items():
        if options[name] not in allowed:
            raise OptionError(f"{name}={options[name]!r} is not allowed. Allowed: {', '.join(map(repr, allowed))}.")
    for name in ("max_length", "max_turns"):
        if options[name] is not None and options[name] < 1:
            raise OptionError(f"{name}={options[name]!r} is not allowed: give 1 or more, or None.")


def box_tokens(boxes: str) -> frozenset[str]:
    """Return the tokens that a convention writes into texts, and that are to become tokens."""
    return CONVENTIONS[boxes].tokens


def eos_of(target: Target) -> str:
    """Return a target's end-of-text token, which stop="eos" writes."""
    eos = target.context.get("eos_token")
    if not eos:
        raise OptionError(f'stop="eos": {target.name} has no eos_token.')
    return eos
