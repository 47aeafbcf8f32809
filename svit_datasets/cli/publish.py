"""``svit publish``: sends a built folder to the Hub and says what was sent, or what would be."""

from __future__ import annotations

from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from svit_datasets.cli.output import byte_size, columns, hint, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svit_builder.publish import PublishReport

__all__ = ["command"]

_NAMED = 20  # files; of more, the first ones are named


@click.command(name="publish")
@click.argument("directory")
@click.argument("repo_id", metavar="ORG/NAME")
@click.option("--dry-run", is_flag=True, help="Only say what would be done; nothing is changed.")
@click.option(
    "--i-have-the-right-to-redistribute",
    "rights",
    is_flag=True,
    help="Say so: the files hold gated text and other people's photos, or are your own.",
)
@click.option("--private", is_flag=True, help="Make the dataset private. One that is stays so either way.")
@click.option("--gated", is_flag=True, help="Readers must accept terms; access is granted at once.")
@click.option("--gated-manual", is_flag=True, help="Readers must ask, and you let them in.")
@click.option("--create-pr", is_flag=True, help="Propose it as a pull request: for a dataset that is not yours.")
@click.option("--revision", help="Publish to this branch; it is created where it does not exist.")
@click.option("--message", default="Publish SVIT", show_default=True, help="Of the commit.")
@click.option(
    "--remove-configs", is_flag=True, help="Also remove configurations that the Hub has and DIRECTORY has not."
)
@click.option("--skip-doctor", is_flag=True, help="Publish what `svit doctor` finds wrong.")
@click.option("--token", help="Of the Hub, with write access; instead of HF_TOKEN and `hf auth login`.")
@click.option("--json", "as_data", is_flag=True, help="Print what was done as one JSON object.")
def command(
    directory: str, repo_id: str, *, gated: bool, gated_manual: bool, as_data: bool, dry_run: bool, **options: Any
) -> None:
    """Make the dataset ORG/NAME on the Hub hold what `svit build` wrote into DIRECTORY.

    Large files are sent first, where no reader sees them; then one commit shows them all. Broken off at any point, the
    same command sends only what is missing. Files of an earlier build are removed by that commit.

    \b
    Example:
      svit publish builder/svit ORG/svit --dry-run
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    from svit_builder.publish import publish  # noqa: PLC0415 - svit_builder is imported only where it is used

    report = publish(
        directory,
        repo_id,
        gated="manual" if gated_manual else "auto" if gated else None,
        dry_run=dry_run,
        tell=lambda line: click.secho(line, err=True, dim=True),
        **options,
    )
    if as_data:
        print_json({**asdict(report), "unchanged": report.unchanged})
    else:
        click.echo("\n".join(_lines(report)))
    if dry_run:
        hint(f"svit publish {quote(directory)} {repo_id} --i-have-the-right-to-redistribute")
    else:
        hint(_load(report))


def _load(report: PublishReport) -> str:
    revision = "" if report.revision == "main" else f', revision="{report.revision}"'
    return f'ds = load_dataset("{report.repo_id}", "{report.configs[0]}", split="train"{revision})'


def _lines(report: PublishReport) -> list[str]:
    lines = [f"{report.repo_id}: {_what(report)}"]
    if not report.unchanged:
        table = [["", "FILES", "BYTES"]]
        table.append(["to send" if report.dry_run else "sent", *_counts(report.sent)])
        table.append(["there already", *_counts(report.there)])
        lines += ["", *columns(table, right=(1, 2))]
        lines += _named("to send" if report.dry_run else "sent", report.sent)
        lines += _named("removed, of an earlier build", dict.fromkeys(report.removed))
    lines += _named("left out, as the manifest does not name it", dict.fromkeys(report.left_out))
    if report.commit is not None:
        lines += ["", report.url]
    return lines


def _what(report: PublishReport) -> str:
    if report.unchanged:
        return f"Nothing to do: {report.revision} holds all {len(report.there)} files."
    if report.dry_run:
        return "would be created." if report.created else f"{report.revision} would be changed."
    if report.revision.startswith("refs/pr/"):
        return f"proposed as pull request {report.revision.removeprefix('refs/pr/')}."
    return f"{'created and published' if report.created else 'published'} on {report.revision}."


def _counts(files: Mapping[str, int]) -> tuple[str, str]:
    return f"{len(files):,}", byte_size(sum(files.values()))


def _named(title: str, files: Mapping[str, int | None]) -> list[str]:
    """Return the files under a title; of many, the first ones."""
    if not files:
        return []
    shown = list(files.items())[:_NAMED]
    rows = [[f"  {path}", "" if size is None else byte_size(size)] for path, size in shown]
    more = [f"  … and {len(files) - _NAMED:,} more"] if len(files) > _NAMED else []
    return ["", f"{title}:", *columns(rows, right=(1,)), *more]
