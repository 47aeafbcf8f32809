"""`stream()`: the arguments of `load_dataset` and those of the direct reader in, a `Stream` out."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, Literal

from svit_datasets.cache import cache_root
from svit_datasets.corpus import make_plan
from svit_datasets.decode import decoder_for
from svit_datasets.errors import OptionError, SourceNotFound
from svit_datasets.filters import split_rows
from svit_datasets.footers import open_published
from svit_datasets.joined import Joined
from svit_datasets.options import Options, resolve
from svit_datasets.reader import Stream
from svit_datasets.report import Tally
from svit_datasets.repository import MANIFEST, find_repository, open_files
from svit_datasets.rows import Work
from svit_datasets.storage import Storage
from svit_datasets.tasks import get_task

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from svit_datasets.decode import Decode, Decoder
    from svit_datasets.filters import IdList, ImageIds
    from svit_datasets.order import Order
    from svit_datasets.plan import Left
    from svit_datasets.reader import Tail
    from svit_datasets.rows import Source

__all__ = ["stream"]


def stream(
    name: str,
    *,
    split: str = "train",
    data_dir: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    rows: str = "image",
    holdout: str | os.PathLike[str] | None = "official",
    on_missing_image: str = "error",
    on_bad_record: str = "error",
    image_ids: ImageIds | None = None,
    exclude: IdList | None = None,
    known_bad: str = "drop",
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    storage_options: dict[str, Any] | None = None,
    order: Order = "storage",
    seed: int = 0,
    window_bytes: int = 32 << 20,
    decode: Decode = "pil",
    decoder: Decoder = "auto",
    image_size: int | None = None,
    decode_threads: int = 2,
    rank: int | Literal["env"] = 0,
    world_size: int = 1,
    tail: Tail = "exact",
    max_in_flight_bytes: int = 32 << 20,
    verify: bool = True,
) -> Stream:
    """Read SVIT directly: the rows of `load_dataset`, faster, in an order that resumes exactly on any number of ranks.

    Args:
        name: the configuration, as for `load_dataset`.
        split: "train" or "test".
        data_dir: as for `load_dataset`, like the next ten; or published Parquet as `svit_builder` writes it, a folder
            or any URL, ``hf://datasets/ORG/svit`` too. It has the same rows. Photos, ``holdout``, ``known_bad`` and
            ``on_bad_record`` were decided when it was written; ``images``, or another value of ``holdout`` or
            ``known_bad`` than it has, is an error.
        images: where photos are.
        rows: "image" or "conversation".
        holdout: which images are the test split.
        on_missing_image: "error", "skip" or "null".
        on_bad_record: "error" or "skip".
        image_ids: only these images.
        exclude: not these images.
        known_bad: "drop" or "keep".
        cache_dir: where prepared text is kept.
        token: of the Hub.
        storage_options: of fsspec.
        order: "record" is the file's order; "storage" that of the photos' bytes, which reads a remote zip in few large
            requests; "shuffled" is seeded and another one each epoch: spans of about 4 MB are permuted over the whole
            corpus, then photos inside a window. Two photos that are neighbours in one span come out about a third of a
            window apart.
        seed: of "shuffled".
        window_bytes: of photos that "shuffled" permutes together; it holds one window beside what is under way.
        decode: None gives the photo's bytes, "pil" a PIL image, "numpy" an array (height, width, 3), uint8; or a
            function of the bytes, called in a decoding thread.
        decoder: "auto", "simplejpeg" (extra ``[fast]``) or "pillow"; see `decode.decoder_for`.
        image_size: the shorter side that is wanted, pixels; lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size.
        decode_threads: how many; 0 decodes in the thread that iterates.
        rank: of this process among ``world_size``; "env" takes both from RANK and WORLD_SIZE, as torchrun sets them.
        world_size: how many processes share the epoch.
        tail: where the rows do not divide evenly: "exact" gives every row once, so some ranks have one more;
            "drop_last" leaves the last few out; "pad" reads some again, marked by a column ``repeated``. Photos that
            turn out unreadable under on_missing_image="skip" are missing from these counts; "null" keeps them equal.
        max_in_flight_bytes: of photos under way or fetched ahead, at most; one span is always allowed.
        verify: compare the checksum of every photo that comes out of a zip, and of every page of a Parquet file.
            Without it, lengths, headers and what the decoder notices are all that is checked.

    Raises:
        OptionError: an argument has a value that is not allowed, or there is no such split.
        SvitError: as in `load_dataset`.

    Examples:
        >>> rows = stream("complex_reasoning", data_dir="/data/svit", order="shuffled")  # doctest: +SKIP
        >>> state = rows.state_dict()  # doctest: +SKIP
    """
    options = Options(
        get_task(name),
        data_dir=None if data_dir is None else str(data_dir),
        images=images,
        rows=rows,
        holdout=holdout,
        on_missing_image=on_missing_image,
        on_bad_record=on_bad_record,
        image_ids=image_ids,
        exclude=exclude,
        known_bad=known_bad,
    )
    if order not in ("record", "storage", "shuffled"):
        raise OptionError(f"order={order!r} is not allowed. Allowed: 'record', 'storage', 'shuffled'.")
    for what, number, least in (
        ("seed", seed, 0),
        ("window_bytes", window_bytes, 1),
        ("decode_threads", decode_threads, 0),
    ):
        if number < least:
            raise OptionError(f"{what}={number!r} is not allowed: give {least} or more.")
    if rank == "env":
        rank, world_size = _from_environment()
    pixels = decoder_for(decode, decoder=decoder, image_size=image_size)
    cache = cache_root(cache_dir)
    storage = Storage(options=storage_options, token=token)
    source, left, identity = _source(options, split, storage, cache)
    tally = Tally(cache / "reports" / f"stream-{options.task.name}-{identity[:16]}.jsonl")
    tally.begin(left)
    work = Work(
        source,
        on_missing_image,
        storage,
        tally,
        order,
        seed,
        window_bytes,
        max_in_flight_bytes,
        pixels,
        0 if decode is None else decode_threads,  # bytes are there already
        verify,
    )
    return Stream(work, rank=rank, world_size=world_size, tail=tail)


def _source(options: Options, split: str, storage: Storage, cache: Path) -> tuple[Source, Left, str]:
    """Return where rows come from, what was left out, and what tells these files from others."""
    if options.data_dir is not None:
        published = find_repository(options.task, options.data_dir, storage)
        if published is not None:
            files = open_files(options, split, published, storage, cache)
            identity = hashlib.sha256(repr([file.info for file in files]).encode()).hexdigest()
            return *open_published(files, options, storage), identity
    try:
        resolved = resolve(options, storage, cache)
    except SourceNotFound as error:
        if (options.data_dir or "").startswith(("http://", "https://")):
            raise SourceNotFound(
                f"{error} Published Parquet is read over http where {MANIFEST} lies beside it."
            ) from error
        raise
    plan, left = make_plan(options, resolved, storage, cache)
    splits = split_rows(plan.image_ids, resolved.holdout)
    if split not in splits:
        raise OptionError(f"split={split!r} is not there. Available: {', '.join(map(repr, splits))}.")
    return Joined(plan.take(splits[split]), options.task, options.rows), left, resolved.fingerprint


def _from_environment() -> tuple[int, int]:
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError) as error:
        raise OptionError(
            f'rank="env" needs RANK and WORLD_SIZE in the environment, as torchrun sets them: {error}.'
        ) from error
