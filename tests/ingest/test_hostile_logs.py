"""Logs from senders that mean harm: an error of theirs never looks like one of the server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from obsd.ingest import loki_push
from obsd.ingest.json_lines import Hints, read_lines
from obsd.ingest.otlp_json import logs_request_from_json
from obsd.ingest.record_limits import RecordLimits
from obsd.model.errors import BadInputError, TooLargeError, UndecodableError
from obsd.services.protobuf import bytes_field


def in_thread(work: Callable[[], object]) -> Exception | None:
    """What is raised where the stack is as short as in a pool."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - It is what the test is about.
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.parametrize("depth", [10, 500, *range(900, 1000, 4), 5000])
def test_deep_json_is_the_senders_fault(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    record = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":%b}]}]}]}' % deep
    for body in (b'{"resourceLogs":[%b]}' % deep, record):
        error = in_thread(partial(logs_request_from_json, body))
        assert isinstance(error, UndecodableError)
    push = b'{"streams":[{"stream":{"a":"b"},"values":[[%b,"x"]]}]}' % deep
    error = in_thread(partial(loki_push.read_json, push))
    assert error is None or isinstance(error, BadInputError)


def test_bytes_that_are_no_base64() -> None:
    body = '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"bytesValue":"é"}}]}]}]}'
    with pytest.raises(UndecodableError, match="bytesValue: expected base64"):
        logs_request_from_json(body.encode())


def test_many_short_lines_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obsd.services.log_encoding.MAX_REQUEST_MEMORY_BYTES", 10_000)
    with pytest.raises(TooLargeError):
        read_lines(b"a\n" * 200, is_text=True, hints=Hints(), now_ns=1 << 60, limits=RecordLimits())


def test_many_tiny_entries_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obsd.services.log_encoding.MAX_REQUEST_MEMORY_BYTES", 10_000)
    stream = bytes_field(1, b'{a="b"}') + b"\x12\x00" * 200
    with pytest.raises(TooLargeError):
        loki_push.read_protobuf(bytes_field(1, stream))


def test_labels_may_stand_behind_the_entries() -> None:
    entry = bytes_field(2, bytes_field(2, b"line"))
    push, encoded = loki_push.read_protobuf(bytes_field(1, entry + bytes_field(1, b'{a="b"}')))
    [group] = ExportLogsServiceRequest.FromString(encoded).resource_logs
    assert [len(scope.log_records) for scope in group.scope_logs] == [1]
    assert push.errors == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ingest/jsonline", b'{"msg": "\xff"}'),
        ("/loki/api/v1/push", b'{"streams": "\xff"}'),
        ("/v1/logs", b'{"resourceLogs": "\xff"}'),
        ("/api/v1/monitoring/metrics", b'{"metrics": "\xff"}'),
        ("/api/v1/monitoring/logs", b'{"follow": "\xff"}'),
        ("/_bulk", b'{"index": "\xff"}'),
        ("/es/_template/t", b'{"a": "\xff"}'),
        ("/services/collector", b'{"event": "\xff"}'),
    ],
)
async def test_json_that_is_no_utf8_is_the_senders_fault(app, path, body) -> None:
    answer = await app.post(path, body, headers={"Content-Type": "application/json"})
    assert answer.status == 400, answer.text
