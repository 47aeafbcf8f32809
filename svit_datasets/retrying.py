"""A request in, its answer out: made again, a little later each time, while what failed may heal."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import TYPE_CHECKING, Any

from svit_datasets.errors import RangeNotSupported, SourceUnreachable, SvitError
from svit_datasets.transport import as_svit_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["UNKNOWN_HOST_ATTEMPTS", "host_is_unknown", "retry"]

UNKNOWN_HOST_ATTEMPTS = 2  # where no name server knows the host: there is no network, or the URL is misspelt
_RANGE_ATTEMPTS = 3  # whole files that may come for one range
_LONGEST = 30.0  # seconds between two attempts


async def retry(
    url: str,
    request: Callable[[], Coroutine[Any, Any, Any]],
    *,
    attempts: int,
    backoff: float,
    answered: set[str],
) -> Any:
    """Return what a request answers, making it again where its failure is one that another attempt may heal.

    Args:
        url: what is asked for; errors begin with it.
        request: makes the request.
        attempts: at most. A host that no name server knows gets two, unless it answered before: what is misspelt, or
            asked without a network, is told within a second, and a name server that fails for a while ends no training.
        backoff: seconds before the second attempt; doubles up to 30, times a random factor in [0.5, 1.5).
        answered: hosts that answered once; this one is added.

    Raises:
        SvitError: what the failure means; `SourceUnreachable` after the last attempt.
    """
    host = "/".join(url.split("/")[:3])
    whole = 0  # files that came for a range
    for attempt in range(1, attempts + 1):
        after = 0.0
        try:
            answer = await request()
        except RangeNotSupported:  # a cache before a server may forget a range once; a server that cannot, always
            whole += 1
            if whole == _RANGE_ATTEMPTS or attempt == attempts:
                raise
        except SvitError:
            raise
        except Exception as error:
            explained = as_svit_error(url, error)
            if not isinstance(explained, SourceUnreachable):
                raise explained from error
            unknown = host not in answered and host_is_unknown(error)
            if attempt == attempts or (unknown and attempt == UNKNOWN_HOST_ATTEMPTS):
                plural = "s" if attempt > 1 else ""
                raise SourceUnreachable(f"{explained} Gave up after {attempt} attempt{plural}.") from error
            after = getattr(error, "retry_after", 0.0)
        else:
            answered.add(host)
            return answer
        pause = min(_LONGEST, backoff * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        await asyncio.sleep(max(pause, after))
    raise AssertionError("unreachable: the last attempt returns or raises")


def host_is_unknown(error: BaseException | None) -> bool:
    """Tell whether an error comes of a name that no name server knows, which is not the same as one that is down."""
    while error is not None:
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
            return True
        error = error.__cause__ or error.__context__
    return False
