"""One way of writing a corpus as Parquet with its photos inside, in a process of its own; the setting comes as JSON.

Each reads ``data/complex_reasoning.zip`` and the two zips of photos, and writes a row an image; ``copy`` only copies
the zips: what the disk can do.

    echo '{"case": "pool", "corpus": "…", "out": "…"}' | python -m tests.benchmarks.build.cases
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import zipfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import repeat
from pathlib import Path

FILE = 32 << 20  # bytes of a file, about
ZIPS = ("images.zip", "images2.zip")
WORKERS = 2


def ours(corpus, out, executor="local"):
    from svit_builder.build import build

    build(
        out / "svit",
        data_dir=corpus,
        configs=["complex_reasoning"],
        holdout=None,
        executor=executor,
        num_workers=WORKERS,
        cache_dir=out / "cache",
        shard_bytes=FILE,
    )


def ray(corpus, out):
    ours(corpus, out, "ray")


def pool(corpus, out):
    """What one would write by hand: a process pool, zipfile, pyarrow."""
    out.mkdir()
    with zipfile.ZipFile(corpus / "data/complex_reasoning.zip") as archive:
        items = json.loads(archive.read("complex_reasoning.json"))
    items.sort(key=lambda item: item["image_id"])
    size = sum((corpus / "raw" / name).stat().st_size for name in ZIPS)
    step = -(-len(items) * FILE // size)
    parts = [items[at : at + step] for at in range(0, len(items), step)]
    with ProcessPoolExecutor(WORKERS) as workers:
        jobs = [workers.submit(_part, corpus, out / f"{number}.parquet", part) for number, part in enumerate(parts)]
        for job in jobs:
            job.result()


def _part(corpus, path, items):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    archives = [zipfile.ZipFile(corpus / "raw" / name) for name in ZIPS]
    where = {Path(name).stem: (archive, name) for archive in archives for name in archive.namelist()}
    writer = None
    for at in range(0, len(items), 32):
        rows = []
        for item in items[at : at + 32]:
            archive, name = where[str(item["image_id"])]
            data = archive.read(name)
            with Image.open(io.BytesIO(data)) as photo:
                width, height = photo.size
            blocks = [{"topic": None, "messages": _messages(block)} for block in item["conversations"]]
            image = {"bytes": data, "path": name}
            rows.append(
                {
                    "image_id": item["image_id"],
                    "image": image,
                    "width": width,
                    "height": height,
                    "conversations": blocks,
                }
            )
        table = pa.Table.from_pylist(rows, schema=_schema())
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", write_page_index=True)
        writer.write_table(table)
    writer.close()


def _messages(block):
    roles = {"user": "user", "gpt": "assistant"}
    return [{"role": roles[turn["from"]], "content": turn["value"]} for turn in block["content"]]


@cache
def _schema():
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    block = pa.struct([("topic", pa.string()), ("messages", pa.list_(message))])
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = [("image_id", pa.int64()), ("image", image), ("width", pa.int32()), ("height", pa.int32())]
    return pa.schema([*columns, ("conversations", pa.list_(block))])


def datasets(corpus, out):
    """Its own way: a generator in two processes, then Parquet."""
    import datasets

    message = {"role": datasets.Value("string"), "content": datasets.Value("string")}
    block = {"topic": datasets.Value("string"), "messages": datasets.List(message)}
    photo = {"image": datasets.Image(), "width": datasets.Value("int32"), "height": datasets.Value("int32")}
    rows = datasets.Dataset.from_generator(
        _generate,
        features=datasets.Features(
            {"image_id": datasets.Value("int64"), **photo, "conversations": datasets.List(block)}
        ),
        gen_kwargs={"parts": [(str(corpus), part) for part in range(WORKERS)]},  # items would be pickled for a digest
        num_proc=WORKERS,
        cache_dir=str(out / "cache"),
    )
    rows.to_parquet(out / "rows.parquet")


def _generate(parts):
    from PIL import Image

    ((folder, part),) = parts
    corpus = Path(folder)
    with zipfile.ZipFile(corpus / "data/complex_reasoning.zip") as archive:
        items = json.loads(archive.read("complex_reasoning.json"))
    items.sort(key=lambda item: item["image_id"])
    items = items[len(items) * part // WORKERS : len(items) * (part + 1) // WORKERS]
    archives = [zipfile.ZipFile(corpus / "raw" / name) for name in ZIPS]
    where = {Path(name).stem: (archive, name) for archive in archives for name in archive.namelist()}
    for item in items:
        archive, name = where[str(item["image_id"])]
        data = archive.read(name)
        with Image.open(io.BytesIO(data)) as photo:
            width, height = photo.size
        blocks = [{"topic": None, "messages": _messages(block)} for block in item["conversations"]]
        yield {
            "image_id": item["image_id"],
            "image": {"bytes": data, "path": name},
            "width": width,
            "height": height,
            "conversations": blocks,
        }


def copy(corpus, out):
    out.mkdir()
    for name in ZIPS:
        _copy(corpus / "raw" / name, out / name)


def copy_both(corpus, out):
    out.mkdir()
    with ProcessPoolExecutor(WORKERS) as workers:
        list(workers.map(_copy, [corpus / "raw" / name for name in ZIPS], [out / name for name in ZIPS]))


def _copy(path, to):
    with path.open("rb") as source, to.open("wb") as target:
        while piece := source.read(1 << 20):
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())


def least(corpus, out):
    """The limit: photos alone, without any text, and only the calls to libraries that such files need."""
    out.mkdir()
    members = []
    for number, name in enumerate(ZIPS):
        with zipfile.ZipFile(corpus / "raw" / name) as archive:
            for member in archive.infolist():
                begin = member.header_offset + 30 + len(member.filename)  # local headers have no extra field here
                members.append((int(Path(member.filename).stem), number, begin, member.file_size, member.CRC))
    members.sort()  # by image id, as rows are
    step = FILE * len(members) // sum(size for *_, size, _ in members)
    parts = [members[at : at + step] for at in range(0, len(members), step)]
    with ProcessPoolExecutor(WORKERS) as workers:
        list(workers.map(_least, repeat(corpus), [out / f"{at}.parquet" for at in range(len(parts))], parts))


def _least(corpus, path, members):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from svit_builder.parquet import _layout

    schema = pa.schema([("image", pa.struct([("bytes", pa.binary())]))])
    zips = [os.open(corpus / "raw" / name, os.O_RDONLY) for name in ZIPS]
    with pa.OSFile(str(path), "wb") as file, pq.ParquetWriter(file, schema, **_layout(schema)) as writer:
        for _, number, begin, size, _ in members:
            os.posix_fadvise(zips[number], begin, size, os.POSIX_FADV_WILLNEED)
        for at in range(0, len(members), 32):
            photos = []
            for _, number, begin, size, crc in members[at : at + 32]:
                photos.append(os.pread(zips[number], size, begin))
                assert zlib.crc32(photos[-1]) == crc
            image = pa.StructArray.from_arrays([pa.array(photos, pa.binary())], ["bytes"])
            writer.write_table(pa.Table.from_arrays([image], schema=schema), row_group_size=len(photos))
    with path.open("rb+") as file:
        hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    for descriptor in zips:
        os.close(descriptor)


CASES = {case.__name__: case for case in (ours, ray, pool, datasets, copy, copy_both, least)}

if __name__ == "__main__":
    setting = json.load(sys.stdin)
    CASES[setting["case"]](Path(setting["corpus"]), Path(setting["out"]))
