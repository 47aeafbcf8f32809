"""``svit view``: a dataset as pages for the browser, served on this machine or written as files."""

from __future__ import annotations

import contextlib
import sys
import webbrowser
from pathlib import Path

import click

from svit_datasets.cli.output import hint

__all__ = ["command"]


@click.command(name="view")
@click.argument("place")
@click.option("--images", multiple=True, help="Where the photos of raw files are: folder, zip or URL template.")
@click.option("--annotations", metavar="DIR", help="Folder or URL of Visual Genome's annotations, shown beside a row.")
@click.option(
    "--tokenizer",
    "tokenizers",
    multiple=True,
    metavar="PATH|PRESET",
    help="Offer this model's folder, Jinja file or preset for the rendered text; may be repeated.",
)
@click.option("--template", metavar="NAME|PATH", help="Another chat template for the tokenizers, or one by itself.")
@click.option("--port", type=click.IntRange(0, 65535), default=7848, show_default=True, help="Port; 0 for any.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--open/--no-open", "opens", default=False, help="Open the browser.  [default: no-open]")
@click.option(
    "--export",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the pages as files into a new folder instead.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="ROWS",
    help="Show the first so many rows of a split; --export writes 200 if you do not say.",
)
def command(
    place: str,
    *,
    images: tuple[str, ...],
    annotations: str | None,
    tokenizers: tuple[str, ...],
    template: str | None,
    port: int,
    host: str,
    opens: bool,
    export: Path | None,
    limit: int | None,
) -> None:
    """Look at the dataset at PLACE in the browser: photos, chats, boxes, plots.

    PLACE is a folder or URL with published Parquet or with SVIT's own files, or a dataset on the Hub, ORG/NAME.
    Whatever a row holds is shown as text; nothing of it is run, and nothing is fetched from elsewhere.

    \b
    Examples:
      svit view /data/svit --open
      svit view builder/svit --annotations /data/svit/raw/annotations
      svit view ORG/svit --tokenizer ./my-model
      svit view /data/svit --export ./pages --limit 100
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    from svit_builder.view import serve, write_pages  # noqa: PLC0415 - the library never needs the builder
    from svit_builder.view.app import is_loopback  # noqa: PLC0415
    from svit_builder.view.loss import Templates  # noqa: PLC0415
    from svit_builder.view.shelf import Shelf  # noqa: PLC0415

    templates = Templates(tokenizers, template)
    shelf = Shelf(
        place,
        images=images or None,
        annotations=annotations,
        limit=limit or (200 if export is not None else None),
    )
    if export is not None:
        rows = write_pages(shelf, templates, export, progress=_told)
        click.echo(f"{export}: {rows:,} rows of {len(shelf.configs)} configurations")
        hint(f"open {export / 'index.html'} in a browser, or send the folder to any static host")
        return

    if not is_loopback(host):
        click.echo(f"Whoever reaches {host} can look at {place}: there is no password.", err=True)
    shelf.data(shelf.configs[0])  # what is wrong with the dataset is told here rather than in the browser

    def ready(address: str) -> None:
        click.echo(address)
        click.echo("Ctrl-C ends it.", err=True)
        if opens:
            webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):
        serve(shelf, templates, host=host, port=port, ready=ready)


def _told(rows: int) -> None:
    if rows % 100 == 0 and sys.stderr.isatty():
        click.echo(f"{rows:,} rows …", err=True)
