"""What is measured: every reader with its cases, and the form of the corpus that it needs.

Only names and settings; `peers` has the code, `suite` runs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.streaming.environments import OWN

PILLOW, SIMPLEJPEG = "stream, storage order, Pillow", "stream, storage order, simplejpeg"
ZIP, NAIVE, SORTED = "datasets, zip:// paths, 32 threads", "fsspec, a photo at a time", "fsspec, sorted, one connection"
OUR_PARQUET = "stream, Parquet, Pillow"
PARQUET, PARQUET_32 = "datasets, Parquet", "datasets, Parquet, 32-row groups, reshard"
WEBDATASET, LITDATA, MDS = "webdataset", "litdata", "mosaicml-streaming"
SHUFFLED = "stream, shuffled"
LOAD = "load_dataset"
TWO_PILLOW, TWO_SIMPLEJPEG = "Pillow, 2 threads", "simplejpeg, 2 threads"
HTTP, DISK = "http, one connection", "disk"


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the corpus that a peer reads, made beforehand by its own writer."""

    folder: str  # under peers/ of the corpus
    module: str
    case: str = "convert"
    environment: str = OWN
    setting: dict[str, Any] = field(default_factory=dict)
    keep: bool = True  # from run to run; what our own code writes may change with it


@dataclass(frozen=True, slots=True)
class Reader:
    """A line of the tables. A case that has no name is one that the reader cannot do."""

    label: str
    module: str
    setting: dict[str, Any] = field(default_factory=dict)
    decoded: str = "decoded"
    undecoded: str = "undecoded"
    form: str = ""  # folder of the form it reads; "": the zips and the JSON as they are
    environment: str = OWN
    near: bool = False  # measured without added latency, too
    urls: bool = False  # is given the URL of each photo, and `limit` of them
    ours: bool = False


FORMS = (
    Form("parquet", "hf_datasets"),
    Form("parquet32", "hf_datasets", setting={"group": 32}),
    Form("ours", "ours", keep=False),
    Form("webdataset", "webdataset_tar", environment="torch"),
    Form("litdata", "litdata_chunks", environment="torch"),
    Form("mds", "mosaic_mds", environment="mosaic"),
)

LIMITS = {
    "Pillow, 1 thread": ("decode", {"decoder": "pillow", "threads": 0}),
    TWO_PILLOW: ("decode", {"decoder": "pillow", "threads": 2}),
    "simplejpeg, 1 thread": ("decode", {"decoder": "simplejpeg", "threads": 0}),
    TWO_SIMPLEJPEG: ("decode", {"decoder": "simplejpeg", "threads": 2}),
    HTTP: ("http", {}),
    DISK: ("disk", {}),
}


def _ours(
    label: str, order: str, decoder: str, *, undecoded: str = "undecoded", form: str = "", near: bool = False
) -> Reader:
    setting = {"order": order, "decoder": decoder}
    return Reader(label, "ours", setting, undecoded=undecoded, form=form, near=near, ours=True)


READERS = (
    _ours(PILLOW, "storage", "pillow", near=True),
    _ours(SIMPLEJPEG, "storage", "simplejpeg", undecoded="", near=True),
    _ours("stream, shuffled, Pillow", "shuffled", "pillow"),
    _ours("stream, shuffled, simplejpeg", "shuffled", "simplejpeg", undecoded=""),
    _ours("stream, record order, Pillow", "record", "pillow"),
    Reader(LOAD, "ours", {}, "load_decoded", "load_undecoded", ours=True),
    Reader(f"{LOAD}, 2 threads", "ours", {"threads": 2}, "load_decoded", "", ours=True),
    _ours(OUR_PARQUET, "storage", "pillow", form="ours", near=True),
    _ours("stream, Parquet, simplejpeg", "storage", "simplejpeg", undecoded="", form="ours"),
    Reader(ZIP, "hf_datasets", {}, "zip_decoded", "", near=True, urls=True),
    Reader(PARQUET, "hf_datasets", form="parquet", near=True),
    Reader(PARQUET_32, "hf_datasets", {"reshard": True}, form="parquet32", near=True),
    Reader(f"{PARQUET_32}, 2 threads", "hf_datasets", {"reshard": True, "threads": 2}, "decoded", "", form="parquet32"),
    Reader(NAIVE, "fsspec_zip", {}, undecoded="", near=True, urls=True),
    Reader(SORTED, "fsspec_zip", {}, "sorted_decoded", "sorted_undecoded", near=True),
    Reader(WEBDATASET, "webdataset_tar", form="webdataset", environment="torch", near=True),
    Reader(LITDATA, "litdata_chunks", form="litdata", environment="torch", near=True),
    Reader(MDS, "mosaic_mds", form="mds", environment="mosaic", near=True),
)


@dataclass(frozen=True, slots=True)
class Loader:
    """A reader in a DataLoader: what reaches the training loop."""

    label: str
    module: str
    workers: int
    setting: dict[str, Any] = field(default_factory=dict)
    form: str = ""
    environment: str = "torch"
    ours: bool = False


LOADERS = (
    Loader("stream, no workers, simplejpeg", "ours", 0, {"decoder": "simplejpeg"}, ours=True),
    Loader("stream, no workers, Pillow", "ours", 0, {"decoder": "pillow"}, ours=True),
    Loader("stream, 2 workers, simplejpeg", "ours", 2, {"decoder": "simplejpeg"}, ours=True),
    Loader("datasets, Parquet, 2 workers", "hf_datasets", 2, form="parquet"),
    Loader("webdataset, 2 workers", "webdataset_tar", 2, form="webdataset"),
    Loader("litdata, 2 workers", "litdata_chunks", 2, form="litdata"),
    Loader("mosaicml-streaming, 2 workers", "mosaic_mds", 2, form="mds", environment="mosaic"),
)

# Readers that can go on from a state, shuffled.
RESUMING = (
    Reader(SHUFFLED, "ours", {"order": "shuffled"}, ours=True),
    Reader("datasets, Parquet, 32-row groups, shuffle", "hf_datasets", {"reshard": True}, form="parquet32"),
    Reader(LITDATA, "litdata_chunks", form="litdata", environment="torch"),
    Reader(MDS, "mosaic_mds", form="mds", environment="mosaic"),
)
