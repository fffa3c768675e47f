"""What the log engine puts into its WAL: requests as they came. Format: docs/format/log-wal.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from obsd.model.errors import CorruptDataError

MAGIC: Final = b"OBSDLOG1"
_CONTEXT = struct.Struct("<BQqqqqIII")
_OTLP: Final = 1

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
            _OTLP,
            self.sequence,
            self.first_row,
            self.now_ns,
            self.min_ns,
            self.max_ns,
            self.max_body_bytes,
            self.max_metadata_bytes,
            self.size_bytes,
        )
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
        if kind != _OTLP:
            raise CorruptDataError("WAL record", f"unknown kind {kind}")
        if size_bytes > MAX_PACKED_TO:
            raise CorruptDataError("WAL record", f"{size_bytes} bytes are too many")
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
            packed=payload[_CONTEXT.size :],
        )
