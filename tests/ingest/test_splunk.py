"""Splunk's HTTP Event Collector: what is stored, and which code says what to the sender."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.api import keys
from obsd.api.auth import Authenticator
from obsd.api.state import Phase
from obsd.ingest.json_stream import iter_objects
from obsd.ingest.record_limits import RecordLimits
from obsd.ingest.splunk_acks import Acks
from obsd.ingest.splunk_events import metric_name, parse_time, read_events, read_lines
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.clock import ManualClock, SystemClock
from obsd.model.errors import OverloadedError, TooLargeError, UndecodableError
from obsd.services import log_encoding
from tests.api.running_app import RunningApp, running_app
from tests.services.memory_logs import MemoryLogs, decode

EVENT = "/services/collector/event"
RAW = "/services/collector/raw"
ACK = "/services/collector/ack"
HEALTH = "/services/collector/health"
CHANNEL = "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba"
NOW_MS = 1_800_000_000_123
ANY = RecordLimits()
SUCCESS = {"text": "Success", "code": 0}


@pytest.fixture
def store() -> MemoryLogs:
    return MemoryLogs(NOW_MS * 1_000_000)


@pytest.fixture
async def app(tmp_path, store):
    clock = ManualClock(NOW_MS)
    async with running_app(tmp_path, open_logs=lambda _: store, clock=clock) as running:
        yield running


@pytest.fixture
async def indexed_app(tmp_path):
    """Over the real engine."""

    def open_logs(directory: Path) -> LogEngine:
        return LogEngine.open(directory, LogOptions(), SystemClock())

    async with running_app(tmp_path, open_logs=open_logs) as running:
        yield running


async def send(app: RunningApp, *events: Any, path: str = EVENT, **options: Any) -> Any:
    body = "".join(json.dumps(each) for each in events).encode()
    answer = await app.post(path, io.BytesIO(body), **options)
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("path", ["/services/collector", EVENT, "/services/collector/event/1.0"])
async def test_an_event_is_stored_with_its_metadata(app, store, path) -> None:
    event = {
        "time": 1_799_999_999.25,
        "host": "h1",
        "source": "/var/log/pay.log",
        "sourcetype": "pay",
        "index": "main",
        "event": "card declined",
        "fields": {"severity": "ERROR", "code": 402, "tags": ["a", "b"], "nothing": None},
    }
    assert await send(app, event, path=path) == (200, SUCCESS)
    [record] = store.records
    assert record.body == "card declined"
    assert record.time_ns == 1_799_999_999_250_000_000
    assert (record.severity_number, record.severity_text) == (17, "ERROR")
    assert record.resource == {
        "host.name": "h1",
        "source": "/var/log/pay.log",
        "sourcetype": "pay",
        "index": "main",
    }
    assert record.attributes == {"code": 402, "tags": ["a", "b"]}


async def test_an_event_that_is_an_object_has_its_values_as_attributes(app, store) -> None:
    event = {
        "message": "slow",
        "level": "warning",
        "service": "api",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "http": {"status": 200},
    }
    await send(
        app, {"event": event}, {"event": {"a": 1}}, {"event": [1, {"b": None}]}, {"event": 7}
    )
    first, second, third, fourth = store.records
    assert (first.body, first.service, first.severity_number) == ("slow", "api", 13)
    assert first.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert first.attributes == {"http.status": 200}
    assert (json.loads(second.body), second.attributes) == ({"a": 1}, {"a": 1})
    assert json.loads(third.body) == [1, {"b": None}]
    assert fourth.body == "7"
    assert fourth.time_ns == NOW_MS * 1_000_000


@pytest.mark.parametrize("between", ["", "\n", " \r\n\t", ","])
@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain"])
async def test_events_stand_one_after_the_other(app, store, between, content_type) -> None:
    texts = ['brace } in "a string', "back\\slash", "[", "ü\n"]
    body = between.join(json.dumps({"event": text}) for text in texts).encode()
    headers = {} if content_type is None else {"Content-Type": content_type}
    skip = ["Content-Type"] if content_type is None else []
    for data, coding in ((body, "identity"), (gzip.compress(body), "gzip"), (b"[%b]" % body, "")):
        if data.startswith(b"[") and between != ",":
            continue
        store.records.clear()
        answer = await app.post(
            EVENT, data, headers={**headers, "Content-Encoding": coding}, skip_auto_headers=skip
        )
        assert (answer.status, answer.json) == (200, SUCCESS)
        assert [record.body for record in store.records] == texts


@pytest.mark.parametrize(
    ("wrong", "code", "text"),
    [
        ({"host": "h"}, 12, "Event field is required"),
        ({"event": None}, 12, "Event field is required"),
        ({"event": ""}, 13, "Event field cannot be blank"),
        ({"event": {}}, 13, "Event field cannot be blank"),
        ({"event": "x", "index": 5}, 7, "Incorrect index"),
        ({"event": "x", "index": {"a": 1}}, 7, "Incorrect index"),
        ({"event": "x", "fields": {"a": {"b": 1}}}, 15, "Error in handling indexed fields"),
        ({"event": "x", "fields": {"a": [[1]]}}, 15, "Error in handling indexed fields"),
        ({"event": "x", "fields": "a"}, 15, "Error in handling indexed fields"),
        (
            {"event": "metric", "fields": {"metric_name:a": "b"}},
            15,
            "Error in handling indexed fields",
        ),
        ({"event": "x", "time": "soon"}, 6, "Invalid data format"),
        ({"event": "x", "time": []}, 6, "Invalid data format"),
        (["no", "event"], 6, "Invalid data format"),
        ("text", 6, "Invalid data format"),
    ],
)
async def test_events_before_a_wrong_one_are_stored(app, store, wrong, code, text) -> None:
    status, answer = await send(app, {"event": "one"}, {"event": "two"}, wrong, {"event": "four"})
    assert status == 400
    assert answer == {"text": text, "code": code, "invalid-event-number": 2}
    assert [record.body for record in store.records] == ["one", "two"]


@pytest.mark.parametrize(
    "tail", [b'{"event": "cut', b'{"event" 1}', b"nonsense", b'{"event":"\xff"}']
)
async def test_what_is_no_json_ends_the_request(app, store, tail) -> None:
    answer = await app.post(EVENT, b'{"event": "one"}' + tail)
    assert answer.status == 400
    assert answer.json == {"text": "Invalid data format", "code": 6, "invalid-event-number": 1}
    assert [record.body for record in store.records] == ["one"]


@pytest.mark.parametrize("path", [EVENT, RAW])
@pytest.mark.parametrize("body", [b"", b" \n"])
async def test_no_data_is_a_code(app, path, body) -> None:
    answer = await app.post(path, body)
    assert (answer.status, answer.json) == (400, {"text": "No data", "code": 5})


async def test_raw_lines_have_their_metadata_in_the_query(app, store) -> None:
    query = "?host=h1&source=s&sourcetype=t&index=i&time=1799999999.5"
    answer = await app.post(f"{RAW}/1.0{query}", b"one\r\n\ntwo\n\xfflast")
    assert (answer.status, answer.json) == (200, SUCCESS)
    assert [record.body for record in store.records] == [
        "one",
        "two",
        "\N{REPLACEMENT CHARACTER}last",
    ]
    for number, record in enumerate(store.records):
        assert record.time_ns == 1_799_999_999_500_000_000 + number
        assert record.resource == {
            "host.name": "h1",
            "source": "s",
            "sourcetype": "t",
            "index": "i",
        }
    wrong = await app.post(f"{RAW}?time=soon", b"one")
    assert (wrong.status, wrong.json["code"]) == (400, 6)


async def test_lines_and_events_that_are_alike_are_all_kept(indexed_app) -> None:
    app = indexed_app
    now_s = time.time()
    assert (await app.post(RAW, b"same\n" * 3)).status == 200
    assert (await app.post(f"{RAW}?time={now_s}", b"same\n" * 3)).status == 200
    assert (await app.post(EVENT, b'{"event":"same"}' * 3)).status == 200
    assert (await app.post("/ingest/jsonline", b'{"msg":"same"}\n' * 3)).status == 200
    text = {"Content-Type": "text/plain"}
    assert (await app.post("/ingest/jsonline", b"same\n" * 3, headers=text)).status == 200
    assert await total(app) == 15
    # What is sent again is known.
    assert (await app.post(f"{RAW}?time={now_s}", b"same\n" * 3)).status == 200
    assert await total(app) == 15


async def total(app: RunningApp) -> int:
    return (await app.get("/api/v1/monitoring/logs")).json["total"]


async def test_acknowledgements_by_channel(app, store) -> None:
    headers = {"X-Splunk-Request-Channel": CHANNEL}
    for ack_id in range(2):
        status, answer = await send(app, {"event": "e"}, headers=headers)
        assert (status, answer) == (200, {**SUCCESS, "ackId": ack_id})
    answer = await app.post(f"{RAW}?channel={CHANNEL}", b"line")
    assert answer.json["ackId"] == 2
    # An event that is wrong gets none.
    _, answer = await send(app, {"event": ""}, headers=headers)
    assert "ackId" not in answer
    asked = await app.post(f"{ACK}?channel={CHANNEL}", json={"acks": [0, 2, 3, -1]})
    assert asked.json == {"acks": {"0": True, "2": True, "3": False, "-1": False}}
    other = await app.post(
        ACK, json={"acks": [0]}, headers={"X-Splunk-Request-Channel": CHANNEL[::-1]}
    )
    assert other.json["code"] == 11
    missing = await app.post(ACK, json={"acks": [0]})
    assert (missing.status, missing.json["code"]) == (400, 10)
    for wrong in (b"", b"[]", b'{"acks": ["0"]}', b'{"acks": 1}'):
        answer = await app.post(f"{ACK}?channel={CHANNEL}", wrong)
        assert (answer.status, answer.json["code"]) == (400, 6)
    invalid = await app.post(f"{EVENT}?channel=mine", b'{"event": "e"}')
    assert (invalid.status, invalid.json) == (400, {"text": "Invalid data channel", "code": 11})


async def test_health_follows_the_server(app) -> None:
    for path in (HEALTH, f"{HEALTH}/1.0"):
        answer = await app.get(path)
        assert (answer.status, answer.json) == (200, {"text": "HEC is healthy", "code": 17})
    app.application[keys.STATE].phase = Phase.STOPPING
    answer = await app.get(HEALTH)
    assert (answer.status, answer.json["code"]) == (503, 18)
    busy = await app.post(EVENT, b'{"event": "e"}')
    assert (busy.status, busy.json) == (503, {"text": "Server is busy", "code": 9})
    assert busy.headers["Retry-After"] == "1"


async def test_docker_asks_by_options(app) -> None:
    assert (await app.request("OPTIONS", "/services/collector/event/1.0")).status == 200


async def test_overload_is_busy_and_what_comes_again_is_stored(app, store) -> None:
    store.failure = OverloadedError("full", 7)
    status, answer = await send(app, {"event": "one"}, {"event": ""})
    assert (status, answer) == (503, {"text": "Server is busy", "code": 9})
    store.failure = None
    assert (await send(app, {"event": "one"}))[0] == 200


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"event": "old", "time": 1_600_000_000}, "older than the log retention"),
        ({"event": "oldest", "time": 0}, "older than the log retention"),
        ({"event": "ahead", "time": NOW_MS / 1000 + 700}, "too far in the future"),
        ({"event": "x" * ((1 << 20) + 1)}, "the message is larger than"),
        ({"event": {"message": "m", "big": "x" * (64 << 10)}}, "the fields are larger than"),
    ],
    ids=["old", "oldest", "ahead", "large", "wide"],
)
async def test_an_event_that_cannot_be_kept_is_named_and_the_others_are_stored(
    app, store, event, why
) -> None:
    status, answer = await send(app, event)
    assert (status, answer["code"], answer["invalid-event-number"]) == (400, 6, 0)
    assert why in answer["text"]
    assert store.records == []
    status, answer = await send(app, {"event": "before"}, event, {"event": "after"}, event)
    assert (status, answer["code"], answer["invalid-event-number"]) == (400, 6, 1)
    assert [record.body for record in store.records] == ["before", "after"]
    # What is malformed ends the request; the first of both is named.
    status, answer = await send(app, {"event": "more"}, event, {"event": ""}, {"event": "last"})
    assert (status, answer["code"], answer["invalid-event-number"]) == (400, 6, 1)
    assert [record.body for record in store.records] == ["before", "after", "more"]


async def test_lines_of_a_time_that_is_too_old_are_refused(app, store) -> None:
    store.too_old_ns = 1_700_000_000 * 10**9
    answer = await app.post(f"{RAW}?time=1600000000", b"one\ntwo\n")
    assert (answer.status, answer.json["code"], answer.json["invalid-event-number"]) == (400, 6, 0)
    assert "too old" in answer.json["text"]


async def test_metrics_become_gauges(app, store) -> None:
    multiple = {
        "time": NOW_MS / 1000,
        "event": "metric",
        "host": "h1",
        "index": "metrics",
        "fields": {
            "region": "eu",
            "metric_name:cpu.usr": 11.12,
            "metric_name:cpu.sys": "12.5",
            "metric_name:up": 1,
        },
    }
    single = {"event": "metric", "fields": {"metric_name": "load", "_value": 0.5, "core": 3}}
    assert await send(app, multiple, single, {"event": "metric"}) == (200, SUCCESS)
    for query, value in (
        ('cpu_usr{host="h1",index="metrics",region="eu"}', "11.12"),
        ("cpu_sys", "12.5"),
        ("up", "1"),
        ('load{core="3"}', "0.5"),
    ):
        found = await app.data("/api/v1/query", {"query": query, "time": str(NOW_MS / 1000)})
        assert [series["value"][1] for series in found["result"]] == [value], query
    # Without a value it is an event like others.
    assert [record.body for record in store.records] == ["metric"]


@pytest.fixture
async def guarded_app(app):
    """With a token."""
    authenticator = app.application[keys.AUTHENTICATOR]
    authenticator._token_hash = hashlib.sha256(b"sesame").digest()
    assert isinstance(authenticator, Authenticator)
    return app


async def test_tokens(guarded_app, store) -> None:
    app = guarded_app
    basic = base64.b64encode(b"x:sesame").decode()
    for value in ("Splunk sesame", "Bearer sesame", f"Basic {basic}"):
        assert (await send(app, {"event": "e"}, headers={"Authorization": value}))[0] == 200
    for headers, expected in (
        ({}, (401, {"text": "Token is required", "code": 2})),
        ({"Authorization": "Digest x"}, (401, {"text": "Invalid authorization", "code": 3})),
        ({"Authorization": "Splunk"}, (401, {"text": "Invalid authorization", "code": 3})),
        ({"Authorization": "Splunk wrong"}, (403, {"text": "Invalid token", "code": 4})),
    ):
        assert await send(app, {"event": "e"}, headers=headers) == expected
    assert (await app.get(HEALTH)).status == 200
    assert len(store.records) == 3


async def test_errors_of_http_have_splunks_form(app) -> None:
    for method, path, status in (
        ("GET", EVENT, 405),
        ("POST", "/services/collector/nonsense", 404),
    ):
        answer = await app.request(method, path)
        assert (answer.status, answer.json["code"]) == (status, status)
    coding = await app.post(EVENT, b"x", headers={"Content-Encoding": "br"})
    assert (coding.status, coding.json["code"]) == (415, 6)


@pytest.mark.parametrize(
    ("value", "time_ns"),
    [
        (1_433_188_255, 1_433_188_255_000_000_000),
        (1_433_188_255.253, 1_433_188_255_253_000_000),
        ("1433188255.123456789", 1_433_188_255_123_456_789),
        ("1433188255", 1_433_188_255_000_000_000),
        (1_433_188_255_253, 1_433_188_255_253_000_000),
        ("", None),
        ("soon", None),
        (True, None),
        ([], None),
        (-5, None),
    ],
)
def test_times(value: Any, time_ns: int | None) -> None:
    assert parse_time(value) == time_ns


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=6), st.data())
def test_objects_are_found_whatever_stands_in_them(objects: list[Any], data: Any) -> None:
    between = data.draw(st.sampled_from(["", " ", "\n", ","]))
    dump = data.draw(
        st.sampled_from([json.dumps, lambda o: json.dumps(o, ensure_ascii=False, indent=1)])
    )
    body = between.join(map(dump, objects)).encode("utf-8", "replace")
    found = [json.loads(text) for text in iter_objects(body)]
    assert len(found) == len(objects)
    if "?" not in body.decode():
        assert found == objects


@given(st.binary(max_size=200) | st.text('{}[]",\\:ae ', max_size=40).map(str.encode))
def test_arbitrary_bytes_are_objects_or_an_error(body: bytes) -> None:
    try:
        found = list(iter_objects(body))
    except UndecodableError:
        return
    # Whether its brackets match is the decoder's business.
    assert all(text[:1] == b"{" and text[-1:] in b"}]" for text in found)


def test_deep_nesting_is_an_error() -> None:
    for depth in (40, 900, 100_000):
        body = b'{"event":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        events = read_events(body, 1, ANY)
        assert events.error is not None
        assert events.error.code.number == 6


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
events = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("event", "time", "host", "source", "sourcetype", "index", "fields"), json_values
    ),
)


@given(st.lists(events | json_values, max_size=4))
def test_any_events_are_stored_up_to_the_first_wrong_one(sent: list[Any]) -> None:
    found = read_events(b"".join(msgspec.json.encode(each) for each in sent), 1, ANY)
    assert len(decode(found.encode())) + len(found.metrics) >= found.count
    if found.error is None:
        return
    assert found.error.number == found.count < max(len(sent), 1)


def test_many_small_events_are_too_much_before_they_fill_the_memory(monkeypatch) -> None:
    monkeypatch.setattr(log_encoding, "MAX_REQUEST_MEMORY_BYTES", 1 << 20)
    metric = b'{"event":"metric","fields":{"metric_name:a":1}}'
    for body in (b'{"event":1}' * 10_000, metric * 4_000):
        with pytest.raises(TooLargeError):
            read_events(body, 1, ANY)
    with pytest.raises(TooLargeError):
        read_lines(b"a\n" * 10_000, {}, 1, 1)


def test_channels_are_forgotten_beyond_the_limit() -> None:
    acks = Acks(limit=2)
    assert [acks.give("p", channel) for channel in ("a", "a", "b", "a", "c")] == [0, 1, 0, 2, 0]
    assert acks.are_durable("p", "b", [0]) == {"0": False}
    assert acks.are_durable("p", "a", [2, 3]) == {"2": True, "3": False}
    assert acks.are_durable("q", "a", [0]) == {"0": False}


@given(st.text(max_size=20))
def test_metric_names_are_prometheus_names(name: str) -> None:
    assert metric_name(name).isascii()
    assert not metric_name(name)[0].isdigit()
