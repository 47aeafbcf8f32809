"""The direct reader in torch's own loaders: workers divide the rows, a killed one is told of, a state goes on.

The library imports no torch; these tests need torch==2.13.0, and torchdata for the loader that keeps its state.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from itertools import islice

import numpy as np
import pytest

from svit_datasets import merge_states, mix, stream
from svit_datasets.errors import OptionError
from svit_datasets.sample import write_sample

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(find_spec("torch") is None, reason="torch==2.13.0 is not installed"),
    # a fork beside threads is what these tests look at: fsspec and the decoders have some
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # 3 workers on 2 cores are meant
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),  # torchdata calls what torch gave up
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("torch") / "sample"
    write_sample(root, images=12)
    return root


@pytest.fixture(scope="module")
def make(corpus):
    def call(name="all", **options):
        usual = {"data_dir": corpus, "cache_dir": corpus.parent / "cache", "holdout": None, "decode": None}
        return stream(name, **(usual | {"rows": "conversation", "order": "shuffled"} | options))

    return call


def loader(dataset, **options):
    from torch.utils.data import DataLoader

    return DataLoader(dataset, **({"batch_size": None} | options))


def ids(rows):
    return [row["id"] for row in rows]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_workers_divide_the_rows(make, workers, method):
    """Without overlap or loss, and again in the next epoch of the same workers."""
    if workers == 0 and method == "spawn":
        pytest.skip("nothing is started")
    reader = make()
    expected = sorted(ids(reader))
    options = {"multiprocessing_context": method, "persistent_workers": True} if workers else {}
    rows = loader(reader, num_workers=workers, **options)
    assert len(rows) == len(expected)
    for _ in range(2):
        assert sorted(ids(rows)) == expected


def test_workers_of_ranks_divide_the_ranks_rows(make):
    found = []
    for rank in range(2):
        share = make(rank=rank, world_size=2, tail="pad")
        mine = list(loader(share, num_workers=2))
        assert len(mine) == len(share)
        found += [row["id"] for row in mine if not row["repeated"]]
    assert sorted(found) == sorted(ids(make()))


def test_more_workers_than_rows(make):
    reader = make(image_ids=[1, 2], rows="image", order="record")
    assert [row["image_id"] for row in loader(reader, num_workers=3)] == [row["image_id"] for row in reader]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mix_is_divided_too(corpus, workers):
    reader = mix(
        {"conversation": 0.4, "complex_reasoning": 0.6},
        data_dir=corpus,
        cache_dir=corpus.parent / "cache",
        holdout=None,
        decode=None,
    )
    expected = sorted((row["config"], row["image_id"]) for row in reader)
    rows = loader(reader, num_workers=workers)
    assert sorted((row["config"], row["image_id"]) for row in rows) == expected
    assert len(expected) == len(rows) == len(reader)


def test_a_stream_made_before_torch_is_imported_is_iterated(corpus):
    script = (
        "import sys; from svit_datasets import stream;"
        "reader = stream('all', data_dir=sys.argv[1], cache_dir=sys.argv[2], decode=None);"
        "assert 'torch' not in sys.modules;"
        "from torch.utils.data import DataLoader, IterableDataset; assert isinstance(reader, IterableDataset);"
        "print(len(list(DataLoader(reader, batch_size=None, num_workers=1))) == len(reader), type(reader).__name__)"
    )
    command = [sys.executable, "-c", script, str(corpus), str(corpus.parent / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "True Stream\n", done.stderr


@pytest.mark.parametrize("decoder", ["simplejpeg", "pillow"])
def test_pixels_become_tensors_of_batches(make, decoder):
    """Whatever decoded them; torch would warn of an array that is read-only."""
    import torch

    pytest.importorskip("simplejpeg")
    reader = make("complex_reasoning", rows="image", decode="numpy", decoder=decoder)
    first = next(iter(reader))["image"]
    tensor = torch.as_tensor(first)
    assert tensor.dtype == torch.uint8
    rows = loader(reader, batch_size=4, num_workers=2, collate_fn=lambda some: [row["image"].sum() for row in some])
    sums = sorted(int(total) for batch in rows for total in batch)
    assert sums == sorted(int(np.sum(row["image"])) for row in reader)


class Killer:
    """A decoder that kills its process at one photo, as the kernel does when memory ends."""

    def __init__(self, photo):
        self.photo = photo

    def __call__(self, data):
        if data == self.photo:
            os.kill(os.getpid(), signal.SIGKILL)
        return data


def test_a_killed_worker_is_told_of_and_another_run_goes_on(make):
    """Within the loader's time-out; the rows that came are those of the saved states."""
    reader = make("complex_reasoning", rows="image")
    whole = [(row["image_id"], row["image"]) for row in reader]
    rows = loader(make("complex_reasoning", rows="image", decode=Killer(whole[-2][1])), num_workers=2, timeout=30)
    seen = []
    with pytest.raises(RuntimeError, match=r"DataLoader worker .*(killed by signal: Killed|exited unexpectedly)"):
        seen.extend(row["image_id"] for row in rows)
    assert len(set(seen)) == len(seen) < len(whole)
    again = make("complex_reasoning", rows="image")
    iterator = iter(again)
    head = [row["image_id"] for row in islice(iterator, 3)]
    state = again.state_dict()
    other = make("complex_reasoning", rows="image")
    other.load_state_dict(state)
    rest = [row["image_id"] for row in loader(other, num_workers=2)]
    assert sorted(head + rest) == sorted(image_id for image_id, _ in whole)


def with_state(dataset, **options):
    pytest.importorskip("torchdata")
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(dataset, **({"batch_size": None} | options))


@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("stop", [0, 1, 40, 10_000])
def test_a_loader_that_keeps_its_state_goes_on_exactly(make, workers, stop):
    expected = sorted(ids(make()))
    rows = with_state(make(), num_workers=workers)
    iterator = iter(rows)
    head = ids(islice(iterator, stop))
    state = rows.state_dict()
    del iterator
    other = with_state(make(), num_workers=workers)
    other.load_state_dict(state)
    if stop < len(expected):
        assert sorted(head + ids(other)) == expected
    assert sorted(ids(other)) == expected, "the next epoch is whole; after an epoch's end it is the next one"


def test_states_of_workers_merge_for_any_number_of_ranks(make):
    """As each worker saves its own: what is left is divided anew."""
    from torch.utils.data import get_worker_info

    reader = make()
    whole = ids(reader)
    rows = loader(StatesOnly(reader, 5), num_workers=3)
    head, states = [], []
    for kind, value in rows:
        (head if kind == "row" else states).append(value)
    assert get_worker_info() is None
    other = make()
    other.load_state_dict(next(json.loads(state) for state in states if json.loads(state)["worker"][0] == 1))
    with pytest.raises(OptionError, match=r"This state is of worker 1 of 3, but this is worker 0 of 1"):
        next(iter(other))
    merged = merge_states([json.loads(state) for state in states])
    for rank in range(4):
        other = make(rank=rank, world_size=4)
        other.load_state_dict(merged)
        head += ids(other)
    assert sorted(head) == sorted(whole)


class StatesOnly:
    """A data set that reads a few rows of a stream and then gives its state."""

    def __init__(self, reader, count):
        from torch.utils.data import IterableDataset

        IterableDataset.register(type(self))
        self.reader, self.count = reader, count

    def __iter__(self):
        for row in islice(iter(self.reader), self.count):
            yield "row", row["id"]
        yield "state", json.dumps(self.reader.state_dict())
