"""A user's table of prices in, money out: what was spent, what a request may cost at most, whether a budget allows it.

No prices stand here: they change too often. A table is a TOML file, in USD per million tokens::

    [models."some-model"]
    input = 0.40
    output = 1.60
    batch_input = 0.20   # where the Batch API costs another price
    batch_output = 0.80
"""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from svit_builder.generate.calls import worst_tokens
from svit_datasets.errors import EndpointError, OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from svit_builder.generate.journal import Journal
    from svit_builder.generate.protocol import Reply, Request

__all__ = ["Budget", "Price", "read_price", "spent"]

_NAMES = ("input", "output", "batch_input", "batch_output")


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens of a model."""

    input: float
    output: float
    batch_input: float
    batch_output: float

    def of(self, prompt_tokens: int, completion_tokens: int, *, batch: bool = False) -> float:
        """Return USD."""
        each = (self.batch_input, self.batch_output) if batch else (self.input, self.output)
        return (prompt_tokens * each[0] + completion_tokens * each[1]) / 1e6


def read_price(path: Path, model: str) -> Price:
    """Return the price of a model from a table.

    Raises:
        OptionError: the table cannot be read, or does not have the model.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("models", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: no TOML ({error}).") from error
    row = table.get(model)
    if row is None:
        raise OptionError(
            f'{path}: no price of {model!r}; it has {", ".join(table) or "none"}. Add [models."{model}"].'
        )
    numbers = {name: row[name] for name in _NAMES if isinstance(row.get(name), int | float) and row[name] >= 0}
    if not {"input", "output"} <= set(numbers) or len(numbers) < len(row):
        raise OptionError(
            f"{path}: the price of {model!r} must have input and output, may have batch_input and batch_output, each "
            f"in USD per million tokens, 0 or more; it has {row}."
        )
    return Price(**{"batch_input": numbers["input"], "batch_output": numbers["output"], **numbers})


def spent(journal: Journal, price: Price) -> float:
    """Return what the replies in a journal cost, in USD."""
    return sum(price.of(asked, made, batch=batch) for (_, batch), (_, asked, made) in journal.tokens().items())


class Budget:
    """What may still be spent; requests under way count as the most they can cost.

    Args:
        usd: all that may be spent, with what the journal holds already.
        price: of the model.
        journal: what was spent before.
        batch: whether requests go in batches.
    """

    def __init__(self, usd: float, price: Price, journal: Journal, *, batch: bool = False) -> None:
        self.usd = usd
        self.exhausted = False  # something was not asked for want of money
        self._price, self._batch = price, batch
        self._flying = 0  # requests that `settle` will be called for
        self._waiting: list[asyncio.Future[None]] = []
        self.refresh(journal)

    def refresh(self, journal: Journal) -> None:
        """Count anew from a journal: its replies, and its batches that have not ended."""
        self.spent = spent(journal, self._price)
        self.under_way = sum(
            self._price.of(sent.prompt_tokens, sent.completion_tokens, batch=True) for sent in journal.open_batches()
        )

    def allows(self, request: Request) -> bool:
        """Tell whether a request may be sent, and count it as under way if so."""
        cost = self._worst(request)
        if self.spent + self.under_way + cost > self.usd:
            return False
        self.under_way += cost
        self._flying += 1
        return True

    async def granted(self, request: Request) -> bool:
        """Do what `allows` does, and where that says no, wait for what is under way: it may cost less than it could."""
        while not self.allows(request):
            if not self._flying:
                self.exhausted = True
                return False
            self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[-1]
        return True

    def settle(self, request: Request, reply: Reply | None) -> None:
        """Count what a request did cost; nothing where no reply came.

        Raises:
            EndpointError: the reply does not tell how many tokens it took.
        """
        self.under_way -= self._worst(request)
        self._flying -= 1
        if reply is not None and not reply.prompt_tokens:
            raise EndpointError(
                "The endpoint does not tell how many tokens a reply took, so no budget can be kept: run without "
                "--budget. All replies so far are in the journal."
            )
        if reply is not None:
            self.spent += self._price.of(reply.prompt_tokens, reply.completion_tokens, batch=self._batch)
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def _worst(self, request: Request) -> float:
        return self._price.of(*worst_tokens(request), batch=self._batch)
