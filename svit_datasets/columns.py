"""Arrow arrays from Python and numpy values, and numpy values from Arrow arrays, without importing pandas.

pyarrow's own ways there (``pa.array``, ``pa.table``, ``pa.scalar``, ``to_numpy``, ``fill_null``) import pandas wherever
it is installed, as it always is beside `datasets`: 50 MB and 0.3 s for every reader and each of its workers (measured
with pyarrow 26 and pandas 3). Arrays that are made of buffers do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["as_numpy", "booleans", "flags", "integers", "strings", "table"]


def integers(values: Any, kind: pa.DataType, valid: Any = None) -> pa.Array:
    """Return integers as an array of that type; null where ``valid``, booleans, is given and false."""
    plain = np.ascontiguousarray(values, dtype=kind.to_pandas_dtype())
    bits = None if valid is None or np.all(valid) else flags(valid).buffers()[1]
    return pa.Array.from_buffers(kind, len(plain), [bits, pa.py_buffer(plain)])


def flags(values: Any) -> pa.BooleanArray:
    """Return booleans as an array; none of them null."""
    plain = np.asarray(values, dtype=bool)
    bits = np.packbits(plain, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(plain), [None, pa.py_buffer(bits)])


def strings(values: Sequence[str | None]) -> pa.StringArray:
    """Return texts as an array; None is null."""
    encoded = [b"" if value is None else value.encode() for value in values]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum([*map(len, encoded)], out=offsets[1:])
    valid = None
    if any(value is None for value in values):
        valid = pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little"))
    data = pa.py_buffer(b"".join(encoded))
    return pa.Array.from_buffers(pa.string(), len(encoded), [valid, pa.py_buffer(offsets), data])


def as_numpy(column: pa.Array | pa.ChunkedArray, null: int = -1) -> np.ndarray[Any, Any]:
    """Return the integers of a column, a copy; ``null`` where they are null."""
    if isinstance(column, pa.ChunkedArray):
        chunks = [as_numpy(chunk, null) for chunk in column.chunks]
        return np.concatenate(chunks) if chunks else np.zeros(0, dtype=column.type.to_pandas_dtype())
    valid, data = column.buffers()
    kind = np.dtype(column.type.to_pandas_dtype())
    part = slice(column.offset, column.offset + len(column))
    plain = np.zeros(0, dtype=kind) if data is None else np.frombuffer(data, dtype=kind)[part].copy()
    if valid is not None and column.null_count:
        bits = np.unpackbits(np.frombuffer(valid, dtype=np.uint8), bitorder="little")[part]
        plain[bits == 0] = null
    return plain


def booleans(column: pa.BooleanArray | pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the truth values of a column; null is False."""
    if isinstance(column, pa.ChunkedArray):
        return np.concatenate([np.zeros(0, dtype=bool), *map(booleans, column.chunks)])
    valid, data = column.buffers()
    found = np.ones(len(column), dtype=bool)
    for bits in (data, valid):
        if bits is not None:
            whole = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
            found &= whole[column.offset : column.offset + len(column)].astype(bool)
    return found


def table(**columns: pa.Array) -> pa.Table:
    """Return named arrays as a table."""
    return pa.Table.from_arrays(list(columns.values()), list(columns))
