"""`exclude=`: the same photos are left out over every way of loading, in whatever form they are named."""

from __future__ import annotations

import json

import datasets
import pytest
from svit_builder.shards import write_config

import svit_datasets
from svit_datasets import load_dataset, stream
from svit_datasets.errors import OptionError
from svit_datasets.filters import excluded_ids
from svit_datasets.sample import write_sample


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The raw files, and what was published of them."""
    root = tmp_path_factory.mktemp("exclude")
    raw = write_sample(root / "raw", images=16).root
    for name in ("conversation", "mix_665k"):
        write_config(name, root / "svit", data_dir=raw, on_missing_image="null", cache_dir=root / "cache")
    return raw, root / "svit", root / "cache"


def ids_of(rows):
    return [row["image_id"] for row in rows]


def test_the_same_rows_over_every_way_of_loading(places, tmp_path):
    raw, built, cache = places
    everything = ids_of(stream("conversation", data_dir=raw, cache_dir=cache, order="record", decode=None))
    unwanted = everything[1::3]
    listed = tmp_path / "ids.txt"
    listed.write_text("\n".join(map(str, unwanted)) + "\n")
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"version": 1, "exclude": unwanted}))
    kept = [image_id for image_id in everything if image_id not in unwanted]
    options = {"split": "train", "data_dir": str(raw), "cache_dir": tmp_path / "cache"}
    svit_datasets.register()
    try:
        for exclude in (unwanted, iter(unwanted), listed, str(report)):
            again = list(exclude) if not isinstance(exclude, str | type(listed)) else exclude
            assert ids_of(load_dataset("svit", "conversation", streaming=True, exclude=again, **options)) == kept
            assert ids_of(stream("conversation", data_dir=raw, cache_dir=cache, order="record", exclude=again)) == kept
            published = stream("conversation", data_dir=built, cache_dir=cache, exclude=again, decode=None)
            assert sorted(ids_of(published)) == sorted(kept)
        assert ids_of(load_dataset("svit", "conversation", exclude=listed, **options)) == kept
        assert ids_of(datasets.load_dataset("svit", "conversation", exclude=str(report), **options)) == kept
    finally:
        svit_datasets.unregister()


def test_an_iterator_is_read_once_and_means_the_same_for_each_split(places, tmp_path):
    raw, _, cache = places
    whole = load_dataset("svit", "conversation", data_dir=raw, cache_dir=cache, streaming=True)
    unwanted = [rows[0] for rows in map(ids_of, whole.values())]
    splits = load_dataset("svit", "conversation", data_dir=raw, cache_dir=cache, streaming=True, exclude=iter(unwanted))
    assert {name: ids_of(rows) for name, rows in splits.items()} == {
        name: ids_of(rows)[1:] for name, rows in whole.items()
    }


def test_it_is_applied_after_image_ids_and_changes_what_is_cached(places, tmp_path):
    raw, _, _ = places
    options = {"split": "train", "data_dir": raw, "cache_dir": tmp_path}
    first, second, third, *_ = ids_of(load_dataset("svit", "conversation", **options))
    assert ids_of(
        load_dataset("svit", "conversation", image_ids=[first, second], exclude=[second, third], **options)
    ) == [first]
    listed = tmp_path / "ids.txt"
    listed.write_text(f"{first}\n")
    assert first not in ids_of(load_dataset("svit", "conversation", exclude=listed, **options))
    listed.write_text(f"{second}\n")  # the same name, other ids
    rows = ids_of(load_dataset("svit", "conversation", exclude=listed, **options))
    assert first in rows
    assert second not in rows


def test_records_without_a_photo_stay(places):
    raw, built, cache = places
    for place in (raw, built):
        rows = list(stream("mix_665k", data_dir=place, cache_dir=cache, on_missing_image="null", decode=None))
        with_id = [row for row in rows if (row["image_path"] or "").startswith("vg/")]
        unwanted = {int(row["image_path"].rpartition("/")[2].partition(".")[0]) for row in with_id}
        kept = list(
            stream("mix_665k", data_dir=place, cache_dir=cache, on_missing_image="null", decode=None, exclude=unwanted)
        )
        assert len(kept) < len(rows)
        assert any(row["image_path"] is None for row in kept)
        assert not any((row["image_path"] or "").startswith("vg/") for row in kept)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "ids.txt", "exclude='.*ids.txt' cannot be read"),
        ("12\nx\n", "ids.txt", "line 2: expected a Visual Genome id, found 'x'"),
        ("{}", "report.json", "is no report of `svit check --json`"),
        ("[1]", "report.json", "is no report of `svit check --json`"),
        ("12\n", "report.json", "is no report of `svit check --json`"),
        ('{"exclude": ["a"]}', "report.json", "exclude must hold Visual Genome ids"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(tmp_path, content, name, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(OptionError, match=message):
        excluded_ids(tmp_path / name)
