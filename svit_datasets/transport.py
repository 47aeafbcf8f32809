"""One range of one http file, checked; and what a failure of any file system means in our terms.

Comes with `storage`, which decides how often to try. fsspec's own http range call is not used because it takes the
whole file from a server that ignores Range, and cannot tell when a file changed between two requests.
"""

from __future__ import annotations

import asyncio
import errno
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from svit_datasets.errors import (
    AccessDenied,
    MissingDependency,
    RangeNotSupported,
    SourceChanged,
    SourceNotFound,
    SourceUnreachable,
    SvitError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Transient", "as_svit_error", "changed", "http_range", "http_stat", "too_short"]

_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_MAX_RETRY_AFTER = 120.0  # seconds; a server that asks for more is taken to be down


class Transient(Exception):
    """A failure that the next attempt may not meet.

    Args:
        message: what happened.
        retry_after: seconds the server asked to wait.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


async def http_stat(fs: Any, url: str, *, timeout: float) -> tuple[int, str]:  # noqa: ASYNC109 - per read, not in all
    """Return (size in bytes, fingerprint) of ``url``; one request for its first byte, as HEAD is often refused."""
    async with await _get(fs, url, "bytes=0-0", timeout) as response:
        _raise_for_status(url, response)
        if response.status == 416:  # an empty file has no first byte
            return 0, _fingerprint(response.headers)
        total = (
            _content_range(response.headers)[2] if response.status == 206 else response.headers.get("Content-Length")
        )
        if total is None:
            raise RangeNotSupported(f"{url}: the server tells no size. Download the file and give its local path.")
        return int(total), _fingerprint(response.headers)


async def http_range(
    fs: Any,
    url: str,
    start: int,
    stop: int | None,
    fingerprint: str,
    *,
    timeout: float,  # noqa: ASYNC109 - seconds per read, not in all
) -> bytes:
    """Return exactly the bytes [start, stop) of ``url``; all of them belong to the file of ``fingerprint`` if given."""
    async with await _get(fs, url, None if stop is None else f"bytes={start}-{stop - 1}", timeout) as response:
        _raise_for_status(url, response)
        now = _fingerprint(response.headers)
        if response.status == 416 or (fingerprint and now and now != fingerprint):
            raise changed(url, fingerprint or "longer", now or "shorter")
        if stop is None:
            return await _whole(response)
        if response.status != 206:
            raise RangeNotSupported(
                f"{url}: the server ignores Range requests (status {response.status}, expected 206), so parts of the "
                "file cannot be read. Use a server that honours Range, or download the file and give its local path."
            )
        first, last, total = _content_range(response.headers)
        if total is not None and int(total) < stop:
            raise too_short(url, int(total), start, stop)
        if (first, last) != (start, stop - 1):
            raise Transient(f"bytes {first} to {last} came instead of {start} to {stop - 1}")
        data: bytes = await response.read()
    if len(data) != stop - start:
        raise Transient(f"{len(data):,} of {stop - start:,} bytes came")
    return data


def changed(url: str, before: str, now: str) -> SourceChanged:
    """Return the error for a file that is another one than before."""
    return SourceChanged(
        f"{url} changed while it was read (it was {before}, now it is {now}). Nothing of the two was mixed; "
        "start again to read the new file."
    )


def too_short(url: str, size: int, start: int, stop: int) -> SourceChanged:
    """Return the error for a range that reaches behind a file's end."""
    return SourceChanged(
        f"{url} ends at byte {size:,}, but bytes {start:,} to {stop:,} of it were expected. It is shorter than it "
        "was, or than its directory says: copy or download it again."
    )


async def _whole(response: Any) -> bytes:
    data: bytes = await response.read()
    expected = response.headers.get("Content-Length")
    if expected is not None and len(data) != int(expected):
        raise Transient(f"{len(data):,} of {int(expected):,} bytes came")
    return data


async def _get(fs: Any, url: str, byte_range: str | None, timeout: float) -> Any:  # noqa: ASYNC109
    import aiohttp  # noqa: PLC0415 - 0.1 s that local files need not wait for

    options = dict(fs.kwargs)
    headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
    if byte_range is not None:
        headers["Range"] = byte_range
    limit = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
    session = await fs.set_session()
    return session.get(fs.encode_url(url), **{"timeout": limit, **options, "headers": headers})


def _raise_for_status(url: str, response: Any) -> None:
    status = response.status
    if status in _RETRIED:
        raise Transient(f"status {status}", _retry_after(response.headers))
    if status in (401, 403, 407):
        raise _denied(url, status)
    if status in (404, 410):
        raise SourceNotFound(f"{url}: not found (status {status}).")
    if status >= 400 and status != 416:
        raise SourceUnreachable(f"{url}: the server answered {status} {response.reason or ''}".rstrip() + ".")


def _retry_after(headers: Mapping[str, str]) -> float:
    value = headers.get("Retry-After", "")
    if value.isdigit():
        return min(float(value), _MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    from datetime import datetime  # noqa: PLC0415 - for the rare server that sends a date

    return min(max(0.0, (date - datetime.now(date.tzinfo)).total_seconds()), _MAX_RETRY_AFTER)


def _content_range(headers: Mapping[str, str]) -> tuple[int | None, int | None, str | None]:
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        raise Transient(f"no usable Content-Range: {headers.get('Content-Range')!r}")
    first, last, total = match.groups()
    return (None, None, total) if first is None else (int(first), int(last), None if total == "*" else total)


def _fingerprint(headers: Mapping[str, str]) -> str:
    return headers.get("ETag", "").removeprefix("W/").strip('"') or headers.get("Last-Modified", "")


def _denied(url: str, status: int | str) -> AccessDenied:
    repo = re.match(r"hf://(?:datasets/)?([^/@]+/[^/@]+)", url)
    if repo is not None:
        return AccessDenied(
            f"{url}: the Hub refused ({status}). The dataset is gated or private: accept the terms at "
            f"https://huggingface.co/datasets/{repo[1]}, then log in (`hf auth login`, or token=…), "
            "or give local copies with data_dir=…"
        )
    return AccessDenied(
        f"{url}: the server refused ({status}). Give credentials in storage_options=…, or local copies with data_dir=…"
    )


def as_svit_error(url: str, error: BaseException) -> SvitError:
    """Say in our terms what a file system's error means; `SourceUnreachable` is what another attempt may heal."""
    status = _status(error)
    if status in (401, 403):
        return _denied(url, status)
    if isinstance(error, Transient):
        return SourceUnreachable(f"{url}: {error}.")
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError | FileExistsError) or status == 404:
        return SourceNotFound(f"{url}: not found ({error or type(error).__name__}).")
    if isinstance(error, PermissionError):
        return _denied(url, str(error) or "permission denied")
    if isinstance(error, ImportError):
        return MissingDependency(f"{url}: {error}")
    if isinstance(error, OSError) and error.errno == errno.EINVAL:  # what s3fs makes of 416
        return SourceChanged(f"{url} is shorter than it was, or than its directory says ({error}). Start again.")
    if isinstance(error, OSError) and error.errno in (errno.EIO, errno.ENODEV, errno.EISDIR):
        return SourceNotFound(f"{url}: cannot be read ({error}).")
    if type(error).__name__ == "OfflineModeIsEnabled":
        return SourceNotFound(f"{url}: cannot be asked, because HF_HUB_OFFLINE is set. Unset it, or give data_dir=…")
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return SourceUnreachable(f"{url}: no byte came within the time-out.")
    return SourceUnreachable(f"{url}: {str(error) or type(error).__name__}.")


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status in an error or in what it was raised from: every file system wraps it in its own way."""
    for _ in range(6):
        if error is None:
            return None
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            response = response.get("ResponseMetadata", {})
            status = response.get("HTTPStatusCode")
        else:
            status = getattr(response, "status_code", None) or getattr(error, "status", None)
        if isinstance(status, int):
            return status
        error = error.__cause__ or error.__context__
    return None
