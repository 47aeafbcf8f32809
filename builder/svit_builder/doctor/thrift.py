"""Bytes of Thrift's compact protocol in, plain values out: the page index of Parquet, which pyarrow does not show.

Written from https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. A struct becomes a
dictionary by field number; which number means what, `pages` knows.
"""

from __future__ import annotations

from typing import Any

__all__ = ["read_struct"]

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12


def read_struct(data: bytes, at: int = 0) -> tuple[dict[int, Any], int]:
    """Return the struct that begins at a byte, and where it ends.

    Raises:
        ValueError: the bytes are none, or break off.
    """
    try:
        return _struct(data, at)
    except (IndexError, RecursionError) as error:
        raise ValueError(f"no Thrift struct at byte {at:,}") from error


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    found: dict[int, Any] = {}
    field = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            field += head >> 4
        else:
            field, at = _signed(data, at)
        found[field], at = _value(data, at, head & 15)
    return found, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _STRUCT:
        return _struct(data, at)
    if kind in (_LIST, _SET):
        return _list(data, at)
    if kind == _BINARY:
        size, at = _unsigned(data, at)
        if at + size > len(data):
            raise ValueError(f"a text of {size:,} bytes at byte {at:,} goes beyond the end")
        return data[at : at + size], at + size
    if kind == _BYTE:
        return data[at], at + 1
    if kind == _DOUBLE:
        return data[at : at + 8], at + 8
    if kind == _MAP:
        raise ValueError(f"a map at byte {at:,}: Parquet has none")
    return _signed(data, at)


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    head, at = data[at], at + 1
    size, kind = head >> 4, head & 15
    if size == 15:
        size, at = _unsigned(data, at)
    values = []
    for _ in range(size):
        if kind in (_TRUE, _FALSE):  # in a list, a byte each
            value, at = data[at] == _TRUE, at + 1
        else:
            value, at = _value(data, at, kind)
        values.append(value)
    return values, at


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _signed(data: bytes, at: int) -> tuple[int, int]:
    value, at = _unsigned(data, at)
    return value >> 1 ^ -(value & 1), at
