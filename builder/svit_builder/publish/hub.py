"""One dataset on the Hub, through huggingface_hub: what is there, and the few things that publishing changes.

The only module here that talks to the Hub; every method repeats what failed (`retry`), and doing one twice does no
harm: the answer to a request that was carried out may be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DatasetCard, HfApi
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile

from svit_builder.publish.plan import Remote, RemoteFile
from svit_builder.publish.retry import persist
from svit_datasets.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from svit_builder.publish.folder import LocalFile

__all__ = ["Made", "Repository", "Settings", "addition", "deletion"]

_KIND: Literal["dataset"] = "dataset"
# Stands for the .gitignore that may lie on the Hub: one with *.parquet in it would leave the data out of the commit.
_NOTHING_IGNORED = "# published by name\n"


@dataclass(frozen=True, slots=True)
class Settings:
    """Who may see a dataset."""

    private: bool
    gated: Literal["auto", "manual", False]


@dataclass(frozen=True, slots=True)
class Made:
    """A commit."""

    oid: str
    pull_request: int | None  # its number
    url: str  # of the commit, or of the pull request


class Repository:
    """A dataset by its id; nothing is asked before a method is called."""

    def __init__(self, repo_id: str, token: str | bool | None) -> None:
        """`token` as huggingface_hub takes it."""
        self.id = repo_id
        self._api = HfApi(token=token, library_name="svit-datasets")

    @property
    def url(self) -> str:
        """The dataset's page."""
        return f"{self._api.endpoint}/datasets/{self.id}"

    def user(self) -> str:
        """Return the name that the token belongs to."""
        return str(persist("Logging in", self._api.whoami)["name"])

    def settings(self) -> Settings | None:
        """Return who may see it; None where it does not exist, or not for this account."""

        def ask() -> Settings | None:
            try:
                info = self._api.dataset_info(self.id)
            except RepositoryNotFoundError:
                return None
            return Settings(bool(info.private), info.gated or False)

        return persist(f"Asking for {self.id}", ask)

    def create(self, *, private: bool) -> None:
        """Create it, if nobody has meanwhile."""
        persist(
            f"Creating {self.id}",
            lambda: self._api.create_repo(self.id, repo_type=_KIND, private=private, exist_ok=True),
        )

    def restrict(self, *, private: bool, gated: Literal["auto", "manual"] | None) -> None:
        """Make it private or gated; what is not asked for stays as it is."""
        persist(
            f"Setting who may see {self.id}",
            lambda: self._api.update_repo_settings(self.id, repo_type=_KIND, private=private or None, gated=gated),
        )

    def branch(self, name: str) -> None:
        """Create a branch that starts where the main one is, if nobody has meanwhile."""
        persist(
            f"Creating branch {name!r} of {self.id}",
            lambda: self._api.create_branch(self.id, branch=name, repo_type=_KIND, exist_ok=True),
        )

    def read(self, revision: str) -> Remote | None:
        """Return the files at the newest commit of a branch; None where there is no such branch."""

        def ask() -> Remote | None:
            try:
                oid = str(self._api.dataset_info(self.id, revision=revision).sha)
            except RevisionNotFoundError:
                return None
            tree = self._api.list_repo_tree(self.id, recursive=True, revision=oid, repo_type=_KIND)
            return Remote(oid, {entry.path: _remote(entry) for entry in tree if isinstance(entry, RepoFile)})

        return persist(f"Listing {self.id}", ask)

    def check_card(self, where: Path) -> None:
        """Ask whether the Hub takes the card's metadata; before gigabytes are sent, not after."""

        def ask() -> None:
            try:
                DatasetCard.load(where).validate(_KIND)
            except ValueError as error:
                raise PublishError(f"{where}: the Hub does not take its metadata: {error}") from error

        persist("Checking the card", ask)

    def send(self, operations: list[CommitOperationAdd], revision: str, *, create_pr: bool) -> None:
        """Send the content of large files, those that the Hub's storage has not got; no commit shows them yet."""
        persist(
            f"Sending files to {self.id}",
            lambda: self._api.preupload_lfs_files(
                self.id,
                operations,
                repo_type=_KIND,
                revision=revision,
                create_pr=create_pr,
                free_memory=False,
                gitignore_content=_NOTHING_IGNORED,
            ),
        )

    def commit(
        self,
        operations: Iterable[CommitOperationAdd | CommitOperationDelete],
        message: str,
        revision: str,
        parent: str,
        *,
        create_pr: bool,
    ) -> Made:
        """Make one commit on top of `parent`; the one method that raises what huggingface_hub does, for `persist`."""
        made = self._api.create_commit(
            self.id,
            operations,
            commit_message=message,
            repo_type=_KIND,
            revision=revision,
            parent_commit=parent,
            create_pr=create_pr,
        )
        return Made(made.oid, made.pr_num, str(made.pr_url if create_pr else made.commit_url))

    def pull_requests(self, author: str) -> list[int]:
        """Return the numbers of somebody's open pull requests, the newest first."""

        def ask() -> list[int]:
            found = self._api.get_repo_discussions(
                self.id, author=author, discussion_type="pull_request", discussion_status="open", repo_type=_KIND
            )
            return sorted((each.num for each in found if each.is_pull_request), reverse=True)

        return persist(f"Listing the pull requests of {self.id}", ask)


def addition(file: LocalFile) -> CommitOperationAdd:
    """Return a file as huggingface_hub wants it; its digest is known, so it is not read for that again."""
    operation = CommitOperationAdd(file.path, file.where)
    operation.upload_info.sha256 = bytes.fromhex(file.sha256)
    return operation


def deletion(path: str) -> CommitOperationDelete:
    """Return the removal of a file."""
    return CommitOperationDelete(path, is_folder=False)


def _remote(entry: RepoFile) -> RemoteFile:
    return RemoteFile(entry.size, entry.blob_id, None if entry.lfs is None else entry.lfs.sha256)
