"""``svit inspect``: what `inspection` found, as a page a file and a table at the end, or as JSON."""

from __future__ import annotations

from collections import Counter
from shlex import quote
from typing import TYPE_CHECKING

import click

from svit_datasets.cli.answers import ANSWER_KINDS
from svit_datasets.cli.facts import spread
from svit_datasets.cli.inspection import as_json, inspect_files, relative
from svit_datasets.cli.output import bars, byte_size, columns, counted, hint, label_lines, print_json, shown, width
from svit_datasets.errors import CorruptFile
from svit_datasets.records import DEFECT_KINDS
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from svit_datasets.cli.facts import Facts
    from svit_datasets.cli.inspection import Inspection, Photos

__all__ = ["command"]

_TOPICS = 3  # of the most frequent


@click.command(name="inspect")
@click.argument("data_dir")
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object with everything counted.")
@click.option(
    "--images", multiple=True, help="Where the photos are, if not under DATA_DIR: folder, zip or URL template."
)
@click.option("--config", "configs", multiple=True, type=click.Choice(list(TASKS)), help="Only this configuration.")
def command(data_dir: str, *, as_data: bool, images: tuple[str, ...], configs: tuple[str, ...]) -> None:
    """Count what is in the files under DATA_DIR, and what is wrong with them.

    Reads each file of records to its end, in bounded memory. Photos are looked for by name and not opened. Nothing is
    fetched from where the files were published. --images and --config may be given several times.

    \b
    Examples:
      svit inspect /data/svit
      svit inspect /data/svit --config referring_qa --images /data/vg
      svit inspect /data/svit --json | jq '.files[] | {config, records, defects}'
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    done: list[Inspection] = []
    for inspection in inspect_files(data_dir, images=images, configs=configs):
        done.append(inspection)
        if not as_data:
            click.echo("\n".join([*_page(inspection, data_dir), ""]))
    if as_data:
        print_json({"data_dir": data_dir, "files": [as_json(inspection, data_dir) for inspection in done]})
    elif len(done) > 1:
        click.echo("\n".join(_overview(done)))
    damaged = [inspection.facts for inspection in done if inspection.facts.damage]
    if damaged:
        raise CorruptFile(f"{damaged[0].damage} ({len(damaged)} of {len(done)} files cannot be read to their end.)")
    policy = " --on-missing-image null" if done[0].photos.missing else ""
    hint(f"svit head {done[0].facts.config} --data-dir {quote(data_dir)}{policy}")


def _page(inspection: Inspection, data_dir: str) -> Iterator[str]:
    facts = inspection.facts
    heading = f"── {facts.config} "
    yield click.style(heading + "─" * (width() - len(heading)), bold=True)
    inside = f" :: {facts.member}" if facts.member else ""
    lines = {"file": f"{relative(facts.url, data_dir)}{inside}, {byte_size(facts.bytes)}"}
    if facts.damage:
        lines["damaged"] = facts.damage
    if facts.records:
        lines |= _images(inspection)
        lines["photos"] = _photos(inspection.photos, data_dir, len(facts.blocks))
        lines |= _shape(facts)
    for label, text in lines.items():
        yield from label_lines(label, shown(text))
    if not facts.records:
        return
    yield from _faults("unusable", facts.defects, DEFECT_KINDS, facts)
    yield from _faults("suspicious", facts.answers, ANSWER_KINDS, facts)
    is_svit = TASKS[facts.config].form == "svit"
    yield from _distribution("blocks" if is_svit else "records", "image", Counter(facts.blocks.values()))
    yield from _distribution("turns", "block" if is_svit else "record", facts.turns)


def _images(inspection: Inspection) -> dict[str, str]:
    facts = inspection.facts
    again = f"{facts.repeated:,} records come back to an earlier image" if facts.repeated else "none comes twice"
    order = {True: ", ascending", False: ", not in ascending order", None: ""}[facts.ascending]
    alone = f"; {facts.text_only:,} records have none" if facts.text_only else ""
    lines = {"records": f"{facts.records:,}", "images": f"{len(facts.blocks):,}{order}; {again}{alone}"}
    if set(facts.id_types) - {"number"}:
        lines["ids"] = f"written as {counted(facts.id_types)}"
    if inspection.held_out is None:
        lines["held out"] = "unknown: no test_image_ids.txt is under DATA_DIR, nor was it fetched before"
    else:
        lines["held out"] = "{:,} of its images; the test list has {:,}".format(*inspection.held_out)
    return lines


def _photos(photos: Photos, data_dir: str, wanted: int) -> str:
    places = ", ".join(f"{count:,} in {relative(place, data_dir)}" for place, count in photos.found.items())
    text = f"{sum(photos.found.values()):,} of {wanted:,} found" + (f": {places}" if places else "")
    if photos.untried:
        text += f"; {photos.untried:,} would be asked for by URL, not tried"
    if photos.missing:
        text += f"; {photos.missing:,} missing, such as {', '.join(map(str, photos.examples[:3]))}"
    return text + (f" ({photos.note})" if photos.note else "")


def _shape(facts: Facts) -> dict[str, str]:
    blocks = facts.topic_state.total()
    lines = {"keys": "; ".join(f"{level}: {', '.join(keys)}" for level, keys in facts.keys.items() if keys)}
    lines["roles"] = counted(facts.roles)
    if facts.topics:
        rest = {state: count for state, count in facts.topic_state.items() if state != "text"}
        first = ", ".join(f"{topic} ({count:,})" for topic, count in facts.topics.most_common(_TOPICS))
        lines["topics"] = f"{len(facts.topics):,} different: {first}, …" + (f"; {counted(rest)}" if rest else "")
    elif blocks:
        lines["topics"] = f"none in {blocks:,} blocks ({counted(facts.topic_state)})"
    if facts.config == "all":
        lines["order"] = ", then ".join(f"{count:,} {tasks}" for tasks, count in facts.runs) + " (as guessed)"
    for name in ("question", "answer"):
        lines[f"{name}s"] = _lengths(facts.lengths[name])
    if facts.marked_answers:
        lines["markup"] = f"{facts.marked_answers:,} answers hold <st>"
    return lines


def _lengths(counts: Counter[int]) -> str:
    if not counts:
        return "none that can be used"
    return f"{counts.total():,}; {{min:,}} to {{max:,}} characters, median {{median:,}}".format(**spread(counts) or {})


def _faults(label: str, counts: Counter[str], words: Mapping[str, str], facts: Facts) -> Iterator[str]:
    if not counts:
        yield from label_lines(label, "nothing")
        return
    for number, (kind, count) in enumerate(counts.most_common()):
        first = facts.examples[kind][0]
        yield from label_lines(label if number == 0 else "", shown(f"{count:,} {kind}: {words[kind]}. First: {first}"))


def _distribution(what: str, per: str, counts: Counter[int]) -> Iterator[str]:
    numbers = spread(counts)
    if numbers is None:
        return
    label = f"{what} a{'n' if per[0] in 'aeiou' else ''} {per}"
    if len(counts) == 1:
        yield from label_lines(label, f"{numbers['min']} in each")
        return
    yield from label_lines(label, "{min} to {max}, median {median}".format(**numbers))
    yield from (" " * 19 + line for line in bars(counts))


def _overview(done: list[Inspection]) -> list[str]:
    rows = [["", "RECORDS", "ANSWERS", "UNUSABLE", "SUSPICIOUS", "NO PHOTO", "HELD OUT"]]
    for inspection in done:
        facts = inspection.facts
        numbers = [facts.records, facts.lengths["answer"].total()]
        numbers += [facts.defects.total(), facts.answers.total(), inspection.photos.missing]
        held_out = "?" if inspection.held_out is None else f"{inspection.held_out[0]:,}"
        rows.append([facts.config, *(f"{number:,}" for number in numbers), held_out])
    return columns(rows, right=range(1, 7))
