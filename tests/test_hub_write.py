"""The Hub of the tests takes what huggingface_hub and datasets send, and refuses as the real one does."""

from __future__ import annotations

import hashlib
import http.client
import json

import pytest

from tests.servers import Fault, FileServer, Hub
from tests.test_servers import ask, python

CLIENT = """
import huggingface_hub as hf
from huggingface_hub import CommitOperationAdd as Add, CommitOperationCopy as Copy, CommitOperationDelete as Delete
from huggingface_hub.errors import *
from pathlib import Path

api, D = hf.HfApi(), {"repo_type": "dataset"}

def refusal(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except HfHubHTTPError as error:
        return type(error).__name__, error.response.status_code, str(error)
    raise AssertionError("nothing was refused")

def names(revision="main"):
    return sorted(api.list_repo_files("ann/svit", revision=revision, **D))

assert api.whoami()["orgs"][0]["name"] == "team"
assert api.create_repo("ann/svit", **D).repo_id == "ann/svit"
assert refusal(api.create_repo, "ann/svit", **D)[1] == 409
assert api.create_repo("ann/svit", exist_ok=True, **D).repo_id == "ann/svit"
assert api.create_repo("team/svit", private=True, **D).repo_id == "team/svit"
assert refusal(api.create_repo, "other/svit", **D)[1] == 403
assert refusal(api.create_repo, "ann/more", token="hf_read", **D)[1] == 403
assert names() == [".gitattributes"]

folder = Path("folder"); (folder / "data").mkdir(parents=True)
(folder / "README.md").write_text("---\\nlicense: mit\\n---\\nhello")
(folder / "data/a.parquet").write_bytes(b"a" * 1000)
(folder / "data/b.parquet").write_bytes(b"b" * 1000)
first = api.upload_folder(repo_id="ann/svit", folder_path=folder, **D)
assert names() == [".gitattributes", "README.md", "data/a.parquet", "data/b.parquet"]
assert api.upload_folder(repo_id="ann/svit", folder_path=folder, **D).oid == first.oid
assert [commit.title for commit in api.list_repo_commits("ann/svit", **D)] == [
    "Upload folder using huggingface_hub", "initial commit"]

operations = [Copy("data/a.parquet", "data/c.parquet"), Copy("README.md", "copy.md"), Delete("data/b.parquet"),
              Add("notes.txt", b"notes"), Add("again.parquet", b"b" * 1000)]
second = api.create_commit("ann/svit", operations, commit_message="second", parent_commit=first.oid, **D)
assert names() == [".gitattributes", "README.md", "again.parquet", "copy.md", "data/a.parquet", "data/c.parquet",
                   "notes.txt"]
name, status, text = refusal(api.create_commit, "ann/svit", [Add("late.txt", b"x")], commit_message="late",
                             parent_commit=first.oid, **D)
assert status == 412 and "commit has happened since" in text, text
assert refusal(api.create_commit, "ann/svit", [Delete("none.txt")], commit_message="x", **D)[:2] == (
    "RemoteEntryNotFoundError", 404)
assert refusal(api.create_commit, "ann/svit", [Add("x", b"x")], commit_message="x", token="hf_bob", **D)[1] == 403
try:
    api.create_commit("ann/svit", [Add("README.md", b"---\\nconfigs:\\n- data_files: x\\n---\\n")],
                      commit_message="x", **D)
except ValueError as error:
    assert "config_name" in str(error), error

api.create_branch("ann/svit", branch="draft", **D)
assert refusal(api.create_branch, "ann/svit", branch="draft", **D)[1] == 409
api.create_commit("ann/svit", [Delete("data/", is_folder=True)], commit_message="no data", revision="draft", **D)
assert "data/a.parquet" in names() and "data/a.parquet" not in names("draft")
api.create_tag("ann/svit", tag="v1", revision=first.oid, **D)
assert "data/b.parquet" in names("v1")

pull = api.create_commit("ann/svit", [Add("from-bob.txt", b"bob")], commit_message="Bob's", create_pr=True,
                         token="hf_bob", **D)
assert pull.pr_num == 1 and "from-bob.txt" in names("refs/pr/1") and "from-bob.txt" not in names()
assert [(d.num, d.author, d.title) for d in api.get_repo_discussions("ann/svit", **D)] == [(1, "bob", "Bob's")]
refs = api.list_repo_refs("ann/svit", include_pull_requests=True, **D)
assert {ref.name for ref in refs.branches} == {"main", "draft"} and refs.tags[0].name == "v1"
assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1"]
api.create_commit("ann/svit", [Add("meanwhile.txt", b"x")], commit_message="meanwhile", **D)
api.merge_pull_request("ann/svit", 1, **D)
assert {"from-bob.txt", "meanwhile.txt"} <= set(names())
assert not list(api.get_repo_discussions("ann/svit", discussion_status="open", **D))

api.super_squash_history("ann/svit", **D)
assert len(api.list_repo_commits("ann/svit", **D)) == 1 and "again.parquet" in names()
api.delete_branch("ann/svit", branch="draft", **D)
api.delete_tag("ann/svit", tag="v1", **D)
api.update_repo_settings("ann/svit", gated="manual", **D)
assert api.dataset_info("ann/svit").gated == "manual"
assert refusal(api.hf_hub_download, "ann/svit", "notes.txt", token="hf_bob", **D)[:2] == ("GatedRepoError", 403)
assert refusal(api.dataset_info, "team/svit", token="hf_bob")[:2] == ("RepositoryNotFoundError", 404)
assert api.dataset_info("team/svit").private
api.delete_repo("team/svit", **D)
assert not api.repo_exists("team/svit", **D)
downloaded = api.hf_hub_download("ann/svit", "data/a.parquet", **D)
assert Path(downloaded).read_bytes() == b"a" * 1000
"""

PUSH = """
from datasets import Dataset, get_dataset_config_names, load_dataset
rows = Dataset.from_dict({"id": list(range(2000)), "text": ["x" * 50] * 2000})
rows.push_to_hub("ann/pushed", "first", num_shards=3)
rows.select(range(10)).push_to_hub("ann/pushed", "second", split="test")
assert get_dataset_config_names("ann/pushed") == ["first", "second"]
mapped = load_dataset("ann/pushed", "first", split="train")
assert mapped.num_rows == 2000 and mapped[1999]["id"] == 1999
assert [row["id"] for row in load_dataset("ann/pushed", "second", split="test", streaming=True)] == list(range(10))
"""


@pytest.fixture
def team_hub():
    with FileServer() as cdn, Hub(page=3, cdn=cdn) as hub:
        hub.add_user("ann", "hf_ann", "team")
        hub.add_user("ann", "hf_read", "team", role="read")
        hub.add_user("bob", "hf_bob")
        yield hub


def test_huggingface_hub_writes_and_is_refused(team_hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    python(CLIENT, team_hub.environment(tmp_path / "home", token="hf_ann"))
    sent = [line for line in team_hub.log.requests if line.method == "PUT" and line.path.startswith("/_lfs/")]
    assert [line.received for line in sent] == [1000, 1000], "an object is sent once"
    assert {line.authorization for line in sent} == {None}, "a signed URL is shown no token"
    assert any("cursor=3" in line.path for line in team_hub.log.requests)
    assert team_hub.log.received_bytes == sum(line.received for line in team_hub.log.requests)


def test_datasets_pushes_and_loads(team_hub, tmp_path):
    python(PUSH, team_hub.environment(tmp_path, token="hf_ann"))


class TestFaults:
    BODY = json.dumps({"name": "svit", "type": "dataset"})

    def create(self, hub):
        host = hub.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=5)
        try:
            headers = {"Content-Type": "application/json", "Authorization": "Bearer hf_ann"}
            connection.request("POST", "/api/repos/create", self.BODY, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    @pytest.mark.parametrize("handled", [True, False])
    @pytest.mark.parametrize("kind", ["status", "reset"])
    def test_before_or_after_what_was_asked_is_done(self, team_hub, kind, handled):
        team_hub.faults.add(Fault(kind, keep=None, handled=handled))
        if kind == "status":
            assert self.create(team_hub) == 503
        else:
            with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
                self.create(team_hub)
        assert ("ann/svit" in team_hub.repositories) == handled

    def test_the_line_is_cut_while_the_body_is_sent(self, team_hub):
        team_hub.faults.add(Fault("cut", keep=10))
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            self.create(team_hub)
        assert team_hub.log.received_bytes == 10
        assert "ann/svit" not in team_hub.repositories
        assert self.create(team_hub) == 200
        assert team_hub.log.received_bytes == 10 + len(self.BODY)


def test_objects_are_what_their_name_says(team_hub):
    team_hub.add_dataset("ann/svit", {"a.txt": b""}, token="hf_ann")
    name = hashlib.sha256(b"right").hexdigest()
    url = f"{team_hub.url}/_lfs/ann/svit/{name}"
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=5)
    for body, status in ((b"wrong", 400), (b"right", 200)):
        connection.request("PUT", f"/{path}", body)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()
    assert team_hub.repositories["ann/svit"].objects == {name: b"right"}
    assert ask(f"{team_hub.url}/api/datasets/ann/svit").status == 200
