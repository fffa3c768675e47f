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
_COUNT = struct.Struct("<I")

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
    size_bytes: int
    packed: bytes
    dropped: Sequence[int] = ()

    @property
    def limits(self) -> tuple[int, int, int, int, int]:
        """What decides which of its records are taken."""
        return (
            self.now_ns,
            self.min_ns,
            self.max_ns,
            self.max_body_bytes,
            self.max_metadata_bytes,
        )

    def encode(self) -> tuple[bytes, bytes]:
        """The record's payload, in two pieces."""
        context = _CONTEXT.pack(
            _WITHOUT if self.dropped else _OTLP,
            self.sequence,
            self.first_row,
            self.now_ns,
            self.min_ns,
            self.max_ns,
            self.max_body_bytes,
            self.max_metadata_bytes,
            self.size_bytes,
        )
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
        if kind not in (_OTLP, _WITHOUT):
            raise CorruptDataError("WAL record", f"unknown kind {kind}")
        if size_bytes > MAX_PACKED_TO:
            raise CorruptDataError("WAL record", f"{size_bytes} bytes are too many")
        dropped: tuple[int, ...] = ()
        packed_at = _CONTEXT.size
        if kind == _WITHOUT:
            dropped, packed_at = _dropped(payload)
        sequence, first_row, now_ns, min_ns, max_ns, max_body_bytes, max_metadata_bytes = context
        return WalRecord(
            sequence,
            first_row,
            now_ns,
            min_ns,
            max_ns,
            max_body_bytes,
            max_metadata_bytes,
            size_bytes,
            payload[packed_at:],
            dropped,
        )


def _dropped(payload: bytes) -> tuple[tuple[int, ...], int]:
    """The places that are left out, and where they end."""
    at = _CONTEXT.size + _COUNT.size
    if len(payload) < at:
        raise CorruptDataError("WAL record", f"{len(payload)} bytes are too few")
    (count,) = _COUNT.unpack_from(payload, _CONTEXT.size)
    if not count or len(payload) < at + 4 * count:
        raise CorruptDataError("WAL record", f"{count} places do not fit")
    return struct.unpack_from(f"<{count}I", payload, at), at + 4 * count
