"""What the product does with traces: take them in durably, find them, and explain them.

Concurrency: called on the event loop. Engines block, so they run in the same two thread pools as
those of metrics and logs, and queries of all kinds take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final, TypeVar, cast

from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock, SystemClock
from obsd.model.errors import BadInputError
from obsd.services.absent_spans import AbsentSpans
from obsd.services.metrics_collector import Executors, QueryLimits
from obsd.services.pending_write import OnDurable, PendingWrite, WriteQueue
from obsd.services.projects import Projects
from obsd.services.query_deletions import QueryDeletions
from obsd.services.query_turns import QueryTurns
from obsd.services.span_encoding import encode_spans
from obsd.services.span_store import SpanStore, SpanWriteOutcome, TracePage, TraceSearch

if TYPE_CHECKING:
    from obsd.model.span import Span, SpanKind
    from obsd.model.span_predicate import Constant, Field, SpanPredicate
    from obsd.services.trace_analysis.analysis import TraceAnalysis
    from obsd.services.trace_analysis.baselines import Baseline, Operation

T = TypeVar("T")

WriteTo = Callable[[SpanStore, OnDurable], SpanWriteOutcome]

TRACE_ID_DIGITS: Final = 32
BASELINE_NS: Final = 24 * 3600 * 1_000_000_000
"""How far before a trace is looked for what is usual for its operations."""

_HEX: Final = frozenset("0123456789abcdef")


class RejectedSpansError(BadInputError):
    """Some spans were refused; `outcome` says how many were stored."""

    def __init__(self, outcome: SpanWriteOutcome) -> None:
        super().__init__(describe_rejected_spans(outcome))
        self.outcome = outcome


def describe_rejected_spans(outcome: SpanWriteOutcome) -> str:
    """What was refused, in counts and then in the first few cases."""
    counts = ", ".join(f"{reason}: {count}" for reason, count in sorted(outcome.rejected.items()))
    summary = f"stored {outcome.accepted} spans, refused {sum(outcome.rejected.values())}"
    return "; ".join((f"{summary} ({counts})", *outcome.messages))


def parse_trace_id(text: str) -> str:
    """A trace's id as it is kept: 32 digits in lower case, shorter ones padded with zeros.

    Raises:
        BadInputError: it is no trace id.
    """
    digits = text.strip().lower()
    if not 0 < len(digits) <= TRACE_ID_DIGITS or not _HEX.issuperset(digits):
        raise BadInputError(
            f"invalid trace id {text[:80]!r}: expected 16 or {TRACE_ID_DIGITS} hexadecimal digits"
        )
    return digits.rjust(TRACE_ID_DIGITS, "0")


class TraceCollector:
    """Traces of all projects; times are nanoseconds since 1970, ranges exclude their end."""

    def __init__(
        self,
        projects: Projects,
        executors: Executors,
        turns: QueryTurns,
        limits: QueryLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._projects = projects
        self._ingest = executors.ingest
        self._writes = WriteQueue(executors.ingest, executors.write_threads)
        self._turns = turns
        self._limits = limits or QueryLimits()
        self._clock = clock or SystemClock()
        self._absent = AbsentSpans()
        self.deletions: Final = QueryDeletions["SpanPredicate"](self.read, "traces")

    @property
    def ingest_pool(self) -> Executor:
        """Where receivers decode what is too much for the event loop."""
        return self._ingest

    def now_ns(self) -> int:
        return self._clock.now_ms() * 1_000_000

    # Writing

    async def write(self, project_id: str, body: bytes) -> SpanWriteOutcome:
        """Store an OTLP `ExportTraceServiceRequest`; return once it is durable.

        Of spans with the same trace, id and kind the last one counts: a request may be sent again.

        Raises:
            BadInputError, TooLargeError, OverloadedError, StorageUnavailableError: nothing of it
                is acknowledged.
        """
        return await self.write_with(project_id, lambda store, done: store.write(body, done))

    async def write_with(self, project_id: str, write_to: WriteTo) -> SpanWriteOutcome:
        """The same of what `write_to` writes to the project's store, in the ingest pool."""
        store = self._projects.traces.get(project_id)

        def apply(on_durable: OnDurable) -> SpanWriteOutcome:
            return write_to(store or self._projects.trace_store(project_id), on_durable)

        write = PendingWrite(apply)
        self._writes.put(write)
        return await write.future

    async def collect_traces(self, project_id: str, spans: Sequence[Span]) -> int:
        """Store spans; return how many were, once they are durable.

        Raises:
            RejectedSpansError: some were refused; the others are stored.
        """
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._ingest, encode_spans, list(spans))
        outcome = await self.write(project_id, body)
        if outcome.rejected:
            raise RejectedSpansError(outcome)
        return outcome.accepted

    async def flush(self, project_id: str) -> None:
        """Make segments of what is in memory, and merge what is due.

        Raises:
            StorageUnavailableError: the disk refuses; nothing is lost.
        """
        traces = self._projects.traces
        if traces.get(project_id) is None and not traces.is_on_disk(project_id):
            return

        def settle() -> None:
            self._projects.trace_store(project_id).settle()

        # Not in the pools of ingest or queries: it takes as long as it takes.
        await asyncio.get_running_loop().run_in_executor(None, settle)

    # Asking

    def new_budget(self) -> QueryBudget:
        """What one query may spend."""
        return QueryBudget(max_samples=self._limits.max_samples, timeout_s=self._limits.timeout_s)

    async def read(self, project_id: str, work: Callable[[SpanStore, QueryBudget], T]) -> T:
        """Run `work` on the project's engine in the query pool, when it is its turn."""
        budget = self.new_budget()
        return await self._turns.run(budget, lambda: work(self._readable(project_id), budget))

    def _readable(self, project_id: str) -> SpanStore:
        """Blocks where the project has to be opened; only to be read from."""
        return self._projects.existing_traces(project_id) or cast("SpanStore", self._absent)

    async def query_traces(self, project_id: str, search: TraceSearch) -> TracePage:
        """One page of the traces that have a matching span."""
        return await self.read(project_id, lambda store, budget: store.search(search, budget))

    async def trace(self, project_id: str, trace_id: str) -> Sequence[Span]:
        """The spans of a trace by start; none where it is not known.

        Raises:
            BadInputError: it is no trace id.
        """
        wanted = parse_trace_id(trace_id)
        return await self.read(project_id, lambda store, budget: store.trace(wanted, budget))

    async def otlp(self, project_id: str, trace_id: str) -> bytes | None:
        """A trace as OTLP `TracesData`; None where it is not known.

        Raises:
            BadInputError: it is no trace id.
        """
        wanted = parse_trace_id(trace_id)
        return await self.read(project_id, lambda store, budget: store.otlp(wanted, budget))

    async def analyze_trace(self, project_id: str, trace_id: str) -> TraceAnalysis | None:
        """Where a trace's time went, what failed, and what to fix; None where it is not known.

        What is usual for its operations is what they took in the day before it.

        Raises:
            BadInputError: it is no trace id.
        """
        wanted = parse_trace_id(trace_id)

        def work(store: SpanStore, budget: QueryBudget) -> TraceAnalysis | None:
            from obsd.services.trace_analysis import analysis, baselines

            spans = store.trace(wanted, budget)
            if not spans:
                return None
            end_ns = spans[0].start_ns

            def usual(operations: Sequence[Operation]) -> Mapping[Operation, Baseline]:
                predicate = baselines.predicate_of(operations)
                fields = (baselines.SERVICE, baselines.NAME)
                columns = store.scan(predicate, fields, end_ns - BASELINE_NS, end_ns, budget)
                return baselines.baselines(columns)

            return analysis.analyze(spans, usual)

        return await self.read(project_id, work)

    async def spans(
        self, project_id: str, predicate: SpanPredicate, start_ns: int, end_ns: int, limit: int
    ) -> Sequence[Span]:
        """Spans that match and start in the range, the newest first."""
        return await self.read(
            project_id,
            lambda store, budget: store.spans(predicate, start_ns, end_ns, limit, budget),
        )

    async def services(self, project_id: str, start_ns: int, end_ns: int) -> Sequence[str]:
        """Names of services with spans in the range, sorted."""
        return await self.read(
            project_id, lambda store, budget: store.services(start_ns, end_ns, budget)
        )

    async def operations(
        self, project_id: str, service: str, start_ns: int, end_ns: int
    ) -> Sequence[tuple[str, SpanKind]]:
        """Names and kinds of a service's spans in the range, sorted."""
        return await self.read(
            project_id, lambda store, budget: store.operations(service, start_ns, end_ns, budget)
        )

    async def field_names(
        self, project_id: str, start_ns: int, end_ns: int, limit: int
    ) -> Sequence[Field]:
        """Attributes of spans in the range."""
        return await self.read(
            project_id, lambda store, budget: store.field_names(start_ns, end_ns, limit, budget)
        )

    async def field_values(
        self,
        project_id: str,
        field: Field,
        predicate: SpanPredicate,
        start_ns: int,
        end_ns: int,
        limit: int,
    ) -> Sequence[tuple[Constant, int]]:
        """The most frequent values of a field among matching spans, with their counts."""
        return await self.read(
            project_id,
            lambda store, budget: store.field_values(
                field, predicate, start_ns, end_ns, limit, budget
            ),
        )
