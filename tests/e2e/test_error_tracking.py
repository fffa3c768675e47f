"""Exceptions that an application logs through the OpenTelemetry SDK, as errors to work through."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from tests.e2e.processes import Server, obsd_server, running, wait_until

PATH = "/api/v1/monitoring/errors"


class OutOfStockError(Exception):
    pass


def reserve(item: int) -> None:
    raise OutOfStockError(f"nothing left of item {item}")


def checkout(item: int) -> None:
    try:
        reserve(item)
    except OutOfStockError as error:
        raise RuntimeError(f"checkout of {item} failed") from error


def send_exceptions(server: Server, service: str, count: int) -> str:
    """Log `count` exceptions of one kind; returns the id of their trace."""
    provider = LoggerProvider(Resource.create({"service.name": service, "service.version": "3.1"}))
    exporter = OTLPLogExporter(f"{server.url}/v1/logs")
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = logging.getLogger(f"{service}.{time.monotonic_ns()}")
    logger.propagate = False
    logger.addHandler(LoggingHandler(logger_provider=provider))
    with TracerProvider().get_tracer("t").start_as_current_span("order") as span:
        for item in range(count):
            try:
                checkout(item)
            except RuntimeError:
                logger.exception("order %d", item)
        trace_id = f"{span.get_span_context().trace_id:032x}"
    provider.shutdown()
    return trace_id


def groups(server: Server, **params: str) -> list[dict[str, Any]]:
    return server.request(PATH, params).json()["errors"]


def counts(server: Server) -> list[int]:
    return [group["count"] for group in groups(server)]


def test_exceptions_are_grouped_resolved_and_come_back(tmp_path: Path) -> None:
    with running(obsd_server(tmp_path)) as server:
        trace_id = send_exceptions(server, "shop", 5)
        wait_until(lambda: counts(server) == [5], "5 errors in a group", 20)
        [group] = groups(server)
        assert (group["type"], group["state"]) == ("RuntimeError", "open")
        assert "in reserve" not in group["culprit"]
        assert group["culprit"].startswith("reserve (")
        assert group["services"] == {"shop": 5}
        assert group["versions"] == {"3.1": 5}
        assert [trace["trace_id"] for trace in group["traces"]] == [trace_id]
        shown = server.request(f"{PATH}/{group['id']}").json()
        assert "OutOfStockError" in shown["sample"]["attributes"]["exception.stacktrace"]
        body = json.dumps({"ids": [group["id"]], "state": "resolved"}).encode()
        assert server.request(PATH, method="POST", body=body).json() == {"changed": 1}
        server.kill()  # What was decided and counted survives.
    with running(obsd_server(tmp_path)) as server:
        assert [group["state"] for group in groups(server)] == ["resolved"]
        send_exceptions(server, "web", 1)
        wait_until(lambda: counts(server) == [6], "one more error in the group", 20)
        [group] = groups(server, state="open")
        assert group["regressed"]
        assert group["services"] == {"shop": 5, "web": 1}
