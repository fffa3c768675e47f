"""Scans give every matching line once, in order, with labels as the model derives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import SystemClock
from obsd.model.log_labels import stream_labels, structured_metadata
from obsd.model.log_predicate import Equals, Everything, Exists, Not, Predicate, Regex
from obsd.model.log_record import LogRecord
from obsd.model.log_text import text_of
from obsd.services.log_encoding import encode_logs
from tests.oracles.log_predicate import matches

Lines = list[tuple[int, str, dict[str, str], dict[str, str]]]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LogEngine]:
    opened = make(tmp_path)
    yield opened
    opened.close()


def make(directory: Path) -> LogEngine:
    return LogEngine.open(directory, LogOptions(retention_ms=None, granule_rows=16), SystemClock())


def record(body: Any, time_ns: int, **fields: Any) -> LogRecord:
    values: dict[str, Any] = {
        "observed_ns": time_ns,
        "severity_number": 0,
        "severity_text": "",
        "service": "",
        "trace_id": "",
        "span_id": "",
        "resource": {},
        "attributes": {},
        **fields,
    }
    if values["service"]:
        values["resource"] = {"service.name": values["service"], **values["resource"]}
    return LogRecord(time_ns=time_ns, body=body, **values)


def put(engine: LogEngine, records: list[LogRecord]) -> None:
    engine.write(encode_logs(records), lambda error: None)


EVERYTHING = Everything()


def scan(engine: LogEngine, predicate: Predicate = EVERYTHING, **options: Any) -> Lines:
    found: Lines = []
    for batch in engine.scan(predicate, 0, 1 << 62, QueryBudget(), **options):
        assert batch.size_bytes == sum(len(text.encode()) for text in batch.texts)
        found += zip(batch.times_ns, batch.texts, batch.streams, batch.metadata, strict=True)
    return found


def expected(records: list[LogRecord]) -> Lines:
    return [
        (
            each.time_ns,
            text_of(each.body),
            stream_labels(each),
            structured_metadata(each, stream_labels(each)),
        )
        for each in records
    ]


def test_lines_come_in_order_over_granules_and_files(engine: LogEngine) -> None:
    records = [record(f"line {n}", 1_000 + n * 7 % 90) for n in range(90)]
    put(engine, records[:40])
    engine.flush()
    put(engine, records[40:])
    forward = scan(engine, newest_first=False)
    assert [text for _, text, _, _ in forward] == [
        each.body for each in sorted(records, key=lambda each: each.time_ns)
    ]
    assert scan(engine) == forward[::-1]


def test_metadata_is_what_is_asked_for(engine: LogEngine) -> None:
    attributes = {"x": "1", "y": "2", "app": "3"}
    put(engine, [record("a", 5, attributes=attributes, resource={"app": "api"})])
    labels = {"app": "api", "service_name": "unknown_service"}
    assert scan(engine, names=()) == [(5, "a", labels, {})]
    names = {"y", "app_extracted", "level", "z"}
    metadata = {"level": "unknown", "y": "2", "app_extracted": "3"}
    assert scan(engine, names=names) == [(5, "a", labels, metadata)]


def test_a_scan_ends_where_the_range_does(engine: LogEngine) -> None:
    put(engine, [record(str(n), n) for n in range(40)])
    found = [
        text
        for batch in engine.scan(Everything(), 10, 20, QueryBudget(), newest_first=False)
        for text in batch.texts
    ]
    assert found == [str(n) for n in range(10, 20)]


keys = st.sampled_from(
    ["app", "k8s.pod.name", "host.name", "my-label", "my_label", "level", "trace_id", "", "9"]
)
scalars = st.sampled_from(["", "a", "b", 1, 2.5, True, b"\xff", ["a", 1], {"x": "y"}])
records = st.lists(
    st.builds(
        record,
        st.sampled_from(["a b", "", 5, {"k": [1]}, None]),
        st.integers(1, 50),
        service=st.sampled_from(["", "api"]),
        severity_number=st.sampled_from([0, 9, 17]),
        severity_text=st.sampled_from(["", "WARN", "odd"]),
        trace_id=st.sampled_from(["", "ab" * 16]),
        span_id=st.sampled_from(["", "cd" * 8]),
        resource=st.dictionaries(keys, scalars, max_size=4),
        # Names that become the same are in no order.
        attributes=st.dictionaries(keys.filter(lambda key: key != "my_label"), scalars, max_size=4),
    ),
    max_size=24,
    unique_by=repr,  # A record that is sent again is kept once.
)
fields = st.sampled_from(
    [
        *(f"label:{name}" for name in ("app", "k8s_pod_name", "my_label", "host_name", "_9")),
        *(f"metadata:{name}" for name in ("app", "host_name", "my_label", "trace_id", "_", "_9")),
    ]
)
predicates = st.one_of(
    st.builds(Equals, fields, st.sampled_from(["a", "1", "2.5", "ff", "ab" * 16])),
    st.builds(Exists, fields),
    st.builds(Regex, fields, st.sampled_from(["^a$", ".", "^$"])),
)


@settings(max_examples=25, deadline=None)
@given(records=records, predicate=predicates, forward=st.booleans(), flush=st.booleans())
def test_lines_and_labels_are_those_of_the_model(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[LogRecord],
    predicate: Predicate,
    forward: bool,
    flush: bool,
) -> None:
    engine = make(tmp_path_factory.mktemp("scan"))
    try:
        for each in records:
            put(engine, [each])
        if flush:
            engine.flush()
        for asked in (Everything(), predicate, Not(predicate)):
            wanted = [each for each in records if matches(asked, each)]
            wanted.sort(key=lambda each: each.time_ns)
            found = scan(engine, asked, newest_first=not forward)
            if not forward:
                found.reverse()
            assert found == expected(wanted)
    finally:
        engine.close()
