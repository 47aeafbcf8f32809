"""The embedded model called "rules": the messages of a request in, a whole reply out, without network or weights.

It speaks the same protocol as a language model: it reads nothing but the messages, finds the task and the form by the
prompt's own marks, and answers in the form that is asked for. What it says is true of the notes: names, numbers, places
by boxes, remarks in full sentences, and conclusions that everybody would draw. It is plain, and makes no mistakes of
fact that its notes do not make. The rest of the package: `notes` reads, `words` and `places` have grammar and places,
`knowledge` what things are, `sights`, `thoughts`, `referring` and `account` write for the four tasks.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from svit_builder.generate.compose.account import account
from svit_builder.generate.compose.notes import read_notes
from svit_builder.generate.compose.referring import referrings
from svit_builder.generate.compose.sights import TOPICS, overview
from svit_builder.generate.compose.thoughts import thoughts
from svit_builder.generate.prompts.forms import write_reply
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from svit_builder.generate.compose.notes import Notes
    from svit_builder.generate.compose.words import QA

__all__ = ["compose"]

_TASK = re.compile(r"Task: (\w+) \(prompt [\w.-]+\)")
_DIALOGUES, _TURNS, _THOUGHTS, _REFERRINGS = 3, 5, 15, 10  # what the prompts ask for


def compose(messages: Sequence[Mapping[str, Any]], *, seed: int) -> str:
    """Return a reply to the messages of `svit_builder.generate.prompts.messages`.

    Deterministic: the same messages and seed give the same reply, in any process. Takes 0.5 to 5 ms. Where the notes
    have not ground enough for the number of questions that the prompt asks for, there are fewer.

    Args:
        messages: system and user, with or without an example between; as /v1/chat/completions takes them.
        seed: another one gives other questions, in another order.

    Raises:
        OptionError: the system message is not one of our prompts.
    """
    system, notes = str(messages[0]["content"]), str(messages[-1]["content"])
    match = _TASK.match(system)
    if match is None or match[1] not in _WRITERS:
        raise OptionError('The model "rules" answers only the prompts of svit_builder.generate.prompts.')
    task = match[1]
    rng = random.Random(f"{seed} {task} {notes}")  # noqa: S311 - variety, no secret
    content = _WRITERS[task](read_notes(notes), rng)
    return write_reply(task, content, as_json=system.rstrip().endswith("Reply in JSON."))


def _conversation(notes: Notes, rng: random.Random) -> dict[str, Any]:
    asked: set[str] = set()
    made = {topic: _distinct(write(notes, rng), asked) for topic, write in TOPICS.items()}
    full = [topic for topic, qas in made.items() if len(qas) >= _TURNS]
    chosen = [(topic, _some(made[topic], _TURNS, rng)) for topic in rng.sample(full, min(_DIALOGUES, len(full)))]
    # What is left, together, while it is enough for a dialogue of its own.
    used = {topic for topic, _ in chosen}
    left = [qa for topic, qas in made.items() if topic not in used for qa in qas]
    for topic in ("This and that", "More to see", "At a second look"):
        if len(chosen) < _DIALOGUES and left:
            chosen.append((topic, left[:_TURNS]))
            left = left[_TURNS:]
    if not chosen:
        chosen = [("At a glance", [("What can be made out here?", overview(notes, rng))])]
    return {"conversations": [{"topic": topic, "turns": _as_turns(qas)} for topic, qas in chosen]}


def _some(qas: list[QA], n: int, rng: random.Random) -> list[QA]:
    """Return some of the questions in their order: a dialogue goes from the general to the particular."""
    return [qas[k] for k in sorted(rng.sample(range(len(qas)), n))]


def _reasoning(notes: Notes, rng: random.Random) -> dict[str, Any]:
    qas = _distinct(thoughts(notes, rng), set())[:_THOUGHTS]
    rng.shuffle(qas)
    return {"qas": _as_turns(qas or [("What does one need to know to judge this photo?", _more_light(notes, rng))])}


def _referring(notes: Notes, rng: random.Random) -> dict[str, Any]:
    qas = _distinct(referrings(notes, rng), set())[:_REFERRINGS]
    rng.shuffle(qas)
    return {"qas": _as_turns(qas or [("What can be pointed at here?", _more_light(notes, rng))])}


def _description(notes: Notes, rng: random.Random) -> dict[str, Any]:
    return {"description": account(notes, rng)}


def _more_light(notes: Notes, rng: random.Random) -> str:
    return f"{overview(notes, rng)} More cannot be said without guessing."


def _distinct(qas: Iterable[QA], asked: set[str]) -> list[QA]:
    """Return the pairs whose question was not asked before; ``asked`` grows."""
    kept = []
    for question, answer in qas:
        if question not in asked:
            asked.add(question)
            kept.append((question, answer))
    return kept


def _as_turns(qas: Iterable[QA]) -> list[dict[str, str]]:
    return [{"question": question, "answer": answer} for question, answer in qas]


_WRITERS = {
    "conversation": _conversation,
    "complex_reasoning": _reasoning,
    "referring_qa": _referring,
    "detail_description": _description,
}
