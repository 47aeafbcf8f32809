"""A dataset and lists of concepts in, a folder with the chosen conversations out; and the same again from its manifest.

Reads the texts twice: to measure every conversation, and to write those that `greedy` chose. What is measured stays in
memory, some 40 bytes a conversation.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svit_builder.data import configs_in, open_data
from svit_builder.select.concepts import Concepts
from svit_builder.select.greedy import Wanted, choose
from svit_builder.select.output import MANIFEST, digest_of, write_chosen
from svit_builder.select.samples import gather
from svit_builder.select.scores import read_scores
from svit_datasets.cache import write_atomically
from svit_datasets.errors import BuildError, CorruptFile, OptionError, SourceChanged, SourceNotFound
from svit_datasets.tasks import TASKS, get_task

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

__all__ = ["Selection", "again", "select"]

_VERSION = 1  # of the manifest, and of how it is chosen: raise it when the same options choose something else


@dataclass(frozen=True)
class Selection:
    """What was chosen."""

    out: Path
    manifest: dict[str, Any]

    @property
    def counts(self) -> dict[str, Any]:
        """Numbers of what was chosen, by configuration, by concept, and of what was left for which reason."""
        counts: dict[str, Any] = self.manifest["counts"]
        return counts


def select(
    place: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    concepts: Concepts,
    wanted: Wanted,
    configs: Iterable[str] | None = None,
    split: str | None = "train",
    scores: str | os.PathLike[str] | None = None,
    num_workers: int = 1,
    **options: Any,
) -> Selection:
    """Choose conversations of a dataset, and write them as SVIT JSON that `load_dataset` reads.

    Args:
        place: the dataset, as `svit_builder.data.open_data` takes it.
        out: folder for ``data/CONFIG.json``, ``selection.parquet`` (a row a chosen conversation: its name, concepts,
            gain, score) and ``select.json``, written last. What an earlier selection left there is replaced.
        concepts: what is informative.
        wanted: how many, and within which limits.
        configs: of SVIT form; None takes the four tasks as far as they are there.
        split: "train" leaves held-out images out; None takes all.
        scores: a Parquet, CSV or JSON-lines file with columns ``id`` (IMAGE/TASK/NUMBER) and ``score``.
        num_workers: processes that read texts; the result is the same with any number.
        options: of `open_data`.

    Raises:
        OptionError: a value is not allowed, or a configuration is not in SVIT form.
        SvitError: the dataset cannot be read.
        OSError: the folder cannot be written.
    """
    names = _configs(str(place), configs, options)
    datasets = [open_data(str(place), name, split=split, **options) for name in names]
    samples, inputs = gather(datasets, concepts, num_workers=num_workers)
    found = None if scores is None else read_scores(scores, samples, names)
    chosen = choose(samples, len(concepts.names), wanted, found)
    root = Path(out).expanduser()
    (root / MANIFEST).unlink(missing_ok=True)  # what is begun is never taken for complete
    counts, outputs = write_chosen(
        root, datasets=datasets, samples=samples, concepts=concepts, chosen=chosen, scores=found
    )
    manifest = {
        "version": _VERSION,
        "wanted": asdict(wanted),
        "split": split,
        "concepts": {name: list(keywords) for name, keywords in concepts.keywords.items()},
        "scores": None if scores is None else {"path": str(scores), "sha256": digest_of(Path(scores))},
        "inputs": dict(zip(names, inputs, strict=True)),
        "outputs": outputs,
        "counts": counts,
    }
    write_atomically(root / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
    return Selection(root, manifest)


def _configs(place: str, configs: Iterable[str] | None, options: dict[str, Any]) -> list[str]:
    if configs is None:
        there = configs_in(place, token=options.get("token"), storage_options=options.get("storage_options"))
        found = [name for name in there if TASKS[name].form == "svit" and not TASKS[name].parts]
        if not found:
            raise SourceNotFound(f"{place}: none of the four tasks is there. Found: {', '.join(there)}.")
        return found
    names = list(dict.fromkeys(configs))
    wrong = [name for name in names if get_task(name).form != "svit" or get_task(name).parts]
    if wrong:
        allowed = [name for name, task in TASKS.items() if task.form == "svit" and not task.parts]
        raise OptionError(f"config {wrong[0]!r} cannot be chosen from. Allowed: {', '.join(allowed)}.")
    return sorted(names, key=list(TASKS).index)


def again(
    manifest: str | os.PathLike[str],
    place: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    scores: str | os.PathLike[str] | None = None,
    num_workers: int = 1,
    **options: Any,
) -> Selection:
    """Make a selection again from its manifest, and see that it has the same bytes.

    Args:
        manifest: ``select.json``; it holds the concepts too.
        place: the dataset it was made from, wherever it lies now.
        out: as for `select`.
        scores: the same file of scores, if there was one.
        num_workers: as for `select`.
        options: of `open_data`.

    Raises:
        CorruptFile: it is no manifest of this version.
        SourceChanged: the dataset or the scores are not those that it was made from.
        BuildError: the files came out different.
    """
    path = Path(manifest).expanduser()
    try:
        told = json.loads(path.read_bytes())
        wanted, concepts = Wanted(**told["wanted"]), Concepts(told["concepts"])
        names, outputs, version = list(told["inputs"]), told["outputs"], told["version"]
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptFile(f"{path}: is no manifest of a selection ({error!r}). Give the select.json of one.") from error
    if version != _VERSION:
        raise CorruptFile(f"{path}: was made by version {version} of selecting, this is {_VERSION}. Select anew.")
    _check_scores(told["scores"], scores, path)
    made = select(
        place,
        out,
        concepts=concepts,
        wanted=wanted,
        configs=names,
        split=told["split"],
        scores=scores,
        num_workers=num_workers,
        **options,
    )
    for name in names:
        if made.manifest["inputs"][name] != told["inputs"][name]:
            raise SourceChanged(
                f"{place}: {name} is not what {path} was made from: {_told(made.manifest['inputs'][name])} here, "
                f"{_told(told['inputs'][name])} there. Give the same copy, or select anew."
            )
    changed = [name for name, digest in outputs.items() if made.manifest["outputs"].get(name) != digest]
    if changed:
        raise BuildError(f"{made.out / changed[0]}: has other bytes than {path} tells, from the same texts.")
    return made


def _told(facts: dict[str, Any]) -> str:
    return f"{facts['conversations']:,} conversations, sha256 {facts['sha256'][:12]}…"


def _check_scores(told: dict[str, str] | None, scores: str | os.PathLike[str] | None, path: Path) -> None:
    if (told is None) != (scores is None):
        had = "no scores" if told is None else f"the scores of {told['path']}"
        raise OptionError(f"{path} was made with {had}: give the same.")
    if told is not None and scores is not None and digest_of(Path(scores)) != told["sha256"]:
        raise SourceChanged(f"{scores}: these are not the scores that {path} was made with.")
