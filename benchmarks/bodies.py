"""Remote write bodies, made beforehand so that sending them costs next to nothing.

A batch of series is encoded once; a round patches the timestamps and the values in place and
compresses the result. Timestamps are between 1971 and 2109, where their varint is 6 bytes long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import cramjam
import numpy as np
import numpy.typing as npt

SERIES_PER_TARGET: Final = 1000
SERIES_PER_METRIC: Final = 10  # Of one target.
METRICS: Final = SERIES_PER_TARGET // SERIES_PER_METRIC
MIN_LABELS: Final = 4  # The name, the handler and the instance tell any two series apart.
TIMESTAMP_BYTES: Final = 6
VALUE_BYTES: Final = 8
VALUE_KINDS: Final = ("mixed", "counters", "gauges", "random")

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Shape:
    """What is written: how many series, how they look, how they are cut into requests."""

    series: int
    labels: int
    samples_per_request: int
    values: str
    first_ms: int
    interval_ms: int
    first_series: int = 0
    seed: int = 1

    @property
    def requests_per_round(self) -> int:
        return -(-self.series // self.samples_per_request)

    def timestamp_ms(self, round_index: int) -> int:
        return self.first_ms + round_index * self.interval_ms

    def split(self, parts: int) -> list[Shape]:
        """As many shapes that have the series of this one between them."""
        assert self.series % parts == 0
        own = self.series // parts
        return [
            replace(self, series=own, first_series=self.first_series + part * own)
            for part in range(parts)
        ]


@dataclass(frozen=True, slots=True)
class Template:
    """An encoded `WriteRequest` of one sample a series, and where its variable bytes are."""

    first: int  # Of the shape's series, counted from 0.
    message: ByteArray
    timestamp_at: IndexArray  # Shape (series * 6,).
    value_at: IndexArray  # Shape (series * 8,).

    @property
    def samples(self) -> int:
        return self.value_at.size // VALUE_BYTES

    def fill(self, timestamp_ms: int, values: FloatArray) -> bytes:
        """The request of one round as snappy-compressed bytes; `values` are those of all series."""
        own = values[self.first : self.first + self.samples]
        self.message[self.value_at] = own.astype("<f8").view(np.uint8)
        encoded = np.frombuffer(_varint(timestamp_ms), np.uint8)
        assert encoded.size == TIMESTAMP_BYTES
        self.message[self.timestamp_at] = np.tile(encoded, self.samples)
        return bytes(cramjam.snappy.compress_raw(self.message.data))


class Bodies:
    """The bodies of any number of rounds, in order; a round continues the values of the last."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.templates = [
            _template(shape, first) for first in range(0, shape.series, shape.samples_per_request)
        ]
        self._values = Values(shape)
        self._next_round = 0

    def next_round(self) -> Iterator[bytes]:
        """One body a template; always all of them are taken before the next round."""
        values = self._values.advance()
        timestamp_ms = self.shape.timestamp_ms(self._next_round)
        self._next_round += 1
        for template in self.templates:
            yield template.fill(timestamp_ms, values)


class Values:
    """One value a series, moving like a counter, like a gauge with two decimals, or at random."""

    def __init__(self, shape: Shape) -> None:
        self._rng = np.random.default_rng(shape.seed)
        self._random = shape.values == "random"
        metric = (
            (np.arange(shape.series) + shape.first_series) % SERIES_PER_TARGET // SERIES_PER_METRIC
        )
        match shape.values:
            case "mixed":
                self._is_counter = metric % 2 == 0
            case kind:
                self._is_counter = np.full(shape.series, kind == "counters")
        self._values = np.floor(self._rng.random(shape.series) * 1e6)

    def advance(self) -> FloatArray:
        if self._random:
            return self._rng.random(self._values.size)
        steps = self._rng.integers(0, 200, self._values.size)
        self._values += np.where(self._is_counter, steps, (steps - 99.5) / 50)
        return np.where(self._is_counter, self._values, np.round(self._values, 2))


def series_labels(series: int, label_count: int) -> list[tuple[str, str]]:
    """The labels of one series, sorted; like those of a service with many instances."""
    target, number = divmod(series, SERIES_PER_TARGET)
    metric, variant = divmod(number, SERIES_PER_METRIC)
    labels = [
        ("__name__", metric_name(metric)),
        ("cluster", f"cluster-{target // 10}"),
        ("handler", f"/api/v1/resource/{variant}"),
        ("instance", f"10.{target >> 16}.{target >> 8 & 255}.{target & 255}:9100"),
        ("job", f"service-{target % 7}"),
        ("method", ("GET", "POST", "PUT")[variant % 3]),
        ("code", ("200", "404", "500")[metric % 3]),
        ("namespace", ("production", "staging")[target % 2]),
        ("pod", f"service-{target % 7}-{target * 2654435761 % 2**32:08x}"),
        ("environment", "eu-central-1"),
    ]
    labels += [(f"extra_{n}", f"value-{n}") for n in range(len(labels), label_count)]
    return sorted(labels[:label_count])


def metric_name(metric: int) -> str:
    return f"bench_service_{metric:02d}_" + (
        "requests_total" if metric % 2 == 0 else "queue_seconds"
    )


def _template(shape: Shape, first: int) -> Template:
    message = bytearray()
    timestamp_at, value_at = [], []
    for number in range(first, min(first + shape.samples_per_request, shape.series)):
        labels = b"".join(
            _field(1, _field(1, name.encode()) + _field(2, value.encode()))
            for name, value in series_labels(shape.first_series + number, shape.labels)
        )
        # Field 1 is a double, field 2 an int64 varint.
        sample = b"\x09" + bytes(VALUE_BYTES) + b"\x10" + bytes(TIMESTAMP_BYTES)
        message += _field(1, labels + _field(2, sample))
        value_at.append(len(message) - TIMESTAMP_BYTES - 1 - VALUE_BYTES)
        timestamp_at.append(len(message) - TIMESTAMP_BYTES)
    return Template(
        first=first,
        message=np.frombuffer(message, np.uint8),  # Of a bytearray: writable.
        timestamp_at=_positions(timestamp_at, TIMESTAMP_BYTES),
        value_at=_positions(value_at, VALUE_BYTES),
    )


def _positions(starts: list[int], width: int) -> IndexArray:
    return np.add.outer(np.asarray(starts, np.int32), np.arange(width, dtype=np.int32)).reshape(-1)


def _field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
