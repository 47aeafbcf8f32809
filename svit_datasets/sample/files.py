"""Content in, files out that are the same to the byte on every day and every system."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["dump", "member", "write", "write_zip"]


def write(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def dump(content: object) -> bytes:
    """Return JSON as UTF-8; letters beyond ASCII stand for themselves, so bytes and characters count differently."""
    return json.dumps(content, ensure_ascii=False).encode()


def member(name: str, method: int) -> zipfile.ZipInfo:
    """Return a zip entry that is the same on every day and every system."""
    info = zipfile.ZipInfo(name)  # 1980-01-01
    info.compress_type, info.create_system, info.external_attr = method, 3, 0o644 << 16
    return info


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    """Write a zip with deflated members in the order given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(member(name, zipfile.ZIP_DEFLATED), content)
    write(path, buffer.getvalue())
