"""The application in, a port that answers out, until it is interrupted."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aiohttp import web

from svit_builder.view.app import make_app
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from svit_builder.view.loss import Templates
    from svit_builder.view.shelf import Shelf

__all__ = ["serve", "serving"]


def serve(shelf: Shelf, templates: Templates, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer requests until the process is interrupted or told to end.

    Args:
        shelf: the dataset.
        templates: which chat templates can be chosen.
        host: to listen on.
        port: to listen on; 0 for any that is free.
        ready: called with the address once it answers.

    Raises:
        OptionError: the port cannot be had.
    """
    asyncio.run(_until_interrupted(shelf, templates, host, port, ready))


async def _until_interrupted(
    shelf: Shelf, templates: Templates, host: str, port: int, ready: Callable[[str], None]
) -> None:
    async with serving(shelf, templates, host=host, port=port) as address:
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # on Windows, where Ctrl-C is a KeyboardInterrupt
                asyncio.get_running_loop().add_signal_handler(number, ended.set)
        ready(address)
        await ended.wait()


@asynccontextmanager
async def serving(shelf: Shelf, templates: Templates, *, host: str, port: int) -> AsyncGenerator[str]:
    """Answer requests as long as the context lasts, and give the address; for the arguments see `serve`."""
    runner = web.AppRunner(make_app(shelf, templates, host=host), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise OptionError(
                f"Nothing can listen on {host}, port {port}: {error.strerror}. Give another --port, or 0 for any."
            ) from error
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
