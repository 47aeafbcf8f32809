"""A dataset in, the same pages as files out: for any static host, or to be opened from a disk.

Rows are read once, a page at a time. A folder is written that was empty or not there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from svit_builder.view.figures import Figures
from svit_builder.view.links import filed, path_of
from svit_builder.view.pages import ASSETS, Pages, asset, has_photo, title_of
from svit_builder.view.pictures import icon
from svit_builder.view.pieces import blocks_of, plain
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from svit_builder.view.links import Links
    from svit_builder.view.loss import Templates
    from svit_builder.view.shelf import Shelf
    from svit_datasets.rows import Row

__all__ = ["INDEXED", "write_pages"]

INDEXED = 5_000  # rows of a configuration, at most, whose texts a browser is asked to load for a search

_SAID = {"user": "question", "assistant": "answer"}


def write_pages(
    shelf: Shelf, templates: Templates, out: str | Path, *, progress: Callable[[int], None] | None = None
) -> int:
    """Write all pages of a dataset, up to the shelf's limit.

    Args:
        shelf: the dataset.
        templates: the first that was given renders the rows.
        out: the folder; ``index.html`` is the first page.
        progress: called with the number of rows written so far.

    Returns:
        How many rows were written.

    Raises:
        OptionError: the folder has something in it.
        SvitError: a file of the dataset cannot be read.
        OSError: a file cannot be written.
    """
    root = Path(out).expanduser()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise OptionError(f"{root} is there and not an empty folder. Give a new one for the pages.")
    writer = _Writer(shelf, templates, root)
    writer.assets()
    count = 0
    for config in shelf.configs:
        for _ in writer.config(config):
            count += 1
            if progress is not None:
                progress(count)
    writer.first()
    return count


class _Writer:
    def __init__(self, shelf: Shelf, templates: Templates, root: Path) -> None:
        for config in shelf.configs:
            shelf.data(config)  # so that each page tells how many rows the others have
        self._shelf = shelf
        self._root = root
        self._pages = Pages(shelf, templates, static=True)
        self._figures = Figures(shelf)
        self._endings: dict[tuple[str, int], str] = {}

    def assets(self) -> None:
        for name in ASSETS:
            self._write(f"assets/{name}", asset(name))
        self._write("assets/icon.png", icon())

    def config(self, config: str) -> Iterator[int]:
        """Write a configuration, and yield the rows whose page is done."""
        top, inside, deep = (filed(self._shelf, depth, self._endings) for depth in range(3))
        splits = self._shelf.splits(config)
        index: list[dict[str, object]] = []
        shown = sum(split.shown for split in splits.values())
        for split in splits.values():
            for page in range(1, split.pages + 1):
                at = self._shelf.gallery(config, split.name, page)
                assert at is not None
                self._write(path_of(top.gallery(config, split.name, page)), self._pages.gallery(deep, config, at))
                self._shelf.make_thumbnails(config, range(at.start, at.stop))
                for number, row in self._shelf.texts(config, at.start, at.stop):
                    if has_photo(row):
                        self._photo(config, number, top)
                    self._write(path_of(top.row(config, number)), self._pages.row(deep, config, number))
                    if shown <= INDEXED:
                        index.append(_entry(inside, config, number, row))
                    yield number
        if index:
            data = json.dumps({"rows": index}, separators=(",", ":"))  # in ASCII
            self._write(f"{config}/search.data.js", f"globalThis.svitSearch = {data};\n")
        found = self._pages.found(inside, config, "", (), indexed=bool(index))
        self._write(path_of(top.search(config)), "".join(found))
        self._stats(config, top, inside)

    def _photo(self, config: str, number: int, top: Links) -> None:
        self._write(path_of(top.thumbnail(config, number)), self._shelf.thumbnail(config, number).data)
        picture = self._shelf.picture(config, number)
        if picture is not None:
            self._endings[config, number] = picture.ending
            self._write(path_of(top.photo(config, number)), picture.data)

    def _stats(self, config: str, top: Links, inside: Links) -> None:
        drawn = self._figures.measure(config).plots
        self._write(path_of(top.stats(config)), self._pages.stats(inside, config, **self._figures.values(config)))
        for name, text in drawn.items():
            self._write(path_of(top.plot(config, name)), text)

    def first(self) -> None:
        """Write the first page: the first of the first configuration, seen from the top."""
        config = self._shelf.configs[0]
        at = self._shelf.gallery(config, next(iter(self._shelf.splits(config))), 1)
        assert at is not None
        self._write("index.html", self._pages.gallery(filed(self._shelf, 0, self._endings), config, at))

    def _write(self, path: str, content: bytes | str) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)


def _entry(links: Links, config: str, number: int, row: Row) -> dict[str, object]:
    """Return what the search of a browser knows of a row."""
    texts = []
    for block in blocks_of(row):
        topic = [["topic", block["topic"]]] if block.get("topic") else []
        texts += topic + [[_SAID[message["role"]], plain(message["content"])] for message in block["messages"]]
    return {
        "id": row.get("image_id", row.get("id")),
        "title": title_of(row),
        "href": links.row(config, number),
        "thumbnail": links.thumbnail(config, number) if has_photo(row) else None,
        "texts": texts,
    }
