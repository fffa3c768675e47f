"""Columns of samples, and matrices of rolled-up values: what engines give to query languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from obsd.model.labels import Labels

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

STALE_NAN_BITS: Final = 0x7FF0000000000002
"""The NaN that ends a series, compared by bits (Prometheus' staleness marker)."""


@dataclass(frozen=True, slots=True)
class HistogramColumn:
    """Native-histogram samples of the same series, CSR like the float samples.

    Attributes:
        offsets: int64, shape (series + 1,).
        timestamps: int64, shape (n,), Unix milliseconds, strictly increasing within a series.
        encoded: n histograms in remote write 2.0's protobuf form (its message `Histogram`).
    """

    offsets: IntArray
    timestamps: IntArray
    encoded: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Raw samples of some series in compressed-sparse-row form.

    Attributes:
        labels: one entry a series, sorted.
        offsets: int64, shape (series + 1,); series i owns samples offsets[i]:offsets[i + 1].
        timestamps: int64, shape (n,), Unix milliseconds, strictly increasing within a series.
        values: float64, shape (n,). NaN payload bits are kept: one of them marks staleness.
        histograms: native histograms of the same series, or None where there are none.
    """

    labels: tuple[Labels, ...]
    offsets: IntArray
    timestamps: IntArray
    values: FloatArray
    histograms: HistogramColumn | None = None


@dataclass(frozen=True, slots=True)
class RollupSpec:
    """A function over a sliding window, at every step of a range.

    Step i is at `start_ms + i * step_ms` and sees the samples with a timestamp in the left-open
    window `(step - offset_ms - window_ms, step - offset_ms]`. The last step is <= `end_ms`.

    Attributes:
        function: a PromQL range function ("rate", "avg_over_time", ...), or "instant": the newest
            sample of the window unless that is a staleness marker, or "instant_timestamp": that
            sample's time in seconds.
        args: scalar parameters, e.g. the quantile, or predict_linear's seconds.
    """

    function: str
    start_ms: int
    end_ms: int
    step_ms: int
    window_ms: int
    offset_ms: int = 0
    args: tuple[float, ...] = ()

    @property
    def step_count(self) -> int:
        return (self.end_ms - self.start_ms) // self.step_ms + 1


@dataclass(frozen=True, slots=True)
class Matrix:
    """One value a series and step, where present.

    Attributes:
        labels: one entry a series (with `__name__`), sorted; a series without any present value is
            left out.
        values: float64, shape (series, steps); unspecified where absent.
        present: bool, shape (series, steps). NaN can be a present value.
    """

    labels: tuple[Labels, ...]
    values: FloatArray
    present: BoolArray
