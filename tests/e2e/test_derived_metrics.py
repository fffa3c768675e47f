"""An application's spans become metrics and a service map, and a kill -9 changes no counter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from tests.e2e.processes import Server, obsd_server, running, wait_until

DEADLINE_S = 30.0
QUICK = {"OBSD_SPAN_METRICS__INTERVAL": "300ms", "OBSD_SPAN_METRICS__WAIT": "3s"}
CALLS = 'sum by (service) (traces_spanmetrics_calls_total{span_kind="SPAN_KIND_SERVER"})'
EDGES = "sum by (client, server, connection_type) (traces_service_graph_request_total)"
FAILED = "sum by (client, server) (traces_service_graph_request_failed_total) > 0"


class Shop:
    """Two instrumented services: front calls cart, which asks a database, and fails at times."""

    def __init__(self, url: str) -> None:
        self._stack = ExitStack()
        self._front = self._tracer(url, "front")
        self._cart = self._tracer(url, "cart")
        self.sent = 0

    def _tracer(self, url: str, service: str) -> Tracer:
        resource = Resource.create({"service.name": service, "service.instance.id": f"{service}-1"})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
        self._stack.callback(provider.shutdown)
        return provider.get_tracer("shop")

    def buy(self, count: int) -> None:
        """Each span is stored when its `with` is over."""
        for _ in range(count):
            with (
                self._front.start_as_current_span("GET /buy", kind=SpanKind.SERVER),
                self._front.start_as_current_span("GET", kind=SpanKind.CLIENT),
                self._cart.start_as_current_span("GET /cart", kind=SpanKind.SERVER) as span,
            ):
                if self.sent % 4 == 0:
                    span.set_status(Status(StatusCode.ERROR))
                asked = {"db.system": "postgresql", "server.address": "db-1"}
                asking = self._cart.start_span("SELECT", kind=SpanKind.CLIENT, attributes=asked)
                asking.end()
            self.sent += 1

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(obsd_server(tmp_path, environment=QUICK)) as obsd:
        yield obsd


@pytest.fixture
def shop(server: Server) -> Iterator[Shop]:
    shop = Shop(server.url)
    yield shop
    shop.close()


def vector(server: Server, query: str) -> dict[tuple[str, ...], float]:
    """Values by those of the labels, which are sorted by name."""
    return {
        tuple(text for _, text in sorted(each["metric"].items())): float(each["value"][1])
        for each in server.data("/api/v1/query", {"query": query})["result"]
    }


def await_calls(server: Server, count: int) -> None:
    wanted = {("front",): count, ("cart",): count}
    edges = {
        ("front", "cart"): count,
        ("cart", "database", "db-1"): count,
        ("user", "virtual_node", "front"): count,
    }

    def counted() -> bool:
        return vector(server, CALLS) == wanted and vector(server, EDGES) == edges

    wait_until(counted, f"{count} calls are counted", DEADLINE_S)


def test_spans_of_an_application_are_counted_and_drawn(server: Server, shop: Shop) -> None:
    shop.buy(40)
    await_calls(server, 40)
    assert vector(server, FAILED) == {("front", "cart"): 10}
    assert vector(server, "count(traces_target_info) by (job, instance)") == {
        ("cart-1", "cart"): 1,
        ("front-1", "front"): 1,
    }
    assert_exemplars_lead_to_traces(server)

    answer = server.request("/api/v1/monitoring/service-map", {"from": "-5m"})
    found = answer.json()
    nodes = {node["name"]: node for node in found["nodes"]}
    assert {name: node["type"] for name, node in nodes.items()} == {
        "cart": "service",
        "db-1": "database",
        "front": "service",
        "user": "user",
    }
    assert nodes["cart"]["error_rate"] == pytest.approx(0.25, abs=0.01)
    assert nodes["cart"]["p95_ms"] > 0
    assert nodes["cart"]["health"]["state"] == "failing"
    assert {
        (edge["client"], edge["server"], edge["connection_type"]) for edge in found["edges"]
    } == {
        ("cart", "db-1", "database"),
        ("front", "cart", "direct"),
        ("user", "front", "virtual_node"),
    }


def assert_exemplars_lead_to_traces(server: Server) -> None:
    asked = {"query": "traces_spanmetrics_latency_bucket", "start": "0", "end": "4e9"}
    exemplars: list[Any] = [
        each
        for series in server.data("/api/v1/query_exemplars", asked)
        for each in series["exemplars"]
    ]
    assert exemplars
    trace_id = exemplars[0]["labels"]["trace_id"]
    answer = server.request(f"/api/v1/monitoring/traces/{trace_id}")
    assert answer.status == 200, answer.text
    ids = {span["span_id"] for span in answer.json()["spans"]}
    assert exemplars[0]["labels"]["span_id"] in ids


def test_a_kill_changes_no_counter(server: Server, shop: Shop) -> None:
    shop.buy(5)
    await_calls(server, 5)
    for _ in range(2):
        shop.buy(7)
        server.kill()
        server.start()
    # What went into segments meanwhile is counted as well.
    assert server.request("/api/v1/admin/flush", method="POST").status == 204
    shop.buy(2)
    server.kill()
    server.start()
    await_calls(server, 21)
    assert vector(server, "sum(resets(traces_spanmetrics_calls_total[5m]))") == {(): 0}
    assert vector(server, "sum(resets(traces_service_graph_request_total[5m]))") == {(): 0}


def test_a_stop_changes_no_counter_either(server: Server, shop: Shop) -> None:
    shop.buy(5)
    await_calls(server, 5)
    shop.buy(6)
    assert server.stop() == 0
    server.start()
    # The last samples were written on the way out.
    assert vector(server, CALLS) == {("front",): 11, ("cart",): 11}
    shop.buy(1)
    await_calls(server, 12)
