"""Conversations of photos in, a JSON file of SVIT's own form out, streaming: `svit_datasets.records` reads it back.

The file is an array with one item a line, plain (``.json``) or as the one member of a zip (``.zip``), and appears whole
or not at all. The same items give the same bytes.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from svit_datasets.errors import BadRecord, BuildError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

__all__ = ["JsonArrayWriter", "SvitWriter"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can tell; the clock would make other bytes of the same items


class JsonArrayWriter:
    """Writes items one after another; a with-block that is left by an exception leaves nothing behind.

    Holds one item. A file that is there already is replaced when the block ends.

    Raises:
        OptionError: the name ends in neither .json nor .zip.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.suffix not in {".json", ".zip"}:
            raise OptionError(f"{self.path}: a file of records ends in .json or .zip.")
        self.written = 0  # items so far
        self._temporary: Path | None = None
        self._archive: zipfile.ZipFile | None = None
        self._stream: IO[bytes]

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        self._temporary = Path(name)
        file = os.fdopen(handle, "wb")
        if self.path.suffix == ".zip":
            member = zipfile.ZipInfo(f"{self.path.stem}.json", _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            self._file = file
            self._archive = zipfile.ZipFile(file, "w")
            self._stream = self._archive.open(member, "w", force_zip64=True)
        else:
            self._stream = file
        self._stream.write(b"[")
        return self

    def append(self, item: Mapping[str, Any]) -> None:
        """Write one item.

        Raises:
            BadRecord: its text holds half a surrogate pair, which no encoding has bytes for.
        """
        try:
            data = json.dumps(item, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise BadRecord(f"{self.path}, item {self.written}: its text holds half a surrogate pair.") from error
        self._stream.write(b",\n" if self.written else b"\n")
        self._stream.write(data)
        self.written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._temporary is not None
        try:
            if error is None:
                self._stream.write(b"\n]\n" if self.written else b"]\n")
            self._stream.close()
            if self._archive is not None:
                self._archive.close()
                self._file.close()
            if error is None:
                self._temporary.chmod(0o644)  # mkstemp makes files that nobody else may read
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)


class SvitWriter(JsonArrayWriter):
    """Writes a file of ``data/``: an item an image, in the order they come."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._seen: set[int] = set()

    def write(self, image_id: int, conversations: Sequence[Mapping[str, Any]]) -> None:
        """Write what is said about one image.

        Args:
            image_id: of Visual Genome.
            conversations: blocks as in SVIT: ``{"topic": str or None, "content": [{"from": "user" or "gpt", "value":
                str}, …]}``. A topic that is None is left out, as in files that have none.

        Raises:
            BuildError: the image was written before; one item an image is what a caller means.
            BadRecord: as in `append`.
        """
        if image_id in self._seen:
            raise BuildError(f"{self.path}: image {image_id} comes twice. Put its conversations into one item.")
        self._seen.add(image_id)
        blocks = [
            {key: block[key] for key in ("topic", "content") if key == "content" or block.get(key) is not None}
            for block in conversations
        ]
        self.append({"image_id": image_id, "conversations": blocks})
