"""What a metric makes of single values: labels of groups, and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from obsd.traceql import ast
from obsd.traceql.printer import print_named
from obsd.traceql.series import METRIC_NAME, Labels
from obsd.traceql.value import Duration, Value, is_numeric

BUCKET: Final = "__bucket"
QUANTILE: Final = "p"
NS_IN_S: Final = 1e9
BUCKETED: Final = frozenset({"histogram_over_time", "quantile_over_time"})
DURATION: Final = ast.Intrinsic("duration")


def labels_of(aggregate: ast.MetricsAggregate, values: tuple[Value, ...]) -> Labels:
    """The labels of a group: what it has; if it has nothing, the first field as nil."""
    if not aggregate.by and aggregate.op not in BUCKETED:
        return ((METRIC_NAME, aggregate.op),)
    labels = labels_by(aggregate, values)
    if aggregate.op in BUCKETED:
        return (*labels, (BUCKET, values[-1]))
    return labels or ((print_named(aggregate.by[0]), None),)


def labels_by(aggregate: ast.MetricsAggregate, values: Sequence[Value]) -> Labels:
    """The labels of what a metric is grouped by; of buckets these are all that quantiles keep."""
    return tuple(
        (print_named(named), value)
        for named, value in zip(aggregate.by, values, strict=False)
        if value is not None
    )


def number_of(value: Value) -> float:
    """A number as a metric has it, durations in seconds; NaN for anything else."""
    if isinstance(value, Duration):
        return value / NS_IN_S
    if not is_numeric(value):
        return math.nan
    assert isinstance(value, int | float)
    return float(value)
