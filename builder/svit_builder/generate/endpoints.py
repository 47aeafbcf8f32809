"""A place that serves /v1/chat/completions: how it is opened, what its replies say, and whose fault a failure is.

`client` asks some of them one by one, `batch` one of them in files. The key comes from the environment and goes
nowhere but to the endpoint: errors, journal and logs name the variable only.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from svit_builder.generate.protocol import Reply
from svit_datasets.errors import EndpointError, MissingDependency

if TYPE_CHECKING:
    from svit_builder.generate.protocol import Request

__all__ = ["RETRIES", "Endpoint", "Refused", "Unanswered", "explained", "open_endpoint", "read_reply"]

RETRIES = 8  # of the SDK, with waits of 0.5 to 8 s: about 40 s until an endpoint counts as gone
FIRST_PAUSE, LAST_PAUSE = 5.0, 60.0  # seconds until a dead endpoint is tried again; doubles between them
_MAY_PASS = {408, 409, 429}  # as the SDK sees it; and all from 500 on


class Refused(Exception):
    """The endpoint will not answer this very request: (reason, message, host)."""


class Unanswered(Exception):
    """No answer came, for reasons that may pass: (reason, message, host)."""


@dataclass
class Endpoint:
    """One base URL."""

    url: str  # usually ends in /v1
    sdk: Any  # openai.AsyncOpenAI
    key_name: str  # of the environment variable with the key
    dead_until: float = 0.0  # on the loop's clock; 0: alive
    pause: float = FIRST_PAUSE

    @property
    def host(self) -> str:
        """Name and port, without a user or a path."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def open_endpoint(url: str, key_name: str, *, http: Any = None, retries: int = RETRIES) -> Endpoint:
    """Return an endpoint; nothing is asked yet.

    Args:
        url: the base, such as http://127.0.0.1:8000/v1.
        key_name: of the environment variable with the key; endpoints without keys take any.
        http: an httpx2.AsyncClient to share; None: one of its own.
        retries: of the SDK.

    Raises:
        MissingDependency: the openai package is not installed.
    """
    try:
        import openai  # noqa: PLC0415 - belongs to the extra, and takes a second
    except ImportError as error:
        raise MissingDependency(
            'Asking an endpoint needs the openai package: pip install "svit-datasets[generate]". '
            "Without it, --model rules works."
        ) from error
    key = os.environ.get(key_name) or "none"
    sdk = openai.AsyncOpenAI(base_url=url, api_key=key, http_client=http, max_retries=retries)
    return Endpoint(url, sdk, key_name)


def read_reply(body: bytes | dict[str, Any], latency: float, host: str) -> Reply:
    """Return what a chat completion says.

    Args:
        body: JSON, or what it says.
        latency: seconds that it took.
        host: for the error.

    Raises:
        Refused: it is no chat completion.
    """
    try:
        data = json.loads(body) if isinstance(body, bytes) else body
        choice = data["choices"][0]
        message = choice["message"]
        content = message.get("content") or message.get("refusal") or ""
        if isinstance(content, list):  # parts
            content = "".join(part.get("text", "") for part in content)
        usage = data.get("usage") or {}
        return Reply(
            str(content),
            choice.get("finish_reason"),
            str(data.get("model") or ""),
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            data.get("id"),
            data.get("system_fingerprint"),
            latency,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        shown = body[:500].decode("utf-8", "replace") if isinstance(body, bytes) else str(body)[:500]
        raise Refused("unreadable", f"{type(error).__name__}: {shown}", host) from error


def may_pass(status: int) -> bool:
    """Tell whether the same request may be answered later."""
    return status in _MAY_PASS or status >= 500


def explained(error: Any, endpoint: Endpoint, request: Request | None = None) -> Exception:
    """Return what an error of the SDK means, after its retries.

    Args:
        error: an openai.OpenAIError.
        endpoint: who was asked.
        request: what was asked; None: nothing that is about one request, so that no other would fare better.

    Returns:
        `Refused` or `Unanswered` where only this request is concerned, else `EndpointError`.
    """
    import openai  # noqa: PLC0415

    status = getattr(error, "status_code", None)
    said = " ".join(str(getattr(error, "message", error)).split()).removeprefix(f"Error code: {status} - ")[:500]
    where = f"{endpoint.url}: {f'status {status} ({said})' if status else said}."
    if status in {401, 403}:
        given = "is refused" if os.environ.get(endpoint.key_name) else "is not set"
        return EndpointError(
            f"{where} The key in {endpoint.key_name} {given}: set it, or name another with --key-name."
        )
    if status == 404:
        model = f"--model {request.model} and " if request else ""
        return EndpointError(
            f"{where} Check {model}--base-url, which usually ends in /v1; "
            f"{endpoint.url.rstrip('/')}/models lists what is served."
        )
    if status == 402 or getattr(error, "code", None) == "insufficient_quota":
        return EndpointError(f"{where} The account behind the key is spent. All replies so far are in the journal.")
    if request is None:
        return EndpointError(f"{where} All that came so far is in the journal: go on with --resume.")
    if status is None:
        reason = "timeout" if isinstance(error, openai.APITimeoutError) else "connection"
        return Unanswered(reason, str(error.__cause__ or error), endpoint.host)
    if may_pass(status):
        return Unanswered(f"http_{status}", said, endpoint.host)
    return Refused(f"http_{status}", said, endpoint.host)
