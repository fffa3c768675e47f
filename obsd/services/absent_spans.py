"""What a project without traces answers; so that a question makes no project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obsd.model.budget import QueryBudget
from obsd.model.deletion import Deletion
from obsd.services.span_store import SpanColumns, TraceSearch

if TYPE_CHECKING:
    from obsd.model.span import Span, SpanKind, TraceSummary
    from obsd.model.span_predicate import Constant, Field, SpanPredicate


@dataclass(frozen=True, slots=True)
class EmptyPage:
    """No trace matches."""

    traces: Sequence[TraceSummary] = ()
    next_cursor: str | None = None


class AbsentSpans:
    """The reading half of `SpanStore`."""

    def trace(self, trace_id: str, budget: QueryBudget) -> Sequence[Span]:
        return []

    def search(self, search: TraceSearch, budget: QueryBudget) -> EmptyPage:
        return EmptyPage()

    def spans(
        self,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> Sequence[Span]:
        return []

    def scan(
        self,
        predicate: SpanPredicate,
        fields: Sequence[Field],
        start_ns: int,
        end_ns: int,
        budget: QueryBudget,
        *,
        trace_ids: bool = False,
    ) -> Iterator[SpanColumns]:
        return iter(())

    def services(self, start_ns: int, end_ns: int, budget: QueryBudget) -> Sequence[str]:
        return []

    def operations(
        self, service: str, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Sequence[tuple[str, SpanKind]]:
        return []

    def field_names(
        self, start_ns: int, end_ns: int, limit: int, budget: QueryBudget
    ) -> Sequence[Field]:
        return []

    def field_values(
        self,
        field: Field,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> Sequence[tuple[Constant, int]]:
        return []

    def otlp(self, trace_id: str, budget: QueryBudget) -> bytes | None:
        return None

    def last_row(self) -> int:
        return -1

    def arrived(
        self, after_row: int, limit: int, predicate: SpanPredicate, budget: QueryBudget
    ) -> tuple[Sequence[Span], int]:
        return [], after_row

    def count_deletable(
        self, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> int:
        return 0

    def delete(
        self, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
    ) -> Deletion:
        return Deletion("", 0, start_ns, end_ns, through_row=-1, matched=0, done_ms=0)

    def deletions(self) -> Sequence[Deletion]:
        return []
