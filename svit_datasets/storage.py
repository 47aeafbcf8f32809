"""The one seam outward: sizes, names and byte ranges of files anywhere fsspec reaches.

In comes a URL (a plain path is a local file), out come bytes. Transient failures are retried with exponential back-off
and jitter; every other failure becomes one of our errors. What the bytes mean is not known here: no zip, no JSON,
no image.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import fsspec.asyn
from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from svit_datasets.errors import SourceNotFound, SvitError
from svit_datasets.local_range import LocalRange
from svit_datasets.range_file import RangeFile
from svit_datasets.retrying import retry
from svit_datasets.transport import Transient, as_svit_error, changed, http_range, http_stat, too_short

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping

__all__ = ["ByteRange", "FileInfo", "Storage"]

_FINGERPRINTS = ("ETag", "etag", "lfs", "blob_id", "mtime", "LastModified", "created")  # what file systems call it
_RECHECK = 10.0  # seconds for which a remote file, once compared, is taken to be the same
_USUAL_PHOTO = 1 << 17  # bytes; what a whole file counts in the budget before its size is known
_WORTH_A_THREAD = 1 << 20  # bytes of a local range; to copy them takes longer than to hand them over
_NEAR_THE_END = 1 << 18  # bytes; a read of a file with its directory last that stops so close to it takes the rest too


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is known of a file without reading it."""

    url: str
    size: int  # bytes
    fingerprint: str  # ETag, or modification time; changes when the content does, "" where the source tells none


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A part of a file."""

    url: str
    start: int = 0  # bytes, 0-based, inclusive
    stop: int | None = None  # bytes, exclusive; None: to the end, which takes the whole file (start must be 0)
    fingerprint: str = ""  # of the file that the range was planned for; another one is an error
    alternates: tuple[str, ...] = ()  # URLs to try in turn where the one before is not found

    @property
    def cost(self) -> int:
        """Bytes that the range will hold in memory; a guess for a file of unknown size."""
        return _USUAL_PHOTO if self.stop is None else self.stop - self.start


@dataclass
class Storage:
    """Reads files of any fsspec file system.

    Holds options only, so it pickles and survives a fork; connections are opened per process on first use.
    Safe to call from several threads.

    Args:
        options: fsspec storage options, either for every protocol or keyed by protocol: ``{"s3": {"anon": True}}``.
        token: Hugging Face token for ``hf://``; None uses the one of ``hf auth login``.
        timeout: seconds without a byte after which a request counts as failed.
        attempts: how often a request is made before it is given up; see `retrying.retry`.
        backoff: seconds before the second attempt.
    """

    options: Mapping[str, Any] | None = None
    token: str | bool | None = None
    timeout: float = 60.0
    attempts: int = 6
    backoff: float = 0.25
    _open: dict[tuple[int, str], Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _checked: dict[tuple[str, str], float] = field(default_factory=dict, init=False, repr=False, compare=False)
    _answered: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_checked": {}}

    def stat(self, url: str) -> FileInfo:
        """Return size and fingerprint of the file at ``url``; one request.

        Raises:
            SourceNotFound: nothing is there, or a folder is.
            AccessDenied: 401, 403 or a gated repository.
            SourceUnreachable: every attempt failed.
        """
        fs, path = self._file_system(url)
        if _is_http(fs):
            size, fingerprint = self._run(self._retrying(url, lambda: http_stat(fs, url, timeout=self.timeout)))
            return FileInfo(url, size, fingerprint)
        info: FileInfo = self._run(self._retrying(url, lambda: self._info(fs, path, url)))
        return info

    def list(self, url: str) -> list[str] | None:
        """Return the names in a folder, sorted; [] where there is no such folder, None for http, which cannot list."""
        fs, path = self._file_system(url)
        if _is_http(fs):
            return None
        try:
            names = self._run(self._retrying(url, lambda: self._call(fs, "ls", path, detail=False)))
        except FileNotFoundError:
            return []
        return sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in names)

    def read(self, url: str, start: int = 0, stop: int | None = None, fingerprint: str = "") -> bytes:
        """Return the bytes [start, stop) of a file, exactly that many; without ``stop`` the whole file.

        Raises:
            SourceChanged: the file is not the one of ``fingerprint``, or ends before ``stop``.
            RangeNotSupported: the server sent the whole file, three times.
            SourceNotFound, AccessDenied, SourceUnreachable: as in `stat`.
        """
        if "://" not in url:
            return LocalRange(url, start, stop, fingerprint).result()
        data: bytes = self._run(self._fetch(ByteRange(url, start, stop, fingerprint)))
        return data

    def read_ranges(
        self, ranges: Iterable[ByteRange], *, in_flight: int = 64, in_flight_bytes: int = 32 << 20
    ) -> Generator[bytes | SvitError, None, None]:
        """Read many ranges at once and yield what came of each, in the order asked for.

        Lazy: a range is requested when fewer than ``in_flight`` requests and ``in_flight_bytes`` bytes are under way
        or waiting to be taken (one range is always allowed). An abandoned iterator cancels what is under way.

        Yields:
            A range's bytes, or the error that `read` would have raised: one lost range loses no other.
        """
        pending: deque[tuple[int, Future[bytes] | LocalRange]] = deque()
        future: Future[bytes] | LocalRange
        held = 0
        with self._pool(in_flight) as pool:
            try:
                for part in ranges:
                    while pending and (len(pending) >= in_flight or held + part.cost > in_flight_bytes):
                        held -= pending[0][0]
                        yield _outcome(pending.popleft()[1])
                    if "://" in part.url or part.alternates:
                        future = self._submit(self._fetch(part, pool))
                    elif part.cost < _WORTH_A_THREAD:
                        future = LocalRange(part.url, part.start, part.stop, part.fingerprint)
                    else:
                        future = pool.submit(self.read, part.url, part.start, part.stop, part.fingerprint)
                    pending.append((part.cost, future))
                    held += part.cost
                while pending:
                    yield _outcome(pending.popleft()[1])
            finally:
                for _, future in pending:
                    future.cancel()

    def open(self, url: str) -> BinaryIO:
        """Open a file for reading: sequential reads are read ahead, seeks cost one request.

        Raises:
            SvitError: as in `stat`; a read may raise as in `read`.
        """
        here = _is_here(self._file_system(url)[0])
        return self.open_found(FileInfo(url, 0, "") if here else self.stat(url))

    def open_found(self, info: FileInfo, *, tail: int = 0) -> BinaryIO:
        """Open a file that `stat` has told of: it is not asked again, and no other one is read in its place.

        Args:
            info: what `stat` told; a local file is opened as it is, and compared by nothing but `check`.
            tail: bytes at the end of a remote file to read now, in one request, and to keep: for formats that have
                their directory there, and come to it in small steps.

        Raises:
            SvitError: as in `stat`; a read may raise as in `read`.
        """
        url = info.url
        fs, path = self._file_system(url)
        if _is_here(fs):
            try:
                return fs.open(path, "rb")  # type: ignore[no-any-return]
            except OSError as error:
                raise as_svit_error(url, error) from error
        start = max(0, info.size - tail)
        kept = self.read(url, start, info.size, info.fingerprint) if tail else b""
        return io.BufferedReader(RangeFile(info.size, partial(self._begin, info, start, kept)), 1 << 17)

    def check(self, info: FileInfo) -> None:
        """Raise if a file that was opened and read is another one by now; asks nothing where every read compared it.

        Raises:
            SourceChanged: it is another one.
            SvitError: as in `stat`.
        """
        if info.fingerprint and _is_http(self._file_system(info.url)[0]):
            return
        if (now := self.stat(info.url)) != info:
            raise changed(info.url, info.fingerprint, now.fingerprint)

    # How a request is made ------------------------------------------------------------------------------------------

    def _file_system(self, url: str) -> tuple[Any, str]:
        protocol = url.partition("://")[0] if "://" in url else "file"
        key = (os.getpid(), protocol)  # an async file system does not survive a fork
        if key not in self._open:
            options = dict(self.options or {})
            if options and set(options) <= set(known_implementations):
                options = dict(options.get(protocol, {}))
            if protocol == "hf" and self.token is not None:
                options["token"] = self.token
            try:
                self._open[key] = url_to_fs(url, **(options if protocol != "file" else {}))[0]
            except (ImportError, ValueError) as error:
                raise as_svit_error(url, error) from error
        fs = self._open[key]
        return fs, str(fs._strip_protocol(url))  # noqa: SLF001 - fsspec's own name for it; url_to_fs calls it too

    async def _fetch(self, part: ByteRange, pool: ThreadPoolExecutor | None = None) -> bytes:
        if part.start == part.stop:
            return b""
        urls = (part.url, *part.alternates)
        for url in urls:
            request = partial(self._request, replace(part, url=url), pool)
            try:
                data: bytes = await self._retrying(url, request)
            except SourceNotFound:
                continue
            return data
        raise SourceNotFound(f"Not found: {', '.join(urls)}.")

    async def _request(self, part: ByteRange, pool: ThreadPoolExecutor | None) -> bytes:
        fs, path = self._file_system(part.url)
        if _is_http(fs):
            return await http_range(fs, part.url, part.start, part.stop, part.fingerprint, timeout=self.timeout)
        await self._check_unchanged(fs, path, part)
        options: dict[str, Any] = {} if part.stop is None else {"start": part.start, "end": part.stop}
        if not (_is_here(fs) or fs.async_impl):
            options["cache_type"] = "none"  # a buffered file reads 5 MiB for any small range by default
        reading = self._call(fs, "cat_file", path, pool=pool, **options)
        data: bytes = await asyncio.wait_for(reading, 4 * self.timeout)
        if part.stop is not None and len(data) != part.cost:
            await self._check_long_enough(fs, path, part)
            raise Transient(f"{len(data):,} of {part.cost:,} bytes came")
        return data

    async def _info(self, fs: Any, path: str, url: str) -> FileInfo:
        # A listing remembered from before says nothing of the file as it is.
        if fs.async_impl:
            fs.invalidate_cache(path)
        else:
            await asyncio.get_running_loop().run_in_executor(None, fs.invalidate_cache, path)
        info = await self._call(fs, "info", path)
        if info["type"] != "file":
            raise as_svit_error(url, IsADirectoryError(f"{url} is a folder"))
        tag = next((info[key] for key in _FINGERPRINTS if info.get(key)), "")
        return FileInfo(url, int(info["size"]), str(getattr(tag, "sha256", tag)).strip('"'))

    async def _check_unchanged(self, fs: Any, path: str, part: ByteRange) -> None:
        """Compare fingerprints: of a local file before each read, of a remote one at most every ten seconds."""
        if not part.fingerprint or time.monotonic() < self._checked.get((part.url, part.fingerprint), 0.0):
            return
        now = (await self._info(fs, path, part.url)).fingerprint
        if now != part.fingerprint:
            raise changed(part.url, part.fingerprint, now)
        if not _is_here(fs):
            self._checked[part.url, part.fingerprint] = time.monotonic() + _RECHECK

    async def _check_long_enough(self, fs: Any, path: str, part: ByteRange) -> None:
        size = (await self._info(fs, path, part.url)).size
        if part.stop is not None and size < part.stop:
            raise too_short(part.url, size, part.start, part.stop)

    @staticmethod
    async def _call(fs: Any, name: str, path: str, pool: ThreadPoolExecutor | None = None, **options: Any) -> Any:
        if fs.async_impl:
            return await getattr(fs, f"_{name}")(path, **options)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, lambda: getattr(fs, name)(path, **options))

    def _retrying(self, url: str, request: Callable[[], Coroutine[Any, Any, Any]]) -> Coroutine[Any, Any, Any]:
        return retry(url, request, attempts=self.attempts, backoff=self.backoff, answered=self._answered)

    def _begin(self, info: FileInfo, kept_from: int, kept: bytes, start: int, stop: int) -> Future[bytes]:
        """Begin to read a part of an opened file, or more of it; of what is kept, nothing is asked again."""
        if kept and start >= kept_from:
            done: Future[bytes] = Future()
            done.set_result(kept[start - kept_from :])
            return done
        if kept and info.size - stop <= _NEAR_THE_END:
            stop = info.size
        return self._submit(self._fetch(ByteRange(info.url, start, stop, info.fingerprint)))

    def _submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, fsspec.asyn.get_loop())

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        future = self._submit(coroutine)
        try:
            return future.result()
        finally:
            future.cancel()  # does nothing to a finished request; ends one that Ctrl-C left behind

    @contextmanager
    def _pool(self, workers: int) -> Iterator[ThreadPoolExecutor]:
        pool = ThreadPoolExecutor(max_workers=min(workers, 16), thread_name_prefix="svit-read")
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _outcome(future: Future[bytes] | LocalRange) -> bytes | SvitError:
    try:
        return future.result()
    except SvitError as error:
        return error


def _is_http(fs: Any) -> bool:
    return "http" in fs.protocol


def _is_here(fs: Any) -> bool:
    """Tell whether a read costs no round trip."""
    return bool(
        {"file", "local", "memory"} & {fs.protocol}
        if isinstance(fs.protocol, str)
        else {"file", "local", "memory"} & set(fs.protocol)
    )
