"""`svit build`: what stock `datasets` loads is what the live join gives, and no kill, retry or part changes a byte."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from huggingface_hub import HfFileSystem
from svit_builder.build import build, verify
from svit_builder.build.planning import DEFAULT
from svit_builder.manifest import MARKS

import svit_datasets
from svit_datasets.cli import main
from svit_datasets.errors import BadImage, BuildError, ImageNotFound, OptionError, SourceNotFound
from svit_datasets.sample import write_sample
from svit_datasets.tasks import TASKS
from tests.building import FEW, SPLIT_UP, Slow, content, shards, wait_for


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("build")
    write_sample(root / "src", images=48)
    return root / "src"


@pytest.fixture
def make(corpus, tmp_path):
    """Build into tmp_path/svit, in this process if nothing else is said."""

    def call(out=None, **options):
        usual = {"data_dir": corpus, "cache_dir": corpus.parent / "cache", "num_workers": 0, "configs": FEW}
        return build(out or tmp_path / "svit", **(usual | SPLIT_UP | options))

    return call


@pytest.fixture(scope="module")
def expected(corpus):
    """Every file of FEW, split up, as one process makes it."""
    root = corpus.parent / "expected" / "svit"
    build(root, data_dir=corpus, cache_dir=corpus.parent / "cache", num_workers=0, configs=FEW, **SPLIT_UP)
    return content(root)


def manifest(root):
    return json.loads((root / "manifest.json").read_text())


# What is built ------------------------------------------------------------------------------------------------------

STOCK = """
import hashlib, json, sys
import datasets

def told(row):
    image = row.pop("image")
    return [image and hashlib.sha256(image["bytes"]).hexdigest(), row]

for config in sys.argv[1:]:
    for streaming in (False, True):
        loaded = datasets.load_dataset("svit", config, streaming=streaming)
        for split, rows in loaded.items():
            rows = rows.cast_column("image", datasets.Image(decode=False))
            print(json.dumps([config, streaming, split, [told(row) for row in rows]]))
assert not {"svit_datasets", "svit_builder"} & {name.partition(".")[0] for name in sys.modules}
"""


def live(corpus, config):
    """The rows of each split by the live join, sorted as the builder does; photos by the digest of their bytes."""
    splits = svit_datasets.load_dataset(
        "svit", config, data_dir=corpus, cache_dir=corpus.parent / "cache", streaming=True
    )
    found = {}
    for split, rows in splits.items():
        raw = list(rows.decode(False))
        if TASKS[config].form == "svit":
            raw.sort(key=lambda row: row["image_id"])
        images = [row.pop("image") for row in raw]
        digests = [image and hashlib.sha256(image["bytes"]).hexdigest() for image in images]
        found[split] = [[digest, row] for digest, row in zip(digests, raw, strict=True)]
    return found


def test_stock_datasets_loads_every_config_in_a_fresh_process_without_an_import_of_ours(corpus, make, tmp_path):
    """Beside the folder, by its name and nothing else; map-style and streaming; rows and photos to the byte."""
    report = make(configs=TASKS)
    assert set(report.configs) == set(TASKS)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", STOCK, *TASKS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {
        (config, streaming, split): rows for config, streaming, split, rows in map(json.loads, done.stdout.splitlines())
    }
    for config in TASKS:
        wanted = live(corpus, config)
        assert {split for name, _, split in found if name == config} == set(wanted)
        for split, rows in wanted.items():
            assert found[config, False, split] == rows
            assert found[config, True, split] == rows
            assert report.configs[config].rows[split] == len(rows)


def test_the_manifest_says_what_every_file_is(corpus, make, tmp_path):
    report = make()
    listed = {file.pop("path"): file for file in manifest(tmp_path / "svit")["files"]}
    files = {path: data for path, data in content(tmp_path / "svit").items() if path.endswith(".parquet")}
    assert set(listed) == set(files) == set(report.made)
    for path, data in files.items():
        footer = pq.read_metadata(tmp_path / "svit" / path)
        assert listed[path] == {
            "bytes": len(data),
            "rows": footer.num_rows,
            "sha256": hashlib.sha256(data).hexdigest(),
            "build": json.loads(footer.metadata[b"svit"])["build"],
        }
    source = (corpus / "data/conversation.zip").read_bytes()
    assert manifest(tmp_path / "svit")["build"]["sources"][0] == {
        "config": "conversation",
        "name": "conversation.zip",
        "bytes": len(source),
        "sha256": hashlib.sha256(source).hexdigest(),
    }


def test_by_default_all_that_has_a_file_is_built_but_the_union(corpus, make, tmp_path):
    (tmp_path / "src/data").mkdir(parents=True)
    for name in ("data/conversation.zip", "data/svit.zip", "test_image_ids.txt", "raw"):
        (tmp_path / "src" / name).symlink_to(corpus / name)
    report = make(configs=None, data_dir=tmp_path / "src")
    assert list(report.configs) == ["conversation"]
    assert set(report.skipped) == set(DEFAULT) - {"conversation"}
    assert "all" not in DEFAULT
    with pytest.raises(SourceNotFound, match="No file of any configuration under"):
        make(configs=None, data_dir=tmp_path)


def test_the_manifest_and_the_card_say_that_a_model_wrote_the_text(corpus, make, tmp_path):
    """By the table that `svit generate` leaves; also after a configuration of SVIT's own text was added."""
    shutil.copytree(corpus, tmp_path / "made")
    rows = {"model_returned": ["b", "a", "a"], "prompt_version": ["svit-1"] * 3, "image_id": [1, 2, 3]}
    pq.write_table(pa.table(rows), tmp_path / "made/provenance.parquet")
    make(data_dir=tmp_path / "made", configs=["conversation"])
    told = {"models": ["a", "b"], "prompts": ["svit-1"]}
    assert manifest(tmp_path / "svit")["build"]["generator"] == told
    assert "not SVIT's text" in (tmp_path / "svit/README.md").read_text()
    make(configs=["referring_qa"])
    assert manifest(tmp_path / "svit")["build"]["generator"] == told
    make()
    assert "generator" not in manifest(tmp_path / "svit")["build"]


# Who makes it does not matter ---------------------------------------------------------------------------------------


def test_workers_make_the_same_bytes(make, expected, tmp_path):
    """Two of them; the next test but one has one."""
    make(num_workers=2)
    assert content(tmp_path / "svit") == expected


def test_parts_make_the_same_bytes(make, expected, tmp_path):
    """Three jobs that know nothing of each other, not even the cache of the one before; then the last step."""
    for part in (2, 0, 1):
        report = make(shard=(part, 3), cache_dir=tmp_path / f"cache{part}")
        assert len(report.made) == 2
        assert report.manifest is None
        assert not (tmp_path / "svit/manifest.json").exists()
    report = make(finish=True)
    assert (report.made, len(report.kept), report.missing) == ((), 6, ())
    assert content(tmp_path / "svit") == expected


def test_the_last_step_says_what_is_missing(make, expected, tmp_path):
    report = make(shard=(0, 2))
    assert len(report.missing) == 3
    with pytest.raises(BuildError, match=r"3 of 6 files are not there.*: conversation/train-00001-of-00002.parquet"):
        make(finish=True)
    assert not (tmp_path / "svit/manifest.json").exists()
    assert len(make().made) == 3, "without finish it makes them itself"
    assert content(tmp_path / "svit") == expected


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(corpus, expected, tmp_path):
    with Slow(corpus, tmp_path / "svit", "--num-workers", 1) as slow:
        os.kill(wait_for(slow.writers)[0], signal.SIGKILL)
        said, errors = slow.process.communicate(timeout=100)
    assert slow.process.returncode == 0, errors
    assert "6 made now" in said
    assert content(tmp_path / "svit").keys() == expected.keys()
    assert shards(content(tmp_path / "svit")) == shards(expected)


def test_a_driver_that_is_killed_is_gone_on_with(corpus, make, expected, tmp_path):
    """The files that it had finished are not made again; what its workers had begun is gone in the end."""
    root = tmp_path / "svit"
    with Slow(corpus, root, "--num-workers", 1) as slow:
        wait_for(lambda: len(list(root.rglob("*.parquet.json"))) >= 2)
        writers = wait_for(slow.writers)
        slow.process.send_signal(signal.SIGKILL)
        slow.process.wait(20)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in writers))
    assert list(root.rglob("*.writing"))
    marked = {path.relative_to(root / MARKS).as_posix().removesuffix(".json") for path in root.rglob("*.parquet.json")}
    before = {path: (root / path).stat().st_ino for path in marked}
    report = make()
    assert set(report.kept) == marked
    assert len(report.made) == 6 - len(marked)
    assert {path: (root / path).stat().st_ino for path in marked} == before
    assert content(root) == expected


# What is there already ----------------------------------------------------------------------------------------------


def test_a_rerun_makes_nothing_and_changes_nothing(make, expected, tmp_path):
    make()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "svit").rglob("*.parquet")}
    report = make()
    assert (report.made, len(report.kept)) == ((), 6)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert content(tmp_path / "svit") == expected
    assert len(make(resume=False).made) == 6
    assert content(tmp_path / "svit") == expected


def test_what_is_made_anew_counts_as_missing_from_the_first_moment(make, corpus, tmp_path):
    """A run without resume that breaks off is gone on with; it does not fall back on what was there before."""
    for name in ("images.zip", "images2.zip"):
        with zipfile.ZipFile(corpus / "raw" / name) as archive:
            archive.extractall(tmp_path / "photos")
    options = {"images": tmp_path / "photos", "configs": ["conversation"]}
    make(**options)
    ids = pq.read_table(tmp_path / "svit/conversation/train-00001-of-00002.parquet")["image_id"].to_pylist()
    (last,) = (tmp_path / "photos").rglob(f"{ids[-1]}.jpg")
    data = last.read_bytes()
    last.write_bytes(bytes(len(data)))
    assert len(make(**options).kept) == 3, "of a photo in a folder the size alone is looked at"
    with pytest.raises(BadImage, match=f"image {ids[-1]}"):
        make(resume=False, **options)
    assert not (tmp_path / "svit/manifest.json").exists()
    last.write_bytes(data)
    assert make(**options).kept == ("conversation/train-00000-of-00002.parquet",)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1])


def other_build(path):
    """The same number of bytes; only the footer says that it is of another build."""
    data = path.read_bytes()
    build = json.loads(pq.read_metadata(path).metadata[b"svit"])["build"].encode()
    path.write_bytes(data.replace(build, b"0" * len(build)))


@pytest.mark.parametrize("spoil", [Path.unlink, cut_off, other_build], ids=["gone", "cut off", "of another build"])
@pytest.mark.parametrize("ended", [True, False], ids=["by the manifest", "by marks"])
def test_a_file_counts_only_where_all_agree_on_it(make, expected, tmp_path, spoil, ended):
    make() if ended else make(shard=(0, 1))
    spoil(tmp_path / "svit/conversation/train-00001-of-00002.parquet")
    assert make().made == ("conversation/train-00001-of-00002.parquet",)
    assert content(tmp_path / "svit") == expected


def test_a_file_without_a_mark_is_made_again(make, expected, tmp_path):
    """It was renamed, and its process killed before it could say so."""
    make(shard=(0, 1))
    for name in ("train-00000-of-00002.parquet.json", "train-00001-of-00002.parquet.json"):
        mark = tmp_path / "svit" / MARKS / "conversation" / name
        mark.write_text("{") if name.startswith("train-00001") else mark.unlink()
    assert len(make().made) == 2
    assert content(tmp_path / "svit") == expected


def test_configurations_are_added_to_what_is_there(make, tmp_path):
    make(configs=["referring_qa"])
    make(configs=["conversation"])
    paths = [file["path"] for file in manifest(tmp_path / "svit")["files"]]
    assert [path.partition("/")[0] for path in paths] == ["conversation"] * 3 + ["referring_qa"] * 3
    assert [source["config"] for source in manifest(tmp_path / "svit")["build"]["sources"]] == list(FEW)
    assert not (tmp_path / "svit" / MARKS).exists()


def test_files_of_an_older_build_go_when_the_new_one_is_complete_and_not_before(make, corpus, tmp_path):
    root = tmp_path / "svit"
    make()
    old = {path for path in content(root) if "train" in path}
    make(shard=(0, 2), shard_bytes=500 << 20)
    assert old <= set(content(root)), "the new one has begun"
    assert not (root / "manifest.json").exists(), "what it named is not all there any more"
    report = make(shard_bytes=500 << 20)
    assert set(report.removed) == old
    assert {path for path in content(root) if "train" in path} == {
        f"{config}/train-00000-of-00001.parquet" for config in FEW
    }


@pytest.mark.parametrize(
    "change",
    [{"on_missing_image": "null"}, {"known_bad": "keep", "holdout": None}, {"row_group": 40}],
    ids=["policy", "one split", "row group"],
)
def test_other_options_are_another_build(make, tmp_path, change):
    make()
    assert make(**change).kept == ()


def test_a_card_of_somebody_s_own_is_told_before_anything_is_written(make, tmp_path):
    (tmp_path / "svit").mkdir()
    (tmp_path / "svit/README.md").write_text("my words")
    with pytest.raises(BuildError, match=r"README.md: was not made here, and would be lost"):
        make()
    assert [path.name for path in (tmp_path / "svit").iterdir()] == ["README.md"]


# What is left out ---------------------------------------------------------------------------------------------------


@pytest.fixture
def spoilt(corpus, tmp_path):
    """The corpus with one photo cut in half and one that is not there; their ids."""
    root = shutil.copytree(corpus, tmp_path / "spoilt")
    path = root / "raw/images.zip"
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    used = {
        row["image_id"]
        for row in svit_datasets.load_dataset(
            "svit", "conversation", data_dir=root, cache_dir=root / "cache", streaming=True
        )["train"]
    }
    cut, gone = [name for name in sorted(members) if int(Path(name).stem) in used][:2]
    members[cut] = members[cut][: len(members[cut]) // 2]
    del members[gone]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    zips = [root / "raw/images.zip", root / "raw/images2.zip"]
    return {"data_dir": root, "images": zips, "configs": ["conversation"]}


def test_what_is_left_out_is_counted_also_after_a_kill(make, spoilt, tmp_path):
    """By planning and by reading; what another process met is told by the marks."""
    make(shard=(0, 1), on_missing_image="skip", **spoilt)
    report = make(on_missing_image="skip", **spoilt)
    assert report.configs["conversation"].left_out.counts == {"missing_image": 1, "bad_image": 1}
    assert manifest(tmp_path / "svit")["build"]["left_out"] == {"conversation": {"missing_image": 1, "bad_image": 1}}
    assert make(on_missing_image="skip", **spoilt).configs["conversation"].left_out.counts["bad_image"] == 1


def test_a_missing_photo_is_told_before_anything_is_written(make, spoilt, tmp_path):
    with pytest.raises(ImageNotFound, match="1 of"):
        make(**spoilt)
    assert not (tmp_path / "svit").exists()


def test_a_bad_photo_ends_the_build_and_what_was_finished_stays(make, spoilt, tmp_path):
    """Also out of a worker process, with its own message."""
    with zipfile.ZipFile(spoilt["data_dir"] / "raw/images.zip") as archive:
        gone = {int(Path(name).stem) for name in archive.namelist() if name.endswith(".jpg")}
    with zipfile.ZipFile(spoilt["data_dir"] / "raw/images2.zip") as archive:
        gone |= {int(Path(name).stem) for name in archive.namelist() if name.endswith(".jpg")}
    with pytest.raises(BadImage, match="image"):
        make(num_workers=1, image_ids=sorted(gone), **spoilt)
    assert not (tmp_path / "svit/manifest.json").exists()
    assert not list((tmp_path / "svit").rglob("*.writing"))


# Reading it all -----------------------------------------------------------------------------------------------------


def flip(path):
    """One bit of a photo, in the middle of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (flip, "has the SHA-256"),
        (cut_off, "has .* bytes instead of"),
        (Path.unlink, "is not there"),
        (lambda path: shutil.copy(path, path.with_name("train-00007-of-00009.parquet")), "is not in the manifest"),
    ],
    ids=["a bit", "a byte less", "gone", "one too many"],
)
def test_verify_finds_what_is_not_as_it_was_written(make, tmp_path, spoil, fault):
    make(configs=["conversation"])
    root = tmp_path / "svit"
    assert {one.fault for one in verify(root, num_workers=0)} == {None}
    spoil(root / "conversation/train-00001-of-00002.parquet")
    (wrong,) = [one for one in verify(root, num_workers=0) if one.fault]
    assert re.search(fault, wrong.fault)


def test_verify_finds_a_damaged_page_and_an_image_that_is_there_twice_also_without_digests(make, tmp_path):
    make(configs=["conversation"])
    root = tmp_path / "svit"
    first, second = (root / f"conversation/train-0000{number}-of-00002.parquet" for number in range(2))
    known = manifest(root)
    for file in known["files"]:
        file["sha256"] = ""
        file["bytes"] = first.stat().st_size if file["path"].endswith(second.name) else file["bytes"]
        file["rows"] = 32 if file["path"].endswith(second.name) else file["rows"]
    (root / "manifest.json").write_text(json.dumps(known))
    shutil.copy(first, second)
    assert {one.fault for one in verify(root, num_workers=0) if one.path.endswith(second.name)} != {None}
    flip(first)
    (fault,) = [one.fault for one in verify(root, num_workers=0) if one.path.endswith(first.name)]
    assert "CRC" in fault or "crc" in fault


def test_verify_wants_a_build_that_has_ended(make, tmp_path):
    make(shard=(0, 2))
    with pytest.raises(SourceNotFound, match=r"manifest.json: not found, so the build has not ended"):
        verify(tmp_path / "svit")


# Object stores ------------------------------------------------------------------------------------------------------


def test_an_object_store_gets_the_same_bytes_and_a_rerun_makes_what_is_missing(make, expected, s3, tmp_path):
    import fsspec

    root = s3.upload("build", {}) + "/svit"
    options = {"storage_options": {"s3": s3.storage_options}}
    report = make(root, shard=(0, 2), **options)
    assert len(report.made) == 3
    report = make(root, **options)
    assert (len(report.made), len(report.kept), report.card) == (3, 3, None)
    fs = fsspec.filesystem("s3", skip_instance_cache=True, **s3.storage_options)
    there = {path.removeprefix("build/svit/"): fs.cat_file(path) for path in fs.find("build/svit")}
    assert there == {path: data for path, data in expected.items() if path.endswith((".parquet", "manifest.json"))}
    s3.remove("build", "svit/referring_qa/test-00000-of-00001.parquet")
    assert make(root, **options).made == ("referring_qa/test-00000-of-00001.parquet",)
    assert {one.fault for one in verify(root, num_workers=0, **options)} == {None}
    rows = svit_datasets.stream("conversation", data_dir=root, cache_dir=tmp_path / "cache", decode=None, **options)
    assert len(list(rows)) == report.configs["conversation"].rows["train"]


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # how huggingface_hub 2.4 calls httpx2
def test_the_hub_is_such_a_store_too(make, expected, hub):
    hub.add_user("me", "hf_a", "org")
    hub.add_dataset("org/svit", {"notes.txt": b"stays"}, token="hf_a")
    options = {"storage_options": {"hf": {"endpoint": hub.url}}, "token": "hf_a", "configs": ["conversation"]}
    assert len(make("hf://datasets/org/svit", **options).made) == 3
    assert make("hf://datasets/org/svit", **options).made == ()
    assert {
        one.fault
        for one in verify(
            "hf://datasets/org/svit", num_workers=0, storage_options=options["storage_options"], token="hf_a"
        )
    } == {None}
    fs = HfFileSystem(endpoint=hub.url, token="hf_a", skip_instance_cache=True)
    there = {path.removeprefix("datasets/org/svit/"): fs.cat_file(path) for path in fs.find("datasets/org/svit")}
    assert shards(there) == {path: data for path, data in shards(expected).items() if path.startswith("conversation")}
    assert set(there) - set(shards(there)) == {"notes.txt", "manifest.json"}


def test_memory_belongs_to_this_process(make, expected):
    import fsspec

    make("memory://svit")
    fs = fsspec.filesystem("memory")
    try:
        assert fs.cat_file("/svit/manifest.json") == expected["manifest.json"]
    finally:
        fs.rm("/svit", recursive=True)
    with pytest.raises(OptionError, match="memory:// belongs to one process: give num_workers=0"):
        make("memory://svit", num_workers=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "https://example.org/svit"}, "nothing can be written there"),
        ({"shard": (3, 3)}, "give (i, n) with i from 0 to n - 1"),
        ({"shard": (0, 3), "finish": True}, "finish=True is not allowed with shard"),
        ({"configs": ["conversations"]}, "Unknown config 'conversations'"),
        ({"on_bad_record": "null"}, "on_bad_record='null' is not allowed"),
    ],
)
def test_a_wrong_option_names_the_right_ones(make, tmp_path, options, words):
    with pytest.raises(OptionError) as caught:
        make(**options)
    assert words in str(caught.value)
    assert not (tmp_path / "svit").exists()


# The command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def svit(corpus, tmp_path):
    def call(*arguments):
        usual = ["--data-dir", str(corpus), "--cache-dir", str(corpus.parent / "cache"), "--num-workers", "0"]
        return CliRunner().invoke(main, ["build", str(tmp_path / "svit"), *usual, *arguments])

    return call


def test_the_command_says_what_is_there_and_what_comes_next(svit, tmp_path):
    done = svit("--configs", "conversation,referring_qa", "--shard", "0/2")
    assert done.exit_code == 0, done.stderr
    assert "part 0 of 2; 2 of 4 files" in done.stdout
    assert "--finish instead of --shard" in done.stderr
    done = svit("--config", "conversation", "--config", "referring_qa", "--finish")
    assert done.exit_code == 1
    assert "2 of 4 files are not there" in done.stderr
    done = svit("--configs", "conversation,referring_qa")
    assert "4 of 4 files" in done.stdout
    assert "2 made now, 2 there before" in done.stdout
    assert "Nothing was left out." in done.stdout
    assert f"Next: svit doctor {tmp_path / 'svit'}" in done.stderr


def test_the_command_speaks_json(svit, tmp_path):
    told = json.loads(svit("--configs", "conversation", "--json").stdout)
    assert told["configs"]["conversation"]["files"] == len(told["made"]) == 2
    assert told["manifest"] == str(tmp_path / "svit/manifest.json")
    told = json.loads(svit("--verify", "--json").stdout)
    assert [file["fault"] for file in told["files"]] == [None, None]


def test_the_command_verifies_with_an_exit_code(svit, tmp_path):
    svit("--configs", "conversation")
    assert "Every byte is what was written." in svit("--verify").stdout
    flip(tmp_path / "svit/conversation/train-00000-of-00001.parquet")
    done = svit("--verify")
    assert done.exit_code == 1
    assert "train-00000-of-00001.parquet has the SHA-256" in done.stderr


@pytest.mark.parametrize("wrong", [("--shard", "8/8"), ("--shard", "1"), ("--configs", "conversations")])
def test_the_command_does_not_understand(svit, wrong):
    assert svit(*wrong).exit_code == 2
