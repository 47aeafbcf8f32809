"""Runs the cases and prints Markdown; exit status 1 where a promise is not kept."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq

from tests.benchmarks.build.cases import CASES
from tests.benchmarks.build.moved import moved
from tests.benchmarks.build.tree import Took, took
from tests.benchmarks.build.xet import stored
from tests.benchmarks.corpus import Corpus, corpus
from tests.benchmarks.report import Floor, floors_table, missed, number, table
from tests.benchmarks.runner import REPOSITORY

PHOTOS = 108_077  # of Visual Genome
NAMES = {
    "ours": "`svit build`, 2 workers",
    "ray": "`svit build --executor ray`, 2 processors",
    "pool": "a plain process pool, `zipfile`, `pyarrow`",
    "datasets": "`datasets`: generator in 2 processes, `to_parquet`",
    "copy": "copying the two zips, one after the other",
    "copy_both": "copying the two zips, both at once",
    "least": "photos alone, without text: what the libraries take, 2 processes",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/benchmarks/build/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images, each case once: whether it runs at all")
    parser.add_argument("--home", type=Path, help="where corpora are kept; a temporary folder if not given")
    parser.add_argument("--only", choices=["cost", "whole", "moved", "stored"], action="append", help="only this table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="svit-bench-", ignore_cleanup_errors=True) as scratch:
        home = given.home or Path(scratch)
        few, many, runs = (200, 600, 1) if given.quick else (1_000, 4_000, 3)
        kept = True
        for name, tell in (("cost", cost), ("whole", whole), ("moved", bytes_moved), ("stored", stored_once)):
            if given.only is None or name in given.only:
                kept &= tell(home, Path(scratch), few, many, runs)
    return 0 if kept else 1


# What building costs --------------------------------------------------------------------------------------------------


def cost(home: Path, scratch: Path, few: int, many: int, runs: int) -> bool:
    small, large = corpus(home, few), corpus(home, many)
    found: dict[str, list[tuple[Took, Took]]] = {}
    for _ in range(runs):
        for case in CASES:
            if case in ("copy_both", "least") or (case == "ray" and find_spec("ray") is None):
                continue
            found.setdefault(case, []).append((_run(case, small, scratch), _run(case, large, scratch)))
    lines = []
    figures = {case: _figures(pairs, small, large) for case, pairs in found.items()}
    for case, (each, fixed, rate, speed, peak) in figures.items():
        cells = [number(each), number(fixed, 1), f"{rate:,.0f}", f"{speed / 1e6:,.0f}", f"{peak / 1e6:,.0f}"]
        lines.append([NAMES[case], *cells])
    head = ["", "CPU ms an image", "CPU s before the first", "images/s", "MB/s", "peak MB, all processes"]
    print("\n".join([f"{many:,} images, {large.photo_bytes / 1e6:,.0f} MB; median of {runs}.", ""]))
    print("\n".join(table(head, lines, "lrrrrr")), "\n")
    floors = [
        Floor(
            "CPU an image: ours to the plain pool",
            figures["ours"][0] / figures["pool"][0],
            bound=1.15,
            at_most=True,
            of_full_size=True,
        ),
        Floor("bytes a second, out of memory: ours to copying", figures["ours"][3] / figures["copy"][3]),
    ]
    full = runs > 1
    print("\n".join(floors_table(floors, full=full)), "\n")
    return not missed(floors, full=full)


def _run(case: str, of: Corpus, scratch: Path) -> Took:
    out = scratch / "out"
    shutil.rmtree(out, ignore_errors=True)
    setting = {"case": case, "corpus": str(of.folder), "out": str(out)}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    environment = {**kept, "PYTHONPATH": str(REPOSITORY), "HF_HOME": str(scratch / "home"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "tests.benchmarks.build.cases"]
    result = took(command, json.dumps(setting), environment, scratch)
    rows = sum(pq.read_metadata(path).num_rows for path in out.rglob("*.parquet"))
    assert rows == (0 if case.startswith("copy") else len(of.names)), f"{case} wrote {rows} rows"
    return result


def _figures(pairs: list[tuple[Took, Took]], small: Corpus, large: Corpus) -> tuple[float, float, float, float, float]:
    """Return CPU ms an image, CPU s at no images, images/s and bytes/s beyond the smaller corpus, peak bytes."""
    more = len(large.names) - len(small.names)
    each = median((b.cpu - a.cpu) / more for a, b in pairs)
    wall = max(median(b.wall - a.wall for a, b in pairs), 1e-3)
    fixed = median(a.cpu for a, _ in pairs) - each * len(small.names)
    photo_bytes = large.photo_bytes - small.photo_bytes
    return 1000 * each, max(fixed, 0), more / wall, photo_bytes / wall, median(b.peak for _, b in pairs)


# All of Visual Genome, from the disk ----------------------------------------------------------------------------------


def whole(home: Path, scratch: Path, few: int, many: int, runs: int) -> bool:
    """As many photos as there are, none of them in memory when a case begins, all of them on the disk when it ends."""
    del few
    full = runs > 1
    images = PHOTOS if full else many
    of = corpus(home, images)
    if shutil.disk_usage(scratch).free < 1.1 * of.photo_bytes:
        sys.exit(f"{scratch}: {1.1 * of.photo_bytes / 1e9:,.0f} GB must be free. TMPDIR names another place.")
    found: dict[str, list[Took]] = {case: [] for case in ("copy", "copy_both", "least", "ours")}
    for _ in range(runs):
        for case, all_took in found.items():
            shutil.rmtree(scratch / "out", ignore_errors=True)
            _forget(of.folder)
            _take_memory()
            all_took.append(_run(case, of, scratch))
    print(f"{images:,} images, {of.photo_bytes / 1e9:,.2f} GB, from the disk to the disk; median of {runs}.\n")
    head = ["", "seconds", "from, to", "MB/s", "CPU s", "peak MB, all processes"]
    print("\n".join(table(head, [_line(case, all_took, of) for case, all_took in found.items()], "lrrrrr")), "\n")

    def ratio(case: str, other: str) -> float:
        return median(b.wall / a.wall for a, b in zip(found[case], found[other], strict=True))

    floors = [  # 0.45 and 0.2 were set to what holds: see README.md
        Floor(
            "bytes a second: ours, text and all, to the least", ratio("ours", "least"), bound=0.45, of_full_size=True
        ),
        Floor("bytes a second: ours to copying", ratio("ours", "copy"), bound=0.2, wanted=0.5, of_full_size=True),
        Floor("bytes a second: the least to copying", ratio("least", "copy")),
    ]
    print("\n".join(floors_table(floors, full=full)), "\n")
    return not missed(floors, full=full)


def _line(case: str, all_took: list[Took], of: Corpus) -> list[str]:
    wall, cpu, peak = (median(getattr(one, name) for one in all_took) for name in ("wall", "cpu", "peak"))
    walls = [one.wall for one in all_took]
    spread = f"{min(walls):,.1f} to {max(walls):,.1f}"
    speed = f"{of.photo_bytes / wall / 1e6:,.0f}"
    return [NAMES[case], number(wall, 1), spread, speed, number(cpu, 1), f"{peak / 1e6:,.0f}"]


def _forget(folder: Path) -> None:
    """Have the system forget the content of a folder's files; first, what it has yet to write is written."""
    os.sync()
    for path in folder.rglob("*.zip"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _take_memory() -> None:
    """Use most of the free memory for a moment.

    A hypervisor takes back the pages that nobody uses, and who needs them next waits for each: without this the same
    copy took 11 s or 32 s, depending on what ran before it.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    subprocess.run([sys.executable, "-c", f"import numpy; numpy.ones({free * 9 // 10}, 'u1')"], check=True)


# What is moved, and what is stored ------------------------------------------------------------------------------------


def bytes_moved(home: Path, scratch: Path, few: int, many: int, runs: int) -> bool:
    del many, runs
    lines = [[what, f"{size / 1e6:,.2f}", str(requests)] for what, size, requests in moved(corpus(home, few), scratch)]
    print(f"Of one file over http, {few:,} images:\n")
    print("\n".join(table(["what is read", "MB", "requests"], lines, "lrr")), "\n")
    return True


def stored_once(home: Path, scratch: Path, few: int, many: int, runs: int) -> bool:
    del many, runs
    for number_of, without in enumerate((0.0, 0.044)):
        place = scratch / f"stored-{number_of}"
        place.mkdir()
        found = stored(corpus(home, few).folder, place, without=without)
        lines = [[task, f"{size / 1e6:,.1f}", f"{new / 1e6:,.1f}", f"{new / size:.1%}"] for task, size, new in found]
        print(f"Each configuration lacks {without:.1%} of the photos, another {without:.1%} each:\n")
        print("\n".join(table(["sent after the ones above", "MB", "new MB", "new"], lines, "lrrr")), "\n")
    return True


if __name__ == "__main__":
    sys.exit(main())
