"""One call from names to rows; and the same call inside `datasets`, for trainers that make it themselves.

`load_dataset` builds `Svit` and hands back what `datasets` makes of it. `register` teaches the stock function the name
"svit" for the life of the process: `datasets` has no hook for that, so the one function that turns a path into a module
is wrapped (tried on 5.2; `docs/decisions/registering.md` says why not another way).
"""

from __future__ import annotations

import hashlib
import inspect
from functools import wraps
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import datasets
import datasets.inspect
import datasets.load

from svit_datasets.errors import SvitError
from svit_datasets.report import Report
from svit_datasets.svit import Svit

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from svit_datasets.filters import IdList, ImageIds

    Loaded: TypeAlias = (
        datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset | datasets.IterableDatasetDict
    )

__all__ = ["code_hash", "last_report", "load_dataset", "register", "unregister"]

_last: list[Svit] = []  # the builder of the latest load in this process


def load_dataset(
    path: str,
    name: str | None = None,
    *,
    split: str | None = None,
    streaming: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    rows: str = "image",
    holdout: str | os.PathLike[str] | None = "official",
    on_missing_image: str = "error",
    on_bad_record: str = "error",
    image_ids: ImageIds | None = None,
    exclude: IdList | None = None,
    known_bad: str = "drop",
    verify: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    storage_options: dict[str, Any] | None = None,
    num_proc: int | None = None,
    **stock: Any,
) -> Loaded:
    """Load SVIT, joined with its photos; any other path goes to ``datasets.load_dataset`` untouched.

    The text is parsed once into a table in the cache (5 s for 390 MB of JSON); photos stay where they are and are
    read when rows are. ``streaming=True`` gives an ``IterableDataset`` whose rows come in the file's order.

    Args:
        path: "svit".
        name: the configuration: conversation, complex_reasoning, detail_description, referring_qa, all, core_150k,
            mix_665k.
        split: "train", "test", or without streaming a slice of one ("train[:1%]"); None gives all by name.
        streaming: read while iterating, store no photo.
        data_dir: a folder or any fsspec URL that holds SVIT's files in a known layout; None reads the gated repository
            BAAI/SVIT on the Hub.
        images: where photos are: a folder, a zip, a URL template with ``{folder}`` and ``{image_id}``, or a list of
            them, asked in order; COCO folders and zips stand in by ``coco_id``. None looks under ``data_dir``, then
            reads Visual Genome's own zips in place.
        rows: "image" gives a row an image with all its conversations, "conversation" a row a conversation. LLaVA-form
            configurations have a row a record either way.
        holdout: which images are the test split: "official" (10,808 published ids), a file with one id a line, or None
            for a single split.
        on_missing_image: "error", "skip", or "null" (image, width and height are None), for a photo that is nowhere or
            cannot be decoded.
        on_bad_record: "error" or "skip", for a conversation that cannot be used; see `records.DEFECT_KINDS`.
        image_ids: only these images: ids, a file with one id a line, or a function from id to bool. Only their photos
            are read.
        exclude: not these images: ids, a file with one id a line, or a report of ``svit check --json``, which names
            the photos that stand in evaluation sets. Applied after ``image_ids``.
        known_bad: "drop" leaves out answers that say the message was empty, "keep" keeps them.
        verify: compare the checksum of every photo that comes out of a zip. Without it, lengths, headers and the
            photo's own first and last bytes are all that is checked.
        cache_dir: where prepared data are kept; None is the Hugging Face home.
        token: Hugging Face token; None uses the one of ``hf auth login``.
        storage_options: fsspec options, for every protocol or keyed by protocol.
        num_proc: processes that prepare map-style data.
        stock: further arguments of ``datasets.load_dataset``, for other paths than "svit" only.

    Returns:
        What ``datasets.load_dataset`` returns: a dataset of one split, or a dict of splits. Row columns: image_id
        (Visual Genome id), image (PIL, RGB), width and height (pixels), conversations (list of topic and messages,
        config all adds task); see docs/loading.md for the other forms.

    Raises:
        OptionError: an argument has a value that is not allowed.
        SourceNotFound, AccessDenied, SourceUnreachable: a file cannot be had; the message says what to do.
        CorruptFile: a file breaks off; the message says at which byte.
        BadRecord, ImageNotFound, BadImage: by the policies above.

    Examples:
        >>> ds = load_dataset("svit", "complex_reasoning", split="train", streaming=True)  # doctest: +SKIP
        >>> next(iter(ds))["conversations"][0]["messages"][0]["role"]  # doctest: +SKIP
        'user'
    """
    own = {
        "data_dir": None if data_dir is None else str(data_dir),
        "images": images,
        "rows": rows,
        "holdout": holdout,
        "on_missing_image": on_missing_image,
        "on_bad_record": on_bad_record,
        "image_ids": image_ids,
        "exclude": exclude,
        "known_bad": known_bad,
        "verify": verify,
    }
    if path != "svit":
        general = {"cache_dir": cache_dir, "token": token, "storage_options": storage_options, "num_proc": num_proc}
        given = {key: value for key, value in (own | general).items() if value != _DEFAULTS[key]}
        return datasets.load_dataset(path, name, split=split, streaming=streaming, **given, **stock)
    if stock:
        raise TypeError(f"load_dataset('svit') has no argument {next(iter(stock))!r}.")
    builder = Svit(
        config_name=name,
        hash=code_hash(),
        cache_dir=cache_dir,
        token=token,
        storage_options=storage_options,
        **own,
    )
    _last[:] = [builder]
    if streaming:
        return builder.as_streaming_dataset(split=split)
    try:
        builder.download_and_prepare(num_proc=num_proc)
    except Exception as error:
        ours = _cause(error)
        if ours is None or ours is error:
            raise
        raise ours from None  # datasets wraps what a generator raises; our error says what, where and what to do
    return builder.as_dataset(split=split)


_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(load_dataset).parameters.items()}


def last_report() -> Report:
    """Return what the latest load in this process left out, as far as it has been read; see `Report`.

    Worker processes are included. Empty before the first load.
    """
    return _last[0].tally.report() if _last else Report()


def _cause(error: BaseException | None) -> SvitError | None:
    while error is not None and not isinstance(error, SvitError):
        error = error.__cause__ or error.__context__
    return error


def code_hash() -> str:
    """Return a digest of this package's version and code: rows prepared by other code are other rows."""
    digest = hashlib.sha256(version("svit-datasets").encode())
    for file in sorted(files("svit_datasets").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def register() -> None:
    """Make the stock ``datasets.load_dataset("svit", …)`` and ``get_dataset_config_names("svit")`` work here.

    Idempotent; holds for this process and those forked from it, until `unregister`. A local folder called ``svit``
    (the published Parquet) keeps its meaning.
    """
    wrapped = datasets.load.dataset_module_factory
    if getattr(wrapped, "svit_original", None) is not None:
        return

    @wraps(wrapped)
    def module_factory(path: str, *arguments: Any, **options: Any) -> Any:
        if path != "svit" or Path(path).is_dir():
            return wrapped(path, *arguments, **options)
        return datasets.load.DatasetModule("svit_datasets.svit", code_hash(), {"dataset_name": "svit"})

    module_factory.svit_original = wrapped  # type: ignore[attr-defined]
    _install(module_factory)


def unregister() -> None:
    """Undo `register`; does nothing where it was not called."""
    original = getattr(datasets.load.dataset_module_factory, "svit_original", None)
    if original is not None:
        _install(original)


def _install(module_factory: Any) -> None:
    datasets.load.dataset_module_factory = module_factory
    datasets.inspect.dataset_module_factory = module_factory  # imported there by name
