"""Thrift's binary protocol: structs as dictionaries by field number, within bounds.

Protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from obsd.model.errors import TooLargeError, UndecodableError

STOP: Final = 0
BOOL: Final = 2
BYTE: Final = 3
DOUBLE: Final = 4
I16: Final = 6
I32: Final = 8
I64: Final = 10
STRING: Final = 11
STRUCT: Final = 12
MAP: Final = 13
SET: Final = 14
LIST: Final = 15

MAX_DEPTH: Final = 16
MAX_VALUES: Final = 100_000
"""Of one struct that is read at once; an empty struct is one byte, and a dictionary here."""

Struct = dict[int, Any]

_FIXED: Final = {
    BOOL: struct.Struct(">?"),
    BYTE: struct.Struct(">b"),
    DOUBLE: struct.Struct(">d"),
    I16: struct.Struct(">h"),
    I32: struct.Struct(">i"),
    I64: struct.Struct(">q"),
}


class ThriftReader:
    """Reads from bytes, front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._values = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def iter_fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of the struct that begins here.

        Whoever iterates reads or skips each field before the next.

        Raises:
            UndecodableError: the bytes are none.
        """
        while (kind := self._byte()) != STOP:
            yield self._fixed(I16), kind

    def iter_structs(self) -> Iterator[Struct]:
        """The structs of a list, one at a time, each with bounds of its own.

        Raises:
            UndecodableError: it is no list of structs.
            TooLargeError: one has too many values.
        """
        kind, count = self._list_header()
        if count and kind != STRUCT:
            raise self._wrong(f"expected structs, found type {kind}")
        for _ in range(count):
            self._values = 0
            yield self._struct(1)

    def read(self, kind: int, depth: int = 0) -> Any:  # noqa: ANN401 - whatever there is
        """A value: a number, bytes, a struct, a list; of a map its pairs.

        Raises:
            UndecodableError: the bytes are none.
            TooLargeError: it has too many values.
        """
        self._values += 1
        if self._values > MAX_VALUES:
            raise TooLargeError("values of a struct", MAX_VALUES)
        if depth > MAX_DEPTH:
            raise self._wrong(f"nested more than {MAX_DEPTH} deep")
        if kind in _FIXED:
            return self._fixed(kind)
        if kind == STRING:
            return self._take(self._size())
        if kind == STRUCT:
            return self._struct(depth + 1)
        if kind in (LIST, SET):
            inner, count = self._list_header()
            return [self.read(inner, depth + 1) for _ in range(count)]
        if kind == MAP:
            key, value, count = self._byte(), self._byte(), self._size()
            return [(self.read(key, depth + 1), self.read(value, depth + 1)) for _ in range(count)]
        raise self._wrong(f"unknown type {kind}")

    def _struct(self, depth: int) -> Struct:
        return {number: self.read(kind, depth) for number, kind in self.iter_fields()}

    def _list_header(self) -> tuple[int, int]:
        return self._byte(), self._size()

    def _size(self) -> int:
        """Of something whose every element takes a byte at least."""
        size: int = self._fixed(I32)
        if not 0 <= size <= len(self._data) - self._at:
            raise self._wrong(f"a size of {size}, which is more than there is")
        return size

    def _byte(self) -> int:
        return self._take(1)[0]

    def _fixed(self, kind: int) -> Any:  # noqa: ANN401 - a number or a boolean
        form = _FIXED[kind]
        (value,) = form.unpack(self._take(form.size))
        return value

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise self._wrong("the bytes end early")
        self._at += size
        return piece

    def _wrong(self, reason: str) -> UndecodableError:
        return UndecodableError(f"invalid thrift at byte {self._at}: {reason}")
