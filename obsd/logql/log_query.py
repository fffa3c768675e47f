"""Log queries: the lines of streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from obsd.logql.ast import LogQuery
from obsd.logql.line import Line
from obsd.logql.pipeline import compile_selector, passes, shown
from obsd.logql.pushdown import push_down
from obsd.logql.result import LogEntry, LogStream, LogStreams, QueryStats
from obsd.logql.stages import compile_pipeline
from obsd.logql.storage import Storage
from obsd.model.budget import QueryBudget
from obsd.model.errors import QueryError
from obsd.model.labels import Labels

Direction = Literal["forward", "backward"]

MAX_RESULT_BYTES: Final = 64 << 20
"""Characters of lines that a result may have: 5,000 lines of 256 KiB would be 1.2 GiB."""


@dataclass(slots=True)
class _Streams:
    """Entries that are left, by the labels of their streams."""

    interval_ns: int
    entries: dict[tuple[tuple[str, str], ...], list[LogEntry]] = field(default_factory=dict)
    count: int = 0
    size: int = 0

    def add(self, labels: Mapping[str, str], entry: LogEntry) -> None:
        """Take an entry, unless it is too near to the one before.

        Raises:
            QueryError: the result becomes too large.
        """
        entries = self.entries.setdefault(tuple(sorted(labels.items())), [])
        if entries and abs(entry.time_ns - entries[-1].time_ns) < self.interval_ns:
            return
        entries.append(entry)
        self.count += 1
        self.size += len(entry.line)
        if self.size > MAX_RESULT_BYTES:
            raise QueryError(
                f"the lines found are larger than the limit of {MAX_RESULT_BYTES} bytes: ask for"
                " fewer with limit, or narrow the query"
            )

    def sorted(self) -> tuple[LogStream, ...]:
        return tuple(
            LogStream(Labels.of(pairs), tuple(self.entries[pairs]))
            for pairs in sorted(self.entries)
        )


def run_log_query(
    expr: LogQuery,
    storage: Storage,
    start_ns: int,
    end_ns: int,
    limit: int,
    direction: Direction,
    budget: QueryBudget,
    interval_ns: int = 0,
) -> LogStreams:
    """The first `limit` lines from `start_ns` to before `end_ns` that the stages let through.

    Args:
        expr: the query.
        storage: where the lines are.
        start_ns: the first time.
        end_ns: the first time that is too late.
        limit: how many lines, over all streams.
        direction: `backward` begins with the newest.
        budget: what it may take; a line read is a sample.
        interval_ns: where not 0, each stream's lines are at least so far from one another.

    Raises:
        QueryError: the budget says so, or the result is too large.
    """
    stats = QueryStats()
    streams = _Streams(interval_ns)
    if limit <= 0 or end_ns <= start_ns:
        return LogStreams((), stats)
    pushed = push_down(expr)
    stages = compile_pipeline(pushed.stages)
    is_selected = compile_selector(pushed.matchers) if pushed.matchers else None
    for batch in storage.scan(
        pushed.predicate, start_ns, end_ns, budget, newest_first=direction == "backward"
    ):
        budget.charge(len(batch.texts))
        stats.lines += len(batch.texts)
        stats.bytes += batch.size_bytes
        for time_ns, text, stream, metadata in zip(
            batch.times_ns, batch.texts, batch.streams, batch.metadata, strict=True
        ):
            if is_selected is not None and not is_selected(stream):
                continue
            line = Line(time_ns, text, stream, metadata)
            if not passes(stages, line):
                continue
            found = shown(line)
            entry = LogEntry(time_ns, found.line, found.structured_metadata, found.parsed)
            streams.add(found.labels, entry)
            if streams.count >= limit:
                stats.entries = streams.count
                return LogStreams(streams.sorted(), stats)
    stats.entries = streams.count
    return LogStreams(streams.sorted(), stats)
