"""Text rows and photo bytes joined by image, window by window: what the plan names, in its order.

A window's photos are fetched in as few ranges as their neighbourhood allows, the ranges of the next windows are under
way while one is used, and memory is bounded in bytes. A photo that cannot be had is treated by the policy and counted.
Columns belong to `tables`, their names to `features`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.errors import AccessDenied, BadImage, CorruptFile, ImageNotFound, SourceNotFound, SvitError
from svit_datasets.photos import check_photo
from svit_datasets.storage import ByteRange
from svit_datasets.zips import DIRECTORY, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from svit_datasets.located import Located
    from svit_datasets.photos import Photo
    from svit_datasets.plan import Plan
    from svit_datasets.report import Tally
    from svit_datasets.storage import Storage

__all__ = ["WINDOW", "Window", "read_windows", "with_advice"]

WINDOW = 32  # images joined at a time; 3 MB of photos
_GAP = 1 << 16  # bytes between two photos that are read along rather than asked for twice
_SPAN = 4 << 20  # bytes; photos that begin within so many share a range, as `order` cuts its windows


@dataclass(frozen=True)
class Window:
    """Some images of a plan with their photos."""

    plan: Plan  # of just these images, in order
    kept: np.ndarray[Any, np.dtype[np.int64]]  # which of the images that were asked for they are
    photos: list[Photo | None]  # one an image; None: text-only, or missing under on_missing_image="null"


@dataclass(frozen=True, slots=True)
class _Part:
    """One range, and the photos that lie in it."""

    where: ByteRange
    members: tuple[int, ...]  # positions in the window


def read_windows(
    plans: Iterable[Plan],
    policy: str,
    storage: Storage,
    tally: Tally,
    *,
    size: int = WINDOW,
    in_flight_bytes: int = 32 << 20,
    verify: bool = True,
) -> Iterator[Window]:
    """Join images with their photos, ``size`` at a time; a plan's last window may be shorter, any may have lost images.

    Lazy: at most 64 requests and ``in_flight_bytes`` of photos are under way ahead of the window in use. An abandoned
    iterator cancels them.

    Args:
        plans: what to read, usually shards; a window never spans two.
        policy: "error", "skip" or "null", for photos that are missing or unreadable.
        storage: how photos are reached.
        tally: where what is left out is counted.
        size: images a window; what is fetched together.
        in_flight_bytes: of photos, at most, beside the window in use; one range is always allowed.
        verify: compare the CRC-32 of photos in zips; without it a photo is still checked by its length, the zip's
            local header, and its own first and last bytes (`photos.check_photo`).

    Raises:
        ImageNotFound, BadImage: under "error"; the message names file and image.
        TooManyFailures: 100 photos in a row failed, under any policy.
        SourceUnreachable, SourceChanged, RangeNotSupported: under any policy; what failed is the source, not a photo.
    """
    ahead: deque[tuple[Plan, list[_Part]]] = deque()

    def ranges() -> Iterator[ByteRange]:
        for plan in plans:
            for start in range(0, len(plan), size):
                some = plan.take(np.arange(start, min(start + size, len(plan))))
                parts = _parts(some.photos) or [_Part(ByteRange("", 0, 0), ())]  # a turn of its own, to keep in step
                ahead.append((some, parts))
                yield from (part.where for part in parts)

    fetched = storage.read_ranges(ranges(), in_flight_bytes=in_flight_bytes)
    try:
        for data in fetched:
            some, parts = ahead.popleft()
            first = [data]
            del data  # a span is given up as soon as its photos are out of it
            came = (first.pop() if first else next(fetched) for _ in parts)
            yield _joined(some, parts, came, policy, tally, verify=verify)
    finally:
        fetched.close()


def _parts(photos: Located) -> list[_Part]:
    """Put neighbours in a zip together; any other photo is a range of its own."""
    found = np.flatnonzero(photos.source >= 0)
    in_zip = np.array([source.kind == "zip" for source in photos.sources], dtype=bool)[photos.source[found]]
    parts = [_Part(photos.byte_range(index), (index,)) for index in found[~in_zip].tolist()]
    members = found[in_zip]
    members = members[np.lexsort((photos.entry["start"][members], photos.source[members]))]
    columns = (photos.source, photos.entry["start"], photos.entry["stop"])
    run: list[int] = []
    begin = end = of = 0
    for index, source, start, stop in zip(
        members.tolist(), *(column[members].tolist() for column in columns), strict=True
    ):
        if run and (source != of or start - end > _GAP or start - begin >= _SPAN):
            parts.append(_span(photos, run, begin, end))
            run = []
        if not run:
            begin, of = start, source
        run.append(index)
        end = stop
    if run:
        parts.append(_span(photos, run, begin, end))
    return parts


def _span(photos: Located, run: list[int], begin: int, end: int) -> _Part:
    source = photos.sources[photos.source[run[0]]]
    return _Part(ByteRange(source.urls[0], begin, end, source.fingerprint), tuple(run))


def _joined(
    plan: Plan, parts: list[_Part], came: Iterator[bytes | SvitError], policy: str, tally: Tally, *, verify: bool
) -> Window:
    photos: list[Photo | None] = [None] * len(plan)
    lost = np.zeros(len(plan), dtype=bool)
    for part in parts:
        data = next(came)  # not by zip(), which would keep the one before
        for index in part.members:
            try:
                photos[index] = _photo(plan.photos, index, part, data, verify=verify)
                tally.succeeded()
            except (ImageNotFound, BadImage) as error:
                if policy == "error":
                    raise with_advice(error, plan, index) from error.__cause__
                kind = "missing_image" if isinstance(error, ImageNotFound) else "bad_image"
                tally.failed(kind, plan.photos.label(index), error)
                lost[index] = True
        del data
    if policy == "skip" and lost.any():
        kept = np.flatnonzero(~lost)
        return Window(plan.take(kept), kept, [photos[index] for index in kept])
    return Window(plan, np.arange(len(plan)), photos)


def _photo(photos: Located, index: int, part: _Part, data: bytes | SvitError, *, verify: bool) -> Photo:
    if isinstance(data, SvitError):
        if isinstance(data, SourceNotFound | AccessDenied):
            raise ImageNotFound(f"{photos.label(index)}: {data}") from data
        raise data
    try:
        if photos.sources[photos.source[index]].kind == "zip":
            start, stop, size, method, crc = (int(photos.entry[name][index]) for name in DIRECTORY.names[1:])
            begin, end = start - part.where.start, stop - part.where.start
            data = unpack(memoryview(data)[begin:end], size, method, crc, verify=verify)
        return check_photo(data)
    except (BadImage, CorruptFile) as error:
        raise BadImage(f"{photos.label(index)}: {error}.") from error


def with_advice(error: Any, plan: Plan, index: int) -> SvitError:
    """Return an error about photo ``index`` of a plan with its image id and what to do."""
    image_id = int(plan.image_ids[index])
    who = f"image {image_id}" if image_id >= 0 else "a record without an image id"
    return type(error)(  # type: ignore[no-any-return]
        f'{who}: {error} Fetch it again, or leave such photos out with on_missing_image="skip" '
        '(keep their text with "null").'
    )
