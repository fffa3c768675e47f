"""What is sent with a record beside its attributes comes back, and can be searched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from obsd.api.log_entry import log_entry
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.log_labels import stream_labels, structured_metadata
from obsd.model.log_predicate import Compare, Equals, Everything, Exists, Not, Predicate
from obsd.model.log_record import Value
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, set_value, write_body

EVER = (-(1 << 62), 1 << 62)
SCOPE_ATTRIBUTES: dict[str, Value] = {"lib": "net", "tags": ["a", 1]}
SCOPE: dict[str, Value] = {
    "resource.dropped_attributes": 3,
    "resource.schema_url": "https://example.org/r/1",
    "scope.name": "Http.Server",
    "scope.version": "1.2.3",
    "scope.dropped_attributes": 2,
    "scope": SCOPE_ATTRIBUTES,
    "scope.schema_url": "https://example.org/s/1",
}
OWN: dict[str, Value] = {"event_name": "user.login", "flags": 1, "dropped_attributes": 7}


def body() -> bytes:
    message = ExportLogsServiceRequest()
    of_resource = message.resource_logs.add(schema_url="https://example.org/r/1")
    of_resource.resource.dropped_attributes_count = 3
    scoped = of_resource.scope_logs.add(schema_url="https://example.org/s/1")
    scoped.scope.name, scoped.scope.version = "Http.Server", "1.2.3"
    scoped.scope.dropped_attributes_count = 2
    for key, value in SCOPE_ATTRIBUTES.items():
        set_value(scoped.scope.attributes.add(key=key).value, value)
    for n in range(3):
        scoped.log_records.add(time_unix_nano=NOW_NS + n).body.string_value = f"plain {n}"
    rich = scoped.log_records.add(
        time_unix_nano=NOW_NS + 3, event_name="user.login", flags=1, dropped_attributes_count=7
    )
    rich.body.string_value = "rich"
    last = scoped.log_records.add(time_unix_nano=NOW_NS + 4)
    last.body.string_value = "plain again"
    set_value(last.attributes.add(key="flags").value, "own")
    bare = message.resource_logs.add().scope_logs.add()
    bare.log_records.add(time_unix_nano=NOW_NS + 5).body.string_value = "bare"
    return message.SerializeToString()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LogEngine]:
    engine = LogEngine.open(tmp_path / "logs", LogOptions(granule_rows=4), ManualClock(NOW_MS))
    write_body(engine, body())
    yield engine
    engine.close()


def search(engine: LogEngine, predicate: Predicate) -> list[object]:
    page = engine.search(predicate, *EVER, 100, None, QueryBudget(), newest_first=False)
    return [each.body for each in page.records]


@pytest.mark.parametrize("stored", ["memtable", "flushed", "merged", "restarted"])
def test_details_come_back_and_are_found(tmp_path: Path, engine: LogEngine, stored: str) -> None:
    if stored == "restarted":
        engine.close()
        engine = LogEngine.open(tmp_path / "logs", LogOptions(), ManualClock(NOW_MS))
    elif stored != "memtable":
        engine.flush()
    if stored == "merged":
        write_body(engine, body().replace(b"plain", b"other"))
        engine.settle()
    records, _ = engine.arrived(-1, 6, Everything(), QueryBudget())
    assert [dict(each.details) for each in records] == [
        SCOPE,
        SCOPE,
        SCOPE,
        {**SCOPE, **OWN},
        SCOPE,
        {},
    ]
    assert log_entry(records[3]).details == {**SCOPE, **OWN}
    rich = search(engine, Equals("event_name", "user.login"))
    assert rich == ["rich"]
    assert search(engine, Compare("flags", ">=", 1)) == ["rich"]
    again = ["plain again", "other again"] if stored == "merged" else ["plain again"]
    assert search(engine, Equals("flags", "own")) == again
    assert search(engine, Equals("dropped_attributes", "7")) == ["rich"]
    scoped = 9 if stored == "merged" else 5
    assert len(search(engine, Equals("scope.name", "http.server"))) == scoped
    assert len(search(engine, Equals("scope.lib", "net"))) == scoped
    assert "bare" not in search(engine, Exists("resource.schema_url"))
    names = dict(engine.field_names(Everything(), *EVER, 100, QueryBudget()).counts)
    assert names["event_name"] == 1
    engine.close()


def test_a_scope_that_is_too_large_is_refused(tmp_path: Path) -> None:
    options = LogOptions(max_metadata_bytes=100)
    engine = LogEngine.open(tmp_path / "small", options, ManualClock(NOW_MS))
    outcome = write_body(engine, body())
    assert (outcome.accepted, outcome.rejected) == (1, {"metadata_too_large": 5})
    engine.close()


def test_a_record_with_too_many_attributes_is_refused_by_itself(tmp_path: Path) -> None:
    message = ExportLogsServiceRequest()
    records = message.resource_logs.add().scope_logs.add().log_records
    for count in (128, 129, 1):
        record = records.add(time_unix_nano=NOW_NS)
        record.body.string_value = f"{count} attributes"
        for n in range(count):
            set_value(record.attributes.add(key=f"a{n}").value, n)
    engine = LogEngine.open(tmp_path / "many", LogOptions(), ManualClock(NOW_MS))
    outcome = write_body(engine, message.SerializeToString())
    assert (outcome.accepted, outcome.rejected) == (2, {"too_many_attributes": 1})
    assert outcome.messages == ["a record has more attributes than the limit of 128"]
    # What a crash leaves in the WAL is taken as it was, whatever the limit is now.
    shutil.copytree(tmp_path / "many", tmp_path / "crashed")
    engine.close()
    options = LogOptions(max_attributes=2)
    engine = LogEngine.open(tmp_path / "crashed", options, ManualClock(NOW_MS))
    assert engine.stats().memtable_records == 2
    assert search(engine, Everything()) == ["128 attributes", "1 attributes"]
    engine.close()


@pytest.mark.parametrize("flushed", [False, True])
def test_details_are_structured_metadata(engine: LogEngine, flushed: bool) -> None:
    if flushed:
        engine.flush()
    records, _ = engine.arrived(-1, 6, Everything(), QueryBudget())
    lines = engine.scan(Everything(), *EVER, QueryBudget(), newest_first=False)
    found = [metadata for batch in lines for metadata in batch.metadata]
    assert found == [structured_metadata(each, stream_labels(each)) for each in records]
    assert found[3] == {
        "detected_level": "unknown",
        "dropped_attributes_count": "7",
        "event_name": "user.login",
        "flags": "1",
        "level": "unknown",
        "lib": "net",
        "resource_dropped_attributes_count": "3",
        "scope_dropped_attributes_count": "2",
        "scope_name": "Http.Server",
        "scope_version": "1.2.3",
        "tags": '["a",1]',
    }
    assert found[4]["flags"] == "own"
    assert search(engine, Equals("metadata:event_name", "user.login")) == ["rich"]
    assert len(search(engine, Equals("metadata:lib", "net"))) == 5
    assert search(engine, Equals("metadata:flags", "own")) == ["plain again"]


def test_the_severity_is_found_as_it_was_sent(tmp_path: Path) -> None:
    message = ExportLogsServiceRequest()
    records = message.resource_logs.add().scope_logs.add().log_records
    for number, text in ((9, "Notice"), (17, "ERR"), (18, ""), (0, "Notice"), (0, "")):
        record = records.add(time_unix_nano=NOW_NS, severity_text=text)
        record.severity_number = number  # type: ignore[assignment]
        record.body.string_value = f"{number} {text}"
    engine = LogEngine.open(tmp_path / "levels", LogOptions(), ManualClock(NOW_MS))
    write_body(engine, message.SerializeToString())
    for flushed in (False, True):
        if flushed:
            engine.flush()
        assert search(engine, Equals("severity_text", "notice")) == ["9 Notice", "0 Notice"]
        assert search(engine, Equals("severity_number", "17")) == ["17 ERR"]
        assert search(engine, Compare("severity_number", ">=", 17)) == ["17 ERR", "18 "]
        assert search(engine, Not(Exists("severity_number"))) == ["0 Notice", "0 "]
        counted = engine.count_over_time(
            Everything(), NOW_NS, NOW_NS + 1, 1, ["severity_number"], QueryBudget()
        )
        assert {group: counts.tolist() for group, counts in counted} == {
            ("9",): [1],
            ("17",): [1],
            ("18",): [1],
            ("",): [2],
        }
    engine.close()


def test_other_scopes_make_other_records(engine: LogEngine) -> None:
    again = body()
    write_body(engine, again)
    assert engine.stats().records == 6
    write_body(engine, again.replace(b"Http.Server", b"Http.Client"))
    assert engine.stats().records == 11
