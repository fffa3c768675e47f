"""Framed records: how the WAL and the series registry put bytes in a file.

A file is a magic number of 8 bytes and then records. A record is its length (u32, little-endian),
the CRC-32C of what follows (u32), and that many bytes. Formats: docs/format/wal.md and
docs/format/series.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from obsd import _native
from obsd.model.errors import CorruptDataError

HEADER = struct.Struct("<II")
MAGIC_BYTES = 8
MAX_RECORD_BYTES = 1 << 30


def frame(*payload: bytes) -> list[bytes]:
    """A record of these bytes in a row, as pieces to write one after the other."""
    checksum = 0
    for piece in payload:
        checksum = _native.crc32c(piece, checksum)
    return [HEADER.pack(sum(map(len, payload)), checksum), *payload]


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record, and where it ends in its file."""

    payload: bytes
    end_bytes: int


def iter_records(path: Path, magic: bytes, *, torn_tail_ok: bool) -> Iterator[Record]:
    """Read a file's records in order.

    A crash in mid-append leaves a torn last record. Where `torn_tail_ok`, reading ends before the
    first damage if nothing whole follows it; otherwise damage raises.

    Raises:
        CorruptDataError: the file is not what was written.
    """
    data = path.read_bytes()
    if len(data) < MAGIC_BYTES and torn_tail_ok:
        return
    if data[:MAGIC_BYTES] != magic:
        raise CorruptDataError(str(path), f"magic number is not {magic!r}")
    at = MAGIC_BYTES
    while at < len(data):
        payload = _payload_at(data, at)
        if payload is None:
            if torn_tail_ok:
                return
            raise CorruptDataError(str(path), f"bad record at byte {at}")
        at += HEADER.size + len(payload)
        yield Record(payload, at)


def _payload_at(data: bytes, at: int) -> bytes | None:
    if at + HEADER.size > len(data):
        return None
    length, checksum = HEADER.unpack_from(data, at)
    start = at + HEADER.size
    if length > MAX_RECORD_BYTES or start + length > len(data):
        return None
    payload = data[start : start + length]
    return payload if _native.crc32c(payload) == checksum else None
