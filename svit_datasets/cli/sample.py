"""``svit sample``: writes the drawn corpus and says what was written."""

from __future__ import annotations

from dataclasses import asdict
from shlex import quote

import click

from svit_datasets.cli.output import byte_size, columns, hint, print_json
from svit_datasets.sample import SampleSummary, write_sample

__all__ = ["command"]


@click.command(name="sample")
@click.argument("directory")
@click.option("--images", default=64, show_default=True, help="How many scenes to draw, at least 2.")
@click.option("--seed", default=0, show_default=True, help="Another seed gives other scenes, ids and texts.")
@click.option("--defects", is_flag=True, help="Also write a small broken copy for each known trap, under defects/.")
@click.option("--json", "as_data", is_flag=True, help="Print what was written as one JSON object.")
def command(directory: str, *, images: int, seed: int, defects: bool, as_data: bool) -> None:
    """Write a small corpus of drawn scenes into DIRECTORY, in the layout of the real files.

    Every answer is true of its picture, nothing third-party is inside, and the same options give the same bytes.
    DIRECTORY must not exist yet, or be empty.

    \b
    Example:
      svit sample ./svit-sample --images 16
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    summary = write_sample(directory, images=images, seed=seed, defects=defects)
    if as_data:
        print_json({**asdict(summary), "root": str(summary.root)})
    else:
        click.echo("\n".join(_lines(summary)))
    hint(f"svit head complex_reasoning --data-dir {quote(directory)}")


def _lines(summary: SampleSummary) -> list[str]:
    size = byte_size(sum(summary.files.values()))
    rows = [["CONFIG", "RECORDS", "QUESTIONS"]]
    rows += [[name, f"{count:,}", f"{summary.questions[name]:,}"] for name, count in summary.records.items()]
    held_out = f"{len(summary.test_image_ids)} of them held out"
    lines = [f"{summary.root}: {len(summary.files)} files, {size}", f"{len(summary.image_ids)} images, {held_out}", ""]
    lines += columns(rows, right=(1, 2))
    if summary.defects:
        lines += ["", f"{len(summary.defects)} defective copies, listed in defects.json"]
    return lines
