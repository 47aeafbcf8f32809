"""What is promised of streaming, what is hoped for, and what is told beside it, as ratios inside one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.report import Floor
from tests.benchmarks.streaming.readers import (
    LITDATA,
    LOADERS,
    MDS,
    NAIVE,
    OUR_PARQUET,
    PARQUET,
    PARQUET_32,
    PILLOW,
    SHUFFLED,
    SIMPLEJPEG,
    SORTED,
    TWO_PILLOW,
    TWO_SIMPLEJPEG,
    WEBDATASET,
    ZIP,
)

if TYPE_CHECKING:
    from tests.benchmarks.streaming.suite import Results

_SPAN = 4.2  # MB; a span has 4 MiB


def floors(results: Results) -> list[Floor]:
    """All of them; one whose numbers are not there has no measured value, and is missed if it is promised."""

    def steady(label: str, what: str = "decoded") -> float | None:
        return results.figure(label, what, "steady")

    def first(label: str, what: str = "decoded") -> float | None:
        return results.figure(label, what, "first_s")

    peers = [steady(loader.label, "delivered") for loader in LOADERS if not loader.ours]
    best_peer = max((rate for rate in peers if rate is not None), default=None)
    best_parquet = max((rate for rate in map(steady, (PARQUET, PARQUET_32)) if rate is not None), default=None)
    peak, zip_peak = results.figure(PILLOW, "decoded", "rss_mb"), results.figure(ZIP, "decoded", "rss_mb")
    pillow, simplejpeg, shuffled = (steady(label) for label in (PILLOW, SIMPLEJPEG, "stream, shuffled, Pillow"))
    with_simplejpeg, with_pillow = (steady(loader.label, "delivered") for loader in LOADERS[:2])
    resumed = results.resumed.get(SHUFFLED)
    full = {"of_full_size": True}
    return [
        Floor("share of Pillow's limit, 2 threads", _over(pillow, steady(TWO_PILLOW, "limit")), 0.7, 0.8, **full),
        Floor(
            "simplejpeg: share of its limit, 2 threads",
            _over(simplejpeg, steady(TWO_SIMPLEJPEG, "limit")),
            *(0.7, 0.95),
            **full,
        ),
        Floor("times datasets, zip:// paths", _over(pillow, steady(ZIP)), 20, 30, **full),
        Floor("times fsspec, a photo at a time", _over(pillow, steady(NAIVE)), 100, 180, **full),
        Floor("times webdataset", _over(pillow, steady(WEBDATASET)), 1.8, 2.3, **full),
        Floor(
            "undecoded: times fsspec, sorted, one connection",
            _over(steady(PILLOW, "undecoded"), steady(SORTED, "undecoded")),
            *(6, 10),
            **full,
        ),
        Floor("first photo: of datasets' time, zip:// paths", _over(first(PILLOW), first(ZIP)), 0.6, 0.3, True, True),
        Floor("DataLoader: times the best peer with 2 workers", _over(with_simplejpeg, best_peer), 1.3, 1.9, **full),
        Floor("Parquet: times datasets, the better of two", _over(steady(OUR_PARQUET), best_parquet), 1.4, 1.9, **full),
        Floor("peak memory: of datasets', zip:// paths", _over(peak, zip_peak), 0.5, 0.4, True, True),
        Floor("peak memory: MB", peak, 250, at_most=True),
        Floor("resume: MB of photos read again", resumed and resumed.photos_again / 1e6, _SPAN, at_most=True),
        Floor("resume: rows lost", resumed and float(resumed.lost), 0, at_most=True),
        Floor("resume: rows repeated", resumed and float(resumed.repeated), 0, at_most=True),
        Floor("shuffled: share of Pillow's limit, 2 threads", _over(shuffled, steady(TWO_PILLOW, "limit"))),
        Floor("simplejpeg: times webdataset", _over(simplejpeg, steady(WEBDATASET))),
        Floor("times litdata", _over(pillow, steady(LITDATA))),
        Floor("times mosaicml-streaming", _over(pillow, steady(MDS))),
        Floor("first photo, text prepared: of datasets' time", _over(first(PILLOW, "prepared"), first(ZIP))),
        Floor("DataLoader, Pillow: times the best peer with 2 workers", _over(with_pillow, best_peer)),
        Floor("Parquet, simplejpeg: times datasets", _over(steady("stream, Parquet, simplejpeg"), best_parquet)),
        Floor(
            "Parquet: times datasets with 2 decoding threads",
            _over(steady(OUR_PARQUET), steady(f"{PARQUET_32}, 2 threads")),
        ),
    ]


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other
