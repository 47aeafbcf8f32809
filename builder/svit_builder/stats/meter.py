"""Rows in, statistics out: one pass over the texts of a configuration, in memory that does not grow with it.

What is held: histograms, whose entries are as few as the square root of the text is long; sketches of 128 KiB; tables
of openings, topics and phrases with at most 100,000 entries each, whose rarest are put together beyond that; the hashes
of 250,000 spellings; and the ids of the images, 8 bytes each.
"""

from __future__ import annotations

from collections import Counter
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from svit_builder.stats.referring import ReferringMeter, without_boxes
from svit_builder.stats.sketch import hash_text, runs_of
from svit_builder.stats.statistics import Statistics
from svit_builder.stats.tables import Ngrams, Spellings, Table, Things, first_words, hash_words, sorted_counts
from svit_datasets.chat.targets import resolve
from svit_datasets.errors import OptionError, TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from svit_builder.data import Data
    from svit_datasets.rows import Row

__all__ = ["Meter", "measure", "token_counter"]

_HISTOGRAMS = (
    "conversations_a_row", "qas_a_row", "qas_a_conversation",
    "question_words", "answer_words", "question_tokens", "answer_tokens",
)  # fmt: skip


def measure(
    data: Data, *, start: int = 0, stop: int | None = None, tokenizer: Any = None, progress: bool = False
) -> Statistics:
    """Count what a configuration holds, in one pass over its texts; no photo is read.

    The numbers of a whole are those of its parts, added up with ``|``.

    Args:
        data: the configuration, from `svit_builder.data.open_data`.
        start: first row.
        stop: behind the last row; None for all.
        tokenizer: counts tokens too: whatever `ChatRenderer` takes that has a tokenizer, or a function from text to
            ids. Chat templates and special tokens are not counted.
        progress: show a bar on a terminal.

    Raises:
        OptionError: what was given as tokenizer has none.
        SvitError: as in `Data.texts`.
    """
    stop = len(data) if stop is None else min(stop, len(data))
    meter = Meter(data.task.name, data.task.form == "llava", tokenizer)
    rows = tqdm(
        data.texts(start, stop),
        total=max(0, stop - start),
        desc=data.task.name,
        unit=" rows",
        delay=1,
        leave=False,
        disable=None if progress else True,
    )
    for _, row in rows:
        meter.add(row)
    ends = [0, *accumulate(data.splits.values())]
    splits = {
        name: min(stop, high) - max(start, low)
        for name, (low, high) in zip(data.splits, pairwise(ends), strict=True)
        if max(start, low) < min(stop, high)
    }
    return meter.statistics(splits, data.image_ids[start:stop])


def token_counter(tokenizer: Any) -> tuple[str, Callable[[str], int]]:
    """Return the name of a tokenizer and a function that counts the tokens of a text.

    Raises:
        OptionError: it is of no known kind, or a template without a tokenizer.
    """
    try:
        target = resolve(tokenizer)
    except TemplateError:  # base models have no template, and none is needed to count
        target = resolve(tokenizer, template="plain")
    if target.native is not None:
        inner = target.native.instruct_tokenizer.tokenizer
        return target.name, lambda text: len(inner.encode(text, bos=False, eos=False))
    encoder = target.encoder
    if encoder is None:
        raise OptionError(f"{target.name} has no tokenizer, so no tokens can be counted. Give the folder of a model.")
    return target.name, lambda text: len(encoder.encode(text, [(0, len(text))])[0])


class Meter:
    """Counts row after row; see `Statistics` for what."""

    def __init__(self, config: str, is_llava: bool, tokenizer: Any) -> None:
        self.config, self.is_llava = config, is_llava
        self.tokenizer: str | None = None
        self.count_tokens: Callable[[str], int] | None = None
        if tokenizer is not None:
            self.tokenizer, self.count_tokens = token_counter(tokenizer)
        self.numbers: Counter[str] = Counter()  # names of fields that are one number
        self.histograms: dict[str, Counter[int]] = {name: Counter() for name in _HISTOGRAMS}
        self.task_images: Counter[str] = Counter()
        self.task_qas: Counter[str] = Counter()
        self.openings, self.topics = Table(by_words=True), Table()
        self.words = {"question": Ngrams(), "answer": Ngrams()}
        self.spellings = Spellings()
        self.paths, self.questions = Things(), Things()
        self.referring = ReferringMeter("plain" if is_llava else "svit")

    def add(self, row: Row) -> None:
        """Count a row."""
        self.numbers["rows"] += 1
        if self.is_llava:
            blocks: list[dict[str, Any]] = [row]
            if row["image_path"] is None:
                self.numbers["text_only"] += 1
            else:
                self.paths.add(hash_text(row["image_path"]))
        else:
            blocks = row["conversations"]
        seen: set[int] = set()
        per_task: Counter[str] = Counter()
        for block in blocks:
            qas = 0
            for question, answer in _pairs(block["messages"]):
                self._add_qa(question, answer, seen)
                qas += 1
            self.histograms["qas_a_conversation"][qas] += 1
            per_task[block.get("task") or self.config] += qas
            if block.get("topic"):
                self.topics.add(block["topic"])
        self.numbers["conversations"] += len(blocks)
        self.numbers["qas"] += per_task.total()
        self.histograms["conversations_a_row"][len(blocks)] += 1
        self.histograms["qas_a_row"][per_task.total()] += 1
        if not self.is_llava:
            self.task_images.update(per_task.keys())
            self.task_qas.update(per_task)

    def _add_qa(self, question: str, answer: str, seen: set[int]) -> None:
        self.referring.add(question, answer)
        for side, text in (("question", question), ("answer", answer)):
            plain = without_boxes(text).split()
            hashes = [one for one in map(self.spellings.__getitem__, plain) if one]
            self.words[side].add(hashes)
            self.histograms[f"{side}_words"][len(hashes)] += 1
            if self.count_tokens is not None:
                self.histograms[f"{side}_tokens"][self.count_tokens(text)] += 1
            if side == "question":
                self.openings.add(" ".join(first_words(plain, 3)))
                asked = hash_words(hashes)
                self.questions.add(asked)
                self.numbers["repeated_in_row"] += asked in seen
                seen.add(asked)
            else:
                first = next(iter(first_words(plain, 1)), "")
                if first in ("yes", "no"):
                    self.numbers[first] += 1

    def statistics(self, splits: dict[str, int], image_ids: Any) -> Statistics:
        """Return what was counted."""
        counted: dict[str, Any] = {name: sorted_counts(counts) for name, counts in self.histograms.items()}
        counted |= self.numbers | self.referring.counted()
        return Statistics(
            config=self.config,
            splits=splits,
            tokenizer=self.tokenizer,
            image_ids=runs_of(image_ids[image_ids >= 0]),
            image_paths=self.paths.variety().sketch,
            task_images=sorted_counts(self.task_images),
            task_qas=sorted_counts(self.task_qas),
            question_ngrams=self.words["question"].varieties(),
            answer_ngrams=self.words["answer"].varieties(),
            questions=self.questions.variety(),
            openings=sorted_counts(self.openings.counts),
            topics=sorted_counts(self.topics.counts),
            **counted,
        )


def _pairs(messages: Iterable[dict[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each answer with the question before it."""
    question = ""
    for message in messages:
        if message["role"] == "user":
            question = message["content"]
        else:
            yield question, message["content"]
            question = ""
