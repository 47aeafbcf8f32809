"""A folder and a dataset on the Hub in, the one commit between them out; and what to do when others commit meanwhile.

Large files go first, into the Hub's storage, where no reader sees them (`HfApi.preupload_lfs_files`, by Xet or by LFS);
then one `HfApi.create_commit` on a pinned parent names them all, with the card and the manifest, and takes away what an
earlier build had. `HfApi.upload_folder` was not taken because with Xet it makes several commits, each a mixture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from svit_builder.publish.folder import CARD, Folder, config_of
from svit_builder.publish.hub import Made, Repository, addition, deletion
from svit_builder.publish.plan import Plan, Remote, conflicts, make_plan
from svit_builder.publish.retry import persist
from svit_datasets.errors import PublishError
from svit_datasets.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from huggingface_hub import CommitOperationAdd

__all__ = ["MAIN", "Job", "PublishReport"]

MAIN = "main"
_GATES = (False, "auto", "manual")  # each keeps out more than the one before


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What was published, or would be."""

    repo_id: str
    revision: str  # a branch, or "refs/pr/N"
    url: str  # of the commit or the pull request; of the dataset where nothing was committed
    commit: str | None  # its id; None for a dry run
    dry_run: bool
    created: bool  # whether the dataset is new on the Hub
    configs: tuple[str, ...]
    sent: dict[str, int]  # path -> bytes of the files that the commit adds or changes; storage may have had some
    there: dict[str, int]  # path -> bytes of those that the Hub's commit had already
    removed: tuple[str, ...]  # files of an earlier build
    left_out: tuple[str, ...]  # files in the folder that are not published

    @property
    def unchanged(self) -> bool:
        """Whether the Hub had everything."""
        return not self.sent and not self.removed


@dataclass(frozen=True, slots=True)
class Job:
    """One folder on its way to one branch."""

    folder: Folder
    repository: Repository
    user: str  # whose token it is; "" for a dry run
    revision: str
    message: str
    remove_configs: bool
    create_pr: bool
    say: Callable[[str], object]

    def rehearse(self) -> PublishReport:
        """Say what would be done; asks, and changes nothing."""
        exists = self.repository.settings() is not None
        remote = self.repository.read(self.revision) if exists else None
        if exists and remote is None:  # the branch would start where the main one is
            remote = self.repository.read(MAIN)
        plan = make_plan(self.folder, remote or Remote("", {}))
        self._check_removals(plan)
        return self._report(plan, None, created=not exists, dry_run=True)

    def run(self, *, private: bool, gated: Literal["auto", "manual"] | None) -> PublishReport:
        """Publish."""
        created = self._prepare(private=private, gated=gated)
        before = self.repository.read(self.revision)
        if before is None:
            self.repository.branch(self.revision)
            before = self.repository.read(self.revision)
        if before is None:
            raise PublishError(
                f"{self.repository.id}: branch {self.revision!r} was created and is not there. Try again."
            )
        plan = make_plan(self.folder, before)
        self._check_removals(plan)
        made = None
        if plan and self.create_pr:
            made = self.proposed()
            plan = plan if made is None else Plan((), tuple(self.folder.files.values()), ())
        if plan:
            made = self._change(plan, before)
        return self._report(plan, made or Made(before.oid, None, self.repository.url), created=created)

    def _prepare(self, *, private: bool, gated: Literal["auto", "manual"] | None) -> bool:
        """Make the dataset, and have it as closed as was asked for, before any data is there; whether it is new."""
        found = self.repository.settings()
        if found is None:
            self.say(f"Creating {self.repository.id} …")
            self.repository.create(private=private)
            found = self.repository.settings()
            created = True
        else:
            created = False
        if found is None:
            raise PublishError(f"{self.repository.id} was created, and this account cannot see it. Try again.")
        closer = gated if gated and _GATES.index(gated) > _GATES.index(found.gated) else None
        if closer or (private and not found.private):
            self.repository.restrict(private=private, gated=closer)
        return created

    def _check_removals(self, plan: Plan) -> None:
        lost = {config_of(path) for path in plan.remove} - {None, *self.folder.configs}
        if lost and not self.remove_configs:
            names = ", ".join(name for name in TASKS if name in lost)
            raise PublishError(
                f"{self.repository.id} has {names} on the Hub, which {self.folder.root} has not; its card and manifest "
                "would no longer name it. Build it too, or remove it with --remove-configs (remove_configs=True). "
                "Nothing was sent."
            )

    def _change(self, plan: Plan, before: Remote) -> Made:
        """Send what is missing and commit it; then look whether it is there."""
        self.repository.check_card(self.folder.root / CARD)
        operations = {file.path: addition(file) for file in plan.send}
        self.say(f"Sending {len(plan.send)} files, {sum(file.bytes for file in plan.send):,} bytes at most …")
        self.repository.send(list(operations.values()), self.revision, create_pr=self.create_pr)
        for file in plan.send:
            file.check()
        self.say("Committing …")
        attempts = _Commit(self, operations, before)
        made = persist(f"Committing to {self.repository.id}", attempts)
        held = self.repository.read(self.revision if made.pull_request is None else f"refs/pr/{made.pull_request}")
        missing = make_plan(self.folder, held) if held is not None else plan
        if missing and (held is None or held.oid == made.oid):
            names = ", ".join([file.path for file in missing.send] + list(missing.remove))
            raise PublishError(
                f"{self.repository.id}: the commit {made.oid} was made, and lacks {names}. Publish again."
            )
        return made

    def proposed(self) -> Made | None:
        """Return an open pull request of ours that holds the folder already: of a run whose end nobody saw."""
        for number in self.repository.pull_requests(self.user):
            held = self.repository.read(f"refs/pr/{number}")
            if held is not None and not make_plan(self.folder, held):
                return Made(held.oid, number, f"{self.repository.url}/discussions/{number}")
        return None

    def _report(self, plan: Plan, made: Made | None, *, created: bool, dry_run: bool = False) -> PublishReport:
        number = None if made is None else made.pull_request
        return PublishReport(
            self.repository.id,
            self.revision if number is None else f"refs/pr/{number}",
            self.repository.url if made is None else made.url,
            None if made is None else made.oid,
            dry_run,
            created,
            tuple(self.folder.configs),
            {file.path: file.bytes for file in plan.send},
            {file.path: file.bytes for file in plan.there},
            plan.remove,
            self.folder.left_out,
        )


@dataclass(slots=True)
class _Commit:
    """The commit, as often as it takes: each call looks what the last one, or somebody else, has done."""

    job: Job
    operations: dict[str, CommitOperationAdd]  # by path; their content has been sent
    parent: Remote  # what we know the branch to hold
    tried: bool = False

    def __call__(self) -> Made:
        """Commit on top of the branch as it is now."""
        if self.tried:
            done = self._already()
            if done is not None:
                return done
        self.tried = True
        job = self.job
        plan = make_plan(job.folder, self.parent)
        operations: list[Any] = [self.operations[file.path] for file in plan.send]
        operations += [deletion(path) for path in plan.remove]
        return job.repository.commit(operations, job.message, job.revision, self.parent.oid, create_pr=job.create_pr)

    def _already(self) -> Made | None:
        """Look at the branch again: the answer to a commit that was made may be lost, and others commit too."""
        job = self.job
        if job.create_pr and (proposed := job.proposed()) is not None:
            return proposed
        now = job.repository.read(job.revision)
        if now is None:
            raise PublishError(
                f"{job.repository.id}: branch {job.revision!r} was deleted meanwhile. Nothing was committed."
            )
        if now.oid == self.parent.oid:
            return None
        if not make_plan(job.folder, now):
            return Made(now.oid, None, f"{job.repository.url}/commit/{now.oid}")
        changed = conflicts(job.folder, self.parent, now)
        if changed:
            raise PublishError(
                f"{job.repository.id}: somebody else committed {', '.join(changed)} meanwhile ({now.oid}). Nothing was "
                "committed over it. Look at that commit; publishing again replaces it."
            )
        self.parent = now
        return None
