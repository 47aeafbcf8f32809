"""The Hub's endpoints that change something: repositories, settings, LFS objects, commits, branches, tags, PRs.

They answer as the real one does to huggingface_hub 2.4 and datasets 5.2 without Xet. Objects go up by LFS's "basic"
transfer. Whoever may write is who owns the namespace; a pull request may be opened by anyone who may read.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import yaml

from .calls import DATE, REPO, REVISION, Call, HubError, Route, json_answer
from .messages import Response
from .repositories import LFS_SIZE, LFS_SUFFIXES, Blob, Commit, PullRequest, Repository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .hub import Hub

ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


def _writable(hub: Hub, call: Call) -> Repository:
    """The repository, when the asker may write into it."""
    repository = hub.repository(call)
    hub.check_namespace(repository.id.partition("/")[0], call.request)
    return repository


def _create(hub: Hub, call: Call) -> Response:
    fields = call.fields()
    user = hub.user(call.request)
    namespace = fields.get("organization") or user.name
    repo_id = f"{namespace}/{fields['name']}"
    url = f"{hub.url}/datasets/{repo_id}"
    hub.check_namespace(namespace, call.request)
    if repo_id in hub.repositories:
        raise HubError(409, "", "You already created this dataset repo", fields={"url": url})
    private = fields.get("visibility") == "private" or bool(fields.get("private"))
    repository = hub.repositories[repo_id] = Repository(repo_id, private=private)
    repository.commit("main", {".gitattributes": Blob.of(".gitattributes", ATTRIBUTES)}, "initial commit")
    return json_answer({"url": url, "name": repo_id, "id": repo_id})


def _delete(hub: Hub, call: Call) -> Response:
    fields = call.fields()
    repo_id = f"{fields.get('organization') or hub.user(call.request).name}/{fields['name']}"
    hub.check_namespace(repo_id.partition("/")[0], call.request)
    if hub.repositories.pop(repo_id, None) is None:
        raise HubError(404, "RepoNotFound", "Repository not found")
    return Response(200)


def _settings(hub: Hub, call: Call) -> Response:
    repository, fields = _writable(hub, call), call.fields()
    if "gated" in fields:
        repository.gated = fields["gated"]
    if "visibility" in fields:
        repository.private = fields["visibility"] == "private"
    return json_answer({"gated": repository.gated, "private": repository.private})


def _validate_yaml(hub: Hub, call: Call) -> Response:
    del hub
    found = re.match(r"---\r?\n(.*?)\r?\n---(\r?\n|$)", str(call.fields().get("content", "")), re.DOTALL)
    errors, warnings = [], []
    if found is None:
        warnings.append({"message": "empty or missing yaml metadata in repo card"})
    else:
        try:
            metadata = yaml.safe_load(found[1])
            errors = [{"message": text} for text in _metadata_errors(metadata)]
        except yaml.YAMLError as error:
            errors.append({"message": f"YAML: {error}"})
    return json_answer({"errors": errors, "warnings": warnings}, status=400 if errors else 200)


def _metadata_errors(metadata: object) -> list[str]:
    """What is wrong with a card, by the rules that a dataset of ours can break."""
    if not isinstance(metadata, dict):
        return ["metadata must be an object"]
    errors = []
    configs = metadata.get("configs", [])
    if any("config_name" not in config for config in configs):
        errors.append('"configs[].config_name" is required')
    if sum(bool(config.get("default")) for config in configs) > 1:
        errors.append('"configs" has more than one default')
    if not isinstance(metadata.get("license", ""), str | list):
        errors.append('"license" must be a string')
    return errors


def _preupload(hub: Hub, call: Call) -> Response:
    repository, commit = hub.commit(call)
    if "create_pr" not in call.query:
        hub.check_namespace(repository.id.partition("/")[0], call.request)
    hub.user(call.request)
    fields = call.fields()
    ignored = fields.get("gitIgnore")
    if ignored is None:
        hosted = commit.files.get(".gitignore")
        ignored = hosted.content.whole().decode() if hosted else ""
    suffixes = [line.removeprefix("*") for line in ignored.splitlines() if line.startswith("*.")]
    answers = []
    for file in fields["files"]:
        blob = commit.files.get(file["path"])
        large = file["path"].endswith(LFS_SUFFIXES) or file["size"] >= LFS_SIZE
        found = {"oid": blob.sha256 or blob.oid} if blob else {}
        mode = "lfs" if large else "regular"
        skipped = file["path"].endswith(tuple(suffixes)) if suffixes else False
        answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": skipped, **found})
    return json_answer({"files": answers})


def _lfs_batch(hub: Hub, call: Call) -> Response:
    repository = hub.repository(call)
    hub.user(call.request)
    objects = []
    for wanted in call.fields()["objects"]:
        known = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in repository.objects:
            where = f"{hub.url}/_lfs/{repository.id}/{wanted['oid']}"
            known["actions"] = {"upload": {"href": where}, "verify": {"href": f"{where}/verify"}}
        objects.append(known)
    media = {"Content-Type": "application/vnd.git-lfs+json"}
    return json_answer({"transfer": "basic", "objects": objects}, headers=media)


def _lfs_put(hub: Hub, call: Call) -> Response:
    """An object store behind a signed URL: it asks for no token, and takes only what the digest says."""
    body, oid = call.request.body, call.names["oid"]
    if hashlib.sha256(body).hexdigest() != oid:
        raise HubError(400, "", "BadDigest: the bytes are not those of the object's name")
    hub.repositories[call.names["repo"]].objects[oid] = body
    return Response(200, {"ETag": f'"{oid}"'})


def _lfs_verify(hub: Hub, call: Call) -> Response:
    found = hub.repository(call).objects.get(call.names["oid"])
    if found is None or len(found) != call.fields()["size"]:
        raise HubError(404, "", "Object does not exist")
    return json_answer({})


def _commit(hub: Hub, call: Call) -> Response:
    repository, head = hub.commit(call)
    author, as_request = hub.user(call.request).name, "create_pr" in call.query
    if not as_request:
        hub.check_namespace(repository.id.partition("/")[0], call.request)
    lines = call.lines()
    header = next(value for key, value in lines if key == "header")
    if header.get("parentCommit", head.oid) != head.oid:
        raise HubError(412, "", "A commit has happened since. Please refresh and try again.")
    files = dict(head.files)
    for key, value in lines:
        _apply(repository, files, key, value)
    named: dict[str, Any] = {"success": True}
    if as_request:
        pull = PullRequest(len(repository.pull_requests) + 1, header["summary"], author, call.names["revision"])
        repository.pull_requests[pull.number] = pull
        made = repository.commit(pull.ref, files, header["summary"], parent=head.oid)
        named["pullRequestUrl"] = f"{hub.url}/datasets/{repository.id}/discussions/{pull.number}"
    else:
        made = repository.commit(call.names["revision"], files, header["summary"])
    hub.send_to_cdn(made)
    url = f"{hub.url}/datasets/{repository.id}/commit/{made.oid}"
    return json_answer({**named, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


def _apply(repository: Repository, files: dict[str, Blob], key: str, value: Mapping[str, Any]) -> None:
    """One line of a commit."""
    path = value.get("path", "")
    match key:
        case "file":
            files[path] = Blob.of(path, base64.b64decode(value["content"]), lfs=False)
        case "lfsFile":
            data = repository.objects.get(value["oid"])
            if data is None:
                raise HubError(400, "", f"LFS pointer pointed to a file that does not exist: {path}")
            files[path] = Blob.of(path, data, lfs=True)
        case "deletedFile":
            if files.pop(path, None) is None:
                raise HubError(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
        case "deletedFolder":
            inside = [name for name in files if name.startswith(f"{path.strip('/')}/")]
            if not inside:
                raise HubError(404, "EntryNotFound", f"A folder with this name doesn't exist: {path}")
            for name in inside:
                del files[name]
        case "header":
            pass
        case _:
            raise HubError(400, "", f"unknown operation {key}")


def _make_branch(hub: Hub, call: Call) -> Response:
    repository = _writable(hub, call)
    start = repository.at(call.fields().get("startingPoint") or "main")
    if call.names["revision"] in repository.refs:
        raise HubError(409, "", "Reference already exists")
    if start is None:
        raise HubError(404, "RevisionNotFound", "Invalid rev id")
    repository.refs[call.names["revision"]] = start.oid
    return json_answer({})


def _drop_branch(hub: Hub, call: Call) -> Response:
    repository = _writable(hub, call)
    if call.names["revision"] == "main" or repository.refs.pop(call.names["revision"], None) is None:
        raise HubError(404, "RevisionNotFound", "Invalid rev id")
    return Response(200)


def _make_tag(hub: Hub, call: Call) -> Response:
    repository, commit = _writable(hub, call), hub.commit(call)[1]
    name = call.fields()["tag"]
    if name in repository.tags:
        raise HubError(409, "", "Tag already exists")
    repository.tags[name] = commit.oid
    return json_answer({})


def _drop_tag(hub: Hub, call: Call) -> Response:
    if _writable(hub, call).tags.pop(call.names["revision"], None) is None:
        raise HubError(404, "RevisionNotFound", "Invalid rev id")
    return Response(200)


def _squash(hub: Hub, call: Call) -> Response:
    repository = _writable(hub, call)
    _, head = hub.commit(call)
    repository.commit(call.names["revision"], head.files, call.fields()["message"], parent=None)
    return Response(200)


def _discussions(hub: Hub, call: Call) -> Response:
    repository = hub.repository(call)
    found = [
        _told(repository, pull)
        for pull in repository.pull_requests.values()
        if call.query.get("author", pull.author) == pull.author
        and call.query.get("status", "open") in {"all", "open" if pull.is_open else "closed"}
    ]
    start = int(call.query.get("p", 0)) * hub.page
    return json_answer({"discussions": found[start : start + hub.page], "count": len(found), "start": start})


def _told(repository: Repository, pull: PullRequest) -> dict[str, Any]:
    return {
        "num": pull.number,
        "title": pull.title,
        "author": {"name": pull.author},
        "createdAt": DATE,
        "status": "open" if pull.is_open else "merged",
        "repo": {"name": repository.id, "type": "dataset"},
        "isPullRequest": True,
    }


def _merge(hub: Hub, call: Call) -> Response:
    repository = _writable(hub, call)
    pull = repository.pull_requests[int(call.names["number"])]
    made, base = repository.at(pull.ref), repository.at(pull.target)
    assert made is not None
    assert base is not None
    repository.commit(pull.target, _merged(repository, made, base), f"{pull.title} (#{pull.number})")
    pull.is_open = False
    return json_answer({})


def _merged(repository: Repository, made: Commit, base: Commit) -> dict[str, Blob]:
    """What the pull request changes, on top of the branch as it is now."""
    before = repository.commits[str(made.parent)].files
    files = {path: blob for path, blob in base.files.items() if path in made.files or path not in before}
    return files | {path: blob for path, blob in made.files.items() if before.get(path) != blob}


WRITING = (
    Route("POST", re.compile(r"/api/repos/create"), _create),
    Route("DELETE", re.compile(r"/api/repos/delete"), _delete),
    Route("PUT", re.compile(rf"/api/datasets/{REPO}/settings"), _settings),
    Route("POST", re.compile(r"/api/validate-yaml"), _validate_yaml),
    Route("POST", re.compile(rf"/api/datasets/{REPO}/preupload/{REVISION}"), _preupload),
    Route("POST", re.compile(rf"/datasets/{REPO}\.git/info/lfs/objects/batch"), _lfs_batch),
    Route("PUT", re.compile(rf"/_lfs/{REPO}/(?P<oid>[0-9a-f]+)"), _lfs_put),
    Route("POST", re.compile(rf"/_lfs/{REPO}/(?P<oid>[0-9a-f]+)/verify"), _lfs_verify),
    Route("POST", re.compile(rf"/api/datasets/{REPO}/commit/{REVISION}"), _commit),
    Route("POST", re.compile(rf"/api/datasets/{REPO}/branch/{REVISION}"), _make_branch),
    Route("DELETE", re.compile(rf"/api/datasets/{REPO}/branch/{REVISION}"), _drop_branch),
    Route("POST", re.compile(rf"/api/datasets/{REPO}/tag/{REVISION}"), _make_tag),
    Route("DELETE", re.compile(rf"/api/datasets/{REPO}/tag/{REVISION}"), _drop_tag),
    Route("POST", re.compile(rf"/api/datasets/{REPO}/super-squash/{REVISION}"), _squash),
    Route("GET", re.compile(rf"/api/datasets/{REPO}/discussions"), _discussions),
    Route("POST", re.compile(rf"/api/datasets/{REPO}/discussions/(?P<number>\d+)/merge"), _merge),
)
