"""What the metrics engine puts into its WAL: requests as they came. Format: docs/format/wal.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from obsd.model.errors import CorruptDataError

MAGIC: Final = b"OBSDWAL1"
_CONTEXT = struct.Struct("<BqqqI")
_PLACE_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class WalRecord:
    """A request, and what its meaning depends on beside its bytes.

    Attributes:
        version_2: remote write 2.0, not 1.0.
        now_ms: when it came.
        min_ts_ms, max_ts_ms: the times that were acceptable then.
        refused: places in the request of the series that a limit refused then, ascending. Replay
            refuses the same ones, whatever the limits are by now.
        body: the snappy-compressed request.
    """

    version_2: bool
    now_ms: int
    min_ts_ms: int
    max_ts_ms: int
    refused: tuple[int, ...]
    body: bytes

    def encode(self) -> tuple[bytes, bytes]:
        """The record's payload, in two pieces."""
        version, count = (2 if self.version_2 else 1), len(self.refused)
        context = _CONTEXT.pack(version, self.now_ms, self.min_ts_ms, self.max_ts_ms, count)
        if count:
            context += struct.pack(f"<{count}I", *self.refused)
        return context, self.body

    @staticmethod
    def decode(payload: bytes) -> WalRecord:
        """Read a payload.

        Raises:
            CorruptDataError: it is not one of this version.
        """
        if len(payload) < _CONTEXT.size:
            raise CorruptDataError("WAL record", f"{len(payload)} bytes are too few")
        version, now_ms, min_ts_ms, max_ts_ms, count = _CONTEXT.unpack_from(payload)
        if version not in (1, 2):
            raise CorruptDataError("WAL record", f"unknown kind {version}")
        body_at = _CONTEXT.size + count * _PLACE_BYTES
        if body_at > len(payload):
            raise CorruptDataError("WAL record", f"{len(payload)} bytes are too few")
        refused = struct.unpack_from(f"<{count}I", payload, _CONTEXT.size)
        return WalRecord(version == 2, now_ms, min_ts_ms, max_ts_ms, refused, payload[body_at:])
