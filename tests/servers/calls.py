"""What every endpoint of the Hub shares: a request that found its route, the answer as JSON, and a refusal.

`hub` has the endpoints that read and `writing` those that change something; both are lists of `Route`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from .messages import Request, Response

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping

    from .hub import Hub

DATE = "2026-01-01T00:00:00.000Z"  # of every commit
REPO = r"(?P<repo>[^/]+/[^/]+?)"
REVISION = r"(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+)"  # a quoted refs%2Fconvert%2Fparquet is one segment


class HubError(Exception):
    """An answer in the Hub's way of refusing: huggingface_hub chooses its exception by `code`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """`code` may be empty, as it is on the real Hub for bad credentials; `fields` join the error in the body."""
        super().__init__(message)
        named = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self.response = json_answer({"error": message, **(fields or {})}, status=status, headers=named)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has found its route."""

    request: Request
    names: Mapping[str, str]  # the route's groups, unquoted
    query: Mapping[str, str]

    def fields(self) -> Mapping[str, Any]:
        """The body: JSON, or a form with its values in lists."""
        if "json" in self.request.headers.get("content-type", ""):
            fields: dict[str, Any] = json.loads(self.request.body or b"{}")
            return fields
        return parse_qs(self.request.body.decode())

    def lines(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The body as lines of JSON, each a key and its value: the form of a commit."""
        found = [json.loads(line) for line in self.request.body.splitlines()]
        return [(line["key"], line["value"]) for line in found]


class Route(NamedTuple):
    """Which function answers what."""

    method: str  # GET answers HEAD as well
    pattern: re.Pattern[str]  # of the quoted path
    answer: Callable[[Hub, Call], Response]


def json_answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON."""
    return Response(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode())
