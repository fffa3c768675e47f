"""What the span engine puts into its WAL: requests as they came.

Format: docs/format/span-wal.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from obsd.model.errors import CorruptDataError

MAGIC: Final = b"OBSDSPN1"
_CONTEXT = struct.Struct("<BQqqqIII")
_OTLP: Final = 1

MAX_PACKED_TO: Final = 1 << 30
"""A body that claims to decompress to more is damaged."""


@dataclass(frozen=True, slots=True)
class WalRecord:
    """A request, and what its meaning depends on beside its bytes.

    Attributes:
        sequence: the memtable that it went to.
        first_row: the number of its first span.
        now_ns: when it came.
        oldest_ns: spans that started before were refused.
        max_span_bytes: the limit of a span then; `max_attributes` of their number.
        size_bytes: of the request.
        packed: the request, compressed with zstd.
    """

    sequence: int
    first_row: int
    now_ns: int
    oldest_ns: int
    max_span_bytes: int
    max_attributes: int
    size_bytes: int
    packed: bytes

    @property
    def limits(self) -> tuple[int, int, int, int]:
        """What decides which of its spans are taken."""
        return self.now_ns, self.oldest_ns, self.max_span_bytes, self.max_attributes

    def encode(self) -> tuple[bytes, bytes]:
        """The record's payload, in two pieces."""
        context = _CONTEXT.pack(
            _OTLP,
            self.sequence,
            self.first_row,
            self.now_ns,
            self.oldest_ns,
            self.max_span_bytes,
            self.max_attributes,
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
        (
            kind,
            sequence,
            first_row,
            now_ns,
            oldest_ns,
            max_span_bytes,
            max_attributes,
            size_bytes,
        ) = _CONTEXT.unpack_from(payload)
        if kind != _OTLP:
            raise CorruptDataError("WAL record", f"unknown kind {kind}")
        if size_bytes > MAX_PACKED_TO:
            raise CorruptDataError("WAL record", f"{size_bytes} bytes are too many")
        return WalRecord(
            sequence,
            first_row,
            now_ns,
            oldest_ns,
            max_span_bytes,
            max_attributes,
            size_bytes,
            payload[_CONTEXT.size :],
        )
