"""Values: what a query returns, and what the evaluator computes with on the way.

Inside, an instant vector exists at all steps of a query at once: a `Grid` of [series x steps]
floats and a mask that tells which of them exist. NaN can be a value, so absence is never NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from obsd.model.errors import QueryError
from obsd.model.labels import METRIC_NAME, Labels
from obsd.model.samples import BoolArray, Columns, FloatArray, IntArray, Matrix

NAME_LABELS = frozenset({METRIC_NAME, "__type__", "__unit__"})
"""What identifies the metric rather than the series; goes when the values become another metric."""


@dataclass(frozen=True, slots=True)
class HistogramMatrix:
    """Native histograms of a grid's series and steps, where `present`."""

    present: BoolArray
    encoded: tuple[tuple[bytes, ...], ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """An instant vector at every step.

    Attributes:
        labels: one entry a series, unique.
        values: float64, shape (series, steps); unspecified where absent.
        present: bool, shape (series, steps).
        drop_name: bool, shape (series,): the name goes when the query is done. It stays until
            then so that `label_replace` can still use it.
        histograms: room for native histograms.
    """

    labels: tuple[Labels, ...]
    values: FloatArray
    present: BoolArray
    drop_name: BoolArray
    histograms: HistogramMatrix | None = None

    @classmethod
    def empty(cls, step_count: int) -> Grid:
        shape = (0, step_count)
        return cls((), np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(0, np.bool_))

    @classmethod
    def of_matrix(cls, matrix: Matrix, *, drop_name: bool) -> Grid:
        flags = np.full(len(matrix.labels), drop_name)
        return cls(matrix.labels, matrix.values, matrix.present, flags)

    @classmethod
    def single(cls, labels: Labels, values: FloatArray, present: BoolArray | None = None) -> Grid:
        """One series; present at every step unless told otherwise."""
        mask = np.ones(len(values), np.bool_) if present is None else present
        return cls((labels,), values[np.newaxis], mask[np.newaxis], np.zeros(1, np.bool_))

    @property
    def step_count(self) -> int:
        return int(self.values.shape[1])

    @property
    def occupied(self) -> BoolArray:
        """The steps at which any series exists: bool, shape (steps,)."""
        steps: BoolArray = np.logical_or.reduce(self.present, axis=0)
        return steps

    def with_values(self, values: FloatArray, *, drop_name: bool = True) -> Grid:
        """Other values of the same series; most functions make another metric of them."""
        flags = np.ones_like(self.drop_name) if drop_name else self.drop_name
        return replace(self, values=values, drop_name=flags)

    def take(self, rows: Iterable[int] | IntArray) -> Grid:
        """Some series, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        return Grid(
            tuple(self.labels[i] for i in index),
            self.values[index],
            self.present[index],
            self.drop_name[index],
        )

    def without_empty(self) -> Grid:
        """Only series that exist at some step."""
        exists = self.present.any(axis=1)
        return self if exists.all() else self.take(np.flatnonzero(exists))


@dataclass(frozen=True, slots=True)
class Steps:
    """A scalar at every step: float64, shape (steps,)."""

    values: FloatArray


def merge_series(grid: Grid) -> Grid:
    """Make labels unique by joining series that take turns.

    Raises:
        QueryError: two series with the same labels exist at the same step.
    """
    if len(set(grid.labels)) == len(grid.labels):
        return grid
    rows: dict[Labels, int] = {}
    values, present, flags = grid.values.copy(), grid.present.copy(), grid.drop_name.copy()
    for i, labels in enumerate(grid.labels):
        first = rows.setdefault(labels, i)
        if first == i:
            continue
        if (present[first] & present[i]).any():
            raise QueryError("vector cannot contain metrics with the same labelset")
        values[first] = np.where(present[i], values[i], values[first])
        present[first] |= present[i]
    return Grid(grid.labels, values, present, flags).take(list(rows.values()))


def remove_names(grid: Grid) -> Grid:
    """Drop the names that are due, as the last act of a query.

    Raises:
        QueryError: without their names, two series are the same.
    """
    if not grid.drop_name.any():
        return merge_series(grid)
    labels = tuple(
        series.drop(NAME_LABELS) if drop else series
        for series, drop in zip(grid.labels, grid.drop_name, strict=True)
    )
    return merge_series(replace(grid, labels=labels, drop_name=np.zeros_like(grid.drop_name)))


@dataclass(frozen=True, slots=True)
class ScalarValue:
    """A number at one time."""

    timestamp_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class StringValue:
    """A string, as a query that is one literal gives it."""

    timestamp_ms: int
    value: str


@dataclass(frozen=True, slots=True)
class VectorValue:
    """An instant vector, in the query's own order (`sort`, `topk`), else sorted by labels.

    Attributes:
        values: float64, shape (series,).
    """

    labels: tuple[Labels, ...]
    timestamp_ms: int
    values: FloatArray
    histograms: tuple[bytes | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class MatrixValue:
    """The result of a range query, sorted by labels; step i is at `start_ms + i * step_ms`.

    Attributes:
        values: float64, shape (series, steps); unspecified where absent.
        present: bool, shape (series, steps); some in every series.
    """

    labels: tuple[Labels, ...]
    start_ms: int
    step_ms: int
    values: FloatArray
    present: BoolArray
    histograms: HistogramMatrix | None = None


@dataclass(frozen=True, slots=True)
class ColumnsValue:
    """The raw samples of a range vector, sorted by labels, without staleness markers."""

    columns: Columns


Value = ScalarValue | StringValue | VectorValue | MatrixValue | ColumnsValue


@dataclass(frozen=True, slots=True)
class Result:
    """What a query gave, and what its author should know about it."""

    value: Value
    warnings: tuple[str, ...]
    infos: tuple[str, ...]
