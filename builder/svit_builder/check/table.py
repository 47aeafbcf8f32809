"""What is looked for and what ``--fix`` does about it: the rules of generation, and what needs a whole dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from svit_builder.generate.rules import RULES

__all__ = ["CHECKS", "Check", "checks_table"]

Remedy = Literal["leave out", "mend", "none"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked for."""

    id: str
    remedy: Remedy  # what --fix does
    needs: str  # "text", "annotations", "all texts", "rensa"
    text: str  # when it holds


_REMEDIES: dict[str, Remedy] = {"drop_qa": "leave out", "repair": "mend"}
# These are about replies and what stood around the turns in them, which published data no longer has.
_OF_REPLIES = frozenset({"not_alternating", "excess", "follow_up", "short_dialogue"})
_FROM_RULES = [
    Check(rule.id, _REMEDIES[rule.action], "text", rule.text)
    for rule in RULES.values()
    if rule.action in _REMEDIES and rule.id not in _OF_REPLIES
]
_OWN = [
    Check(
        "unknown_phrase", "none", "annotations", "a marked phrase whose noun no object and no region of the photo has"
    ),
    Check("unlisted_box", "none", "annotations", "a box that overlaps no object of its noun by half (IoU 0.5)"),
    Check("unknown_object", "none", "annotations", "an answer names a thing that no annotation of the photo has"),
    Check("other_number", "none", "annotations", "an answer counts other than the annotated objects"),
    Check(
        "repeated_answer",
        "none",
        "all texts",
        "an answer of 12 words or more that stands somewhere before, word for word",
    ),
    Check(
        "similar_answer",
        "none",
        "rensa",
        "an answer of 12 words or more nearly like one before (Jaccard 0.8 of its word pairs)",
    ),
    Check("long_answer", "none", "all texts", "an answer far longer than is usual in its configuration"),
]

CHECKS = {check.id: check for check in (*_FROM_RULES, *_OWN)}


def checks_table() -> str:
    """Return the checks as a Markdown table."""
    lines = ["| check | `--fix` | looks at | holds for |", "|---|---|---|---|"]
    for check in CHECKS.values():
        text = check.text.replace("<", "`<").replace(">", ">`")
        lines.append(f"| `{check.id}` | {'' if check.remedy == 'none' else check.remedy} | {check.needs} | {text} |")
    return "\n".join(lines) + "\n"
