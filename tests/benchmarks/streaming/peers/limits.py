"""What the machine can do at most: JPEG decoding from memory, one connection to the loopback server, the disk."""

from __future__ import annotations

import os
import zipfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from tests.benchmarks.streaming.peers.source import pixels
from tests.benchmarks.timing import MB, main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.timing import Items

_PIECE = 4 << 20  # bytes


def decode(setting: dict[str, Any]) -> Items:
    """Decode every photo from memory by `threads`, 0 for the main thread alone, with Pillow or simplejpeg."""
    photos = []
    for zip_file in sorted(Path(setting["folder"]).glob("raw/*.zip")):
        with zipfile.ZipFile(zip_file) as archive:
            photos += [archive.read(name) for name in archive.namelist()]
    by = _simplejpeg if setting["decoder"] == "simplejpeg" else pixels
    threads = setting["threads"]
    for number, image in enumerate(_in_threads(photos, by, threads) if threads else map(by, photos)):
        assert image is not None
        yield number


def http(setting: dict[str, Any]) -> Items:
    """Read the larger zip in one request; yields MB."""
    with urlopen(f"{setting['root']}/raw/images.zip", timeout=60) as response:
        yield 0.0
        yield from _sizes(response)


def disk(setting: dict[str, Any]) -> Items:
    """Read the larger zip from the disk, not from the system's memory of it; yields MB."""
    with (Path(setting["folder"]) / "raw" / "images.zip").open("rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        yield 0.0
        yield from _sizes(file)


def _sizes(file: Any) -> Items:
    into = memoryview(bytearray(_PIECE))
    while count := file.readinto(into):
        yield count / MB


def _simplejpeg(data: bytes) -> Any:
    import simplejpeg

    return simplejpeg.decode_jpeg(data, "RGB")


def _in_threads(photos: list[bytes], by: Callable[[bytes], Any], threads: int) -> Iterator[Any]:
    """Decode in order, with at most 32 photos a thread waiting."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Any] = deque()
        for data in photos:
            waiting.append(pool.submit(by, data))
            if len(waiting) >= 32 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


if __name__ == "__main__":
    main([decode, http, disk])
