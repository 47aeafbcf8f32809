"""``svit select``: chooses the most informative conversations of a dataset, and says what was taken and what left."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from svit_datasets.cli.output import columns, hint, print_json
from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from svit_builder.select import Selection

__all__ = ["command"]

_TASKS = ("conversation", "complex_reasoning", "detail_description", "referring_qa")
_SHOWN = 20  # concepts, those with the fewest


@click.command(name="select")
@click.argument("place")
@click.option("--budget", type=click.IntRange(min=1), help="How many conversations to choose.")
@click.option(
    "--concepts", "files", multiple=True, help="A list of concepts, one a line; may be repeated.", metavar="FILE"
)
@click.option("--out", required=True, help="Folder for the chosen conversations as SVIT JSON.")
@click.option("--config", "configs", multiple=True, type=click.Choice(_TASKS), help="Only this configuration.")
@click.option(
    "--split",
    type=click.Choice(["train", "test", "all"]),
    default="train",
    show_default=True,
    help="Which rows to choose from.",
)
@click.option("--quota", default="even", show_default=True, help='Conversations a concept: a number, "even" or "none".')
@click.option("--per-image", type=click.IntRange(min=1), help="Conversations of one image, at most.")
@click.option("--yes-share", default="0.5", show_default=True, help='Share of yes among yes and no answers, or "none".')
@click.option("--min-words", type=click.IntRange(min=0), default=0, help="In a conversation's answers together.")
@click.option("--max-words", type=click.IntRange(min=1), help="In a conversation's answers together.")
@click.option(
    "--scores", help="Parquet, CSV or JSON lines with columns id and score; the better of two equals is taken."
)
@click.option("--min-score", type=float, help="Leave out what scores less, or has no score.")
@click.option("--seed", default=0, show_default=True, help="Decides between conversations that are equal otherwise.")
@click.option("--num-workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that read.")
@click.option("--again", "manifest", metavar="FILE", help="Make the selection of this select.json again, to the byte.")
@click.option("--json", "as_data", is_flag=True, help="Print the manifest as one JSON object.")
def command(
    place: str,
    *,
    budget: int | None,
    files: tuple[str, ...],
    out: str,
    configs: tuple[str, ...],
    split: str,
    quota: str,
    yes_share: str,
    scores: str | None,
    num_workers: int,
    manifest: str | None,
    as_data: bool,
    **limits: Any,
) -> None:
    """Choose the most informative conversations of the dataset at PLACE, in the manner of SVIT-core-150K.

    A conversation's information is the number of concepts it mentions. A line of a list is a keyword, or
    `concept: keyword, keyword`. PLACE is a folder or URL with SVIT's files or published Parquet, or ORG/NAME on the
    Hub.

    \b
    Examples:
      svit select /data/svit --budget 150000 --concepts perception.txt --concepts reasoning.txt --out ./core
      svit select /data/svit --budget 50000 --concepts list.txt --per-image 4 --scores clip.parquet --out ./core
      svit select /data/svit --again ./core/select.json --out ./core-again
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    from svit_builder.select import Wanted, again, read_concepts, select  # noqa: PLC0415 - costs pyarrow and numpy

    if manifest is not None:
        made = again(manifest, place, out, scores=scores, num_workers=num_workers)
    elif budget is None or not files:
        raise OptionError("Give --budget and at least one --concepts, or --again with the manifest of a selection.")
    else:
        wanted = Wanted(
            budget,
            quota=_number(quota, "--quota", int, {"even": "even", "none": None}),
            yes_share=_number(yes_share, "--yes-share", float, {"none": None}),
            **limits,
        )
        made = select(
            place,
            out,
            concepts=read_concepts(files),
            wanted=wanted,
            configs=configs or None,
            split=None if split == "all" else split,
            scores=scores,
            num_workers=num_workers,
        )
    if as_data:
        print_json(made.manifest)
    else:
        click.echo("\n".join(_lines(made)))
    first = next((name for name, count in made.counts["configs"].items() if count), None)
    if first is not None:
        hint(f"svit head {first} --data-dir {quote(out)} --holdout none --images PHOTOS")


def _number(text: str, name: str, kind: type[int | float], words: dict[str, Any]) -> Any:
    if text in words:
        return words[text]
    try:
        return kind(text)
    except ValueError as error:
        raise OptionError(f"{name} {text} is not allowed: give a number or {' or '.join(words)}.") from error


def _lines(made: Selection) -> list[str]:
    counts = made.counts
    images, fill = f"{counts['images']:,} images", f"{counts['without gain']:,} of them after every quota was reached"
    lines = [
        f"{made.out}: {counts['chosen']:,} of {counts['conversations']:,} conversations, on {images}; {fill}",
        f"yes begins {counts['yes']:,} answers, no {counts['no']:,}",
        "",
    ]
    lines += columns([["CONFIG", "CHOSEN"], *([name, f"{n:,}"] for name, n in counts["configs"].items())], right=(1,))
    fewest = sorted(counts["concepts"].items(), key=lambda item: item[1][0])[:_SHOWN]
    rows = [["CONCEPT", "CHOSEN", "THERE"], *([name, f"{n:,}", f"{of:,}"] for name, (n, of) in fewest)]
    lines += ["", *columns(rows, right=(1, 2))]
    if len(counts["concepts"]) > _SHOWN:
        lines.append(f"({len(counts['concepts']) - _SHOWN:,} concepts with more are not shown)")
    if counts["left"]:
        lines += ["", "left out: " + ", ".join(f"{n:,} ({why})" for why, n in counts["left"].items())]
    return lines
