"""What a query gives: traces with the spans that were found, or series of numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from obsd.model.log_record import Value
from obsd.model.span import TraceSummary

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(slots=True)
class QueryStats:
    """What a query took, added up while it runs.

    Attributes:
        traces: looked at as a whole.
        spans: looked at, or counted.
    """

    traces: int = 0
    spans: int = 0


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """A span of a result.

    Attributes:
        attributes: what the query names or selects, without scopes, where the span has it;
            durations, statuses and kinds are texts.
    """

    span_id: str
    name: str
    start_ns: int
    duration_ns: int
    attributes: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class FoundSpans:
    """A set of spans of a trace.

    Attributes:
        spans: the first of them, by start.
        matched: how many there are.
        attributes: the value of a group and numbers of the set, such as `count()`.
    """

    spans: tuple[FoundSpan, ...]
    matched: int
    attributes: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class FoundTrace:
    """A trace of a result, with at least one set."""

    summary: TraceSummary
    spansets: tuple[FoundSpans, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Traces, the one with the newest span that was found first."""

    traces: tuple[FoundTrace, ...]
    stats: QueryStats = field(default_factory=QueryStats)


@dataclass(frozen=True, slots=True)
class TraceExemplar:
    """One span behind a point of a series; `labels` tell its trace as `trace:id`."""

    labels: tuple[tuple[str, Value], ...]
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers over time.

    Attributes:
        labels: in the order of the query's `by()`, with their types.
        values: float64, shape (steps,); NaN where there is no point.
    """

    labels: tuple[tuple[str, Value], ...]
    values: npt.NDArray[np.float64]
    exemplars: tuple[TraceExemplar, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricsResult:
    """Series, sorted by their labels' texts.

    Attributes:
        timestamps_ms: int64, shape (steps,): the end of each step.
        truncated: there were more series than the query may give.
    """

    series: tuple[Series, ...]
    timestamps_ms: npt.NDArray[np.int64]
    truncated: bool = False
    stats: QueryStats = field(default_factory=QueryStats)
