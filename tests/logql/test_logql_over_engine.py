"""Over the real engine, queries give what they give over a list of records."""

from __future__ import annotations

from pathlib import Path

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
from tests.logql.memory_storage import MemoryStorage, S, record
from tests.logql.test_logql_pushdown import queries, records

GROUPED = (
    "sum by (app, level) (count_over_time({}[5s]))",
    "sum by (service_name, status) (bytes_rate({}[3s] offset 1s))",
    "count_over_time({}[4s])",
)


@pytest.mark.parametrize("granule_rows", [1, 100])
@pytest.mark.parametrize("flushed", [False, True])
def test_an_empty_attribute_hides_no_metadata_of_the_same_name(
    tmp_path: Path, granule_rows: int, flushed: bool
) -> None:
    options = LogOptions(retention_ms=None, granule_rows=granule_rows)
    engine = LogEngine.open(tmp_path, options, SystemClock())
    written = [
        record("of the resource", 1, resource={"host.name": "a"}, attributes={"host.name": ""}),
        record("of bytes", 2, resource={"host.name": "a"}, attributes={"host.name": b""}),
        record("of another", 3, attributes={"host.name": "", "host_name": "a"}),
        record("of two", 4, resource={"host.name": "", "host:name.": "", "host.name-": "x"}),
        record("hidden", 5, resource={"host.name": "a"}, attributes={"host.name": "b"}),
    ]
    try:
        engine.write(encode_logs(written), lambda error: None)
        if flushed:
            engine.flush()
        for query, lines in {
            "host_name=`a`": ["of the resource", "of bytes", "of another"],
            "host_name_=`x`": ["of two"],
            "host_name=`b`": ["hidden"],
        }.items():
            parsed = parse_log_query(f"{{service_name=~`.+`}} | {query}")
            found = run_log_query(parsed, engine, 0, 9 * S, 10, "forward", QueryBudget())
            entries = [entry for stream in found.streams for entry in stream.entries]
            assert [e.line for e in sorted(entries, key=lambda e: e.time_ns)] == lines
    finally:
        engine.close()


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
