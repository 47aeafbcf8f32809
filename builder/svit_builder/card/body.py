"""The page below the card's YAML: the template's tables, and the words in it that depend on the files.

Every number comes from `facts` or `words`; what is prose stands in `card.md.jinja`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Features, Image, List

from svit_builder.card.metadata import LICENCE
from svit_builder.card.words import CITATION, COLUMNS, SUMMARY, SUMMARY_GENERATED, UPSTREAM
from svit_datasets.repository import digest_of_holdout
from svit_datasets.sample.corpus import make_corpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from svit_builder.card.facts import ConfigFacts, FolderFacts, SplitFacts
    from svit_builder.stats import Statistics

__all__ = ["body_values"]

_SAMPLE = 64  # scenes of the sample corpus that `svit sample` writes by default


def body_values(
    facts: FolderFacts, *, name: str, repo_id: str | None, statistics: Sequence[Statistics]
) -> dict[str, Any]:
    """Return what the template needs beside the metadata.

    Args:
        facts: of the folder.
        name: what `load_dataset` is to be given.
        repo_id: where it will be published, if it will.
        statistics: of configurations, any number.
    """
    configs, splits = facts.configs, list(_splits(facts))
    names = {config.task.name for config in configs}
    forms = {config.task.form for config in configs}
    held_out = sorted({str(file.entry["holdout"]) for _, split in splits for file in split.files} - {"None"})
    models = _told(facts, "models") or "a model that is not named"
    without = sum(split.without_photo for _, split in splits)
    return {
        "number": number,
        "summary": SUMMARY_GENERATED.format(models=models) if facts.generated else SUMMARY,
        "generated": bool(facts.generated),
        "models": models,
        "prompts": _told(facts, "prompts"),
        "sample": _is_sample(facts, held_out),
        "images": len(facts.images),
        "configs_table": _configs_table(facts),
        "config_list": "\n".join(f"- `{config.task.name}`: {config.task.summary}" for config in configs),
        "splits_table": _splits_table(splits),
        "builds_table": table(
            ["configuration", "split", "build"],
            [[code(config.task.name), code(split.name), code(split.build)] for config, split in splits],
        ),
        "name": name,
        "data_dir": f"hf://datasets/{repo_id}" if repo_id else name,
        "default": facts.default.task.name,
        "split": facts.default.splits[0].name,
        "columns": "\n\n".join(_columns(configs)),
        "marked": bool(names & {"referring_qa", "all"}),
        "padded": "llava" in forms,
        "held_out": " and ".join(map(code, held_out)),
        "statistics_table": _statistics_table(statistics),
        "version": facts.build.get("version"),
        "sources_table": _sources_table(facts),
        "known_bad": _known_bad(facts),
        "without_photo": without and f"{number(without)} row{' has' if without == 1 else 's have'}",
        "licence": LICENCE,
        "upstream_table": table(
            ["what", "terms", "where"],
            [[what, terms, f"<{url}>"] for what, terms, url in UPSTREAM[1 if facts.generated else 0 :]],
        ),
        "mixed": "mix_665k" in names,
        "citation": CITATION,
    }


def number(count: int) -> str:
    """Return a number with commas."""
    return f"{count:,}"


def code(text: object) -> str:
    """Return text as Markdown shows code."""
    return f"`{text}`"


def size(count: int) -> str:
    """Return a number of bytes in decimal units, as the Hub shows it."""
    power = min(4, max(0, (len(str(count)) - 1) // 3))
    value = count / 1000**power
    return (
        f"{value:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
        if value < 999.5
        else f"{value:.0f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
    )


def table(heading: Sequence[str], rows: Iterable[Sequence[object]], *, right: int = 99) -> str:
    """Return a Markdown table; columns from ``right`` on hold numbers."""
    lines = [heading, ["--:" if at >= right else "---" for at in range(len(heading))], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _splits(facts: FolderFacts) -> Iterator[tuple[ConfigFacts, SplitFacts]]:
    for config in facts.configs:
        for split in config.splits:
            yield config, split


def _configs_table(facts: FolderFacts) -> str:
    rows = []
    for config in facts.configs:
        default = " (default)" if config is facts.default else ""
        counts = [sum(getattr(split, name) for split in config.splits) for name in ("rows", "conversations", "answers")]
        of = "a record" if config.task.form == "llava" else "a photo"
        total = sum(split.bytes for split in config.splits)
        rows.append([code(config.task.name) + default, of, *map(number, counts), len(config.files), size(total)])
    return table(["configuration", "a row is", "rows", "conversations", "answers", "files", "size"], rows, right=2)


def _splits_table(splits: Sequence[tuple[ConfigFacts, SplitFacts]]) -> str:
    heading = ["configuration", "split", "rows", "conversations", "answers", "images", "without photo", "size"]
    rows = []
    for config, split in splits:
        counts = [split.rows, split.conversations, split.answers, len(split.images), split.without_photo]
        rows.append([code(config.task.name), code(split.name), *map(number, counts), size(split.bytes)])
    return table(heading, rows, right=2)


def _columns(configs: Sequence[ConfigFacts]) -> Iterator[str]:
    """Yield a table for each kind of row, under the names of the configurations that have it."""
    kinds: list[tuple[Features, list[str]]] = []
    for config in configs:
        same = next((names for features, names in kinds if features == config.features), None)
        if same is None:
            kinds.append((config.features, [config.task.name]))
        else:
            same.append(config.task.name)
    for features, names in kinds:
        yield f"{', '.join(map(code, names))}:\n\n" + table(["column", "type", "meaning"], _rows(features))


def _rows(features: Any, prefix: str = "") -> Iterator[list[str]]:
    for name, feature in features.items():
        path = f"{prefix}{name}"
        inner = feature.feature if isinstance(feature, List) else feature
        kind = "Image" if isinstance(inner, Image) else "struct" if isinstance(inner, dict) else str(inner.dtype)
        kind = f"list of {kind}" if isinstance(feature, List) else kind
        yield [code(path), kind, COLUMNS[name]]
        if isinstance(inner, dict):
            yield from _rows(inner, f"{path}[]." if isinstance(feature, List) else f"{path}.")


def _statistics_table(statistics: Sequence[Statistics]) -> str:
    heading = [
        "configuration",
        "answers a row",
        "words a question",
        "words an answer",
        "yes or no",
        "different questions",
    ]
    rows = []
    for one in statistics:
        found = one.summary()
        spreads = [_spread(found[name]) for name in ("qas_a_row", "question_words", "answer_words")]
        rows.append(
            [code(one.config), *spreads, _percent(found["yes_no_share"]), _percent(found["questions"]["share"])]
        )
    return table(heading, rows, right=1) if rows else ""


def _spread(found: dict[str, float] | None) -> str:
    return "-" if found is None else f"{found['median']:g} ({found['p5']:g} to {found['p95']:g})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %"


def _sources_table(facts: FolderFacts) -> str:
    heading = ["configuration", "made of", "size", "sha256"]
    rows = []
    for one in facts.build.get("sources") or ():
        digest = one.get("sha256")
        rows.append(
            [
                code(one["config"]),
                code(one["name"]),
                size(one["bytes"]) if one.get("bytes") else "-",
                code(f"{digest[:16]}…") if digest else "-",
            ]
        )
    return table(heading, rows) if rows else ""


def _told(facts: FolderFacts, key: str) -> str:
    """Return what `svit generate` tells under a key, as words; "" where it tells nothing."""
    return " and ".join(map(code, facts.generated.get(key) or ()))


def _known_bad(facts: FolderFacts) -> str:
    """Say what became of answers that say the message is empty; how many they were, where the builder counted them."""
    entries = [file.entry for _, split in _splits(facts) for file in split.files]
    if {entry["known_bad"] for entry in entries} != {"drop"}:
        return "They were not looked for here."
    told = facts.build.get("left_out")
    if told is None:
        return "Answers that say so were left out here."
    count = sum(kinds.get("message_is_empty", 0) for kinds in told.values())
    return f"Answers that say so were left out here: {number(count)} over all configurations."


def _is_sample(facts: FolderFacts, held_out: Sequence[str]) -> bool:
    """Whether this is the corpus of `svit sample`: by its list of held-out images, which is nobody else's."""
    if len(held_out) != 1 or len(facts.images) > _SAMPLE:
        return False
    return held_out[0] == digest_of_holdout(np.array(make_corpus(_SAMPLE, 0).test_ids, dtype=np.int64))
