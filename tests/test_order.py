"""The order of an epoch and its division: what any size, seed and number of readers leave true."""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.strategies  # noqa: F401 - sets the profile: no deadline, no database
from svit_datasets.order import SPAN, cut, length, merged, sequence, share

ORDERS = ["record", "storage", "shuffled"]
ARGUMENTS = {"seed": 0, "epoch": 0, "window_bytes": 32 << 20}


@st.composite
def corpora(draw):
    """(place, size): photos in a few sources, of any size from nothing to more than a span, any at the same byte."""
    count = draw(st.integers(0, 60))
    big = st.sampled_from([1, 80_000, SPAN - 1, SPAN, SPAN + 1, 3 * SPAN])
    size = draw(st.lists(big | st.integers(1, 1 << 21), min_size=count, max_size=count))
    at = st.tuples(st.integers(-1, 3), st.integers(0, 50))  # source -1: a photo that is nowhere
    place = draw(st.lists(at, min_size=count, max_size=count))
    return np.array(place, dtype=np.int64).reshape(-1, 2), np.array(size, dtype=np.int64)


@cache
def zips(count=20_000):
    """Photos of about 85 KB in two zips, listed in an order of their own as the JSON does."""
    numbers = np.random.default_rng(7)
    size = numbers.gamma(6, 85_000 / 6, count).astype(np.int64) + 2_000
    start = np.cumsum(size) - size
    source = (np.arange(count) >= count * 0.6).astype(np.int64)
    start -= source * start[int(count * 0.6)]
    listed = numbers.permutation(count)
    return np.stack([source, start], axis=1)[listed], size[listed]


# The sequence --------------------------------------------------------------------------------------------------------


@given(corpora(), st.sampled_from(ORDERS), st.integers(0, 2**40), st.integers(0, 9), st.integers(1, 1 << 26))
def test_each_order_has_each_photo_once_and_windows_cover_all(corpus, order, seed, epoch, window_bytes):
    place, size = corpus
    found = sequence(order, place, size, seed=seed, epoch=epoch, window_bytes=window_bytes)
    assert sorted(found.items.tolist()) == list(range(len(size)))
    edges = found.edges.tolist()
    assert (edges[0], edges[-1]) == (0, len(size))
    assert all(low < high for low, high in pairwise(edges)), "an empty window"
    assert found.items.dtype == found.edges.dtype == np.int64


@given(corpora())
def test_record_is_the_files_order_and_storage_that_of_the_bytes(corpus):
    place, size = corpus
    assert sequence("record", place, size, **ARGUMENTS).items.tolist() == list(range(len(size)))
    stored = sequence("storage", place, size, **ARGUMENTS).items
    assert [tuple(each) for each in place[stored]] == sorted(tuple(each) for each in place)


@pytest.mark.parametrize("order", ["record", "storage"])
def test_a_window_in_a_files_own_order_is_a_span(order):
    """About 4 MB, and never more than a photo above it."""
    place, size = zips()
    found = sequence(order, place, size, **ARGUMENTS)
    held = np.add.reduceat(size[found.items], found.edges[:-1])
    assert held.max() < SPAN + size.max()
    assert held[:-1].min() > SPAN - size.max()


@given(corpora(), st.integers(0, 2**40), st.integers(0, 9), st.integers(1, 1 << 26))
def test_shuffled_windows_are_whole_spans_of_bounded_bytes(corpus, seed, epoch, window_bytes):
    place, size = corpus
    found = sequence("shuffled", place, size, seed=seed, epoch=epoch, window_bytes=window_bytes)
    straight = sequence("storage", place, size, **ARGUMENTS)
    span_of = np.empty(len(size), dtype=np.int64)
    for number, (low, high) in enumerate(pairwise(straight.edges.tolist())):
        span_of[straight.items[low:high]] = number
    windows = [found.items[low:high] for low, high in pairwise(found.edges.tolist())]
    spans = [set(span_of[window].tolist()) for window in windows]
    assert sum(map(len, spans)) == len(straight.edges) - 1, "a span was parted by a window's edge"
    for window in windows:
        assert size[window].sum() < window_bytes + SPAN + size.max()


@given(st.integers(0, 2**40), st.integers(0, 1000))
def test_shuffled_is_the_same_for_the_same_arguments_and_another_for_others(seed, epoch):
    place, size = zips(400)
    one = sequence("shuffled", place, size, seed=seed, epoch=epoch, window_bytes=8 << 20)
    same = sequence("shuffled", place, size, seed=seed, epoch=epoch, window_bytes=8 << 20)
    assert one.items.tolist() == same.items.tolist()
    assert one.edges.tolist() == same.edges.tolist()
    for other in ({"seed": seed + 1, "epoch": epoch}, {"seed": seed, "epoch": epoch + 1}):
        assert one.items.tolist() != sequence("shuffled", place, size, **other, window_bytes=8 << 20).items.tolist()


def test_only_the_arguments_of_shuffled_matter_to_it():
    """The other orders are one for all seeds and epochs, so a rank with a wrong seed reads nothing twice."""
    place, size = zips(400)
    for order in ("record", "storage"):
        found = [sequence(order, place, size, seed=seed, epoch=seed, window_bytes=1 + seed) for seed in (0, 5)]
        assert found[0].items.tolist() == found[1].items.tolist()
        assert found[0].edges.tolist() == found[1].edges.tolist()


def test_the_order_of_a_seed_stays_the_same_over_versions():
    """States saved by one machine are read by another: a numpy that orders otherwise must be noticed here."""
    count = 3_000
    size = 20_000 + (np.arange(count) * 7919) % 160_000
    place = np.stack([np.arange(count) % 2, np.cumsum(size)], axis=1)
    found = sequence("shuffled", place, size, seed=20, epoch=3, window_bytes=32 << 20)
    text = ",".join(map(str, [*found.items.tolist(), *found.edges.tolist()]))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "519527dc8eee3e30c954b7f17a7b0e43bcf48cc7b725e3e2975b07486f769a22"
    )


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_in_storage_come_out_a_third_of_a_window_apart(seed):
    """Those of one span; a span's edge parts one pair in about fifty, by any distance."""
    place, size = zips()
    window_bytes = 32 << 20
    found = sequence("shuffled", place, size, seed=seed, epoch=0, window_bytes=window_bytes)
    straight = sequence("storage", place, size, **ARGUMENTS)
    comes = np.empty(len(size), dtype=np.int64)
    comes[found.items] = np.arange(len(size))
    apart = np.abs(np.diff(comes[straight.items]))
    parted = np.zeros(len(apart), dtype=bool)
    parted[straight.edges[1:-1] - 1] = True
    window = window_bytes / size.mean()
    assert apart[~parted].mean() == pytest.approx(window / 3, rel=0.05)
    assert np.median(apart) == pytest.approx(window * (1 - 0.5**0.5), rel=0.08)  # of all pairs
    assert apart[~parted].max() < window * 1.3
    assert parted.mean() < 0.025
    assert apart[parted].mean() == pytest.approx(len(size) / 3, rel=0.15)  # over the whole corpus


def test_a_window_is_filled_from_the_whole_corpus():
    """Window bytes / 4 MB places, drawn over all of it."""
    place, size = zips()
    found = sequence("shuffled", place, size, **ARGUMENTS)
    rank = np.empty(len(size), dtype=np.int64)
    rank[sequence("storage", place, size, **ARGUMENTS).items] = np.arange(len(size))
    for low, high in list(pairwise(found.edges.tolist()))[:-1]:
        places = np.sort(rank[found.items[low:high]])
        assert 5 <= (np.diff(places) > 1).sum() + 1 <= 9  # 8 spans; side by side they look like one
        assert places[-1] - places[0] > len(size) / 4


# Its division --------------------------------------------------------------------------------------------------------


@st.composite
def intervals(draw):
    """Ascending, disjoint, none empty, as an epoch's rest is."""
    edges = draw(st.lists(st.integers(0, 300), unique=True, max_size=14).map(sorted))
    pairs = [(edges[at], edges[at + 1]) for at in range(0, len(edges) - 1, 2)]
    return merged([pairs])


def rows(parts):
    return [row for start, stop in parts for row in range(start, stop)]


def is_plain(parts):
    return all(start < stop for start, stop in parts) and all(one[1] <= two[0] for one, two in pairwise(parts))


@given(intervals(), st.integers(1, 40))
def test_shares_divide_what_there_is_evenly(whole, world_size):
    shares = [share(whole, rank, world_size) for rank in range(world_size)]
    assert [row for part in shares for row in rows(part)] == rows(whole)
    assert all(map(is_plain, shares))
    assert max(map(length, shares)) - min(map(length, shares)) <= 1
    assert merged(shares[::-1]) == whole


@given(intervals(), st.integers(0, 320), st.integers(0, 320))
def test_cut_counts_along_the_intervals(whole, first, last):
    part = cut(whole, first, last)
    assert rows(part) == rows(whole)[first:last]
    assert is_plain(part)
    assert length(part) == len(rows(part))


@given(intervals(), st.lists(st.integers(1, 7), min_size=1, max_size=4), st.data())
def test_dividing_anew_again_and_again_loses_nothing(whole, worlds, data):
    """Each reader takes some of its part, the rest is put together and divided among another number."""
    left, taken = whole, []
    for world_size in worlds:
        rests = []
        for part in (share(left, rank, world_size) for rank in range(world_size)):
            read = data.draw(st.integers(0, length(part)))
            taken += rows(cut(part, 0, read))
            rests.append(cut(part, read, length(part)))
        left = merged(data.draw(st.permutations(rests)))
        assert is_plain(left)
    assert sorted(taken + rows(left)) == rows(whole)


@given(intervals().filter(bool), st.data())
def test_parts_that_overlap_are_refused(whole, data):
    total = length(whole)
    at = data.draw(st.integers(0, total - 1))
    more = cut(whole, at, data.draw(st.integers(at + 1, total)))
    with pytest.raises(ValueError, match=r"rows \d+ to \d+ are owned twice") as caught:
        merged([more, whole])
    low, high = (int(word) for word in str(caught.value).split() if word.isdecimal())
    assert set(range(low, high)) <= set(rows(more))
    assert low < high


def test_nothing_divides_into_nothing():
    assert merged([]) == merged([[], []]) == share([], 2, 3) == cut([], 0, 9) == []
    assert length([]) == 0
