"""Where prepared things lie, and the one way anything gets there: a temporary neighbour, a check, a rename.

A folder of the cache is complete or absent. A process that is killed leaves a temporary neighbour at most: the next
one that builds the same folder removes it; that of a small file, at most a few MB, stays, as nobody can tell it from
one being written. A second process that wants the same folder waits for the first.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from svit_datasets.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["build_once", "cache_root", "write_atomically"]


def cache_root(cache_dir: str | os.PathLike[str] | None) -> Path:
    """Return the folder for text tables, zip directories and reports.

    ``cache_dir/svit-sources`` where the user gave one, else ``svit-sources`` in the Hugging Face home (``HF_HOME``).
    """
    if cache_dir is None:
        from huggingface_hub.constants import HF_HOME  # noqa: PLC0415 - read when needed, so that tests may set it

        cache_dir = HF_HOME
    return Path(cache_dir).expanduser() / "svit-sources"


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return ``folder``, after calling ``build(temporary_folder)`` if it is not there yet.

    Raises:
        CacheError: no space is left, or the place cannot be written. What ``build`` raises is passed on; nothing stays.
    """
    with _explaining(folder):
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if folder.is_dir():
                return folder
            for left_over in folder.parent.glob(f"{folder.name}.building-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.building-", dir=folder.parent))
            try:
                build(temporary)
                temporary.chmod(0o755)  # mkdtemp makes it private; a cache may be shared
                temporary.rename(folder)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
    return folder


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that a reader sees the old content or the new, never a part.

    Raises:
        CacheError: as in `build_once`.
    """
    with _explaining(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o644)  # as for build_once
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG):
            what = {
                errno.ENOSPC: "no space left on the device",
                errno.EFBIG: "files may not become that large here (ulimit -f)",
            }
            raise CacheError(
                f"{path}: {what[error.errno]}. Nothing partial was kept: free some space, or name "
                "another place with cache_dir=… or HF_HOME, and run it again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST):
            raise CacheError(
                f"{path}: the cache cannot be written ({error.strerror}). "
                "Name another place with cache_dir=… or HF_HOME."
            ) from error
        raise
