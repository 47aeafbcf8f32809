"""A built folder in, the same dataset on the Hub out, by one commit: no reader ever sees a part of two builds.

Here is what is asked before anything is sent: the options, the right to do it, the doctor, the token. `job` does it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from svit_builder.publish.folder import read_folder
from svit_builder.publish.hub import Repository
from svit_builder.publish.job import MAIN, Job, PublishReport
from svit_builder.publish.retry import patient
from svit_datasets.errors import BuildError, OptionError, PublishError, SourceNotFound

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["PublishReport", "publish"]


def publish(
    root: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    gated: Literal["auto", "manual"] | None = None,
    create_pr: bool = False,
    revision: str | None = None,
    message: str = "Publish SVIT",
    rights: bool = False,
    skip_doctor: bool = False,
    remove_configs: bool = False,
    dry_run: bool = False,
    token: str | bool | None = None,
    tell: Callable[[str], object] | None = None,
) -> PublishReport:
    """Make a dataset on the Hub hold what a built folder does; a second call sends only what is missing.

    Sent are the files that ``manifest.json`` names, it, ``README.md`` and ``croissant.json``; these two are made again
    first, so that they tell how to load ``repo_id``. The folder is read once, for its digests; what the Hub has is not
    sent, and nothing is encoded again.

    Args:
        root: the folder that `svit_builder.build.build` wrote.
        repo_id: ``ORG/NAME``; created where it does not exist.
        private: make it private. A dataset that is private stays so either way.
        gated: make readers ask for access: "auto" grants it, "manual" waits for you. None changes nothing.
        create_pr: propose it as a pull request, for a dataset that is not yours.
        revision: the branch, created where it does not exist; None for the main one.
        message: of the commit.
        rights: that you may redistribute what is in the files; without it nothing is sent.
        skip_doctor: publish what `svit_builder.doctor.examine` finds wrong.
        remove_configs: also remove configurations that the Hub has and the folder has not.
        dry_run: only say what would be done; no request that changes anything is made.
        token: of the Hub, with write access; None for the saved one.
        tell: is given a line for each step.

    Raises:
        OptionError: an argument has a value that is not allowed.
        SourceNotFound: the folder has no finished build.
        BuildError: a file is not the one that was built.
        AccessDenied: there is no token, or it may not write there.
        PublishError: the doctor, the Hub, or somebody else's commit stands in the way; the message says which.
    """
    _check(repo_id, gated, revision, create_pr=create_pr)
    say = tell or _say_nothing
    if not (rights or dry_run):
        raise PublishError(_RIGHTS)
    folder_path = Path(root).expanduser()
    if not skip_doctor:
        _examine(folder_path)
    repository = Repository(repo_id, token)
    with patient():
        user = "" if dry_run else repository.user()  # before gigabytes are read
        if not dry_run:
            _address_card(folder_path, repo_id)
        say(f"Reading {folder_path} …")
        folder = read_folder(folder_path)
        job = Job(folder, repository, user, revision or MAIN, message, remove_configs, create_pr, say)
        return job.rehearse() if dry_run else job.run(private=private, gated=gated)


_RIGHTS = (
    "These files hold the photos themselves and, unless you made your own, SVIT's text. BAAI/SVIT is gated; its text "
    "is CC BY 4.0, so whoever passes it on must name its authors, as the card does; photos keep the terms of those who "
    "put them on Flickr. If you may redistribute what you built, or all of it is your own (drawn by `svit sample`, or "
    "generated for photos of yours), say so with --i-have-the-right-to-redistribute (rights=True). Nothing was sent."
)
_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def _check(repo_id: str, gated: str | None, revision: str | None, *, create_pr: bool) -> None:
    if not _ID.fullmatch(repo_id):
        raise OptionError(f"repo_id={repo_id!r} is not allowed: give ORG/NAME.")
    if gated not in {None, "auto", "manual"}:
        raise OptionError(f"gated={gated!r} is not allowed. Allowed: None, 'auto', 'manual'.")
    if create_pr and revision not in {None, MAIN}:
        raise OptionError(f"revision={revision!r} is not allowed with create_pr: a pull request is to the main branch.")


def _examine(root: Path) -> None:
    """Raise what the doctor finds wrong."""
    from svit_builder.doctor import examine  # noqa: PLC0415 - reads Parquet, which nothing else here does

    wrong = [result for result in examine(root) if result.status == "error"]
    if wrong:
        names = ", ".join(dict.fromkeys(result.rule for result in wrong))
        first = f"{wrong[0].where}: {wrong[0].figure}. {wrong[0].advice}"
        raise PublishError(
            f"{root}: the doctor finds it wrong ({names}). {first} `svit doctor {root}` tells all; --skip-doctor "
            "(skip_doctor=True) publishes it anyway. Nothing was sent."
        )


def _address_card(root: Path, repo_id: str) -> None:
    """Make the card tell how to load the dataset from where it will be; one that was not made here stays as it is."""
    from svit_builder.card import CARD, is_ours, write_card  # noqa: PLC0415 - reads Parquet, as above

    if is_ours(root / CARD):
        with suppress(BuildError, SourceNotFound):  # what is wrong with the folder, `read_folder` tells
            write_card(root, repo_id=repo_id)


def _say_nothing(line: str) -> None:
    del line
