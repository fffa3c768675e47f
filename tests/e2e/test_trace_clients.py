"""What tracing clients send over the wire: every span is there, whole, and at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from grpc import Compression as GrpcCompression
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from py_zipkin import Encoding
from py_zipkin.transport import SimpleHTTPTransport
from py_zipkin.zipkin import zipkin_client_span, zipkin_server_span

from tests.e2e.processes import (
    Server,
    free_port,
    installed,
    obsd_server,
    running,
    wait_until,
)

ROOT = Path(__file__).parent.parent.parent
CLIENTS = ROOT / "tests" / "clients" / "tracing"
RECEIVERS = ("otlp_http", "otlp_grpc", "zipkin", "jaeger_thrift")
TRACES = "/api/v1/monitoring/traces"
COUNT = 100


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in RECEIVERS}


def server_at(directory: Path, ports: Mapping[str, int]) -> Server:
    listen = {f"OBSD_SERVER__{n.upper()}_LISTEN": f"127.0.0.1:{p}" for n, p in ports.items()}
    names = ",".join(name.replace("_", "-") for name in ports)
    return obsd_server(directory, "--receivers", names, environment=listen)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[Server]:
    with running(server_at(tmp_path_factory.mktemp("trace-clients"), ports)) as obsd:
        yield obsd


def search(server: Server, project: str = "default", **parameters: str) -> list[dict[str, Any]]:
    """All traces that match, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        asked = {"limit": "40", **parameters} | ({"cursor": cursor} if cursor else {})
        answer = server.request(TRACES, asked, headers={"X-Scope-OrgID": project})
        assert answer.status == 200, answer.text
        found += answer.json()["traces"]
        cursor = answer.json()["next_cursor"]
    return found


def spans_of(server: Server, trace_id: str, project: str = "default") -> list[dict[str, Any]]:
    answer = server.request(f"{TRACES}/{trace_id}", headers={"X-Scope-OrgID": project})
    assert answer.status == 200, answer.text
    spans: list[dict[str, Any]] = answer.json()["spans"]
    return spans


def send_orders(exporter: SpanExporter, service: str, count: int) -> str:
    """Traces of three spans; returns the id of the last."""
    resource = Resource.create({"service.name": service, "service.version": "3.1"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
    tracer = provider.get_tracer("shop.orders", "7", attributes={"kind": "test"})
    previous = None
    for number in range(count):
        links = [Link(previous, {"why": "previous"})] if previous is not None else []
        with tracer.start_as_current_span("order", kind=SpanKind.SERVER, links=links) as span:
            span.set_attributes({"number": number, "express": True, "items": ["a", "b"]})
            with tracer.start_as_current_span("reserve"):
                pass
            with tracer.start_as_current_span("pay", kind=SpanKind.CLIENT) as pay:
                if number % 10 == 3:
                    pay.record_exception(ValueError(f"card {number} was refused"))
                    pay.set_status(Status(StatusCode.ERROR, "refused"))
        previous = span.get_span_context()
    provider.shutdown()
    assert previous is not None
    return f"{previous.trace_id:032x}"


@pytest.mark.parametrize("way", ["http", "http-gzip", "http-deflate", "grpc", "grpc-gzip"])
def test_opentelemetry_sdk(server: Server, ports: dict[str, int], way: str) -> None:
    headers = {"x-scope-orgid": way}
    exporter: SpanExporter
    if way.startswith("http"):
        url = f"http://127.0.0.1:{ports['otlp_http']}/v1/traces"
        compression = Compression(way.partition("-")[2] or "none")
        exporter = OTLPSpanExporter(url, headers=headers, compression=compression)
    else:
        gzip = GrpcCompression.Gzip if way.endswith("gzip") else GrpcCompression.NoCompression
        address = f"127.0.0.1:{ports['otlp_grpc']}"
        exporter = GrpcSpanExporter(
            address, insecure=True, headers=tuple(headers.items()), compression=gzip
        )
    last = send_orders(exporter, "shop", COUNT)
    found = search(server, way)
    assert len({trace["trace_id"] for trace in found}) == COUNT
    assert {(t["root_service"], t["root_operation"], t["spans"]) for t in found} == {
        ("shop", "order", 3)
    }
    assert found[0]["trace_id"] == last
    assert sum(trace["errors"] for trace in found) == COUNT // 10
    assert len(search(server, way, error="true", service="shop", operation="pay")) == COUNT // 10
    [one] = search(server, way, tag="number:17")
    order = next(s for s in spans_of(server, one["trace_id"], way) if s["operation"] == "order")
    assert order["attributes"] == {"number": 17, "express": True, "items": ["a", "b"]}
    assert order["kind"] == "server"
    assert order["scope"]["name"] == "shop.orders"
    assert order["scope"]["attributes"] == {"kind": "test"}
    assert order["resource"]["service.version"] == "3.1"
    assert order["links"][0]["attributes"] == {"why": "previous"}


def test_exceptions_of_spans_are_errors_with_their_traces(
    server: Server, ports: dict[str, int]
) -> None:
    url = f"http://127.0.0.1:{ports['otlp_http']}/v1/traces"
    send_orders(OTLPSpanExporter(url, headers={"x-scope-orgid": "errors"}), "shop", COUNT)

    def groups() -> list[dict[str, Any]]:
        answer = server.request("/api/v1/monitoring/errors", headers={"X-Scope-OrgID": "errors"})
        errors: list[dict[str, Any]] = answer.json()["errors"]
        return errors

    wait_until(lambda: groups(), "the errors are grouped", 20)
    [group] = groups()
    assert (group["type"], group["message"]) == ("ValueError", "card <_> was refused")
    assert group["count"] == COUNT // 10
    assert len(group["traces"]) == COUNT // 10
    spans = spans_of(server, group["traces"][0]["trace_id"], "errors")
    [pay] = [span for span in spans if span["operation"] == "pay"]
    assert pay["events"][0]["attributes"]["exception.type"] == "ValueError"


THREE_SIGNALS = """
import logging
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.{kind}._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.{kind}.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.{kind}.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

traces, logs = TracerProvider(), LoggerProvider()
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
logger = logging.getLogger("shop")
logger.addHandler(LoggingHandler(logger_provider=logs))
with traces.get_tracer("shop").start_as_current_span("order") as span:
    logger.warning("stock is low")
    meters.get_meter("shop").create_counter("orders").add(5)
print(f"{{span.get_span_context().trace_id:032x}}")
for provider in (traces, logs, meters):
    provider.shutdown()
"""


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_one_endpoint_brings_all_three_signals(
    server: Server, ports: dict[str, int], kind: str
) -> None:
    service = f"one-{kind}"
    program = THREE_SIGNALS.format(kind=kind)
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{ports[f'otlp_{kind}']}",
        "OTEL_SERVICE_NAME": service,
    }
    trace_id = run([sys.executable, "-c", program], environment).strip()
    assert [span["operation"] for span in spans_of(server, trace_id)] == ["order"]
    found = server.request("/api/v1/monitoring/logs", {"query": f"trace_id:{trace_id}"}).json()
    assert [record["message"] for record in found["logs"]] == ["stock is low"]
    query = {"query": f'orders_total{{job="{service}"}}'}
    [sample] = server.data("/api/v1/query", query)["result"]
    assert sample["value"][1] == "5"


def run(command: list[str], environment: Mapping[str, str] = {}) -> str:

    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=os.environ | dict(environment or {}),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_instrumented_services_make_one_trace_over_all_processes(
    server: Server, ports: dict[str, int], tmp_path: Path
) -> None:
    def environment(service: str) -> dict[str, str]:
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{ports['otlp_http']}",
            "OTEL_EXPORTER_OTLP_HEADERS": "X-Scope-OrgID=shop",
            "OTEL_SERVICE_NAME": service,
            "PYTHONPATH": str(ROOT),
        }

    def part(role: str, port: int, *arguments: str) -> Server:
        module = [sys.executable, "-m", "tests.e2e.shop_app", role, str(port), *arguments]
        log = tmp_path / f"{role}.log"
        return Server(role, module, port=port, log=log, environment=environment(role))

    api_port, web_port = free_port(), free_port()
    with ExitStack() as stack:
        for each in (part("api", api_port), part("web", web_port, f"http://127.0.0.1:{api_port}")):
            stack.enter_context(running(each))
        command = [sys.executable, "-m", "tests.e2e.shop_app", "customer"]
        command += [f"http://127.0.0.1:{web_port}", "5"]
        sold = dict(line.split() for line in run(command, environment("customer")).splitlines())
    assert sorted(sold.values()) == ["200", "200", "200", "200", "500"]
    for trace_id, status in sold.items():
        spans = spans_of(server, trace_id, "shop")
        by_id = {span["span_id"]: span for span in spans}
        chain = [next(span for span in spans if span["operation"] == "look up")]
        while (parent := by_id.get(chain[-1]["parent_id"])) is not None:
            chain.append(parent)
        assert [(span["service"], span["kind"]) for span in reversed(chain)] == [
            ("customer", "internal"),
            ("customer", "client"),
            ("web", "server"),
            ("web", "client"),
            ("api", "server"),
            ("api", "internal"),
        ]
        assert len(spans) == len(chain)
        assert (chain[0]["status"] == "error") == (status == "500")
    analysis = server.request(
        f"{TRACES}/{next(t for t, status in sold.items() if status == '500')}/analysis",
        headers={"X-Scope-OrgID": "shop"},
    ).json()
    assert analysis["errors"][0]["type"].endswith("OutOfStockError")


def zipkin_url(ports: Mapping[str, int]) -> str:
    return f"http://127.0.0.1:{ports['zipkin']}/api/v2"


def zipkin_traces(ports: Mapping[str, int], service: str) -> list[list[dict[str, Any]]]:
    url = f"{zipkin_url(ports)}/traces?serviceName={service}&limit=1000"
    with urllib.request.urlopen(url, timeout=20) as answer:
        traces: list[list[dict[str, Any]]] = json.load(answer)
        return traces


@pytest.mark.parametrize("encoding", [Encoding.V2_JSON, Encoding.V2_PROTO3])
def test_py_zipkin(server: Server, ports: dict[str, int], encoding: str) -> None:
    service = f"py-{encoding}".lower()
    transport = SimpleHTTPTransport("127.0.0.1", ports["zipkin"])
    for number in range(COUNT):
        with zipkin_server_span(
            service_name=service,
            span_name="order",
            transport_handler=transport,
            sample_rate=100.0,
            port=80,
            encoding=encoding,
        ) as root:
            root.update_binary_annotations({"number": str(number)})
            with zipkin_client_span(service_name=service, span_name="pay") as child:
                child.add_sa_binary_annotation(5432, "db", "127.0.0.1")
                child.add_annotation("sent", time.time())
    found = zipkin_traces(ports, service)
    assert len(found) == COUNT
    assert {(span["name"], span["kind"]) for spans in found for span in spans} == {
        ("order", "SERVER"),
        ("pay", "CLIENT"),
    }
    [one] = search(server, service=service, tag="number:17")
    order, pay = sorted(spans_of(server, one["trace_id"]), key=lambda span: span["operation"])
    assert pay["parent_id"] == order["span_id"]
    assert pay["attributes"]["peer.service"] == "db"
    assert [event["name"] for event in pay["events"]] == ["sent"]


def test_opentelemetrys_exporter_for_zipkin(server: Server, ports: dict[str, int]) -> None:
    exporter = ZipkinExporter(endpoint=f"{zipkin_url(ports)}/spans")
    send_orders(exporter, "otel-zipkin", COUNT)
    assert len(zipkin_traces(ports, "otel-zipkin")) == COUNT
    assert len(search(server, service="otel-zipkin", error="true")) == COUNT // 10
    [one] = search(server, service="otel-zipkin", tag="number:17")
    spans = {span["operation"]: span for span in spans_of(server, one["trace_id"])}
    assert spans["order"]["kind"] == "server"
    assert spans["order"]["scope"]["name"] == "shop.orders"
    assert spans["order"]["scope"]["version"] == "7"
    assert spans["pay"]["parent_id"] == spans["order"]["span_id"]


def send_from_node(client: str, url: str) -> list[str]:
    assert (CLIENTS / "node_modules").is_dir(), f"npm ci in {CLIENTS}"
    options = json.dumps({"client": client, "url": url, "count": COUNT})
    out = run([installed("node", "nodejs"), str(CLIENTS / "send.js"), options])
    traces: list[str] = json.loads(out.splitlines()[-1])
    assert len(traces) == COUNT
    return traces


def test_nodes_zipkin(server: Server, ports: dict[str, int]) -> None:
    traces = send_from_node("zipkin", f"{zipkin_url(ports)}/spans")
    found = zipkin_traces(ports, "node-zipkin")
    assert {spans[0]["traceId"] for spans in found} == set(traces)
    spans = {span["operation"]: span for span in spans_of(server, traces[17])}
    assert spans["get"]["attributes"] == {"number": "17"}
    assert spans["query"]["attributes"]["peer.service"] == "db"


def test_pieces_of_a_span_become_one_also_after_a_flush(server: Server) -> None:
    start_us = time.time_ns() // 1000
    first = {
        "traceId": "00000000000000ab",
        "id": "00000000000000cd",
        "kind": "CLIENT",
        "name": "pay",
        "timestamp": start_us,
        "localEndpoint": {"serviceName": "pieces"},
        "tags": {"a": "1"},
    }
    second = {key: first[key] for key in ("traceId", "id", "kind")}
    second |= {"duration": 1_500, "tags": {"b": "2"}}
    for piece in (first, second):
        body = json.dumps([piece]).encode()
        headers = {"Content-Type": "application/json"}
        answer = server.request("/api/v2/spans", method="POST", body=body, headers=headers)
        assert answer.status == 202, answer.text
        assert server.request("/api/v1/admin/flush", method="POST").status < 300
    [found] = server.request("/zipkin/api/v2/trace/ab").json()
    assert found == first | {"duration": 1_500, "tags": {"a": "1", "b": "2"}}


def test_jaegers_client(server: Server, ports: dict[str, int]) -> None:
    url = f"http://127.0.0.1:{ports['jaeger_thrift']}/api/traces"
    traces = send_from_node("jaeger", url)
    found = search(server, service="node-jaeger", error="true")
    assert {trace["trace_id"] for trace in found} == {trace.rjust(32, "0") for trace in traces}
    spans = {span["operation"]: span for span in spans_of(server, traces[17])}
    assert spans["order"]["attributes"]["number"] == 17
    assert spans["order"]["resource"]["service.version"] == "1.2"
    assert spans["pay"]["parent_id"] == spans["order"]["span_id"]
    [event] = spans["pay"]["events"]
    assert event["attributes"]["exception.message"] == "card 17 was refused"


def test_what_was_acknowledged_survives_a_kill_and_counts_once(tmp_path: Path) -> None:
    ports = {"otlp_http": free_port()}
    url = f"http://127.0.0.1:{ports['otlp_http']}/v1/traces"
    obsd = server_at(tmp_path, ports)

    def counts() -> list[int]:
        errors = obsd.request("/api/v1/monitoring/errors").json()["errors"]
        return [group["count"] for group in errors]

    with running(obsd):
        send_orders(OTLPSpanExporter(url), "shop", COUNT)
        wait_until(lambda: counts() == [10], "the errors are counted", 20)
        obsd.kill()
        obsd.start()
        assert len(search(obsd)) == COUNT
        send_orders(OTLPSpanExporter(url), "shop", COUNT)
        obsd.kill()  # Most likely before these errors are counted.
        obsd.start()
        assert len(search(obsd)) == 2 * COUNT
        wait_until(lambda: counts() == [20], "every error is counted once", 20)
