"""A step that asks the Hub in, its result out: tried again while another attempt may heal it, else an error of ours.

huggingface_hub repeats some requests by itself (reading, and sending objects) and others never (creating, committing:
one 503 or 409 there ends `push_to_hub` and `upload_folder`). Here every step is repeated, so a step must be such that
doing it twice does no harm; the steps are in `hub`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import httpx2
from huggingface_hub import get_session
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from svit_datasets.errors import AccessDenied, PublishError, SvitError
from svit_datasets.retrying import UNKNOWN_HOST_ATTEMPTS, host_is_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["patient", "persist"]

_ATTEMPTS = 8  # of a step; with the waits between them about two minutes, beside what huggingface_hub does itself
_FIRST, _LONGEST = 1.0, 60.0  # seconds between two attempts; doubled each time
_MAX_RETRY_AFTER = 600.0  # seconds; a Hub that asks for more is not waited for
_HEALS = {408, 409, 412, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}
_TIMEOUT = httpx2.Timeout(30.0, write=120.0, read=600.0)  # seconds; the Hub thinks long about a large commit
# '"api";r=0;t=55': no request is left of this window, which ends in 55 s. As in
# https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-09
_WINDOW = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")

_log = logging.getLogger(__name__)
Result = TypeVar("Result")
wait = time.sleep  # a test waits faster


@contextmanager
def patient() -> Iterator[None]:
    """Give up on a connection that says nothing for minutes: huggingface_hub's client would wait for ever."""
    before = get_session().timeout
    try:
        yield
    finally:
        get_session().timeout = before


def persist(what: str, step: Callable[[], Result]) -> Result:
    """Return what `step` does, and do it again where it fails for a reason that may pass.

    Raises:
        AccessDenied: the Hub refuses this account.
        PublishError: it refuses what was asked, or every attempt failed.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        get_session().timeout = _TIMEOUT  # huggingface_hub makes a new client after some errors
        try:
            return step()
        except SvitError:
            raise
        except Exception as error:
            if not _may_heal(error):
                raise _final(what, error) from error
            if attempt == (UNKNOWN_HOST_ATTEMPTS if host_is_unknown(error) else _ATTEMPTS):
                raise PublishError(
                    f"{what}: {attempt} attempts failed, the last with: {_words(error)} Run the same command once "
                    "more: what the Hub has taken is not sent again."
                ) from error
            seconds = _pause(error, attempt)
            _log.warning("%s: %s Once more in %.0f s.", what, _words(error), seconds)
            wait(seconds)
    raise AssertionError


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: uploads wrap what happened."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _answer(error: BaseException) -> httpx2.Response | None:
    """Return the Hub's answer, where there was one."""
    found = next((each for each in _chain(error) if isinstance(each, HfHubHTTPError)), None)
    return None if found is None else found.response


def _may_heal(error: Exception) -> bool:
    answer = _answer(error)
    if answer is not None:
        return answer.status_code in _HEALS
    cause = next((each for each in _chain(error) if isinstance(each, httpx2.HTTPError)), list(_chain(error))[-1])
    if isinstance(cause, LocalTokenNotFoundError | OfflineModeIsEnabled | FileNotFoundError | PermissionError):
        return False
    # hf_xet, which is not written in Python, raises RuntimeError and the kinds of OSError for what goes wrong on the
    # line; a body that is no JSON comes from something between here and the Hub.
    return isinstance(cause, httpx2.TransportError | OSError | RuntimeError | json.JSONDecodeError)


def _pause(error: Exception, attempt: int) -> float:
    """Return the seconds until the next attempt: what the Hub asks for, or twice as many as the last time."""
    answer = _answer(error)
    asked = None if answer is None else _retry_after(answer)
    return asked if asked is not None else min(_LONGEST, _FIRST * 2 ** (attempt - 1))


def _retry_after(answer: httpx2.Response) -> float | None:
    """Return the seconds that the Hub asks to wait: until its next window, or as HTTP has it."""
    window = _WINDOW.search(answer.headers.get("ratelimit", ""))
    text = window[1] if window and answer.status_code == 429 else answer.headers.get("retry-after", "").strip()
    if text.isdigit():
        seconds = float(text)
    elif text:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    else:
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _final(what: str, error: Exception) -> SvitError:
    """Return what no further attempt would change, in our terms."""
    answer = _answer(error)
    status = None if answer is None else answer.status_code
    if isinstance(error, LocalTokenNotFoundError):
        return AccessDenied(
            f"{what}: no token. Make one with write access at https://huggingface.co/settings/tokens, then log in with "
            "`hf auth login`, set HF_TOKEN, or give token=…"
        )
    if isinstance(error, OfflineModeIsEnabled):
        return PublishError(f"{what}: nothing can be sent, because HF_HUB_OFFLINE is set. Unset it.")
    if isinstance(error, RepositoryNotFoundError):
        return AccessDenied(
            f"{what}: the Hub says that there is no such dataset, or this account may not see it ({_words(error)})."
        )
    if status == 401:
        return AccessDenied(
            f"{what}: the Hub does not know this token (401). Make one at https://huggingface.co/settings/tokens, then "
            "log in again with `hf auth login`, or correct HF_TOKEN or token=…"
        )
    if status == 403:
        return AccessDenied(
            f"{what}: the token may not do this: {_words(error)} Take one with write access to this namespace "
            "(https://huggingface.co/settings/tokens), a namespace that is yours, or --create-pr to propose it."
        )
    return PublishError(f"{what}: the Hub refused: {_words(error)}")


def _words(error: Exception) -> str:
    """Return what the Hub, or the line, said, in one sentence."""
    found = next((each for each in _chain(error) if isinstance(each, HfHubHTTPError)), None)
    if found is not None:
        text = found.server_message or str(found).splitlines()[0]
        text = f"{found.response.status_code}, {text}"
    else:
        last = list(_chain(error))[-1]
        text = str(last) or type(last).__name__
    return f"{' '.join(text.split()).rstrip('.')}."
