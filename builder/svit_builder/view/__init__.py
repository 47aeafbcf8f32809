"""A dataset in, pages to look at it out: served to a browser on this machine, or written as files.

`shelf` reads, `pieces`, `search`, `loss`, `pictures` and `figures` make of it what is shown, `pages` writes it as
HTML by the templates beside it, `links` says where pages are. `app` answers a browser, `files` writes to a folder.
"""

from __future__ import annotations

from svit_builder.view.files import write_pages
from svit_builder.view.server import serve

__all__ = ["serve", "write_pages"]
