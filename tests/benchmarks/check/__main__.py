"""Measure the check and the parser in CPU time; exit status 1 where the promise is not kept."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from svit_builder.annotations import open_annotations
from svit_builder.check.examine import examine
from svit_builder.check.objects import vocabulary
from svit_builder.check.texts import qas_of
from svit_builder.data import open_data
from svit_builder.generate.parse import parse_reply

from svit_datasets.sample import write_sample
from tests.benchmarks.report import table

QAS = {"conversation": 1.6e6, "complex_reasoning": 1.6e6, "detail_description": 1.06e5, "referring_qa": 1.0e6}
LIMIT = 50.0  # µs a QA: 20,000 a second


def cpu(run, times=3):
    """Return the CPU seconds of the fastest of some runs."""
    spent = []
    for _ in range(times):
        begin = time.process_time()
        run()
        spent.append(time.process_time() - begin)
    return min(spent)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory(prefix="svit-check-") as folder:
        root, cache = write_sample(Path(folder, "svit"), images=images).root, Path(folder, "cache")
        known = open_annotations(root, cache_dir=cache)
        ways = {"texts": {}, "annotations": {"annotations": known, "nouns": vocabulary(known.read())}}
        if find_spec("rensa"):
            ways["similar"] = {"similar": True}
        figures = {}
        for task in QAS:
            data = open_data(str(root), task, cache_dir=cache)
            qas = [qa for _, row in data.texts() for qa in qas_of(row, data.task)]
            letters = sum(len(qa.question) + len(qa.answer) for qa in qas) / len(qas)
            spent = {way: cpu(lambda data=data, way=way: examine(data, **ways[way])) / len(qas) * 1e6 for way in ways}
            figures[task] = {"letters": letters, **spent}
    total = sum(QAS.values())
    figures["as SVIT"] = {
        name: sum(figures[task][name] * QAS[task] for task in QAS) / total for name in figures["conversation"]
    }
    lines = [
        [task, f"{one['letters']:.0f}", *(f"{one[way]:.1f}" for way in ways), f"{1e6 / one['texts']:,.0f}"]
        for task, one in figures.items()
    ]
    head = ("", "characters", *(f"{way}, µs" for way in ways), "QAs a second, texts")
    print("\n".join(table(head, lines, "l" + "r" * (len(head) - 1))))
    reply = "\n\n".join(
        f"Question {k}: What is thing {k}?\nAnswer: It is the red bus in the street." for k in range(15)
    )
    text = "\n\n".join([reply] * ((1 << 20) // len(reply)))
    print(f"\nparse: {cpu(lambda: parse_reply('complex_reasoning', text)):.2f} s a MB of replies")
    return int(figures["as SVIT"]["texts"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
