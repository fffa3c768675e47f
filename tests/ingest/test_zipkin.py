"""Zipkin's API: what is stored of spans, in pieces too, and what is found of them."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest import zipkin_json, zipkin_protobuf
from obsd.ingest.zipkin_json import read_json_spans, span_json
from obsd.ingest.zipkin_otlp import encode, zipkin_span
from obsd.ingest.zipkin_protobuf import read_protobuf_spans
from obsd.ingest.zipkin_span import KINDS, Endpoint, ZipkinSpan
from obsd.model.clock import ManualClock
from obsd.model.errors import StorageUnavailableError, TooLargeError, UndecodableError
from obsd.model.span import Scope, SpanEvent, SpanKind, StatusCode
from obsd.services.protobuf import bytes_field, uint_field, varint
from tests.api.running_app import running_app
from tests.oracles.otlp_spans import decode
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_MS, NOW_NS, make_span

NOW_US = NOW_NS // 1000
JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def span(**parts: Any) -> dict[str, Any]:
    fields = {
        "traceId": "5af7183fb1d4cf5f",
        "id": "6b221d5bc9e6496c",
        "name": "get /",
        "kind": "CLIENT",
        "timestamp": NOW_US,
        "duration": 1431,
        "localEndpoint": {"serviceName": "web"},
    }
    return {k: v for k, v in (fields | parts).items() if v is not None}


RICH = span(
    parentId="6b221d5bc9e6496b",
    localEndpoint={"serviceName": "web", "ipv4": "10.0.0.1", "ipv6": "2001:db8::1", "port": 80},
    remoteEndpoint={"serviceName": "db", "ipv6": "2001:db8::2", "port": 5432},
    annotations=[{"timestamp": NOW_US + 5, "value": "ws"}],
    tags={"http.path": "/", "error": "refused"},
)


@pytest.fixture
def store() -> MemorySpans:
    return MemorySpans(NOW_NS)


@pytest.fixture
async def app(tmp_path, store):
    clock = ManualClock(NOW_MS)
    async with running_app(tmp_path, open_traces=lambda _: store, clock=clock) as running:
        yield running


async def send(app, *spans: dict[str, Any]) -> None:
    answer = await app.post("/api/v2/spans", json.dumps(spans), headers=JSON)
    assert (answer.status, answer.body) == (202, b""), answer.text


@pytest.mark.parametrize("path", ["/api/v2/spans", "/zipkin/api/v2/spans"])
async def test_every_field_is_stored(app, store, path) -> None:
    body = gzip.compress(json.dumps([RICH]).encode())
    answer = await app.post(path, body, headers={**JSON, "Content-Encoding": "gzip"})
    assert (answer.status, answer.body) == (202, b"")
    [stored] = store.kept
    assert stored == make_span(
        trace_id="0" * 16 + "5af7183fb1d4cf5f",
        span_id="6b221d5bc9e6496c",
        parent_id="6b221d5bc9e6496b",
        name="get /",
        kind=SpanKind.CLIENT,
        start_ns=NOW_NS,
        end_ns=NOW_NS + 1_431_000,
        status=StatusCode.ERROR,
        status_message="refused",
        attributes={
            "http.path": "/",
            "error": "refused",
            "network.local.address": "10.0.0.1",
            "zipkin.local.ipv6": "2001:db8::1",
            "network.local.port": 80,
            "peer.service": "db",
            "network.peer.address": "2001:db8::2",
            "network.peer.port": 5432,
        },
        events=(SpanEvent(NOW_NS + 5_000, "ws"),),
    )
    answer = await app.get("/zipkin/api/v2/trace/5af7183fb1d4cf5f")
    assert answer.json == [RICH]


async def test_an_empty_list_is_taken(app, store) -> None:
    await send(app)
    assert (await app.post("/api/v2/spans", b"", headers=PROTOBUF)).status == 202
    assert store.kept == []


async def test_what_is_missing_has_a_meaning(app, store) -> None:
    await send(app, {"traceId": "A", "id": "B"})
    [stored] = store.kept
    assert stored.trace_id == "a".rjust(32, "0")
    assert stored.span_id == "b".rjust(16, "0")
    assert (stored.service, stored.kind) == ("unknown_service", SpanKind.INTERNAL)
    assert (stored.start_ns, stored.duration_ns) == (NOW_NS, 0)
    answer = await app.get("/zipkin/api/v2/trace/a")
    assert answer.json == [{"traceId": "000000000000000a", "id": "000000000000000b"}]


async def test_the_two_halves_of_a_call_that_share_an_id_are_kept(app, store) -> None:
    server = span(kind="SERVER", shared=True, localEndpoint={"serviceName": "db"})
    await send(app, span(), server)
    assert {s.kind for s in store.kept} == {SpanKind.CLIENT, SpanKind.SERVER}
    answer = await app.get("/zipkin/api/v2/trace/5af7183fb1d4cf5f")
    assert sorted(answer.json, key=lambda s: s["kind"]) == [span(), server]


FIRST = span(duration=None, tags={"a": "1", "b": "1"})
SECOND = span(timestamp=None, tags={"b": "2"}, annotations=[{"timestamp": NOW_US, "value": "ws"}])
WHOLE = span(tags={"a": "1", "b": "2"}, annotations=[{"timestamp": NOW_US, "value": "ws"}])


@pytest.mark.parametrize(
    "requests",
    [
        [[FIRST, SECOND]],
        [[FIRST], [SECOND]],
        [[FIRST], [SECOND], [SECOND]],
        [[FIRST], [span(tags={"b": "2"}, annotations=SECOND["annotations"])]],
        [[FIRST], [{**SECOND, "kind": None}]],
        [[{**FIRST, "kind": None, "tags": {"a": "1"}}, SECOND]],
        [[WHOLE], [{**FIRST, "tags": {}}]],
    ],
    ids=["together", "apart", "again", "whole at last", "kind first", "kind last", "late piece"],
)
async def test_pieces_of_a_span_become_one(app, store, requests) -> None:
    for pieces in requests:
        await send(app, *pieces)
    answer = await app.get("/zipkin/api/v2/trace/5af7183fb1d4cf5f")
    assert answer.json == [WHOLE]
    assert len(store.kept) == 1


async def test_protobuf_means_the_same_as_json(app) -> None:
    def fixed64(number: int, value: int) -> bytes:
        return varint(number << 3 | 1) + value.to_bytes(8, "little")

    local = (
        bytes_field(1, b"web")
        + bytes_field(2, bytes([10, 0, 0, 1]))
        + bytes_field(3, bytes.fromhex("20010db8" + "0" * 23 + "1"))
        + uint_field(4, 80)
    )
    remote = (
        bytes_field(1, b"db")
        + bytes_field(3, bytes.fromhex("20010db8" + "0" * 23 + "2"))
        + uint_field(4, 5432)
    )
    message = (
        bytes_field(1, bytes.fromhex("5af7183fb1d4cf5f"))
        + bytes_field(2, bytes.fromhex("6b221d5bc9e6496b"))
        + bytes_field(3, bytes.fromhex("6b221d5bc9e6496c"))
        + uint_field(4, 1)
        + bytes_field(5, b"get /")
        + fixed64(6, NOW_US)
        + uint_field(7, 1431)
        + bytes_field(8, local)
        + bytes_field(9, remote)
        + bytes_field(10, fixed64(1, NOW_US + 5) + bytes_field(2, b"ws"))
        + bytes_field(11, bytes_field(1, b"http.path") + bytes_field(2, b"/"))
        + bytes_field(11, bytes_field(1, b"error") + bytes_field(2, b"refused"))
    )
    answer = await app.post("/api/v2/spans", bytes_field(1, message), headers=PROTOBUF)
    assert (answer.status, answer.body) == (202, b"")
    answer = await app.get("/zipkin/api/v2/trace/5af7183fb1d4cf5f")
    assert answer.json == [RICH]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"{", "no list of Zipkin's spans"),
        (b"{}", "Expected `array`"),
        ([{"id": "1"}], "traceId"),
        ([span(traceId="x")], "$[0].traceId: expected up to 32 hexadecimal digits"),
        ([span(traceId="0" * 32)], "$[0].traceId"),
        ([span(), span(id="0" * 17)], "$[1].id"),
        ([span(kind="SELF")], "$[0].kind: expected one of CLIENT"),
        ([span(timestamp=-1)], "$[0].timestamp: expected microseconds"),
        ([span(duration=1 << 60)], "$[0].duration"),
        ([span(timestamp="x")], "$[0].timestamp"),
        ([span(tags=[])], "$[0].tags"),
        ([span(localEndpoint={"port": 70000})], "$[0].localEndpoint.port: expected a port"),
    ],
)
async def test_what_is_malformed_is_a_400_in_text(app, store, body, where) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body)
    answer = await app.post("/api/v2/spans", data, headers=JSON)
    assert answer.status == 400
    assert where in answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert store.kept == []


async def test_nothing_is_acknowledged_that_is_not_durable(app, store) -> None:
    store.sync_failure = StorageUnavailableError("fdatasync failed")
    answer = await app.post("/api/v2/spans", json.dumps([span()]), headers=JSON)
    assert answer.status == 503
    assert "Retry-After" in answer.headers


async def test_questions(app) -> None:
    one = span(traceId="1", id="1", tags={"http.method": "GET", "code": "500"})
    two = span(
        traceId="2",
        id="1",
        name="post /",
        timestamp=NOW_US - 10_000_000,
        duration=50_000,
        remoteEndpoint={"serviceName": "db"},
        annotations=[{"timestamp": NOW_US, "value": "retried"}],
        tags={"error": ""},
    )
    three = span(traceId="3", id="1", localEndpoint={"serviceName": "shop"})
    await send(app, one, two, three)
    base = "/zipkin/api/v2"
    assert (await app.get(f"{base}/services")).json == ["shop", "web"]
    names = await app.get(f"{base}/spans", {"serviceName": "web"})
    assert names.json == ["get /", "post /"]
    remote = await app.get(f"{base}/remoteServices", {"serviceName": "web"})
    assert remote.json == ["db"]
    keys = await app.get(f"{base}/autocompleteKeys")
    assert {"http.method", "error"} <= set(keys.json)
    values = await app.get(f"{base}/autocompleteValues", {"key": "http.method"})
    assert values.json == ["GET"]

    async def found(**params: Any) -> list[str]:
        answer = await app.get(f"{base}/traces", {k: str(v) for k, v in params.items()})
        assert answer.status == 200, answer.text
        return [trace[0]["traceId"][-1] for trace in answer.json]

    assert await found() == ["1", "3", "2"] or await found() == ["3", "1", "2"]
    assert await found(limit=1, serviceName="shop") == ["3"]
    assert await found(serviceName="web") == ["1", "2"]
    assert await found(spanName="post /") == ["2"]
    assert await found(spanName="all", serviceName="shop") == ["3"]
    assert await found(remoteServiceName="db") == ["2"]
    assert await found(minDuration=2_000) == ["2"]
    assert await found(maxDuration=1_431, serviceName="web") == ["1"]
    assert await found(annotationQuery="error") == ["2"]
    assert await found(annotationQuery="retried and error") == ["2"]
    assert await found(annotationQuery="http.method=GET and code=500") == ["1"]
    assert await found(annotationQuery="http.method=PUT") == []
    assert await found(endTs=NOW_MS - 5_000) == ["2"]
    assert await found(endTs=NOW_MS, lookback=5_000, serviceName="web") == ["1"]
    many = await app.get(f"{base}/traceMany", {"traceIds": "1,2,9"})
    assert [len(trace) for trace in many.json] == [1, 1]
    assert (await app.get("/zipkin/health")).json == {"status": "UP"}


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("trace/99", {}, 404),
        ("trace/x", {}, 400),
        ("spans", {}, 400),
        ("traces", {"limit": "0"}, 400),
        ("traces", {"endTs": "now"}, 400),
        ("traces", {"lookback": "9" * 30}, 400),
        ("traces", {"minDuration": "-1"}, 400),
        ("traceMany", {"traceIds": ",".join(f"{n:x}" for n in range(1, 102))}, 400),
        ("dependencies", {}, 400),
        ("nothing", {}, 404),
    ],
)
async def test_wrong_questions_are_told_in_text(app, path, params, status) -> None:
    answer = await app.get(f"/zipkin/api/v2/{path}", params)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("text/plain")


async def test_who_calls_whom(app) -> None:
    server = span(kind="SERVER", shared=True, localEndpoint={"serviceName": "api"})
    below = span(
        id="1", parentId=span()["id"], localEndpoint={"serviceName": "api"}, tags={"error": "x"},
        remoteEndpoint={"serviceName": "db"},
    )  # fmt: skip
    await send(app, span(), server, below)
    answer = await app.get("/zipkin/api/v2/dependencies", {"endTs": str(NOW_MS)})
    assert answer.json == [
        {"parent": "api", "child": "db", "callCount": 1, "errorCount": 1},
        {"parent": "web", "child": "api", "callCount": 1},
    ]


def test_what_opentelemetrys_exporters_put_into_tags_comes_back() -> None:
    tags = {"otel.scope.name": "lib", "otel.library.version": "1", "otel.status_code": "OK"}
    [each] = decode(encode(read_json_spans(json.dumps([span(tags=tags)]).encode()), 0)).spans
    assert (each.scope, each.status, each.attributes) == (
        Scope("lib", "1"),
        StatusCode.OK,
        {},
    )


def test_any_span_can_be_shown() -> None:
    shown = zipkin_span(
        make_span(
            kind=SpanKind.INTERNAL,
            status=StatusCode.ERROR,
            attributes={"n": 5, "l": [1, "a"], "network.peer.address": "/run/db.sock"},
            events=(SpanEvent(NOW_NS, "exception", {"exception.type": "E"}),),
        )
    )
    assert span_json(shown)["tags"] == {
        "n": "5",
        "l": '[1,"a"]',
        "network.peer.address": "/run/db.sock",
        "error": "true",
    }
    assert shown.annotations == ((NOW_US, '{"exception":{"exception.type":"E"}}'),)


def test_what_would_take_too_much_memory_is_refused(monkeypatch) -> None:
    one = b'{"traceId":"1","id":"1"}'
    assert len(read_json_spans(b"[%b]" % b", ".join([one] * 1_000))) == 1_000
    monkeypatch.setattr(zipkin_json, "MAX_SPANS", 1_000)
    monkeypatch.setattr(zipkin_json, "_AT_ONCE_BYTES", 10_000)
    monkeypatch.setattr(zipkin_protobuf, "MAX_SPANS", 1_000)
    assert len(read_json_spans(b"[%b]" % b",".join([one] * 1_000))) == 1_000
    with pytest.raises(TooLargeError, match="spans of a request"):
        read_json_spans(b"[%b]" % b",".join([one] * 1_001))
    with pytest.raises(TooLargeError, match="bytes of a span"):
        read_json_spans(b'[{"traceId":"1","id":"1","tags":{"a":[%b0]}}]' % (b"0," * 6_000))
    message = bytes_field(1, bytes_field(1, b"1") + bytes_field(3, b"1"))
    assert len(read_protobuf_spans(message * 1_000)) == 1_000
    with pytest.raises(TooLargeError):
        read_protobuf_spans(message * 1_001)


def test_a_large_list_is_read_one_span_after_the_other() -> None:
    body = json.dumps([span(tags={"text": "x" * 1_000, "n": 5})] * 5_000, indent=1).encode()
    assert len(body) > 4 << 20
    found = read_json_spans(body)
    assert len(found) == 5_000
    assert found[-1].tags == {"text": "x" * 1_000, "n": "5"}
    with pytest.raises(UndecodableError, match="does not end"):
        read_json_spans(body[:-3])
    with pytest.raises(UndecodableError, match="is no list"):
        read_json_spans(b'"%b"' % (b"x" * (5 << 20)))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
US = st.integers(1, 1 << 50)
ADDRESSES = st.ip_addresses(v=4).map(str) | st.just("")
ENDPOINTS = st.builds(
    Endpoint,
    service=TEXTS.filter(lambda t: t != "unknown_service"),
    ipv4=ADDRESSES,
)
SPANS = st.builds(
    ZipkinSpan,
    trace_id=st.integers(1, (1 << 128) - 1).map("{:032x}".format),
    span_id=st.integers(1, (1 << 64) - 1).map("{:016x}".format),
    parent_id=st.integers(1, (1 << 64) - 1).map("{:016x}".format) | st.just(""),
    kind=st.sampled_from(["", *KINDS]),
    name=TEXTS,
    timestamp_us=US,
    duration_us=US,
    local=ENDPOINTS,
    remote=ENDPOINTS,
    annotations=st.lists(st.tuples(US, TEXTS), max_size=3).map(tuple),
    tags=st.dictionaries(TEXTS.map("t.{}".format), TEXTS, max_size=3),
    shared=st.booleans(),
)


@given(spans=st.lists(SPANS, max_size=4))
def test_spans_come_back_as_they_were(spans) -> None:
    body = json.dumps([span_json(each) for each in spans]).encode()
    assert read_json_spans(body) == spans
    stored = [zipkin_span(each) for each in decode(encode(spans, NOW_NS)).spans]
    assert sorted(stored, key=repr) == sorted(spans, key=repr)


@given(body=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body) -> None:
    for read in (read_json_spans, read_protobuf_spans):
        try:
            decode(encode(read(body), NOW_NS))
        except UndecodableError:
            continue


@given(body=st.recursive(st.none() | st.integers() | st.text(), lambda i: st.lists(i)
    | st.dictionaries(st.sampled_from([*RICH]), i), max_leaves=10))  # fmt: skip
def test_any_json_is_read_or_refused(body) -> None:
    try:
        encode(read_json_spans(json.dumps([body]).encode()), NOW_NS)
    except UndecodableError:
        return
