"""What the metrics engine puts into its WAL: requests as they came. Format: docs/format/wal.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from obsd.model.errors import CorruptDataError

MAGIC: Final = b"OBSDWAL1"
_CONTEXT = struct.Struct("<BBqqq")


@dataclass(frozen=True, slots=True)
class WalRecord:
    """A request, and what its meaning depends on beside its bytes.

    Attributes:
        version_2: remote write 2.0, not 1.0.
        limited: a limit refused new series of it; replay must not let them in.
        now_ms: when it came.
        min_ts_ms, max_ts_ms: the times that were acceptable then.
        body: the snappy-compressed request.
    """

    version_2: bool
    limited: bool
    now_ms: int
    min_ts_ms: int
    max_ts_ms: int
    body: bytes

    def encode(self) -> tuple[bytes, bytes]:
        """The record's payload, in two pieces."""
        context = _CONTEXT.pack(
            2 if self.version_2 else 1, self.limited, self.now_ms, self.min_ts_ms, self.max_ts_ms
        )
        return context, self.body

    @staticmethod
    def decode(payload: bytes) -> WalRecord:
        """Read a payload.

        Raises:
            CorruptDataError: it is not one of this version.
        """
        if len(payload) < _CONTEXT.size:
            raise CorruptDataError("WAL record", f"{len(payload)} bytes are too few")
        version, limited, now_ms, min_ts_ms, max_ts_ms = _CONTEXT.unpack_from(payload)
        if version not in (1, 2):
            raise CorruptDataError("WAL record", f"unknown kind {version}")
        body = payload[_CONTEXT.size :]
        return WalRecord(version == 2, bool(limited), now_ms, min_ts_ms, max_ts_ms, body)
