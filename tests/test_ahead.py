"""Reading on from shard to shard: whatever the order they are asked for in, each shard gives its own rows."""

from __future__ import annotations

import gc
import os
import random
import time
from pathlib import Path

import pytest

from svit_datasets.ahead import shard_windows
from svit_datasets.sample import write_sample
from svit_datasets.svit import Svit


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    root = tmp_path_factory.mktemp("ahead")
    write_sample(root / "sample", images=40)
    return Svit(config_name="conversation", data_dir=str(root / "sample"), cache_dir=root / "cache", holdout=None)


def ids(builder, plan, number):
    windows = shard_windows(plan, number, "error", builder._storage, builder.tally)
    return [int(image_id) for window in windows for image_id in window.plan.image_ids]


def expected(plan, number):
    start, stop = plan.shards()[number]
    return plan.image_ids[start:stop].tolist()


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_shards(builder, seed):
    """In step, with a changing step, backwards, shuffled, repeated: a shard's rows are its own."""
    plan = builder.plan()
    count = len(plan.shards())
    chance = random.Random(seed)
    orders = [
        range(count),
        range(0, count, 2),
        range(1, count, 2),
        range(count - 1, -1, -1),
        chance.sample(range(count), count),
        chance.choices(range(count), k=20),
    ]
    chance.shuffle(orders)
    for order in orders:
        for number in order:
            assert ids(builder, plan, number) == expected(plan, number)


def test_two_readers_at_once(builder):
    """Neither takes what was begun for the other in a wrong place."""
    plan = builder.plan()
    readers = [
        (number for number in range(len(plan.shards()))),
        (number for number in range(0, len(plan.shards()), 3)),
    ]
    while readers:
        for reader in list(readers):
            number = next(reader, None)
            if number is None:
                readers.remove(reader)
            else:
                assert ids(builder, plan, number) == expected(plan, number)


def test_the_next_shard_is_under_way_before_it_is_asked_for(builder, http_server, tmp_path):
    """Reading in step asks the server for each photo once, and for the next shard's before that shard begins."""
    root = Path(builder.config.data_dir)
    for name in ("data/conversation.zip", "raw/images.zip", "raw/images2.zip"):
        http_server.put(name, (root / name).read_bytes())
    remote = Svit(config_name="conversation", data_dir=http_server.url.rstrip("/"), cache_dir=tmp_path, holdout=None)
    plan = remote.plan()

    def asked():
        return [served.range for served in http_server.log.requests if "images" in served.path and served.status == 206]

    known = len(asked())
    windows = shard_windows(plan, 0, "error", remote._storage, remote.tally)
    next(windows)
    deadline = time.monotonic() + 10
    while len(asked()) - known <= len(expected(plan, 0)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(asked()) - known > len(expected(plan, 0))
    assert list(windows) == []
    for number in range(1, len(plan.shards())):
        assert ids(remote, plan, number) == expected(plan, number)
    photos = asked()[known:]
    assert len(photos) == len(set(photos))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed in /proc, which is Linux's")
def test_what_was_begun_ends_with_the_dataset(builder):
    """Files that are read ahead are closed with the plan that they were opened for."""
    root = str(Path(builder.config.data_dir).resolve())

    def opened():
        links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        return [path for path in links if path.startswith(root)]

    gc.collect()
    assert not opened()
    plan = builder.plan()
    for number in range(3):
        ids(builder, plan, number)
    assert opened()
    del plan
    gc.collect()
    assert not opened()
