"""``svit demo``: the main job on a drawn corpus: text joined with photos out of their zips, while streaming."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click

import svit_datasets
from svit_datasets.cli.output import hint
from svit_datasets.cli.rows import conversations_in, row_lines
from svit_datasets.sample import write_sample

__all__ = ["command"]

_IMAGES = 48  # scenes; drawn in about a second
_SHOWN = 2


@click.command(name="demo")
def command() -> None:
    """Stream a small drawn corpus and print two conversations, each with the size of its photo.

    Works without data and without network. Writes a corpus of drawn scenes in the layout of the real files into a
    temporary folder, reads it as `load_dataset("svit", "complex_reasoning", streaming=True)` reads the real one, and
    deletes it.

    \b
    Example:
      svit demo
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    with TemporaryDirectory(prefix="svit-demo-", ignore_cleanup_errors=True) as folder:
        click.echo(f"Drawing {_IMAGES} scenes in the layout of the real files …", err=True)
        root = write_sample(Path(folder, "svit"), images=_IMAGES).root
        click.echo("\n".join(_stream(root, Path(folder, "cache"))))
    click.echo("\nThe same on the real files:\n")
    click.echo("from svit_datasets import load_dataset")
    click.echo('ds = load_dataset("svit", "complex_reasoning", split="train", streaming=True)')
    hint("svit sample ./svit-sample keeps such a corpus; svit sources says where the real files are")


def _stream(root: Path, cache: Path) -> list[str]:
    """Read the training split to its end, print the first conversations on the way, and return the summary."""
    load_dataset = svit_datasets.load_dataset  # imports datasets, which is no part of what is timed
    began = perf_counter()
    dataset: Any = load_dataset(
        "svit", "complex_reasoning", split="train", streaming=True, data_dir=root, cache_dir=cache
    )
    first = 0.0
    images = questions = 0
    for row in dataset:
        first = first or perf_counter() - began
        row["image"].load()
        images += 1
        questions += len(conversations_in(row))
        if images <= _SHOWN:
            click.echo("\n".join([*row_lines(row, most=1), ""]))
    rate = (images - 1) / (perf_counter() - began - first)
    return [
        f"{images} rows, an image each, with {questions} questions and answers.",
        f"First row after {first:.2f} s, then {rate:,.0f} images a second, decoded out of two zips.",
    ]
