"""How many requests may be under way, and how fast they may follow one another. Knows asyncio's clock and nothing else.

`Concurrency` finds out how much an endpoint bears; `Pace` keeps to what it is known to allow.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Concurrency", "Pace"]

_BEGIN = 8  # requests at once before anything is known


class Concurrency:
    """A limit on requests at once that grows by one a round and is halved when the endpoint says "too many".

    Additive increase, multiplicative decrease, as TCP does it (RFC 5681). An async context manager: the block is one
    request.

    Args:
        most: the limit never passes it.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(_BEGIN, most))
        self.busy = 0
        self.halved = 0  # how often
        self._since = float("-inf")  # requests sent before were under the old limit: what became of them says nothing
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        while self.busy >= int(self.limit):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self.busy += 1

    async def __aexit__(self, *exception: object) -> None:
        self.busy -= 1
        self._wake()

    def went_well(self) -> None:
        """Count a request that was answered: after as many as may be under way, one more may."""
        self.limit = min(self.most, self.limit + 1 / self.limit)
        self._wake()

    def too_many(self, sent: float) -> None:
        """Halve the limit, once for all the requests that were under way together.

        Args:
            sent: when the refused request was sent, on the loop's clock.
        """
        if sent >= self._since:
            self._since = asyncio.get_running_loop().time()
            self.limit = max(1.0, self.limit / 2)
            self.halved += 1

    def _wake(self) -> None:
        for _ in range(int(self.limit) - self.busy):
            while self._waiting and self._waiting[0].done():  # given up meanwhile
                self._waiting.popleft()
            if not self._waiting:
                return
            self._waiting.popleft().set_result(None)


class Pace:
    """At most so many a minute, evenly: each waits until what went before has had its time.

    Args:
        per_minute: requests or tokens; None: no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._seconds = 0.0 if per_minute is None else 60 / per_minute
        self._free = float("-inf")  # when the next may begin, on the loop's clock

    async def take(self, amount: float = 1.0) -> None:
        """Wait for the turn of so many."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._free)
        self._free = begin + amount * self._seconds
        if begin > now:
            await asyncio.sleep(begin - now)

    def give_back(self, amount: float) -> None:
        """Return what was taken and not needed."""
        self._free -= amount * self._seconds
