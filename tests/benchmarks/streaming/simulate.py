"""Many ranks over photos of Visual Genome's number and sizes, by counting: who reads what, and what a stop costs.

In come the two zips' known counts and bytes; out come Markdown tables. No photo is read and none exists: the library's
own plan, order, shares, spans and states say what 64 to 1,024 ranks would ask an origin for. Beside them stands what
`datasets` gives the same ranks (its own ``split_dataset_by_node``, run over numbers). How fast an origin answers is
not simulated.

    python -m tests.benchmarks.streaming.simulate            # under a minute
"""

from __future__ import annotations

import argparse
import json
import pickle
import time
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from svit_datasets import merge_states
from svit_datasets.join import _parts
from svit_datasets.joined import Joined
from svit_datasets.located import ImageSource, Located, vg_folder
from svit_datasets.order import cut, length, merged, sequence, share
from svit_datasets.plan import Plan
from svit_datasets.reader import Stream
from svit_datasets.report import Tally
from svit_datasets.rows import Work
from svit_datasets.storage import Storage
from svit_datasets.store import Store
from svit_datasets.tasks import get_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.order import Intervals, Order, Sequence

    Ids = np.ndarray[Any, np.dtype[np.int64]]

ZIPS = (("images.zip", 64_346, 9_731_705_982), ("images2.zip", 43_731, 5_471_658_058))  # name, photos, bytes
SPREAD = 0.4  # standard deviation of the logarithm of a photo's bytes; assumed, log-normal
HEADER = 50  # bytes of a zip's local header with a name such as VG_100K/2377380.jpg
RANKS = (64, 128, 256, 512, 1024)
WORKERS = (1, 2, 4)
RATE = 100  # photos a second that a rank consumes; assumed
WINDOW_BYTES = 32 << 20  # the default of `stream`, as is:
IN_FLIGHT_BYTES = 32 << 20
ORDERS: tuple[tuple[Order, int], ...] = (
    ("storage", WINDOW_BYTES),
    ("shuffled", WINDOW_BYTES),
    ("shuffled", 8 << 20),
    ("record", WINDOW_BYTES),
)
_MB = 1_000_000


@dataclass(frozen=True)
class Corpus:
    """A plan of photos in two zips, listed in an order of its own, as the JSON's is."""

    plan: Plan
    size: Ids  # (n,) bytes that each photo takes in its zip
    place: Ids  # (n, 2) zip and first byte

    @property
    def total(self) -> int:
        """Bytes of all photos."""
        return int(self.size.sum())


@dataclass(frozen=True)
class Reading:
    """What all readers of an epoch ask for."""

    rows: Ids  # (ranks,) rows of each rank
    needed: Ids  # (ranks,) bytes of its photos
    asked: int  # bytes of all ranges
    requests: int
    held: int  # bytes, at most, of the windows in use of a rank's readers


def corpus(images: int, seed: int = 0) -> Corpus:
    """Lay that many photos out as Visual Genome's two zips hold theirs, in the same proportion."""
    numbers = np.random.default_rng(seed)
    of_all = sum(count for _, count, _ in ZIPS)
    counts = [round(images * ZIPS[0][1] / of_all)]
    counts.append(images - counts[0])
    starts, stops = [], []
    for count, (_, whole, held) in zip(counts, ZIPS, strict=True):
        weight = numbers.lognormal(0, SPREAD, count)
        size = (weight / weight.sum() * held * count / whole).astype(np.int64)
        stops.append(np.cumsum(size))
        starts.append(stops[-1] - size)
    listed = numbers.permutation(images)
    source = np.repeat(np.arange(2, dtype=np.int16), counts)[listed]
    start, stop = np.concatenate(starts)[listed], np.concatenate(stops)[listed]
    sources = tuple(ImageSource("zip", (f"https://origin/{name}",), "etag", origin=True) for name, _, _ in ZIPS)
    zeros = np.zeros(images, dtype=np.int64)
    entry = {"start": start, "stop": stop, "size": stop - start - HEADER, "method": zeros, "crc": zeros + (1 << 31)}
    ids = 1 + listed
    names = pa.array([f"{vg_folder(int(each))}/{each}.jpg" for each in ids], pa.string())
    plan = Plan(
        (Store(Path("complex_reasoning")),),
        ("complex_reasoning",),
        ids,
        np.arange(images + 1),
        zeros,
        np.arange(images),
        Located(sources, source, names, entry),
        np.ones(images, dtype=bool),
        {},
    )
    return Corpus(plan, stop - start, np.stack([source.astype(np.int64), start], axis=1))


def epoch_order(made: Corpus, order: Order, window_bytes: int, epoch: int = 0) -> Sequence:
    """Order an epoch as `stream` does."""
    return sequence(order, made.place, made.size, seed=0, epoch=epoch, window_bytes=window_bytes)


def windows(order: Sequence, mine: Intervals) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of what a reader of these rows fetches together: the epoch's windows, cut at its ends."""
    for start, stop in mine:
        inner = order.edges[(order.edges > start) & (order.edges < stop)].tolist()
        yield from pairwise([start, *inner, stop])


def read(made: Corpus, order: Sequence, shares: list[Intervals], workers: int) -> Reading:
    """Count what ranks with these shares ask for, each by as many workers."""
    rows, needed = np.zeros(len(shares), dtype=np.int64), np.zeros(len(shares), dtype=np.int64)
    asked = requests = held = 0
    for rank, mine in enumerate(shares):
        rows[rank] = length(mine)
        largest = 0
        for worker in range(workers):
            in_use = 0
            for first, last in windows(order, share(mine, worker, workers)):
                items = order.items[first:last]
                parts = _parts(made.plan.photos.take(items))
                requests += len(parts)
                asked += sum(part.where.cost for part in parts)
                needed[rank] += (used := int(made.size[items].sum()))
                in_use = max(in_use, used)
            largest += in_use
        held = max(held, largest)
    return Reading(rows, needed, asked, requests, held)


def thrown_away(made: Corpus, order: Sequence, shares: list[Intervals], stops: Ids) -> tuple[Ids, Ids]:
    """Return what each rank had fetched and not handed out when it stopped, bytes: of its window, and ahead at most.

    Args:
        made: the photos.
        order: of the epoch.
        shares: one interval a rank.
        stops: (ranks,) how many rows each had handed out.
    """
    ends = np.concatenate([[0], np.cumsum(made.size[order.items])])
    window, ahead = [], []
    for mine, stop in zip(shares, stops.tolist(), strict=True):
        ((low, high),) = mine
        at = low + stop
        end = int(order.edges[np.searchsorted(order.edges, at)]) if stop else at  # of the window in use
        edge = min(end, high)
        window.append(ends[edge] - ends[at])
        ahead.append(min(IN_FLIGHT_BYTES, ends[high] - ends[edge]))
    return np.array(window), np.array(ahead)


def even_shares(total: int, ranks: int) -> list[Intervals]:
    """Divide a whole epoch."""
    return [share([(0, total)], rank, ranks) for rank in range(ranks)]


def random_stops(shares: list[Intervals], seed: int) -> Ids:
    """Return a row for each rank at which it stops."""
    return np.array([np.random.default_rng([seed, rank]).integers(0, length(s) + 1) for rank, s in enumerate(shares)])


def rest(shares: list[Intervals], stops: Ids) -> list[Intervals]:
    """Return what each rank has not handed out."""
    return [cut(mine, int(stop), length(mine)) for mine, stop in zip(shares, stops, strict=True)]


# States --------------------------------------------------------------------------------------------------------------


def stream_of(made: Corpus, order: Order, rank: int, ranks: int) -> Stream:
    """Return what `stream` would give this rank; it can be asked for states, but there is nothing to read."""
    work = Work(
        source=Joined(made.plan, get_task("complex_reasoning"), "image"),
        policy="error",
        storage=Storage(),
        tally=Tally(Path("none.jsonl")),
        order=order,
        seed=0,
        window_bytes=WINDOW_BYTES,
        in_flight_bytes=IN_FLIGHT_BYTES,
        decode=bytes,
        threads=0,
    )
    return Stream(work, rank=rank, world_size=ranks)


def stopped(stream: Stream, ranks: int, lefts: list[Intervals]) -> list[dict[str, Any]]:
    """Return the states of all ranks, each with what it has left."""
    state = stream.state_dict()
    return [{**state, "rank": rank, "todo": [list(each) for each in lefts[rank]]} for rank in range(ranks)]


def state_times(made: Corpus, ranks: int, after: int) -> dict[str, float]:
    """Return what states cost: seconds to take one, to put all together and to load that; and their bytes as JSON."""
    stream = stream_of(made, "shuffled", 0, ranks)
    took = {}
    begun = time.perf_counter()
    state = stream.state_dict()
    took["take"] = time.perf_counter() - begun
    shares = even_shares(len(made.plan), ranks)
    states = stopped(stream, ranks, rest(shares, random_stops(shares, 1)))
    begun = time.perf_counter()
    whole = merge_states(states)
    took["merge"] = time.perf_counter() - begun
    other = stream_of(made, "shuffled", after - 1, after)
    begun = time.perf_counter()
    other.load_state_dict(whole)
    took["load"] = time.perf_counter() - begun
    return {**took, "bytes": len(json.dumps(state)), "merged bytes": len(json.dumps(whole))}


# What datasets does --------------------------------------------------------------------------------------------------


@cache
def by_datasets(rows: int, shards: int, world_size: int, ranks: int) -> tuple[tuple[int, int], ...]:
    """Return (rows handed out, rows generated) of the first few ranks, as `split_dataset_by_node` divides shards."""
    from datasets import IterableDataset
    from datasets.distributed import split_dataset_by_node

    edges = np.linspace(0, rows, shards + 1).astype(int).tolist()
    generated = 0

    def numbers(shards: list[tuple[int, int]]) -> Iterator[dict[str, int]]:
        nonlocal generated
        for start, stop in shards:
            for row in range(start, stop):
                generated += 1
                yield {"row": row}

    found = []
    for rank in range(ranks):
        generated = 0
        whole = IterableDataset.from_generator(numbers, gen_kwargs={"shards": list(pairwise(edges))})
        found.append((sum(1 for _ in split_dataset_by_node(whole, rank, world_size)), generated))
    return tuple(found)


# The tables ----------------------------------------------------------------------------------------------------------


def ranks_table(made: Corpus, ranks: tuple[int, ...] = RANKS) -> list[str]:
    """One line an order and number of ranks."""
    lines = _head(
        "order",
        "ranks",
        "rows a rank",
        "bytes, max / mean",
        *(f"requests a photo, {workers} worker{'s' if workers > 1 else ''}" for workers in WORKERS),
        "requests/s of all",
        "GB/s of all",
        "read beyond need",
        "photos held, MB a rank",
        "fetched again after a stop, MB a rank: mean",
        "max",
    )
    for name, window_bytes in ORDERS:
        order = epoch_order(made, name, window_bytes)
        for count in ranks:
            shares = even_shares(len(made.plan), count)
            found = [read(made, order, shares, workers) for workers in WORKERS]
            one = found[0]
            window, ahead = thrown_away(made, order, shares, random_stops(shares, count))
            again = (window + ahead) / _MB
            a_photo = [each.requests / len(made.plan) for each in found]
            lines.append(
                _row(
                    f"{name}, {window_bytes >> 20} MB" if name == "shuffled" else name,
                    f"{count:,}",
                    f"{one.rows.min():,} to {one.rows.max():,}",
                    f"{one.needed.max() / one.needed.mean():.3f}",
                    *(f"{each:.3f}" for each in a_photo),
                    f"{a_photo[0] * count * RATE:,.0f}",
                    f"{count * RATE * made.total / len(made.plan) / 1e9:,.1f}",
                    f"{one.asked / made.total - 1:.2%}",
                    f"{(one.held + min(IN_FLIGHT_BYTES, int(one.needed.max()))) / _MB:,.0f}",
                    f"{again.mean():.1f}",
                    f"{again.max():.1f}",
                )
            )
    return lines


def elastic_table(made: Corpus, changes: tuple[tuple[int, int], ...]) -> list[str]:
    """One line a change of the number of ranks, each after all ranks have stopped at a row of their own."""
    lines = _head(
        "ranks", "then", "rows left", "rows a rank", "parts a rank, max", "requests a photo", "rows read twice"
    )
    order = epoch_order(made, "storage", WINDOW_BYTES)
    for before, after in changes:
        shares = even_shares(len(made.plan), before)
        stops = random_stops(shares, before)
        left = merged(rest(shares, stops))
        again = [share(left, rank, after) for rank in range(after)]
        found = read(made, order, again, 1)
        times = np.zeros(len(made.plan), dtype=np.int64)
        for mine in [*again, *(cut(s, 0, int(stop)) for s, stop in zip(shares, stops, strict=True))]:
            for start, stop in mine:
                times[start:stop] += 1
        if (times != 1).any():
            raise AssertionError(f"{before} to {after} ranks: {(times != 1).sum()} rows do not come exactly once")
        lines.append(
            _row(
                f"{before:,}",
                f"{after:,}",
                f"{length(left):,}",
                f"{found.rows.min():,} to {found.rows.max():,}",
                f"{max(map(len, again)):,}",
                f"{found.requests / length(left):.3f}",
                f"{(times > 1).sum()}",
            )
        )
    return lines


def datasets_table(made: Corpus, worlds: tuple[int, ...]) -> list[str]:
    """One line a number of ranks: what rank 0 of `load_dataset`'s shards generates, and what a rank of ours reads."""
    lines = _head(
        "ranks", "shards", "rows of rank 0", "rows it generates", "GB it reads", "GB a rank of `stream` reads"
    )
    shards = len(made.plan.shards())
    for world in worlds:
        ((rows, generated),) = by_datasets(len(made.plan), shards, world, 1)
        a_row = made.total / len(made.plan) / 1e9
        cells = (f"{world:,}", f"{shards:,}", f"{rows:,}", f"{generated:,}", f"{generated * a_row:,.2f}")
        lines.append(_row(*cells, f"{len(made.plan) / world * a_row:,.2f}"))
    return lines


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*(["---"] + ["---:"] * (len(cells) - 1)))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.streaming.simulate", description=__doc__)
    parser.add_argument("--images", type=int, default=sum(count for _, count, _ in ZIPS), help="default: all")
    options = parser.parse_args()
    begun = time.perf_counter()
    made = corpus(options.images)
    print(
        f"{options.images:,} photos, {made.total / 1e9:.1f} GB, sizes log-normal with a spread of {SPREAD}; "
        f"{RATE} photos a second a rank; the plan takes {len(pickle.dumps(made.plan)) / _MB:.1f} MB pickled.\n"
    )
    for table in (
        ranks_table(made),
        elastic_table(made, ((64, 96), (96, 64), (256, 1024), (1024, 64))),
        datasets_table(made, (64, 96, 1024)),
    ):
        print("\n".join(table) + "\n")
    for ranks, after in ((64, 96), (1024, 768)):
        cost = state_times(made, ranks, after)
        print(
            f"A state of one of {ranks:,} ranks: {cost['bytes']} bytes of JSON, taken in {cost['take'] * 1e6:.0f} µs; "
            f"all merged: {cost['merged bytes']:,} bytes, in {cost['merge'] * 1e3:.1f} ms; loaded by one of {after} in "
            f"{cost['load'] * 1e3:.1f} ms."
        )
    print(f"{time.perf_counter() - begun:.0f} s in all.")


if __name__ == "__main__":
    main()
