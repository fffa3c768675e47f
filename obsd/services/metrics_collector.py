"""What the product does with metrics: take them in durably, and answer questions about them.

Concurrency: called on the event loop. Engines and the evaluator block, so they run in two thread
pools, one for ingest and one for queries, and neither waits for the other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from obsd import _native
from obsd.config.tree import OtlpConfig
from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock, SystemClock
from obsd.model.errors import BadInputError
from obsd.model.exemplar import Exemplar
from obsd.model.labels import Labels
from obsd.model.metadata import METRIC_TYPES, Metadata
from obsd.promql import Evaluator, Result
from obsd.promql.ast import Expr
from obsd.services.metric_encoding import (
    Metric,
    RejectedMetricsError,
    encode_metadata,
    encode_metrics,
)
from obsd.services.otlp_metrics import OtlpMetrics
from obsd.services.pending_write import OnDurable, PendingWrite, WriteQueue
from obsd.services.projects import Projects
from obsd.services.query_slots import QuerySlots
from obsd.services.query_turns import QueryTurns
from obsd.tsdb.absent import AbsentMetrics, MatcherSets
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.write import Wire, WriteOutcome

T = TypeVar("T")
MetricsReader = MetricsEngine | AbsentMetrics

MAX_POINTS: Final = 11_000
"""Points a series that a range query may return; Prometheus' own limit."""


@dataclass(frozen=True, slots=True)
class Executors:
    """Where blocking work runs; whoever makes the pools also shuts them down.

    Attributes:
        write_threads: how many threads of the ingest pool decode writes at one time; more than
            there are processors would only take turns.
    """

    ingest: Executor
    query: Executor
    write_threads: int = field(default_factory=lambda: max(2, len(os.sched_getaffinity(0))))


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What all queries together, and each of them, may take.

    Attributes:
        concurrent: queries that run at one time; no more than the query pool has threads.
        queued: queries that may wait for a turn; one more is refused at once.
        queue_wait_s: how long one waits before it is refused.
        timeout_s: how long one may run.
        max_samples: how many samples one may read.
        lookback_ms: how far back an instant selector looks for its newest sample.
    """

    concurrent: int = 4
    queued: int = 200
    queue_wait_s: float = 30.0
    timeout_s: float = 120.0
    max_samples: int = 50_000_000
    lookback_ms: int = 300_000


@dataclass(slots=True)
class IngestTotals:
    """What has been acknowledged since the start, in all projects. Event loop only."""

    requests: int = 0
    samples: int = 0
    histograms: int = 0
    exemplars: int = 0

    def add(self, outcome: WriteOutcome) -> None:
        self.requests += 1
        self.samples += outcome.samples
        self.histograms += outcome.histograms
        self.exemplars += outcome.exemplars


class MetricsCollector:
    """Metrics of all projects."""

    def __init__(
        self,
        projects: Projects,
        executors: Executors,
        limits: QueryLimits | None = None,
        clock: Clock | None = None,
        otlp: OtlpConfig | None = None,
    ) -> None:
        self._projects = projects
        self._executors = executors
        self._writes = WriteQueue(executors.ingest, executors.write_threads)
        self.limits = limits or QueryLimits()
        self._clock = clock or SystemClock()
        self.turns = QueryTurns(
            executors.query,
            QuerySlots(self.limits.concurrent, self.limits.queued, self.limits.queue_wait_s),
        )
        self._absent = AbsentMetrics()
        self.totals = IngestTotals()
        self.otlp = OtlpMetrics(
            projects,
            self._write_1,
            executors.ingest,
            otlp or OtlpConfig(),
            self.limits.lookback_ms,
            self._clock,
        )

    @property
    def ingest_pool(self) -> Executor:
        """Where what is received may be decoded."""
        return self._executors.ingest

    # Writing

    async def write(self, project_id: str, body: bytes, wire: Wire) -> WriteOutcome:
        """Store a remote write request (snappy-compressed); return once it is durable.

        Raises:
            BadInputError, TooLargeError, OverloadedError, StorageUnavailableError: nothing of it
                is acknowledged.
        """
        engine = self._projects.opened(project_id)

        def apply(on_durable: OnDurable) -> WriteOutcome:
            target = engine or self._projects.engine(project_id)
            return target.write(body, wire, on_durable)

        write = PendingWrite(apply)
        self._writes.put(write)
        outcome = await write.future
        self.totals.add(outcome)
        return outcome

    async def _write_1(self, project_id: str, body: bytes) -> WriteOutcome:
        return await self.write(project_id, body, Wire.REMOTE_WRITE_1)

    async def write_exposition(
        self,
        project_id: str,
        text: bytes,
        extra_labels: Sequence[tuple[str, str]] = (),
        now_ms: int | None = None,
        *,
        honor_timestamps: bool = True,
    ) -> tuple[WriteOutcome, list[str]]:
        """Store exposition text; samples without a time are of `now_ms`.

        Returns:
            What was stored, and what is wrong with the lines that were left out.
        """
        default_ms = self._clock.now_ms() if now_ms is None else now_ms
        loop = asyncio.get_running_loop()
        body, _, errors = await loop.run_in_executor(
            self._executors.ingest,
            _native.exposition_to_write_request,
            text,
            default_ms,
            list(extra_labels),
            honor_timestamps,
        )
        return await self.write(project_id, body, Wire.REMOTE_WRITE_1), errors

    async def collect_metrics(self, project_id: str, metrics: Sequence[Metric]) -> int:
        """Store samples; return how many were.

        Raises:
            RejectedMetricsError: some were refused; the others are stored.
        """
        families = {m.name: m.metadata for m in metrics if m.metadata is not None}
        if families:
            await self.write(project_id, encode_metadata(families), Wire.REMOTE_WRITE_1)
        if not metrics:
            return 0
        now_ms = self._clock.now_ms()
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(
            self._executors.ingest, encode_metrics, list(metrics), now_ms
        )
        outcome = await self.write(project_id, body, Wire.REMOTE_WRITE_1)
        if outcome.rejected:
            raise RejectedMetricsError(outcome)
        return outcome.samples

    async def register_metric(
        self, project_id: str, name: str, metric_type: str, description: str = "", unit: str = ""
    ) -> None:
        """Say what a metric is, before or after its samples come."""
        if metric_type not in METRIC_TYPES:
            raise BadInputError(
                f"invalid metric type {metric_type!r}: expected one of {', '.join(METRIC_TYPES)}"
            )
        body = encode_metadata({name: Metadata(metric_type, description, unit)})
        await self.write(project_id, body, Wire.REMOTE_WRITE_1)

    async def flush(self, project_id: str) -> None:
        """Make parts of what is in memory, and merge them as far as they ever will be for now.

        Raises:
            StorageUnavailableError: the disk refuses; nothing is lost.
        """

        def settle() -> None:
            if (engine := self._projects.existing(project_id)) is not None:
                engine.settle()

        # Not in the pools of ingest or queries: it takes as long as it takes.
        await asyncio.get_running_loop().run_in_executor(None, settle)

    # Asking

    def new_budget(self, timeout_s: float | None = None) -> QueryBudget:
        """What one query may spend; a client can ask for less time, not for more."""
        limits = self.limits
        allowed_s = limits.timeout_s if timeout_s is None else min(timeout_s, limits.timeout_s)
        return QueryBudget(max_samples=limits.max_samples, timeout_s=allowed_s)

    async def evaluate(
        self, project_id: str, budget: QueryBudget, work: Callable[[Evaluator], T]
    ) -> T:
        """Run `work` in the query pool, when it is its turn.

        When the awaiting task is cancelled, the budget is, and the thread stops at its next check.

        Raises:
            OverloadedError: too many queries run or wait.
        """
        return await self.turns.run(
            budget,
            lambda: work(Evaluator(self._reader(project_id), lookback_ms=self.limits.lookback_ms)),
        )

    async def read(
        self,
        project_id: str,
        work: Callable[[MetricsReader, QueryBudget], T],
        budget: QueryBudget | None = None,
    ) -> T:
        """Run `work` on the project's engine in the query pool, when it is its turn."""
        spend = budget or self.new_budget()
        return await self.turns.run(spend, lambda: work(self._reader(project_id), spend))

    def _reader(self, project_id: str) -> MetricsReader:
        """Blocks where the project has to be opened."""
        return self._projects.existing(project_id) or self._absent

    async def query_instant(
        self,
        project_id: str,
        query: str | Expr,
        time_ms: int,
        budget: QueryBudget | None = None,
        *,
        lookback_ms: int | None = None,
    ) -> Result:
        """Evaluate a query at one moment."""
        spend = budget or self.new_budget()
        return await self.evaluate(
            project_id,
            spend,
            lambda evaluator: evaluator.instant(query, time_ms, spend, lookback_ms=lookback_ms),
        )

    async def query_range(
        self,
        project_id: str,
        query: str | Expr,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        budget: QueryBudget | None = None,
        *,
        lookback_ms: int | None = None,
    ) -> Result:
        """Evaluate a query at every step of a range."""
        spend = budget or self.new_budget()
        return await self.evaluate(
            project_id,
            spend,
            lambda evaluator: evaluator.range(
                query, start_ms, end_ms, step_ms, spend, lookback_ms=lookback_ms
            ),
        )

    async def query_metrics(
        self, project_id: str, query: str, start_ms: int, end_ms: int, step_ms: int
    ) -> Result:
        """`query_range` within the limits that every query has."""
        return await self.query_range(project_id, query, start_ms, end_ms, step_ms)

    async def series(
        self,
        project_id: str,
        matcher_sets: MatcherSets,
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
    ) -> list[Labels]:
        """Label sets, sorted, of series that any selector matches and that have samples then."""
        return await self.read(
            project_id,
            lambda engine, budget: engine.series(matcher_sets, start_ms, end_ms, limit, budget),
        )

    async def label_names(
        self,
        project_id: str,
        matcher_sets: MatcherSets,
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
    ) -> list[str]:
        """Label names, sorted, of those series; no selector means all series."""
        return await self.read(
            project_id,
            lambda engine, budget: engine.label_names(
                matcher_sets, start_ms, end_ms, limit, budget
            ),
        )

    async def label_values(
        self,
        project_id: str,
        name: str,
        matcher_sets: MatcherSets,
        start_ms: int,
        end_ms: int,
        limit: int | None = None,
    ) -> list[str]:
        """Values, sorted, of one label on those series; no selector means all series."""
        return await self.read(
            project_id,
            lambda engine, budget: engine.label_values(
                name, matcher_sets, start_ms, end_ms, limit, budget
            ),
        )

    async def exemplars(
        self, project_id: str, matcher_sets: MatcherSets, start_ms: int, end_ms: int
    ) -> list[tuple[Labels, list[Exemplar]]]:
        """Exemplars, by time, of each series that any selector matches and that has some."""
        return await self.read(
            project_id,
            lambda engine, budget: engine.exemplars(matcher_sets, start_ms, end_ms, budget),
        )

    async def metadata(self, project_id: str, metric: str | None = None) -> dict[str, Metadata]:
        """What senders said about metric families, or about one."""
        return await self.read(project_id, lambda engine, _: engine.metadata(metric))
