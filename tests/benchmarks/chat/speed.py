"""What rendering and encoding cost, as ratios inside one run: processor time, the two sides in turns, the median.

Another machine, or a busy one, changes both sides of a ratio alike; rows a second are told for this machine alone.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

from svit_datasets.chat import ChatRenderer
from svit_datasets.chat.encode import encode
from svit_datasets.chat.engine import Template
from tests.benchmarks.chat import oracle
from tests.benchmarks.chat.check import IMAGE_TEXT, renderer_for
from tests.benchmarks.chat.conversations import KINDS, Talk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.benchmarks.chat.check import Subject
    from tests.benchmarks.chat.tokens import Real

__all__ = ["Floor", "floors"]

_TALK = KINDS["natural"]
_SHORT = Talk("short", ("What is on the bench?",), ("A red umbrella.",))
_SHORT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
)
_SECONDS = 0.02  # of one side of a pair, at least
_PAIRS = 9


@dataclass(frozen=True, slots=True)
class Floor:
    """A promise and what was measured."""

    says: str
    measured: float
    bound: float | None = None  # None: told, not promised
    at_most: bool = True

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        if self.bound is None:
            return True
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


def floors(subjects: Sequence[Subject], tiny: Any, tokenizers: Sequence[Real]) -> list[Floor]:
    """Measure all.

    Args:
        subjects: templates; some 20 of them are timed.
        tiny: the tokenizer that templates are rendered with.
        tokenizers: that encoding is timed with.
    """
    some = subjects[:: max(1, len(subjects) // 24)]
    against_plain, against_transformers = [], []
    for subject in some:
        renderer = renderer_for(subject, tiny)
        template, chat = Template(subject.source), oracle.messages(_TALK, subject.way)
        context = {**oracle.SPECIAL, **oracle.CONTEXTS[subject.way.context]}
        row = _TALK.row
        against_plain.append(
            _ratio(lambda r=renderer, row=row: r.render(row), lambda t=template, m=chat, c=context: t.render(m, **c))
        )
        against_transformers.append(
            _ratio(
                lambda r=renderer, row=row: r.render(row),
                lambda s=subject: oracle.render(s.source, _TALK, s.way),
            )
        )
    found = [
        Floor(f"render, times one plain render of the same engine, median of {len(some)}", median(against_plain), 1.5),
        Floor("… the worst of them", max(against_plain)),
        Floor("render, times transformers' render, median", median(against_transformers)),
        Floor("rows/s/core: a short template, one round", _rate(_SHORT_TEMPLATE, _SHORT), 20_000, at_most=False),
        Floor("rows/s/core: a short template, five rounds", _rate(_SHORT_TEMPLATE, _TALK)),
        Floor("rows/s/core: preset chatml, one round", _rate("chatml", _SHORT)),
        Floor("rows/s/core: preset vicuna_v1, one round", _rate("vicuna_v1", _SHORT)),
    ]
    for real in tokenizers:
        found += _encoding(real)
    found.append(Floor("import svit_datasets.chat and ChatRenderer, CPU seconds", _import_time(), 0.15))
    return found


def _encoding(real: Real) -> Iterator[Floor]:
    """Yield what encoding and rendering with it cost beside what transformers' tokenizer takes for the same text."""
    renderer = ChatRenderer(real.tokenizer, template=_SHORT_TEMPLATE, image=IMAGE_TEXT)
    row, encoder = _TALK.row, renderer.target.encoder
    rendered = renderer.render(row)
    chat = [{"role": turn.role, "content": rendered.text[turn.start : turn.end]} for turn in rendered.turns]

    def alone() -> object:
        return real.tokenizer(rendered.text, add_special_tokens=False)

    def templated() -> object:
        return real.tokenizer.apply_chat_template(chat, chat_template=_SHORT_TEMPLATE, return_dict=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the template has control tokens which the tokenizer has not
        step = _ratio(alone, lambda: encode(rendered, encoder))
        yield Floor(
            f"encode a rendered chat, masks and all, {real.name}: of the tokenizer alone", step, 0.9, at_most=False
        )
        yield Floor(
            f"render and encode, {real.name}: of the tokenizer alone", _ratio(alone, lambda: renderer.encode(row))
        )
        whole = _ratio(templated, lambda: renderer.encode(row))
        yield Floor(f"render and encode, {real.name}: of apply_chat_template, which gives no mask", whole)


def _ratio(one: Callable[[], object], other: Callable[[], object]) -> float:
    """Return the time of one over the time of the other, in turns."""
    repeats = _repeats(one), _repeats(other)
    ratios = []
    for _ in range(_PAIRS):
        times = [_time(call, count) / count for call, count in zip((one, other), repeats, strict=True)]
        ratios.append(times[0] / times[1])
    return median(ratios)


def _repeats(call: Callable[[], object]) -> int:
    call()  # compiles, caches
    return max(1, round(_SECONDS / max(min(_time(call, 1) for _ in range(3)), 1e-6)))


def _time(call: Callable[[], object], count: int) -> float:
    began = process_time()
    for _ in range(count):
        call()
    return process_time() - began


def _rate(template: str, talk: Talk) -> float:
    renderer, row = ChatRenderer(template, image=IMAGE_TEXT), talk.row
    count = _repeats(lambda: renderer.render(row))
    return median(count / _time(lambda: renderer.render(row), count) for _ in range(_PAIRS))


def _import_time() -> float:
    """Return processor seconds, the least of five fresh processes; neither transformers nor torch may come along."""
    code = (
        "import sys, time; began = time.process_time(); from svit_datasets.chat import ChatRenderer; "
        "print(time.process_time() - began, *{'transformers', 'torch', 'datasets', 'tokenizers'} & set(sys.modules))"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(5)
    ]
    return float("inf") if any(len(words) > 1 for words in outputs) else min(float(words[0]) for words in outputs)
