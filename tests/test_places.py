"""The same rows from wherever the files lie: folder, memory, http, s3, a Hub repository, and the gated default."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import Any

import fsspec
import pytest

from svit_datasets import load_dataset
from svit_datasets.errors import AccessDenied, SourceNotFound
from svit_datasets.sample import write_sample


@dataclass(frozen=True)
class Place:
    data_dir: str | None
    options: dict[str, Any]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("places") / "sample"
    write_sample(root, images=12)
    return root


@pytest.fixture(scope="module")
def local_rows(corpus, tmp_path_factory):
    return digest(Place(str(corpus), {}), tmp_path_factory.mktemp("cache"))


def content(corpus):
    return {str(path.relative_to(corpus)): path.read_bytes() for path in sorted(corpus.rglob("*")) if path.is_file()}


def digest(place, cache, name="complex_reasoning", *, streaming=True):
    """Everything a row holds, pixels as a hash."""
    rows = load_dataset(
        "svit", name, split="train", streaming=streaming, data_dir=place.data_dir, cache_dir=cache, **place.options
    )
    rows = [dict(row) for row in rows]
    for row in rows:
        row["image"] = row["image"] and hashlib.sha256(row["image"].tobytes()).hexdigest()
    return rows


@pytest.fixture
def memory(corpus):
    fs = fsspec.filesystem("memory")
    for name, data in content(corpus).items():
        fs.pipe_file(f"/svit/{name}", data)
    yield Place("memory://svit", {})
    fs.rm("/svit", recursive=True)


@pytest.fixture
def http(corpus, http_server):
    for name, data in content(corpus).items():
        http_server.put(name, data)
    return Place(http_server.url, {})


@pytest.fixture
def bucket(corpus, s3):
    s3.upload("places", content(corpus))
    return Place("s3://places", {"storage_options": {"s3": s3.storage_options}})


@pytest.fixture
def repository(corpus, hub):
    hub.add_dataset("me/my-svit", content(corpus))
    return Place("hf://datasets/me/my-svit", {"storage_options": {"hf": {"endpoint": hub.url}}})


@pytest.fixture
def gated(corpus, hub):
    """The default: text from the gated repository, photos from elsewhere."""
    hub.add_dataset("BAAI/SVIT", content(corpus), gated=True, token="hf_accepted")
    images = [corpus / "raw/images.zip", corpus / "raw/images2.zip"]
    options = {"images": images, "holdout": corpus / "test_image_ids.txt", "token": "hf_accepted"}
    return Place(None, options | {"storage_options": {"hf": {"endpoint": hub.url}}})


PLACES = ["memory", "http", "bucket", "repository", "gated"]


@pytest.mark.parametrize("name", PLACES)
def test_streaming_gives_the_rows_of_the_local_folder(request, local_rows, name, tmp_path):
    assert digest(request.getfixturevalue(name), tmp_path) == local_rows


@pytest.mark.parametrize("name", ["http", "repository"])
def test_map_style_gives_the_rows_of_the_local_folder(request, local_rows, name, tmp_path):
    assert digest(request.getfixturevalue(name), tmp_path, streaming=False) == local_rows


def test_llava_photos_of_every_prefix_over_http(corpus, http, tmp_path):
    """An http folder cannot be listed: its photos are found by the names they must have."""
    remote = digest(http, tmp_path / "a", "mix_665k")
    assert remote == digest(Place(str(corpus), {}), tmp_path / "b", "mix_665k")


def test_a_url_template(corpus, http_server, local_rows, tmp_path):
    """Photos one by one, each from its own folder, or from the other where it is not in its own."""
    wrong = set()
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(corpus / "raw" / name) as archive:
            for number, member in enumerate(archive.namelist()):
                folder, _, file = member.partition("/")
                if number == 0:
                    folder = "VG_100K_2" if folder == "VG_100K" else "VG_100K"
                    wrong.add(f"/photos/{member}")
                http_server.put(f"photos/{folder}/{file}", archive.read(member))
    place = Place(str(corpus), {"images": f"{http_server.url}/photos/{{folder}}/{{image_id}}.jpg"})
    assert digest(place, tmp_path) == local_rows
    missed = {served.path for served in http_server.log.requests if served.status == 404}
    assert missed <= wrong


def test_gated_without_a_token_says_what_to_do(gated, tmp_path):
    options = {key: value for key, value in gated.options.items() if key != "token"}
    with pytest.raises(AccessDenied) as caught:
        digest(Place(None, options), tmp_path)
    for words in ("https://huggingface.co/datasets/BAAI/SVIT", "accept the terms", "hf auth login", "data_dir="):
        assert words in str(caught.value)


def test_what_data_dir_lacks_is_read_from_the_hub(corpus, gated, tmp_path, caplog):
    (tmp_path / "mine" / "data").mkdir(parents=True)
    rows = digest(Place(str(tmp_path / "mine"), gated.options), tmp_path / "cache")
    assert rows
    assert "No file of config 'complex_reasoning' under" in caplog.text


def test_nowhere_lists_what_was_tried(tmp_path, hub):
    (tmp_path / "mine").mkdir()
    with pytest.raises(SourceNotFound) as caught:
        digest(Place(str(tmp_path / "mine"), {"storage_options": {"hf": {"endpoint": hub.url}}}), tmp_path / "cache")
    assert "data/complex_reasoning.zip, complex_reasoning.zip, data/complex_reasoning.json" in str(caught.value)


def test_the_hub_by_its_environment_in_a_fresh_process(corpus, hub, tmp_path, local_rows):
    """What a user types, with the token of a login: no option names the Hub."""
    hub.add_dataset("BAAI/SVIT", content(corpus), gated=True, token="hf_accepted")
    script = """
import sys, json
from svit_datasets import load_dataset
rows = load_dataset(
    "svit", "complex_reasoning", split="train", streaming=True, images=sys.argv[1:3], holdout=sys.argv[3]
)
print(json.dumps([row["image_id"] for row in rows]))
"""
    arguments = [str(corpus / name) for name in ("raw/images.zip", "raw/images2.zip", "test_image_ids.txt")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=hub.environment(tmp_path, token="hf_accepted"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [row["image_id"] for row in local_rows]
