"""The servers keep their promises: what later tests call a fault of ours is one."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import NamedTuple

import pytest

from tests.servers import Fault, FileServer, Hub, spawned

LETTERS = bytes(range(256)) * 4


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(url, byte_range=None, method="GET", timeout=5.0, **headers):
    """One request by the standard library's client, which repairs nothing."""
    host, _, path = url.removeprefix("http://").partition("/")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if byte_range is not None:
        named["Range"] = f"bytes={byte_range}"
    with closing(http.client.HTTPConnection(host, timeout=timeout)) as connection:
        connection.request(method, f"/{path}", headers=named)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


@pytest.fixture(params=["memory", "disk"])
def letters(request, tmp_path):
    """A server and the URL of `LETTERS`, once from memory and once from a file."""
    (tmp_path / "a b.bin").write_bytes(LETTERS)
    with FileServer(tmp_path if request.param == "disk" else {"a b.bin": LETTERS}) as server:
        yield server, f"{server.url}/a%20b.bin"


class TestFileServer:
    def test_whole_file_and_its_head(self, letters):
        server, url = letters
        whole, head = ask(url), ask(url, method="HEAD")
        assert whole.body == LETTERS
        assert whole.status == head.status == 200
        assert head.body == b""
        assert head.headers["Content-Length"] == str(len(LETTERS))
        assert head.headers["ETag"] == whole.headers["ETag"]
        assert head.headers["Last-Modified"].endswith("GMT")
        assert server.log.body_bytes == len(LETTERS)

    @pytest.mark.parametrize(
        ("byte_range", "expected"),
        [
            ("0-0", slice(0, 1)),
            ("10-19", slice(10, 20)),
            ("1000-", slice(1000, None)),
            ("-5", slice(-5, None)),
            ("-99999", slice(None)),
            ("1020-99999", slice(1020, None)),
        ],
    )
    def test_range(self, letters, byte_range, expected):
        server, url = letters
        answer = ask(url, byte_range)
        start, stop, _ = expected.indices(len(LETTERS))
        assert (answer.status, answer.body) == (206, LETTERS[expected])
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(LETTERS)}"
        assert server.log.requests[-1][:4] == ("GET", "/a b.bin", f"bytes={byte_range}", 206)

    @pytest.mark.parametrize("byte_range", ["1024-", "5000-6000", "-0"])
    def test_range_beyond_the_end_is_416(self, letters, byte_range):
        answer = ask(letters[1], byte_range)
        assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */1024")

    def test_conditions(self, letters):
        _, url = letters
        etag = ask(url).headers["ETag"]
        assert ask(url, If_None_Match=etag).status == 304
        assert ask(url, If_Match=etag).status == 200
        assert ask(url, If_Match='"other"').status == 412
        assert ask(url, "0-3", If_Range=etag).status == 206
        assert ask(url, "0-3", If_Range='"other"').status == 200

    def test_a_changed_file_has_another_etag(self, tmp_path):
        file = tmp_path / "a"
        file.write_bytes(b"old")
        with FileServer(tmp_path) as server:
            before = ask(f"{server.url}/a")
            file.write_bytes(b"new bytes")
            after = ask(f"{server.url}/a")
        assert (before.body, after.body) == (b"old", b"new bytes")
        assert before.headers["ETag"] != after.headers["ETag"]

    def test_nothing_outside_the_directory(self, tmp_path):
        (tmp_path / "secret").write_bytes(b"!")
        (tmp_path / "open").mkdir()
        with FileServer(tmp_path / "open") as server:
            assert ask(f"{server.url}/../secret").status == 404
            assert ask(f"{server.url}/%2e%2e/secret").status == 404
            assert ask(f"{server.url}/").status == 404

    def test_one_connection_serves_many_requests(self, letters):
        server, url = letters
        host = url.removeprefix("http://").partition("/")[0]
        with closing(http.client.HTTPConnection(host, timeout=5)) as connection:
            for start in range(50):
                connection.request("GET", "/a%20b.bin", headers={"Range": f"bytes={start}-{start}"})
                assert connection.getresponse().read() == LETTERS[start : start + 1]
        assert len(server.log.requests) == 50

    def test_large_file_arrives_whole(self, tmp_path):
        data = os.urandom(1 << 20) * 5 + b"end"
        (tmp_path / "large").write_bytes(data)
        with FileServer(tmp_path) as server:
            assert ask(f"{server.url}/large").body == data

    def test_latency(self, letters):
        server, url = letters
        server.latency = 0.1
        begun = time.monotonic()
        ask(url)
        assert time.monotonic() - begun >= 0.1

    def test_required_headers_and_redirect(self):
        with FileServer({"a": b"a"}, required_headers={"Authorization": "Bearer t"}) as server:
            with FileServer() as other:
                other.redirects["/go"] = f"{server.url}/a"
                found = ask(f"{other.url}/go")
            assert (found.status, found.headers["Location"]) == (302, f"{server.url}/a")
            assert ask(f"{server.url}/a").status == 401
            assert ask(f"{server.url}/a", Authorization="Bearer t").body == b"a"
            assert [line.authorization for line in server.log.requests] == [None, "Bearer t"]

    def test_ends_with_its_block_even_under_open_connections(self):
        before = set(threading.enumerate())
        with FileServer({"a": bytes(50_000_000)}) as server:
            host = server.url.removeprefix("http://")
            reading = http.client.HTTPConnection(host, timeout=5)
            reading.request("GET", "/a")  # and never read
            response = reading.getresponse()
        assert set(threading.enumerate()) == before
        response.close()
        reading.close()
        with pytest.raises(ConnectionRefusedError):
            ask(server.url)


class TestFaults:
    def test_they_hit_what_they_match_so_often(self, letters):
        server, url = letters
        server.faults.add(Fault("status", match="bin$", method="GET", after=1, times=2, headers={"Retry-After": "7"}))
        server.faults.add(Fault("status", match="else", code=500))
        answers = [ask(url, method="HEAD"), *(ask(url) for _ in range(4))]
        assert [answer.status for answer in answers] == [200, 200, 503, 503, 200]
        assert answers[2].headers["Retry-After"] == "7"
        assert [fault.kind for fault in server.faults.fired] == ["status", "status"]

    def test_reset(self, letters):
        server, url = letters
        server.faults.add(Fault("reset", keep=100))
        server.faults.add(Fault("reset", keep=None))
        with pytest.raises(ConnectionResetError):
            ask(url)
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            ask(url)
        assert ask(url).body == LETTERS
        assert [line.status for line in server.log.requests] == [200, 0, 200]

    def test_short(self, letters):
        server, url = letters
        server.faults.add(Fault("short", keep=100))
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(url, "0-199")
        assert caught.value.partial == LETTERS[:100]
        assert caught.value.expected == 100
        assert server.log.body_bytes == 100

    def test_stall(self, letters):
        server, url = letters
        server.faults.add(Fault("stall", keep=10, seconds=30))
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(url, timeout=0.2)
        server.faults.add(Fault("stall", keep=10))
        threading.Timer(0.2, server.faults.release).start()
        with pytest.raises(http.client.IncompleteRead):
            ask(url)
        assert time.monotonic() - begun < 5

    def test_slow(self, letters):
        server, url = letters
        server.faults.add(Fault("slow", seconds=0.3))
        begun = time.monotonic()
        assert ask(url).body == LETTERS
        assert time.monotonic() - begun >= 0.3

    def test_wrong_length_is_consistent_in_itself(self, letters):
        server, url = letters
        server.faults.add(Fault("wrong_length", keep=40))
        answer = ask(url, "100-199")
        assert (answer.status, answer.body) == (206, LETTERS[100:140])
        assert answer.headers["Content-Range"] == "bytes 100-139/1024"

    def test_no_range(self, letters):
        server, url = letters
        server.faults.add(Fault("no_range"))
        answer = ask(url, "100-199")
        assert (answer.status, answer.body) == (200, LETTERS)
        assert "Content-Range" not in answer.headers

    def test_changed_etag(self, letters):
        server, url = letters
        server.faults.add(Fault("changed_etag"))
        server.faults.add(Fault("changed_etag", other_bytes=True))
        first, second, third = (ask(url, "0-9") for _ in range(3))
        assert first.headers["ETag"] == second.headers["ETag"] != third.headers["ETag"]
        assert first.headers["Last-Modified"] != third.headers["Last-Modified"]
        assert (first.body, second.body) == (LETTERS[:10], bytes(range(255, 245, -1)))

    def test_wrong_content_range(self, letters):
        server, url = letters
        server.faults.add(Fault("wrong_content_range"))
        answer = ask(url, "10-19")
        assert (answer.headers["Content-Range"], answer.body) == ("bytes 11-20/1024", LETTERS[10:20])


def test_spawned_server_counts_and_ends_with_its_block(tmp_path):
    (tmp_path / "a").write_bytes(LETTERS)
    with spawned(tmp_path) as server:
        assert ask(f"{server.url}/a", "0-9").body == LETTERS[:10]
        assert server.counters() == {"requests": 1, "body_bytes": 10}
        server.reset()
        assert server.counters() == {"requests": 0, "body_bytes": 0}
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def python(code, environment):
    """Run `code` in a new interpreter; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


HUB_CLIENT = """
import huggingface_hub as hf
from huggingface_hub.errors import *

def refusal(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except HfHubHTTPError as error:
        return type(error).__name__, error.response.status_code, str(error)
    except FileNotFoundError as error:
        return type(error).__name__, str(error)
    raise AssertionError("nothing was refused")

fs = hf.HfFileSystem()
root = "datasets/BAAI/open"
assert fs.ls(root, detail=False) == [f"{root}/README.md", f"{root}/data"], fs.ls(root)
assert fs.glob(f"{root}/**/*.zip") == [f"{root}/data/{n}.zip" for n in "abc"]
assert fs.find(root) == [f"{root}/README.md", *fs.glob(f"{root}/data/*.zip")]
info = fs.info(f"{root}/data/a.zip")
assert info["size"] == 1024 and info["lfs"].sha256, info
assert fs.cat_file(f"{root}/data/a.zip", 10, 20) == bytes(range(10, 20))
assert fs.cat_ranges([f"{root}/data/a.zip"] * 2, [0, 1020], [4, 1024]) == [b"\\0\\1\\2\\3", b"\\xfc\\xfd\\xfe\\xff"]
with fs.open(f"{root}/data/a.zip") as file:
    file.seek(-4, 2)
    assert file.read() == b"\\xfc\\xfd\\xfe\\xff"
assert fs.exists(f"{root}@old/old.txt") and not fs.exists(f"{root}/old.txt")
last = fs.info(f"{root}/data/a.zip", expand_info=True)["last_commit"]
api = hf.HfApi()
assert api.dataset_info("BAAI/open").sha == last.oid
assert api.list_repo_commits("BAAI/open", repo_type="dataset")[0].commit_id == last.oid
assert {ref.name for ref in api.list_repo_refs("BAAI/open", repo_type="dataset").branches} == {"main", "old"}
assert [s.size for s in api.dataset_info("BAAI/open", files_metadata=True).siblings] == [5, 1024, 1024, 1024]

get = lambda repo, name, **options: hf.hf_hub_download(repo, name, repo_type="dataset", **options)
assert open(get("BAAI/open", "data/a.zip"), "rb").read() == bytes(range(256)) * 4
folder = hf.snapshot_download("BAAI/open", repo_type="dataset")
assert open(f"{folder}/README.md").read() == "hello"
assert refusal(get, "BAAI/open", "none")[:2] == ("RemoteEntryNotFoundError", 404)
assert refusal(get, "BAAI/open", "README.md", revision="none")[:2] == ("RevisionNotFoundError", 404)
assert refusal(get, "BAAI/none", "README.md")[:2] == ("RepositoryNotFoundError", 401)
assert refusal(get, "BAAI/none", "README.md", token="hf_a")[:2] == ("RepositoryNotFoundError", 404)
assert refusal(get, "BAAI/private", "a", token="hf_b")[:2] == ("RepositoryNotFoundError", 404)
assert refusal(fs.info, "datasets/BAAI/none/a")[0] == "FileNotFoundError"
assert refusal(api.whoami, token="hf_stale")[1] == 401
assert api.whoami(token="hf_b")["name"] == "bob"
assert open(get("BAAI/private", "a", token="hf_a")).read() == "private"

name, status, text = refusal(get, "BAAI/SVIT", "a")
assert (name, status) == ("GatedRepoError", 401) and "Please log in." in text, text
name, status, text = refusal(get, "BAAI/SVIT", "a", token="hf_b")
assert (name, status) == ("GatedRepoError", 403) and "datasets/BAAI/SVIT to ask for access." in text, text
assert open(get("BAAI/SVIT", "a", token="hf_a")).read() == "gated"
api.auth_check("BAAI/SVIT", repo_type="dataset", token="hf_a")
assert api.dataset_info("BAAI/SVIT").gated == "auto"
"""

HUB_DATASETS = """
from datasets import load_dataset
from datasets.exceptions import DatasetNotFoundError
mapped = load_dataset("BAAI/open", split="train")
assert mapped.num_rows == 1000 and mapped[999] == {"id": 999, "text": "x" * 99}
streamed = load_dataset("BAAI/open", split="train", streaming=True)
assert [row["id"] for row in streamed] == list(range(1000))
try:
    load_dataset("BAAI/SVIT")
except DatasetNotFoundError as error:
    print(error)
"""


class TestHub:
    @pytest.mark.parametrize("with_cdn", [False, True])
    def test_huggingface_hub_reads_and_is_refused(self, tmp_path, with_cdn):
        archives = {f"data/{name}.zip": LETTERS for name in "abc"}
        with FileServer() as cdn, Hub(page=2, cdn=cdn if with_cdn else None) as hub:
            hub.add_user("bob", "hf_b")
            hub.add_dataset("BAAI/open", {"old.txt": b"old"}, revision="old")
            hub.add_dataset("BAAI/open", {"README.md": b"hello", **archives})
            hub.add_dataset("BAAI/SVIT", {"a": b"gated"}, gated=True, token="hf_a")
            hub.add_dataset("BAAI/private", {"a": b"private"}, private=True, token="hf_a")
            python(HUB_CLIENT, hub.environment(tmp_path))
        assert bool(cdn.log.requests) == with_cdn
        assert any("cursor=2" in line.path for line in hub.log.requests)

    def test_datasets_loads_and_streams(self, hub, tmp_path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = tmp_path / "train.parquet"
        pq.write_table(pa.table({"id": range(1000), "text": ["x" * 99] * 1000}), file)
        card = b"---\nconfigs:\n- config_name: default\n  data_files: train.parquet\n---\n"
        hub.add_dataset("BAAI/open", {"README.md": card, "train.parquet": file})
        hub.add_dataset("BAAI/SVIT", {"README.md": card}, gated=True)
        printed = python(HUB_DATASETS, hub.environment(tmp_path / "home"))
        assert "'BAAI/SVIT' is a gated dataset on the Hub" in printed
        assert any(line.range and line.path.endswith("train.parquet") for line in hub.log.requests)

    def test_tokens_stay_with_the_hub(self, tmp_path):
        """A client that follows the redirect for an LFS file must not show its token to the other origin."""
        with FileServer() as cdn, Hub(cdn=cdn) as hub:
            hub.add_dataset("BAAI/SVIT", {"a.zip": LETTERS}, gated=True, token="hf_a")
            code = (
                "import huggingface_hub as hf; hf.hf_hub_download('BAAI/SVIT', 'a.zip', repo_type='dataset');"
                "print(hf.HfFileSystem().cat_file('datasets/BAAI/SVIT/a.zip', 0, 4))"
            )
            assert python(code, hub.environment(tmp_path, token="hf_a")) == "b'\\x00\\x01\\x02\\x03'\n"
            resolved = [line for line in hub.log.requests if "/resolve/" in line.path]
            assert [(line.method, line.status, line.authorization) for line in resolved] == [
                ("HEAD", 302, "Bearer hf_a"),
                ("GET", 302, "Bearer hf_a"),
            ]
            assert [(line.status, line.authorization) for line in cdn.log.requests] == [(200, None), (206, None)]

    def test_faults(self, hub, tmp_path):
        hub.add_dataset("BAAI/open", {"a": b"abc"})
        hub.faults.add(Fault("status", match="/resolve/", method="GET"))
        code = "import huggingface_hub as hf; print(hf.HfFileSystem().cat_file('datasets/BAAI/open/a', 0, 2))"
        assert python(code, hub.environment(tmp_path)) == "b'ab'\n"
        assert [line.status for line in hub.log.requests if "/resolve/" in line.path] == [503, 206]


def test_s3_serves_what_was_uploaded(s3):
    import fsspec

    url = s3.upload("bucket", {"folder/a.bin": LETTERS})
    fs, path = fsspec.core.url_to_fs(f"{url}/folder/a.bin", **s3.storage_options)
    assert fs.cat_file(path, start=10, end=20) == LETTERS[10:20]
    assert fs.info(path)["size"] == len(LETTERS)
    s3.remove("bucket", "folder/a.bin")
    fs.invalidate_cache()
    assert not fs.exists(path)
