"""``svit head``: the first rows of a configuration as text or JSON, and their photos as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import svit_datasets
from svit_datasets.cli.output import hint, print_json
from svit_datasets.cli.rows import row_lines
from svit_datasets.tasks import TASKS

__all__ = ["command"]


@click.command(name="head")
@click.argument("config", type=click.Choice(list(TASKS)))
@click.option("--data-dir", help="Folder or URL with your files; without it the gated repository on the Hub is read.")
@click.option("-n", "--count", "count", type=click.IntRange(min=1), default=3, show_default=True, help="How many rows.")
@click.option(
    "--rows",
    type=click.Choice(["image", "conversation"]),
    default="image",
    show_default=True,
    help="What a row is: an image with all its conversations, or one conversation.",
)
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True, help="Which split.")
@click.option(
    "--holdout",
    default="official",
    show_default=True,
    help='Which images are the test split: "official", a file with one id a line, or "none" for one split.',
)
@click.option("--images", multiple=True, help="Where the photos are: folder, zip or URL template; may be repeated.")
@click.option(
    "--on-missing-image",
    type=click.Choice(["error", "skip", "null"]),
    default="error",
    show_default=True,
    help="What becomes of a row whose photo is nowhere: an error, left out, or kept without photo.",
)
@click.option(
    "--save-images", metavar="DIR", help="Write the photos of these rows into DIR, as the bytes they came in."
)
@click.option("--json", "as_data", is_flag=True, help="Print JSON lines, an object a row; photos by file name only.")
def command(
    config: str,
    *,
    data_dir: str | None,
    count: int,
    rows: str,
    split: str,
    holdout: str,
    images: tuple[str, ...],
    on_missing_image: str,
    save_images: str | None,
    as_data: bool,
) -> None:
    """Print the first rows of CONFIG: which photo, then its conversations.

    \b
    Examples:
      svit head complex_reasoning --data-dir ./svit-sample
      svit head conversation --data-dir /data/svit --rows conversation -n 5 --split test
      svit head referring_qa --data-dir /data/svit --save-images ./photos --json
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    dataset: Any = svit_datasets.load_dataset(
        "svit",
        config,
        split=split,
        streaming=True,
        data_dir=data_dir,
        images=images or None,
        rows=rows,
        holdout=None if holdout == "none" else holdout,
        on_missing_image=on_missing_image,
    )
    shown = 0
    for row in dataset.decode(False).take(count):
        saved = None if save_images is None else _save(row, Path(save_images))
        if as_data:
            photo = {} if save_images is None else {"saved": saved and str(saved)}
            print_json({**row, "image": row["image"] and row["image"]["path"], **photo}, indent=None)
        else:
            click.echo("\n".join([*row_lines(row), *([f"     saved as {saved}"] if saved else []), ""]))
        shown += 1
    if shown < count:
        click.echo(f"{shown} of {count} rows: the {split} split has no more.", err=True)
    _hint(config, split, data_dir)


def _save(row: dict[str, Any], folder: Path) -> Path | None:
    """Write a row's photo under its own file name and return where; None where the row has no photo."""
    if row["image"] is None:
        return None
    path = folder / Path(row["image"]["path"]).name
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(row["image"]["bytes"])
    return path


def _hint(config: str, split: str, data_dir: str | None) -> None:
    place = "" if data_dir is None else f", data_dir={data_dir!r}"
    hint(f'ds = load_dataset("svit", "{config}", split="{split}", streaming=True{place})')
