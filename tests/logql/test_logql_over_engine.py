"""Over the real engine, queries give what they give over a list of records."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.logql import ast, parse, parse_log_query, run_log_query, run_range
from obsd.model.budget import QueryBudget
from obsd.model.clock import SystemClock
from obsd.model.log_predicate import Everything
from obsd.model.log_record import LogRecord
from obsd.services.log_encoding import encode_logs
from tests.logql.memory_storage import MemoryStorage, S
from tests.logql.test_logql_pushdown import queries, records

GROUPED = (
    "sum by (app, level) (count_over_time({}[5s]))",
    "sum by (service_name, status) (bytes_rate({}[3s] offset 1s))",
    "count_over_time({}[4s])",
)


@settings(max_examples=30, deadline=None)
@given(text=queries, records=records.map(lambda found: list({repr(r): r for r in found}.values())))
def test_queries_over_the_engine(
    tmp_path_factory: pytest.TempPathFactory, text: str, records: list[LogRecord]
) -> None:
    options = LogOptions(retention_ms=None, granule_rows=4)
    engine = LogEngine.open(tmp_path_factory.mktemp("logs"), options, SystemClock())
    try:
        for number, each in enumerate(records):
            engine.write(encode_logs([each]), lambda error: None)
            if number == 5:
                engine.flush()
        stored = engine.search(
            Everything(), -S, 100 * S, 1_000, None, QueryBudget(), newest_first=False
        )
        memory = MemoryStorage(stored.records)
        query = parse_log_query(text)
        found_lines, wanted_lines = (
            run_log_query(query, storage, 0, 31 * S, 1_000, "forward", QueryBudget())
            for storage in (engine, memory)
        )
        assert found_lines.streams == wanted_lines.streams
        for metric in GROUPED:
            expr = parse(metric.format(f"{text} | __error__=``"))
            assert not isinstance(expr, ast.LogQuery)
            found, wanted = (
                run_range(expr, storage, 2 * S, 30 * S, 2 * S, QueryBudget())
                for storage in (engine, memory)
            )
            assert found.labels == wanted.labels
            assert found.present.tolist() == wanted.present.tolist()
            assert found.values[found.present].tolist() == pytest.approx(
                wanted.values[wanted.present].tolist()
            )
            assert found.stats.lines == wanted.stats.lines
    finally:
        engine.close()
