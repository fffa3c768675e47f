"""Series while a query works on them, with labels of the language's types."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from obsd.traceql.result import Series, TraceExemplar
from obsd.traceql.spansets import key_of
from obsd.traceql.value import Value, answer

METRIC_NAME: Final = "__name__"

Labels = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One series; values are NaN where there is no point."""

    labels: Labels
    values: NDArray[np.float64]
    exemplars: tuple[TraceExemplar, ...] = ()

    @property
    def key(self) -> Hashable:
        """What two series are the same by: their labels but for the name."""
        return tuple((name, key_of(v)) for name, v in self.labels if name != METRIC_NAME)

    @property
    def text(self) -> tuple[str, ...]:
        """What series are sorted by."""
        return tuple(f"{name}={answer(value)!s}" for name, value in self.labels)


def series_of(rows: Sequence[Row]) -> tuple[Series, ...]:
    """The rows that have a point, sorted by their labels."""
    return tuple(
        Series(
            tuple((name, answer(value)) for name, value in row.labels),
            row.values,
            row.exemplars,
        )
        for row in sorted(rows, key=lambda each: each.text)
        if not np.isnan(row.values).all()
    )
