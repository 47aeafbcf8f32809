"""A zip of photos in, where each member's bytes lie out; and back from such bytes to the member's content.

The directory is read once, in one or two range requests, and kept as a small sidecar in the cache. After that a photo
is one byte range, and neighbours share one. Names are not interpreted here.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.ipc

from svit_datasets.cache import write_atomically
from svit_datasets.columns import flags, integers, strings
from svit_datasets.errors import CorruptFile
from svit_datasets.sources import ZIP_TAIL, explain_damage

if TYPE_CHECKING:
    from pathlib import Path

    from svit_datasets.storage import FileInfo, Storage

__all__ = ["DIRECTORY", "read_directory", "unpack"]

_FORMAT = 2  # raise it when the sidecar's columns change
DIRECTORY = pa.schema(
    [
        ("name", pa.string()),  # of the member, as in the zip
        ("start", pa.int64()),  # byte at which its local header begins
        (
            "stop",
            pa.int64(),
        ),  # byte at which whatever follows it begins: a bound that needs no look at the local header
        ("size", pa.int64()),  # bytes of its content as stored
        ("method", pa.int32()),  # 0 stored, 8 deflated
        ("crc", pa.int64()),  # CRC-32 of its content
    ]
)
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field


def read_directory(info: FileInfo, storage: Storage, cache: Path) -> pa.Table:
    """Return a zip's members as a table (see DIRECTORY), in the order of their bytes; from the sidecar if there is one.

    Raises:
        CorruptFile: it is no zip, is cut off, or is encrypted.
        SourceChanged: it is another file than ``info`` tells of.
        SvitError: as in `Storage.open`.
    """
    key = hashlib.sha256(f"{_FORMAT}\0{info.url}\0{info.size}\0{info.fingerprint}".encode()).hexdigest()[:16]
    sidecar = cache / "zips" / f"{info.url.rsplit('/', 1)[-1]}-{key}.arrow"
    if not sidecar.is_file():
        table = _parse_directory(info, storage)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        write_atomically(sidecar, sink.getvalue().to_pybytes())
    with pa.OSFile(str(sidecar)) as file:
        return pa.ipc.open_file(file).read_all()


def _parse_directory(info: FileInfo, storage: Storage) -> pa.Table:
    with storage.open_found(info, tail=ZIP_TAIL) as raw, explain_damage(f"{info.url} ({info.size:,} bytes)", raw):
        archive = zipfile.ZipFile(raw)
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        starts = [member.header_offset for member in members]
        end = archive.start_dir
    storage.check(info)
    encrypted = next((member for member in members if member.flag_bits & 1), None)
    if encrypted is not None:
        raise CorruptFile(f"{info.url}: {encrypted.filename} is encrypted. Give a zip without a password.")
    columns = {
        "start": starts,
        "stop": [*starts[1:], end][: len(starts)],
        "size": [member.compress_size for member in members],
        "method": [member.compress_type for member in members],
        "crc": [member.CRC for member in members],
    }
    arrays = [integers(values, DIRECTORY.field(name).type) for name, values in columns.items()]
    found = pa.Table.from_arrays([strings([member.filename for member in members]), *arrays], schema=DIRECTORY)
    return found.filter(flags([not member.is_dir() for member in members]))


def unpack(data: memoryview[Any], size: int, method: int, crc: int, *, verify: bool = True) -> bytes:
    """Return a member's content from the bytes between its ``start`` and its ``stop``.

    Args:
        data: those bytes.
        size: of the content as stored, bytes.
        method: 0 stored, 8 deflated.
        crc: CRC-32 of the content.
        verify: compute the CRC-32 and compare it; without it only the local header and the length are looked at.

    Raises:
        CorruptFile: the bytes are not that member, or their CRC-32 is wrong; the message says which. The caller adds
            file and name.
    """
    if len(data) < _LOCAL_HEADER.size:
        raise CorruptFile("the zip breaks off inside a local header")
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(data)
    if signature != b"PK\3\4":
        raise CorruptFile(f"no local header stands there, but {bytes(data[:4])!r}")
    at = 30 + name_length + extra_length
    content = bytes(data[at : at + size])
    if len(content) != size:
        raise CorruptFile(f"{len(content):,} of {size:,} bytes are there")
    if method == zipfile.ZIP_DEFLATED:
        try:
            content = zlib.decompress(content, -zlib.MAX_WBITS)
        except zlib.error as error:
            raise CorruptFile(f"cannot be inflated ({error})") from error
    elif method != zipfile.ZIP_STORED:
        raise CorruptFile(f"compression method {method} is not supported; store or deflate it")
    if verify and zlib.crc32(content) != crc:
        raise CorruptFile("the CRC-32 of its bytes is not the one in the zip's directory")
    return content
