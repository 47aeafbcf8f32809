"""The same build on Ray: workers and whole nodes are killed, and every byte is that of the local build."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from svit_builder.build import build
from svit_builder.build.executors import run

from svit_datasets.errors import BuildError
from svit_datasets.sample import write_sample
from tests.building import FEW, SPLIT_UP, Slow, content, shards, wait_for
from tests.work import Item, attempts, do, refuse

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("ray")
    write_sample(root / "src", images=48)
    return root / "src"


@pytest.fixture(scope="module")
def expected(corpus):
    """Every file, as one process of this machine makes it."""
    root = corpus.parent / "expected" / "svit"
    build(root, data_dir=corpus, cache_dir=corpus.parent / "cache", num_workers=0, configs=FEW, **SPLIT_UP)
    return content(root)


@pytest.fixture(scope="module")
def cluster():
    """A head that does no work, and a node with two processors: two raylets on loopback."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    started.add_node(num_cpus=2)
    yield started
    started.shutdown()


def test_ray_makes_the_same_bytes_and_ends_what_it_started(corpus, expected, tmp_path):
    build(
        tmp_path / "svit",
        data_dir=corpus,
        cache_dir=tmp_path / "cache",
        configs=FEW,
        executor="ray",
        num_workers=2,
        **SPLIT_UP,
    )
    assert content(tmp_path / "svit") == expected
    assert not ray.is_initialized()


def test_items_are_done_on_a_cluster_that_is_running(cluster, tmp_path):
    items = [Item(tmp_path, f"i{number}", kills=2 if number == 0 else 0) for number in range(5)]
    found = dict(run(do, items, executor="ray", address=cluster.address))
    assert {index: name for index, (name, _) in found.items()} == {index: f"I{index}" for index in range(5)}
    assert len(attempts(tmp_path, "i0")) == 3
    assert os.getpid() not in {pid for _, pid in found.values()}


def test_an_item_that_kills_every_worker_is_named(cluster, tmp_path):
    with pytest.raises(BuildError, match="item x: the process that worked on it died 2 times"):
        list(run(do, [Item(tmp_path, "x", kills=99)], executor="ray", address=cluster.address, retries=2))
    assert len(attempts(tmp_path, "x")) == 2


def test_what_a_function_raises_is_raised_as_it_is(cluster, tmp_path):
    with pytest.raises(ValueError, match="item x is refused") as caught:
        list(run(refuse, [Item(tmp_path, "x")], executor="ray", address=cluster.address))
    assert type(caught.value) is ValueError


def test_a_cluster_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BuildError, match=r"Ray at 127.0.0.1:1 cannot be reached"):
        list(run(do, [Item(tmp_path, "x")], executor="ray", address="127.0.0.1:1"))


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(cluster, corpus, expected, tmp_path):
    with Slow(corpus, tmp_path / "svit", "--executor", "ray", "--address", cluster.address) as slow:
        os.kill(wait_for(slow.writers)[0], signal.SIGKILL)
        said, errors = slow.process.communicate(timeout=100)
    assert slow.process.returncode == 0, errors
    assert "6 made now" in said
    assert shards(content(tmp_path / "svit")) == shards(expected)


def test_a_node_that_is_killed_in_the_middle_loses_nothing(cluster, corpus, expected, tmp_path):
    """Two nodes work; the raylet of one is killed while its worker has a file half written."""
    second = cluster.add_node(num_cpus=2)
    root = tmp_path / "svit"
    (raylet,) = second.all_processes["raylet"]
    with Slow(corpus, root, "--executor", "ray", "--address", cluster.address) as slow:
        wait_for(lambda: set(slow.writers()) & children(raylet.process.pid))
        os.kill(raylet.process.pid, signal.SIGKILL)
        said, errors = slow.process.communicate(timeout=100)
    assert slow.process.returncode == 0, errors
    assert "6 made now" in said
    assert content(root).keys() == expected.keys()
    assert shards(content(root)) == shards(expected)


def children(pid):
    return {
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    }


def test_a_driver_that_is_killed_is_gone_on_with(cluster, corpus, expected, tmp_path):
    """By another executor, too: a finished file is a finished file."""
    root = tmp_path / "svit"
    with Slow(corpus, root, "--executor", "ray", "--address", cluster.address, "--num-workers", 1) as slow:
        wait_for(lambda: list(root.rglob("*.parquet.json")))
        slow.process.kill()
        slow.process.wait(20)
        wait_for(lambda: not slow.writers())
    finished = len(list(root.rglob("*.parquet.json")))
    report = build(root, data_dir=corpus, cache_dir=tmp_path / "cache", num_workers=0, configs=FEW, **SPLIT_UP)
    assert (len(report.kept), len(report.made)) == (finished, 6 - finished)
    assert content(root) == expected
