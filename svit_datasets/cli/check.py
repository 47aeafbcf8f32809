"""``svit check``: what is wrong with a dataset, as a table a configuration, as JSON, as a page; and a cleaned copy."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from svit_datasets.cli.output import columns, hint, label_lines, print_json, shown, width
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.check import Report
    from svit_builder.check.examine import Findings
    from svit_builder.check.page import Thumbnails
    from svit_builder.data import Data

__all__ = ["command"]


@click.command(name="check")
@click.argument("place")
@click.option("--config", "configs", multiple=True, type=click.Choice(list(TASKS)), help="Only this configuration.")
@click.option("--annotations", metavar="DIR", help="Compare with Visual Genome's and COCO's annotations in this place.")
@click.option("--against", multiple=True, metavar="LIST", help="Evaluation images: [NAME=]coco:FILE or vg:FILE.")
@click.option("--similar", is_flag=True, help="Look for nearly equal answers too; needs rensa.")
@click.option("--fix", metavar="OUT", type=click.Path(path_type=Path), help="Write a cleaned copy into this folder.")
@click.option("--images", multiple=True, help="Where the photos are, if not under PLACE; for --html.")
@click.option("--html", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write a page.")
@click.option("--examples", default=5, show_default=True, type=click.IntRange(0), help="How many of each check.")
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object; `exclude=` reads it.")
def command(
    place: str,
    *,
    configs: tuple[str, ...],
    annotations: str | None,
    against: tuple[str, ...],
    similar: bool,
    fix: Path | None,
    images: tuple[str, ...],
    html: Path | None,
    examples: int,
    as_data: bool,
) -> None:
    """Say what is wrong with the texts of the dataset at PLACE, and which photos stand in evaluation sets.

    PLACE is a folder or URL with published Parquet or with SVIT's own files, or a dataset on the Hub, ORG/NAME. Texts
    are read once, in bounded memory; photos only for --html. --config, --against and --images may be repeated.

    \b
    Examples:
      svit check /data/svit
      svit check /data/svit --annotations /data/vg --html report.html
      svit check /data/svit --against refcoco=coco:refcoco_val.txt --json > report.json
      svit check /data/svit --fix ./svit-clean
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    from svit_builder.check import check  # noqa: PLC0415 - the library never needs the builder
    from svit_builder.check.page import page, thumbnails  # noqa: PLC0415

    photos: Thumbnails = {}

    def on_config(data: Data, found: Findings) -> None:
        if html is not None:
            photos.update(thumbnails(data, found))
        if not as_data:
            click.echo("\n".join([*_page(found), ""]))

    report = check(
        place,
        configs=configs,
        images=images or None,
        annotations=annotations,
        against=against,
        similar=similar,
        fix=fix,
        keep=examples,
        progress=True,
        on_config=on_config,
    )
    if as_data:
        print_json(report.to_json())
    else:
        for line in _end(report):
            click.echo(line)
    if html is not None:
        html.write_text(page(report, photos), "utf-8")
    if fix is not None:
        from svit_builder.check.run import CHANGES  # noqa: PLC0415

        hint(f"less {quote(str(fix / CHANGES))}")
    elif html is None:
        hint(f"svit check {quote(place)} --html report.html")


def _page(found: Findings) -> Iterator[str]:
    from svit_builder.check import CHECKS  # noqa: PLC0415

    heading = f"── {found.config} "
    yield click.style(heading + "─" * (width() - len(heading)), bold=True)
    yield from label_lines("read", f"{found.rows:,} rows, {found.conversations:,} conversations, {found.qas:,} QAs")
    for kind, count, some in found.unusable:
        yield from label_lines("unusable", shown(f"{count:,} {kind}. First: {some[0] if some else ''}"))
    if found.boxes["boxes"]:
        named = max(found.boxes["named"], 1)
        overlaps = f"{found.boxes['iou_50'] / named:.1%} by 0.5 or more, {found.boxes['iou_90'] / named:.1%} by 0.9"
        said = f"{found.boxes['boxes']:,}; {found.boxes['named']:,} of annotated things; these overlap {overlaps}"
        yield from label_lines("boxes", said)
    held = [check for check in CHECKS.values() if found.counts[check.id]]
    if not held:
        yield from label_lines("found", "nothing")
        return
    rows = [["CHECK", "QAS", "SHARE", "--fix", "FIRST"]]
    for check in held:
        first = "".join(f"{one.image_id}: {one.detail}" for one in found.examples.get(check.id, [])[:1])
        share = f"{found.counts[check.id] / found.qas:.3%}"
        remedy = "" if check.remedy == "none" else check.remedy
        rows.append([check.id, f"{found.counts[check.id]:,}", share, remedy, shown(first)])
    yield from columns(rows, right=(1, 2))


def _end(report: Report) -> Iterator[str]:
    if report.in_coco is not None:
        yield from label_lines("COCO", f"{report.in_coco:,} of {report.photos:,} photos are COCO's too")
    for one in report.lists:
        hits = len(report.standing[one.name])
        yield from label_lines(
            "against", f"{one.name}: {hits:,} of {report.photos:,} photos stand in its {len(one.ids):,}"
        )
    for name, done in report.fixed.items():
        yield from label_lines("fixed", f"{name}: {done['left_out']:,} QAs left out, {done['mended']:,} mended")
