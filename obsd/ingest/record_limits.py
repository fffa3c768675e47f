"""The engine's limits of one record, for protocols that answer for each record by itself.

The engine counts what it refuses; who has to say which record that was finds out before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from obsd.config.tree import StorageConfig
from obsd.logindex.options import LogOptions
from obsd.model.errors import BadInputError
from obsd.model.log_record import Value
from obsd.services.protobuf import iter_fields

MAX_DEPTH: Final = 32
"""Of lists and maps in each other, as the native decoder has it."""

_DEFAULTS: Final = LogOptions()
_BODY: Final = 5
_ATTRIBUTE: Final = 6
_TEXTS: Final = frozenset({3, 9, 10})  # Severity and ids.
_MAX_NS: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """What a record's time and size may be."""

    min_ns: int = 0
    max_ns: int = _MAX_NS
    body_bytes: int = _DEFAULTS.max_body_bytes
    metadata_bytes: int = _DEFAULTS.max_metadata_bytes

    @staticmethod
    def of(storage: StorageConfig, now_ns: int) -> RecordLimits:
        retention_s = storage.log_retention_s
        return RecordLimits(
            0 if retention_s is None else max(0, now_ns - round(retention_s * 1e9)),
            min(now_ns + round(storage.max_future_s * 1e9), _MAX_NS),
        )

    def check(self, time_ns: int, record: bytes) -> None:
        """Refuse a record, encoded as OTLP, that the engine would.

        Raises:
            BadInputError: it is too old, too far ahead or too large.
        """
        if time_ns < self.min_ns:
            raise BadInputError("the record is older than the log retention keeps")
        if time_ns > self.max_ns:
            raise BadInputError("the record's time is too far in the future")
        if len(record) > self.metadata_bytes:
            self._check_sizes(record)

    def _check_sizes(self, record: bytes) -> None:
        metadata_bytes = 0
        for number, _, value in iter_fields(record):
            if not isinstance(value, bytes):
                continue
            if number == _BODY and len(value) > self.body_bytes:
                raise BadInputError(
                    f"the message is larger than the limit of {self.body_bytes} bytes"
                )
            if number == _ATTRIBUTE:
                metadata_bytes += len(value) + 2
            elif number in _TEXTS:
                metadata_bytes += len(value)
        if metadata_bytes > self.metadata_bytes:
            raise BadInputError(
                f"the fields are larger than the limit of {self.metadata_bytes} bytes together"
            )


def check_depth(value: Value, limit: int = MAX_DEPTH) -> None:
    """Refuse values that are nested more deeply than the engine takes.

    Raises:
        BadInputError: this one is.
    """
    if not isinstance(value, (dict, list)):
        return
    if limit == 0:
        raise BadInputError(f"the fields are nested more than {MAX_DEPTH} deep")
    inner: Iterable[Value] = value.values() if isinstance(value, dict) else value
    for each in inner:
        check_depth(each, limit - 1)
