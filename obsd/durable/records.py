"""Framed records: how the WAL and the series registry put bytes in a file.

A file is a magic number of 8 bytes and then records. A record is a header, the length of its
payload (u32, little-endian), the CRC-32C of these 4 bytes and the CRC-32C of the payload; and the
payload. The length has a checksum of its own so that damage in a payload costs that record alone.
Formats: docs/format/wal.md and docs/format/series.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.model.errors import CorruptDataError

_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<III")
HEADER_BYTES: Final = _HEADER.size
MAGIC_BYTES: Final = 8

OnDamage = Callable[[CorruptDataError], None]


def frame(*payload: bytes) -> list[bytes]:
    """A record of these bytes in a row, as pieces to write one after the other."""
    length = sum(map(len, payload))
    checksum = 0
    for piece in payload:
        checksum = _native.crc32c(piece, checksum)
    header = _HEADER.pack(length, _native.crc32c(_LENGTH.pack(length)), checksum)
    return [header, *payload]


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record, and where it ends in its file."""

    payload: bytes
    end_bytes: int


def iter_records(path: Path, magic: bytes, on_damage: OnDamage | None = None) -> Iterator[Record]:
    """Read a file's whole records in order.

    A crash in mid-append leaves a torn record at the end: one that reaches past the end of the
    file, or up to it with a bad checksum, or that is nothing but zeros. It was never relied on,
    and reading ends before it. Anything else is damage: `on_damage` is told, and reading goes on
    with the next record, if it can be found; without `on_damage`, damage raises.

    Raises:
        CorruptDataError: the file begins with another magic number, or it is damaged.
    """
    data = path.read_bytes()
    if len(data) < MAGIC_BYTES:
        return
    if data[:MAGIC_BYTES] != magic:
        raise CorruptDataError(str(path), f"magic number is not {magic!r}")
    at = MAGIC_BYTES
    while at + HEADER_BYTES <= len(data) and any(data[at : at + HEADER_BYTES]):
        length, length_checksum, checksum = _HEADER.unpack_from(data, at)
        payload_at = at + HEADER_BYTES
        if _native.crc32c(data[at : at + _LENGTH.size]) != length_checksum:
            _report(on_damage, path, f"bad header at byte {at}; {len(data) - at} bytes are lost")
            return
        end = payload_at + length
        payload = data[payload_at:end]
        whole = end <= len(data) and _native.crc32c(payload) == checksum
        if whole:
            yield Record(payload, end)
        elif end >= len(data):
            return
        else:
            _report(on_damage, path, f"bad checksum of the record at byte {at}; it is lost")
        at = end


def _report(on_damage: OnDamage | None, path: Path, detail: str) -> None:
    error = CorruptDataError(str(path), detail)
    if on_damage is None:
        raise error
    on_damage(error)
