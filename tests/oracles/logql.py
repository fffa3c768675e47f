"""LogQL in the plainest form: every record through every stage, every window on its own."""

from __future__ import annotations

from collections.abc import Sequence

from obsd.logql import LineProcessor, ProcessedLine, ast
from obsd.model.labels import Labels
from obsd.model.log_record import LogRecord


def lines(
    query: ast.LogQuery, records: Sequence[LogRecord], start_ns: int, end_ns: int
) -> list[ProcessedLine]:
    """What a log query lets through, oldest first."""
    processor = LineProcessor(query)
    found = [processor.process(r) for r in records if start_ns <= r.time_ns < end_ns]
    return sorted((line for line in found if line is not None), key=lambda line: line.time_ns)


def counts(
    node: ast.RangeAggregation,
    by: Sequence[str],
    records: Sequence[LogRecord],
    times_ns: Sequence[int],
) -> dict[Labels, dict[int, float]]:
    """The sums by labels of a counting range aggregation, at each time that has something."""
    window = node.range
    found: dict[Labels, dict[int, float]] = {}
    for time_ns in times_ns:
        end_ns = time_ns - window.offset_ns
        # After the window's start, and with its end.
        for line in lines(window.query, records, end_ns - window.range_ns + 1, end_ns + 1):
            labels = {**line.labels, **line.structured_metadata, **line.parsed}
            group = Labels.of({name: labels.get(name, "") for name in by})
            weight = 1.0
            if node.op.startswith("bytes"):
                weight = float(len(line.line.encode()))
            if node.op.endswith("rate"):
                weight /= window.range_ns / 1e9
            steps = found.setdefault(group, {})
            steps[time_ns] = steps.get(time_ns, 0.0) + weight
    return found
