"""Raw lines by Loki pushes, files of lines and the OpenTelemetry SDK, found by what they say."""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from tests.e2e.processes import Server, obsd_server, running

PATH = "/api/v1/monitoring/logs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("parsing")
    with running(obsd_server(directory, "--receivers", "http")) as obsd:
        yield obsd


def send(server: Server, path: str, body: bytes, kind: str, project: str, method: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{path}",
        body,
        {"Content-Type": kind, "X-Scope-OrgID": project},
        method=method,
    )
    with urllib.request.urlopen(request) as answer:
        return answer.status, answer.read()


def found(server: Server, query: str, project: str) -> list[dict[str, Any]]:
    answer = server.request(PATH, {"query": query}, headers={"X-Scope-OrgID": project})
    assert answer.status == 200, answer.text
    return answer.json()["logs"]


def test_lines_of_a_loki_push_are_found_by_their_fields(server: Server) -> None:
    now_ns = time.time_ns()
    lines = [
        '{"level":"error","msg":"payment refused","amount":12.5,"user":{"id":7}}',
        'level=warn msg="slow query" duration_ms=250',
        '10.0.0.1 - - [15/Jan/2026:07:59:50 +0000] "GET /cart?x=1 HTTP/1.1" 502 17 "-" "curl/8"',
        "nothing in particular",
    ]
    values = [[str(now_ns + n), line] for n, line in enumerate(lines)]
    push = {"streams": [{"stream": {"app": "shop"}, "values": values}]}
    body = json.dumps(push).encode()
    status, _ = send(server, "/loki/api/v1/push", body, "application/json", "loki", "POST")
    assert status == 204
    # The lines come back as they were pushed.
    assert [entry["message"] for entry in found(server, "level:error amount:>12", "loki")] == [
        lines[0]
    ]
    assert [entry["message"] for entry in found(server, "user.id:7", "loki")] == [lines[0]]
    assert [entry["message"] for entry in found(server, "duration_ms:250", "loki")] == [lines[1]]
    [access] = found(server, "http.response.status_code:[500 TO 599] url.path:/cart", "loki")
    assert (access["message"], access["level"]) == (lines[2], "error")
    assert len(found(server, "service:shop", "loki")) == len(lines)


def test_lines_of_text_have_their_own_times_and_one_trace_is_one_record(server: Server) -> None:
    then = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - 1200))
    text = (
        f"{then},250 ERROR com.shop.Cart - it failed\n"
        "java.lang.IllegalStateException: empty cart\n"
        "\tat com.shop.Cart.pay(Cart.java:5)\n"
        "\tat com.shop.Main.main(Main.java:9)\n"
        f"{then},300 INFO com.shop.Cart - on\n"
    )
    status, answer = send(server, "/ingest/jsonline", text.encode(), "text/plain", "text", "POST")
    assert (status, json.loads(answer)["accepted"]) == (200, 2)
    [failed] = found(server, "exception.type:java.lang.IllegalStateException", "text")
    assert failed["message"].count("\n") == 3
    assert failed["attributes"]["exception.message"] == "empty cart"
    assert failed["attributes"]["logger"] == "com.shop.Cart"
    assert failed["timestamp"].endswith(".250Z")
    [after] = found(server, "level:info", "text")
    assert after["timestamp"] > failed["timestamp"]


def test_bodies_of_the_opentelemetry_sdk_are_parsed_and_processed(server: Server) -> None:
    processors = {
        "processors": [
            {"type": "mask", "kinds": ["email"]},
            {"type": "drop", "when": "path:/health"},
        ]
    }
    body = json.dumps(processors).encode()
    status, _ = send(server, f"{PATH}/processors", body, "application/json", "sdk", "PUT")
    assert status == 200
    exporter = OTLPLogExporter(
        f"http://127.0.0.1:{server.port}/v1/logs", headers={"X-Scope-OrgID": "sdk"}
    )
    provider = LoggerProvider(Resource.create({"service.name": "own"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = logging.getLogger("parsed")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    handler = LoggingHandler(logger_provider=provider)
    logger.addHandler(handler)
    logger.info('{"msg":"welcome ann@example.org","path":"/join","level":"error"}')
    logger.info('{"msg":"fine","path":"/health"}')
    assert provider.force_flush()
    logger.removeHandler(handler)
    provider.shutdown()
    [entry] = found(server, "", "sdk")
    assert (entry["message"], entry["service"]) == ("welcome ***", "own")
    # The level that the SDK said wins.
    assert entry["level"] == "info"
    assert (entry["attributes"]["path"], entry["attributes"]["level"]) == ("/join", "error")
    metrics = server.request("/metrics").text
    assert 'obsd_log_pipeline_dropped_records_total{project="sdk"} 1.0' in metrics
