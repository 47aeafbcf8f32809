"""A built folder in, what the Hub and its viewer would make of it out: every rule, with what was found.

`folder` looks at what is there, ``card_rules``, `file_rules` and ``row_rules`` hold the rules, each a function that
measures; `rule` is their table. Nothing is asked of the Hub: all rules are recomputed from the files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from svit_builder.doctor import card_rules, file_rules, row_rules
from svit_builder.doctor.folder import open_folder
from svit_builder.doctor.result import Result, passes
from svit_builder.doctor.rule import RULES, Rule
from svit_datasets.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svit_builder.doctor.folder import Folder

__all__ = ["RULES", "Result", "Rule", "examine", "passes"]

_MOST = 10  # results of one rule; the last says how many more there are
_MODULES = (card_rules, file_rules, row_rules)  # imported for the rules that they enter into the table


def examine(
    place: str | os.PathLike[str],
    *,
    verify: bool = False,
    token: str | bool | None = None,
    storage_options: dict[str, Any] | None = None,
) -> list[Result]:
    """Compare a folder with every rule, and return what came of each, in the order of `RULES`.

    Of local files footers, page indexes and the texts of the first 100 rows are read; of remote ones the same, by
    ranges. A rule that holds has one result, with the worst that was found; one that does not, one a place, at most 10.
    A rule that does not apply, as there is nothing to measure, has none.

    Args:
        place: a folder or URL of published Parquet, ``ORG/NAME`` for a dataset on the Hub.
        verify: also read every file to its end and compare its digest with the manifest's.
        token: of the Hub.
        storage_options: of fsspec.

    Raises:
        SourceNotFound: nothing is there.
        SvitError: as in `Storage.list` and `Storage.read`.
    """
    folder = open_folder(os.fspath(place), Storage(options=storage_options, token=token))
    return [
        result
        for rule in RULES.values()
        if verify or rule.check is not file_rules.checksums
        for result in _results(rule, folder)
    ]


def _results(rule: Rule, folder: Folder) -> Iterator[Result]:
    findings = list(rule.check(folder))
    shown = findings if rule.level == "info" else [finding for finding in findings if finding.bad]
    if not shown and findings:
        numbers = [finding for finding in findings if not isinstance(finding.figure, str)]
        if numbers and len(numbers) == len(findings):
            worst = max(numbers, key=lambda finding: int(finding.figure))
            yield Result(rule.id, "ok", worst.figure, rule.limit, worst.where)
        else:
            places = len({finding.where for finding in findings})
            first = findings[0]
            where = first.where if places == 1 else f"{places} places"
            figures = {finding.figure for finding in findings}
            yield Result(rule.id, "ok", first.figure if len(figures) == 1 else None, rule.limit, where)
        return
    for number, finding in enumerate(shown[:_MOST], start=1):
        more = len(shown) - _MOST
        where = f"{finding.where}; and in {more} more" if number == _MOST and more > 0 else finding.where
        yield Result(rule.id, rule.level, finding.figure, rule.limit, where, rule.advice)
