"""Metrics as programs hand them over, and as remote write requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cramjam
import numpy as np

from obsd import _native
from obsd.model.errors import BadInputError
from obsd.model.labels import METRIC_NAME
from obsd.model.metadata import METRIC_TYPES, Metadata
from obsd.services import protobuf
from obsd.tsdb.write import WriteOutcome


@dataclass(frozen=True, slots=True)
class Metric:
    """One sample of one series, as programs hand it over.

    Attributes:
        timestamp_ms: Unix milliseconds; None means now.
        metadata: what to remember about the metric, or None.
    """

    name: str
    value: float
    timestamp_ms: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Metadata | None = None


class RejectedMetricsError(BadInputError):
    """Some samples were refused; the others are stored."""

    def __init__(self, outcome: WriteOutcome) -> None:
        super().__init__("; ".join(outcome.messages))
        self.outcome = outcome


def encode_metrics(metrics: Sequence[Metric], now_ms: int) -> bytes:
    """A remote write 1.0 request of one sample a metric."""
    labels = [[(METRIC_NAME, m.name), *m.labels.items()] for m in metrics]
    times = [now_ms if m.timestamp_ms is None else m.timestamp_ms for m in metrics]
    return _native.encode_write_request(
        labels, np.array(times, dtype=np.int64), np.array([m.value for m in metrics], np.float64)
    )


def encode_metadata(families: Mapping[str, Metadata]) -> bytes:
    """A remote write 1.0 request of metadata alone."""
    out = bytearray()
    for name, metadata in families.items():
        message = b"".join(
            (
                protobuf.uint_field(1, METRIC_TYPES.index(metadata.type)),
                protobuf.bytes_field(2, name.encode()),
                protobuf.bytes_field(4, metadata.help.encode()),
                protobuf.bytes_field(5, metadata.unit.encode()),
            )
        )
        out += protobuf.bytes_field(3, message)
    return bytes(cramjam.snappy.compress_raw(bytes(out)))
