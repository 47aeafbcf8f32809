"""One case a process: its name as the argument, its setting as JSON on standard input, one JSON line out.

Each case is a generator that yields once an item (an image as RGB pixels, or MB of JSON), so all are timed by the same
lines. Heavy imports stand inside the cases, because what a case imports is part of what it costs.

    echo '{"root": "/data/svit", "started": 0}' | python -m tests.benchmarks.cases ours
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Setting = dict[str, Any]

_MB = 1_000_000


def ours(setting: Setting) -> Generator[float, None, None]:
    """What the quickstart says: `load_dataset`, streaming; `threads` of `datasets` decode where it is given."""
    from svit_datasets import load_dataset

    options = {"split": "train", "streaming": True, "data_dir": setting["root"], "holdout": None}
    rows = load_dataset("svit", "complex_reasoning", **options)
    if setting.get("threads"):
        rows = rows.decode(num_threads=setting["threads"])
    yield from _pixels(row["image"] for row in rows)


def stream(setting: Setting) -> Generator[float, None, None]:
    """The direct reader in an `order`: PIL images like the peers', or arrays where simplejpeg decodes."""
    from svit_datasets import stream as open_stream

    decode = "pil" if setting["decoder"] == "pillow" else "numpy"
    options = {"order": setting["order"], "decode": decode, "decoder": setting["decoder"]}
    for row in open_stream("complex_reasoning", data_dir=setting["root"], holdout=None, **options):
        size = row["image"].size if decode == "pil" else row["image"].shape[1::-1]
        assert size == (row["width"], row["height"])
        yield 1.0


def datasets_zip(setting: Setting) -> Generator[float, None, None]:
    """The peer's way: rows with an Image feature whose path points into the zip over http, decoded by its threads."""
    import datasets

    rows_file = Path(setting["scratch"]) / "rows.jsonl"
    rows_file.write_text("".join(json.dumps({"image": url}) + "\n" for url in setting["urls"]), "utf-8")
    features = datasets.Features({"image": datasets.Image(mode="RGB")})
    rows = datasets.load_dataset("json", data_files=str(rows_file), split="train", streaming=True, features=features)
    yield from _pixels(row["image"] for row in rows.decode(num_threads=setting["threads"]))


def fsspec_zip(setting: Setting) -> Generator[float, None, None]:
    """The naive way: open each photo by its URL in the zip over http."""
    import fsspec

    def photos() -> Generator[bytes, None, None]:
        for url in setting["urls"]:
            with fsspec.open(url) as file:
                yield file.read()

    yield from _pixels(map(_decoded, photos()))


def memory(setting: Setting) -> Generator[float, None, None]:
    """The machine's limit: photos decoded from memory by `threads`, 0 for the main thread alone."""
    import zipfile

    photos = []
    for zip_file in sorted(Path(setting["root"]).glob("raw/*.zip")):
        with zipfile.ZipFile(zip_file) as archive:
            photos += [archive.read(name) for name in archive.namelist()]
    threads = setting["threads"]
    yield from _pixels(_in_threads(photos, threads) if threads else map(_decoded, photos))


def json_ours(setting: Setting) -> Generator[float, None, None]:
    """Our parser over an array of records; yields MB, and first nothing, when it is imported."""
    from svit_datasets.records import read_records

    yield 0.0
    done = 0
    with Path(setting["file"]).open("rb", buffering=0) as stream:
        for number, _ in enumerate(read_records(stream, setting["file"], "svit")):
            if number % 64 == 0:
                yield (stream.tell() - done) / _MB
                done = stream.tell()
        yield (stream.tell() - done) / _MB


def json_datasets(setting: Setting) -> Generator[float, None, None]:
    """The peer's parser over the same array, which it reads whole before the first row; yields as `json_ours`."""
    from datasets import load_dataset

    yield 0.0
    for _ in load_dataset("json", data_files=setting["file"], split="train", streaming=True):
        pass
    yield Path(setting["file"]).stat().st_size / _MB


def demo(setting: Setting) -> Generator[float, None, None]:
    """``svit demo``; yields once it has printed its conversations and ended well."""
    import subprocess

    command = [str(Path(sys.executable).with_name("svit")), "demo"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=setting["scratch"])
    yield 1.0


CASES: dict[str, Callable[[Setting], Generator[float, None, None]]] = {
    case.__name__: case for case in (ours, stream, datasets_zip, fsspec_zip, memory, json_ours, json_datasets, demo)
}


def measured(case: Callable[[Setting], Generator[float, None, None]], setting: Setting) -> dict[str, float]:
    """Run a case to its end, or to `limit` items, and say what it took.

    ``rate`` counts from the process's start. ``steady`` and ``cpu_ms`` leave out the first `skip` items and what went
    before: at least as many as may be under way when the first one comes, or they would pass for quick. Memory is the
    peak of this process alone (VmHWM: unlike ru_maxrss it does not begin with the parent's).
    """
    skip = setting.get("skip", 1)
    done, skipped = 0.0, 0.0
    first, begun, cpu_begun = 0.0, time.monotonic(), time.process_time()
    running = case(setting)
    for items, amount in enumerate(running, 1):
        done += amount
        if items == 1:
            first = time.monotonic()
        if items == skip:
            skipped, begun, cpu_begun = done, time.monotonic(), time.process_time()
        if items == setting.get("limit"):
            break
    end, cpu_end = time.monotonic(), time.process_time()
    running.close()
    steady = max(done - skipped, 1e-9)  # of a single row nothing is steady
    return {
        "done": done,
        "first_s": first - setting["started"],
        "rate": done / (end - setting["started"]),
        "steady": steady / max(end - begun, 1e-9),
        "cpu_ms": 1000 * (cpu_end - cpu_begun) / steady,
        "rss_mb": _peak_memory() / _MB,
    }


def _pixels(images: Iterable[Any]) -> Generator[float, None, None]:
    """Count images, having seen that they are what a trainer takes: loaded, and RGB."""
    for image in images:
        assert image.mode == "RGB"
        image.load()  # does nothing where the case has done it
        yield 1.0


def _decoded(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data)).convert("RGB")


def _in_threads(photos: Iterable[bytes], threads: int) -> Generator[Any, None, None]:
    """Decode in order, with at most 32 photos a thread waiting."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Any] = deque()
        for data in photos:
            waiting.append(pool.submit(_decoded, data))
            if len(waiting) >= 32 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _peak_memory() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    print(json.dumps(measured(CASES[sys.argv[1]], json.load(sys.stdin))))
