"""Exemplars as they are stored: remote write 1.0's `prometheus.Exemplar` messages."""

from __future__ import annotations

import struct

from obsd.model.errors import CorruptDataError
from obsd.model.exemplar import Exemplar
from obsd.model.labels import Labels

_LABELS_KEY = 1 << 3 | 2
_VALUE_KEY = 2 << 3 | 1
_TIMESTAMP_KEY = 3 << 3
_DOUBLE = struct.Struct("<d")


def decode_exemplar(message: bytes) -> Exemplar:
    """Read a message that this engine has written: known fields only, in order.

    Raises:
        CorruptDataError: it is not such a message.
    """
    labels: list[tuple[str, str]] = []
    value, timestamp_ms, at = 0.0, 0, 0
    try:
        while at < len(message):
            key, at = message[at], at + 1
            if key == _LABELS_KEY:
                text, at = _bytes(message, at)
                name, after_name = _bytes(text, 1)
                label_value, _ = _bytes(text, after_name + 1)
                labels.append((name.decode(), label_value.decode()))
            elif key == _VALUE_KEY:
                (value,), at = _DOUBLE.unpack_from(message, at), at + _DOUBLE.size
            elif key == _TIMESTAMP_KEY:
                unsigned, at = _uvarint(message, at)
                timestamp_ms = unsigned - (1 << 64) if unsigned >> 63 else unsigned
            else:
                raise CorruptDataError("exemplar", f"unknown field key {key}")
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise CorruptDataError("exemplar", str(error)) from error
    return Exemplar(Labels.of(labels), value, timestamp_ms)


def _uvarint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _uvarint(data, at)
    return data[at : at + length], at + length
