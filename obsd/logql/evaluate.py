"""Metric queries."""

from __future__ import annotations

from dataclasses import dataclass

from obsd.logql.ast import MetricExpr
from obsd.logql.result import Matrix, Scalar, Vector
from obsd.logql.storage import Storage
from obsd.model.budget import QueryBudget


@dataclass(frozen=True, slots=True)
class Limits:
    """What a metric query may give.

    Attributes:
        max_series: series of the result, and of what it is computed from.
    """

    max_series: int = 5_000


def run_range(
    expr: MetricExpr,
    storage: Storage,
    start_ns: int,
    end_ns: int,
    step_ns: int,
    budget: QueryBudget,
    limits: Limits | None = None,
) -> Matrix:
    """The query at `start_ns`, and every `step_ns` until `end_ns`, which is included.

    Raises:
        BadInputError: the query cannot be answered as it is: PipelineError, SeriesLimitError…
        QueryError: the budget says so.
    """
    raise NotImplementedError


def run_instant(
    expr: MetricExpr,
    storage: Storage,
    time_ns: int,
    budget: QueryBudget,
    limits: Limits | None = None,
) -> Vector | Scalar:
    """The query at one time.

    Raises:
        As `run_range`.
    """
    raise NotImplementedError
