"""``Storage`` against real places, and against an HTTP server that fails in every way we know."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

import fsspec
import pytest

from svit_datasets.errors import (
    AccessDenied,
    RangeNotSupported,
    SourceChanged,
    SourceNotFound,
    SourceUnreachable,
    SvitError,
)
from svit_datasets.storage import ByteRange, Storage
from tests.servers import Fault, FileServer, Hub
from tests.storage_contract import DATA, OTHER, SIZE, StorageContract

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import S3Server


@dataclass
class LocalShelf:
    root: Path
    storage: Storage = field(default_factory=Storage)

    def url(self, name):
        return str(self.root / name)

    def put(self, name, data):
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return str(file)


@dataclass
class MemoryShelf:
    root: str
    storage: Storage = field(default_factory=Storage)

    def url(self, name):
        return f"memory://{self.root}/{name}"

    def put(self, name, data):
        fsspec.filesystem("memory").pipe_file(f"/{self.root}/{name}", data)
        return self.url(name)


@dataclass
class HttpShelf:
    server: FileServer
    storage: Storage = field(default_factory=lambda: Storage(backoff=0.01))

    def url(self, name):
        return f"{self.server.url}/{quote(name)}"

    def put(self, name, data):
        self.server.put(name, data)
        return self.url(name)


@dataclass
class S3Shelf:
    server: S3Server
    bucket: str
    storage: Storage

    def url(self, name):
        return f"s3://{self.bucket}/{name}"

    def put(self, name, data):
        self.server.upload(self.bucket, {name: data})
        return self.url(name)


@dataclass
class HubShelf:
    hub: Hub
    storage: Storage
    files: dict[str, bytes] = field(default_factory=dict)

    def url(self, name):
        return f"hf://datasets/BAAI/SVIT/{name}"

    def put(self, name, data):
        self.files[name] = data
        self.hub.add_dataset("BAAI/SVIT", self.files)
        return self.url(name)


class TestLocal(StorageContract):
    @pytest.fixture
    def shelf(self, tmp_path):
        return LocalShelf(tmp_path)

    def test_file_urls(self, shelf, url):
        assert shelf.storage.read(f"file://{url}", 1, 3) == DATA[1:3]


class TestMemory(StorageContract):
    @pytest.fixture
    def shelf(self):
        root = uuid4().hex
        yield MemoryShelf(root)
        if fsspec.filesystem("memory").exists(f"/{root}"):
            fsspec.filesystem("memory").rm(f"/{root}", recursive=True)


class TestHttp(StorageContract):
    lists = False

    @pytest.fixture
    def shelf(self, http_server):
        return HttpShelf(http_server)


class TestS3(StorageContract):
    @pytest.fixture
    def shelf(self, s3):
        bucket = f"bucket-{uuid4().hex}"
        s3.upload(bucket, {})
        return S3Shelf(s3, bucket, Storage({"s3": s3.storage_options}, backoff=0.01))


class TestHub(StorageContract):
    @pytest.fixture
    def shelf(self, hub):
        hub.add_dataset("BAAI/SVIT", {"README.md": b""})
        return HubShelf(hub, Storage({"hf": {"endpoint": hub.url}}, backoff=0.01))

    @pytest.mark.parametrize("token", [None, "hf_other"])
    def test_gated(self, hub, token):
        hub.add_user("other", "hf_other")
        hub.add_dataset("BAAI/gated", {"a.zip": DATA}, gated=True, token="hf_mine")
        url = "hf://datasets/BAAI/gated/a.zip"
        mine, others = (Storage({"hf": {"endpoint": hub.url}}, token=name, backoff=0.01) for name in ("hf_mine", token))
        assert mine.read(url, 5, 9) == DATA[5:9]
        assert others.stat(url).size == SIZE  # the Hub lists a gated repository for everyone
        advice = "accept the terms at https://huggingface.co/datasets/BAAI/gated"
        with pytest.raises(AccessDenied, match=advice):
            others.read(url, 5, 9)
        with pytest.raises(AccessDenied, match=advice), others.open(url) as file:
            file.read()

    def test_private_and_missing_repositories(self, hub):
        hub.add_dataset("BAAI/private", {"a.zip": DATA}, private=True, token="hf_mine")
        for name in ("private", "none"):
            with pytest.raises((SourceNotFound, AccessDenied)):
                Storage({"hf": {"endpoint": hub.url}}).stat(f"hf://datasets/BAAI/{name}/a.zip")

    def test_a_refused_token(self, hub):
        hub.add_dataset("BAAI/SVIT", {"a.zip": DATA})
        with pytest.raises(AccessDenied):
            Storage({"hf": {"endpoint": hub.url}}, token="hf_stale").read("hf://datasets/BAAI/SVIT/a.zip", 0, 9)

    def test_a_stalled_hub_is_given_up(self, hub):
        hub.add_dataset("BAAI/SVIT", {"a.zip": DATA})
        hub.faults.add(Fault("stall", match="/resolve/", times=None))
        storage = Storage({"hf": {"endpoint": hub.url}}, timeout=0.1, attempts=2, backoff=0.01)
        begun = time.monotonic()
        with pytest.raises(SourceUnreachable, match=r"a\.zip"):
            storage.read("hf://datasets/BAAI/SVIT/a.zip", 0, 9)
        assert time.monotonic() - begun < 5
        hub.faults.clear()  # the threads of huggingface_hub still wait: let them end before their Hub does
        while sum(line.range is not None and line.status == 206 for line in hub.log.requests) < 4:
            assert time.monotonic() - begun < 30
            time.sleep(0.05)

    def test_a_hub_that_fails_once(self, hub):
        hub.add_dataset("BAAI/SVIT", {"a.zip": DATA})
        hub.faults.add(Fault("status", match="/resolve/"))
        hub.faults.add(Fault("reset", match="/resolve/", keep=5))
        storage = Storage({"hf": {"endpoint": hub.url}}, backoff=0.01)
        assert storage.read("hf://datasets/BAAI/SVIT/a.zip", 0, 9) == DATA[:9]


class TestHttpFaults:
    """Every fault is a real one, made by a server on loopback."""

    @pytest.fixture
    def url(self, http_server):
        return http_server.put("data.bin", DATA)

    @pytest.fixture
    def storage(self):
        return Storage(timeout=0.4, attempts=3, backoff=0.01)

    @pytest.mark.parametrize(
        "fault",
        [
            *(Fault("status", code=code) for code in (408, 429, 500, 502, 503, 504)),
            Fault("reset", keep=None),
            Fault("reset", keep=3_000),
            Fault("short", keep=3_000),
            Fault("wrong_length", keep=3_000),
            Fault("wrong_content_range"),
            Fault("stall", keep=None, seconds=20),
            Fault("stall", keep=3_000, seconds=20),
        ],
        ids=lambda fault: f"{fault.kind}-{fault.code if fault.kind == 'status' else fault.keep}",
    )
    def test_what_passes_is_tried_again_so_often(self, http_server, storage, url, fault):
        http_server.faults.add(fault)
        assert storage.read(url, 1_000, 60_000) == DATA[1_000:60_000]
        assert len(http_server.log.requests) == 2

        http_server.log.reset()
        http_server.faults.add(Fault(**{**vars(fault), "times": None}))
        with pytest.raises(SourceUnreachable, match=r"data\.bin.*after 3 attempts"):
            storage.read(url, 1_000, 60_000)
        # aiohttp asks once more by itself where a connection ends before the status line
        assert len(http_server.log.requests) == (6 if fault == Fault("reset", keep=None) else 3)

    @pytest.mark.parametrize("kind", ["reset", "short", "stall"])
    def test_whole_files_that_break_off_are_tried_again(self, http_server, storage, url, kind):
        http_server.faults.add(Fault(kind, keep=3_000, seconds=20))
        assert storage.read(url) == DATA

    def test_a_slow_answer_is_no_failure(self, http_server, storage, url):
        """The time-out is for silence: ten pieces in two seconds are never 0.4 s apart."""
        http_server.faults.add(Fault("slow", seconds=2))
        assert storage.read(url, 0, 100_000) == DATA[:100_000]
        assert len(http_server.log.requests) == 1

    def test_retry_after_is_obeyed(self, http_server, storage, url):
        http_server.faults.add(Fault("status", code=429, headers={"Retry-After": "1"}))
        begun = time.monotonic()
        assert storage.read(url, 0, 9) == DATA[:9]
        assert 1.0 <= time.monotonic() - begun < 3.0

    @pytest.mark.parametrize(
        "value", ["soon", "", "-1", "Wed, 99 Nov 2026 99:99:99 GMT", "Fri, 01 Jan 2016 00:00:00 GMT"]
    )
    def test_retry_after_that_makes_no_sense_is_ignored(self, http_server, storage, url, value):
        http_server.faults.add(Fault("status", code=503, headers={"Retry-After": value}))
        begun = time.monotonic()
        assert storage.read(url, 0, 9) == DATA[:9]
        assert time.monotonic() - begun < 1.0

    @pytest.mark.parametrize(("code", "error"), [(401, AccessDenied), (403, AccessDenied), (404, SourceNotFound)])
    def test_a_refusal_is_final(self, http_server, storage, url, code, error):
        http_server.faults.add(Fault("status", code=code, times=None))
        for operation in (storage.stat, storage.read, storage.open):
            with pytest.raises(error, match=r"data\.bin"):
                operation(url)
        assert len(http_server.log.requests) == 3

    def test_credentials_reach_the_server(self):
        with FileServer({"a": b"abc"}, required_headers={"Authorization": "Bearer t"}) as server:
            with pytest.raises(AccessDenied, match="storage_options"):
                Storage().read(f"{server.url}/a")
            options = {"headers": {"Authorization": "Bearer t"}}
            assert Storage({"http": options}).read(f"{server.url}/a", 0, 2) == b"ab"
            assert Storage(options).read(f"{server.url}/a", 0, 2) == b"ab"

    def test_credentials_do_not_follow_a_redirect_elsewhere(self, http_server):
        with FileServer({"a": b"abc"}) as other:
            http_server.redirects["/go"] = f"{other.url}/a"
            storage = Storage({"http": {"headers": {"Authorization": "Bearer t"}}})
            assert storage.read(f"{http_server.url}/go", 0, 2) == b"ab"
            assert [line.authorization for line in http_server.log.requests] == ["Bearer t"]
            assert [line.authorization for line in other.log.requests] == [None]

    def test_a_server_without_ranges(self, http_server, storage, url):
        http_server.faults.add(Fault("no_range", times=None))
        with pytest.raises(RangeNotSupported, match=r"data\.bin.*Range"):
            storage.read(url, 10, 20)
        assert len(http_server.log.requests) == 3
        assert storage.read(url) == DATA

    def test_a_server_that_forgets_a_range_is_asked_again(self, http_server, storage, url):
        http_server.faults.add(Fault("no_range", times=2))
        assert storage.read(url, 10, 20) == DATA[10:20]
        assert [line.status for line in http_server.log.requests] == [200, 200, 206]

    def test_other_failures_before_do_not_count_as_forgotten_ranges(self, http_server, url):
        http_server.faults.add(Fault("status", code=503, times=3))
        http_server.faults.add(Fault("no_range"))
        storage = Storage(timeout=0.4, attempts=6, backoff=0.01)
        assert storage.read(url, 10, 20) == DATA[10:20]
        assert [line.status for line in http_server.log.requests] == [503, 503, 503, 200, 206]

    def test_a_server_without_ranges_is_told_even_by_a_range_of_the_whole(self, http_server, storage, url):
        http_server.faults.add(Fault("no_range", times=None))
        with pytest.raises(RangeNotSupported):
            storage.read(url, 0, SIZE)

    @pytest.mark.parametrize("other_bytes", [False, True])
    def test_a_changed_etag(self, http_server, storage, url, other_bytes):
        info = storage.stat(url)
        http_server.faults.add(Fault("changed_etag", other_bytes=other_bytes))
        with pytest.raises(SourceChanged, match=r"data\.bin changed"):
            storage.read(url, 10, 20, info.fingerprint)

    def test_a_file_that_changes_while_it_is_open(self, http_server, storage, url):
        with storage.open(url) as file:
            assert file.read(10) == DATA[:10]
            http_server.put("data.bin", OTHER)
            with pytest.raises(SourceChanged):
                file.read()

    def test_a_file_that_disappears_while_it_is_open(self, http_server, storage, url):
        with storage.open(url) as file:
            http_server.remove("data.bin")
            with pytest.raises(SourceNotFound):
                file.read()

    def test_nobody_listens(self, storage):
        with FileServer() as server:
            url = f"{server.url}/a"
        with pytest.raises(SourceUnreachable, match="after 3 attempts"):
            storage.stat(url)

    def test_ranges_survive_scattered_faults(self, http_server, url):
        for after, kind in enumerate(["status", "reset", "short", "wrong_length", "wrong_content_range"] * 6):
            http_server.faults.add(Fault(kind, keep=7, after=3 * after))
        ranges = [ByteRange(url, start, start + 500) for start in range(0, 100_000, 500)]
        storage = Storage(attempts=8, backoff=0.01)
        assert list(storage.read_ranges(ranges)) == [DATA[part.start : part.stop] for part in ranges]
        assert len(http_server.faults.fired) == 30

    def test_one_dead_range_is_an_error_in_its_place(self, http_server, storage, url):
        dead = http_server.put("dead.bin", DATA)
        http_server.faults.add(Fault("status", match="dead", times=None))
        answers = list(storage.read_ranges([ByteRange(url, 0, 5), ByteRange(dead, 0, 5), ByteRange(url, 5, 10)]))
        assert [answers[0], answers[2]] == [DATA[:5], DATA[5:10]]
        assert isinstance(answers[1], SourceUnreachable)

    def test_ranges_are_in_flight_together(self, http_server, url):
        http_server.latency = 0.1
        ranges = [ByteRange(url, start, start + 1) for start in range(64)]
        begun = time.monotonic()
        assert b"".join(Storage().read_ranges(ranges, in_flight=64)) == DATA[:64]
        assert time.monotonic() - begun < 1.5  # 6.4 s one after the other

    def test_an_abandoned_iterator_leaves_nothing_under_way(self, http_server, url):
        http_server.latency = 0.05
        answers = Storage().read_ranges((ByteRange(url, at, at + 1) for at in range(10_000)), in_flight=16)
        next(answers)
        answers.close()
        time.sleep(0.2)
        asked = len(http_server.log.requests)
        time.sleep(0.2)
        assert len(http_server.log.requests) == asked < 60

    def test_bytes_are_read_once(self, http_server, storage, url):
        storage.read(url, 100, 1_100)
        assert http_server.log.body_bytes == 1_000
        http_server.log.reset()
        with storage.open(url) as file:
            assert file.read() == DATA
        assert http_server.log.body_bytes <= SIZE + 1

    def test_a_seek_costs_one_request(self, http_server, storage, url):
        with storage.open(url) as file:
            file.seek(-22, 2)
            assert file.read() == DATA[-22:]
        assert [line.range for line in http_server.log.requests] == ["bytes=0-0", f"bytes={SIZE - 22}-{SIZE - 1}"]

    def test_a_file_that_was_found_is_not_asked_again(self, http_server, storage, url):
        info = storage.stat(url)
        http_server.log.reset()
        with storage.open_found(info, tail=1_000) as file:
            for at in (22, 42, 1_000):
                file.seek(-at, 2)
                assert file.read(10) == DATA[SIZE - at : SIZE - at + 10]
        storage.check(info)
        assert [line.range for line in http_server.log.requests] == [f"bytes={SIZE - 1_000}-{SIZE - 1}"]

    @pytest.mark.parametrize("tail", [1, 1_000, SIZE, 2 * SIZE])
    def test_a_tail_changes_nothing_of_what_is_read(self, storage, url, tail):
        with storage.open_found(storage.stat(url), tail=tail) as file:
            assert file.read() == DATA
            for at in (0, SIZE // 2, SIZE - 1_001, SIZE - 1_000, SIZE - 1):
                file.seek(at)
                assert file.read(1_500) == DATA[at : at + 1_500]

    def test_another_file_is_not_read_in_the_place_of_one_that_was_found(self, http_server, storage, url):
        info = storage.stat(url)
        http_server.put("data.bin", OTHER)
        with storage.open_found(info) as file, pytest.raises(SourceChanged):
            file.read(1)
        with pytest.raises(SourceChanged):
            storage.open_found(info, tail=10)

    def test_a_local_file_is_compared_when_it_was_read(self, tmp_path, storage):
        path = tmp_path / "a"
        path.write_bytes(b"abc")
        info = storage.stat(str(path))
        storage.check(info)
        path.write_bytes(b"abcd")
        with pytest.raises(SourceChanged, match="changed while it was read"):
            storage.check(info)


def test_large_and_small_ranges_of_local_files(tmp_path):
    """Large ones are read by threads, small ones where they are wanted; order and errors are the same."""
    path = tmp_path / "photos.zip"
    data = bytes(range(251)) * 20_000
    path.write_bytes(data)
    gone = str(tmp_path / "gone.zip")
    asked = [
        (str(path), 5, 9),
        (str(path), 1, 3_000_001),
        (gone, 0, 2_000_000),
        (gone, 0, 2),
        (str(path), 7, 4_000_000),
    ]
    answers = list(Storage().read_ranges([ByteRange(*one) for one in asked]))
    assert [answers[0], answers[1], answers[4]] == [data[5:9], data[1:3_000_001], data[7:4_000_000]]
    assert all(isinstance(answer, SourceNotFound) and "gone.zip" in str(answer) for answer in answers[2:4])
    (changed,) = Storage().read_ranges([ByteRange(str(path), 0, 2_000_000, "1.5")])
    assert isinstance(changed, SourceChanged)


def test_unknown_protocol():
    with pytest.raises(SvitError, match="nosuch"):
        Storage().stat("nosuch://a/b")


def test_options_are_given_by_protocol(http_server):
    """Options of one protocol do not reach another."""
    url = http_server.put("a", b"abc")
    storage = Storage({"s3": {"anon": True}, "http": {"headers": {"X-Test": "1"}}})
    assert storage.read(url, 0, 2) == b"ab"
