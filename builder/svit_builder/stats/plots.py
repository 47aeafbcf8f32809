"""Statistics in, plots out, as SVG texts: small, searchable, the same bytes for the same numbers.

Backgrounds are transparent, and lines and letters of a grey that stands out from white and from black alike, so one
picture serves light and dark pages. Words of the dataset are untrusted: they are drawn as they are, never as markup or
mathematics. Needs matplotlib, which is imported when the first plot is drawn, and leaves its global state alone.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

from svit_builder.stats.axes import (
    COLORS,
    INK,
    WIDTH,
    binned,
    last_shown,
    named_bars,
    panels,
    shown,
    squares,
)
from svit_builder.stats.compare import united_images
from svit_builder.stats.statistics import AREAS, GRID, VISUAL_GENOME, quantiles
from svit_datasets.errors import MissingDependency
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from svit_builder.stats.statistics import Statistics

__all__ = ["plots"]

_SHADES = ("#3b6fb6", "#37808c", "#2f7d4f", "#7a6a2f", "#b3541e", "#b0413e", "#8a4fa3")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # letters stay letters
    "svg.hashsalt": "svit",  # ids in the file are not random
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_LOCK = threading.Lock()  # matplotlib's settings belong to the process: one at a time draws with ours
_NGRAMS = ("words", "pairs", "triples")
_NAMED = 12  # first words, and topics, that are shown
_LETTER = 0.0125  # of the longest bar, what a letter in a bar takes


def plots(statistics: Sequence[Statistics]) -> dict[str, str]:
    """Draw the statistics of one or more configurations.

    Args:
        statistics: one for each configuration.

    Returns:
        Name to SVG: "counts", "images", "qas_an_image", "lengths", "first_words", "answers", "topics", "boxes"; what
        there is nothing to draw of is left out.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependency('Plots need matplotlib: pip install "svit-datasets[stats]".') from error
    drawn = {}
    with _LOCK, mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # the reader's font may have it
        for name, draw in _PLOTS.items():
            figure = Figure(layout="constrained")
            if draw(figure, [one for one in statistics if one.qas]):
                file = io.StringIO()
                figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
                drawn[name] = file.getvalue()
    return drawn


def _counts(figure: Any, statistics: Sequence[Statistics]) -> bool:
    """QAs of each configuration."""
    figure.set_size_inches(WIDTH, 0.5 + 0.3 * len(statistics))
    axes = figure.subplots()
    named_bars(axes, {one.config: one.qas for one in statistics})
    axes.set_title("Questions with their answers")
    return bool(statistics)


def _images(figure: Any, statistics: Sequence[Statistics]) -> bool:
    """Photos of Visual Genome that each configuration has, and by how many tasks they are told of."""
    of_genome = {one.config: one.visual_genome for one in statistics if one.visual_genome}
    figure.set_size_inches(WIDTH, 0.5 + 0.3 * (len(of_genome) + (len(of_genome) > 1)))
    axes = figure.subplots()
    if len(of_genome) > 1:
        of_genome["together"] = united_images(statistics)
    named_bars(axes, of_genome, share=VISUAL_GENOME)
    axes.set_title(f"Images of Visual Genome, of its {VISUAL_GENOME:,}")
    return bool(of_genome)


def _qas_an_image(figure: Any, statistics: Sequence[Statistics]) -> bool:
    for axes, one in panels(figure, statistics, 1.5):
        total = sum(one.qas_a_row.values())
        last = last_shown(one.qas_a_row)
        values = range(min(one.qas_a_row), last + 1)
        shares = [100 * one.qas_a_row.get(value, 0) / total for value in values]
        shares[-1] += 100 * sum(count for value, count in one.qas_a_row.items() if value > last) / total
        axes.bar(values, shares, width=0.85, color=COLORS[one.config])
        axes.set_title(one.config)
        room = max(0, 4 - len(values)) + 0.8  # where all are alike, the bar stands in the middle
        axes.set_xlim(max(-0.5, min(values) - room), last + room)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("% of images" if TASKS[one.config].form == "svit" else "% of records")
        axes.grid(axis="y")
    figure.supxlabel("QAs an image", size=9)
    return bool(statistics)


def _lengths(figure: Any, statistics: Sequence[Statistics]) -> bool:
    for axes, one in panels(figure, statistics, 1.7):
        last = max(last_shown(one.answer_words), last_shown(one.question_words))
        step = max(1, -(-last // 60))
        for counts, color, filled, name in (
            (one.answer_words, COLORS[one.config], True, "answers"),
            (one.question_words, INK, False, "questions"),
        ):
            shares, edges = binned(counts, last, step)
            middle = (quantiles(counts) or {})["median"]
            axes.stairs(shares, edges, color=color, fill=filled, linewidth=1.3, label=f"{name}, median {middle}")
        axes.set_title(one.config)
        axes.set_ylabel("%")
        axes.set_xlim(0, last + step)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
        axes.legend(fontsize=8, handlelength=1, loc="upper right", borderpad=0)
        axes.grid(axis="y")
    figure.supxlabel("words", size=9)
    return bool(statistics)


def _first_words(figure: Any, statistics: Sequence[Statistics]) -> bool:
    """First words of questions, each bar cut by the second word."""
    counts: Counter[str] = Counter()
    for one in statistics:
        counts.update(one.first_words(2))
    firsts: Counter[str] = Counter()
    for opening, count in counts.items():
        firsts[opening.partition(" ")[0]] += count
    total = firsts.total()
    del firsts[""]
    names = [name for name, _ in sorted(firsts.items(), key=lambda pair: (-pair[1], pair[0]))[:_NAMED]]
    figure.set_size_inches(WIDTH, 0.9 + 0.3 * len(names))
    axes = figure.subplots()
    most = max((firsts[name] for name in names), default=1)
    for line, name in enumerate(names):
        seconds = {key.partition(" ")[2]: count for key, count in counts.items() if key.partition(" ")[0] == name}
        left = 0.0
        for number, (second, count) in enumerate(sorted(seconds.items(), key=lambda pair: (-pair[1], pair[0]))):
            if count < 0.005 * most or number == 12:
                break
            axes.barh(line, 100 * count / total, left=100 * left / total, color=_SHADES[number % 7], height=0.8)
            word = shown(second)
            if count / most > _LETTER * (len(word) + 1):
                axes.text(100 * (left + count / 2) / total, line, word, ha="center", va="center", color="white", size=8)
            left += count
        rest = firsts[name] - left
        axes.barh(line, 100 * rest / total, left=100 * left / total, color=INK, alpha=0.5, height=0.8)
    axes.set_yticks(range(len(names)), [shown(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("% of questions")
    axes.set_title("First words of questions, and second words in their bars")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    return bool(names)


def _answers(figure: Any, statistics: Sequence[Statistics]) -> bool:
    """Yes and no; and how much of the answers is said only once."""
    figure.set_size_inches(WIDTH, 1.2 + 0.32 * len(statistics))
    left, right = figure.subplots(1, 2, sharey=True)
    lines = range(len(statistics))
    yes = [100 * one.yes / one.qas for one in statistics]
    no = [100 * one.no / one.qas for one in statistics]
    left.barh(lines, yes, color="#3b6fb6", height=0.7, label="yes")
    left.barh(lines, no, left=yes, color="#b3541e", height=0.7, label="no")
    left.set_yticks(lines, [one.config for one in statistics])
    left.set_ylim(len(statistics) + 0.3, -0.6)  # from the top, with room for the legends below
    left.set_title("Answers that begin with yes or no")
    left.set_xlabel("% of answers")
    left.set_xlim(0, max(10, *(a + b for a, b in zip(yes, no, strict=True))) * 1.1 if statistics else 10)
    for number in range(3):
        shares = [one.answer_ngrams[number].share or 0 for one in statistics]
        where = [line - 0.25 + 0.25 * number for line in lines]
        right.barh(where, shares, height=0.22, color=_SHADES[2 * number], label=_NGRAMS[number])
    right.set_title("Distinct n-grams of answers")
    right.set_xlabel("distinct, of all")
    for axes in (left, right):
        axes.legend(fontsize=8, handlelength=1, loc="lower right", ncols=3, borderaxespad=0.2, columnspacing=1)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    return bool(statistics)


def _topics(figure: Any, statistics: Sequence[Statistics]) -> bool:
    counts: Counter[str] = Counter()
    for one in statistics:
        counts.update(one.topics)
    total = counts.total()
    del counts[""]
    top = dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_NAMED])
    figure.set_size_inches(WIDTH, 1 + 0.28 * len(top))
    axes = figure.subplots()
    lines = range(len(top))
    axes.barh(lines, [100 * count / total for count in top.values()], color=COLORS["conversation"], height=0.75)
    axes.set_yticks(lines, [shown(name, 48) for name in top])
    axes.invert_yaxis()
    axes.set_xlabel("% of conversations that have a topic")
    axes.set_title(f"The most frequent of {len(counts):,} topics")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    return bool(top)


def _boxes(figure: Any, statistics: Sequence[Statistics]) -> bool:
    """Sizes and places of boxes; of one frame, as shares of a photo and of a padded square do not add up."""
    frame = "photo" if any(one.boxes and one.frame == "photo" for one in statistics) else "padded"
    mine = [one for one in statistics if one.boxes and one.frame == frame]
    mine = [one for one in mine if not TASKS[one.config].parts] or mine  # the union has the boxes of its tasks again
    if not mine:
        return False
    figure.set_size_inches(WIDTH, 2.6)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    total = sum(one.boxes for one in mine)
    areas = [100 * sum(column) / total for column in zip(*(one.box_areas for one in mine), strict=True)]
    left.bar(range(len(areas)), areas, width=0.85, color=COLORS["referring_qa"])
    left.set_xticks(range(len(areas)), [f"{100 * edge:g}" for edge in AREAS[1:]])
    left.set_xlabel(f"area, up to % of the {'photo' if frame == 'photo' else 'padded square'}")
    left.set_ylabel("% of boxes")
    left.set_title(f"{sum(one.boxes for one in mine):,} boxes: their sizes")
    left.grid(axis="y")
    cells = [sum(column) for column in zip(*(one.box_centres for one in mine), strict=True)]
    most = max(cells)
    for tenth in range(1, 11):
        some = [(at % GRID, at // GRID) for at, count in enumerate(cells) if count and -(-10 * count // most) == tenth]
        if some:
            right.add_patch(squares(some, COLORS["referring_qa"], tenth / 10))
    right.set_xlim(0, GRID)
    right.set_ylim(GRID, 0)
    right.set_aspect("equal")
    right.set_xticks([0, GRID / 2, GRID], ["left", "", "right"])
    right.set_yticks([0, GRID / 2, GRID], ["top", "", "bottom"])
    right.set_title("where their centres are")
    for spine in right.spines.values():
        spine.set_visible(True)
    return True


_PLOTS: Mapping[str, Callable[[Any, Sequence[Statistics]], bool]] = {
    "counts": _counts,
    "images": _images,
    "qas_an_image": _qas_an_image,
    "lengths": _lengths,
    "first_words": _first_words,
    "answers": _answers,
    "topics": _topics,
    "boxes": _boxes,
}
