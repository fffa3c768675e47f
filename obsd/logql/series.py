"""Instant vectors at every step of a query: what the evaluator computes with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from obsd.model.labels import Labels
from obsd.model.samples import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Steps:
    """The times of a query: the n-th is `start_ns + n * step_ns`."""

    start_ns: int
    step_ns: int
    count: int

    @property
    def end_ns(self) -> int:
        """The last one."""
        return self.start_ns + (self.count - 1) * self.step_ns

    @property
    def times_ns(self) -> IntArray:
        return self.start_ns + np.arange(self.count, dtype=np.int64) * self.step_ns


@dataclass(frozen=True, slots=True)
class Grid:
    """Series by steps.

    Attributes:
        labels: one entry a series, unique.
        values: float64, shape (series, steps); unspecified where absent.
        present: bool, shape (series, steps).
    """

    labels: tuple[Labels, ...]
    values: FloatArray
    present: BoolArray

    @classmethod
    def empty(cls, step_count: int) -> Grid:
        shape = (0, step_count)
        return cls((), np.zeros(shape), np.zeros(shape, np.bool_))

    def take(self, rows: Iterable[int]) -> Grid:
        """Some series, in this order."""
        index = np.fromiter(rows, dtype=np.int64)
        labels = tuple(self.labels[row] for row in index)
        return Grid(labels, self.values[index], self.present[index])

    def without_empty(self) -> Grid:
        """Only series that exist at some step."""
        exists = self.present.any(axis=1)
        return self if exists.all() else self.take(np.flatnonzero(exists))

    def sorted(self) -> Grid:
        """By labels."""
        return self.take(sorted(range(len(self.labels)), key=lambda row: self.labels[row]))


@dataclass(frozen=True, slots=True)
class ScalarSteps:
    """A number at every step: float64, shape (steps,)."""

    values: FloatArray


Value = Grid | ScalarSteps


def merged(labels: Sequence[Labels], values: FloatArray, present: BoolArray) -> Grid:
    """A grid in which series of the same labels are one; of two values the last counts."""
    rows: dict[Labels, int] = {}
    values, present = values.copy(), present.copy()
    for row, each in enumerate(labels):
        first = rows.setdefault(each, row)
        if first != row:
            values[first] = np.where(present[row], values[row], values[first])
            present[first] |= present[row]
    return Grid(tuple(labels), values, present).take(rows.values())
