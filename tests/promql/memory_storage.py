"""A storage in a dict: the evaluator's Protocol over plain lists and the slow range functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from obsd.model.budget import QueryBudget
from obsd.model.labels import Labels
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.regex import compile_anchored
from obsd.model.samples import Columns, Matrix, RollupSpec
from tests.oracles.rollup import rollup

Samples = list[tuple[int, float]]
"""Timestamps and values, in time order."""


class MemoryStorage:
    """Not thread-safe while samples are added."""

    def __init__(self) -> None:
        self._series: dict[Labels, Samples] = {}

    def add(self, labels: Labels, samples: Samples) -> None:
        """Later samples of a series take the place of earlier ones at the same time."""
        merged = dict(self._series.get(labels, [])) | dict(samples)
        self._series[labels] = sorted(merged.items())

    def clear(self) -> None:
        self._series.clear()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, budget: QueryBudget
    ) -> Columns:
        found = [
            (labels, [s for s in samples if start_ms <= s[0] <= end_ms])
            for labels, samples in self._matching(matchers)
        ]
        found = [(labels, samples) for labels, samples in found if samples]
        budget.charge(sum(len(samples) for _, samples in found))
        return to_columns(found)

    def rollup(self, matchers: Sequence[Matcher], spec: RollupSpec, budget: QueryBudget) -> Matrix:
        return rollup_series(self._matching(matchers), spec, budget)

    def rollup_columns(self, columns: Columns, spec: RollupSpec, budget: QueryBudget) -> Matrix:
        return rollup_series(from_columns(columns), spec, budget)

    def _matching(self, matchers: Sequence[Matcher]) -> list[tuple[Labels, Samples]]:
        return [
            (labels, samples)
            for labels, samples in sorted(self._series.items(), key=lambda item: item[0].pairs)
            if all(matches(matcher, labels.get(matcher.name)) for matcher in matchers)
        ]


def matches(matcher: Matcher, value: str) -> bool:
    match matcher.op:
        case MatchOp.EQUAL:
            return value == matcher.value
        case MatchOp.NOT_EQUAL:
            return value != matcher.value
        case MatchOp.REGEX:
            return compile_anchored(matcher.value).matches(value)
        case MatchOp.NOT_REGEX:
            return not compile_anchored(matcher.value).matches(value)


def to_columns(series: Sequence[tuple[Labels, Samples]]) -> Columns:
    return Columns(
        tuple(labels for labels, _ in series),
        np.cumsum([0, *(len(samples) for _, samples in series)]).astype(np.int64),
        np.array([t for _, samples in series for t, _ in samples], dtype=np.int64),
        np.array([v for _, samples in series for _, v in samples], dtype=np.float64),
    )


def from_columns(columns: Columns) -> list[tuple[Labels, Samples]]:
    times, values = columns.timestamps.tolist(), columns.values.tolist()
    bounds = columns.offsets.tolist()
    return [
        (labels, list(zip(times[low:high], values[low:high], strict=True)))
        for labels, low, high in zip(columns.labels, bounds[:-1], bounds[1:], strict=True)
    ]


def rollup_series(
    series: Sequence[tuple[Labels, Samples]], spec: RollupSpec, budget: QueryBudget
) -> Matrix:
    rows = []
    for labels, samples in series:
        budget.charge(len(samples))
        times, values = [t for t, _ in samples], [v for _, v in samples]
        row = rollup(spec.function, spec.args, times, values, spec)
        if any(v is not None for v in row):
            rows.append((labels, row))
    shape = (len(rows), spec.step_count)
    matrix = np.array(
        [[0.0 if v is None else v for v in row] for _, row in rows], dtype=np.float64
    ).reshape(shape)
    present = np.array([[v is not None for v in row] for _, row in rows], dtype=np.bool_)
    return Matrix(tuple(labels for labels, _ in rows), matrix, present.reshape(shape))
