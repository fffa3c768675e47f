"""Snappy blocks, for the few small ones that are not worth native code.

Format: https://github.com/google/snappy/blob/main/format_description.txt
"""

from __future__ import annotations

from obsd.model.errors import TooLargeError, UndecodableError
from obsd.services.protobuf import read_varint, varint

_LITERAL_OF_4_BYTE_LENGTH = 63 << 2


def frame_literal(data: bytes) -> bytes:
    """A valid block that holds the bytes as they are."""
    if not data:
        return b"\0"
    length = (len(data) - 1).to_bytes(4, "little")
    return b"".join((varint(len(data)), bytes((_LITERAL_OF_4_BYTE_LENGTH,)), length, data))


def decompress(block: bytes, max_bytes: int) -> bytes:
    """The bytes that a block holds.

    Raises:
        TooLargeError: the block declares more than `max_bytes`; nothing is allocated.
        UndecodableError: it is not a whole block.
    """
    size, at = read_varint(block, 0)
    if size > max_bytes:
        raise TooLargeError("decompressed body", max_bytes)
    out = bytearray()
    while at < len(block):
        tag = block[at]
        at += 1
        kind, high = tag & 3, tag >> 2
        if kind == 0:
            extra = max(0, high - 59)
            length = (high if extra == 0 else int.from_bytes(block[at : at + extra], "little")) + 1
            at += extra
            if at + length > len(block):
                raise UndecodableError(f"snappy literal ends early at byte {at}")
            out += block[at : at + length]
            at += length
        else:
            at = _copy(block, at, kind, high, out)
        if len(out) > size:
            raise UndecodableError(f"snappy block holds more than the {size} bytes it declares")
    if len(out) != size:
        raise UndecodableError(f"snappy block holds {len(out)} bytes but declares {size}")
    return bytes(out)


def _copy(block: bytes, at: int, kind: int, high: int, out: bytearray) -> int:
    width = 4 if kind == 3 else kind
    if at + width > len(block):
        raise UndecodableError(f"snappy copy ends early at byte {at}")
    offset = int.from_bytes(block[at : at + width], "little")
    if kind == 1:
        length, offset = (high & 7) + 4, offset | (high >> 3) << 8
    else:
        length = high + 1
    if not 0 < offset <= len(out):
        raise UndecodableError(f"snappy copy from outside the block at byte {at}")
    start = len(out) - offset
    if offset >= length:
        out += out[start : start + length]
    else:  # The copy reads what it writes: a run that repeats.
        run = bytes(out[start:])
        out += (run * (length // offset + 1))[:length]
    return at + width
