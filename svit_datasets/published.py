"""Published Parquet as a source of rows: row groups fetched by range, parsed from memory, given one by one.

The rows are those of the raw files that the Parquet was built from. Which files there are, `repository` says; how a
row group becomes a table, `parquet`; decoding and order belong to `rows`.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from svit_datasets.errors import CorruptFile, SvitError
from svit_datasets.rows import Shot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from svit_datasets.order import Ids
    from svit_datasets.parquet import ParquetFile
    from svit_datasets.report import Tally
    from svit_datasets.rows import Row
    from svit_datasets.storage import ByteRange, Storage
    from svit_datasets.tasks import Task

    Mask = np.ndarray[Any, np.dtype[np.bool_]]

__all__ = ["Published", "RowGroups"]

_SPAN = 4 << 20  # bytes; the longest range that neighbouring row groups are put together to


@dataclass(frozen=True)
class RowGroups:
    """Where g row groups lie, in the order of the files."""

    file: Ids  # (g,) position in the files
    number: Ids  # (g,) in its file
    rows: Ids  # (g,)
    start: Ids  # (g,) byte
    stop: Ids  # (g,) byte, exclusive


@dataclass(frozen=True)
class Published:
    """A split of published Parquet: n rows of its files, in their order; see `rows.Source`."""

    task: Task
    rows: str  # "image" or "conversation"
    files: tuple[ParquetFile, ...]
    groups: RowGroups
    group: Ids  # (n,) position in groups
    at: Ids  # (n,) row in its group
    image_ids: Ids  # (n,) -1 where a LLaVA-form record has none
    conversations: Ids  # (n,) how many each row has; LLaVA form: 1
    has_photo: Mask  # (n,)
    left_out: dict[tuple[int, int], dict[str, list[int]]]  # (group, row) -> task -> numbers that known_bad left out

    def take(self, rows: Ids) -> Published:
        """Return the source of some of the rows, in the order of the files."""
        names = ("group", "at", "image_ids", "conversations", "has_photo")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def file_of(self, row: int) -> ParquetFile:
        """Return the file of a row."""
        return self.files[int(self.groups.file[self.group[row]])]

    def counts(self) -> Ids:
        """Return (n,) how many rows each image has."""
        if self.rows == "image" or self.task.form == "llava":
            return np.ones(len(self.at), dtype=np.int64)
        return self.conversations

    def layout(self) -> tuple[Ids, Ids]:
        """Return where each image's row group begins; and its size, all of it with the group's last image.

        So all images of a group begin at one byte, and no cut is made inside a group.
        """
        place = np.stack([self.groups.file[self.group], self.groups.start[self.group]], axis=1)
        last = np.ones(len(self.group), dtype=bool)
        last[:-1] = self.group[1:] != self.group[:-1]
        return place, np.where(last, (self.groups.stop - self.groups.start)[self.group], 0)

    def identity(self) -> Iterator[bytes]:
        """Yield what rows there are, and in which row groups."""
        yield repr((self.task.name, self.rows)).encode()
        for column in (self.image_ids, self.at, *self.layout(), self.counts()):
            yield np.ascontiguousarray(column).tobytes()

    def shots(
        self, parts: Iterable[Ids], *, policy: str, storage: Storage, tally: Tally, in_flight_bytes: int, verify: bool
    ) -> Iterator[Shot]:
        """Yield the rows of some parts; of a part, the row groups it touches are read, each once."""
        del policy, tally  # what is missing was decided before the first row
        ahead: deque[tuple[Ids, list[list[int]]]] = deque()

        def ranges() -> Iterator[ByteRange]:
            for part in parts:
                spans = self._spans(np.unique(self.group[part]).tolist())
                ahead.append((part, spans))
                for span in spans:
                    yield self._range(span)

        fetched = storage.read_ranges(ranges(), in_flight_bytes=in_flight_bytes)
        numbers = count()
        try:
            for data in fetched:
                came = [data]
                del data  # a span is given up as soon as its row groups are out of it
                part, spans = ahead.popleft()
                groups: dict[int, _Group] = {}
                for span in spans:
                    self._parse(span, came.pop() if came else next(fetched), groups, verify=verify)
                yield from self._part_shots(next(numbers), part, groups)
                del groups
        finally:
            fetched.close()

    def _spans(self, groups: list[int]) -> list[list[int]]:
        """Put row groups together that lie side by side."""
        of = self.groups
        spans: list[list[int]] = []
        for group in groups:
            last = spans[-1] if spans else None
            if (
                last is not None
                and of.file[group] == of.file[last[0]]
                and of.start[group] == of.stop[last[-1]]
                and of.stop[group] - of.start[last[0]] <= _SPAN
            ):
                last.append(group)
            else:
                spans.append([group])
        return spans

    def _range(self, span: list[int]) -> ByteRange:
        first, last = span[0], span[-1]
        file = self.files[int(self.groups.file[first])]
        return file.byte_range(int(self.groups.start[first]), int(self.groups.stop[last]))

    def _parse(self, span: list[int], data: bytes | SvitError, groups: dict[int, _Group], *, verify: bool) -> None:
        if isinstance(data, SvitError):
            raise data
        file, start = self.files[int(self.groups.file[span[0]])], int(self.groups.start[span[0]])
        for group in span:
            groups[group] = _Group(file.read(int(self.groups.number[group]), start, data, verify=verify))

    def _part_shots(self, number: int, part: Ids, groups: dict[int, _Group]) -> Iterator[Shot]:
        origin = _Photos(self, part)
        columns = (self.group, self.at, self.image_ids, self.has_photo, self.counts())
        of_part = zip(*(column[part].tolist() for column in columns), strict=True)
        for item, (group, at, image_id, has_photo, size) in enumerate(of_part):
            photo = groups[group].photos[at].as_py()
            rows = self._rows(groups[group], group, at)
            found = (rows[0].get("image_id", image_id) if rows else image_id, photo is not None, len(rows))
            if found != (image_id, has_photo, size):
                raise CorruptFile(
                    f"{origin.label(item)}: image id, photo's bytes and rows are {found} where the footer or the "
                    f"other columns say {(image_id, has_photo, size)}. Build the file again."
                )
            for at_row, row in enumerate(rows):
                yield Shot(number, item, at_row, row, photo, origin, item)

    def _rows(self, columns: _Group, group: int, at: int) -> list[Row]:
        """Return the rows of one image, columns as in `features`."""
        texts = {name: values[at] for name, values in columns.texts.items()}
        photo = {"image": None, "width": columns.widths[at], "height": columns.heights[at]}
        if self.task.form == "llava":
            return [{"id": texts.pop("id"), **photo, **texts}]
        image_id, blocks = texts["image_id"], texts["conversations"]
        if self.rows == "image":
            return [{"image_id": image_id, **photo, "conversations": blocks}]
        ids = self.ids(group, at, image_id, blocks)
        return [{"id": name, "image_id": image_id, **photo, **block} for name, block in zip(ids, blocks, strict=True)]

    def ids(self, group: int, at: int, image_id: int, blocks: list[dict[str, Any]]) -> Iterator[str]:
        """Name each conversation IMAGE/TASK/NUMBER, as `text` does: what was left out has its number too."""
        left_out: dict[str, list[int]] = self.left_out.get((group, at), {})
        following: Counter[str] = Counter()
        for block in blocks:
            task = block.get("task", self.task.name)
            while following[task] in left_out.get(task, ()):
                following[task] += 1
            yield f"{image_id}/{task}/{following[task]}"
            following[task] += 1


class _Group:
    """The rows of a row group: text as Python values, photos still in Arrow."""

    def __init__(self, table: pa.Table) -> None:
        image = table["image"]
        image = image.chunk(0) if image.num_chunks == 1 else image.combine_chunks()
        self.photos = image.field("bytes")
        self.widths, self.heights = table["width"].to_pylist(), table["height"].to_pylist()
        names = [name for name in table.column_names if name not in {"image", "width", "height"}]
        self.texts = {name: table[name].to_pylist() for name in names}


@dataclass(frozen=True, slots=True)
class _Photos:
    """What errors call the photos of a part; see `rows.Origin`."""

    source: Published
    part: Ids

    def label(self, index: int) -> str:
        row, groups = self.part[index], self.source.groups
        group = self.source.group[row]
        before = groups.rows[(groups.file == groups.file[group]) & (groups.number < groups.number[group])].sum()
        return f"{self.source.file_of(row).info.url}, row {before + self.source.at[row]}"

    def advised(self, error: SvitError, index: int) -> SvitError:
        image_id = self.source.image_ids[self.part[index]]
        who = f"image {image_id}" if image_id >= 0 else "a record without an image id"
        return type(error)(
            f'{who}: {error} Build the file again, or leave such photos out with on_missing_image="skip" '
            '(keep their text with "null").'
        )
