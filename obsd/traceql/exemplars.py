"""Exemplars of metrics: single spans behind the points, spread over the range.

The engine is asked for a few spans in each of some windows; whatever it cannot tell by itself is
seen in their traces.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from obsd.model.log_record import Value as Sent
from obsd.traceql import ast
from obsd.traceql.batches import Source, countable
from obsd.traceql.buckets import bucket_of
from obsd.traceql.fields import first, getter_of
from obsd.traceql.grouping import labels_by, labels_of, number_of
from obsd.traceql.named_fields import fields_of
from obsd.traceql.printer import print_named
from obsd.traceql.pushdown import field_of, plan_pipeline
from obsd.traceql.result import TraceExemplar
from obsd.traceql.series import Row
from obsd.traceql.spansets import key_of, pipeline_of, whole
from obsd.traceql.steps import Steps
from obsd.traceql.trace import Trace
from obsd.traceql.value import answer

_PER_WINDOW: Final = 2  # As Tempo has it.
_MAX_WINDOWS: Final = 50
_LOOKED_AT: Final = 8  # Spans of a window whose traces are loaded to see whether they are taken.
_NS_IN_MS: Final = 1_000_000
_SHOWN: Final = (
    ast.Intrinsic("trace:id"),
    ast.Intrinsic("span:id"),
    ast.Attribute("resource", "service.name"),
    ast.Intrinsic("name"),
    ast.Intrinsic("duration"),
)


def with_exemplars(
    source: Source,
    pipeline: ast.Pipeline,
    aggregate: ast.MetricsAggregate,
    steps: Steps,
    count: int,
    rows: Sequence[Row],
) -> Sequence[Row]:
    """The series of a metric with up to `count` exemplars among them."""
    by_group: dict[Hashable, list[int]] = {}
    for at, row in enumerate(rows):
        labels = row.labels[:-1] if aggregate.op == "quantile_over_time" else row.labels
        by_group.setdefault(_key(labels), []).append(at)
    getters = [getter_of(each) for each in aggregate.by]
    get_number = None if aggregate.of is None else getter_of(aggregate.of)
    told = list(dict.fromkeys((*_SHOWN, *aggregate.by, *fields_of(pipeline))))
    found: list[list[TraceExemplar]] = [[] for _ in rows]
    left = count
    for trace, at in _spans(source, pipeline, aggregate, steps, count):
        values = [countable(get(trace, at)) for get in getters]
        number = None if get_number is None else countable(get_number(trace, at))
        if aggregate.op == "quantile_over_time":
            labels = labels_by(aggregate, values)
        elif aggregate.op == "histogram_over_time":
            labels = labels_of(aggregate, (*values, bucket_of(number)))
        else:
            labels = labels_of(aggregate, (*values,))
        place = steps.place(trace.spans[at].start_ns)
        value = number_of(number)
        row_at = _nearest(rows, by_group.get(_key(labels), ()), place, value)
        if row_at is None or left <= 0:
            continue
        if math.isnan(value) or aggregate.op == "histogram_over_time":
            value = float(rows[row_at].values[place])
        timestamp_ms = trace.spans[at].start_ns // _NS_IN_MS
        found[row_at].append(TraceExemplar(_told(trace, at, told), value, timestamp_ms))
        left -= 1
    return [replace(row, exemplars=tuple(each)) for row, each in zip(rows, found, strict=True)]


def _key(labels: Sequence[tuple[str, object]]) -> Hashable:
    return tuple((name, key_of(value)) for name, value in labels)  # type: ignore[arg-type]


def _nearest(rows: Sequence[Row], among: Sequence[int], place: int, value: float) -> int | None:
    """The series of a group, of several quantiles the one whose point is nearest."""
    there = [at for at in among if not math.isnan(rows[at].values[place])]
    if len(there) < 2 or math.isnan(value):
        return there[0] if there else None
    return min(there, key=lambda at: abs(float(rows[at].values[place]) - value))


def _told(trace: Trace, at: int, fields: Sequence[ast.Named]) -> tuple[tuple[str, Sent], ...]:
    labels: list[tuple[str, Sent]] = []
    for named in fields:
        value = first(getter_of(named)(trace, at))
        if value is not None:
            labels.append((print_named(named), answer(value)))
    return tuple(labels)


def _spans(
    source: Source,
    pipeline: ast.Pipeline,
    aggregate: ast.MetricsAggregate,
    steps: Steps,
    count: int,
) -> Iterator[tuple[Trace, int]]:
    """A few spans of each window, the newest of it."""
    plan = plan_pipeline(pipeline)
    told = (*aggregate.by, *fields_of(pipeline), *((aggregate.of,) if aggregate.of else ()))
    alone = plan.exact and all(field_of(each) is not None for each in told)
    windows = max(1, min(count // _PER_WINDOW, _MAX_WINDOWS, steps.count))
    width_ns = -(-(steps.end_ns - steps.first_ns) // windows)
    run = pipeline_of(pipeline)
    seen: set[str] = set()
    for start_ns in range(steps.first_ns, steps.end_ns, width_ns):
        source.budget.check()
        end_ns = min(start_ns + width_ns, steps.end_ns)
        limit = _PER_WINDOW if alone else _LOOKED_AT
        taken = 0
        for span in source.store.spans(plan.predicate, start_ns, end_ns, limit, source.budget):
            if span.trace_id in seen or taken >= _PER_WINDOW:
                continue
            seen.add(span.trace_id)
            if alone:
                yield Trace((span,)), 0
                taken += 1
                continue
            trace = Trace(source.store.trace(span.trace_id, source.budget))
            places = {at for each in run(trace, whole(trace)) for at in each.spans}
            for at in sorted(places):
                if start_ns <= trace.spans[at].start_ns < end_ns:
                    yield trace, at
                    taken += 1
                    break
