"""Query results as JSON: labels by msgspec, once a label set, and samples by native code.

Called in the query pool: a result can be a hundred megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, assert_never

import msgspec
import numpy as np

from obsd import _native
from obsd.model.labels import Labels
from obsd.model.samples import Columns
from obsd.promql import (
    ColumnsValue,
    MatrixValue,
    ScalarValue,
    StringValue,
    Value,
    VectorValue,
)

_CACHED_LABEL_SETS: Final = 50_000  # About 300 bytes each; dashboards ask for the same again.


@lru_cache(maxsize=_CACHED_LABEL_SETS)
def labels_json(labels: Labels) -> bytes:
    """A label set as a JSON object."""
    return msgspec.json.encode(labels.as_dict())


@dataclass(frozen=True, slots=True)
class EncodedResult:
    """The `resultType` and `result` of a query.

    Attributes:
        truncated: some series were left out, since the limit allows no more.
    """

    result_type: str
    result: bytes
    truncated: bool = False

    def data(self, stats: bytes | None = None) -> list[bytes]:
        """The envelope's `data` object in pieces, with statistics if asked for."""
        head = b'{"resultType":"%b","result":' % self.result_type.encode()
        tail = b"}" if stats is None else b',"stats":%b}' % stats
        return [head, self.result, tail]


def encode_value(value: Value, limit: int | None = None) -> EncodedResult:
    """Encode what a query gave, no more than `limit` series of it."""
    match value:
        case ScalarValue(timestamp_ms, number):
            return EncodedResult("scalar", _point(timestamp_ms, format_float(number)))
        case StringValue(timestamp_ms, text):
            return EncodedResult("string", _point(timestamp_ms, text))
        case VectorValue():
            return _vector(value, limit)
        case MatrixValue():
            return _matrix(value, limit)
        case ColumnsValue(columns):
            return _columns(columns, limit)
        case _:
            assert_never(value)


def format_float(value: float) -> str:
    """A sample value as Prometheus writes it."""
    return _native.format_float(value)


def seconds(timestamp_ms: int) -> float | int:
    """Milliseconds as the number of seconds that JSON shows with at most 3 decimals."""
    whole, rest = divmod(timestamp_ms, 1000)
    return whole if rest == 0 else timestamp_ms / 1000


def _point(timestamp_ms: int, text: str) -> bytes:
    return msgspec.json.encode([seconds(timestamp_ms), text])


def _labels(labels: tuple[Labels, ...], kept: int) -> list[bytes]:
    return [labels_json(series) for series in labels[:kept]]


def _kept(series: int, limit: int | None) -> int:
    return series if limit is None else min(series, limit)


def _vector(vector: VectorValue, limit: int | None) -> EncodedResult:
    series = len(vector.labels)
    kept = _kept(series, limit)
    times = np.full(kept, vector.timestamp_ms, np.int64)
    values = np.ascontiguousarray(vector.values[:kept], np.float64)
    json = _native.vector_json(_labels(vector.labels, kept), times, values)
    return EncodedResult("vector", json, kept < series)


def _matrix(matrix: MatrixValue, limit: int | None) -> EncodedResult:
    series = len(matrix.labels)
    kept = _kept(series, limit)
    json = _native.matrix_json(
        _labels(matrix.labels, kept),
        matrix.start_ms,
        matrix.step_ms,
        np.ascontiguousarray(matrix.values[:kept], np.float64),
        np.ascontiguousarray(matrix.present[:kept], np.bool_),
    )
    return EncodedResult("matrix", json, kept < series)


def _columns(columns: Columns, limit: int | None) -> EncodedResult:
    series = len(columns.labels)
    kept = _kept(series, limit)
    end = int(columns.offsets[kept])
    json = _native.columns_json(
        _labels(columns.labels, kept),
        columns.offsets[: kept + 1],
        np.ascontiguousarray(columns.timestamps[:end]),
        np.ascontiguousarray(columns.values[:end]),
    )
    return EncodedResult("matrix", json, kept < series)
