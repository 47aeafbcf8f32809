"""Files are found where they may lie, in a fixed order, and opened as plain JSON whatever they are packed in."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from svit_datasets.errors import (
    AccessDenied,
    CorruptFile,
    SourceNotFound,
    SourceUnreachable,
    SvitError,
)
from svit_datasets.records import read_records
from svit_datasets.sources import HUB, find_text, join_url, open_text, upstream
from svit_datasets.storage import Storage
from svit_datasets.tasks import TASKS
from tests.servers import Fault

ITEMS = [
    {
        "image_id": number,
        "conversations": [{"content": [{"from": "user", "value": "Ä?"}, {"from": "gpt", "value": f"No. {number}"}]}],
    }
    for number in range(1, 40)
]
TEXT = json.dumps(ITEMS, ensure_ascii=False).encode()
PLACES = [f"{folder}{{}}{ending}" for ending in (".zip", ".json", ".jsonl", ".json.gz") for folder in ("data/", "")]


def put(root, name, data=b"[]"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def parts_of(name):
    return tuple(TASKS[part] for part in TASKS[name].parts)


def find(name, data_dir, storage=None):
    return find_text(TASKS[name], parts_of(name), str(data_dir), storage or Storage())


def read_text(url, storage=None):
    storage = storage or Storage()
    with open_text(storage.stat(str(url)), storage) as (stream, label, _):
        return [record.image_id for record in read_records(stream, label, "svit")]


class TestFinding:
    def test_places_are_asked_in_order(self, tmp_path):
        names = [place.format("conversation") for place in PLACES]
        for name in names:
            put(tmp_path, name)
        for name in names:
            (found,) = find("conversation", tmp_path)
            assert (found.info.url, found.task.name) == (str(tmp_path / name), "conversation")
            (tmp_path / name).unlink()

    def test_a_url_is_asked_name_by_name_and_no_further(self, http_server):
        url = http_server.put("svit/data/referring_qa.json", b"[]")
        (found,) = find("referring_qa", f"{http_server.url}/svit/")
        assert found.info.url == url
        asked = [line.path for line in http_server.log.requests]
        assert asked == [f"/svit/{place.format('referring_qa')}" for place in PLACES[:3]]

    def test_the_llava_form_has_its_own_folder(self, tmp_path):
        put(tmp_path, "SVIT_core_150K.json")
        put(tmp_path, "data/SVIT_core_150K.zip")
        assert find("core_150k", tmp_path)[0].info.url == str(tmp_path / "SVIT_core_150K.json")
        put(tmp_path, "format/llava-v1.5/SVIT_core_150K.json")
        assert find("core_150k", tmp_path)[0].info.url.endswith("format/llava-v1.5/SVIT_core_150K.json")

    def test_a_union_is_read_from_its_parts_where_all_are_there(self, tmp_path):
        put(tmp_path, "data/svit.zip")
        for part in TASKS["all"].parts[:-1]:
            put(tmp_path, f"{part}.json")
        (found,) = find("all", tmp_path)
        assert (found.info.url, found.task.name) == (str(tmp_path / "data/svit.zip"), "all")
        put(tmp_path, "data/referring_qa.zip")
        assert [each.task.name for each in find("all", tmp_path)] == list(TASKS["all"].parts)

    def test_a_local_root_may_be_relative_or_begin_with_a_tilde(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        put(tmp_path, "d/conversation.json")
        for root in ("d", "./d/", "~/d", str(tmp_path / "d"), f"file://{tmp_path}/d"):
            assert find("conversation", root)[0].info.url.removeprefix("file://") == str(
                tmp_path / "d/conversation.json"
            )
        assert join_url("http://a/b/", "c.zip") == "http://a/b/c.zip"

    def test_a_data_dir_that_is_no_folder(self, tmp_path):
        put(tmp_path, "conversation.json")
        for wrong in ("none", "conversation.json"):
            with pytest.raises(SourceNotFound, match=rf"data_dir='.*{wrong}' is no folder\. Give the folder"):
                find("conversation", tmp_path / wrong)


class TestTheHub:
    @pytest.fixture
    def storage(self, hub):
        return Storage({"hf": {"endpoint": hub.url}}, backoff=0.01, attempts=2)

    def test_it_is_asked_where_data_dir_lacks_the_file(self, hub, storage, tmp_path, caplog):
        hub.add_dataset("BAAI/SVIT", {"data/conversation.zip": zipped({"conversation.json": TEXT})})
        (found,) = find("conversation", tmp_path, storage)
        assert found.info.url == f"{HUB}/data/conversation.zip"
        assert f"under {tmp_path}" in caplog.text
        assert f"Reading {HUB}/data/conversation.zip instead" in caplog.text
        assert read_text(found.info.url, storage) == list(range(1, 40))

    def test_parts_at_the_hub_are_announced_too(self, hub, storage, tmp_path, caplog):
        """A user who has three of the four files should know why all four are downloaded."""
        hub.add_dataset("BAAI/SVIT", {f"data/{part}.zip": zipped({"a.json": TEXT}) for part in TASKS["all"].parts})
        put(tmp_path, "data/conversation.zip")
        assert [each.info.url for each in find("all", tmp_path, storage)] == [
            f"{HUB}/data/{part}.zip" for part in TASKS["all"].parts
        ]
        assert f"No file of config 'all' under {tmp_path}" in caplog.text

    def test_what_lies_under_data_dir_asks_nobody(self, hub, storage, tmp_path):
        put(tmp_path, "data/conversation.zip")
        find("conversation", tmp_path, storage)
        assert hub.log.requests == []

    def test_neither_has_it(self, hub, storage, tmp_path):
        hub.add_dataset("BAAI/SVIT", {"README.md": b""})
        with pytest.raises(SourceNotFound) as caught:
            find("referring_qa", tmp_path, storage)
        for place in PLACES:
            assert place.format("referring_qa") in str(caught.value)
        with pytest.raises(SourceNotFound, match=f"under {HUB}"):
            find_text(TASKS["referring_qa"], (), None, storage)

    @pytest.mark.parametrize("code", [401, 403])
    def test_a_refusal_says_how_to_get_in(self, hub, storage, tmp_path, code):
        hub.add_dataset("BAAI/SVIT", {"data/conversation.zip": TEXT})
        hub.faults.add(Fault("status", code=code, times=None))
        advice = r"(?s)accept the terms at https://huggingface\.co/datasets/BAAI/SVIT.*hf auth login.*data_dir="
        with pytest.raises(AccessDenied, match=advice):
            find_text(TASKS["conversation"], (), None, storage)
        with pytest.raises(SourceNotFound, match=advice) as caught:
            find("conversation", tmp_path, storage)
        assert str(tmp_path) in str(caught.value)

    def test_a_gated_repository_is_found_and_refuses_to_be_read(self, hub, storage):
        hub.add_dataset("BAAI/SVIT", {"data/conversation.zip": b"x" * 100}, gated=True, token="hf_mine")
        (found,) = find_text(TASKS["conversation"], (), None, storage)
        with (
            pytest.raises(AccessDenied, match=r"accept the terms at https://huggingface\.co/datasets/BAAI/SVIT"),
            open_text(found.info, storage),
        ):
            pass


class TestAServerThatFails:
    """The user's own server: what it says must not be blamed on the Hub."""

    def storage(self, hub):
        hub.add_dataset("BAAI/SVIT", {"README.md": b""})
        return Storage({"hf": {"endpoint": hub.url}}, backoff=0.01, attempts=2)

    def test_refusing(self, http_server, hub):
        http_server.faults.add(Fault("status", code=403, times=None))
        with pytest.raises(AccessDenied, match=r"storage_options=") as caught:
            find("conversation", http_server.url, self.storage(hub))
        assert "Hub" not in str(caught.value)

    def test_failing(self, http_server, hub):
        http_server.faults.add(Fault("status", code=500, times=None))
        with pytest.raises(SourceUnreachable, match="500") as caught:
            find("conversation", http_server.url, self.storage(hub))
        assert "Hub" not in str(caught.value)

    def test_refusing_only_what_is_not_there(self, http_server):
        http_server.put("conversation.json", b"[]")
        http_server.faults.add(Fault("status", code=403, times=3))
        assert find("conversation", http_server.url)[0].info.url.endswith("/conversation.json")


class TestOpening:
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("a.json", TEXT),
            ("a.jsonl", b"".join(json.dumps(item).encode() + b"\n" for item in ITEMS)),
            ("a.json.gz", gzip.compress(TEXT)),
            ("a.json.gz", gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:]) + b"\0" * 9),
            ("a.zip", zipped({"a.json": TEXT})),
            ("a.zip", zipped({"a.json": TEXT}, zipfile.ZIP_STORED)),
            ("a.zip", zipped({"a.json": TEXT}, zipfile.ZIP_BZIP2)),
            ("a.zip", zipped({"a.json": TEXT}, zipfile.ZIP_LZMA)),
            ("a.zip", zipped({"data/a.json": TEXT})),
            ("a.zip", zipped({"data/": b"", "data/a.json": TEXT, "__MACOSX/data/._a.json": b"\0", "README": b""})),
            ("a.zip", zipped({"a.json": TEXT, "a/._a.json": b"\0"})),
            ("a.zip", zipped({"other.json": b"[]", "x/a.json": TEXT})),
            ("a.zip", zipped({"whatever.jsonl": b"\n".join(json.dumps(item).encode() for item in ITEMS)})),
            ("a.zip", b"\xef\xbb\xbf" + zipped({"a.json": b"\xef\xbb\xbf" + TEXT})),
        ],
    )
    def test_any_packing_holds_the_same_records(self, tmp_path, http_server, name, data):
        put(tmp_path, name, data)
        assert read_text(tmp_path / name) == list(range(1, 40))
        assert read_text(http_server.put(name, data)) == list(range(1, 40))

    @pytest.mark.parametrize("data", [{}, {"README": b""}, {"b.json": b"[]", "c.json": b"[]"}])
    def test_a_zip_without_one_json_file(self, tmp_path, data):
        put(tmp_path, "a.zip", zipped(data))
        with pytest.raises(CorruptFile, match=r"a\.zip: expected one JSON file called a\.json inside, found"):
            read_text(tmp_path / "a.zip")

    @pytest.mark.parametrize("name", ["a.zip", "a.json.gz"])
    def test_cut_anywhere_it_is_an_error(self, tmp_path, name):
        data = zipped({"a.json": TEXT}) if name == "a.zip" else gzip.compress(TEXT)
        for cut in range(0, len(data), 7):
            put(tmp_path, name, data[:cut])
            with pytest.raises(CorruptFile, match=r"byte [\d,]+") as caught:
                read_text(tmp_path / name)
            assert name in str(caught.value)

    @pytest.mark.parametrize("name", ["a.zip", "a.json.gz"])
    def test_a_changed_byte_is_an_error_of_ours_or_does_no_harm(self, tmp_path, name):
        small = json.dumps(ITEMS[:2]).encode()
        data = zipped({"a.json": small}) if name == "a.zip" else gzip.compress(small)
        for at in range(len(data)):
            for turn in (0x01, 0x08, 0x80, 0xFF):
                put(tmp_path, name, data[:at] + bytes([data[at] ^ turn]) + data[at + 1 :])
                try:
                    outcome = read_text(tmp_path / name)
                except SvitError as error:
                    outcome = str(error)
                assert outcome == [1, 2] or name in outcome, f"byte {at}: {outcome}"

    def test_a_zip_with_a_password(self, tmp_path):
        data = bytearray(zipped({"a.json": TEXT}))
        data[6] |= 1  # in the local header
        data[data.rindex(b"PK\1\2") + 8] |= 1  # in the directory
        put(tmp_path, "a.zip", bytes(data))
        with pytest.raises(CorruptFile, match=r"a\.zip.*(encrypted|password)"):
            read_text(tmp_path / "a.zip")

    def test_a_zip_packed_in_a_way_that_python_does_not_know(self, tmp_path):
        """Windows packs files beyond 2 GB with method 9."""
        data = bytearray(zipped({"a.json": TEXT}))
        data[8] = data[data.rindex(b"PK\1\2") + 10] = 9
        put(tmp_path, "a.zip", bytes(data))
        with pytest.raises(CorruptFile, match=r"a\.zip.*compression"):
            read_text(tmp_path / "a.zip")

    def test_a_name_that_lies(self, tmp_path):
        put(tmp_path, "a.zip", TEXT)
        with pytest.raises(CorruptFile, match=r"a\.zip.*not a zip file.*Copy or download it again"):
            read_text(tmp_path / "a.zip")
        put(tmp_path, "a.json.gz", bz2.compress(TEXT))
        with pytest.raises(CorruptFile, match=r"a\.json\.gz.*gzip"):
            read_text(tmp_path / "a.json.gz")

    def test_a_break_in_the_middle_tells_the_place_in_the_zip(self, tmp_path):
        data = bytearray(zipped({"a.json": TEXT * 1}))
        data[200] ^= 0xFF
        put(tmp_path, "a.zip", bytes(data))
        with pytest.raises(CorruptFile, match=r"a\.zip::a\.json: damaged or cut off near byte"):
            read_text(tmp_path / "a.zip")


def test_the_table_is_complete():
    for name, row in upstream().items():
        assert name == row.name
        assert row.licence
        assert row.holds
        assert row.url.startswith(("https://", "hf://"))
        assert row.sha256 is None or len(bytes.fromhex(row.sha256)) == 32
        assert replace(row, bytes=None).bytes is None
    assert Path(upstream()["images"].url).name == "images.zip"
