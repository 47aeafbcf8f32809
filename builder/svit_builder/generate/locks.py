"""The right to write a journal: one process at a time has it; when that ends, however it ends, another may."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from svit_datasets.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["lock"]


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the right to write a journal.

    Raises:
        OptionError: another process holds it.
    """
    held = FileLock(f"{path}.lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise OptionError(f"{path}: another process writes this journal. Wait for it, or give another --out.") from None
    try:
        yield
    finally:
        held.release()
