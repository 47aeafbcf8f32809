"""The rules that replies are judged by: what each means, and what is done where it holds. A table, and nothing else.

How a rule is recognised stands in `faults` (words), `markup` (boxes) and `parse` (what is taken off); `clean` applies
them. ``svit check`` judges published answers by the same table.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svit_builder.generate.protocol import Action

__all__ = ["ASKED", "LEAST", "LEAST_DIALOGUES", "LEAST_OF_DIALOGUE", "RULES", "RULES_VERSION", "Rule", "rules_table"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; its version changes when the same reply may be judged otherwise."""

    id: str
    version: int
    action: Action
    text: str  # when it holds


_TABLE = (
    ("whitespace", 1, "strip", "spaces, line ends or invisible letters that say nothing"),
    ("thinking", 1, "strip", "a model's reasoning between <think> and </think>"),
    ("markdown", 1, "strip", "bold, code and quote marks, fences"),
    ("numbering", 1, "strip", "a number before a question, an answer or a role"),
    (
        "heading",
        1,
        "strip",
        "headings, topic lines and dividers; those of conversations are kept as topics and not counted",
    ),
    ("preamble", 1, "strip", "words before the first question, such as an announcement of what follows"),
    ("epilogue", 1, "strip", "words behind the last answer, such as an offer of more"),
    (
        "box_spelling",
        1,
        "repair",
        "a box with a space or a comma missing, a dot too many, or other than three decimals",
    ),
    ("box_border", 1, "repair", "a coordinate outside 0 to 1 by at most 0.01: moved to the border"),
    ("not_alternating", 1, "drop_qa", "a question without an answer, an answer without a question, or two in a row"),
    ("empty_text", 1, "drop_qa", "a question or an answer without a letter or digit"),
    ("message_is_empty", 1, "drop_qa", "an answer that says the message was empty"),
    ("refusal", 1, "drop_qa", "an answer that refuses, excuses itself, or speaks of itself as a language model"),
    ("leak", 1, "drop_qa", "mentions what the model was given: captions, descriptions, boxes, coordinates, lists"),
    ("prompt_echo", 1, "drop_qa", "repeats the prompt: its instructions, its placeholders, or lines of its context"),
    ("other_language", 1, "drop_qa", "is not in English"),
    (
        "duplicate_qa",
        1,
        "drop_qa",
        "a question asked before; in a conversation in the same dialogue, or a whole dialogue",
    ),
    ("cut_off", 1, "drop_qa", "an answer that breaks off: a comma, an open bracket or a word such as 'the' ends it"),
    ("malformed_box", 1, "drop_qa", "brackets that do not hold four numbers"),
    ("impossible_box", 1, "drop_qa", "a box that is turned round, has no area, or does not lie in the photo"),
    ("unbalanced_markup", 1, "drop_qa", "<st> without <ed>, or a marked phrase without a box"),
    ("no_box", 1, "drop_qa", "a referring question whose answer and itself have no box"),
    ("excess", 1, "drop_qa", "more than was asked for"),
    ("follow_up", 1, "drop_qa", "a turn of a conversation that comes behind one that was left out"),
    ("short_dialogue", 1, "drop_qa", "what is left of a dialogue is fewer than three questions"),
    ("empty", 1, "regenerate", "the reply has no text"),
    ("truncated", 1, "regenerate", "the endpoint cut the reply at its token limit"),
    ("filtered", 1, "regenerate", "the endpoint's content filter held the reply back"),
    ("unparsable", 1, "regenerate", "no question with an answer can be found"),
    ("wrong_count", 1, "regenerate", "too few questions, even before any was left out"),
    ("few_qas", 1, "flag", "fewer questions than asked for, but enough"),
    ("unknown_phrase", 1, "flag", "a marked phrase names nothing that the objects or regions name"),
    ("unlisted_box", 1, "flag", "a box overlaps no listed object or region by half (IoU 0.5)"),
)

RULES = {id_: Rule(id_, version, action, text) for id_, version, action, text in _TABLE}  # type: ignore[arg-type]

_VERSIONS = repr([(rule.id, rule.version, rule.action) for rule in RULES.values()])
# Names these rules and their versions: the same reply and the same version give the same verdict.
RULES_VERSION = f"rules-{hashlib.sha256(_VERSIONS.encode()).hexdigest()[:8]}"

ASKED = {"conversation": 15, "complex_reasoning": 15, "referring_qa": 10, "detail_description": 1}  # QAs a reply
LEAST = {"conversation": 10, "complex_reasoning": 12, "referring_qa": 8, "detail_description": 1}  # to be accepted
DIALOGUES, LEAST_DIALOGUES, LEAST_OF_DIALOGUE = 3, 2, 3  # of a conversation; of five questions each


def rules_table() -> str:
    """Return the rules as a Markdown table."""
    lines = ["| rule | action | version | holds for |", "|---|---|---|---|"]
    for rule in RULES.values():
        text = rule.text.replace("<", "`<").replace(">", ">`").replace("|", "\\|")
        lines.append(f"| `{rule.id}` | {rule.action} | {rule.version} | {text} |")
    return "\n".join(lines) + "\n"
