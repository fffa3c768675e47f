"""What the log engine puts into its WAL: requests as they came. Format: docs/format/log-wal.md."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from obsd.model.errors import CorruptDataError

MAGIC: Final = b"OBSDLOG1"
_CONTEXT = struct.Struct("<BQqqqqIII")
_OTLP: Final = 1
_WITHOUT: Final = 2
_COUNTED: Final = 3
_COUNTED_WITHOUT: Final = 4
_COUNT = struct.Struct("<I")
_MAX_COUNT: Final = (1 << 32) - 1

MAX_PACKED_TO: Final = 1 << 30
"""A body that claims to decompress to more is damaged."""


@dataclass(frozen=True, slots=True)
class WalRecord:
    """A request, and what its meaning depends on beside its bytes.

    Attributes:
        sequence: the memtable that it went to.
        first_row: the number of its first record.
        now_ns: when it came.
        min_ns, max_ns: the times that were acceptable then.
        max_body_bytes: the limit of a record's body then; `max_metadata_bytes` of its attributes.
        max_attributes: how many it could have then; kinds 1 and 2 had no such limit.
        size_bytes: of the request.
        packed: the request, compressed with zstd.
        dropped: the places, ascending, of records that were acceptable but there already; these
            are not stored and have no numbers.
    """

    sequence: int
    first_row: int
    now_ns: int
    min_ns: int
    max_ns: int
    max_body_bytes: int
    max_metadata_bytes: int
    max_attributes: int
    size_bytes: int
    packed: bytes
    dropped: Sequence[int] = ()

    @property
    def limits(self) -> tuple[int, int, int, int, int, int]:
        """What decides which of its records are taken."""
        return (
            self.now_ns,
            self.min_ns,
            self.max_ns,
            self.max_body_bytes,
            self.max_metadata_bytes,
            self.max_attributes,
        )

    def encode(self) -> tuple[bytes, bytes]:
        """The record's payload, in two pieces."""
        context = _CONTEXT.pack(
            _COUNTED_WITHOUT if self.dropped else _COUNTED,
            self.sequence,
            self.first_row,
            self.now_ns,
            self.min_ns,
            self.max_ns,
            self.max_body_bytes,
            self.max_metadata_bytes,
            self.size_bytes,
        )
        context += _COUNT.pack(min(self.max_attributes, _MAX_COUNT))
        if self.dropped:
            count = len(self.dropped)
            context += _COUNT.pack(count) + struct.pack(f"<{count}I", *self.dropped)
        return context, self.packed

    @staticmethod
    def decode(payload: bytes) -> WalRecord:
        """Read a payload.

        Raises:
            CorruptDataError: it is not one of this version.
        """
        if len(payload) < _CONTEXT.size:
            raise CorruptDataError("WAL record", f"{len(payload)} bytes are too few")
        kind, *context, size_bytes = _CONTEXT.unpack_from(payload)
        if kind not in (_OTLP, _WITHOUT, _COUNTED, _COUNTED_WITHOUT):
            raise CorruptDataError("WAL record", f"unknown kind {kind}")
        if size_bytes > MAX_PACKED_TO:
            raise CorruptDataError("WAL record", f"{size_bytes} bytes are too many")
        dropped: tuple[int, ...] = ()
        packed_at, max_attributes = _CONTEXT.size, _MAX_COUNT
        if kind in (_COUNTED, _COUNTED_WITHOUT):
            max_attributes, packed_at = _number(payload, packed_at)
        if kind in (_WITHOUT, _COUNTED_WITHOUT):
            dropped, packed_at = _dropped(payload, packed_at)
        sequence, first_row, now_ns, min_ns, max_ns, max_body_bytes, max_metadata_bytes = context
        return WalRecord(
            sequence,
            first_row,
            now_ns,
            min_ns,
            max_ns,
            max_body_bytes,
            max_metadata_bytes,
            max_attributes,
            size_bytes,
            payload[packed_at:],
            dropped,
        )


def _number(payload: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends."""
    if len(payload) < at + _COUNT.size:
        raise CorruptDataError("WAL record", f"{len(payload)} bytes are too few")
    (number,) = _COUNT.unpack_from(payload, at)
    return number, at + _COUNT.size


def _dropped(payload: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """The places that are left out, and where they end."""
    count, at = _number(payload, at)
    if not count or len(payload) < at + 4 * count:
        raise CorruptDataError("WAL record", f"{count} places do not fit")
    return struct.unpack_from(f"<{count}I", payload, at), at + 4 * count
