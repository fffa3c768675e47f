"""An orderly stop under load: what a sender was told is stored, is there after the next start."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from tests.e2e.processes import Server, free_port, obsd_server, running, wait_until

EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
RECORDS_A_CALL = 100


def export_request(sender: int, call: int) -> bytes:
    # No two are the same, since the same record twice is one.
    texts = [f"grpc load {sender} {call} {number}" for number in range(RECORDS_A_CALL)]
    records = [LogRecord(body=AnyValue(string_value=text)) for text in texts]
    groups = [ResourceLogs(scope_logs=[ScopeLogs(log_records=records)])]
    return ExportLogsServiceRequest(resource_logs=groups).SerializeToString()


class GrpcSender:
    """Sends until it is refused, and counts what was taken."""

    def __init__(self, port: int, number: int) -> None:
        self.calls = 0
        self._number = number
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._call = self._channel.unary_unary(EXPORT)

    def run(self) -> None:
        try:
            while True:
                body = export_request(self._number, self.calls)
                self._call(body, timeout=20, wait_for_ready=self.calls == 0)
                self.calls += 1
        except grpc.RpcError as error:
            self.code = error.code()
        finally:
            self._channel.close()


class BulkSender:
    def __init__(self, server: Server, number: int) -> None:
        self.calls = 0
        self._number = number
        self._server = server

    def run(self) -> None:
        headers = {"Content-Type": "application/x-ndjson"}
        try:
            while True:
                lines = "".join(
                    '{"create":{"_index":"load"}}\n'
                    f'{{"message":"{self._number} {self.calls} {number}"}}\n'
                    for number in range(RECORDS_A_CALL)
                )
                answer = self._server.request(
                    "/_bulk", method="POST", body=lines.encode(), headers=headers
                )
                if answer.status != 200:
                    return
                assert not answer.json()["errors"]
                self.calls += 1
        except (OSError, json.JSONDecodeError):
            return


@pytest.mark.parametrize("round_number", range(2))
def test_what_was_acknowledged_before_a_stop_is_there_after_it(
    tmp_path: Path, round_number: int
) -> None:
    port = free_port()
    obsd = obsd_server(
        tmp_path,
        *("--receivers", "otlp-grpc", "--no-self-monitoring"),
        environment={"OBSD_SERVER__OTLP_GRPC_LISTEN": f"127.0.0.1:{port}"},
    )
    with running(obsd):
        grpc_senders = [GrpcSender(port, number) for number in range(2)]
        bulk_senders = [BulkSender(obsd, number) for number in range(2)]
        threads = [threading.Thread(target=s.run) for s in (*grpc_senders, *bulk_senders)]
        for thread in threads:
            thread.start()
        wait_until(lambda: all(s.calls > 5 for s in (*grpc_senders, *bulk_senders)), "all send", 20)
        assert obsd.stop() == 0
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        # Senders come again after this, and not after an answer that says that it was wrong.
        assert {sender.code for sender in grpc_senders} <= {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.CANCELLED,
        }
        obsd.start()

        def count(query: str) -> int:
            return obsd.request("/api/v1/monitoring/logs", {"query": query}).json()["total"]

        for query, senders in (("grpc load", grpc_senders), ("_index:load", bulk_senders)):
            acknowledged = sum(sender.calls for sender in senders) * RECORDS_A_CALL
            # A call of each sender may have been stored without its answer getting through.
            assert acknowledged <= count(query) <= acknowledged + len(senders) * RECORDS_A_CALL
        assert "level=error" not in obsd.log.read_text()
