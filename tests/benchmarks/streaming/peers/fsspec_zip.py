"""fsspec: each photo by its URL inside the zip over http, or all in the zip's order from one open file system.

The text is read beforehand by nobody here: these cases read photos alone, which is in the peer's favour.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tests.benchmarks.streaming.peers.source import pixels
from tests.benchmarks.timing import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.timing import Items


def decoded(setting: dict[str, Any]) -> Items:
    """Open each photo by its URL, one after another."""
    import fsspec

    for url in setting["urls"]:
        with fsspec.open(url) as file:
            pixels(file.read())
        yield _id(url.partition("::")[0])


def sorted_decoded(setting: dict[str, Any]) -> Items:
    """One open zip, its photos in the order of their bytes, so that fsspec's read-ahead serves the next ones."""
    for name, data in _in_order(setting):
        pixels(data)
        yield _id(name)


def sorted_undecoded(setting: dict[str, Any]) -> Items:
    """The same, the photos' bytes."""
    for name, _ in _in_order(setting):
        yield _id(name)


def _in_order(setting: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    import fsspec

    for zip_name in ("images.zip", "images2.zip"):
        files = fsspec.filesystem("zip", fo=f"{setting['root']}/raw/{zip_name}")
        places = {info.filename: info.header_offset for info in files.zip.infolist()}
        for name in sorted(places, key=places.__getitem__):
            yield name, files.cat_file(name)


def _id(name: str) -> int:
    return int(PurePosixPath(name).stem)


if __name__ == "__main__":
    main([decoded, sorted_decoded, sorted_undecoded])
