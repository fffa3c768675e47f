"""What Grafana's Jaeger and Tempo data sources ask, in its order, of a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from obsd.services.protobuf import iter_fields
from tests.e2e.processes import Server, free_port, obsd_server, running, wait_until

RECEIVERS = ("jaeger", "tempo")
PROTOBUF = {"Accept": "application/protobuf"}
COUNT = 20


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in RECEIVERS}


@pytest.fixture(scope="module")
def obsd(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[Server]:
    listen = {f"OBSD_SERVER__{n.upper()}_LISTEN": f"127.0.0.1:{p}" for n, p in ports.items()}
    directory = tmp_path_factory.mktemp("grafana-traces")
    with running(
        obsd_server(directory, "--receivers", ",".join(RECEIVERS), environment=listen)
    ) as server:
        yield server


@pytest.fixture(scope="module")
def trace_id(obsd: Server) -> str:
    """Some traces of two services; the id of the last one, which failed."""
    providers = {
        name: TracerProvider(resource=Resource.create({"service.name": name}))
        for name in ("web", "db")
    }
    for provider in providers.values():
        exporter = OTLPSpanExporter(endpoint=f"{obsd.url}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    web, db = (providers[name].get_tracer("shop", "1.0") for name in ("web", "db"))
    for number in range(COUNT):
        route = {"http.route": "/cart", "number": number}
        with (
            web.start_as_current_span("GET /cart", kind=SpanKind.SERVER, attributes=route) as root,
            web.start_as_current_span("query", kind=SpanKind.CLIENT),
            db.start_as_current_span("SELECT", kind=SpanKind.SERVER) as span,
        ):
            if number == COUNT - 1:
                span.set_status(Status(StatusCode.ERROR, "no such table"))
    for provider in providers.values():
        provider.shutdown()
    return f"{root.get_span_context().trace_id:032x}"


def own_port(name: str, ports: dict[str, int], obsd: Server) -> Server:
    return Server(name, [], port=ports[name], log=obsd.log)


def test_the_jaeger_data_source(obsd: Server, ports: dict[str, int], trace_id: str) -> None:
    """On its own port, and under the prefix of the main one."""
    for server, prefix in ((own_port("jaeger", ports, obsd), ""), (obsd, "/jaeger")):
        api = f"{prefix}/api"
        assert server.request(f"{api}/services").json()["data"] == ["db", "web"]
        operations = server.request(f"{api}/services/web/operations").json()["data"]
        assert operations == ["GET /cart", "query"]
        now_us = time.time_ns() // 1000
        asked = {
            "service": "db",
            "operation": "SELECT",
            "tags": json.dumps({"error": "true"}),
            "start": str(now_us - 3_600_000_000),
            "end": str(now_us),
            "limit": "20",
        }
        (found,) = server.request(f"{api}/traces", asked).json()["data"]
        assert found["traceID"] == trace_id
        assert len(server.request(f"{api}/traces", {"service": "web"}).json()["data"]) == COUNT
        (trace,) = server.request(f"{api}/traces/{trace_id}").json()["data"]
        assert {span["operationName"] for span in trace["spans"]} == {
            "GET /cart",
            "query",
            "SELECT",
        }
        links = {"endTs": str(now_us // 1000 + 1000), "lookback": "3600000"}
        assert server.request(f"{api}/dependencies", links).json()["data"] == [
            {"parent": "web", "child": "db", "callCount": COUNT}
        ]
        missing = server.request(f"{api}/traces/ff")
        assert (missing.status, missing.json()["errors"][0]["code"]) == (404, 404)


def test_the_tempo_data_source(obsd: Server, ports: dict[str, int], trace_id: str) -> None:
    for server, prefix in ((own_port("tempo", ports, obsd), ""), (obsd, "/tempo")):
        api = f"{prefix}/api"
        assert server.request(f"{api}/echo").text == "echo"
        whole = server.request(f"{api}/v2/traces/{trace_id}", headers=PROTOBUF)
        (trace,) = [value for number, kind, value in iter_fields(whole.body) if number == 1]
        assert isinstance(trace, bytes)
        groups = TracesData.FromString(trace).resource_spans
        assert sum(len(s.spans) for group in groups for s in group.scope_spans) == 3
        assert server.request(f"{api}/v2/traces/ff", headers=PROTOBUF).status == 404
        now_s = int(time.time())
        between = {"start": str(now_s - 3600), "end": str(now_s + 1)}
        query = '{ resource.service.name = "web" } >> { status = error }'
        (found,) = server.request(f"{api}/search", {"q": query, **between}).json()["traces"]
        assert found["traceID"] == trace_id
        assert found["serviceStats"] == {
            "web": {"spanCount": 2, "errorCount": 0},
            "db": {"spanCount": 1, "errorCount": 1},
        }
        scopes = server.request(f"{api}/v2/search/tags", between).json()["scopes"]
        tags = {scope["name"]: scope["tags"] for scope in scopes}
        assert {"http.route", "number"} <= set(tags["span"])
        values = server.request(
            f"{api}/v2/search/tag/resource.service.name/values", {"q": "{ kind = client }"}
        )
        assert values.json()["tagValues"] == [{"type": "string", "value": "web"}]
        metrics = {"q": "{} | count_over_time() by (status)", "step": "3600s", **between}
        series = server.request(f"{api}/metrics/query_range", metrics).json()["series"]
        counts = sorted(sum(p["value"] for p in each["samples"]) for each in series)
        assert counts == [1, 3 * COUNT - 1]


def test_the_service_graph_of_prometheus_data_source(obsd: Server, trace_id: str) -> None:
    """The metrics that Tempo's data source asks of a Prometheus one are derived from spans."""
    assert trace_id

    def requests() -> dict[tuple[str, str], str]:
        answer = obsd.request("/api/v1/query", {"query": "traces_service_graph_request_total"})
        return {
            (series["metric"]["client"], series["metric"]["server"]): series["value"][1]
            for series in answer.json()["data"]["result"]
        }

    wait_until(lambda: ("web", "db") in requests(), "the edge is there", 60)
    assert requests()["web", "db"] == str(COUNT)
