"""``svit build``: makes the files of the Hub dataset and says what was left out; or reads all of them."""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from svit_datasets.cli.output import byte_size, columns, hint, label_lines, print_json, shown
from svit_datasets.errors import BuildError
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.build import BuildReport
    from svit_builder.build.verifying import Checked

__all__ = ["command"]


class _Part(click.ParamType[tuple[int, int]]):
    """A part of the work, as i/N."""

    name = "i/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d+)/(\d+)", str(value))
        if match is None or int(match[1]) >= int(match[2]):
            self.fail(f"{value!r} is no part: give 0/8 to 7/8 for eight of them.", param, ctx)
        return int(match[1]), int(match[2])


def _names(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[str] | None:
    names = [name for value in values for name in value.split(",") if name]
    for name in names:
        click.Choice(list(TASKS)).convert(name, param, ctx)
    return names or None


@click.command(name="build")
@click.argument("out")
@click.option("--data-dir", help="Folder or URL with your files; without it the gated repository on the Hub is read.")
@click.option(
    "--configs",
    "--config",
    "configs",
    multiple=True,
    callback=_names,
    help="Which configurations, by commas or several times; without it all but `all` whose file is there.",
)
@click.option(
    "--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Who makes the files."
)
@click.option(
    "--num-workers",
    type=click.IntRange(min=0),
    help="Files at a time; without it one a processor. 0: no other process.",
)
@click.option("--address", help='With --executor ray: of a running cluster, such as "auto"; without it one is started.')
@click.option("--resume/--no-resume", default=True, show_default=True, help="Keep files of this build that are there.")
@click.option("--shard", type=_Part(), help="Make only part i of N, from 0, and no manifest: for N separate jobs.")
@click.option("--finish", is_flag=True, help="Make no file: the last step after all parts, or what they lack.")
@click.option(
    "--statistics", is_flag=True, help="Measure the texts for a table in the card; `svit publish` does anyway."
)
@click.option("--verify", is_flag=True, help="Make nothing: read every byte of what is there, and compare.")
@click.option("--images", multiple=True, help="Where the photos are: folder, zip or URL template; may be repeated.")
@click.option(
    "--holdout",
    default="official",
    show_default=True,
    help='Which images are the test split: "official", a file with one id a line, or "none" for one split.',
)
@click.option(
    "--on-missing-image",
    type=click.Choice(["error", "skip", "null"]),
    default="error",
    show_default=True,
    help="What becomes of a row whose photo is nowhere: an error, left out, or kept without photo.",
)
@click.option(
    "--on-bad-record",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What becomes of a record that cannot be used.",
)
@click.option("--image-ids", metavar="FILE", help="Only these images: a file with one id a line.")
@click.option(
    "--known-bad",
    type=click.Choice(["drop", "keep"]),
    default="drop",
    show_default=True,
    help='What becomes of answers that say "the message is empty".',
)
@click.option("--cache-dir", help="Where prepared text is kept.")
@click.option("--row-group", default=32, show_default=True, help="Rows that are read as one, 32 to 100.")
@click.option("--shard-bytes", default=500 << 20, show_default=True, help="Of a file, at most.")
@click.option("--json", "as_data", is_flag=True, help="Print what was made, or found, as one JSON object.")
def command(out: str, *, as_data: bool, verify: bool, **options: Any) -> None:
    """Make the Parquet files of the Hub dataset in OUT, then manifest.json and the card.

    OUT is a folder, or the URL of an object store. A run that was killed goes on where it was: a rerun makes only what
    is missing. Photos come as they are, once a configuration.

    \b
    Examples:
      svit build ./svit --data-dir /data/svit
      svit build ./svit --data-dir /data/svit --configs conversation,referring_qa --num-workers 8
      svit build ./svit --data-dir /data/svit --executor ray --address auto
      svit build ./svit --data-dir /data/svit --shard 0/8     one of eight jobs; then --finish
      svit build ./svit --verify
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    how = {name: options[name] for name in ("executor", "num_workers", "address")}
    if verify:
        _verify(out, how, as_data=as_data)
        return
    from svit_builder.build import build  # noqa: PLC0415 - the making side is loaded by its own commands only

    holdout = None if options["holdout"] == "none" else options["holdout"]
    report = build(out, **{**options, "images": options["images"] or None, "holdout": holdout})
    if as_data:
        print_json(report.to_json())
    else:
        click.echo("\n".join(_lines(out, report, options["shard"])))
    if not report.missing:
        hint(f"svit doctor {quote(out)}")
    elif options["shard"] is not None:
        hint("the other parts; when all are made, the same command with --finish instead of --shard")


def _lines(out: str, report: BuildReport, part: tuple[int, int] | None) -> Iterator[str]:
    configs = report.configs
    total = sum(config.bytes for config in configs.values())
    there, planned = (sum(getattr(config, name) for config in configs.values()) for name in ("files", "planned"))
    which = "" if part is None else f" part {part[0]} of {part[1]};"
    yield f"{out}:{which} {there} of {planned} files, {byte_size(total)}"
    done = [f"{len(report.made)} made now", f"{len(report.kept)} there before"]
    done += [f"{len(report.removed)} of an older build removed"] if report.removed else []
    yield ", ".join(done)
    yield ""
    splits = list(dict.fromkeys(split for config in configs.values() for split in config.rows))
    rows = [["CONFIG", "FILES", *(f"{split.upper()} ROWS" for split in splits), "SIZE"]]
    for name, config in configs.items():
        counts = [f"{config.rows[split]:,}" if split in config.rows else "-" for split in splits]
        rows.append([name, f"{config.files}", *counts, byte_size(config.bytes)])
    yield from columns(rows, right=range(1, len(rows[0])))
    yield from _left_out(report)


def _left_out(report: BuildReport) -> Iterator[str]:
    lines: list[str] = []
    for name, config in report.configs.items():
        for kind, count in config.left_out.counts.items():
            example = config.left_out.examples.get(kind, [])
            text = f"{count:,} {kind}" + (f", e.g. {example[0]}" if example else "")
            lines += label_lines(name, shown(text), column=22)
    for name, why in report.skipped.items():
        lines += label_lines(name, shown(f"not built: {why}"), column=22)
    yield ""
    yield from (["Left out:", *lines] if lines else ["Nothing was left out."])


def _verify(out: str, how: dict[str, Any], *, as_data: bool) -> None:
    from svit_builder.build import verify  # noqa: PLC0415 - as above

    found = verify(out, **how)
    wrong = [one for one in found if one.fault]
    if as_data:
        print_json({"out": out, "files": [_plain(one) for one in found]})
    else:
        size = byte_size(sum(one.bytes for one in found))
        click.echo(f"{out}: {len(found)} files, {sum(one.rows for one in found):,} rows, {size} read")
        click.echo(f"{len(wrong)} are not what was written" if wrong else "Every byte is what was written.")
    if wrong:
        first = wrong[0]
        others = f" So are {len(wrong) - 1} others." if len(wrong) > 1 else ""
        raise BuildError(
            f"{out}/{first.path} {first.fault}.{others} Remove it and build again: only what is missing is made."
        )
    hint(f"svit doctor {quote(out)}")


def _plain(one: Checked) -> dict[str, Any]:
    return {"path": one.path, "rows": one.rows, "bytes": one.bytes, "fault": one.fault}
