"""A zip's directory is the one that ``zipfile`` reads, and each member comes out of its bytes."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib

import pytest

from svit_datasets.errors import CorruptFile, SourceChanged, SvitError
from svit_datasets.storage import Storage
from svit_datasets.zips import read_directory, unpack
from tests.servers import Fault

MEMBERS = {f"VG_100K/{number}.jpg": random.Random(number).randbytes(number * 37 % 4_000) for number in range(1, 60)}


def stored(members=MEMBERS, compression=zipfile.ZIP_STORED, **how):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in members.items():
            if how:
                with archive.open(name, "w", **how) as member:
                    member.write(data)
            else:
                archive.writestr(name, data)
        archive.comment = b"a comment" if how else b""
    return packed.getvalue()


class Unseekable(io.BytesIO):
    """What a pipe is: sizes follow the data, in descriptors."""

    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation

    def tell(self):
        raise io.UnsupportedOperation


def streamed():
    packed = Unseekable()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    return packed.getvalue()


def with_folders():
    return stored(
        {"VG_100K/": b"", **MEMBERS, "__MACOSX/": b"", "__MACOSX/VG_100K/._1.jpg": b"\0", "größe/日本.jpg": b"a"}
    )


def with_extra_fields():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in MEMBERS.items():
            member = zipfile.ZipInfo(name)
            member.extra = struct.pack("<HH9s", 0x5455, 9, b"\3" + b"\1" * 8)
            member.comment = b"taken in the rain"
            archive.writestr(member, data)
    return packed.getvalue()


KINDS = {
    "stored": stored(),
    "deflated": stored(compression=zipfile.ZIP_DEFLATED),
    "zip64": stored(force_zip64=True),
    "streamed": streamed(),
    "folders": with_folders(),
    "extra": with_extra_fields(),
    "prepended": b"#!/bin/sh\nexit\n" * 50 + stored(),
    "empty": stored({}),
    "one": stored({"1.jpg": b""}),
}


def directory(data, tmp_path, storage=None):
    path = tmp_path / "images.zip"
    path.write_bytes(data)
    storage = storage or Storage()
    return read_directory(storage.stat(str(path)), storage, tmp_path / "cache")


def contents(data, table):
    return {
        row["name"]: unpack(memoryview(data)[row["start"] : row["stop"]], row["size"], row["method"], row["crc"])
        for row in table.to_pylist()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_directory_is_zipfile_s_own(tmp_path, kind):
    with zipfile.ZipFile(io.BytesIO(KINDS[kind])) as archive:
        members = sorted(
            (each for each in archive.infolist() if not each.is_dir()), key=lambda member: member.header_offset
        )
        expected = {each.filename: archive.read(each) for each in members}
    table = directory(KINDS[kind], tmp_path)
    assert table.column("name").to_pylist() == [each.filename for each in members]
    assert table.column("start").to_pylist() == [each.header_offset for each in members]
    assert table.column("size").to_pylist() == [each.compress_size for each in members]
    assert table.column("crc").to_pylist() == [each.CRC for each in members]
    stops = table.column("stop").to_pylist()
    assert all(stop <= after for stop, after in zip(stops, table.column("start").to_pylist()[1:], strict=False))
    assert contents(KINDS[kind], table) == expected


class TestTheSidecar:
    @pytest.fixture
    def url(self, http_server):
        return http_server.put("images.zip", KINDS["stored"])

    def test_a_directory_costs_few_requests_and_is_kept(self, tmp_path, http_server, url):
        storage = Storage()
        info = storage.stat(url)
        first = read_directory(info, storage, tmp_path)
        assert [line.range for line in http_server.log.requests] == ["bytes=0-0", f"bytes=0-{info.size - 1}"]
        http_server.log.reset()
        assert read_directory(info, Storage(), tmp_path).equals(first)
        assert http_server.log.requests == []

    def test_little_is_read_of_a_large_zip(self, tmp_path, http_server):
        photos = {f"VG_100K/{number}.jpg": random.Random(number).randbytes(100_000) for number in range(1, 41)}
        url = http_server.put("images.zip", stored(photos))
        table = read_directory(Storage().stat(url), Storage(), tmp_path)
        assert len(table) == 40
        assert len(http_server.log.requests) == 2
        assert http_server.log.body_bytes < 600_000

    @pytest.mark.parametrize("force_zip64", [False, True])
    def test_a_large_directory_costs_one_request_more(self, tmp_path, http_server, force_zip64):
        """The real one has 4.5 MB; its end is read first, and tells where it begins."""
        many = {f"VG_100K/{'0' * 200}{number}.jpg": b"%d" % number for number in range(3_000)}
        data = stored(many, force_zip64=force_zip64)
        info = Storage().stat(http_server.put("images.zip", data))
        table = read_directory(info, Storage(), tmp_path)
        assert len(http_server.log.requests) == 3
        assert http_server.log.body_bytes < len(data)
        assert contents(data, table) == many

    @pytest.mark.parametrize("comment", [0, 1, 65_535 - 22, 65_535])
    @pytest.mark.parametrize("padding", [0, 60_000, 200_000])
    def test_the_end_is_found_before_any_comment_in_a_zip_of_any_size(self, tmp_path, http_server, comment, padding):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("1.jpg", bytes(padding))
            archive.comment = b"c" * comment
        url = http_server.put("images.zip", packed.getvalue())
        table = read_directory(Storage().stat(url), Storage(), tmp_path)
        assert contents(packed.getvalue(), table) == {"1.jpg": bytes(padding)}
        assert len(http_server.log.requests) == 2

    def test_a_changed_zip_is_read_again(self, tmp_path, http_server, url):
        read_directory(Storage().stat(url), Storage(), tmp_path)
        http_server.put("images.zip", KINDS["one"])
        table = read_directory(Storage().stat(url), Storage(), tmp_path)
        assert table.column("name").to_pylist() == ["1.jpg"]

    def test_two_zips_of_one_name_are_two(self, tmp_path, http_server):
        urls = [http_server.put(f"{name}/images.zip", KINDS[name]) for name in ("stored", "folders")]
        tables = [read_directory(Storage().stat(url), Storage(), tmp_path) for url in urls]
        assert len(tables[0]) + 2 == len(tables[1])

    def test_a_server_that_fails_is_not_a_broken_zip(self, tmp_path, http_server, url):
        """zipfile takes any OSError for a broken zip, and our errors are OSErrors too."""
        many = {f"VG_100K/{'0' * 200}{number}.jpg": b"" for number in range(1_000)}
        infos = [Storage().stat(url), Storage().stat(http_server.put("many/images.zip", stored(many)))]
        for requests, info in enumerate(infos):  # before the last: the end of the second is read, its directory is not
            for code, error in ((403, "AccessDenied"), (500, "SourceUnreachable"), (404, "SourceNotFound")):
                http_server.faults.clear()
                http_server.faults.add(Fault("status", code=code, after=requests, times=None))
                with pytest.raises(SvitError) as caught:
                    read_directory(info, Storage(attempts=2, backoff=0.01), tmp_path)
                assert type(caught.value).__name__ == error
            http_server.faults.clear()
            http_server.faults.add(Fault("changed_etag", after=requests, times=None))
            with pytest.raises(SvitError, match="changed while it was read"):
                read_directory(info, Storage(), tmp_path)
        assert not list(tmp_path.iterdir())

    def test_a_zip_that_changed_since_it_was_looked_at_leaves_no_directory(self, tmp_path, http_server, url):
        """Its directory would be kept under the name of the one before."""
        path = tmp_path / "images.zip"
        path.write_bytes(KINDS["stored"])
        infos = [Storage().stat(url), Storage().stat(str(path))]
        http_server.put("images.zip", KINDS["folders"])
        path.write_bytes(KINDS["folders"])
        for info in infos:
            with pytest.raises(SourceChanged, match=r"images\.zip changed while it was read"):
                read_directory(info, Storage(), tmp_path / "cache")
        assert not (tmp_path / "cache").exists()


class TestDamage:
    @pytest.mark.parametrize("keep", [0, 1, 21, 22, 100, 30_000, -1, -22, -23, -1_000])
    def test_a_zip_that_breaks_off(self, tmp_path, keep):
        data = KINDS["stored"][:keep]
        with pytest.raises(CorruptFile, match=rf"images\.zip \({len(data):,} bytes\).*Copy or download it again"):
            directory(data, tmp_path)
        assert not (tmp_path / "cache").exists()

    def test_what_is_no_zip(self, tmp_path):
        with pytest.raises(CorruptFile, match=r"images\.zip .*not a zip file"):
            directory(b"<html>" * 1_000, tmp_path)

    def test_a_password(self, tmp_path):
        data = bytearray(KINDS["stored"])
        data[data.index(b"PK\1\2") + 8] |= 1
        with pytest.raises(CorruptFile, match=r"images\.zip: VG_100K/1\.jpg is encrypted\. Give a zip without"):
            directory(bytes(data), tmp_path)

    def test_a_changed_byte_anywhere_is_found_or_does_no_harm(self, tmp_path):
        members = {"VG_100K/1.jpg": b"a" * 40, "VG_100K/2.jpg": b"b" * 40}
        data = stored(members, zipfile.ZIP_DEFLATED)
        for at in range(len(data)):
            for turn in (0x01, 0x08, 0x80, 0xFF):
                changed = data[:at] + bytes([data[at] ^ turn]) + data[at + 1 :]
                try:
                    found = contents(changed, directory(changed, tmp_path))
                except CorruptFile:
                    continue
                assert set(found.values()) <= set(members.values()), f"byte {at}"

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_other_methods_are_refused_when_a_member_is_read(self, tmp_path, method):
        data = stored(compression=method)
        with pytest.raises(CorruptFile, match=f"compression method {method} is not supported; store or deflate it"):
            contents(data, directory(data, tmp_path))


class TestUnpack:
    HEAD = struct.pack("<4s22xHH", b"PK\3\4", 5, 0) + b"1.jpg"

    def test_a_member(self):
        assert unpack(memoryview(self.HEAD + b"abc" + b"next"), 3, 0, zlib.crc32(b"abc")) == b"abc"

    @pytest.mark.parametrize("method", [0, 8])
    def test_unverified_other_bytes_of_the_right_length_pass(self, method):
        content = b"abd" if method == 0 else zlib.compress(b"abd", wbits=-15)
        data = memoryview(self.HEAD + content)
        assert unpack(data, len(content), method, zlib.crc32(b"abc"), verify=False) == b"abd"
        with pytest.raises(CorruptFile, match="CRC-32"):
            unpack(data, len(content), method, zlib.crc32(b"abc"))

    @pytest.mark.parametrize("verify", [True, False])
    @pytest.mark.parametrize(
        ("data", "size", "method", "message"),
        [
            (b"PK\3\4", 3, 0, "breaks off inside a local header"),
            (b"", 3, 0, "breaks off inside a local header"),
            (b"\xff\xd8" + b"\0" * 40, 3, 0, r"no local header stands there, but b'\\xff\\xd8"),
            (HEAD + b"ab", 3, 0, "2 of 3 bytes are there"),
            (HEAD + b"\xff\xff\xff", 3, 8, "cannot be inflated"),
            (HEAD + zlib.compress(b"abc", wbits=-15)[:-1], 4, 8, "cannot be inflated"),
            (HEAD + b"abc", 3, 99, "compression method 99 is not supported"),
        ],
    )
    def test_what_is_not_that_member(self, data, size, method, message, verify):
        with pytest.raises(CorruptFile, match=message):
            unpack(memoryview(data), size, method, zlib.crc32(b"abc"), verify=verify)
