"""Gather, check, measure, print; exit status 1 where anything is wrong: ``tests/benchmarks/chat/run [--ci]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from svit_datasets.errors import SvitError
from tests import tokenizer_packages
from tests.benchmarks.chat import oracle
from tests.benchmarks.chat.check import asks_for_image, check, examined, renderer_for, tiny_tokenizer
from tests.benchmarks.chat.conversations import KINDS
from tests.benchmarks.chat.gather import CI, PACKAGES, fingerprint, gather, set_apart
from tests.benchmarks.chat.speed import floors
from tests.benchmarks.chat.tokens import (
    TALKS,
    Tally,
    mistral_tokenizers,
    tallied,
    tallied_alone,
    tiktoken_one,
    tokenizer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.benchmarks.chat.check import Subject, Verdict
    from tests.benchmarks.chat.gather import Found

Verdicts = dict[str, dict[str, "Verdict"]]  # template -> kind -> verdict
_TIMED = ("llama2", "qwen3", "gpt4o")  # tokenizers that encoding is timed with
_MOST = 40  # lines of a list


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/chat/run", description=__doc__)
    parser.add_argument("--ci", action="store_true", help="trl and axolotl, three small tokenizers, no speed; a minute")
    parser.add_argument("--latest", action="store_true", help="the newest version of each package, not the pinned one")
    parser.add_argument("--refresh", action="store_true", help="fetch the packages again")
    parser.add_argument("--only", metavar="WORD", help="templates with this word in their name")
    options = parser.parse_args()
    packages = CI if options.ci else tuple(PACKAGES)
    candidates, lines = gather(packages, latest=options.latest, refresh=options.refresh)
    missing = [line for line in lines if "NOT FETCHED" in line]
    if options.only:
        candidates = [found for found in candidates if options.only in found.name]
    subjects, apart = sorted_out(candidates)
    say("## Corpus", f"{len(candidates)} texts, fingerprint {fingerprint(candidates)}", "", *corpus_table(lines, apart))
    verdicts = {subject.found.name: judged(subject) for subject in told(subjects, "templates")}
    failures = text_failures(verdicts)
    say("## Text", *text_table(subjects, verdicts), "", *beside_table(subjects, verdicts))
    wordless = [subject for subject in subjects if not subject.keeps_image]
    silent = [subject.found.name for subject in wordless if not asks_for_image(subject, tiny_tokenizer())]
    failures += [f'image="auto" loses the image, or is refused for another reason: {name}' for name in silent]
    asked = len(wordless) - len(silent)
    say(f'{len(wordless)} templates have no word for an image; image="auto" is refused by name with {asked} of them.')
    say(*listed("Refused", refusals(verdicts)), *listed("Wrong", failures))
    tallies = list(token_tallies(subjects, small=options.ci))
    failures += [f"{tally.name}: {reason}" for tally in tallies for reason in tally.wrong]
    say("## Tokens", *token_table(tallies), "")
    say(*listed("Wrong", [f"{tally.name}: {reason}" for tally in tallies for reason in tally.wrong]))
    if not options.ci:
        found = floors(subjects, tiny_tokenizer(), [real for real in map(tokenizer, _TIMED) if real is not None])
        say("## Speed", *floor_table(found), "")
        failures += [floor.says for floor in found if not floor.holds]
    say(stamp(), f"{len(failures)} wrong, {len(missing)} packages not fetched")
    return 1 if failures or missing else 0


def say(*lines: str) -> None:
    print("\n".join(lines), end="\n\n" if lines else "", flush=True)


def told(items: Sequence[Subject], what: str) -> Iterator[Subject]:
    """Yield items and count them on standard error."""
    for number, item in enumerate(items, start=1):
        if number % 50 == 0:
            print(f"… {number} of {len(items)} {what}", file=sys.stderr, flush=True)
        yield item


def stamp() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("transformers", "tokenizers", "jinja2"))
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{datetime.now(UTC):%Y-%m-%d}: Python {python}, {packages}, {os.cpu_count()} cores."


# -- the corpus --------------------------------------------------------------------------------------------------------


def sorted_out(candidates: Iterable[Found]) -> tuple[list[Subject], dict[str, list[str]]]:
    """Return the templates to be checked, and the names of what was set apart by reason."""
    subjects: list[Subject] = []
    apart: dict[str, list[str]] = {}
    for found in candidates:
        reason = set_apart(found)
        subject = examined(found) if reason is None else None
        if subject is None:
            reason = reason or "transformers renders a whole conversation with it in no way"
            apart.setdefault(reason.partition(" (")[0], []).append(found.name)
        else:
            subjects.append(subject)
    return subjects, apart


def corpus_table(lines: list[str], apart: dict[str, list[str]]) -> list[str]:
    rows = [line.partition(": ")[::2] for line in lines]
    rows += [(f"set apart: {reason}", str(len(names))) for reason, names in apart.items()]
    return table(("package", "templates"), rows)


# -- text --------------------------------------------------------------------------------------------------------------


def judged(subject: Subject) -> dict[str, Verdict]:
    """Check every kind of conversation with one template."""
    from tests.benchmarks.chat.check import Verdict

    try:
        renderer = renderer_for(subject, tiny_tokenizer())
    except SvitError as error:
        return dict.fromkeys(KINDS, Verdict(refused=f"{type(error).__name__}: {error}"))
    return {kind: check(subject, renderer, talk) for kind, talk in KINDS.items()}


def text_table(subjects: Sequence[Subject], verdicts: Verdicts) -> list[str]:
    rows = []
    for kind in KINDS:
        found = [verdicts[subject.found.name][kind] for subject in subjects]
        rendered = [verdict for verdict in found if not verdict.refused]
        rows.append(
            (
                kind,
                len(found),
                sum(not verdict.wrong for verdict in rendered),
                len(found) - len(rendered),
                sum(bool(verdict.wrong) for verdict in rendered),
                sum(verdict.equal for verdict in rendered),
                sum(verdict.scaffold for verdict in rendered),
                sum(verdict.edges for verdict in rendered),
            )
        )
    head = (
        "conversation",
        "templates",
        "right",
        "refused",
        "wrong",
        "bytes of transformers",
        "places foretold",
        "edges",
    )
    return table(head, rows)


def beside_table(subjects: Sequence[Subject], verdicts: Verdicts) -> list[str]:
    """Count right masks of the natural conversation: ours, transformers' own, TRL's."""
    natural = KINDS["natural"]
    foreign = [subject for subject in subjects if subject.found.package != "trl"]

    def ours(subject: Subject) -> bool:
        verdict = verdicts[subject.found.name]["natural"]
        return not verdict.refused and not verdict.wrong

    def tags(subject: Subject, source: str | None) -> bool:
        if source is None or not oracle.has_tags(source):
            return False
        return oracle.right_mask(*oracle.mask_spans(source, natural, subject.way), natural)

    ways = {
        "svit_datasets.chat": ours,
        "transformers, return_assistant_tokens_mask": lambda one: tags(one, one.source),
        "TRL, assistant_only_loss": lambda one: tags(one, oracle.trl_source(one.source)),
    }
    rows = [(name, sum(map(way, subjects)), sum(map(way, foreign))) for name, way in ways.items()]
    return table(
        ("answers masked right, and nothing else said", f"of {len(subjects)}", f"of {len(foreign)} not TRL's"), rows
    )


def text_failures(verdicts: Verdicts) -> list[str]:
    """List what is wrong, the same fault of a conversation in several templates together."""
    grouped: dict[str, list[str]] = {}
    for name, kinds in verdicts.items():
        for kind, verdict in kinds.items():
            if verdict.wrong:
                grouped.setdefault(f"{kind}: {'; '.join(verdict.wrong[:3])}", []).append(name)
            elif not verdict.refused and not verdict.equal:
                grouped.setdefault(f"{kind}: transformers renders it to the same bytes in no form", []).append(name)
    return [f"{reason} ({len(names)}: {', '.join(names[:4])})" for reason, names in grouped.items()]


def refusals(verdicts: Verdicts) -> list[str]:
    """List refused conversations by their error, with the names of all templates."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, kinds in verdicts.items():
        for kind, verdict in kinds.items():
            if verdict.refused:
                grouped.setdefault((kind, verdict.refused), []).append(name)
    return [f"{kind}: {reason} {len(names)} templates: {', '.join(names)}" for (kind, reason), names in grouped.items()]


# -- tokens ------------------------------------------------------------------------------------------------------------


def token_tallies(subjects: Sequence[Subject], *, small: bool) -> Iterator[Tally]:
    for name in tokenizer_packages.SMALL if small else tokenizer_packages.PACKAGES:
        print(f"… {name}", file=sys.stderr, flush=True)
        real = tokenizer(name)
        yield Tally(name, wrong=["not fetched"]) if real is None else tallied(real, subjects)
    if small:
        return
    real = tiktoken_one()
    yield Tally("tiktoken", wrong=["not fetched"]) if real is None else tallied(real, subjects)
    yield from map(tallied_alone, mistral_tokenizers())


def token_table(tallies: Sequence[Tally]) -> list[str]:
    head = (
        "tokenizer",
        "chats",
        "answers",
        "whole, in one run",
        "nothing in front",
        "templates warned of",
        "refused",
        "wrong",
    )
    rows = [
        (
            tally.name,
            tally.chats,
            tally.spans,
            tally.whole,
            tally.exact,
            tally.warned,
            sum(tally.refused.values()),
            len(tally.wrong),
        )
        for tally in tallies
    ]
    totals = [sum(row[column] for row in rows) for column in range(1, len(head))]
    reasons = Counter[str]()
    for tally in tallies:
        reasons += tally.refused
    lines = [f"{len(TALKS)} conversations a template: {', '.join(talk.kind for talk in TALKS)}.", ""]
    return [
        *lines,
        *table(head, [*rows, ("all", *totals)]),
        "",
        *listed("Refused", [f"{count} x {reason}" for reason, count in reasons.most_common()]),
    ]


# -- tables ------------------------------------------------------------------------------------------------------------


def floor_table(found: Iterable[Any]) -> list[str]:
    rows = []
    for floor in found:
        promised = "" if floor.bound is None else f"{'≤' if floor.at_most else '≥'} {floor.bound:g}"
        verdict = "" if floor.bound is None else "kept" if floor.holds else "MISSED"
        figure = f"{floor.measured:,.0f}" if floor.measured >= 100 else f"{floor.measured:,.2f}"
        rows.append((floor.says, figure, promised, verdict))
    return table(("speed", "measured", "promised", ""), rows)


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return Markdown; numbers with commas."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(map(str, head)), ["---"] * len(head), *cells]]


def listed(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"- … and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return [f"{title} ({len(lines)}):", "", *(f"- {line}" for line in lines[:_MOST]), *more, ""]


if __name__ == "__main__":
    sys.exit(main())
