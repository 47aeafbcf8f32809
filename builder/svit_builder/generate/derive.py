"""Journals and annotations in, a dataset out: SVIT's JSON a task, where each record came from, and what was rejected.

A pure function of the replies, the annotations and the rules: the same give the same bytes, and when the rules change
nothing is paid again. Photos are taken in ascending id, so memory holds some hundred of them.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from svit_builder.generate.clean import judge
from svit_builder.generate.journal import Journal
from svit_builder.generate.plan import TASKS, Settings, check_context, items
from svit_builder.generate.rules import RULES_VERSION
from svit_builder.generate.status import journals_in
from svit_builder.svit_json import SvitWriter
from svit_datasets.cache import write_atomically
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from svit_builder.annotations import Annotations
    from svit_builder.generate.calls import Call
    from svit_builder.generate.plan import Item
    from svit_builder.generate.protocol import Finding, Verdict

__all__ = ["PROVENANCE", "derive"]

_CHUNK = 256  # photos at a time
_ROWS = 10_000  # of the provenance table, a row group

PROVENANCE = pa.schema(
    [
        ("image_id", pa.int64()),
        ("task", pa.string()),
        ("model_requested", pa.string()),
        ("model_returned", pa.string()),
        ("endpoint", pa.string()),  # host; "embedded" for the model "rules"
        ("prompt_version", pa.string()),
        ("prompt_sha256", pa.string()),
        ("context_version", pa.string()),
        ("context_sha256", pa.string()),
        ("dropped_objects", pa.int32()),  # left out of the context to keep its length
        ("dropped_regions", pa.int32()),
        ("rules_version", pa.string()),
        ("library_version", pa.string()),
        ("attempts", pa.int32()),  # up to and with the accepted one
        ("created", pa.timestamp("ms", tz="UTC")),
        ("seed", pa.int64()),
        ("temperature", pa.float64()),
        ("sampling", pa.string()),  # JSON: all options but the seed
        ("response_id", pa.string()),
        ("prompt_tokens", pa.int64()),  # of the accepted reply
        ("completion_tokens", pa.int64()),
        ("blocks", pa.int32()),  # conversations that were kept
        ("stripped", pa.string()),  # rules and how often: "preamble 1, numbering 15"
        ("repaired", pa.string()),
        ("dropped", pa.string()),  # questions and answers left out
        ("flagged", pa.string()),
    ]
)
_ACTIONS = {"stripped": "strip", "repaired": "repair", "dropped": "drop_qa", "flagged": "flag"}


def derive(out: Path, annotations: Annotations) -> dict[str, Any]:
    """Write the dataset that the journals of a folder hold, and return its summary.

    Writes ``data/TASK.zip``, ``provenance.parquet`` and ``rejects.jsonl``, each to a temporary name first, and
    ``summary.json`` last.

    Args:
        out: the folder.
        annotations: those that were asked about.

    Raises:
        SourceNotFound, CorruptFile, OptionError: as in `Journal`.
        SourceChanged: the annotations are others.
        OSError: a file cannot be written.
    """
    with ExitStack() as stack:
        journals = [stack.enter_context(Journal(path)) for path in journals_in(out)]
        settings = _settings(journals)
        attempts = max(journal.get("attempts") or 1 for journal in journals)
        tasks = [task for task in TASKS if any(task in (journal.get("tasks") or ()) for journal in journals)]
        (out / "summary.json").unlink(missing_ok=True)  # while it is not there, nothing is complete
        (out / "data").mkdir(exist_ok=True)
        writers = {task: stack.enter_context(SvitWriter(out / "data" / f"{task}.zip")) for task in tasks}
        made = stack.enter_context(_Outputs(out))
        counts: dict[str, Counter[str]] = {task: Counter() for task in tasks}
        rules: dict[str, Counter[str]] = {task: Counter() for task in tasks}
        for journal, item, calls in _answered(journals, annotations, settings):
            task = item.context.task
            verdicts = [_judged(item, call) for call in calls]
            good = next((number for number, verdict in enumerate(verdicts) if verdict and verdict.accepted), None)
            if good is not None:
                verdict = verdicts[good]
                assert verdict is not None
                writers[task].write(item.context.image_id, verdict.conversations)
                made.accept(_provenance(journal, item, calls[good], verdict, good + 1))
                rules[task].update({finding.rule: finding.count for finding in verdict.findings})
                counts[task]["accepted"] += 1
                counts[task]["blocks"] += len(verdict.conversations)
                counts[task]["regenerated"] += good > 0
            elif len(calls) >= attempts:
                made.reject(item, calls, verdicts)
                counts[task]["rejected"] += 1
            else:
                counts[task]["unfinished"] += 1
    summary = {
        "made_by": "svit generate",  # by which `svit build` knows that the card must say so
        "model": settings.model,
        "models": sorted(made.models),  # as endpoints named them
        "prompt_versions": sorted(made.prompts),
        "context_version": settings.context,
        "annotations": sorted(url.rsplit("/", 1)[-1] for urls in annotations.files.values() for url in urls),
        "rules_version": RULES_VERSION,
        "library_version": version("svit-datasets"),
        "tasks": {task: dict(sorted(counts[task].items())) for task in tasks},
        "rules": {task: dict(sorted(rules[task].items())) for task in tasks},
    }
    write_atomically(out / "summary.json", json.dumps(summary, indent=1).encode())
    return summary


def _settings(journals: Sequence[Journal]) -> Settings:
    found = [journal.get("settings") for journal in journals]
    if any(one != found[0] for one in found):
        raise OptionError(f"{journals[0].path.parent}: its journals were asked for with different options.")
    return Settings(**found[0])


def _answered(
    journals: Sequence[Journal], annotations: Annotations, settings: Settings
) -> Iterator[tuple[Journal, Item, list[Call]]]:
    """Yield each item with an answer, its calls in order, ascending by image."""
    ids = np.asarray(annotations.image_ids)
    for start in range(0, len(ids), _CHUNK):
        first, last = int(ids[start]), int(ids[min(start + _CHUNK, len(ids)) - 1])
        found: dict[tuple[int, str], tuple[Journal, list[Call]]] = {}
        for journal in journals:
            for call in journal.calls(first, last, raw=True):
                if call.status != "sent":
                    found.setdefault((call.image_id, call.task), (journal, []))[1].append(call)
        for item in items(annotations, settings, sorted(found)):
            journal, calls = found[item.context.image_id, item.context.task]
            for call in calls:
                check_context(journal, item, call)
            yield journal, item, calls


def _judged(item: Item, call: Call) -> Verdict | None:
    """Judge a reply; None for a refusal of the endpoint, which has none."""
    if call.status == "refused":
        return None
    return judge(item.context.task, call.reply, item.context, question=item.prompt.question)


def _provenance(journal: Journal, item: Item, call: Call, verdict: Verdict, attempts: int) -> dict[str, Any]:
    sampling = journal.text(call.sampling)
    return {
        "image_id": call.image_id,
        "task": call.task,
        "model_requested": call.asked_model,
        "model_returned": call.model,
        "endpoint": call.host,
        "prompt_version": call.prompt_version,
        "prompt_sha256": call.prompt_sha256,
        "context_version": item.context.version,
        "context_sha256": call.context_sha256,
        "dropped_objects": item.context.dropped_objects,
        "dropped_regions": item.context.dropped_regions,
        "rules_version": RULES_VERSION,
        "library_version": version("svit-datasets"),
        "attempts": attempts,
        "created": int(1000 * (call.answered or call.asked)),
        "seed": call.seed,
        "temperature": json.loads(sampling).get("temperature"),
        "sampling": sampling,
        "response_id": call.response_id,
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "blocks": len(verdict.conversations),
        **{name: _told(verdict.findings, action) for name, action in _ACTIONS.items()},
    }


def _told(findings: Sequence[Finding], action: str) -> str:
    return ", ".join(f"{finding.rule} {finding.count}" for finding in findings if finding.action == action)


class _Outputs:
    """The provenance table and the rejects, written beside their names and moved there when all is written."""

    def __init__(self, out: Path) -> None:
        self._table, self._rejects = out / "provenance.parquet", out / "rejects.jsonl"
        self._rows: list[dict[str, Any]] = []
        self.models: set[str] = set()
        self.prompts: set[str] = set()

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(_beside(self._table), PROVENANCE, compression="zstd")
        self._file = _beside(self._rejects).open("w", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._flush()
        self._writer.close()
        self._file.close()
        for path in (self._table, self._rejects):
            if kind is None:
                _beside(path).replace(path)
            else:
                _beside(path).unlink(missing_ok=True)

    def accept(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self.models.add(row["model_returned"] or row["model_requested"])
        self.prompts.add(row["prompt_version"])
        if len(self._rows) >= _ROWS:
            self._flush()

    def reject(self, item: Item, calls: Sequence[Call], verdicts: Sequence[Verdict | None]) -> None:
        tried = [
            {
                "attempt": call.attempt,
                "reason": verdict.reason if verdict else call.reason,
                "findings": [
                    {"rule": one.rule, "action": one.action, "count": one.count, "detail": one.detail}
                    for one in (verdict.findings if verdict else ())
                ],
                "finish_reason": call.finish_reason,
                "seed": call.seed,
                "model": call.model,
                "raw": call.raw,
            }
            for call, verdict in zip(calls, verdicts, strict=True)
        ]
        line = {
            "image_id": item.context.image_id,
            "task": item.context.task,
            "reason": tried[-1]["reason"],
            "attempts": tried,
        }
        self._file.write(json.dumps(line) + "\n")

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=PROVENANCE))
            self._rows = []


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
