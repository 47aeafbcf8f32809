"""What a chat template may use up: steps, characters and processor time, counted while it renders.

Templates come from strangers. jinja2's sandbox keeps them from the machine's files, but not from its memory and time:
``'a' * 10**10``, a string doubled forty times, or two nested loops over 99,999 numbers are all allowed. Here the code
that jinja2 generates is given counters where text grows and where loops turn. What is counted:

* **steps**: every turn of a loop, and every call of a macro, costs 1 and 1 more per statement in it;
* **characters**: every string and list made by an expression, a filter, a method or a captured block is charged, and
  where a few characters of template could make many at once (``*``, ``%``, ``center``, ``replace``, ``join`` …) the
  charge comes before the work;
* **nesting**: a list that holds a list is weighed with all that it holds, so doubled lists end as doubled strings do;
* **time**: processor time of the rendering thread, looked at every 128 steps. Signals and other processes are not
  needed, so this works in threads and data-loader workers.

`sandbox` puts the calls of a `Meter` into what jinja2 generates.
"""

from __future__ import annotations

from time import thread_time
from typing import TYPE_CHECKING, Any

from svit_datasets.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_BITS", "SECONDS", "Meter"]

SECONDS = 5.0  # of processor time a render
_STEPS = 1 << 20  # and 64 more for each character of the chat
_CHARACTERS = 1 << 24  # and 256 more for each character of the chat
_LOOK = 128  # steps between two looks at the clock
MAX_BITS = 1 << 13  # of a number; 2,467 digits, which Python still writes out
_CONTAINERS = (list, tuple, dict)


class Meter:
    """What one render has left."""

    __slots__ = ("_seen", "_steps", "_until", "_weight", "left", "look")

    def __init__(self, size: int) -> None:
        """Fill up.

        Args:
            size: characters of what the template is given; more to say may take more to say it.
        """
        self.left = _CHARACTERS + 256 * size
        self._weight = self.left
        self._steps = _STEPS + 64 * size
        self.look = _LOOK  # counts down to the next look at the clock, which the first look starts
        self._until = 0.0
        self._seen: dict[int, tuple[Any, int]] = {}  # id -> the container, kept so that its id is, and its weight

    def tick(self, steps: int) -> bool:
        """Count a turn of a loop or a call of a macro; true, so that it can stand before a condition."""
        self.look -= steps
        if self.look < 0:
            self._check_time()
        return True

    def _check_time(self) -> None:
        now = thread_time()
        if not self._until:
            self._until = now + SECONDS
        elif now > self._until:
            raise TemplateError(f"it takes more than {SECONDS:g} seconds for one chat")
        self._steps -= _LOOK - self.look
        if self._steps < 0:
            raise TemplateError("it takes too many steps for one chat: loops within loops, or endless macros")
        self.look = _LOOK

    def charge(self, characters: int) -> None:
        """Take characters from what is left, before they are made."""
        self.left -= characters
        if self.left < 0:
            raise TemplateError("it makes too much text for one chat: strings or lists that grow and grow")

    def spend(self, value: Any) -> Any:
        """Return a value just made, charged by its length."""
        if value.__class__ is str:
            self.left -= len(value)
            if self.left < 0:
                self.charge(0)
        elif isinstance(value, (str, bytes)):
            self.charge(len(value))
        elif isinstance(value, _CONTAINERS):
            self.charge(8 * len(value))
        elif isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise TemplateError("it computes with numbers of thousands of digits")
        return value

    def made(self, value: Any) -> Any:
        """Return a list, tuple or dict that an expression just put together, charged and weighed."""
        self.charge(8 * len(value))
        self.weigh(value)
        return value

    def weigh(self, value: Any) -> int:
        """Return about how long a value is as text. Each container is walked once a render."""
        if isinstance(value, (str, bytes)):
            return len(value)
        if not isinstance(value, _CONTAINERS):
            return 8
        if id(value) in self._seen:
            return self._seen[id(value)][1]
        weight = 8 + sum(map(self.weigh, value))
        if isinstance(value, dict):
            weight += sum(map(self.weigh, value.values()))
        if weight > self._weight:
            raise TemplateError("it nests lists in lists without end")
        self._seen[id(value)] = value, weight
        return weight

    def text(self, value: Any) -> str:
        """Return ``str(value)`` of what is no plain string, charged before it is made."""
        if isinstance(value, _CONTAINERS):
            self.charge(self.weigh(value))
        return str(value)

    def concat(self, pieces: Iterable[str]) -> str:
        """Join the output of a macro or a captured block."""
        pieces = pieces if isinstance(pieces, list) else list(pieces)
        self.charge(sum(map(len, pieces)))
        return "".join(pieces)

    def joined(self, values: Iterable[Any]) -> str:
        """Join the operands of ``~``."""
        return self.concat([value if value.__class__ is str else self.text(value) for value in values])
