"""Spans that a pipeline takes, a few thousand a turn, as columns for counting.

Where the engine can say the whole pipeline, its columns are used as they are, and no span becomes
an object. Else every trace that may have such spans is looked at, as a search does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from obsd.model.budget import QueryBudget
from obsd.model.span import SpanKind, StatusCode
from obsd.model.span_predicate import AnyOf, Field
from obsd.traceql import ast
from obsd.traceql.candidates import newest_first
from obsd.traceql.fields import AnyOne, Getter, getter_of
from obsd.traceql.pushdown import Plan, field_of, is_text, plan_pipeline
from obsd.traceql.result import QueryStats
from obsd.traceql.roots import root_condition
from obsd.traceql.spansets import key_of, pipeline_of, whole
from obsd.traceql.storage import Columns, Storage
from obsd.traceql.trace import Trace
from obsd.traceql.value import Duration, Opaque, Value

_BATCH: Final = 4096
_STATUSES: Final[dict[object, StatusCode]] = {int(each): each for each in StatusCode}
_KINDS: Final[dict[object, SpanKind]] = {int(each): each for each in SpanKind}


@dataclass(frozen=True, slots=True)
class Column:
    """A field of some spans.

    Attributes:
        codes: int32, shape (n,): the place of each span's value, or -1 where it has none.
        values: the distinct ones; of a list its first element counts.
    """

    codes: NDArray[np.int32]
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some spans; the arrays are of one length."""

    start_ns: NDArray[np.int64]
    duration_ns: NDArray[np.int64]
    columns: Sequence[Column]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the spans of a query come from."""

    store: Storage
    budget: QueryBudget
    stats: QueryStats

    def batches(
        self,
        pipeline: ast.Pipeline,
        fields: Sequence[ast.Named],
        start_ns: int,
        end_ns: int,
    ) -> Iterator[Batch]:
        """The spans that a pipeline takes and that start in the range, in no order."""
        plan = plan_pipeline(pipeline)
        if plan.predicate == AnyOf(()) or start_ns >= end_ns:
            return
        of_engine = [field_of(each) for each in fields]
        known = [each for each in of_engine if each is not None]
        if plan.exact and len(known) == len(fields):
            yield from self._of_engine(plan, known, start_ns, end_ns)
        else:
            yield from self._of_traces(pipeline, plan, fields, start_ns, end_ns)

    def _of_engine(
        self, plan: Plan, fields: Sequence[Field], start_ns: int, end_ns: int
    ) -> Iterator[Batch]:
        for found in self.store.scan(plan.predicate, fields, start_ns, end_ns, self.budget):
            self.budget.check()
            self.stats.spans += len(found.start_ns)
            yield Batch(found.start_ns, found.duration_ns, _columns(found, fields))

    def _of_traces(
        self,
        pipeline: ast.Pipeline,
        plan: Plan,
        fields: Sequence[ast.Named],
        start_ns: int,
        end_ns: int,
    ) -> Iterator[Batch]:
        run = pipeline_of(pipeline)
        getters = [getter_of(each) for each in fields]
        rows = _Rows(len(fields))
        for trace_id in newest_first(
            self.store,
            plan.predicate,
            start_ns,
            end_ns,
            self.budget,
            self.stats,
            root_condition(pipeline),
        ):
            self.budget.check()
            spans = self.store.trace(trace_id, self.budget)
            if not spans:
                continue
            trace = Trace(spans)
            self.stats.traces += 1
            taken = {at for each in run(trace, whole(trace)) for at in each.spans}
            for at in taken:
                if start_ns <= spans[at].start_ns < end_ns:
                    rows.add(trace, at, getters)
            if len(rows) >= _BATCH:
                yield rows.batch()
                rows = _Rows(len(fields))
        if len(rows):
            yield rows.batch()


def countable(value: Value | AnyOne) -> Value:
    """What of a value counts: of several the first one."""
    if isinstance(value, tuple):
        return countable(value[0]) if value else None
    return None if isinstance(value, Opaque) else value


@dataclass(slots=True)
class _Rows:
    """Spans one by one, to become a batch."""

    fields: int
    starts: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    codes: list[list[int]] = field(init=False)
    places: list[dict[Hashable, int]] = field(init=False)
    values: list[list[Value]] = field(init=False)

    def __post_init__(self) -> None:
        self.codes = [[] for _ in range(self.fields)]
        self.places = [{} for _ in range(self.fields)]
        self.values = [[] for _ in range(self.fields)]

    def __len__(self) -> int:
        return len(self.starts)

    def add(self, trace: Trace, at: int, getters: Sequence[Getter]) -> None:
        self.starts.append(trace.spans[at].start_ns)
        self.durations.append(trace.spans[at].duration_ns)
        for codes, places, values, get in zip(
            self.codes, self.places, self.values, getters, strict=True
        ):
            value = countable(get(trace, at))
            if value is None:
                codes.append(-1)
                continue
            place = places.setdefault(key_of(value), len(values))
            if place == len(values):
                values.append(value)
            codes.append(place)

    def batch(self) -> Batch:
        columns = [
            Column(np.array(codes, np.int32), values)
            for codes, values in zip(self.codes, self.values, strict=True)
        ]
        starts = np.array(self.starts, np.int64)
        return Batch(starts, np.array(self.durations, np.int64), columns)


def _columns(found: Columns, fields: Sequence[Field]) -> Sequence[Column]:
    return [
        _column(each, codes, values)
        for each, codes, values in zip(fields, found.codes, found.values, strict=True)
    ]


def _column(of: Field, codes: NDArray[np.int32], values: Sequence[Value]) -> Column:
    """The engine's column with the types of the language."""
    match of:
        case Field("intrinsic", "status"):
            return Column(codes, [_STATUSES.get(value, StatusCode.UNSET) for value in values])
        case Field("intrinsic", "kind"):
            return Column(codes, [_KINDS.get(value, SpanKind.UNSPECIFIED) for value in values])
        case Field("intrinsic", "duration"):
            return Column(codes, [Duration(value) for value in values])  # type: ignore[arg-type]
    if is_text(of):  # An empty text is nothing to the engine.
        place = np.int32(len(values))
        return Column(np.where(codes < 0, place, codes), [*values, ""])
    return Column(codes, values)
