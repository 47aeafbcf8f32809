"""Serve a directory until interrupted; print the URL first.

The command line of the file server: ``python -m tests.servers DIR --port 0 --latency 0.02``.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from .http import COUNTERS, FileServer
from .messages import Request, Response


class CountedServer(FileServer):
    """A file server that tells its counters, for those who cannot look inside."""

    def handle(self, request: Request) -> Response:
        """Counters, or files."""
        if request.path != COUNTERS:
            return super().handle(request)
        if request.method == "DELETE":
            self.log.reset()
        requests = sum(not line.path.startswith(COUNTERS) for line in self.log.requests)
        return Response(200, {"X-Requests": str(requests), "X-Body-Bytes": str(self.log.body_bytes)})


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0: the system chooses")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--until-stdin-ends", action="store_true", help="end when the parent does")
    options = parser.parse_args()
    with CountedServer(options.directory, latency=options.latency, port=options.port) as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            if options.until_stdin_ends:
                sys.stdin.read()
            else:
                server.join()


main()
