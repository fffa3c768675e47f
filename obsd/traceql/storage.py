"""All that TraceQL asks of an engine; a test can answer it from a list of spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from obsd.model.budget import QueryBudget

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from obsd.model.span import Span
    from obsd.model.span_predicate import Constant, Field, SpanPredicate


class Columns(Protocol):
    """Some matching spans as columns.

    `codes` has for each field that was asked for the place of the span's value in `values`, or -1.
    """

    @property
    def start_ns(self) -> npt.NDArray[np.int64]: ...

    @property
    def duration_ns(self) -> npt.NDArray[np.int64]: ...

    @property
    def codes(self) -> Sequence[npt.NDArray[np.int32]]: ...

    @property
    def values(self) -> Sequence[Sequence[Constant]]: ...

    @property
    def trace_ids(self) -> Sequence[str] | None: ...


class Storage(Protocol):
    """One project's spans. Every method blocks, and all are thread-safe.

    Times are nanoseconds since 1970; ranges have their start and not their end.
    """

    def trace(self, trace_id: str, budget: QueryBudget) -> Sequence[Span]:
        """The spans of a trace by start; none where it is not known."""

    def spans(
        self,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
        budget: QueryBudget,
    ) -> Sequence[Span]:
        """Spans that match and start in the range, the newest first."""

    def scan(
        self,
        predicate: SpanPredicate,
        fields: Sequence[Field],
        start_ns: int,
        end_ns: int,
        budget: QueryBudget,
        *,
        trace_ids: bool = False,
    ) -> Iterator[Columns]:
        """Matching spans that start in the range as columns, in no order, some thousand a turn."""

    def field_names(
        self, start_ns: int, end_ns: int, limit: int, budget: QueryBudget
    ) -> Sequence[Field]:
        """Attributes of spans in the range."""
