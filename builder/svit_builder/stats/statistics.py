"""What is counted of a configuration: a frozen value that adds up over shards and goes through JSON.

Counts and histograms are exact. Only two kinds of numbers are not, and only beyond a limit: how many different n-grams,
questions and image paths there are (see `sketch`), and tables of words and topics, whose rarest entries are put
together (see `meter`). `summary` says all of it in figures to be shown.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from svit_builder.stats.sketch import Runs, Sketch, united
from svit_datasets.errors import OptionError
from svit_datasets.tasks import get_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["AREAS", "GRID", "VERSION", "VISUAL_GENOME", "Statistics", "Variety", "quantiles"]

VERSION = 1  # of the JSON
VISUAL_GENOME = 108_077  # its images that have annotations: Krishna et al., IJCV 2017, and SVIT's own count
AREAS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # edges, shares of the picture
GRID = 16  # cells a side, for where boxes have their centres

Histogram = dict[int, int]  # value -> how often


@dataclass(frozen=True, slots=True)
class Variety:
    """How many there were of something, and how many different ones."""

    total: int = 0
    sketch: Sketch = field(default_factory=Sketch)

    @property
    def distinct(self) -> int:
        """The number of different ones; at most the total."""
        return min(self.sketch.count, self.total)

    @property
    def share(self) -> float | None:
        """Different ones a one, 0 to 1: distinct-n where these are n-grams; None where there are none."""
        return self.distinct / self.total if self.total else None

    def __or__(self, other: Variety) -> Variety:
        """Return the variety of both together."""
        return Variety(self.total + other.total, self.sketch | other.sketch)


_NONE = (Variety(), Variety(), Variety())


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The numbers of one configuration, or of a part of its rows; ``a | b`` has those of both parts.

    A row is an image, in LLaVA form a record. A QA is an answer with the question before it. A word is what stands
    between spaces, without punctuation at its ends and in lower case; boxes, and marks of phrases and images, are none.
    """

    config: str
    splits: dict[str, int] = field(default_factory=dict)  # split -> rows
    tokenizer: str | None = None  # what tokens were counted with

    rows: int = 0
    text_only: int = 0  # rows without an image; LLaVA form only
    conversations: int = 0
    qas: int = 0
    image_ids: Runs = ()  # of Visual Genome, (first, behind the last) of each run
    image_paths: Sketch = field(default_factory=Sketch)  # LLaVA form only
    task_images: dict[str, int] = field(default_factory=dict)  # task -> rows that have it; form "svit" only
    task_qas: dict[str, int] = field(default_factory=dict)  # task -> QAs

    conversations_a_row: Histogram = field(default_factory=dict)
    qas_a_row: Histogram = field(default_factory=dict)
    qas_a_conversation: Histogram = field(default_factory=dict)
    question_words: Histogram = field(default_factory=dict)
    answer_words: Histogram = field(default_factory=dict)
    question_tokens: Histogram = field(default_factory=dict)  # empty where no tokenizer was given
    answer_tokens: Histogram = field(default_factory=dict)

    yes: int = 0  # answers whose first word is yes
    no: int = 0  # answers whose first word is no
    question_ngrams: tuple[Variety, Variety, Variety] = _NONE  # one, two and three words
    answer_ngrams: tuple[Variety, Variety, Variety] = _NONE
    questions: Variety = field(default_factory=Variety)  # compared as words: case, spaces and punctuation do not count
    repeated_in_row: int = 0  # questions that the same row has before, compared in the same way
    openings: dict[str, int] = field(default_factory=dict)  # first three words of a question, or fewer -> questions
    topics: dict[str, int] = field(default_factory=dict)  # topic -> conversations; "": the rare ones together

    referring_qas: int = 0  # QAs with at least one box
    phrases: dict[str, int] = field(default_factory=dict)  # marked phrase in lower case; "": rare or not marked
    phrases_a_qa: Histogram = field(default_factory=dict)  # of all QAs
    boxes_a_qa: Histogram = field(default_factory=dict)
    bad_boxes: dict[str, int] = field(default_factory=dict)  # "numbers", "order", "range" or "markup" -> how many
    box_areas: tuple[int, ...] = (0,) * (len(AREAS) - 1)  # boxes between neighbouring edges of AREAS
    box_centres: tuple[int, ...] = (0,) * GRID**2  # boxes by the cell of their centre, row by row from the top left

    @property
    def images(self) -> int:
        """How many different images; in LLaVA form an estimate beyond 16,384 of them."""
        if get_task(self.config).form == "llava":
            return min(self.image_paths.count, self.rows - self.text_only)
        return self.visual_genome

    @property
    def visual_genome(self) -> int:
        """How many different images of Visual Genome, of `VISUAL_GENOME`."""
        return sum(stop - first for first, stop in self.image_ids)

    @property
    def boxes(self) -> int:
        """How many boxes that can be read."""
        return sum(self.box_areas)

    @property
    def frame(self) -> str:
        """What the coordinates of boxes are shares of: "photo", or "padded", the square that LLaVA pads it to."""
        return "padded" if get_task(self.config).form == "llava" else "photo"

    def first_words(self, words: int = 1) -> dict[str, int]:
        """Return how many questions begin with the same words, the most frequent first; "" stands for rare ones.

        Args:
            words: how many, 1 to 3. Questions with fewer are counted by all they have.
        """
        counts: Counter[str] = Counter()
        for opening, count in self.openings.items():
            counts[" ".join(opening.split(" ")[:words])] += count
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    def __or__(self, other: Statistics) -> Statistics:
        """Return the numbers of two parts of a configuration that have no row in common.

        Raises:
            OptionError: they are of two configurations, or tokens were counted with two tokenizers.
        """
        for name in ("config", "tokenizer"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise OptionError(f"Statistics of {name} {mine!r} and {theirs!r} do not add up. Measure them alike.")
        return Statistics(**{one.name: _sum(one.name, self, other) for one in fields(self)})

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values, from which `from_json` makes an equal one; a few MB as text."""
        return {"version": VERSION, **{one.name: _plain(getattr(self, one.name)) for one in fields(self)}}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Statistics:
        """Return what `to_json` was called on.

        Raises:
            OptionError: the JSON is of another version.
        """
        if value.get("version") != VERSION:
            found = value.get("version")
            raise OptionError(f"These statistics have version {found!r}; this package reads {VERSION}. Measure again.")
        return Statistics(**{one.name: _READ.get(str(one.type), _same)(value[one.name]) for one in fields(Statistics)})

    def summary(self) -> dict[str, Any]:
        """Return the figures to be shown, as plain values, with the names of the fields above."""
        known = {name: getattr(self, name) for name in ("config", "splits", "rows", "images", "text_only")}
        counts = {name: getattr(self, name) for name in ("conversations", "qas", "repeated_in_row", "referring_qas")}
        spreads = {one.name: quantiles(getattr(self, one.name)) for one in fields(self) if one.type == "Histogram"}
        return {
            **known,
            "visual_genome": {"images": self.visual_genome, "share": self.visual_genome / VISUAL_GENOME},
            **counts,
            "task_images": self.task_images,
            "task_qas": self.task_qas,
            "tokenizer": self.tokenizer,
            **spreads,
            "yes": self.yes,
            "no": self.no,
            "yes_no_share": (self.yes + self.no) / self.qas if self.qas else None,
            "yes_to_no": self.yes / self.no if self.no else None,
            "question_ngrams": [_variety(one) for one in self.question_ngrams],
            "answer_ngrams": [_variety(one) for one in self.answer_ngrams],
            "questions": _variety(self.questions),
            "first_words": _top(self.first_words(1)),
            "first_three_words": _top(self.first_words(3)),
            "topics": {"distinct": len(self.topics.keys() - {""}), "most": _top(self.topics)},
            "boxes": self.boxes,
            "bad_boxes": self.bad_boxes,
            "box_frame": self.frame,
            "box_areas": {"edges": list(AREAS), "boxes": list(self.box_areas)},
            "box_centres": [list(self.box_centres[at : at + GRID]) for at in range(0, GRID**2, GRID)],
            "phrases": {"distinct": len(self.phrases.keys() - {""}), "most": _top(self.phrases)},
        }


def quantiles(counts: Mapping[int, int]) -> dict[str, float] | None:
    """Return mean, least, greatest and quantiles of counted values, or None where there are none.

    A quantile is the smallest value that at least that share of all is not above.

    Example:
        >>> quantiles({2: 5, 10: 1})
        {'mean': 3.33, 'min': 2, 'p5': 2, 'p25': 2, 'median': 2, 'p75': 2, 'p95': 10, 'max': 10}
    """
    total = sum(counts.values())
    if not total:
        return None
    values = sorted(counts)
    found: dict[str, float] = {
        "mean": round(sum(value * count for value, count in counts.items()) / total, 2),
        "min": values[0],
    }
    wanted = [("p5", 5), ("p25", 25), ("median", 50), ("p75", 75), ("p95", 95)]
    below = 0
    for value in values:
        below += counts[value]
        while wanted and below * 100 >= wanted[0][1] * total:
            found[wanted.pop(0)[0]] = value
    return {**found, "max": values[-1]}


def _variety(variety: Variety) -> dict[str, Any]:
    share = None if variety.share is None else round(variety.share, 4)
    return {"total": variety.total, "distinct": variety.distinct, "share": share, "exact": variety.sketch.exact}


def _top(counts: Mapping[str, int], most: int = 50) -> dict[str, int]:
    named = ((name, count) for name, count in counts.items() if name)
    return dict(sorted(named, key=lambda pair: (-pair[1], pair[0]))[:most])


# Adding up, and JSON --------------------------------------------------------------------------------------------------


def _sum(name: str, left: Statistics, right: Statistics) -> Any:
    one, two = getattr(left, name), getattr(right, name)
    if name in ("config", "tokenizer"):
        return one
    if name == "image_ids":
        return united(one, two)
    if isinstance(one, dict):
        keys = one | two if name == "splits" else sorted(one | two)
        return {key: one.get(key, 0) + two.get(key, 0) for key in keys}
    if isinstance(one, tuple):
        return tuple(a | b if isinstance(a, Variety) else a + b for a, b in zip(one, two, strict=True))
    return one | two if isinstance(one, Sketch | Variety) else one + two


def _plain(value: Any) -> Any:
    if isinstance(value, Sketch):
        return base64.b64encode(value.hashes).decode()
    if isinstance(value, Variety):
        return {"total": value.total, "sketch": _plain(value.sketch)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): count for key, count in value.items()}
    return value


def _sketch(value: str) -> Sketch:
    return Sketch(base64.b64decode(value))


def _to_variety(value: Mapping[str, Any]) -> Variety:
    return Variety(value["total"], _sketch(value["sketch"]))


def _same(value: Any) -> Any:
    return value


_READ: dict[str, Callable[[Any], Any]] = {  # by the annotation of a field: JSON has text keys and no tuples
    "Histogram": lambda value: {int(key): count for key, count in value.items()},
    "Runs": lambda value: tuple(map(tuple, value)),
    "Sketch": _sketch,
    "Variety": _to_variety,
    "tuple[Variety, Variety, Variety]": lambda value: tuple(map(_to_variety, value)),
    "tuple[int, ...]": tuple,
}
