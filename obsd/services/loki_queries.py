"""LogQL over a project's logs: lines of streams, or numbers over time.

Queries run in the pool in their turn; results are rendered there, too, since they can be large.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from obsd.model.errors import BadInputError

if TYPE_CHECKING:
    from obsd.logql import LogStreams, Matrix, Scalar, Vector
    from obsd.model.budget import QueryBudget
    from obsd.services.log_aggregator import LogAggregator
    from obsd.services.log_store import LogStore

MAX_ENTRIES: Final = 5_000
"""Lines that a query may ask for; Loki's own default."""


@dataclass(frozen=True, slots=True)
class RangeQuery:
    """A query over a range: lines from `start_ns` to before `end_ns`, or a number every step.

    Attributes:
        limit: lines.
        interval_ns: where not 0, lines are at least so far from one another.
    """

    text: str
    start_ns: int
    end_ns: int
    step_ns: int
    limit: int = 100
    direction: Literal["forward", "backward"] = "backward"
    interval_ns: int = 0

    def aligned(self) -> tuple[int, int]:
        """Start and end at multiples of the step, so that a chart that moves does not shimmer."""
        start_ns = self.start_ns - self.start_ns % self.step_ns
        return start_ns, self.end_ns + -self.end_ns % self.step_ns


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave, and the seconds that it waited and ran."""

    value: LogStreams | Matrix | Vector | Scalar
    queued_s: float
    run_s: float


Render = Callable[[Answer], bytes]


class LokiQueries:
    """Queries of all projects."""

    def __init__(self, logs: LogAggregator) -> None:
        self._logs = logs

    async def range(self, project_id: str, asked: RangeQuery, render: Render) -> bytes:
        """Run a query over a range; `render` in the pool.

        Raises:
            BadInputError: the query is none, or asks for too much.
            QueryError: it takes too much.
        """

        def run(store: LogStore, budget: QueryBudget) -> LogStreams | Matrix:
            from obsd.logql import LogQuery, parse, run_log_query, run_range

            expr = parse(asked.text)
            if not isinstance(expr, LogQuery):
                start_ns, end_ns = asked.aligned()
                return run_range(expr, store, start_ns, end_ns, asked.step_ns, budget)
            check_entries(asked.limit)
            return run_log_query(
                expr,
                store,
                asked.start_ns,
                asked.end_ns,
                asked.limit,
                asked.direction,
                budget,
                asked.interval_ns,
            )

        return await self._run(project_id, run, render)

    async def instant(self, project_id: str, text: str, time_ns: int, render: Render) -> bytes:
        """Run a metric query at one time.

        Raises:
            As `range`; BadInputError for a log query, too.
        """

        def run(store: LogStore, budget: QueryBudget) -> Vector | Scalar:
            from obsd.logql import LogQuery, parse, run_instant

            expr = parse(text)
            if isinstance(expr, LogQuery):
                raise BadInputError(
                    "log queries are not supported as an instant query type, please change your "
                    "query to a range query type"
                )
            return run_instant(expr, store, time_ns, budget)

        return await self._run(project_id, run, render)

    async def _run(
        self,
        project_id: str,
        run: Callable[[LogStore, QueryBudget], LogStreams | Matrix | Vector | Scalar],
        render: Render,
    ) -> bytes:
        arrived_s = time.perf_counter()

        def work(store: LogStore, budget: QueryBudget) -> bytes:
            started_s = time.perf_counter()
            value = run(store, budget)
            run_s = time.perf_counter() - started_s
            return render(Answer(value, started_s - arrived_s, run_s))

        return await self._logs.read(project_id, work)


def check_entries(limit: int) -> None:
    """Refuse to give more lines than anybody reads.

    Raises:
        BadInputError: in Loki's words.
    """
    if limit > MAX_ENTRIES:
        raise BadInputError(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query "
            f"({limit} > {MAX_ENTRIES})"
        )
