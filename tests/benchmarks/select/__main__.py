"""`svit select` over as many conversations as SVIT has: CPU, wall time and peak memory of the whole command.

    tests/benchmarks/select/run [--quick] [--num-workers 2]

The dataset is made of random words: the four tasks of 108,077 images, 4.2 million QAs, 2.2 GB of JSON, as the real
files have. ``--quick`` takes a twentieth of it and promises nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from svit_builder.svit_json import SvitWriter

IMAGES = 108_077
TASKS = {"conversation": (3, 5), "complex_reasoning": (15, 1), "detail_description": (1, 1), "referring_qa": (10, 1)}
WORDS = {"conversation": 35, "complex_reasoning": 90, "detail_description": 240, "referring_qa": 55}  # an answer
BUDGET = 150_000
MOST_SECONDS, MOST_BYTES = 300, 2 << 30
_LENGTHS = (3, 4, 4, 5, 5, 6, 7, 8, 9)

_CHILD = """
import json, resource, sys, time
from pathlib import Path
from svit_builder.select import Wanted, read_concepts, select
from svit_builder.data import open_data
import svit_builder.select.choose as choose
if __name__ == "__main__":
    place, out, cache, budget, workers = sys.argv[1:]
    begin, marks = time.monotonic(), {}
    for name in json.loads('TASKS'):
        open_data(place, name, cache_dir=cache)
    marks["text prepared"] = time.monotonic() - begin
    made = select(place, out, concepts=read_concepts([Path(place, "concepts.txt")]), wanted=Wanted(int(budget)),
                  num_workers=int(workers), cache_dir=cache)
    marks["chosen and written"] = time.monotonic() - begin - marks["text prepared"]
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    cpu = sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime
              for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    counts = {key: made.counts[key] for key in ("conversations", "chosen", "images", "yes", "no")}
    print(json.dumps({**counts, "seconds": marks, "cpu": cpu, "peak": int(peak.split()[1]) * 1024}))
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--num-workers", type=int, default=2)
    asked = parser.parse_args()
    images = IMAGES // 20 if asked.quick else IMAGES
    budget = BUDGET // 20 if asked.quick else BUDGET
    with tempfile.TemporaryDirectory(prefix="svit-select-") as folder:
        size = write_dataset(Path(folder, "data"), images)
        started = time.monotonic()
        command = [sys.executable, "-c", _CHILD.replace("TASKS", json.dumps(list(TASKS)))]
        command += [folder, f"{folder}/out", f"{folder}/cache", str(budget), str(asked.num_workers)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        took = time.monotonic() - started
    told = json.loads(done.stdout)
    qas = sum(blocks * turns for blocks, turns in TASKS.values()) * images
    print(f"{qas:,} QAs in {told['conversations']:,} conversations on {images:,} images, {size / 1e9:.2f} GB of JSON")
    print(f"{told['chosen']:,} chosen on {told['images']:,} images, yes {told['yes']:,}, no {told['no']:,}")
    print(f"seconds: {told['seconds']}; {told['cpu']:.0f} s of CPU, {asked.num_workers} processes that read")
    print(f"peak memory of the process that chooses: {told['peak'] / 2**20:,.0f} MB")
    kept = took <= MOST_SECONDS and told["peak"] <= MOST_BYTES and told["chosen"] == budget
    print(f"{took:.0f} s of {MOST_SECONDS}, {told['peak'] / MOST_BYTES:.2f} of 2 GB: {'kept' if kept else 'NOT KEPT'}")
    return 0 if kept or asked.quick else 1


def write_dataset(root: Path, images: int) -> int:
    """Write the four files and the list of concepts; returns the bytes of the files."""
    numbers = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(numbers.choices(letters, k=numbers.choice(_LENGTHS))) for _ in range(4_000)]
    text = " ".join(numbers.choices(words, weights=[1 / (at + 10) for at in range(len(words))], k=200_000)).split(" ")

    def some(count: int) -> str:
        at = numbers.randrange(len(text) - 400)
        return " ".join(text[at : at + numbers.randint(count // 2, count + count // 2)])

    size = 0
    for task, (blocks, turns) in TASKS.items():
        path = root / f"{task}.json"
        with SvitWriter(path) as writer:
            for image in range(images):
                conversations = []
                for _ in range(blocks):
                    content = []
                    for _ in range(turns):
                        said = numbers.choices(("", "Yes, ", "No, "), (80, 15, 5))[0]
                        content.append({"from": "user", "value": some(11)})
                        content.append({"from": "gpt", "value": said + some(WORDS[task])})
                    conversations.append({"topic": some(3) if turns > 1 else None, "content": content})
                writer.write(image + 1, conversations)
        size += path.stat().st_size
    lists = [f"concept {at}: {', '.join(numbers.sample(words[20:], 6))}" for at in range(200)]
    (root.parent / "concepts.txt").write_text("\n".join(lists), "utf-8")
    return size


if __name__ == "__main__":
    sys.exit(main())
