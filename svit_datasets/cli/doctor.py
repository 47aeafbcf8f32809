"""``svit doctor``: what the rules found, the worst first, as a table or as JSON; exit code 1 where one fails."""

from __future__ import annotations

from collections import Counter
from shlex import quote
from typing import TYPE_CHECKING

import click

from svit_datasets.cli.output import byte_size, columns, hint, label_lines, print_json, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from svit_builder.doctor import Result, Rule

__all__ = ["command"]

_COLOURS = {"error": "red", "warning": "yellow"}


@click.command(name="doctor")
@click.argument("place")
@click.option("--verify", is_flag=True, help="Also read every file to its end, and compare its digest.")
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object, with every rule that was looked at.")
@click.option("--token", help="Of the Hub, if not that of `hf auth login`.")
def command(place: str, *, verify: bool, as_data: bool, token: str | None) -> None:
    """Say whether the Hub, its viewer and `load_dataset` would take what is in PLACE.

    PLACE is a folder that `svit build` wrote, a URL, or ORG/NAME for a dataset on the Hub. Footers, page indexes and
    the first rows' texts are read, no photo; nothing is asked of the Hub but files. The exit code is 1 where a rule
    is broken whose level is error.

    \b
    Examples:
      svit doctor builder/svit
      svit doctor builder/svit --verify
      svit doctor ORG/svit --json | jq '.results[] | select(.status == "error")'
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    from svit_builder.doctor import RULES, examine, passes  # noqa: PLC0415 - the making side, for this command alone

    results = examine(place, verify=verify, token=token)
    passed = passes(results)
    if as_data:
        print_json({"place": place, "passed": passed, "results": [_as_json(result, RULES) for result in results]})
    else:
        click.echo("\n".join(_page(results, RULES)))
    if not passed:
        raise SystemExit(1)
    hint(f"svit publish {quote(place)} ORG/svit --dry-run")


def _as_json(result: Result, rules: Mapping[str, Rule]) -> dict[str, object]:
    return {
        "rule": result.rule,
        "status": result.status,
        "figure": result.figure,
        "limit": result.limit,
        "unit": rules[result.rule].unit,
        "where": result.where,
        "advice": result.advice,
    }


def _page(results: Sequence[Result], rules: Mapping[str, Rule]) -> Iterator[str]:
    for status in ("error", "warning"):
        for name in dict.fromkeys(result.rule for result in results if result.status == status):
            yield from _broken(rules[name], [result for result in results if result.rule == name])
    holds = [result for result in results if result.status == "ok"]
    if holds:
        yield from columns([["HOLDS", "FOUND", "LIMIT", "WHERE"], *(_row(result, rules) for result in holds)])
        yield ""
    known = [result for result in results if result.status == "info"]
    if known:
        yield click.style("Good to know", bold=True)
        for name in dict.fromkeys(result.rule for result in known):
            yield from _notes(rules[name], [result for result in known if result.rule == name])
        yield ""
    counts: Counter[str] = Counter({result.rule: result.status for result in results}.values())
    says = [f"{counts[status]} {status}{'s' if counts[status] != 1 else ''}" for status in _COLOURS]
    yield f"{counts['ok']} rules hold; {', '.join(says)}"


def _broken(rule: Rule, results: Sequence[Result]) -> Iterator[str]:
    yield click.style(f"{rule.level.upper()} {rule.id}", fg=_COLOURS[rule.level], bold=True)
    limit = f" (at most {_number(rule.limit, rule)})" if rule.limit is not None else ""
    yield from label_lines("rule", rule.says + limit)
    for number, result in enumerate(results):
        text = f"{result.where}: {_number(result.figure, rule)}"
        yield from label_lines("found" if number == 0 else "", shown(text))
    yield from label_lines("otherwise", rule.why)
    yield from label_lines("to do", rule.advice)
    yield ""


def _notes(rule: Rule, results: Sequence[Result]) -> Iterator[str]:
    yield from label_lines(rule.id, f"{rule.says} {rule.why}")
    for result in results:
        yield from label_lines("", shown(f"{result.where}: {_number(result.figure, rule)}"))


def _row(result: Result, rules: Mapping[str, Rule]) -> list[str]:
    rule = rules[result.rule]
    figure = "-" if result.figure is None else _number(result.figure, rule)
    return [rule.id, figure, "-" if rule.limit is None else _number(rule.limit, rule), shown(result.where)]


def _number(value: int | str | None, rule: Rule) -> str:
    if isinstance(value, int) and rule.unit.startswith("bytes"):
        return byte_size(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
