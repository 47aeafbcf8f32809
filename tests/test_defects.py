"""Every trap of the real files, one small corpus each, under every policy: the outcome is the one its list states."""

from __future__ import annotations

import json

import pytest

import svit_datasets.errors
from svit_datasets import last_report, load_dataset
from svit_datasets.sample import write_sample

TRAPS = [f"6.{number}" for number in range(1, 6)] + [f"7.{number}" for number in (2, 3, 4, 6, 7, 8, 9, 10, 11)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("defects") / "sample"
    write_sample(root, images=16, defects=True)
    return root


def entries(corpus):
    return json.loads((corpus / "defects.json").read_text("utf-8"))["defects"]


def load(corpus, entry, outcome, *, streaming):
    images = entry["images"] and [str(corpus / name) for name in entry["images"]]
    dataset = load_dataset(
        "svit",
        entry["config"],
        split="train",
        streaming=streaming,
        data_dir=corpus / entry["data_dir"],
        images=images,
        cache_dir=corpus.parent / "cache",
        **({"holdout": None} | outcome["options"]),
    )
    return list(dataset)


def check_rows(rows, expect):
    if "ids" in expect:
        assert [row["id"] for row in rows] == expect["ids"]
        assert [len(row["messages"]) for row in rows] == expect["messages"]
    else:
        assert [row["image_id"] for row in rows] == expect["image_ids"]
        assert [len(row["conversations"]) for row in rows] == expect["blocks"]
    for image_id, block, turn, text in expect.get("texts", []):
        row = next(row for row in rows if row["image_id"] == image_id)
        assert row["conversations"][block]["messages"][turn]["content"] == text
    without = [row["image_id"] for row in rows if row.get("image_id") is not None and row["image"] is None]
    assert without == expect.get("null_images", [])
    for row in rows:
        if row["image"] is not None:
            assert row["image"].mode == "RGB"
            assert row["image"].size == (row["width"], row["height"])
    if "sizes" in expect:
        assert [row["width"] and [row["width"], row["height"]] for row in rows] == expect["sizes"]
    assert last_report().counts == expect["counts"]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # datasets leaves a GIF that it opened by path open
@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "map-style"])
@pytest.mark.parametrize("trap", TRAPS)
def test_outcome_of(corpus, trap, streaming):
    """Rows, kept text, sizes and counts, or the error and what it names, are exactly those of defects.json."""
    found = [entry for entry in entries(corpus) if entry["trap"] == trap]
    assert found, f"no defect shows trap {trap}"
    for entry in found:
        for outcome in entry["outcomes"]:
            expect = outcome["expect"]
            context = f"{entry['id']} with {outcome['options']}, expected {expect}"
            try:
                if "error" in expect:
                    with pytest.raises(getattr(svit_datasets.errors, expect["error"])) as caught:
                        load(corpus, entry, outcome, streaming=streaming)
                    for words in expect["mentions"]:
                        assert words in str(caught.value)
                else:
                    check_rows(load(corpus, entry, outcome, streaming=streaming), expect)
            except (AssertionError, svit_datasets.errors.SvitError) as error:
                raise AssertionError(f"{context}: {error}") from error


def test_every_trap_is_tried(corpus):
    assert {entry["trap"] for entry in entries(corpus)} == set(TRAPS)
