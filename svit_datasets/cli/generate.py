"""``svit generate``: asks a model about photos; ``status`` and ``derive`` read what it wrote down."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from svit_datasets.cli.output import columns, counted, hint, label_lines, print_json
from svit_datasets.errors import OptionError, SourceNotFound
from svit_datasets.filters import parse_ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from svit_builder.generate.online import Progress
    from svit_builder.generate.run import Job
    from svit_builder.generate.status import Status

__all__ = ["command"]

_TASKS = "conversation,complex_reasoning,detail_description,referring_qa"


@click.group(name="generate", invoke_without_command=True)
@click.option("--annotations", metavar="PLACE", help="Folder, zip or URL with Visual Genome's and COCO's annotations.")
@click.option("--out", metavar="DIR", help="Where journal and dataset go.")
@click.option("--tasks", default=_TASKS, show_default=True, help="Which, with commas between.")
@click.option("--model", default="rules", show_default=True, help="Name at the endpoint; rules: the embedded one.")
@click.option("--base-url", "base_urls", multiple=True, help="Of an endpoint, such as http://HOST/v1; may be repeated.")
@click.option("--images", metavar="FILE|sample:N", help="Only these: a file with an id a line, or N drawn at random.")
@click.option("--concurrency", type=click.IntRange(min=1), default=32, show_default=True, help="Requests at once.")
@click.option("--rpm", type=click.FloatRange(min=0, min_open=True), help="Requests a minute, at most.")
@click.option("--tpm", type=click.FloatRange(min=0, min_open=True), help="Tokens a minute, at most.")
@click.option("--timeout", type=click.FloatRange(min=1), default=600, show_default=True, help="Seconds for a reply.")
@click.option("--batch", is_flag=True, help="Use the endpoint's Batch API: cheaper, within a day.")
@click.option(
    "--budget", type=click.FloatRange(min=0), metavar="USD", help="Stop before more is spent; needs --prices."
)
@click.option("--prices", metavar="FILE", help="TOML table of what models cost; see docs/generate.md.")
@click.option("--estimate", "only_estimate", is_flag=True, help="Print what it would take; ask nothing.")
@click.option("--dry-run", type=click.IntRange(min=1), metavar="N", help="Print N requests as JSON lines; ask nothing.")
@click.option("--resume", is_flag=True, help="Go on with the journal in --out; what it holds is not asked again.")
@click.option("--temperature", type=click.FloatRange(min=0), default=0.7, show_default=True, help="Of the model.")
@click.option("--seed", default=0, show_default=True, help="Every request's own seed is made of it.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Of a reply; by default what the task needs.")
@click.option(
    "--sampling", multiple=True, metavar="NAME=JSON", help="A further field of requests; null takes one away."
)
@click.option("--context-tokens", type=click.IntRange(min=1), default=6000, show_default=True, help="Of a context.")
@click.option("--json-schema", is_flag=True, help="Ask for JSON by a schema, where the endpoint can.")
@click.option("--few-shot", is_flag=True, help="Put a whole example before each context.")
@click.option("--attempts", type=click.IntRange(min=1), default=3, show_default=True, help="Replies asked for an item.")
@click.option("--shard", metavar="I/N", help="Only the photos of shard I of N, from 0, in a journal of their own.")
@click.option("--shards", type=click.IntRange(min=1), help="Run in so many shards, and put them together.")
@click.option(
    "--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="What runs --shards."
)
@click.option("--workers", type=click.IntRange(min=1), help="Shards at a time; by default one a processor.")
@click.option("--address", help="Of a running Ray cluster; without it one is started here.")
@click.option("--key-name", default="OPENAI_API_KEY", show_default=True, help="Environment variable with the key.")
@click.option("--json", "as_data", is_flag=True, help="Print the summary, or the estimate, as one JSON object.")
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Make SVIT-style data of annotated photos with a language model.

    Every reply is kept in a journal under --out, judged by rules, and asked for again where it is bad. The result
    loads with load_dataset("svit", TASK, data_dir=OUT). Without --model and --base-url a small model of rules answers,
    which needs neither network nor key.

    \b
    Examples:
      svit generate --annotations /data/vg --out made --images sample:100
      svit generate --annotations /data/vg --out made --model M --base-url http://127.0.0.1:8000/v1
      svit generate --annotations /data/vg --out made --model M --base-url https://HOST/v1 --estimate --prices p.toml
      svit generate status made
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    if context.invoked_subcommand is not None:
        return
    for name in ("annotations", "out"):
        if options[name] is None:
            raise click.UsageError(f"Missing option '--{name}'.")
    job = _job(options)
    if options["only_estimate"]:
        _estimate(job, as_data=options["as_data"])
    elif options["dry_run"]:
        _dry_run(job, options["dry_run"])
    else:
        _run(job, options)


def _run(job: Job, options: dict[str, Any]) -> None:
    from svit_builder.generate.run import generate, run_shard  # noqa: PLC0415 - the CLI imports the builder when needed
    from svit_builder.generate.status import read_status  # noqa: PLC0415

    shard = _shard(options["shard"])
    out = quote(str(job.out))
    if shard is not None:
        run_shard(job, shard, _teller())
        hint(f"svit generate derive {out}, once all {shard[1]} shards are through")
        return
    generate(
        job,
        shards=options["shards"],
        executor=options["executor"],
        num_workers=options["workers"],
        address=options["address"],
        tell=_teller(),
    )
    status = read_status(job.out, job.price)
    if options["as_data"]:
        print_json(status.to_json())
    else:
        click.echo("\n".join(_status_lines(status)))
    if status.left:
        hint(f"the same command with --resume: {status.left:,} are left")
    else:
        hint(f"svit check {out}")


@command.command(name="status")
@click.argument("out")
@click.option("--prices", metavar="FILE", help="TOML table of what models cost.")
@click.option("--json", "as_data", is_flag=True, help="Print one JSON object.")
def status_command(out: str, *, prices: str | None, as_data: bool) -> None:
    """Say how far a generation into OUT has come; also while it runs.

    \b
    Example:
      svit generate status made --prices prices.toml
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    from svit_builder.generate.prices import read_price  # noqa: PLC0415
    from svit_builder.generate.status import read_status  # noqa: PLC0415

    status = read_status(Path(out))
    if prices is not None:
        status = read_status(Path(out), read_price(Path(prices), status.model))
    if as_data:
        print_json(status.to_json())
    else:
        click.echo("\n".join(_status_lines(status)))


@command.command(name="derive")
@click.argument("out")
@click.option("--annotations", metavar="PLACE", help="Where they are now, if not where they were.")
def derive_command(out: str, *, annotations: str | None) -> None:
    """Write the dataset anew from the journals in OUT; nothing is asked.

    \b
    Example:
      svit generate derive made
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    from svit_builder.annotations import open_annotations  # noqa: PLC0415
    from svit_builder.generate.derive import derive  # noqa: PLC0415
    from svit_builder.generate.journal import Journal  # noqa: PLC0415
    from svit_builder.generate.status import journals_in  # noqa: PLC0415

    if annotations is None:
        with Journal(journals_in(Path(out))[0]) as journal:
            annotations = journal.get("annotations")
    if annotations is None:
        raise SourceNotFound(f"{out}: its journal does not say where the annotations are. Give --annotations.")
    print_json(derive(Path(out), open_annotations(annotations)))


# What the options say -------------------------------------------------------------------------------------------------


def _job(options: dict[str, Any]) -> Job:
    from svit_builder.generate.plan import Settings  # noqa: PLC0415 - the CLI imports the builder only when needed
    from svit_builder.generate.prices import read_price  # noqa: PLC0415
    from svit_builder.generate.run import Job  # noqa: PLC0415

    settings = Settings(
        model=options["model"],
        temperature=options["temperature"],
        seed=options["seed"],
        max_tokens=options["max_tokens"],
        context_tokens=options["context_tokens"],
        few_shot=options["few_shot"],
        json_schema=options["json_schema"],
        sampling=dict(_field(text) for text in options["sampling"]),
    )
    return Job(
        Path(options["out"]).expanduser(),
        options["annotations"],
        settings,
        tuple(name.strip() for name in options["tasks"].split(",")),
        _images(options["images"], options["annotations"], options["seed"]),
        attempts=options["attempts"],
        base_urls=options["base_urls"],
        key_name=options["key_name"],
        concurrency=options["concurrency"],
        rpm=options["rpm"],
        tpm=options["tpm"],
        timeout=options["timeout"],
        batch=options["batch"],
        budget=options["budget"],
        price=None if options["prices"] is None else read_price(Path(options["prices"]), settings.model),
        resume=options["resume"],
    )


def _field(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise OptionError(
            f"--sampling {text!r} is not NAME=JSON: give top_p=0.9, or reasoning_effort='\"low\"' for a text."
        ) from error


def _images(text: str | None, annotations: str, seed: int) -> tuple[int, ...] | None:
    if text is None:
        return None
    if text.startswith("sample:"):
        from svit_builder.annotations import open_annotations  # noqa: PLC0415

        known = open_annotations(annotations).image_ids.tolist()
        wanted = text.removeprefix("sample:")
        if not wanted.isdecimal() or not 1 <= int(wanted) <= len(known):
            raise OptionError(f"--images {text!r} is not allowed: give sample:1 to sample:{len(known)}, or a file.")
        return tuple(sorted(random.Random(seed).sample(known, int(wanted))))  # noqa: S311 - no secret
    return tuple(parse_ids(Path(text).read_text("utf-8"), text).tolist())


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise OptionError(f"--shard {text!r} is not allowed: give I/N with I from 0 to N - 1, such as 0/8.")
    return int(number), int(count)


# What is printed ------------------------------------------------------------------------------------------------------


def _teller(every: float = 5.0) -> Callable[[Progress], None]:
    """Return what tells on standard error, every few seconds, how far it has come."""
    told = [time.monotonic()]

    def tell(progress: Progress) -> None:
        now = time.monotonic()
        if now - told[0] < every:
            return
        told[0] = now
        rate = progress.replies / (now - progress.begun)
        failed = f", {progress.failed:,} without answer" if progress.failed else ""
        click.echo(
            f"{progress.replies:,} replies, {rate:,.1f} a second: {progress.accepted:,} accepted, "
            f"{progress.again:,} asked again, {progress.rejected:,} rejected{failed}",
            file=sys.stderr,
        )

    return tell


def _status_lines(status: Status) -> list[str]:
    rows = [["TASK", "ACCEPTED", "REGENERATED", "REJECTED", "UNDER WAY"]]
    for name, task in status.tasks.items():
        numbers = (task.accepted, task.regenerated, task.rejected.total(), task.waiting + task.begun)
        rows.append([name, *(f"{number:,}" for number in numbers)])
    lines = columns(rows, right=range(1, 5))
    lines.append("")
    done = status.accepted + status.rejected
    lines += label_lines("model", status.model)
    lines += label_lines("done", f"{done:,} of {status.wanted:,}, {status.left:,} left")
    tokens = f"{status.prompt_tokens:,} tokens of prompts, {status.completion_tokens:,} of replies"
    lines += label_lines("replies", f"{status.replies:,}: {tokens}")
    if status.usd is not None:
        lines += label_lines("cost", f"{status.usd:,.2f} USD")
    for label, counts in (("not taken", status.reasons), ("rejected", status.rejects), ("failures", status.failures)):
        if counts:
            lines += label_lines(label, counted(counts))
    if status.batches:
        lines += label_lines("batches", f"{status.batches} not back yet")
    return lines


def _estimate(job: Job, *, as_data: bool) -> None:
    from svit_builder.annotations import open_annotations  # noqa: PLC0415
    from svit_builder.generate.estimate import estimate  # noqa: PLC0415
    from svit_builder.generate.plan import choose  # noqa: PLC0415

    annotations = open_annotations(job.annotations)
    found = estimate(annotations, job.settings, choose(annotations, job.images), job.tasks)
    rows = [["TASK", "REQUESTS", "INPUT TOKENS", "OUTPUT TOKENS", "AT MOST", "USD"]]
    data, total = [], [0.0] * 5
    for one in found:
        usd = job.price.of(one.prompt_tokens, one.completion_tokens, batch=job.batch) if job.price else 0.0
        numbers = [one.requests, one.prompt_tokens, one.completion_tokens, one.most_completion_tokens]
        total = [before + now for before, now in zip(total, [*numbers, usd], strict=True)]
        rows.append([one.task, *(f"{number:,}" for number in numbers), f"{usd:,.2f}" if job.price else "?"])
        data.append({name: getattr(one, name) for name in one.__slots__} | ({"usd": usd} if job.price else {}))
    if as_data:
        print_json({"tasks": data, "model": job.settings.model, "batch": job.batch})
        return
    rows.append(["", *(f"{number:,.0f}" for number in total[:4]), f"{total[4]:,.2f}" if job.price else "?"])
    click.echo("\n".join(columns(rows, right=range(1, 6))))
    hint(
        "output tokens are an assumption, and regenerations come on top; "
        "run a few with --images sample:20, then see svit generate status"
    )


def _dry_run(job: Job, count: int) -> None:
    from svit_builder.annotations import open_annotations  # noqa: PLC0415
    from svit_builder.generate.plan import choose, items  # noqa: PLC0415

    annotations = open_annotations(job.annotations)
    ids = choose(annotations, job.images).tolist()
    wanted = [(image_id, task) for image_id in ids[:count] for task in job.tasks][:count]
    for item in items(annotations, job.settings, wanted):
        request = item.request()
        body = {"model": request.model, "messages": request.messages, **request.sampling}
        print_json({"image_id": request.image_id, "task": request.task, "key": request.key, "body": body}, indent=None)
