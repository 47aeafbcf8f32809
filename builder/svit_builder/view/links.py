"""A page's place in, its address out: under a server, or of a file relative to another."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svit_builder.view.shelf import Shelf

__all__ = ["Links", "filed", "path_of", "served"]

_NO_ENDINGS: Mapping[tuple[str, int], str] = {}


class Links:
    """Where pages lead to. The same paths everywhere; files end in ``.html`` and take no queries but a search's.

    Args:
        shelf: names rows.
        root: what every address begins with.
        ending: of pages; "" under a server.
        stamp: differs between two datasets, so that a browser never shows a photo of the other; "" for files.
        photos: how the files of photos end, by configuration and row.
    """

    def __init__(
        self,
        shelf: Shelf,
        root: str,
        *,
        ending: str = "",
        stamp: str = "",
        photos: Mapping[tuple[str, int], str] = _NO_ENDINGS,
    ) -> None:
        self._shelf = shelf
        self._root = root
        self._ending = ending
        self._stamp = stamp
        self._photos = photos

    def asset(self, name: str) -> str:
        """Return the address of a style sheet, script or icon."""
        return f"{self._root}assets/{name}"

    def config(self, config: str) -> str:
        """Return the address of a configuration's first page; a server need not have opened it."""
        if not self._ending:
            return f"{self._root}{config}"
        return self.gallery(config, next(iter(self._shelf.splits(config))))

    def gallery(self, config: str, split: str, page: int = 1) -> str:
        """Return the address of a page of the gallery."""
        return f"{self._root}{config}/{quote(split)}/page-{page}{self._ending}"

    def row(self, config: str, number: int, *, query: str = "", preset: str = "") -> str:
        """Return the address of a row's page, with what was searched for and the chat template that was chosen."""
        split = quote(self._shelf.data(config).split_of(number))
        path = f"{self._root}{config}/{split}/{self._shelf.name_of(config, number)}{self._ending}"
        return path if self._ending else path + _query(q=query, preset=preset)

    def photo(self, config: str, number: int) -> str:
        """Return the address of a row's photo."""
        ending = f".{self._photos.get((config, number), 'jpg')}" if self._ending else ""
        return f"{self._root}{config}/photos/{number}{ending}{_query(v=self._stamp)}"

    def thumbnail(self, config: str, number: int) -> str:
        """Return the address of a row's thumbnail."""
        return f"{self._root}{config}/thumbnails/{number}{'.jpg' if self._ending else ''}{_query(v=self._stamp)}"

    def search(self, config: str, query: str = "", start: int = 0) -> str:
        """Return the address of a search from a row on."""
        return f"{self._root}{config}/search{self._ending}{_query(q=query, start=start or '')}"

    def stats(self, config: str) -> str:
        """Return the address of a configuration's statistics."""
        return f"{self._root}{config}/stats{self._ending}"

    def plot(self, config: str, name: str) -> str:
        """Return the address of a plot."""
        return f"{self._root}{config}/plots/{quote(name)}.svg"


def served(shelf: Shelf, stamp: str) -> Links:
    """Return the addresses under a server."""
    return Links(shelf, "/", stamp=stamp)


def filed(shelf: Shelf, depth: int, photos: Mapping[tuple[str, int], str] = _NO_ENDINGS) -> Links:
    """Return addresses as they stand in a file so many folders below the first page."""
    return Links(shelf, "../" * depth, ending=".html", photos=photos)


def path_of(address: str) -> str:
    """Return the path of a file from its address in the first page."""
    return address.partition("?")[0]


def _query(**values: object) -> str:
    given = {name: str(value) for name, value in values.items() if value != ""}
    return f"?{urlencode(given)}" if given else ""
