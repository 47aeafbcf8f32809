"""A Hugging Face Hub on loopback, as small as dataset repositories need; here is who may do what, and how it is read.

Answers as the real one does to huggingface_hub 2.4 and datasets 5.2: status codes, error headers and messages, links
between pages, ETags, a redirect to another origin for LFS files when `cdn` is given. What changes something is in
`writing`. Not here: models, Spaces, Xet, the dataset viewer.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode

from .calls import DATE, REPO, REVISION, Call, HubError, Route, json_answer
from .content import answer
from .loop import LoopServer
from .messages import Request, Response
from .repositories import Blob, Commit, Repository
from .writing import WRITING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .http import FileServer


@dataclass(frozen=True, slots=True)
class User:
    """Who a token belongs to."""

    name: str
    organizations: tuple[str, ...] = ()  # whose repositories the user may change
    role: str = "write"  # of the token: "read" may change nothing


class Hub(LoopServer):
    """The server; repositories are added before or while it runs.

    ::

        with Hub() as hub:
            hub.add_dataset("BAAI/SVIT", {"README.md": b"..."}, gated=True, token="hf_a")
    """

    def __init__(self, *, latency: float = 0.0, port: int = 0, cdn: FileServer | None = None, page: int = 1000) -> None:
        """`cdn` gets the LFS files, and requests for them are sent there; `page` is entries per page of a tree."""
        super().__init__(latency=latency, port=port)
        self.cdn = cdn
        self.page = page
        self.routes = [*READING, *WRITING]
        self.users: dict[str, User] = {}  # by token; any other token is refused
        self.repositories: dict[str, Repository] = {}

    def add_user(self, name: str, token: str, *organizations: str, role: str = "write") -> None:
        """Let `token` log in, as a member of `organizations`."""
        self.users[token] = User(name, organizations, role)

    def add_dataset(
        self,
        repo_id: str,
        files: Mapping[str, bytes | Path],
        *,
        gated: bool = False,
        private: bool = False,
        token: str | None = None,
        revision: str = "main",
    ) -> str:
        """Make `files` the whole of `revision` in a new commit; its id.

        `token` logs in, and may read the repository where it is gated or private.
        """
        blobs = {path: Blob.of(path, source) for path, source in files.items()}
        repository = self.repositories.setdefault(repo_id, Repository(repo_id))
        repository.gated, repository.private = gated, private
        if token is not None:
            self.users.setdefault(token, User("user"))
            repository.readers.add(token)
        commit = repository.commit(revision, blobs, f"commit {len(repository.commits) + 1}")
        self.send_to_cdn(commit)
        return commit.oid

    def send_to_cdn(self, commit: Commit) -> None:
        """Put the LFS files of a commit where requests for them are sent."""
        for blob in commit.files.values():
            if self.cdn is not None and blob.sha256 is not None:
                self.cdn.put(blob.sha256, blob.content.whole())

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """The environment of a process for which this is the Hub: huggingface_hub reads it when it is imported."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        named = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        return {**kept, **named, **({"HF_TOKEN": token} if token else {})}

    def handle(self, request: Request) -> Response:
        """Find the route and answer; a refusal is an answer too."""
        try:
            self.token(request)
            return self._route(request)
        except HubError as refusal:
            return refusal.response

    def _route(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        for route in self.routes:
            if route.method == method and (found := route.pattern.fullmatch(request.path)):
                names = {name: unquote(text or "") for name, text in found.groupdict().items()}
                query = {name: texts[-1] for name, texts in parse_qs(request.target.partition("?")[2]).items()}
                return route.answer(self, Call(request, names, query))
        raise HubError(404, "", f"Sorry, {request.method} {request.path} is not on this Hub.")

    def token(self, request: Request) -> str | None:
        """The token of a known user; None for an anonymous request."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.users:
            raise HubError(401, "", "Invalid credentials in Authorization header")
        return token or None

    def repository(self, call: Call) -> Repository:
        """The repository, when the asker may know of it."""
        repository, token = self.repositories.get(call.names["repo"]), self.token(call.request)
        if repository is not None and (not repository.private or self._reads(repository, token)):
            return repository
        if token is None:  # the real Hub does not say whether it is missing or private
            raise HubError(401, "RepoNotFound", "Invalid username or password.")
        raise HubError(404, "RepoNotFound", "Repository not found")

    def _reads(self, repository: Repository, token: str | None) -> bool:
        """Whether files that are not for everyone are for this token: of a reader, or of an owner."""
        user = self.users.get(token or "")
        owners = () if user is None else (user.name, *user.organizations)
        return token in repository.readers or repository.id.partition("/")[0] in owners

    def user(self, request: Request) -> User:
        """Who asks; nobody is refused."""
        token = self.token(request)
        if token is None:
            raise HubError(401, "", "Invalid username or password.")
        return self.users[token]

    def check_namespace(self, namespace: str, request: Request) -> None:
        """Refuse changes of what belongs to others."""
        user = self.user(request)
        if user.role != "write":
            raise HubError(403, "", "You need a token with write access")
        if namespace not in {user.name, *user.organizations}:
            text = f'You don\'t have the rights to create a dataset under the namespace "{namespace}"'
            raise HubError(403, "", text)

    def commit(self, call: Call) -> tuple[Repository, Commit]:
        """The repository and its commit at the wanted revision."""
        repository = self.repository(call)
        revision = call.names.get("revision") or "main"
        commit = repository.at(revision)
        if commit is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository, commit

    def check_terms(self, repository: Repository, request: Request) -> None:
        """Refuse files of a gated repository to all but its readers."""
        token = self.token(request)
        if not repository.gated or self._reads(repository, token):
            return
        restricted = f"Access to dataset {repository.id} is restricted"
        if token is None:
            advice = ". You must have access to it and be authenticated to access it. Please log in."
            raise HubError(401, "GatedRepo", restricted + advice)
        page = f"https://huggingface.co/datasets/{repository.id}"
        advice = f" and you are not in the authorized list. Visit {page} to ask for access."
        raise HubError(403, "GatedRepo", restricted + advice)


def _whoami(hub: Hub, call: Call) -> Response:
    user = hub.user(call.request)
    auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}}
    organizations = [{"type": "org", "name": name} for name in user.organizations]
    return json_answer({"type": "user", "id": user.name, "name": user.name, "orgs": organizations, "auth": auth})


def _auth_check(hub: Hub, call: Call) -> Response:
    hub.check_terms(hub.repository(call), call.request)
    return json_answer({})


def _info(hub: Hub, call: Call) -> Response:
    repository, commit = hub.commit(call)
    siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(commit.files)]
    if "blobs" in call.query:
        for sibling in siblings:
            blob = commit.files[sibling["rfilename"]]
            sibling.update(size=blob.content.size, blobId=blob.oid, **blob.lfs())
    named = {
        "_id": "0" * 24,
        "id": repository.id,
        "author": repository.id.partition("/")[0],
        "sha": commit.oid,
        "createdAt": DATE,
        "lastModified": DATE,
        "private": repository.private,
        "gated": "auto" if repository.gated is True else repository.gated,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": siblings,
    }
    return json_answer(named)


def _tree(hub: Hub, call: Call) -> Response:
    _, commit = hub.commit(call)
    folder = call.names["path"].strip("/")
    entries = list(commit.entries(folder, recursive=call.query.get("recursive", "").lower() in {"true", "1"}))
    if folder and not entries:
        raise HubError(404, "EntryNotFound", f"{folder} does not exist on this revision")
    expand = call.query.get("expand", "").lower() in {"true", "1"}
    start = int(call.query.get("cursor", 0))
    end = start + (min(50, hub.page) if expand else hub.page)
    headers = {"X-Repo-Commit": commit.oid}
    if end < len(entries):
        query = urlencode({**call.query, "cursor": end})
        headers["Link"] = f'<{hub.url}{call.request.path}?{query}>; rel="next"'
    return json_answer([_dated(entry, commit, expand=expand) for entry in entries[start:end]], headers=headers)


def _paths_info(hub: Hub, call: Call) -> Response:
    _, commit = hub.commit(call)
    fields = call.fields()
    expand = str(fields.get("expand", "")).lower().strip("[']") in {"true", "1"}
    entries = [commit.entry(path) for path in fields.get("paths", [])]
    return json_answer([_dated(entry, commit, expand=expand) for entry in entries if entry])


def _refs(hub: Hub, call: Call) -> Response:
    refs = hub.repository(call).refs.items()
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
        for name, oid in refs
        if not name.startswith("refs/")
    ]
    converts = [
        {"name": name.removeprefix("refs/convert/"), "ref": name, "targetCommit": oid}
        for name, oid in refs
        if name.startswith("refs/convert/")
    ]
    tags = [
        {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
        for name, oid in hub.repository(call).tags.items()
    ]
    pulls = [{"name": name, "ref": name, "targetCommit": oid} for name, oid in refs if name.startswith("refs/pr/")]
    told = {"pullRequests": pulls} if "include_prs" in call.query else {}
    return json_answer({"branches": branches, "converts": converts, "tags": tags, **told})


def _commits(hub: Hub, call: Call) -> Response:
    repository, commit = hub.commit(call)
    found = []
    while commit is not None:
        told = {"id": commit.oid, "title": commit.title, "message": "", "authors": [{"user": "user"}], "date": DATE}
        found.append(told)
        commit = repository.commits.get(commit.parent or "")
    return json_answer(found)


def _resolve(hub: Hub, call: Call) -> Response:
    repository, commit = hub.commit(call)
    hub.check_terms(repository, call.request)
    blob, headers = commit.files.get(call.names["path"]), {"X-Repo-Commit": commit.oid}
    if blob is None:
        raise HubError(404, "EntryNotFound", "Entry not found", headers)
    if blob.sha256 is not None:
        headers |= {"X-Linked-ETag": blob.content.etag, "X-Linked-Size": str(blob.content.size)}
        if hub.cdn is not None:
            return Response(302, {**headers, "Location": f"{hub.cdn.url}/{blob.sha256}"})
    return answer(call.request, blob.content, headers)


def _dated(entry: Mapping[str, Any], commit: Commit, *, expand: bool) -> Mapping[str, Any]:
    last_commit = {"id": commit.oid, "title": commit.title, "date": DATE}
    return {**entry, "lastCommit": last_commit} if expand else entry


READING = (
    Route("GET", re.compile(r"/api/whoami-v2"), _whoami),
    Route("GET", re.compile(rf"/api/datasets/{REPO}"), _info),
    Route("GET", re.compile(rf"/api/datasets/{REPO}/auth-check"), _auth_check),
    Route("GET", re.compile(rf"/api/datasets/{REPO}/refs"), _refs),
    Route("GET", re.compile(rf"/api/datasets/{REPO}/revision/{REVISION}"), _info),
    Route("GET", re.compile(rf"/api/datasets/{REPO}/commits/{REVISION}"), _commits),
    Route("GET", re.compile(rf"/api/datasets/{REPO}/tree/{REVISION}(?P<path>/.*)?"), _tree),
    Route("POST", re.compile(rf"/api/datasets/{REPO}/paths-info/{REVISION}"), _paths_info),
    Route("GET", re.compile(rf"/datasets/{REPO}/resolve/{REVISION}/(?P<path>.+)"), _resolve),
)
