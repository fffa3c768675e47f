"""An independent, slow decoder of the protobuf messages that the tests look into."""

import struct
from dataclasses import dataclass, field

import cramjam


@dataclass
class Series:
    """A TimeSeries: labels, (timestamp, value) samples, (labels, value, timestamp) exemplars."""

    labels: list[tuple[str, str]] = field(default_factory=list)
    samples: list[tuple[int, float]] = field(default_factory=list)
    exemplars: list[tuple[list[tuple[str, str]], float, int]] = field(default_factory=list)


@dataclass
class WriteRequest:
    """A remote-write 1.0 body: series, and (type, family, help, unit) metadata."""

    series: list[Series] = field(default_factory=list)
    metadata: list[tuple[int, str, str, str]] = field(default_factory=list)


def decode_write_request(body: bytes) -> WriteRequest:
    request = WriteRequest()
    for number, value in fields(bytes(cramjam.snappy.decompress_raw(body))):
        assert isinstance(value, bytes)
        if number == 1:
            request.series.append(decode_series(value))
        else:
            assert number == 3
            parts = dict(fields(value))
            family, help_text, unit = (_text(parts.get(n, b"")) for n in (2, 4, 5))
            kind = parts.get(1, 0)
            assert isinstance(kind, int)
            request.metadata.append((kind, family, help_text, unit))
    return request


def decode_series(message: bytes) -> Series:
    series = Series()
    for number, value in fields(message):
        assert isinstance(value, bytes)
        if number == 1:
            series.labels.append(_label(value))
        elif number == 2:
            parts = dict(fields(value))
            series.samples.append((_signed(parts.get(2, 0)), _float(parts.get(1, 0.0))))
        else:
            assert number == 3
            series.exemplars.append(_exemplar(value))
    return series


def fields(message: bytes) -> list[tuple[int, int | float | bytes]]:
    """Numbers and values of a message's fields."""
    found: list[tuple[int, int | float | bytes]] = []
    at = 0
    while at < len(message):
        key, at = uvarint(message, at)
        match key & 7:
            case 0:
                value, at = uvarint(message, at)
                found.append((key >> 3, value))
            case 1:
                found.append((key >> 3, struct.unpack_from("<d", message, at)[0]))
                at += 8
            case 2:
                length, at = uvarint(message, at)
                assert at + length <= len(message)
                found.append((key >> 3, message[at : at + length]))
                at += length
            case other:
                raise AssertionError(other)
    return found


def uvarint(data: bytes, at: int) -> tuple[int, int]:
    """A varint's value, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _exemplar(message: bytes) -> tuple[list[tuple[str, str]], float, int]:
    labels = [_label(v) for n, v in fields(message) if n == 1 and isinstance(v, bytes)]
    parts = dict(fields(message))
    return labels, _float(parts.get(2, 0.0)), _signed(parts.get(3, 0))


def _label(message: bytes) -> tuple[str, str]:
    parts = dict(fields(message))
    return _text(parts.get(1, b"")), _text(parts.get(2, b""))


def _text(value: float | bytes) -> str:
    assert isinstance(value, bytes)
    return value.decode()


def _float(value: float | bytes) -> float:
    assert isinstance(value, float)
    return value


def _signed(value: float | bytes) -> int:
    assert isinstance(value, int)
    return value - (1 << 64) if value >= 1 << 63 else value
