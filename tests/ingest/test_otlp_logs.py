import gzip
import io
import json
import zlib

import pytest
import zstandard
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from obsd.ingest.otlp_json import logs_request_from_json
from obsd.model.errors import OverloadedError, StorageUnavailableError, UndecodableError
from tests.api.running_app import running_app
from tests.services.memory_logs import MemoryLogs

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
NOW_NS = 1_800_000_000_123_456_789


def attribute(key: str, **value) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(**value))


def export(*records: LogRecord) -> bytes:
    resource = Resource(attributes=[attribute("service.name", string_value="api")])
    scope = ScopeLogs(log_records=records)
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=resource, scope_logs=[scope])]
    ).SerializeToString()


HELLO = export(
    LogRecord(time_unix_nano=NOW_NS, severity_number=9, body=AnyValue(string_value="hello"))
)
HELLO_JSON = json.dumps(
    {
        "resourceLogs": [
            {
                "resource": {
                    "attributes": [{"key": "service.name", "value": {"stringValue": "api"}}]
                },
                "scopeLogs": [
                    {
                        "logRecords": [
                            {
                                "timeUnixNano": str(NOW_NS),
                                "severityNumber": 9,
                                "body": {"stringValue": "hello"},
                            }
                        ]
                    }
                ],
            }
        ]
    }
).encode()


@pytest.fixture
def store() -> MemoryLogs:
    return MemoryLogs(NOW_NS)


@pytest.fixture
async def app(tmp_path, store):
    async with running_app(tmp_path, open_logs=lambda _: store) as running:
        yield running


@pytest.mark.parametrize("path", ["/v1/logs", "/otlp/v1/logs"])
async def test_protobuf_is_stored_and_answered_with_an_empty_message(app, store, path) -> None:
    answer = await app.post(path, HELLO, headers=PROTOBUF)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"] == "application/x-protobuf"
    [record] = store.records
    assert (record.body, record.service, record.time_ns) == ("hello", "api", NOW_NS)


async def test_json_is_stored_and_answered_in_json(app, store) -> None:
    answer = await app.post("/v1/logs", HELLO_JSON, headers={"Content-Type": "Application/JSON"})
    assert (answer.status, answer.json) == (200, {})
    assert [record.body for record in store.records] == ["hello"]


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
    assert (await app.post("/v1/logs", compress(HELLO), headers=headers)).status == 200
    assert len(store.records) == 1


@pytest.mark.parametrize(("headers", "body"), [(PROTOBUF, b""), (JSON, b"{}"), (JSON, b"")])
async def test_empty_request_is_a_success(app, headers, body) -> None:
    assert (await app.post("/v1/logs", body, headers=headers)).status == 200


async def test_a_body_may_have_as_much_as_it_is_as_what_it_unpacks_to(app) -> None:
    unknown_field = b"\x7a" + b"\x80\x80\x80\x18" + bytes(48 << 20)
    for body, status in ((unknown_field, 200), (bytes((64 << 20) + 1), 413)):
        answer = await app.post("/v1/logs", io.BytesIO(body), headers=PROTOBUF)
        assert answer.status == status


async def test_rejected_records_are_a_partial_success(app, store) -> None:
    store.too_old_ns = NOW_NS + 1
    answer = await app.post("/v1/logs", HELLO, headers=PROTOBUF)
    partial = ExportLogsServiceResponse.FromString(answer.body).partial_success
    assert answer.status == 200
    assert partial.rejected_log_records == 1
    assert "too_old: 1" in partial.error_message
    answer = await app.post("/v1/logs", HELLO_JSON, headers=JSON)
    assert answer.json["partialSuccess"]["rejectedLogRecords"] == "1"
    assert "too_old: 1" in answer.json["partialSuccess"]["errorMessage"]


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
    answer = await app.post("/v1/logs", body, headers=headers)
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
    answer = await app.post("/v1/logs", HELLO, headers=PROTOBUF)
    assert (answer.status, answer.headers["Retry-After"]) == (503, retry_after)
    assert Status.FromString(answer.body).code == 14


async def test_no_success_before_the_disk_has_it(app, store) -> None:
    store.sync_failure = StorageUnavailableError("fdatasync failed")
    assert (await app.post("/v1/logs", HELLO, headers=PROTOBUF)).status == 503


async def test_wrong_method_is_a_405(app) -> None:
    answer = await app.get("/v1/logs")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert answer.json["code"] == 12


def test_json_means_the_same_as_protobuf() -> None:
    tree = {
        "unknown": {"a": 1},
        "resourceLogs": [
            {
                "resource": {
                    "attributes": [{"key": "n", "value": {"intValue": "-9007199254740993"}}],
                    "droppedAttributesCount": 2,
                },
                "schemaUrl": "r",
                "scopeLogs": [
                    {
                        "scope": {"name": "s", "version": "1", "attributes": None},
                        "schemaUrl": "u",
                        "logRecords": [
                            {
                                "timeUnixNano": NOW_NS,
                                "observedTimeUnixNano": str(NOW_NS + 1),
                                "severityNumber": "SEVERITY_NUMBER_WARN2",
                                "severityText": "W",
                                "traceId": "5B8EFFF798038103D269B633813FC60C",
                                "spanId": "eee19b7ec3c1b174",
                                "flags": 1,
                                "eventName": "e",
                                "droppedAttributesCount": "3",
                                "trace_id": "ignored",
                                "body": {
                                    "kvlistValue": {
                                        "values": [
                                            {"key": "list", "value": {"arrayValue": {"values": [
                                                {"doubleValue": "NaN"},
                                                {"doubleValue": 1},
                                                {"boolValue": False},
                                                None,
                                            ]}}},
                                            {"key": "null", "value": None},
                                        ]
                                    }
                                },
                                "attributes": [
                                    {"key": "bytes", "value": {"bytesValue": "AP8="}},
                                    {"key": "url", "value": {"bytesValue": "-_8"}},
                                    {"key": "empty", "value": {}},
                                    {"key": "text", "value": {"stringValue": ""}},
                                    {"key": "list", "value": {"arrayValue": {}}},
                                ],
                            },
                            None,
                        ],
                    }
                ],
            },
        ],
    }  # fmt: skip
    array = ArrayValue(
        values=[
            AnyValue(double_value=float("nan")),
            AnyValue(double_value=1),
            AnyValue(bool_value=False),
            AnyValue(),
        ]
    )
    expected = ExportLogsServiceRequest(resource_logs=[ResourceLogs(schema_url="r")])
    group = expected.resource_logs[0]
    group.resource.attributes.append(attribute("n", int_value=-9007199254740993))
    group.resource.dropped_attributes_count = 2
    scope = group.scope_logs.add(schema_url="u")
    scope.scope.name, scope.scope.version = "s", "1"
    scope.log_records.add(
        time_unix_nano=NOW_NS,
        observed_time_unix_nano=NOW_NS + 1,
        severity_number=14,
        severity_text="W",
        trace_id=bytes.fromhex("5b8efff798038103d269b633813fc60c"),
        span_id=bytes.fromhex("eee19b7ec3c1b174"),
        flags=1,
        event_name="e",
        dropped_attributes_count=3,
        body=AnyValue(
            kvlist_value=KeyValueList(
                values=[
                    KeyValue(key="list", value=AnyValue(array_value=array)),
                    KeyValue(key="null", value=AnyValue()),
                ]
            )
        ),
        attributes=[
            attribute("bytes", bytes_value=b"\x00\xff"),
            attribute("url", bytes_value=b"\xfb\xff"),
            attribute("empty"),
            attribute("text", string_value=""),
            attribute("list", array_value=ArrayValue()),
        ],
    )
    scope.log_records.add()
    decoded = ExportLogsServiceRequest.FromString(logs_request_from_json(json.dumps(tree).encode()))
    assert decoded.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"timeUnixNano": "soon"}, "logRecords[0].timeUnixNano: expected an integer"),
        ({"timeUnixNano": -1}, "expected an integer from 0"),
        ({"timeUnixNano": 1.5}, "expected an integer"),
        ({"timeUnixNano": True}, "expected an integer"),
        ({"severityNumber": "LOUD"}, "expected a severity number"),
        ({"severityText": 5}, "expected a string"),
        ({"traceId": "xyz"}, "expected hexadecimal digits"),
        ({"body": "text"}, "logRecords[0].body: expected an object"),
        ({"body": {"intValue": "9223372036854775808"}}, "expected an integer"),
        ({"body": {"doubleValue": "much"}}, "expected a number"),
        ({"body": {"boolValue": 1}}, "expected true or false"),
        ({"body": {"bytesValue": "%%"}}, "expected base64"),
        ({"attributes": {}}, "logRecords[0].attributes: expected an array"),
        ({"attributes": [1]}, "attributes[0]: expected an object"),
    ],
)
def test_wrong_json_is_named_with_its_place(record, message) -> None:
    tree = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    with pytest.raises(UndecodableError) as raised:
        logs_request_from_json(json.dumps(tree).encode())
    assert "$.resourceLogs[0].scopeLogs[0]." in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize("depth", [200, 5_000, 200_000])
def test_deep_json_is_refused(depth) -> None:
    value = '{"arrayValue":{"values":[' * depth + "]}}" * depth
    body = f'{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{value}}}]}}]}}]}}'
    with pytest.raises(UndecodableError):
        logs_request_from_json(body.encode())
