"""What is built arrives on the Hub whole and once, whatever happens on the way, and loads from there by stock means."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import cache
from types import SimpleNamespace

import httpx2
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars
from svit_builder.build import build
from svit_builder.card import write_card
from svit_builder.manifest import write_manifest
from svit_builder.publish import publish, retry
from svit_builder.shards import write_config

from svit_datasets.cli import main
from svit_datasets.errors import AccessDenied, BuildError, OptionError, PublishError, SourceNotFound
from svit_datasets.sample import write_sample
from tests.servers import Fault, Hub
from tests.servers.calls import Route
from tests.servers.repositories import Blob
from tests.test_real import REAL, data_dir, photos  # noqa: F401 - two of them are fixtures
from tests.test_servers import python

# huggingface_hub 2.4 sends files as httpx2 would not have them sent; it is its business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")

REPO = "ORG/svit"
NO_OTHERS = r"^/(?!api/agent)"  # huggingface_hub also asks for a list of agents, once and of its own accord


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Two builds of one corpus: "old" has a file a split, "new" three files of the training split and no answers."""
    root = tmp_path_factory.mktemp("publish")
    write_sample(root / "sample", images=48)
    for name, size, known_bad in (("old", 500 << 20, "keep"), ("new", 900_000, "drop")):
        options = {"data_dir": root / "sample", "cache_dir": root / "cache", "known_bad": known_bad}
        write_config("complex_reasoning", root / name / "svit", shard_bytes=size, **options)
        write_manifest(root / name / "svit")
        write_card(root / name / "svit", repo_id=REPO)
    assert len(list((root / "new/svit/complex_reasoning").glob("train-*"))) > 1
    return root


@pytest.fixture(scope="module")
def server():
    with Hub() as hub:
        hub.add_user("ann", "hf_ann", "ORG")
        hub.add_user("bob", "hf_bob")
        hub.add_user("ann", "hf_read", "ORG", role="read")
        yield hub


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were to be waited; nobody waits them."""
    waited = []
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=waited.append, time=time.time))
    monkeypatch.setattr(retry, "wait", waited.append)
    return waited


@pytest.fixture
def hub(server, monkeypatch, waits):
    """An empty Hub, which is the one that this process knows."""
    server.repositories.clear()
    server.faults.clear()
    server.log.reset()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    disable_progress_bars()
    yield server
    enable_progress_bars()
    server.faults.clear()


def send(root, **options):
    return publish(root, REPO, **{"rights": True, "skip_doctor": True} | options)


def content(hub, revision="main"):
    """path -> sha256 of what a revision holds, but for what the Hub put there itself."""
    files = hub.repositories[REPO].at(revision).files
    return {
        path: blob.sha256 or hashlib.sha256(blob.content.whole()).hexdigest()
        for path, blob in files.items()
        if path != ".gitattributes"
    }


@cache
def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def parquet_bytes(root):
    return sum(path.stat().st_size for path in root.rglob("*.parquet"))


def sent(hub):
    """Bytes of LFS objects that the Hub has received, whole or not."""
    return sum(line.received for line in hub.log.requests if line.path.startswith("/_lfs/") and line.method == "PUT")


def writes(hub):
    return [line for line in hub.log.requests if line.method not in {"GET", "HEAD"}]


# -- build, publish, load ----------------------------------------------------------------------------------------------

# pyarrow 26's threads end some interpreters by "terminate called without an active exception" after all is done.
LEAVE = "\nimport os, sys; sys.stdout.flush(); os._exit(0)"
LOAD = """
import hashlib, json, sys
from datasets import Image, load_dataset
def digest(rows):
    found = []
    for row in rows:
        image = row.pop("image")
        found.append([hashlib.sha256(image["bytes"]).hexdigest(), json.dumps(row)])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest(), len(found)
for streaming in STREAMING:
    splits = load_dataset("ORG/svit", "complex_reasoning", streaming=streaming)
    print(json.dumps({name: digest(rows.cast_column("image", Image(decode=False))) for name, rows in splits.items()}))
assert not any(name.startswith("svit") for name in sys.modules)
""" + LEAVE  # fmt: skip
STREAM = """
import svit_datasets, json
rows = svit_datasets.stream("complex_reasoning", data_dir="hf://datasets/ORG/svit", split="train", known_bad="drop")
print(json.dumps(sorted(row["image_id"] for row in rows)))
"""


GATED = """
from datasets import load_dataset
for token in ("hf_bob", "hf_ann"):
    try:
        print(load_dataset("ORG/svit", "complex_reasoning", split="test", token=token).num_rows, "rows")
    except Exception as error:
        print(" ".join(str(error).split()))
""" + LEAVE  # fmt: skip


def local_rows(root):
    """As LOAD prints them."""
    found = {}
    for split in ("test", "train"):
        rows = []
        files = sorted((root / "complex_reasoning").glob(f"{split}-*"))
        for path in files:
            for row in pq.read_table(path).to_pylist():
                image = row.pop("image")
                rows.append([hashlib.sha256(image["bytes"]).hexdigest(), json.dumps(row)])
        if files:
            found[split] = [hashlib.sha256(json.dumps(rows).encode()).hexdigest(), len(rows)]
    return found


def test_what_is_built_is_published_and_loads_in_a_fresh_process(hub, builds, tmp_path):
    root = builds / "new/svit"
    report = send(root)
    assert report.created
    assert report.sent == {path: (root / path).stat().st_size for path in digests(root)}
    assert content(hub) == digests(root)
    environment = hub.environment(tmp_path, token="hf_ann")
    expected = local_rows(root)
    printed = python(LOAD.replace("STREAMING", "(True, False)"), environment)
    streamed, mapped = map(json.loads, printed.splitlines())
    assert streamed == mapped == expected
    hub.log.reset()
    offline = json.loads(python(LOAD.replace("STREAMING", "[False]"), {**environment, "HF_HUB_OFFLINE": "1"}))
    assert offline == expected
    assert hub.log.requests == []
    ids = json.loads(python(STREAM, {**environment, "PYTHONPATH": os.pathsep.join(sys.path)}))
    assert len(ids) == len(set(ids)) == expected["train"][1]


def test_a_further_run_sends_nothing_and_says_so(hub, builds):
    first = send(builds / "new/svit")
    hub.log.reset()
    again = send(builds / "new/svit")
    assert again.unchanged
    assert again.commit == first.commit
    assert again.there == first.sent
    assert writes(hub) == []


def test_a_new_build_replaces_the_old_one_in_one_commit(hub, builds):
    send(builds / "old/svit")
    hub.log.reset()
    report = send(builds / "new/svit")
    assert "complex_reasoning/train-00000-of-00001.parquet" in report.removed
    assert content(hub) == digests(builds / "new/svit")
    assert len(hub.repositories[REPO].commits) == 3  # the Hub's own, the old build, the new one
    changed = {
        path
        for path, digest in digests(builds / "new/svit").items()
        if digest not in digests(builds / "old/svit").values()
    }
    assert sent(hub) == sum((builds / "new/svit" / path).stat().st_size for path in changed if path.endswith("parquet"))


def test_what_storage_has_is_not_sent_again(hub, builds):
    """As after a commit was undone, or after a run that ended before its commit."""
    send(builds / "new/svit")
    repository = hub.repositories[REPO]
    repository.commit("main", {}, "everything is deleted")
    hub.log.reset()
    send(builds / "new/svit")
    assert sent(hub) == 0
    assert content(hub) == digests(builds / "new/svit")


def test_only_what_the_manifest_names_is_published(hub, builds, tmp_path):
    root = shutil.copytree(builds / "new/svit", tmp_path / "svit")
    (root / "notes.txt").write_text("mine")
    (root / ".build").mkdir()
    (root / ".build" / "mark").write_text("of the builder: not worth a word")
    (root / "complex_reasoning" / "train-00000-of-00009.parquet").write_bytes(b"of a build that was broken off")
    report = send(root)
    assert report.left_out == ("complex_reasoning/train-00000-of-00009.parquet", "notes.txt")
    assert content(hub) == digests(builds / "new/svit")


def test_files_of_others_stay(hub, builds):
    hub.add_dataset(REPO, {"LICENSE": b"theirs", "extra/data.csv": b"a,b", "complex_reasoning/notes.md": b"theirs"})
    report = send(builds / "new/svit")
    assert not report.removed
    assert content(hub).keys() - digests(builds / "new/svit").keys() == {
        "LICENSE", "extra/data.csv", "complex_reasoning/notes.md"}  # fmt: skip


def test_a_configuration_is_not_lost_by_accident(hub, builds):
    hub.add_dataset(REPO, {"conversation/train-00000-of-00001.parquet": b"of another build"})
    with pytest.raises(PublishError, match=r"has conversation on the Hub, which .* has not.*--remove-configs"):
        send(builds / "new/svit")
    assert writes(hub) == []
    with pytest.raises(PublishError, match="--remove-configs"):
        send(builds / "new/svit", dry_run=True)
    assert send(builds / "new/svit", remove_configs=True).removed == ("conversation/train-00000-of-00001.parquet",)
    assert content(hub) == digests(builds / "new/svit")


def test_a_gitignore_on_the_hub_leaves_nothing_out(hub, builds):
    hub.add_dataset(REPO, {".gitignore": b"*.parquet\n"})
    send(builds / "new/svit")
    assert content(hub).items() > digests(builds / "new/svit").items()


# -- who may see it, where it goes -------------------------------------------------------------------------------------


def test_it_is_closed_before_any_data_is_there(hub, builds):
    send(builds / "new/svit", private=True, gated="manual")
    repository = hub.repositories[REPO]
    assert repository.private
    assert repository.gated == "manual"
    paths = [line.path for line in hub.log.requests]
    assert paths.index(f"/api/datasets/{REPO}/settings") < paths.index(f"/api/datasets/{REPO}/preupload/main")
    hub.log.reset()
    send(builds / "new/svit", gated="auto")  # is less than it has
    assert (repository.private, repository.gated) == (True, "manual")
    assert writes(hub) == []


def test_a_gated_dataset_loads_for_its_readers_only(hub, builds, tmp_path):
    send(builds / "new/svit", gated="auto")
    printed = python(GATED, hub.environment(tmp_path))
    assert re.fullmatch(r".* 'ORG/svit' is a gated dataset .*\n\d+ rows\n", printed)


def test_a_branch(hub, builds):
    send(builds / "old/svit")
    report = send(builds / "new/svit", revision="draft")
    assert report.revision == "draft"
    assert content(hub) == digests(builds / "old/svit")
    assert content(hub, "draft") == digests(builds / "new/svit")


def test_a_pull_request_to_somebody_elses_dataset(hub, builds):
    send(builds / "old/svit")
    with pytest.raises(AccessDenied, match=r"403.*--create-pr"):
        send(builds / "new/svit", token="hf_bob")
    report = send(builds / "new/svit", token="hf_bob", create_pr=True)
    assert report.revision == "refs/pr/1"
    assert report.url.endswith("/discussions/1")
    assert content(hub, "refs/pr/1") == digests(builds / "new/svit")
    assert content(hub) == digests(builds / "old/svit")
    again = send(builds / "new/svit", token="hf_bob", create_pr=True)
    assert again.unchanged
    assert again.revision == "refs/pr/1"
    assert len(hub.repositories[REPO].pull_requests) == 1


def test_a_lost_answer_makes_no_second_pull_request(hub, builds):
    send(builds / "old/svit")
    hub.faults.add(Fault("reset", match="/commit/", keep=None))
    report = send(builds / "new/svit", create_pr=True)
    assert report.revision == "refs/pr/1"
    assert len(hub.repositories[REPO].pull_requests) == 1


# -- nothing is sent ---------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_and_changes_nothing(hub, builds):
    told = send(builds / "new/svit", dry_run=True, rights=False)
    assert told.created
    assert set(told.sent) == set(digests(builds / "new/svit"))
    send(builds / "old/svit")
    hub.log.reset()
    told = send(builds / "new/svit", dry_run=True, revision="draft")
    assert writes(hub) == []
    assert told.commit is None
    assert "complex_reasoning/train-00000-of-00001.parquet" in told.removed
    assert {**told.sent, **told.there} == {
        path: (builds / "new/svit" / path).stat().st_size for path in digests(builds / "new/svit")
    }
    done = send(builds / "new/svit")
    assert (done.sent, done.there, done.removed) == (told.sent, told.there, told.removed)


def test_the_right_to_redistribute_is_asked_for(hub, builds):
    with pytest.raises(PublishError, match=r"CC BY 4\.0.*photos keep the terms.*--i-have-the-right-to-redistribute"):
        send(builds / "new/svit", rights=False)
    assert hub.log.requests == []


def test_the_doctor_is_asked(hub, builds, tmp_path):
    root = shutil.copytree(builds / "new/svit", tmp_path / "svit")
    send(root, skip_doctor=False)
    card = root / "README.md"
    card.write_text(re.sub(r"num_examples: \d+", "num_examples: 7", card.read_text("utf-8")), "utf-8")
    hub.log.reset()
    with pytest.raises(PublishError, match=r"the doctor finds it wrong \(.*rows.*\).*`svit doctor .*--skip-doctor"):
        send(root, skip_doctor=False)
    assert hub.log.requests == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"gated": "yes"}, "gated='yes' is not allowed"),
        ({"create_pr": True, "revision": "draft"}, "revision='draft' is not allowed with create_pr"),
    ],
)
def test_options(hub, builds, options, text):
    with pytest.raises(OptionError, match=re.escape(text)):
        send(builds / "new/svit", **options)
    for name in ("svit", "a/b/c", "ORG/s vit"):
        with pytest.raises(OptionError, match="give ORG/NAME"):
            publish(builds / "new/svit", name, rights=True)
    assert hub.log.requests == []


def test_a_folder_that_is_no_finished_build(hub, builds, tmp_path):
    root = shutil.copytree(builds / "new/svit", tmp_path / "svit")
    file = next(root.rglob("*.parquet"))
    data = file.read_bytes()
    manifest = json.loads((root / "manifest.json").read_text())
    for line in manifest["files"]:
        line["sha256"] = hashlib.sha256((root / line["path"]).read_bytes()).hexdigest()
    (root / "manifest.json").write_text(json.dumps(manifest))
    file.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    with pytest.raises(BuildError, match=f"{file.name}: is not the file that was built"):
        send(root)
    file.unlink()
    with pytest.raises(SourceNotFound, match=f"{file.name}: is in manifest.json and not there"):
        send(root)
    (root / "manifest.json").write_text('{"files": [{"path": "../secret"}]}')
    with pytest.raises(BuildError, match="no file of a configuration"):
        send(root)
    (root / "manifest.json").unlink()
    with pytest.raises(SourceNotFound, match="no build has ended here"):
        send(root)
    shutil.copy(builds / "new/svit/manifest.json", root)
    file.write_bytes(data)
    (root / "README.md").unlink()
    with pytest.raises(PublishError, match="without a card"):
        send(root)
    assert writes(hub) == []


def test_tokens(hub, builds, monkeypatch):
    root = builds / "new/svit"
    with pytest.raises(AccessDenied, match=r"does not know this token \(401\).*settings/tokens"):
        send(root, token="hf_stale")
    with pytest.raises(AccessDenied, match=r"may not do this: 403, You need a token with write access\. Take one"):
        send(root, token="hf_read")
    with pytest.raises(AccessDenied, match=r"403.*a namespace that is yours"):
        send(root, token="hf_bob")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(AccessDenied, match=r"no token\..*hf auth login"):
        send(root)
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PublishError, match="HF_HUB_OFFLINE is set"):
        send(root)
    assert hub.repositories == {}


def test_a_card_that_the_hub_does_not_take_is_found_before_data_are_sent(hub, builds, tmp_path):
    root = shutil.copytree(builds / "new/svit", tmp_path / "svit")
    (root / "README.md").write_text("---\nlicense: 5\n---\n")
    with pytest.raises(PublishError, match=r"README.md: the Hub does not take its metadata: .*license"):
        send(root)
    assert sent(hub) == 0


# -- others write too --------------------------------------------------------------------------------------------------


def meanwhile(hub, method, pattern, action):
    """Do `action` once, when a request of this kind comes, before it is answered."""

    def answer(hub, call):
        hub.routes.remove(route)
        action(hub.repositories[REPO])
        return hub.handle(call.request)

    route = Route(method, re.compile(pattern), answer)
    hub.routes.insert(0, route)


def change(**files):
    def action(repository):
        named = {path.replace("__", "/").replace("_dot_", "."): data for path, data in files.items()}
        blobs = {path: Blob.of(path, data) for path, data in named.items()}
        repository.commit("main", {**repository.at("main").files, **blobs}, "somebody else's")

    return action


@pytest.mark.parametrize("where", ["/_lfs/.*[0-9a-f]", ".*/commit/main"])
def test_a_commit_to_other_files_is_kept(hub, builds, where):
    send(builds / "old/svit")
    meanwhile(hub, "PUT" if "lfs" in where else "POST", where, change(LICENSE=b"theirs"))
    send(builds / "new/svit")
    assert content(hub) == {**digests(builds / "new/svit"), "LICENSE": hashlib.sha256(b"theirs").hexdigest()}
    assert 412 in {line.status for line in hub.log.requests}


def test_a_commit_to_our_files_is_not_overwritten(hub, builds):
    send(builds / "old/svit")
    meanwhile(hub, "PUT", "/_lfs/.*[0-9a-f]", change(README_dot_md=b"theirs"))
    with pytest.raises(PublishError, match=r"somebody else committed README\.md meanwhile"):
        send(builds / "new/svit")
    kept = content(hub)
    assert kept.pop("README.md") == hashlib.sha256(b"theirs").hexdigest()
    assert kept.items() < digests(builds / "old/svit").items()
    send(builds / "new/svit")
    assert content(hub) == digests(builds / "new/svit")


def test_two_who_publish_the_same_at_once(hub, builds):
    send(builds / "old/svit")
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: send(builds / "new/svit"), range(2)))
    assert content(hub) == digests(builds / "new/svit")
    assert len({report.commit for report in reports}) == 1
    assert len(hub.repositories[REPO].commits) == 3


def test_a_file_that_changes_while_it_is_sent(hub, builds, tmp_path):
    root = shutil.copytree(builds / "new/svit", tmp_path / "svit")
    file = next(root.rglob("train-*.parquet"))
    meanwhile(hub, "POST", "/_lfs/.*/verify", lambda _: os.utime(file, ns=(1, 1)))
    with pytest.raises(PublishError, match="changed while it was published"):
        send(root)
    assert not content(hub)


# -- faults ------------------------------------------------------------------------------------------------------------

KINDS = {
    "503, not done": Fault("status", code=503, handled=False),
    "503, done": Fault("status", code=503),
    "429": Fault("status", code=429, handled=False, headers={"Retry-After": "7"}),
    "409": Fault("status", code=409, handled=False),
    "412": Fault("status", code=412, handled=False),
    "dropped before": Fault("reset", keep=None, handled=False),
    "dropped after": Fault("reset", keep=None),
    "answer cut": Fault("short", keep=1),
    "request cut": Fault("cut", keep=100),
}


@pytest.fixture
def published(hub, builds):
    """A Hub with the old build, what it holds then, and how many requests the new one takes."""
    send(builds / "old/svit")
    state = copy.deepcopy(hub.repositories)
    hub.log.reset()
    send(builds / "new/svit")
    requests = [line for line in hub.log.requests if re.match(NO_OTHERS, line.path)]

    def restore():
        hub.repositories.clear()
        hub.repositories.update(copy.deepcopy(state))
        hub.faults.clear()
        hub.log.reset()

    return SimpleNamespace(requests=requests, restore=restore, most=sent(hub))


def assert_never_mixed(hub, builds):
    """Every commit that the Hub ever had holds one build, or none."""
    whole = [{}, *(only_parquet(digests(builds / name / "svit")) for name in ("old", "new"))]
    for commit in hub.repositories[REPO].commits.values():
        held = {path: blob.sha256 for path, blob in commit.files.items()}
        assert only_parquet(held) in whole


def only_parquet(files):
    return {path: digest for path, digest in files.items() if path.endswith(".parquet")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_every_request_once(hub, builds, published, kind, waits):
    fault = KINDS[kind]
    largest = max(line.received for line in published.requests)
    for number, line in enumerate(published.requests):
        published.restore()
        waits.clear()
        hub.faults.add(Fault(**{**fault_fields(fault), "match": NO_OTHERS, "after": number}))
        report = send(builds / "new/svit")
        where = f"{kind} at request {number}, {line.method} {line.path}"
        assert len(hub.faults.fired) == 1, where
        assert content(hub) == digests(builds / "new/svit"), where
        assert sent(hub) <= published.most + largest, where
        assert len(hub.repositories[REPO].commits) == 3, where
        assert report.commit == hub.repositories[REPO].refs["main"], where
        assert_never_mixed(hub, builds)
        if kind == "429" and "validate-yaml" not in line.path:  # huggingface_hub does not look at that answer's status
            assert 7 <= max(waits) <= 8, where


def fault_fields(fault):
    return {name: getattr(fault, name) for name in fault.__dataclass_fields__}


@pytest.mark.parametrize("kind", ["503, done", "dropped before"])
def test_a_fault_while_a_dataset_is_made(hub, builds, kind):
    options = {"private": True, "gated": "auto", "revision": "draft"}
    send(builds / "new/svit", **options)
    requests = [line for line in hub.log.requests if re.match(NO_OTHERS, line.path)]
    for number in range(len(requests)):
        hub.repositories.clear()
        hub.faults.clear()
        hub.faults.add(Fault(**{**fault_fields(KINDS[kind]), "match": NO_OTHERS, "after": number}))
        send(builds / "new/svit", **options)
        repository = hub.repositories[REPO]
        assert content(hub, "draft") == digests(builds / "new/svit"), requests[number]
        assert (repository.private, repository.gated) == (True, "auto")
        assert len(repository.commits) == 2


def test_a_hub_that_nobody_knows_is_given_up_soon(builds, waits, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://no-such-host.invalid")
    with pytest.raises(PublishError, match=r"2 attempts failed, the last with: .*Name or service not known"):
        send(builds / "new/svit", dry_run=True, token="hf_ann")


def test_the_card_on_the_hub_tells_how_to_load_it_from_there(hub, builds, tmp_path):
    root = shutil.copytree(builds / "new/svit", tmp_path / "svit")
    write_card(root, statistics=())
    assert 'load_dataset("svit", "complex_reasoning"' in (root / "README.md").read_text()
    send(root)
    files = hub.repositories[REPO].at("main").files
    card = files["README.md"].content.whole().decode()
    assert f'load_dataset("{REPO}", "complex_reasoning"' in card
    assert "## Statistics" in card
    assert content(hub) == digests(builds / "new/svit")


def test_a_hub_that_stays_away_is_given_up(hub, builds, waits):
    hub.faults.add(Fault("status", match="/commit/", code=503, times=None, handled=False))
    with pytest.raises(PublishError, match=r"8 attempts failed, the last with: 503, fault: 503\. Run the same command"):
        send(builds / "new/svit")
    assert [seconds for seconds in waits if seconds] == [1, 2, 4, 8, 16, 32, 60]
    hub.faults.clear()
    hub.log.reset()
    send(builds / "new/svit")
    assert sent(hub) == 0
    assert content(hub) == digests(builds / "new/svit")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "90"}, 90),
        ({"Retry-After": formatdate(time.time() + 3600, usegmt=True)}, 600),  # and no longer
        ({"Retry-After": "soon"}, 1),
        ({"Retry-After": "3", "RateLimit": '"api";r=0;t=55'}, 55),
        ({"Retry-After": "3", "RateLimit": '"api";r=12;t=55'}, 3),
    ],
)
def test_it_waits_as_long_as_the_hub_asks(hub, builds, waits, headers, seconds):
    hub.faults.add(Fault("status", match="/commit/", code=429, headers=headers, handled=False))
    send(builds / "new/svit")
    assert sum(waits) == seconds


def test_a_hub_that_says_nothing_is_asked_again(hub, builds, monkeypatch):
    monkeypatch.setattr(retry, "_TIMEOUT", httpx2.Timeout(0.3))
    hub.faults.add(Fault("stall", match="/commit/", keep=None, seconds=30))
    began = time.monotonic()
    send(builds / "new/svit")
    assert time.monotonic() - began < 20
    assert content(hub) == digests(builds / "new/svit")
    assert len(hub.repositories[REPO].commits) == 2


ZYGOTE = """
import json, os, sys
from svit_builder.publish import publish
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        code = 1
        try:
            publish(**json.loads(line))
            code = 0
        finally:
            os._exit(code)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture
def zygote(hub, tmp_path):
    """A process that has imported everything, and publishes in a child of its own for each line it is given."""
    environment = hub.environment(tmp_path / "zygote", token="hf_ann")
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", ZYGOTE], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def kill(hub, zygote, root, number, **options):
    """Publish in another process, and kill it when its request of this number was done and not yet answered."""
    hub.faults.add(Fault("stall", match=NO_OTHERS, after=number, keep=None))
    options |= {"root": str(root), "repo_id": REPO, "rights": True, "skip_doctor": True}
    print(json.dumps(options), file=zygote.stdin, flush=True)
    child = int(zygote.stdout.readline())
    deadline = time.monotonic() + 30
    while not hub.faults.fired:
        assert time.monotonic() < deadline, f"request {number} never came"
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    assert int(zygote.stdout.readline()) == -signal.SIGKILL
    hub.faults.clear()


def test_killed_at_every_request_once_and_run_again(hub, builds, published, zygote):
    for number, line in enumerate(published.requests):
        published.restore()
        kill(hub, zygote, builds / "new/svit", number)
        assert_never_mixed(hub, builds)
        before = sent(hub)
        send(builds / "new/svit")
        where = f"killed at request {number}, {line.method} {line.path}"
        assert content(hub) == digests(builds / "new/svit"), where
        in_flight = 5 * max(each.received for each in published.requests)  # huggingface_hub sends five files at once
        assert sent(hub) <= published.most + min(before, in_flight), where
        assert len(hub.repositories[REPO].commits) == 3, where
        assert_never_mixed(hub, builds)


def test_killed_at_every_request_while_a_dataset_is_made(hub, builds, zygote):
    options = {"private": True, "gated": "auto", "revision": "draft"}
    send(builds / "new/svit", **options)
    requests = [line for line in hub.log.requests if re.match(NO_OTHERS, line.path)]
    for number, line in enumerate(requests):
        hub.repositories.clear()
        kill(hub, zygote, builds / "new/svit", number, **options)
        repository = hub.repositories.get(REPO)
        assert repository is None or repository.private
        send(builds / "new/svit", **options)
        repository = hub.repositories[REPO]
        assert content(hub, "draft") == digests(builds / "new/svit"), line
        assert (repository.private, repository.gated, len(repository.commits)) == (True, "auto", 2), line


# -- the command -------------------------------------------------------------------------------------------------------


def svit(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_the_command(hub, builds):
    root = builds / "new/svit"
    refused = svit("publish", root, REPO, code=1)
    assert "--i-have-the-right-to-redistribute" in refused.stderr
    rehearsed = svit("publish", root, REPO, "--dry-run")
    assert "would be created" in rehearsed.stdout
    assert writes(hub) == []
    done = svit("publish", root, REPO, "--i-have-the-right-to-redistribute", "--private", "--gated")
    assert f"{hub.url}/datasets/{REPO}/commit/" in done.stdout
    assert 'Next: ds = load_dataset("ORG/svit", "complex_reasoning", split="train")' in done.stderr
    assert content(hub) == digests(root)
    assert (hub.repositories[REPO].private, hub.repositories[REPO].gated) == (True, "auto")
    again = svit("publish", root, REPO, "--i-have-the-right-to-redistribute")
    assert "Nothing to do" in again.stdout
    told = json.loads(svit("publish", root, REPO, "--dry-run", "--json").stdout)
    assert told["sent"] == {}
    assert told["unchanged"]
    assert told["there"] == {path: (root / path).stat().st_size for path in digests(root)}
    pull = svit("publish", builds / "old/svit", REPO, "--i-have-the-right-to-redistribute", "--create-pr")
    assert 'revision="refs/pr/1"' in pull.stderr


def test_the_commands_of_the_documentation(hub, builds, tmp_path, monkeypatch):
    from tests.test_docs import CORPUS, DOCS, assert_printed

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for page in ("publish.md", "cli.md"):
        hub.repositories.clear()
        text = (DOCS / page).read_text("utf-8").partition("## svit publish\n" if page == "cli.md" else "# ")[2]
        block = re.search(
            r"tests/test_publish.py runs [^\n]*\n\n```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
        )[1]
        for command, output in re.findall(r"^\$ svit (.+)\n((?:(?!\$ ).*\n?)*)", block, re.MULTILINE):
            done = svit(*command.replace(CORPUS, str(builds / "sample")).split())
            assert_printed(output, done.output, f"{page}: {command}")
        assert content(hub) == digests(tmp_path / "builder/svit")


# -- real photos -------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos are not here")
def test_real_photos_arrive_as_they_are(hub, data_dir, photos, tmp_path):  # noqa: F811
    root = tmp_path / "svit"
    build(root, data_dir=data_dir, cache_dir=tmp_path / "cache", num_workers=0)
    send(root, skip_doctor=False)
    loaded = python(LOAD.replace("STREAMING", "[True]"), hub.environment(tmp_path, token="hf_ann"))
    assert json.loads(loaded) == local_rows(root)
    tables = [pq.read_table(path) for path in root.rglob("*.parquet")]
    rows = [row for table in tables for row in table.to_pylist()]
    assert {row["image_id"]: row["image"]["bytes"] for row in rows} == {
        image_id: path.read_bytes() for image_id, path in photos.items()
    }
