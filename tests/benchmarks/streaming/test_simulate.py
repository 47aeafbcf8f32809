"""The simulation counts what its words say, and many ranks share an epoch as they should: on a small corpus."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from svit_datasets import merge_states
from svit_datasets.order import SPAN, cut, length
from tests.benchmarks.streaming.simulate import (
    IN_FLIGHT_BYTES,
    ORDERS,
    ZIPS,
    by_datasets,
    corpus,
    epoch_order,
    even_shares,
    random_stops,
    read,
    rest,
    state_times,
    stopped,
    stream_of,
    thrown_away,
)

IMAGES = 6_000
RANKS = (1, 7, 64, 96)


@pytest.fixture(scope="module")
def made():
    return corpus(IMAGES)


def rows(intervals):
    return [row for start, stop in intervals for row in range(start, stop)]


def todo(state):
    return [tuple(each) for each in state["todo"]]


def test_the_corpus_weighs_what_visual_genome_s_zips_weigh(made):
    assert sum(count for _, count, _ in ZIPS) == 108_077
    for number, (_, count, held) in enumerate(ZIPS):
        mine = made.place[:, 0] == number
        assert mine.sum() / IMAGES == pytest.approx(count / 108_077, abs=1e-3)
        assert made.size[mine].mean() == pytest.approx(held / count, rel=1e-3)
    for _, start in sorted(zip(*made.place.T.tolist(), strict=True))[:1]:
        assert start == 0
    assert corpus(IMAGES).plan.image_ids.tolist() == made.plan.image_ids.tolist()


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize(("name", "window_bytes"), ORDERS)
def test_ranks_are_even_to_one_row_and_have_every_photo_once(made, name, window_bytes, ranks):
    order = epoch_order(made, name, window_bytes)
    shares = [todo(stream_of(made, name, rank, ranks).state_dict()) for rank in range(ranks)]
    assert shares == even_shares(IMAGES, ranks)
    photos = [photo for mine in shares for photo in order.items[rows(mine)].tolist()]
    assert sorted(photos) == list(range(IMAGES))
    for workers in (1, 3):
        found = read(made, order, shares, workers)
        assert found.rows.sum() == IMAGES
        assert found.rows.max() - found.rows.min() <= 1
        assert found.needed.sum() == made.total
        assert found.asked >= made.total
        assert 1 <= found.requests <= IMAGES
        assert found.held <= workers * (max(SPAN, window_bytes if name == "shuffled" else 0) + SPAN + made.size.max())


def test_in_storage_order_an_edge_costs_one_request_and_no_byte(made):
    order = epoch_order(made, "storage", 1)
    alone = read(made, order, even_shares(IMAGES, 1), 1)
    for ranks, workers in ((64, 1), (96, 4)):
        found = read(made, order, even_shares(IMAGES, ranks), workers)
        assert alone.requests <= found.requests <= alone.requests + ranks * workers
        assert found.asked == made.total


@pytest.mark.parametrize(("name", "window_bytes"), ORDERS)
def test_a_stop_costs_at_most_the_window_in_use_and_what_was_ahead(made, name, window_bytes):
    order = epoch_order(made, name, window_bytes)
    shares = even_shares(IMAGES, 8)
    most = (window_bytes if name == "shuffled" else SPAN) + SPAN + made.size.max()
    for seed in range(20):
        stops = random_stops(shares, seed)
        window, ahead = thrown_away(made, order, shares, stops)
        assert window.max() < most
        assert ahead.max() <= IN_FLIGHT_BYTES
        left = [made.size[order.items[rows(each)]].sum() for each in rest(shares, stops)]
        assert (window + ahead <= left).all()
    for stops in (np.zeros(8, dtype=int), np.array([length(mine) for mine in shares])):
        window, ahead = thrown_away(made, order, shares, stops)
        assert window.max() == 0, "before the first row nothing is in use, nor behind the last"


@pytest.mark.parametrize(("before", "after"), [(64, 96), (96, 7), (7, 64)])
def test_other_ranks_go_on_with_every_row_once(made, before, after):
    """Through the library's own states: all stop, are put together, and others load that."""
    shares = even_shares(IMAGES, before)
    stops = random_stops(shares, before)
    done = [row for mine, stop in zip(shares, stops, strict=True) for row in rows(cut(mine, 0, int(stop)))]
    states = stopped(stream_of(made, "shuffled", 0, before), before, rest(shares, stops))
    whole = json.loads(json.dumps(merge_states(states)))
    again = []
    for rank in range(after):
        stream = stream_of(made, "shuffled", rank, after)
        stream.load_state_dict(whole)
        again.append(rows(todo(stream.state_dict())))
    assert sorted(done + [row for mine in again for row in mine]) == list(range(IMAGES))
    assert max(map(len, again)) - min(map(len, again)) <= 1


def test_a_state_is_small_and_quick(made):
    cost = state_times(made, 64, 96)
    assert cost["bytes"] < 300
    assert cost["merged bytes"] < 300 + 64 * 20
    assert cost["take"] < 0.01
    assert cost["merge"] < 0.5


def test_datasets_reads_everything_on_every_rank_where_shards_do_not_divide():
    """What a row costs there; `stream` reads a rank's own rows whatever their number."""
    even = by_datasets(1_000, 16, 8, 8)
    odd = by_datasets(1_000, 16, 6, 6)
    assert [made for _, made in even] == [handed for handed, _ in even]
    assert sum(handed for handed, _ in even) == sum(handed for handed, _ in odd) == 1_000
    assert min(made for _, made in odd) > 990


def test_the_command_prints_its_tables():
    command = [sys.executable, "-m", "tests.benchmarks.streaming.simulate", "--images", "3000"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3], timeout=120
    )
    tables = [line for line in done.stdout.splitlines() if line.startswith("| ---")]
    assert len(tables) == 3
    assert len({line.count("|") for line in done.stdout.splitlines() if line.startswith("| shuffled, 32 MB")}) == 1
    assert done.stdout.count("| storage | ") == 5
