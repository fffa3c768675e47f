import gzip
import json
import zlib

import pytest
import zstandard
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from obsd.ingest.otlp_traces_json import traces_request_from_json
from obsd.model.errors import OverloadedError, StorageUnavailableError, UndecodableError
from obsd.model.span import Scope, SpanEvent, SpanKind, SpanLink, StatusCode
from obsd.services.span_encoding import encode_spans
from tests.api.running_app import running_app
from tests.oracles.otlp_spans import decode
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_NS, SECOND_NS, make_span

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
HELLO = encode_spans([make_span()])
HELLO_TREE = {
    "traceId": f"{1:032x}",
    "spanId": f"{1:016x}",
    "name": "GET /",
    "kind": 2,
    "startTimeUnixNano": str(NOW_NS),
    "endTimeUnixNano": NOW_NS + SECOND_NS,
}


def in_json(*spans, resource=None) -> bytes:
    group = {"resource": resource or {}, "scopeSpans": [{"spans": spans}]}
    return json.dumps({"resourceSpans": [group]}).encode()


@pytest.fixture
def store() -> MemorySpans:
    return MemorySpans(NOW_NS)


@pytest.fixture
async def app(tmp_path, store):
    async with running_app(tmp_path, open_traces=lambda _: store) as running:
        yield running


@pytest.mark.parametrize("path", ["/v1/traces", "/otlp/v1/traces"])
async def test_protobuf_is_stored_and_answered_with_an_empty_message(app, store, path) -> None:
    answer = await app.post(path, HELLO, headers=PROTOBUF)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"] == "application/x-protobuf"
    assert store.kept == [make_span()]


async def test_json_is_stored_and_answered_in_json(app, store) -> None:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]}
    body = in_json(HELLO_TREE, resource=resource)
    answer = await app.post("/v1/traces", body, headers={"Content-Type": "Application/JSON"})
    assert (answer.status, answer.json) == (200, {})
    assert store.kept == [make_span()]


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
async def test_codings(app, store, coding, compress) -> None:
    headers = {**PROTOBUF, "Content-Encoding": coding}
    assert (await app.post("/v1/traces", compress(HELLO), headers=headers)).status == 200
    assert store.kept == [make_span()]


@pytest.mark.parametrize(("headers", "body"), [(PROTOBUF, b""), (JSON, b"{}")])
async def test_empty_request_is_a_success(app, headers, body) -> None:
    assert (await app.post("/v1/traces", body, headers=headers)).status == 200


async def test_rejected_spans_are_a_partial_success(app, store) -> None:
    body = encode_spans([make_span(), make_span(trace=0), make_span(number=0)])
    answer = await app.post("/v1/traces", body, headers=PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert answer.status == 200
    assert partial.rejected_spans == 2
    assert "invalid_trace_id: 1" in partial.error_message
    body = in_json({**HELLO_TREE, "traceId": "5B8EFFF7_no_hex"}, {**HELLO_TREE, "spanId": 7})
    answer = await app.post("/v1/traces", body, headers=JSON)
    assert answer.json["partialSuccess"]["rejectedSpans"] == "2"
    assert "invalid_span_id: 1" in answer.json["partialSuccess"]["errorMessage"]
    assert store.kept == [make_span()]


async def test_what_is_put_right_is_a_warning(app, store) -> None:
    body = encode_spans([make_span(end_ns=NOW_NS - 1)])
    answer = await app.post("/v1/traces", body, headers=PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert (partial.rejected_spans, answer.status) == (0, 200)
    assert "ends before it starts" in partial.error_message


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (PROTOBUF, b"\xff\xff", 400, 3),
        (JSON, b"{", 400, 3),
        (JSON, b"[]", 400, 3),
        ({"Content-Type": "text/plain"}, b"x", 415, 3),
        ({**PROTOBUF, "Content-Encoding": "br"}, b"x", 415, 3),
        ({**PROTOBUF, "Content-Encoding": "gzip"}, b"no gzip", 400, 3),
        ({**PROTOBUF, "Content-Encoding": "gzip"}, gzip.compress(bytes((64 << 20) + 1)), 413, 8),
        ({**PROTOBUF, "X-Scope-OrgID": "../up"}, HELLO, 400, 3),
    ],
    ids=["protobuf", "json", "array", "type", "coding", "gzip", "bomb", "project"],
)
async def test_errors_are_a_status_in_the_type_of_the_request(
    app, headers, body, status, code
) -> None:
    answer = await app.post("/v1/traces", body, headers=headers)
    assert answer.status == status, answer.text
    if headers["Content-Type"] == "application/x-protobuf":
        assert answer.headers["Content-Type"] == "application/x-protobuf"
        message = Status.FromString(answer.body)
        assert message.code == code
        assert message.message
    else:
        assert answer.json["code"] == code
        assert answer.json["message"]


@pytest.mark.parametrize(
    ("failure", "retry_after"),
    [(OverloadedError("full", 7), "7"), (StorageUnavailableError("no space", 9), "9")],
)
async def test_what_can_be_sent_again_is_a_503(app, store, failure, retry_after) -> None:
    store.failure = failure
    answer = await app.post("/v1/traces", HELLO, headers=PROTOBUF)
    assert (answer.status, answer.headers["Retry-After"]) == (503, retry_after)
    assert Status.FromString(answer.body).code == 14


async def test_no_success_before_the_disk_has_it(app, store) -> None:
    store.sync_failure = StorageUnavailableError("fdatasync failed")
    assert (await app.post("/v1/traces", HELLO, headers=PROTOBUF)).status == 503


async def test_wrong_method_is_a_405(app) -> None:
    answer = await app.get("/v1/traces")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert answer.json["code"] == 12


def test_json_means_the_same_as_protobuf() -> None:
    tree = {
        "unknown": {"a": 1},
        "resourceSpans": [
            {
                "resource": {
                    "attributes": [
                        {"key": "service.name", "value": {"stringValue": "web"}},
                        {"key": "n", "value": {"intValue": "-9007199254740993"}},
                    ],
                },
                "schemaUrl": "r",
                "scopeSpans": [
                    {
                        "scope": {
                            "name": "s",
                            "version": "1",
                            "droppedAttributesCount": 4,
                            "attributes": None,
                        },
                        "schemaUrl": "u",
                        "spans": [
                            {
                                "traceId": "5B8EFFF798038103d269b633813fc60c",
                                "spanId": "EEE19B7EC3C1B174",
                                "parentSpanId": "eee19b7ec3c1b173",
                                "traceState": "a=b",
                                "trace_state": "ignored",
                                "name": "call",
                                "kind": "SPAN_KIND_CLIENT",
                                "startTimeUnixNano": str(NOW_NS),
                                "endTimeUnixNano": NOW_NS + 1,
                                "flags": 257,
                                "attributes": [
                                    {"key": "bytes", "value": {"bytesValue": "AP8="}},
                                    {"key": "f", "value": {"doubleValue": "-Infinity"}},
                                ],
                                "droppedAttributesCount": "3",
                                "droppedEventsCount": 2,
                                "droppedLinksCount": 1,
                                "status": {"code": "STATUS_CODE_ERROR", "message": "no"},
                                "events": [
                                    {
                                        "timeUnixNano": str(NOW_NS),
                                        "name": "exception",
                                        "attributes": [{"key": "k", "value": {"boolValue": True}}],
                                        "droppedAttributesCount": 1,
                                    },
                                    None,
                                ],
                                "links": [
                                    {
                                        "traceId": "5B8EFFF798038103d269b633813fc60d",
                                        "spanId": "EEE19B7EC3C1B175",
                                        "traceState": "c=d",
                                        "flags": 1,
                                        "attributes": [],
                                        "droppedAttributesCount": 5,
                                    }
                                ],
                            },
                        ],
                    }
                ],
            },
        ],
    }
    expected = make_span(
        trace_id="5b8efff798038103d269b633813fc60c",
        span_id="eee19b7ec3c1b174",
        parent_id="eee19b7ec3c1b173",
        trace_state="a=b",
        name="call",
        kind=SpanKind.CLIENT,
        end_ns=NOW_NS + 1,
        flags=257,
        attributes={"bytes": b"\x00\xff", "f": float("-inf")},
        dropped_attributes=3,
        dropped_events=2,
        dropped_links=1,
        status=StatusCode.ERROR,
        status_message="no",
        resource={"service.name": "web", "n": -9007199254740993},
        resource_schema_url="r",
        scope=Scope("s", "1", {}, 4, "u"),
        events=(SpanEvent(NOW_NS, "exception", {"k": True}, 1), SpanEvent(0, "")),
        links=(SpanLink("5b8efff798038103d269b633813fc60d", "eee19b7ec3c1b175", "c=d", {}, 5, 1),),
    )
    assert decode(traces_request_from_json(json.dumps(tree).encode())).spans == [expected]


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        ({"kind": "SERVER"}, "kind: expected one of"),
        ({"status": []}, "status: expected an object"),
        ({"startTimeUnixNano": "x"}, "startTimeUnixNano"),
        ({"endTimeUnixNano": 1 << 64}, "endTimeUnixNano"),
        ({"name": 5}, "name: expected a string"),
        ({"events": {}}, "events: expected an array"),
        ({"links": [5]}, "links[0]: expected an object"),
        ({"flags": -1}, "flags"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(parts, where) -> None:
    with pytest.raises(UndecodableError) as caught:
        traces_request_from_json(in_json({**HELLO_TREE, **parts}))
    assert "$.resourceSpans[0].scopeSpans[0].spans[0]" in str(caught.value)
    assert where in str(caught.value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*HELLO_TREE, "status", "code", "events", "links", "attributes", "key"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(spans=st.lists(JSON_VALUES, max_size=3))
def test_any_json_is_read_or_refused(spans) -> None:
    try:
        body = traces_request_from_json(in_json(*spans))
    except UndecodableError:
        return
    decode(body)


@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body) -> None:
    try:
        traces_request_from_json(body)
    except UndecodableError:
        return
