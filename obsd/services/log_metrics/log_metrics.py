"""Metrics of logs: every few seconds, what has arrived is counted by the rules and written.

Counters are by arrival: a record counts when it comes, whatever its time, so that late ones do not
change what was already seen. The samples are series of the project's metrics, for PromQL, alerts
and dashboards, and are kept as long as these.

Concurrency: called on the event loop; what blocks runs in the pool given.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, Protocol, TypeVar

from obsd.model.budget import QueryBudget
from obsd.model.clock import Clock
from obsd.model.errors import BadInputError, QueryError
from obsd.model.log_predicate import And, Exists, Predicate
from obsd.services.log_metrics.counters import FILE, CounterFile, RuleCounters
from obsd.services.log_metrics.rule_store import RuleStore
from obsd.services.log_metrics.rules import BUILT_IN, LogMetricRule, check_rule
from obsd.services.metric_encoding import Metric, RejectedMetricsError
from obsd.services.metrics_collector import MetricsCollector

log = logging.getLogger(__name__)

T = TypeVar("T")

INTERVAL_S: Final = 15.0
MAX_ROWS: Final = 2_000_000
"""Records that are counted in one go; a field with many values would take too much memory."""

_TYPES: Final = {"count": "counter", "sum": "counter", "histogram": "histogram"}


class CountedLogs(Protocol):
    """What counting asks of a project's logs. Every method blocks; any thread."""

    def last_row(self) -> int:
        """The number of the newest record; -1 where there is none."""

    def count_arrived(
        self,
        after_row: int,
        through_row: int,
        predicate: Predicate,
        by: Sequence[str],
        budget: QueryBudget,
    ) -> Sequence[tuple[tuple[str, ...], int]]: ...


class LogMetrics:
    """The metrics of all projects' logs."""

    def __init__(
        self,
        sources: Callable[[], Iterable[tuple[str, CountedLogs]]],
        directory_of: Callable[[str], Path],
        rules: RuleStore,
        metrics: MetricsCollector,
        new_budget: Callable[[], QueryBudget],
        pool: Executor,
        clock: Clock,
    ) -> None:
        """`sources` gives the projects that have logs; `directory_of`, a project's directory."""
        self._sources = sources
        self._directory_of = directory_of
        self._rules = rules
        self._metrics = metrics
        self._new_budget = new_budget
        self._pool = pool
        self._clock = clock
        self._counters: dict[str, dict[str, RuleCounters]] = {}  # By project, by rule.
        self._failing: dict[tuple[str, str], str] = {}
        self._counting = asyncio.Lock()

    # Counting

    async def count(self) -> None:
        """Count what has arrived since the last time, and write the samples."""
        async with self._counting:
            for project_id, source in list(self._sources()):
                await self._count(project_id, source)

    async def _count(self, project_id: str, source: CountedLogs) -> None:
        samples = await self._run(lambda: self._count_project(project_id, source))
        if not samples:
            return
        try:
            await self._metrics.collect_metrics(project_id, samples)
        except RejectedMetricsError as error:
            log.warning(
                "metrics of logs were refused", extra={"project": project_id, "reason": str(error)}
            )
        counters = list(self._counters[project_id].values())
        for rule in [each.rule for each in counters if each.born]:
            kind = _TYPES[rule.kind]
            await self._metrics.register_metric(project_id, rule.name, kind, rule.help)
        if any(each.has_changed for each in counters):
            file = self._file(project_id)
            await self._run(lambda: file.save(counters))
        for each in counters:
            each.settle()

    def _file(self, project_id: str) -> CounterFile:
        return CounterFile(self._directory_of(project_id) / FILE)

    def _count_project(self, project_id: str, source: CountedLogs) -> list[Metric]:
        last = source.last_row()
        counters = self._current(project_id, last)
        for each in counters.values():
            self._count_rule(project_id, each, source, last)
        return self._samples(counters.values())

    def _current(self, project_id: str, last: int) -> dict[str, RuleCounters]:
        """The counters of the rules that there are now."""
        known = self._counters.get(project_id)
        if known is None:
            known = {each.rule.name: each for each in self._file(project_id).load()}
        current = {}
        for rule, after_row in self._rules.rules(project_id):
            before = known.get(rule.name)
            if before is None or before.rule != rule:
                before = RuleCounters(rule, after_row)
            before.row = min(before.row, last)  # After a crash the last numbers come again.
            current[rule.name] = before
        self._counters[project_id] = current
        return current

    def _count_rule(
        self, project_id: str, counters: RuleCounters, source: CountedLogs, last: int
    ) -> None:
        rule = counters.rule
        fields = [*rule.by, *([rule.field] if rule.field else [])]
        try:
            predicate = compile_rule(rule, self._clock.now_ms() * 1_000_000)
            while counters.row < last:
                through = min(counters.row + MAX_ROWS, last)
                groups = source.count_arrived(
                    counters.row, through, predicate, fields, self._new_budget()
                )
                counters.count(groups)
                counters.row = through
        except (QueryError, BadInputError) as error:
            # The others go on, and so does this one with what comes next.
            counters.row = last
            self._report(project_id, rule.name, str(error))
        else:
            self._failing.pop((project_id, rule.name), None)

    def _report(self, project_id: str, name: str, reason: str) -> None:
        if self._failing.get((project_id, name)) != reason:
            self._failing[project_id, name] = reason
            fields = {"project": project_id, "rule": name, "reason": reason}
            log.warning("a rule cannot count records", extra=fields)

    def _samples(self, counters: Iterable[RuleCounters]) -> list[Metric]:
        now_ms = self._clock.now_ms()
        # A series that is new begins at zero, or its first increase would be seen by nobody.
        before_ms = now_ms - round(INTERVAL_S * 1000)
        samples = []
        for each in counters:
            for name, labels, value, is_new in each.samples():
                if is_new:
                    samples.append(Metric(name, 0.0, before_ms, dict(labels)))
                samples.append(Metric(name, value, now_ms, dict(labels)))
        return samples

    # Rules

    async def rules(self, project_id: str) -> list[tuple[LogMetricRule, str]]:
        """A project's rules, each with why it cannot count; "" if it can."""
        rules = await self._run(lambda: self._rules.rules(project_id))
        return [(rule, self._failing.get((project_id, rule.name), "")) for rule, _ in rules]

    async def put_rule(self, project_id: str, rule: LogMetricRule) -> None:
        """Add a rule, or replace the one of its name, which then begins anew.

        Raises:
            BadInputError: it cannot work, or there are too many.
        """
        if rule.name == BUILT_IN.name:
            raise BadInputError(f'"name": {rule.name} is the built-in rule')
        check_rule(rule, lambda _: compile_rule(rule, 0))

        def put() -> None:
            source = dict(self._sources()).get(project_id)
            self._rules.put(project_id, rule, -1 if source is None else source.last_row())

        await self._run(put)

    async def delete_rule(self, project_id: str, name: str) -> bool:
        """Remove a rule; false where there is none. Its series end."""
        if name == BUILT_IN.name:
            raise BadInputError(f"{name} is the built-in rule, which cannot be removed")
        return await self._run(lambda: self._rules.delete(project_id, name))

    async def preview(self, project_id: str, rule: LogMetricRule) -> list[Metric]:
        """What a rule would have counted among the newest records; nothing is kept."""
        check_rule(rule, lambda _: compile_rule(rule, 0))

        def count() -> list[Metric]:
            counters = RuleCounters(rule, -1)
            source = dict(self._sources()).get(project_id)
            if source is not None:
                last = source.last_row()
                fields = [*rule.by, *([rule.field] if rule.field else [])]
                predicate = compile_rule(rule, self._clock.now_ms() * 1_000_000)
                first = max(-1, last - MAX_ROWS)
                counters.count(
                    source.count_arrived(first, last, predicate, fields, self._new_budget())
                )
            return [
                Metric(n, value, None, dict(labels)) for n, labels, value, _ in counters.samples()
            ]

        return await self._run(count)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def compile_rule(rule: LogMetricRule, now_ns: int) -> Predicate:
    """What the engine is to count.

    Raises:
        QueryParseError: the rule's query is none.
    """
    from obsd.logsearch import compile_query

    predicate = compile_query(rule.query, now_ns)
    return And((predicate, Exists(rule.field))) if rule.field else predicate
