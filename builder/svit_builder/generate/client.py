"""A request in, a model's reply out, over HTTP with the openai SDK or from the model that is embedded here.

The SDK retries what a moment may mend (408, 409, 429, 5xx, broken connections) and waits as the endpoint tells it to;
here stands what it leaves open: several endpoints, of which a dead one is left out for a while, and how many requests
may be under way. What a failure means is in `endpoints`; what is done about it in `online`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from svit_builder.generate.calls import worst_tokens
from svit_builder.generate.compose import compose
from svit_builder.generate.endpoints import (
    FIRST_PAUSE,
    LAST_PAUSE,
    RETRIES,
    Unanswered,
    explained,
    open_endpoint,
    read_reply,
)
from svit_builder.generate.limits import Concurrency, Pace
from svit_builder.generate.protocol import Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from svit_builder.generate.endpoints import Endpoint
    from svit_builder.generate.protocol import Request

__all__ = ["Client", "Embedded", "Http"]

_RETRIES_ELSEWHERE = 1  # of the SDK, where another endpoint can take the request
_TIMEOUT = 600.0  # seconds for a reply; long ones of slow models take minutes
_CONNECT = 10.0  # seconds


class Client(Protocol):
    """Whatever answers requests."""

    most: int  # requests at once that make sense

    async def ask(self, request: Request) -> tuple[Reply, str]:
        """Return the reply and the name of the host that gave it.

        Raises:
            Refused, Unanswered: this request has no reply.
            EndpointError: none will have.
        """

    async def close(self) -> None:
        """Give connections back."""


class Embedded:
    """The model "rules": composes replies from the context alone, in this process; no network, no key."""

    most = 1

    async def ask(self, request: Request) -> tuple[Reply, str]:
        """Compose a reply; the same request has the same."""
        begun = time.perf_counter()
        text = compose(request.messages, seed=request.sampling["seed"])
        await asyncio.sleep(0)  # lets Ctrl-C through
        return Reply(text, "stop", request.model, latency=time.perf_counter() - begun), "embedded"

    async def close(self) -> None:
        """Hold nothing."""


class Http:
    """Endpoints that speak the OpenAI protocol and serve the same model.

    Args:
        urls: their bases, such as ``http://127.0.0.1:8000/v1``; asked in turn.
        key_name: of the environment variable with the key.
        concurrency: requests at once, at most, over all endpoints.
        rpm: requests a minute, at most, over all; retries count.
        tpm: tokens a minute, at most, over all: of prompts and of replies, which count as long as they may become until
            they have come.
        retries: of the SDK, where there is no other endpoint.
        timeout: seconds for a reply.

    Raises:
        MissingDependency: the openai package is not installed.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        key_name: str = "OPENAI_API_KEY",
        concurrency: int = 32,
        rpm: float | None = None,
        tpm: float | None = None,
        retries: int = RETRIES,
        timeout: float = _TIMEOUT,
    ) -> None:
        import httpx2  # noqa: PLC0415 - 0.2 s that only an endpoint needs; comes with huggingface_hub

        self.most = concurrency
        self.at_once = Concurrency(concurrency)
        self.sent = 0  # HTTP requests, retries among them
        self._requests, self._tokens = Pace(rpm), Pace(tpm)
        self._retries = retries
        self._turn = 0
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout, connect=_CONNECT),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=concurrency),
            follow_redirects=True,
            event_hooks={"request": [self._before], "response": [self._after]},
        )
        self._response = httpx2.Response
        self.endpoints = [open_endpoint(url, key_name, http=self._http, retries=retries) for url in urls]

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, request: Request) -> tuple[Reply, str]:
        """Ask; an endpoint that is dead hands the request to the next."""
        import openai  # noqa: PLC0415 - was imported with the first endpoint

        body = {"model": request.model, "messages": request.messages, **request.sampling}
        worst = sum(worst_tokens(request))
        await self._tokens.take(worst)
        used = 0
        try:
            async with self.at_once:
                for _ in self.endpoints:
                    endpoint = await self._next()
                    begun = time.perf_counter()
                    try:
                        response = await self._post(endpoint, body)
                    except (openai.APIConnectionError, openai.InternalServerError) as error:
                        if len(self.endpoints) == 1:
                            raise explained(error, endpoint, request) from error
                        self._leave_out(endpoint)
                        continue
                    except openai.OpenAIError as error:
                        raise explained(error, endpoint, request) from error
                    endpoint.dead_until, endpoint.pause = 0.0, FIRST_PAUSE
                    reply = read_reply(response.content, time.perf_counter() - begun, endpoint.host)
                    used = reply.prompt_tokens + reply.completion_tokens
                    self.at_once.went_well()
                    return reply, endpoint.host
            raise Unanswered("connection", "none of the endpoints answers", self.endpoints[0].host)
        finally:
            self._tokens.give_back(worst - used)

    async def _post(self, endpoint: Endpoint, body: dict[str, Any]) -> Any:
        """Send one request and return the response as it came: the SDK's model of it would take half as long again."""
        retries = self._retries if len(self._alive()) < 2 else _RETRIES_ELSEWHERE
        options = {"max_retries": retries}
        return await endpoint.sdk.post("/chat/completions", cast_to=self._response, body=body, options=options)

    # Which endpoint ---------------------------------------------------------------------------------------------------

    def _alive(self) -> list[Endpoint]:
        now = asyncio.get_running_loop().time()
        return [endpoint for endpoint in self.endpoints if endpoint.dead_until <= now]

    async def _next(self) -> Endpoint:
        """Return the endpoint whose turn it is; one that was left out must first show that it is back."""
        while True:
            alive = self._alive() or self.endpoints
            self._turn += 1
            endpoint = alive[self._turn % len(alive)]
            if not endpoint.dead_until or len(alive) < 2 or await self._is_back(endpoint):
                return endpoint

    async def _is_back(self, endpoint: Endpoint) -> bool:
        """Ask a dead endpoint for its models; while it has not answered, nobody else tries it."""
        import openai  # noqa: PLC0415

        self._leave_out(endpoint)
        try:
            await endpoint.sdk.with_options(max_retries=0, timeout=_CONNECT).get("/models", cast_to=object)
        except openai.APIStatusError as error:
            if error.status_code in {502, 503, 504}:  # what stands before it says that nobody is there
                return False
        except openai.APIConnectionError:
            return False
        endpoint.dead_until, endpoint.pause = 0.0, FIRST_PAUSE
        return True

    def _leave_out(self, endpoint: Endpoint) -> None:
        now = asyncio.get_running_loop().time()
        if endpoint.dead_until <= now:  # else another request found out at the same time
            endpoint.dead_until = now + endpoint.pause
            endpoint.pause = min(2 * endpoint.pause, LAST_PAUSE)

    # What stands around every HTTP request, retries too ---------------------------------------------------------------

    async def _before(self, request: Any) -> None:
        await self._requests.take()
        self.sent += 1
        request.extensions["svit_sent"] = asyncio.get_running_loop().time()

    async def _after(self, response: Any) -> None:
        if response.status_code == 429:
            self.at_once.too_many(response.request.extensions["svit_sent"])
