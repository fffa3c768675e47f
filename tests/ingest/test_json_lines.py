import gzip
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.json_lines import Hints, read_lines, time_of
from obsd.ingest.record_limits import RecordLimits
from obsd.model.errors import OverloadedError
from obsd.model.rfc3339 import format_rfc3339_ns, parse_rfc3339_ns
from tests.api.running_app import running_app
from tests.services.memory_logs import MemoryLogs, decode

PATH = "/ingest/jsonline"
NOW_NS = 1_800_000_000_123_456_789
TRACE = "5b8efff798038103d269b633813fc60c"
ANY = RecordLimits()


@pytest.fixture
def store() -> MemoryLogs:
    return MemoryLogs(NOW_NS)


@pytest.fixture
async def app(tmp_path, store):
    async with running_app(tmp_path, open_logs=lambda _: store) as running:
        yield running


def records_of(body: bytes, *, is_text: bool = False, hints: Hints | None = None):
    lines = read_lines(body, is_text=is_text, hints=hints or Hints(), now_ns=NOW_NS, limits=ANY)
    return decode(lines.encode(), NOW_NS), lines


def test_fields_are_found_and_the_rest_keeps_its_types() -> None:
    line = {
        "@timestamp": "2026-01-31T12:00:00.123456789Z",
        "message": "hello",
        "level": "WARNING",
        "service": "api",
        "trace_id": TRACE.upper(),
        "span_id": "eee19b7ec3c1b174",
        "n": 9007199254740993,
        "f": 1.5,
        "ok": True,
        "none": None,
        "nested": {"a": [1, "b"]},
    }
    [record], _ = records_of(json.dumps(line).encode())
    assert record.time_ns == 1_769_860_800_123_456_789
    assert record.observed_ns == NOW_NS
    assert (record.body, record.service) == ("hello", "api")
    assert (record.severity_number, record.severity_text) == (13, "WARNING")
    assert (record.trace_id, record.span_id) == (TRACE, "eee19b7ec3c1b174")
    assert record.attributes == {
        "n": 9007199254740993,
        "f": 1.5,
        "ok": True,
        "none": None,
        "nested": {"a": [1, "b"]},
    }
    assert [type(record.attributes[k]) for k in ("n", "f", "ok")] == [int, float, bool]


def test_of_too_many_fields_the_last_are_one_attribute() -> None:
    line = {"message": "wide", "level": "error", **{f"f{n}": n for n in range(128)}}
    [record], _ = records_of(json.dumps(line).encode())
    assert record.attributes == {f"f{n}": n for n in range(128)}
    [record], _ = records_of(json.dumps({**line, "other_fields": 5, "last": "x"}).encode())
    assert (record.body, record.severity_text) == ("wide", "error")
    assert len(record.attributes) == 128
    assert record.attributes["f126"] == 126
    assert record.attributes["other_fields"] == {"f127": 127, "other_fields": 5, "last": "x"}


def test_what_is_not_what_its_name_says_stays_an_attribute() -> None:
    line = {"time": "soon", "msg": {"a": 1}, "level": "loud", "trace_id": "7", "service": 5}
    [record], _ = records_of(json.dumps(line).encode())
    assert record.time_ns == NOW_NS
    assert record.body == {"a": 1}
    assert record.severity_number == 0
    assert record.attributes == {"time": "soon", "level": "loud", "trace_id": "7", "service": 5}


def test_hints_choose_fields() -> None:
    hints = Hints(time=("at",), message=("what",), stream=("host", "app"), ignored=("secret",))
    line = {"at": 1769860800, "what": "x", "host": "h1", "app": "a", "secret": "s", "time": 5}
    [record], _ = records_of(json.dumps(line).encode(), hints=hints)
    assert (record.time_ns, record.body, record.service) == (1_769_860_800_000_000_000, "x", "a")
    assert record.resource == {"host": "h1", "app": "a", "service.name": "a"}
    assert record.attributes == {"time": 5}


@pytest.mark.parametrize(
    ("value", "time_ns"),
    [
        (1769860800, 1_769_860_800_000_000_000),
        (1769860800.25, 1_769_860_800_250_000_000),
        (1769860800123, 1_769_860_800_123_000_000),
        (1769860800123456, 1_769_860_800_123_456_000),
        (1769860800123456789, 1_769_860_800_123_456_789),
        ("1769860800123", 1_769_860_800_123_000_000),
        ("2026-01-31 12:00:00,5", 1_769_860_800_500_000_000),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800_000_000_000),
        ("2026-01-31", 1_769_817_600_000_000_000),
        ("1970-01-01T00:00:00Z", 1),
        (0, None),
        ("soon", None),
        ("", None),
        (True, None),
        (-5, None),
        (float("inf"), None),
        (1 << 63, None),
        (None, None),
        ([], None),
    ],
)
def test_times(value, time_ns) -> None:
    assert time_of(value) == time_ns


@given(st.integers(0, 253_402_300_799_999_999_999))
def test_rfc3339_round_trip(time_ns: int) -> None:
    assert parse_rfc3339_ns(format_rfc3339_ns(time_ns)) == time_ns


@pytest.mark.parametrize(
    "body",
    [
        b'{"msg":"a"}\n{"msg":"b"}\n',
        b'{"msg":"a"}\r\n\r\n{"msg":"b"}',
        b'[{"msg":"a"},{"msg":"b"}]',
        b'[\n  {"msg":"a"},\n  {"msg":"b"}\n]\n',
    ],
)
async def test_lines_and_arrays(app, store, body) -> None:
    answer = await app.post(PATH, body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json) == (200, {"accepted": 2, "rejected": 0, "errors": []})
    assert [record.body for record in store.records] == ["a", "b"]


def test_an_object_may_span_lines() -> None:
    [record], _ = records_of(b'{\n  "msg": "a",\n  "x": 1\n}\n')
    assert (record.body, record.attributes) == ("a", {"x": 1})


@pytest.mark.parametrize("path", [PATH, "/insert/jsonline", "/api/v1/import/jsonlines"])
async def test_paths_and_codings(app, store, path) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-ndjson"}
    answer = await app.post(path, gzip.compress(b'{"msg":"a"}'), headers=headers)
    assert answer.json["accepted"] == 1


async def test_hints_come_from_the_url_or_the_headers(app, store) -> None:
    at_s = int(time.time()) - 60
    line = b'{"a":"x","b":"y","t":%d}' % at_s
    await app.post(PATH + "?_msg_field=a&_time_field=t", line)
    await app.post(PATH, line, headers={"_msg_field": "b"})
    first, second = store.records
    assert (first.body, first.time_ns) == ("x", at_s * 1_000_000_000)
    assert (second.body, second.time_ns) == ("y", second.observed_ns)


async def test_text_is_kept_line_by_line(app, store) -> None:
    answer = await app.post(PATH, b"one {\r\n\n two \n", headers={"Content-Type": "text/plain"})
    assert answer.json["accepted"] == 2
    assert [record.body for record in store.records] == ["one {", " two "]


async def test_wrong_lines_are_named_and_the_others_are_stored(app, store) -> None:
    answer = await app.post(PATH, b'{"msg":"a"}\n{bad\n\n5\n{"msg":"b"}')
    assert answer.status == 200
    assert (answer.json["accepted"], answer.json["rejected"]) == (2, 2)
    first, second = answer.json["errors"]
    assert first["line"] == 2
    assert first["reason"].startswith("invalid JSON")
    assert second == {"line": 4, "reason": "expected an object, found '5'"}


async def test_lines_that_cannot_be_kept_are_named(app, store) -> None:
    lines = [
        {"msg": "old", "time": "1970-01-01T00:00:00Z"},
        {"msg": "good"},
        {"msg": "ahead", "time": NOW_NS // 10**9 + 700},
        {"msg": "wide", "big": "x" * (64 << 10)},
    ]
    answer = await app.post(PATH, "\n".join(map(json.dumps, lines)).encode())
    assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (200, 1, 3)
    assert [(each["line"], each["reason"].split(" of ")[0]) for each in answer.json["errors"]] == [
        (1, "the record is older than the log retention keeps"),
        (3, "the record's time is too far in the future"),
        (4, "the fields are larger than the limit"),
    ]
    assert [record.body for record in store.records] == ["good"]


async def test_only_wrong_lines_are_a_400(app, store) -> None:
    answer = await app.post(PATH, b"no json")
    assert (answer.status, answer.json["rejected"]) == (400, 1)
    store.too_old_ns = 1 << 62
    answer = await app.post(PATH, b'{"msg":"a"}')
    assert answer.status == 400
    assert answer.json == {
        "accepted": 0,
        "rejected": 1,
        "errors": [{"reason": "1 record is too old"}],
    }


async def test_overload_is_a_503(app, store) -> None:
    store.failure = OverloadedError("full")
    answer = await app.post(PATH, b'{"msg":"a"}')
    assert (answer.status, answer.json["error"]["type"]) == (503, "overloaded")


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_errors(body: bytes) -> None:
    records, lines = records_of(body)
    assert lines.accepted == len(records)


@pytest.mark.parametrize("depth", [300, 100_000])
def test_deep_lines_are_stored_or_refused(depth) -> None:
    body = b'{"a":' * depth + b"1" + b"}" * depth
    lines = read_lines(body, is_text=False, hints=Hints(), now_ns=NOW_NS, limits=ANY)
    assert lines.accepted + lines.rejected == 1
