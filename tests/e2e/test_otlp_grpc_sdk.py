"""The OpenTelemetry SDK's gRPC exporter: what it sends is there, also when obsd was away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc import Compression
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from obsd.ingest.otlp_grpc import OtlpGrpcReceiver
from obsd.model.errors import OverloadedError
from tests.api.running_app import running_app
from tests.e2e.processes import Server, free_port, obsd_server, running, wait_until
from tests.ingest.receiver_contexts import ANY_PORT, receiver_context
from tests.services.memory_logs import MemoryLogs

RECORDS = 300


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


def server_at(directory: Path, port: int) -> Server:
    return obsd_server(
        directory,
        *("--receivers", "otlp-grpc", "--no-self-monitoring"),
        environment={"OBSD_SERVER__OTLP_GRPC_LISTEN": f"127.0.0.1:{port}"},
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Server]:
    with running(server_at(tmp_path_factory.mktemp("otlp-grpc"), port)) as obsd:
        yield obsd


class Sender:
    """A service that logs through the SDK."""

    def __init__(self, port: int, project: str, **options: Any) -> None:
        exporter = OTLPLogExporter(
            f"127.0.0.1:{port}",
            insecure=True,
            headers=(("x-scope-orgid", project),),
            **options,
        )
        self._provider = LoggerProvider(Resource.create({"service.name": "shop"}))
        processor = BatchLogRecordProcessor(exporter, schedule_delay_millis=100)
        self._provider.add_log_record_processor(processor)
        self._logger = logging.getLogger(f"shop.grpc.{project}")
        self._logger.setLevel(logging.DEBUG)
        self._logger.propagate = False
        self._handler = LoggingHandler(logger_provider=self._provider)
        self._logger.addHandler(self._handler)

    def send(self, numbers: range) -> None:
        for number in numbers:
            self._logger.warning("order %d was late", number, extra={"number": number})

    def close(self) -> None:
        assert self._provider.force_flush()
        self._logger.removeHandler(self._handler)
        self._provider.shutdown()


def total(server: Server, query: str, project: str) -> int:
    path = "/api/v1/monitoring/logs"
    answer = server.request(path, {"query": query}, headers={"X-Scope-OrgID": project})
    assert answer.status == 200, answer.text
    return answer.json()["total"]


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_every_record_is_found(server: Server, port: int, compression: Compression) -> None:
    project = f"grpc-{compression.name}"
    sender = Sender(port, project, compression=compression)
    sender.send(range(RECORDS))
    sender.close()
    assert total(server, "", project) == RECORDS
    assert total(server, "service:shop level:warn late", project) == RECORDS
    assert total(server, "number:>=290", project) == 10


def test_an_outage_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    obsd = server_at(tmp_path, port)
    with running(obsd):
        sender = Sender(port, "default")
        sender.send(range(100))
        wait_until(lambda: total(obsd, "", "default") == 100, "the first records", 20)
        obsd.kill()
        sender.send(range(100, 200))
        obsd.start()
        sender.send(range(200, 300))
        sender.close()
        # Nothing was under way when it was killed, so nothing comes twice either.
        assert total(obsd, "", "default") == 300
        assert total(obsd, "number:>=100", "default") == 200


async def test_the_exporter_waits_for_as_long_as_it_is_told(tmp_path: Path) -> None:
    retry_after_s = 2
    store = MemoryLogs()
    times_s: list[float] = []
    write = store.write

    def write_second_time(*arguments: Any, **options: Any) -> Any:
        times_s.append(time.monotonic())
        if len(times_s) == 1:
            raise OverloadedError("full", retry_after_s)
        return write(*arguments, **options)

    store.write = write_second_time
    async with running_app(tmp_path, open_logs=lambda _: store) as app:
        receiver = OtlpGrpcReceiver(receiver_context(app.application), ANY_PORT)
        await receiver.start()
        await receiver.started()

        def send() -> None:
            sender = Sender(receiver.port, "default")
            sender.send(range(5))
            sender.close()

        await asyncio.to_thread(send)
        await receiver.stop()
    assert len(store.records) == 5
    # By itself the exporter would have come again after 0.8 to 1.2 s.
    assert retry_after_s <= times_s[1] - times_s[0] < retry_after_s + 5
