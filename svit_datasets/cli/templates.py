"""``svit templates``: what chat templates do with a chat, each tried by rendering small ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from svit_datasets.chat import ChatRenderer, presets
from svit_datasets.chat.folders import read
from svit_datasets.cli.output import columns, hint, label_lines, print_json, shown
from svit_datasets.errors import SourceNotFound, SvitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_datasets.chat import TemplateReport

__all__ = ["command"]

_HEAD = ["TEMPLATE", "CONTENT", "IMAGE", "SYSTEM", "TURNS", "TRIMS", "STOP", "BOS", "MORE"]
_WIDEST = 32  # characters of a cell; the rest is in --json and in the report of one


@click.command(name="templates")
@click.argument("paths", nargs=-1, metavar="[PATH|PRESET]…")
@click.option("--json", "as_data", is_flag=True, help="Print a JSON array, an object a template.")
@click.pass_context
def command(ctx: click.Context, paths: tuple[str, ...], *, as_data: bool) -> None:
    """Say what chat templates do: with images, system texts, roles, blanks, and which token ends an answer.

    PATH is a Jinja file, the folder of a model, or a folder of Jinja files; a preset goes by its name. Without any, all
    presets are listed. Several make a table, one a page. The exit code is 1 where one of them cannot be used.

    \b
    Examples:
      svit templates                        the presets
      svit templates ./my-model             one template, all that is known of it
      svit templates ./templates/*.jinja    a table
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    found = [(name, _report(place, template)) for name, place, template in _places(paths or tuple(presets.names()))]
    (name, report), *more = found
    if isinstance(report, SvitError) and not (more or as_data):
        raise report
    if as_data:
        print_json([{"template": name, **_data(report)} for name, report in found])
    elif not isinstance(report, SvitError) and not more:
        click.echo("\n".join(_page(name, report)))
        hint(f"svit render complex_reasoning --tokenizer {quote(name)}")
    else:
        click.echo("\n".join(_table(found)))
    if any(isinstance(report, SvitError) for _, report in found):
        ctx.exit(1)


def _places(paths: tuple[str, ...]) -> Iterator[tuple[str, str, str | None]]:
    """Yield (name, what a renderer is made of, which of its templates) for every template."""
    for path in paths:
        folder = Path(path)
        if path in presets.names() or not folder.is_dir():
            yield path, path, None
        elif (folder / "tokenizer.json").is_file():
            names = sorted(read(folder).templates)
            yield path, path, None
            yield from ((f"{path} {name}", path, name) for name in names if name != "default")
        else:
            files = sorted(folder.glob("*.jinja"))
            if not files:
                raise SourceNotFound(f"{path} holds neither a tokenizer.json nor files that end in .jinja.")
            yield from ((str(file), str(file), None) for file in files)


def _report(place: str, template: str | None) -> TemplateReport | SvitError:
    try:
        return ChatRenderer(place, template=template).report()
    except SvitError as error:
        return error


def _data(report: TemplateReport | SvitError) -> dict[str, Any]:
    if isinstance(report, SvitError):
        return {"error": f"{type(report).__name__}: {report}"}
    return asdict(report)


def _page(name: str, report: TemplateReport) -> list[str]:
    lines = [click.style(name, bold=True)]
    for label, value in report.rows():
        if label != "name":
            lines += label_lines(label.replace("_", " "), shown(value))
    return lines


def _table(found: list[tuple[str, TemplateReport | SvitError]]) -> list[str]:
    rows = [_HEAD]
    errors = []
    for name, report in found:
        if isinstance(report, SvitError):
            rows.append([_short(name), *["-"] * (len(_HEAD) - 2), "see below"])
            errors += [f"{name}: {type(report).__name__}", *label_lines("", " ".join(str(report).split()), column=2)]
        else:
            rows.append([_short(cell) for cell in _cells(name, report)])
    return [*columns(rows), *([""] if errors else []), *errors]


def _cells(name: str, report: TemplateReport) -> list[str]:
    turns = "alternate" if report.alternates else "any order"
    more = {
        "needs more": report.needs is not None,
        "tags": report.tagged,
        "date": report.dated,
        "own system text": report.default_system is not None,
        "drops thoughts": report.strips_think,
        "last stop differs": report.last_stop != report.stop,
        "no marks": not report.marks,
    }
    return [
        name,
        report.content,
        report.image or "-",
        report.system,
        turns,
        ", ".join(report.trims) or "-",
        report.stop or "-",
        report.bos,
        ", ".join(word for word, holds in more.items() if holds),
    ]


def _short(cell: str) -> str:
    cell = shown(cell.replace("\n", "\\n"))
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST // 2 - 1]}…{cell[-_WIDEST // 2 :]}"
