"""A dataset in, a local web application out: routes, headers, and which requests are answered at all.

Reads are done in threads, so that one slow read holds nobody else up. Pages are written by `pages`; nothing here
knows HTML.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from svit_builder.view.figures import Figures
from svit_builder.view.links import served
from svit_builder.view.pages import ASSETS, POLICY, Pages, asset
from svit_builder.view.pictures import icon
from svit_builder.view.search import search, tidy
from svit_datasets.errors import SvitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from svit_builder.view.loss import Templates
    from svit_builder.view.shelf import Place, Shelf

__all__ = ["Application", "is_loopback", "make_app"]

_T = TypeVar("_T")
_THREADS = 8
_SEARCHES = 2  # at a time; others wait
_PIECE = 0.05  # seconds; a page of results is sent in pieces of what was found in that time
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_DRAWING = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"  # a plot's own styles
_KEEP = "private, max-age=86400, immutable"  # the address of a photo names the dataset


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host."""
    return host in _LOOPBACK or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def make_app(shelf: Shelf, templates: Templates, *, host: str = "127.0.0.1") -> web.Application:
    """Return the application.

    Args:
        shelf: the dataset.
        templates: which chat templates can be chosen.
        host: it will listen on; requests that were meant for another are refused, so that no page on the web can
            read the dataset by a name that it has pointed at this machine (DNS rebinding).
    """
    return Application(shelf, templates, host).app


class Application:
    """Answers requests."""

    def __init__(self, shelf: Shelf, templates: Templates, host: str) -> None:
        self._shelf = shelf
        self._host = host
        self._pages = Pages(shelf, templates)
        self._figures = Figures(shelf)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="svit-view")
        self._searches = asyncio.Semaphore(_SEARCHES)
        self._background: set[asyncio.Future[None]] = set()
        stamp = hashlib.sha256(f"{shelf.place} {time.time_ns()} {os.getpid()}".encode()).hexdigest()[:12]
        self._links = served(shelf, stamp)
        self._assets = {name: (asset(name), kind) for name, kind in ASSETS.items()} | {
            "icon.png": (icon(), "image/png")
        }
        self.app = web.Application(middlewares=[self._guard, self._explain])
        self.app.add_routes(
            [
                web.get("/", self._home),
                web.get("/assets/{name}", self._asset),
                web.get("/{config}", self._config),
                web.get("/{config}/search", self._search),
                web.get("/{config}/stats", self._stats),
                web.get("/{config}/plots/{plot:[a-z_]+}.svg", self._plot),
                web.get("/{config}/photos/{number:[0-9]{1,15}}", self._photo),
                web.get("/{config}/thumbnails/{number:[0-9]{1,15}}", self._thumbnail),
                web.get("/{config}/{split}/page-{page:[0-9]{1,9}}", self._gallery),
                web.get("/{config}/{split}/{name}", self._row),
            ]
        )
        self.app.on_response_prepare.append(self._add_headers)
        self.app.on_cleanup.append(self._close)

    # Every request --------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"))
        if not self._is_ours(request.headers.get("Host", "")):
            raise web.HTTPMisdirectedRequest(text="This server answers requests to its own address only.\n")
        return await handler(request)

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.removeprefix("[").removesuffix("]").lower()
        return is_loopback(name) or name == self._host.lower() or (not is_loopback(self._host) and _is_address(name))

    @web.middleware
    async def _explain(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer with a page where something is not there, or cannot be read."""
        try:
            return await handler(request)
        except web.HTTPNotFound:
            text = self._pages.error(self._links, "Not here", "There is no such page in this dataset.")
            return web.Response(text=text, status=404, content_type="text/html")
        except (SvitError, OSError) as error:
            text = self._pages.error(self._links, "This cannot be read", str(error))
            return web.Response(text=text, status=500, content_type="text/html")

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        del request
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)

    async def _close(self, app: web.Application) -> None:
        del app
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._figures.close)

    async def _in_thread(self, function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments, **options))

    # Pages ----------------------------------------------------------------------------------------------------------

    async def _home(self, request: web.Request) -> web.StreamResponse:
        del request
        raise web.HTTPFound(self._links.config(self._shelf.configs[0]))

    async def _config(self, request: web.Request) -> web.StreamResponse:
        config = self._config_of(request)
        splits = await self._in_thread(self._shelf.splits, config)
        raise web.HTTPFound(self._links.gallery(config, next(iter(splits))))

    async def _gallery(self, request: web.Request) -> web.StreamResponse:
        config, page = self._config_of(request), int(request.match_info["page"])
        at = await self._in_thread(self._shelf.gallery, config, request.match_info["split"], page)
        if at is None:
            raise web.HTTPNotFound
        self._make_thumbnails(config, at)
        return _page(await self._in_thread(self._pages.gallery, self._links, config, at))

    def _make_thumbnails(self, config: str, at: Place) -> None:
        """Begin to make a page's thumbnails: their photos lie side by side, and will be asked for one by one."""

        async def make() -> None:
            try:
                await self._in_thread(self._shelf.make_thumbnails, config, range(at.start, at.stop))
            except SvitError:
                return  # each thumbnail says it again

        task = asyncio.ensure_future(make())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _row(self, request: web.Request) -> web.StreamResponse:
        config = self._config_of(request)
        number = await self._in_thread(self._shelf.number_of, config, request.match_info["name"])
        if number is None:
            raise web.HTTPNotFound
        query, preset = tidy(request.query.get("q", "")), request.query.get("preset", "")
        if self._shelf.data(config).split_of(number) != request.match_info["split"]:
            raise web.HTTPFound(self._links.row(config, number, query=query, preset=preset))
        text = await self._in_thread(self._pages.row, self._links, config, number, query=query, preset=preset)
        return _page(text)

    async def _stats(self, request: web.Request) -> web.StreamResponse:
        config = self._config_of(request)
        values = await self._in_thread(self._figures.values, config)
        response = _page(await self._in_thread(self._pages.stats, self._links, config, **values))
        if not values["measured"].done:
            response.headers["Refresh"] = "1"
        return response

    async def _search(self, request: web.Request) -> web.StreamResponse:
        """Send a page of results while they are found; who leaves the page ends the search."""
        config, query = self._config_of(request), tidy(request.query.get("q", ""))
        start = request.query.get("start", "0")
        data = await self._in_thread(self._shelf.data, config)
        at = int(start) if start.isascii() and start.isdecimal() and len(start) < 16 else 0
        at = min(at, len(data))
        hits = search(data, query, start=at) if query and request.method == "GET" else iter(())
        pieces = self._pages.found(self._links, config, query, hits, start=at)
        response = web.StreamResponse(headers={"Content-Type": "text/html; charset=utf-8"})
        async with self._searches:
            await response.prepare(request)
            try:
                while piece := await self._in_thread(_next_piece, pieces):
                    await response.write(piece.encode())
            except ConnectionError:  # the reader has left
                return response
            except (SvitError, OSError) as error:
                await response.write(self._pages.broken_off(str(error)).encode())
            finally:
                await self._in_thread(pieces.close)
        return response

    # Files ----------------------------------------------------------------------------------------------------------

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._assets:
            raise web.HTTPNotFound
        body, kind = self._assets[name]
        return web.Response(body=body, content_type=kind, charset=None if kind.startswith("image/") else "utf-8")

    async def _photo(self, request: web.Request) -> web.StreamResponse:
        config, number = self._number_of(request)
        picture = await self._in_thread(self._shelf.picture, config, number)
        if picture is None:
            raise web.HTTPNotFound
        return web.Response(body=picture.data, content_type=picture.kind, headers={"Cache-Control": _KEEP})

    async def _thumbnail(self, request: web.Request) -> web.StreamResponse:
        config, number = self._number_of(request)
        picture = await self._in_thread(self._shelf.thumbnail, config, number)
        return web.Response(body=picture.data, content_type=picture.kind, headers={"Cache-Control": _KEEP})

    async def _plot(self, request: web.Request) -> web.StreamResponse:
        drawn = self._figures.of(self._config_of(request)).plots.get(request.match_info["plot"])
        if drawn is None:
            raise web.HTTPNotFound
        return web.Response(text=drawn, content_type="image/svg+xml", headers={"Content-Security-Policy": _DRAWING})

    # Parts of addresses ---------------------------------------------------------------------------------------------

    def _config_of(self, request: web.Request) -> str:
        config = request.match_info["config"]
        if config not in self._shelf.configs:
            raise web.HTTPNotFound
        return config

    def _number_of(self, request: web.Request) -> tuple[str, int]:
        config, number = self._config_of(request), int(request.match_info["number"])
        size = self._shelf.size(config)
        if size is None or number >= size:  # a page that shows a photo has opened its configuration
            raise web.HTTPNotFound
        return config, number


def _page(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _next_piece(pieces: Iterator[str]) -> str:
    """Return what comes within a moment; "" at the end."""
    until = time.monotonic() + _PIECE
    some = []
    for piece in pieces:
        some.append(piece)
        if time.monotonic() > until:
            break
    return "".join(some)
