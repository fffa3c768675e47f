"""Numbers of many spans added up by series and step, whole arrays at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from obsd.model.budget import QueryBudget
from obsd.traceql.batches import Column
from obsd.traceql.spansets import key_of
from obsd.traceql.value import Value

COUNTED: Final = frozenset({"rate", "count_over_time", "histogram_over_time", "quantile_over_time"})
"""Functions that count spans, whatever their numbers."""

_GROWTH: Final = 2


class SeriesTable:
    """Groups of spans by the values of some columns; each has a row, in order of arrival."""

    def __init__(self, max_series: int) -> None:
        self._rows: dict[Hashable, int] = {}
        self._max_series = max_series
        self.values: Final[list[tuple[Value, ...]]] = []
        self.truncated = False

    def row(self, values: tuple[Value, ...]) -> int:
        """The row of a group; -1 if it would be one too many."""
        key = tuple(map(key_of, values))
        found = self._rows.get(key)
        if found is not None:
            return found
        if len(self.values) >= self._max_series:
            self.truncated = True
            return -1
        self._rows[key] = len(self.values)
        self.values.append(values)
        return len(self.values) - 1

    def rows(self, columns: Sequence[Column], count: int) -> NDArray[np.int64]:
        """The row of each span of a batch."""
        if not columns:
            return np.full(count, self.row(()), np.int64)
        if not count:
            return np.empty(0, np.int64)
        codes = np.zeros(count, np.int64)
        for column in columns:
            # The codes so far are at most as many as there are spans, so that nothing overflows.
            codes = codes * (len(column.values) + 1) + column.codes + 1
            _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
        rows = np.empty(len(first), np.int64)
        for at, span in enumerate(first):
            rows[at] = self.row(tuple(_value(column, span) for column in columns))
        return rows[codes]


def _value(column: Column, span: int) -> Value:
    code = column.codes[span]
    return None if code < 0 else column.values[code]


class Accumulator:
    """One number for each series and step; NaN where nothing came, or 0 of counts."""

    def __init__(self, op: str, steps: int, budget: QueryBudget) -> None:
        self._op = op
        self._steps = steps
        self._budget = budget
        self._initial = _INITIAL.get(op, 0.0)
        self._sums = np.full((0, steps), self._initial)
        self._counts = np.zeros((0, steps))

    def add(
        self, rows: NDArray[np.int64], places: NDArray[np.int64], values: NDArray[np.float64] | None
    ) -> None:
        """Take in a batch of spans; those of row -1 and those without a number are left out.

        Where `values` are None, spans are counted.
        """
        kept = rows >= 0 if values is None else (rows >= 0) & ~np.isnan(values)
        if not kept.all():
            rows, places = rows[kept], places[kept]
            values = None if values is None else values[kept]
        if not len(rows):
            return
        self._reach(int(rows.max()) + 1)
        flat = rows * self._steps + places
        np.add.at(self._counts.reshape(-1), flat, 1.0)
        if values is not None:
            _combined(self._op)(self._sums.reshape(-1), flat, values)

    def _reach(self, rows: int) -> None:
        held = len(self._counts)
        if rows <= held:
            return
        grown = max(rows, held * _GROWTH)
        self._budget.reserve(2 * grown * self._steps)
        more = grown - held
        self._counts = np.vstack((self._counts, np.zeros((more, self._steps))))
        if self._op not in COUNTED:
            self._sums = np.vstack((self._sums, np.full((more, self._steps), self._initial)))

    def counts(self, rows: int) -> NDArray[np.float64]:
        """How many spans there were, shape (rows, steps)."""
        self._reach(rows)
        return self._counts[:rows]

    def numbers(self, rows: int) -> NDArray[np.float64]:
        """The minimum, maximum, sum or average, shape (rows, steps)."""
        counts = self.counts(rows)
        sums = self._sums[:rows]
        if self._op == "avg_over_time":
            with np.errstate(invalid="ignore"):
                sums = sums / counts
        return np.where(counts > 0, sums, np.nan)


_INITIAL: Final = {"min_over_time": math.inf, "max_over_time": -math.inf}


def _combined(op: str) -> Callable[..., None]:
    match op:
        case "min_over_time":
            return np.minimum.at
        case "max_over_time":
            return np.maximum.at
    return np.add.at
