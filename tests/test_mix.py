"""Several configurations as one: proportions, exactly once, resume, and other numbers of ranks."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svit_datasets.errors import OptionError
from svit_datasets.mixing import merge_states, mix
from svit_datasets.sample import write_sample

WEIGHTS = {"conversation": 0.4, "complex_reasoning": 0.6}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    root = tmp_path_factory.mktemp("mix")
    write_sample(root / "sample", images=12)

    def call(weights=WEIGHTS, **options):
        defaults = {"data_dir": root / "sample", "cache_dir": root / "cache", "rows": "conversation", "decode": None}
        return mix(weights, **(defaults | options))

    return call


def ids(rows):
    return [row["id"] for row in rows]


def test_every_row_of_every_configuration_comes_once(make):
    rows = list(make())
    alone = [ids(make({name: 1})) for name in WEIGHTS]
    assert sorted(ids(rows)) == sorted(alone[0] + alone[1])
    assert len(rows) == len(make())
    assert [row["config"] for row in rows] == [row["id"].split("/")[1] for row in rows]


def test_proportions_hold_at_every_row(make):
    """To within one row a stream, for as long as both last."""
    rows = [row["config"] for row in make(until="first")]
    given_ = Counter()
    for number, name in enumerate(rows, start=1):
        given_[name] += 1
        for each, weight in WEIGHTS.items():
            assert abs(given_[each] - weight * number) <= 1


def test_until_first_ends_with_the_first_that_ends(make):
    rows = Counter(row["config"] for row in make({"conversation": 1, "complex_reasoning": 1}, until="first"))
    lengths = {name: len(make({name: 1})) for name in WEIGHTS}
    assert min(rows.values()) == min(lengths.values())
    assert max(rows.values()) - min(rows.values()) <= 1


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, 60), max_size=3), order=st.sampled_from(["record", "storage", "shuffled"]))
def test_resuming_gives_the_same_rows_as_not_stopping(make, stops, order):
    """Also after one of three streams has ended, when the other two share what comes."""
    make = partial(make, {"detail_description": 2, "conversation": 1, "referring_qa": 3})
    whole = ids(make(order=order, seed=3))
    found, state = [], None
    for stop in [*stops, None]:
        part = make(order=order, seed=3)
        if state is not None:
            part.load_state_dict(state)
        found += ids(islice(part, stop))
        state = part.state_dict()
    assert found == whole


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, 40), min_size=1, max_size=4), world=st.integers(1, 4))
def test_another_number_of_ranks_reads_the_rest(make, stops, world):
    whole = sorted(ids(make()))
    found, states = [], []
    for rank, stop in enumerate(stops):
        part = make(rank=rank, world_size=len(stops))
        found += ids(islice(part, stop))
        states.append(part.state_dict())
    state = merge_states(states)
    for rank in range(world):
        part = make().shard(rank, world)
        part.load_state_dict(state)
        found += ids(part)
    assert sorted(found) == whole


def test_set_epoch_begins_anew(make):
    part = make(order="shuffled")
    first = ids(part)
    part.set_epoch(1)
    second = ids(part)
    assert first != second
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize("weights", [{}, {"conversation": 0}, {"conversation": -1}, {"conversation": float("nan")}])
def test_weights_that_are_none(make, weights):
    with pytest.raises(OptionError, match="positive weights only"):
        make(weights)


def test_refusals(make):
    with pytest.raises(OptionError, match="'first', 'last'"):
        make(until="never")
    with pytest.raises(OptionError, match="this mix of"):
        make().load_state_dict(make({"conversation": 1}).state_dict())
    with pytest.raises(OptionError, match="not of one mix"):
        merge_states([make().state_dict(), make({"conversation": 1}).state_dict()])


def test_the_epoch_after_a_resumed_one_is_whole(make):
    """Also where one of the streams had ended before the state was taken."""
    weights = {"detail_description": 9, "conversation": 1}
    part = make(weights)
    rows = iter(part)
    while not part.state_dict()["ended"]:
        next(rows)
    again = make(weights)
    again.load_state_dict(part.state_dict())
    rest = ids(again)
    assert len(rest) < len(again)
    assert sorted(ids(again)) == sorted(ids(make(weights)))
