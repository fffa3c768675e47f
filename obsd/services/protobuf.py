"""Protocol buffers on the wire, for the few small messages that are not worth native code.

Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from obsd.model.errors import UndecodableError

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

_MAX_UINT64: Final = (1 << 64) - 1

# By far the most are short: fields' keys and the lengths of names and words.
_SHORT: Final = tuple(bytes([value]) for value in range(0x80))
_SHORT_BYTES_KEYS: Final = tuple(bytes([number << 3 | BYTES]) for number in range(0x10))


def varint(value: int) -> bytes:
    """An unsigned number, or a signed one in two's complement of 64 bits."""
    if 0 <= value < 0x80:
        return _SHORT[value]
    if 0x80 <= value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    value &= _MAX_UINT64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def uint_field(number: int, value: int) -> bytes:
    """A field of a varint type; the default, 0, is left out."""
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def double_field(number: int, value: float) -> bytes:
    return varint(number << 3 | FIXED64) + struct.pack("<d", value)


def bytes_field(number: int, value: bytes) -> bytes:
    """A string, bytes or message; written even when empty, since a repeated one counts then."""
    size = len(value)
    key = _SHORT_BYTES_KEYS[number] if number < 0x10 else varint(number << 3 | BYTES)
    return b"".join((key, _SHORT[size] if size < 0x80 else varint(size), value))


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to 64 bits, and where it ends.

    Raises:
        UndecodableError: it ends early or is too long.
    """
    value = shift = 0
    while True:
        if at >= len(data):
            raise UndecodableError(f"protobuf ends inside a number at byte {at}")
        if shift > 63:
            raise UndecodableError(f"protobuf number of more than 64 bits at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MAX_UINT64, at
        shift += 7


def iter_fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Field number, wire type, and number (varint, fixed) or bytes, in order of appearance.

    Raises:
        UndecodableError: the bytes are not a message.
    """
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise UndecodableError(f"protobuf field number 0 at byte {at}")
        if wire_type == VARINT:
            value, at = read_varint(data, at)
            yield number, wire_type, value
            continue
        if wire_type == BYTES:
            size, at = read_varint(data, at)
        elif wire_type in (FIXED64, FIXED32):
            size = 8 if wire_type == FIXED64 else 4
        else:
            raise UndecodableError(f"unknown protobuf wire type {wire_type} at byte {at}")
        end = at + size
        if end > len(data):
            raise UndecodableError(f"protobuf ends inside field {number} at byte {at}")
        piece = data[at:end]
        yield number, wire_type, piece if wire_type == BYTES else int.from_bytes(piece, "little")
        at = end


def signed(value: int) -> int:
    """An int64 field's value from its varint."""
    return value - (1 << 64) if value >= 1 << 63 else value
