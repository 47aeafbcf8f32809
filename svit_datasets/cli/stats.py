"""``svit stats``: what a dataset holds in numbers, as a page a configuration, beside the paper's table, or as plots."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from svit_datasets.cli.output import bars, columns, counted, hint, label_lines, print_json, shown, width
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from svit_builder.stats import Statistics

__all__ = ["command"]

_NAMED = 5  # first words, topics and phrases that are listed
_QUANTILES = ("min", "p5", "p25", "median", "p75", "p95", "max")
_SPREADS = (
    ("QAs an image", "qas_a_row"),
    ("QAs a conversation", "qas_a_conversation"),
    ("words a question", "question_words"),
    ("words an answer", "answer_words"),
    ("tokens a question", "question_tokens"),
    ("tokens an answer", "answer_tokens"),
    ("phrases a QA", "phrases_a_qa"),
    ("boxes a QA", "boxes_a_qa"),
)


@click.command(name="stats")
@click.argument("place")
@click.option(
    "--config",
    "configs",
    multiple=True,
    type=click.Choice(list(TASKS)),
    help="Only this configuration; may be repeated.",
)
@click.option("--split", metavar="NAME", help="Only this split, train or test.")
@click.option("--tokenizer", metavar="PATH", help="Folder of a model: lengths in its tokens too.")
@click.option("--compare", is_flag=True, help="Print the paper's comparison of datasets with this copy in it.")
@click.option(
    "--plots",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write plots into this folder, as SVG; needs matplotlib.",
)
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object with all figures.")
def command(
    place: str,
    *,
    configs: tuple[str, ...],
    split: str | None,
    tokenizer: str | None,
    compare: bool,
    folder: Path | None,
    as_data: bool,
) -> None:
    """Count what the dataset at PLACE says: how much, how long, how varied, with which boxes.

    PLACE is a folder or URL with published Parquet or with SVIT's own files, or a dataset on the Hub, ORG/NAME. Texts
    are read once, in bounded memory; no photo is read.

    \b
    Examples:
      svit stats /data/svit
      svit stats builder/svit --config referring_qa --plots ./plots
      svit stats ORG/svit --compare
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    from svit_builder.data import configs_in, open_data  # noqa: PLC0415 - the library never needs the builder
    from svit_builder.stats import measure  # noqa: PLC0415
    from svit_builder.stats.plots import plots  # noqa: PLC0415

    if folder is not None:
        plots([])  # tells now, rather than after an hour, that matplotlib is missing
    done: list[Statistics] = []
    for config in [name for name in TASKS if name in configs] or configs_in(place):
        done.append(measure(open_data(place, config, split=split), tokenizer=tokenizer, progress=True))
        if not as_data:
            click.echo("\n".join([*_page(done[-1]), ""]))
    if as_data:
        print_json({"place": place, "configs": [one.summary() for one in done], **_comparison(done)})
    elif compare:
        click.echo("\n".join(_tables(_comparison(done))))
    elif len(done) > 1:
        click.echo("\n".join(_overview(done)))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = plots(done)
        for name, text in drawn.items():
            Path(folder, f"{name}.svg").write_text(text, "utf-8")
        click.echo(f"{len(drawn)} plots in {folder}: {', '.join(drawn)}", err=True)
    else:
        hint(f"svit stats {quote(place)} --plots ./plots" if compare else f"svit stats {quote(place)} --compare")


def _comparison(done: Sequence[Statistics]) -> dict[str, Any]:
    from svit_builder.stats.compare import counts, coverage, table  # noqa: PLC0415

    return {"comparison": table(done), "counts": counts(done), "coverage": coverage(done)}


# A page ---------------------------------------------------------------------------------------------------------------


def _page(one: Statistics) -> Iterator[str]:
    heading = f"── {one.config} "
    yield click.style(heading + "─" * (width() - len(heading)), bold=True)
    figures = one.summary()
    for label, text in [*_amounts(one, figures), *_language(one, figures), *_boxes(one, figures)]:
        yield from label_lines(label, shown(text))
    yield from ["", *_spreads(one, figures)]
    for label, values in (("QAs an image", one.qas_a_row), ("words an answer", one.answer_words)):
        if len(values) > 1:
            yield from ["", f"  {label}", *(f"  {line}" for line in bars(_common(values)))]


def _amounts(one: Statistics, figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    is_svit = TASKS[one.config].form == "svit"
    splits = ", ".join(f"{count:,} in {name}" for name, count in one.splits.items())
    yield "rows" if is_svit else "records", f"{one.rows:,}: {splits}" if one.splits else "none"
    yield "images", _images(one, figures)
    yield "QAs", f"{one.qas:,} in {one.conversations:,} conversations"
    if one.task_qas.keys() - {one.config}:
        yield "tasks", counted(one.task_qas)


def _language(one: Statistics, figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not one.qas:
        return
    ratio = f"; {one.yes / one.no:.2f} to 1" if one.no else ""
    yield "yes or no", f"{_percent(one.yes + one.no, one.qas)} of answers: {one.yes:,} yes, {one.no:,} no{ratio}"
    for side, ngrams in (("questions", one.question_ngrams), ("answers", one.answer_ngrams)):
        shares = ", ".join(f"{ngram.share or 0:.3f}" for ngram in ngrams)
        yield f"{side} vary", f"distinct-1, -2 and -3 are {shares}"
    again = f"; {one.repeated_in_row:,} asked again of the same row" if one.repeated_in_row else ""
    yield "questions", f"{_about(one.questions)} different of {one.questions.total:,}{again}"
    yield "they begin", _named(figures["first_words"], one.qas)
    yield "", _named(figures["first_three_words"], one.qas)
    if one.topics:
        topics = figures["topics"]
        yield "topics", f"{topics['distinct']:,} different: {_named(topics['most'], sum(one.topics.values()))}"


def _boxes(one: Statistics, figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if one.boxes:
        yield "boxes", f"{one.boxes:,} in {one.referring_qas:,} QAs ({_percent(one.referring_qas, one.qas)})"
        yield "box areas", _areas(one)
    if named := figures["phrases"]["most"]:
        yield "phrases", f"{figures['phrases']['distinct']:,} different: {_named(named, sum(one.phrases.values()))}"
    if one.bad_boxes:
        yield "bad boxes", f"{counted(one.bad_boxes)}; not among the others"


def _spreads(one: Statistics, figures: Mapping[str, Any]) -> list[str]:
    """Return how many and how long, a line each: where half, and nine of ten, lie between."""
    rows = [["", "MEAN", "MIN", "5 %", "25 %", "MEDIAN", "75 %", "95 %", "MAX"]]
    for label, name in _SPREADS:
        spread = figures[name]
        if spread is None or (spread["max"] == 0 and name != "qas_a_row"):
            continue  # no tokenizer, or no boxes
        if name != "qas_a_conversation" or TASKS[one.config].form == "svit":
            rows.append([f"  {label}", f"{spread['mean']:,.1f}", *(f"{spread[key]:,}" for key in _QUANTILES)])
    return columns(rows, right=range(1, 9))


def _images(one: Statistics, figures: Mapping[str, Any]) -> str:
    alone = f"; {one.text_only:,} records have none" if one.text_only else ""
    share = figures["visual_genome"]["share"]
    of_genome = f"{one.visual_genome:,} of Visual Genome's 108,077 ({100 * share:.3g} %)"
    if TASKS[one.config].form == "svit":
        return of_genome
    return f"{'' if one.image_paths.exact else 'about '}{one.images:,}, {of_genome}{alone}"


def _areas(one: Statistics) -> str:
    """Say which share of boxes is small, as most are."""
    from svit_builder.stats.statistics import AREAS  # noqa: PLC0415

    small = sum(count for edge, count in zip(AREAS[1:], one.box_areas, strict=True) if edge <= 0.01)
    large = sum(count for edge, count in zip(AREAS[:-1], one.box_areas, strict=True) if edge >= 0.2)
    frame = "photo" if one.frame == "photo" else "padded square"
    return (
        f"{_percent(small, one.boxes)} below 1 % of the {frame}, "
        f"{_percent(one.boxes - small - large, one.boxes)} from there to 20 %, {_percent(large, one.boxes)} above"
    )


def _named(counts: Mapping[str, int], total: int) -> str:
    first = list(counts.items())[:_NAMED]
    more = ", …" if len(counts) > _NAMED else ""
    return ", ".join(f"{name} {_percent(count, total)}" for name, count in first) + more


def _about(variety: Any) -> str:
    return f"{'' if variety.sketch.exact else 'about '}{variety.distinct:,}"


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.3g} %" if total else "none"


def _common(counts: Mapping[int, int]) -> dict[int, int]:
    """Return a histogram without its last percent: a few long answers would leave one bar for all others."""
    total, kept, below = sum(counts.values()), {}, 0
    for value in sorted(counts):
        kept[value] = counts[value]
        below += counts[value]
        if below >= 0.99 * total:
            break
    return kept


# Tables ---------------------------------------------------------------------------------------------------------------


def _overview(done: Sequence[Statistics]) -> list[str]:
    rows = [["", "IMAGES", "QAS", "QAS/IMAGE", "WORDS/QUESTION", "WORDS/ANSWER", "YES OR NO", "BOXES"]]
    for one in done:
        figures = one.summary()
        means = [(figures[name] or {"mean": 0})["mean"] for name in ("qas_a_row", "question_words", "answer_words")]
        numbers = [f"{one.images:,}", f"{one.qas:,}", *(f"{mean:.1f}" for mean in means)]
        rows.append([one.config, *numbers, _percent(one.yes + one.no, one.qas), f"{one.boxes:,}"])
    return columns(rows, right=range(1, 8))


def _tables(compared: Mapping[str, Any]) -> Iterator[str]:
    first = compared["comparison"]
    yield from _table(
        [["", *(name.upper() for name in first[0] if name != "dataset")], *(row.values() for row in first)]
    )
    yield from ["", "boxes, regions and captions are what a dataset was made from; a copy has none of them", ""]
    rows = [
        [row["config"], row["unit"], f"{row['paper']:,}", f"{row['copy']:,}", f"{100 * row['share']:.1f} %"]
        for row in compared["counts"]
    ]
    if rows:
        yield from [*columns([["", "OF", "PAPER", "THIS COPY", "SHARE"], *rows], right=range(2, 5)), ""]
    covered = compared["coverage"]
    yield f"{covered['images']:,} of Visual Genome's {covered['of']:,} images have any of these"
    if len(covered["tasks"]) > 1:
        told = "; ".join(f"{count:,} have {number}" for number, count in reversed(covered["tasks"].items()))
        yield f"tasks an image: {told}"


def _table(rows: Iterable[Iterable[Any]]) -> list[str]:
    cells = [
        ["" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows
    ]
    return columns(cells, right=range(1, len(cells[0])))
