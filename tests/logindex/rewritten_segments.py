"""Segments whose contents are anything, with checksums that fit.

Format: docs/format/log-segment.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import zstandard

from obsd import _native

_ATTRIBUTE = 11
_HEADER = 16
_FOOTER = 20


@dataclass
class Block:
    """A column. `size_bytes` is what the head says of it, where that is not the truth."""

    kind: int
    name: bytes
    data: bytes
    size_bytes: int | None = None


@dataclass
class Granule:
    """Its head's numbers as they are stored: rows, least and greatest time, first and last row."""

    numbers: list[int]
    filter: bytes
    blocks: list[Block] = field(default_factory=list)


def uvarint(number: int) -> bytes:
    """A number in LEB128."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def _read_uvarint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, at


def parse(segment: bytes) -> list[Granule]:
    """What a segment holds, uncompressed."""
    (count,) = struct.unpack_from("<Q", segment, len(segment) - _FOOTER)
    lengths = struct.unpack_from(f"<{count}Q", segment, len(segment) - _FOOTER - 8 * count)
    granules, at = [], _HEADER
    for length in lengths:
        granules.append(_parse_granule(segment[at : at + length]))
        at += length
    return granules


def _parse_granule(data: bytes) -> Granule:
    (head_bytes,) = struct.unpack_from("<I", data)
    head, at, numbers = data[8 : 8 + head_bytes], 0, []
    for _ in range(7):
        number, at = _read_uvarint(head, at)
        numbers.append(number)
    *numbers, filter_bytes, count = numbers
    block_at = 8 + head_bytes + filter_bytes
    granule = Granule(numbers, data[8 + head_bytes : block_at])
    for _ in range(count):
        kind, name = head[at], b""
        at += 1
        if kind == _ATTRIBUTE:
            length, key_at = _read_uvarint(head, at + 1)
            name, at = head[at : key_at + length], key_at + length
        stored_bytes, at = _read_uvarint(head, at)
        size_bytes, at = _read_uvarint(head, at)
        at += 4
        stored = data[block_at : block_at + stored_bytes]
        unpacked = zstandard.ZstdDecompressor().decompress(stored, max_output_size=size_bytes)
        granule.blocks.append(Block(kind, name, unpacked))
        block_at += stored_bytes
    return granule


def build(granules: list[Granule]) -> bytes:
    """A segment with these granules."""
    header = b"OBSDLOGS" + struct.pack("<H", 2) + bytes(6)
    built = [_build_granule(granule) for granule in granules]
    directory = b"".join(struct.pack("<Q", len(granule)) for granule in built)
    count = struct.pack("<Q", len(built))
    checksum = struct.pack("<I", _native.crc32c(header + directory + count))
    return b"".join([header, *built, directory, count, checksum, b"OBSDLEND"])


def _build_granule(granule: Granule) -> bytes:
    numbers = [*granule.numbers, len(granule.filter), len(granule.blocks)]
    head, data = b"".join(map(uvarint, numbers)), b""
    for block in granule.blocks:
        packed = zstandard.ZstdCompressor(level=1).compress(block.data)
        size_bytes = len(block.data) if block.size_bytes is None else block.size_bytes
        head += bytes([block.kind]) + block.name + uvarint(len(packed)) + uvarint(size_bytes)
        head += struct.pack("<I", _native.crc32c(packed))
        data += packed
    checksum = _native.crc32c(head + granule.filter)
    return struct.pack("<II", len(head), checksum) + head + granule.filter + data
