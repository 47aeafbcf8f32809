"""Several configurations read as one, in given proportions, with the guarantees of each.

Which stream gives the next row follows from how many each has given, by no chance: after n rows each has given its
share of them to within one row per stream. So the state is the streams' states and these counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from svit_datasets.errors import OptionError
from svit_datasets.reader import known_to_torch, merge_stream_states
from svit_datasets.streaming import stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from svit_datasets.reader import Stream
    from svit_datasets.rows import Row

__all__ = ["Mix", "merge_states", "mix"]

Until = Literal["first", "last"]


def mix(weights: Mapping[str, float], *, until: Until = "last", **options: Any) -> Mix:
    """Read several configurations in proportion to their weights, one row of one of them at a time.

    Args:
        weights: configuration to weight; positive, in any unit.
        until: "last" goes on with those that are left until all have ended, so every row comes once; "first" ends with
            the first that ends, so that proportions hold to the end.
        options: of `stream`, the same for each configuration.

    Returns:
        An iterable with the methods of `Stream`. Rows have a column ``config`` beside their own; configurations in
        SVIT form and in LLaVA form have different columns.

    Raises:
        OptionError: there is no weight, or one is not positive.
        SvitError: as in `stream`.
    """
    return Mix({name: stream(name, **options) for name in weights}, weights, until=until)


class Mix:
    """Streams and their weights; make one with `mix`."""

    def __init__(self, streams: Mapping[str, Stream], weights: Mapping[str, float], *, until: Until = "last") -> None:
        if not weights or any(not weight > 0 for weight in weights.values()):
            raise OptionError(f"weights={dict(weights)!r}: give at least one configuration, and positive weights only.")
        if until not in ("first", "last"):
            raise OptionError(f"until={until!r} is not allowed. Allowed: 'first', 'last'.")
        self._streams, self._weights, self._until = dict(streams), dict(weights), until
        self._given = dict.fromkeys(weights, 0)  # rows since the epoch began, or since a stream ended
        self._ended: set[str] = set()
        self._loaded = False

    @property  # type: ignore[misc]  # mypy knows it as an attribute
    def __class__(self) -> type:
        """The class; looked up by isinstance."""
        return known_to_torch(Mix)

    def __len__(self) -> int:
        """Return how many rows this rank reads in a whole epoch; with until="first" the same, which is then a bound."""
        return sum(map(len, self._streams.values()))

    def __iter__(self) -> Iterator[Row]:
        if not self._loaded:
            self._given, self._ended = dict.fromkeys(self._weights, 0), set()
        self._loaded = False
        live = {name: iter(each) for name, each in self._streams.items()}
        return self._read({name: rows for name, rows in live.items() if name not in self._ended})

    def _read(self, live: dict[str, Iterator[Row]]) -> Iterator[Row]:
        while live:
            name = self._next(live)
            row = next(live[name], None)
            if row is not None:
                self._given[name] += 1
                yield {"config": name, **row}
                continue
            if self._until == "first":
                return
            del live[name]
            self._ended.add(name)
            self._given = dict.fromkeys(self._weights, 0)  # the proportions begin anew among those that are left

    def _next(self, live: Mapping[str, Any]) -> str:
        """Return the stream that is furthest behind its share."""
        rows = 1 + sum(self._given[name] for name in live)
        total = sum(self._weights[name] for name in live)
        return max(live, key=lambda name: rows * self._weights[name] / total - self._given[name])

    def shard(self, rank: int, world_size: int) -> Mix:
        """Return the same mix for another rank, at the beginning of the same epoch."""
        streams = {name: each.shard(rank, world_size) for name, each in self._streams.items()}
        return Mix(streams, self._weights, until=self._until)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; see `Stream.set_epoch`."""
        self._given, self._ended, self._loaded = dict.fromkeys(self._weights, 0), set(), False
        for each in self._streams.values():
            each.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where every stream is, and how many rows each has given."""
        streams = {name: each.state_dict() for name, each in self._streams.items()}
        return {"version": 1, "given": dict(self._given), "ended": sorted(self._ended), "streams": streams}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken; see `Stream.load_state_dict`.

        Raises:
            OptionError: it is of other configurations, or one of its streams does not fit.
        """
        if set(state["streams"]) != set(self._streams):
            raise OptionError(f"This state is of {sorted(state['streams'])}, this mix of {sorted(self._streams)}.")
        for name, each in self._streams.items():
            each.load_state_dict(state["streams"][name])
        self._given, self._ended, self._loaded = dict(state["given"]), set(state["ended"]), True


def merge_states(states: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the states of all readers of one moment together, for any number of ranks to go on from.

    Args:
        states: of every rank, and of every worker where a DataLoader has several, in any order; of a `Stream` or of a
            `Mix`, whose proportions begin anew.

    Returns:
        A state for ``load_state_dict`` of every new rank; together they read what was left, each row once.

    Raises:
        OptionError: the states are of different streams or epochs, or one is missing or there twice.
    """
    if not any("streams" in state for state in states):
        return merge_stream_states(states)
    names = {tuple(sorted(state.get("streams", ()))) for state in states}
    if len(names) != 1:
        raise OptionError(f"These states are not of one mix: they are of {sorted(names)}.")
    streams = {name: merge_stream_states([state["streams"][name] for state in states]) for name in states[0]["streams"]}
    return {"version": 1, "given": dict.fromkeys(streams, 0), "ended": [], "streams": streams}
