"""What lies between `stream()` and the first row: requests, counted at the server, and modules."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest
from svit_builder.manifest import write_manifest
from svit_builder.shards import write_config

from svit_datasets import stream
from svit_datasets.errors import SourceChanged, SourceNotFound
from svit_datasets.images import Locator
from svit_datasets.located import ImageSource
from svit_datasets.sample import write_sample
from svit_datasets.storage import Storage
from tests.servers import Fault, FileServer

ZIPS = ("/raw/images.zip", "/raw/images2.zip")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folder by kind: raw files, published Parquet, and the same Parquet as another writer makes it."""
    root = tmp_path_factory.mktemp("start")
    write_sample(root / "raw", images=6)
    for name in ("complex_reasoning", "core_150k"):
        for path in write_config(name, root / "svit", data_dir=root / "raw", cache_dir=root / "made", holdout=None):
            other = root / "other" / path.relative_to(root / "svit")
            other.parent.mkdir(parents=True)
            pq.write_table(pq.read_table(path).replace_schema_metadata(), other, row_group_size=4)
    write_manifest(root / "svit")
    return root


def first(name, url, cache, **options):
    return next(iter(stream(name, data_dir=url, cache_dir=cache, decode=None, **options)))


@pytest.mark.parametrize(
    ("kind", "options", "requests"),
    [
        # manifest.json, each text, two zips, the held-out list; when cold each text's content and each zip's end; two
        # spans of photos
        ("raw", {"name": "complex_reasoning"}, (10, 7)),
        ("raw", {"name": "complex_reasoning", "holdout": None}, (9, 6)),
        ("raw", {"name": "all"}, (16, 10)),
        # manifest.json and the file; when cold its footer; one span
        ("svit", {"name": "complex_reasoning"}, (4, 3)),
    ],
)
def test_requests_before_the_first_row(places, tmp_path, kind, options, requests):
    with FileServer(places / kind) as server:
        for most in requests:  # cold, then warm
            server.log.reset()
            first(url=server.url, cache=tmp_path, **options)
            assert len(server.log.requests) <= most
            assert max(Counter(server.log.requests).values()) == 1, "something was asked twice"


def test_no_file_is_looked_at_twice(places, tmp_path):
    with FileServer(places / "raw") as server:
        first("all", server.url, tmp_path)
        looked_at = Counter(line.path for line in server.log.requests if line.range == "bytes=0-0")
    assert set(looked_at.values()) == {1}
    assert set(ZIPS) < set(looked_at)


@pytest.mark.parametrize("step", ["found", "listed"])
def test_the_two_zips_are_asked_together(places, tmp_path, step):
    """An answer about the first is held back: the second is asked all the same."""
    with FileServer(places / "raw") as server:
        at = {"found": 0, "listed": 1}[step]
        server.faults.add(Fault("stall", match=r"/images\.zip", after=at, keep=0, seconds=0.5))
        first("complex_reasoning", server.url, tmp_path)
        zips = [line.path for line in server.log.requests if line.path in ZIPS]
    held_back = [at for at, path in enumerate(zips) if path == ZIPS[0]][at + 1]  # when it is asked again
    assert Counter(zips[:held_back])[ZIPS[1]] > at


class TestTheOrigin:
    def sources(self, server, *, here=()):
        origin = [ImageSource("zip", (f"{server.url}{path}",), origin=True) for path in ZIPS]
        return (*(ImageSource("zip", (f"{server.url}{path}",)) for path in here), *origin)

    def test_it_is_not_asked_ahead_of_what_is_the_users(self, places, tmp_path):
        """Its files are another's: nothing is asked there that may not be needed."""
        with FileServer(places / "raw") as server:
            locator = Locator(self.sources(server, here=["/raw/nothing.zip"]), Storage(), tmp_path, None)
            locator.begin()
            with pytest.raises(SourceNotFound, match=r"nothing\.zip"):
                locator.by_path(["1.jpg"])
            assert {line.path for line in server.log.requests} == {"/raw/nothing.zip"}

    def test_both_its_zips_are_listed_while_the_caller_does_something_else(self, places, tmp_path):
        with FileServer(places / "raw") as server:
            locator = Locator(self.sources(server), Storage(), tmp_path, None)
            locator.begin()
            located = locator.by_path([None, "1.jpg"])
            assert located.source[0] == -1
            assert Counter(line.path for line in server.log.requests) == dict.fromkeys(ZIPS, 2)


def test_a_new_stream_reads_a_changed_zip_and_an_old_one_refuses_it(places, tmp_path):
    root = places / "raw"
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with FileServer(files) as server:
        opened = stream("complex_reasoning", data_dir=server.url, cache_dir=tmp_path, decode=None, holdout=None)
        rows = list(opened)
        for path in ZIPS:
            server.put(path, files[path[1:]] + b"\0")  # another file with the same directory but for its end
        with pytest.raises(SourceChanged):
            list(opened)
        for path in ZIPS:
            server.put(path, b"junk" + files[path[1:]])  # every photo begins four bytes later
        again = stream("complex_reasoning", data_dir=server.url, cache_dir=tmp_path, decode=None, holdout=None)
        assert list(again) == rows


READ = """
import sys
from svit_datasets import stream
for name in ("complex_reasoning", "core_150k"):
    for rows in ("image", "conversation"):
        next(iter(stream(name, data_dir=sys.argv[1], cache_dir=sys.argv[2], decode="numpy", rows=rows, holdout=None)))
print(sorted({"pandas", "datasets", "huggingface_hub", "aiohttp", "torch", "requests"} & set(sys.modules)))
"""


@pytest.mark.parametrize("kind", ["raw", "svit", "other"])
def test_a_local_read_imports_neither_pandas_nor_datasets_nor_what_the_network_needs(places, tmp_path, kind):
    """Neither while the cache is filled nor after; each of these costs every worker tens of MB and 0.1 s or more."""
    for _ in range(2):
        command = [sys.executable, "-c", READ, str(places / kind), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert done.stdout.strip() == "[]"
