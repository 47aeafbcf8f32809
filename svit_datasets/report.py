"""What was left out, and why: counted per kind while data are read, by every process that reads them.

Planning notes what it knows at once (missing photos, unusable records), reading notes what it meets. Processes share
one file of lines, because a worker's counts would be lost with it; a line is written once per thing and process.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from svit_datasets.cache import write_atomically
from svit_datasets.errors import SvitError, TooManyFailures

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Report", "Tally"]

MAX_RUN = 100  # photos in a row that cannot be read, after which even "skip" and "null" give up
_EXAMPLES = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """Counts of what a load left out."""

    counts: dict[str, int] = field(default_factory=dict)  # kind -> how many; kinds are described in docs/loading.md
    examples: dict[str, list[str]] = field(default_factory=dict)  # kind -> the first few, in words

    def __str__(self) -> str:
        """Return a line a kind, the most frequent first."""
        if not self.counts:
            return "nothing was left out"
        kinds = sorted(self.counts, key=lambda kind: -self.counts[kind])
        return "\n".join(f"{self.counts[kind]:>9,}  {kind}  e.g. {self.examples[kind][0]}" for kind in kinds)


class Tally:
    """Takes notes for a report. Pickles; each process keeps its own run of failures.

    Args:
        path: the file of lines that the processes share.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted: set[tuple[str, str]] = set()
        self._run = 0
        self._last = ""

    def begin(self, planned: list[tuple[str, int, list[str]]]) -> None:
        """Start anew with what planning left out: (kind, how many, the first few in words)."""
        self._noted.clear()
        lines = []
        for kind, count, words in planned:
            if count:
                lines.append(json.dumps({"kind": kind, "count": count, "examples": words[:_EXAMPLES]}) + "\n")
                _log.warning("%s: %d left out, e.g. %s", kind, count, words[0])
        write_atomically(self._path, "".join(lines).encode())

    def failed(self, kind: str, what: str, error: SvitError) -> None:
        """Note one thing that was met while reading.

        Raises:
            TooManyFailures: it is the 100th in a row.
        """
        self._run += what != self._last  # rows of one photo fail together
        self._last = what
        if (kind, what) not in self._noted:
            self._noted.add((kind, what))
            _log.warning("%s: %s", kind, error)
            with self._path.open("a", encoding="utf-8") as file:  # one short write, whole also beside other processes
                file.write(json.dumps({"kind": kind, "what": what, "examples": [str(error)]}) + "\n")
        if self._run >= MAX_RUN:
            raise TooManyFailures(
                f"{self._run} photos in a row could not be read; the last: {error} The source or the setting is wrong."
            ) from error

    def succeeded(self) -> None:
        """End a run of failures."""
        self._run, self._last = 0, ""

    def report(self) -> Report:
        """Return what all processes have noted so far."""
        counts: Counter[str] = Counter()
        examples: dict[str, list[str]] = {}
        seen = set()
        for text in self._path.read_text("utf-8").splitlines() if self._path.is_file() else []:
            try:
                line = json.loads(text)
            except ValueError:
                continue  # its process was killed while it wrote
            if "what" in line and (line["kind"], line["what"]) in seen:
                continue  # another process, or another epoch, met the same
            seen.add((line["kind"], line.get("what", "")))
            counts[line["kind"]] += line.get("count", 1)
            kept = examples.setdefault(line["kind"], [])
            kept.extend(line["examples"][: _EXAMPLES - len(kept)])
        return Report(dict(counts), examples)
