"""``svit export``: writes a configuration as another trainer's files, and says what was written."""

from __future__ import annotations

from dataclasses import asdict

import click

from svit_datasets.boxes import CONVENTIONS
from svit_datasets.cli.output import byte_size, hint, label_lines, print_json, shown
from svit_datasets.tasks import TASKS

__all__ = ["command"]

_FORMATS = ("llava", "sharegpt", "trl", "jsonl", "webdataset", "mds", "litdata", "lance", "coco")
_NEXT = {
    "llava": "train with --data_path {out}/train.json --image_folder {out}/images",
    "sharegpt": "llamafactory-cli train … with dataset_dir: {out}, media_dir: {out}, dataset: svit_train",
    "trl": "SFTTrainer(…, train_dataset=datasets.load_dataset({out!r}, split='train'))",
    "jsonl": "datasets.load_dataset('json', data_files='{out}/train.jsonl')",
    "webdataset": "webdataset.WebDataset('{out}/train-000000.tar').decode('pil')",
    "mds": "streaming.StreamingDataset(local={out!r}, split='train', batch_size=8)",
    "litdata": "litdata.StreamingDataset('{out}/train')",
    "lance": "lance.dataset('{out}/train.lance')",
    "coco": "pycocotools.coco.COCO('{out}/train.json')",
}


@click.command(name="export")
@click.argument("config", type=click.Choice(list(TASKS)))
@click.argument("out")
@click.option("--format", "name", required=True, type=click.Choice(_FORMATS), help="What to write.")
@click.option(
    "--data-dir",
    default="BAAI/SVIT",
    show_default=True,
    metavar="PLACE",
    help="Folder or URL with your files or with published Parquet, or a dataset on the Hub, ORG/NAME.",
)
@click.option("--images", multiple=True, help="Where the photos are, for raw files; may be repeated.")
@click.option("--split", metavar="NAME", help="Only this split, train or test; without it each is written.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows of each split.")
@click.option(
    "--rows",
    type=click.Choice(["image", "conversation"]),
    default="image",
    show_default=True,
    help="What a record is; one conversation only where photos lie in a folder.",
)
@click.option("--boxes", type=click.Choice(CONVENTIONS), help="How boxes are written; llava: padded, else as they are.")
@click.option(
    "--on-missing-image",
    type=click.Choice(["error", "skip", "null"]),
    default="error",
    show_default=True,
    help="What becomes of a row whose photo is nowhere.",
)
@click.option(
    "--on-bad-record",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What becomes of a record that cannot be used, or that the format cannot hold.",
)
@click.option("--shard-size", type=click.IntRange(1, 2048), default=256, show_default=True, help="MB of a file, about.")
@click.option("--json", "as_data", is_flag=True, help="Print what was written as one JSON object.")
def command(
    config: str,
    out: str,
    *,
    name: str,
    data_dir: str,
    images: tuple[str, ...],
    split: str | None,
    limit: int | None,
    rows: str,
    boxes: str | None,
    on_missing_image: str,
    on_bad_record: str,
    shard_size: int,
    as_data: bool,
) -> None:
    """Write CONFIG into the folder OUT, which must not exist yet, as another trainer's files.

    Photos keep their bytes. OUT appears when all of it is written; until then it is called OUT.partial.

    \b
    Examples:
      svit export conversation ./llava --format llava --data-dir /data/svit
      svit export all ./shards --format webdataset --data-dir builder/svit --split train
      svit export referring_qa ./coco --format coco --data-dir ORG/svit --limit 1000
    """  # noqa: D301 - click reads the \b as "leave these lines as they are"
    from svit_builder.data import open_data  # noqa: PLC0415 - the library never needs the builder
    from svit_builder.export import export  # noqa: PLC0415

    data = open_data(data_dir, config, split=split, images=images or None, on_bad_record=on_bad_record)
    report = export(
        data,
        out,
        format=name,
        rows=rows,
        boxes=boxes,
        limit=limit,
        on_missing_image=on_missing_image,
        on_bad_record=on_bad_record,
        shard_bytes=shard_size << 20,
        progress=True,
    )
    if as_data:
        print_json(asdict(report))
    else:
        splits = ", ".join(f"{count:,} of {one}" for one, count in report.splits.items())
        click.echo(f"{report.out}: {sum(report.splits.values()):,} records ({splits}), {report.photos:,} photos")
        files = "1 file" if report.files == 1 else f"{report.files:,} files"
        click.echo(f"{files}, {byte_size(report.bytes)}")
        for kind, count in report.left_out.items():
            first = f": {report.examples[kind]}" if kind in report.examples else ""
            click.echo("\n".join(label_lines("left out", shown(f"{count:,} by {kind}{first}"))))
    hint(_NEXT[name].format(out=out))
