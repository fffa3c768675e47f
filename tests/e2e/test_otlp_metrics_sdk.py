"""The OpenTelemetry SDK's metrics over HTTP and gRPC, asked for in PromQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cramjam
import pytest
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpExporter,
)
from opentelemetry.sdk.metrics import (
    AlwaysOnExemplarFilter,
    Counter,
    Histogram,
    Meter,
    MeterProvider,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from tests.e2e.processes import Server, free_port, obsd_server, running
from tests.protobuf.native_histograms import buckets, expected_buckets
from tests.protobuf.prometheus_messages import ReadRequest, ReadResponse, compressed

DELTA = dict.fromkeys((Counter, Histogram), AggregationTemporality.DELTA) | {
    UpDownCounter: AggregationTemporality.CUMULATIVE
}
NEVER_MS = 3_600_000
Export = Callable[[str, dict[str, Any]], MetricExporter]


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, grpc_port: int) -> Iterator[Server]:
    obsd = obsd_server(
        tmp_path_factory.mktemp("otlp-metrics"),
        *("--receivers", "otlp-grpc", "--no-self-monitoring"),
        environment={"OBSD_SERVER__OTLP_GRPC_LISTEN": f"127.0.0.1:{grpc_port}"},
    )
    with running(obsd):
        yield obsd


@pytest.fixture(params=["http", "http-gzip", "grpc"])
def exporter(request: pytest.FixtureRequest, server: Server, grpc_port: int) -> Export:
    def make(project: str, options: dict[str, Any]) -> MetricExporter:
        if request.param == "grpc":
            headers = (("x-scope-orgid", project),)
            return GrpcExporter(f"127.0.0.1:{grpc_port}", insecure=True, headers=headers, **options)
        compression = Compression.Gzip if "gzip" in request.param else Compression.NoCompression
        return HttpExporter(
            f"{server.url}/v1/metrics",
            headers={"X-Scope-OrgID": project},
            compression=compression,
            **options,
        )

    return make


class Shop:
    """A service that measures through the SDK."""

    def __init__(self, exporter: MetricExporter, views: list[View]) -> None:
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=NEVER_MS)
        self._provider = MeterProvider(
            metric_readers=[reader],
            resource=Resource.create(
                {"service.name": "api", "service.namespace": "shop", "service.instance.id": "a1"}
            ),
            views=views,
            exemplar_filter=AlwaysOnExemplarFilter(),
        )
        self.meter: Meter = self._provider.get_meter("shop.orders", "1.0")

    def export(self) -> None:
        assert self._provider.force_flush()

    def close(self) -> None:
        self._provider.shutdown()


@contextmanager
def shop(exporter: MetricExporter, views: list[View] | None = None) -> Iterator[Shop]:
    service = Shop(exporter, views or [])
    try:
        yield service
    finally:
        service.close()


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return name.strip("-")[-60:]


def ask(server: Server, project: str, path: str, **parameters: str) -> Any:
    answer = server.request(path, parameters, headers={"X-Scope-OrgID": project})
    assert answer.status == 200, answer.text
    return answer.json()["data"]


def values(server: Server, project: str, query: str) -> dict[str, Any]:
    """Results by the labels that are not those of the resource."""
    found = {}
    for each in ask(server, project, "/api/v1/query", query=query)["result"]:
        labels = {k: v for k, v in each["metric"].items() if k not in ("job", "instance")}
        found[" ".join(f"{k}={v}" for k, v in labels.items())] = float(each["value"][1])
    return found


def last_histogram(server: Server, project: str, name: str) -> Any:
    """The newest native histogram of the one series of that name, by remote read."""
    now_ms = round(time.time() * 1000)
    query = {
        "start_timestamp_ms": now_ms - 60_000,
        "end_timestamp_ms": now_ms + 60_000,
        "matchers": [{"type": 0, "name": "__name__", "value": name}],
    }
    answer = server.request(
        "/api/v1/read",
        method="POST",
        body=compressed(ReadRequest(queries=[query])),
        headers={"X-Scope-OrgID": project, "Content-Type": "application/x-protobuf"},
    )
    assert answer.status == 200, answer.text
    response = ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(answer.body)))
    (series,) = response.results[0].timeseries
    return series.histograms[-1]


def test_cumulative_metrics_are_found(server: Server, exporter: Export, project: str) -> None:
    with shop(exporter(project, {})) as service:
        requests = service.meter.create_counter("http.requests", "{request}", "Requests so far.")
        depth = service.meter.create_up_down_counter("queue.depth")
        used = service.meter.create_gauge("disk.used", "1")
        size = service.meter.create_histogram(
            "body.size", "By", explicit_bucket_boundaries_advisory=[10.0, 2.5e6]
        )
        requests.add(5, {"http.method": "GET"})
        requests.add(2, {"http.method": "PUT", "retried": True})
        depth.add(-3)
        used.set(0.25)
        for each in (4, 400, 4e6):
            size.record(each)
        service.export()
        requests.add(1, {"http.method": "GET"})
        service.export()
    of_job = '{job="shop/api",instance="a1"}'
    assert values(server, project, f"http_requests_total{of_job}") == {
        "__name__=http_requests_total http_method=GET": 6,
        "__name__=http_requests_total http_method=PUT retried=true": 2,
    }
    assert values(server, project, "queue_depth") == {"__name__=queue_depth": -3}
    assert values(server, project, "disk_used_ratio") == {"__name__=disk_used_ratio": 0.25}
    assert values(server, project, "sum by (le) (body_size_bytes_bucket)") == {
        "le=10": 1,
        "le=2500000": 2,
        "le=+Inf": 3,
    }
    assert values(server, project, "body_size_bytes_sum") == {
        "__name__=body_size_bytes_sum": 4_000_404
    }
    info = values(server, project, "count by (telemetry_sdk_language) (target_info)")
    assert info == {"telemetry_sdk_language=python": 1}
    metadata = ask(server, project, "/api/v1/metadata", metric="http_requests_total")
    assert metadata == {
        "http_requests_total": [{"type": "counter", "help": "Requests so far.", "unit": ""}]
    }


def test_deltas_become_counters(server: Server, exporter: Export, project: str) -> None:
    with shop(exporter(project, {"preferred_temporality": DELTA})) as service:
        orders = service.meter.create_counter("orders")
        size = service.meter.create_histogram(
            "size", explicit_bucket_boundaries_advisory=[10.0, 20.0]
        )
        for amount in (5, 7, 1):
            orders.add(amount)
            size.record(amount * 2)
            service.export()
    assert values(server, project, "orders_total") == {"__name__=orders_total": 13}
    assert values(server, project, "sum by (le) (size_bucket)") == {
        "le=10": 2,
        "le=20": 3,
        "le=+Inf": 3,
    }


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_exponential_histograms_are_native(
    server: Server, exporter: Export, project: str, temporality: str
) -> None:
    options = {"preferred_temporality": DELTA} if temporality == "delta" else {}
    # No powers of two, which rounding may put on either side of a bound.
    small = [1.37**exponent for exponent in range(-20, 21) if exponent][:40]
    views = [View(instrument_name="latency", aggregation=ExponentialBucketHistogramAggregation())]
    with shop(exporter(project, options), views) as service:
        latency = service.meter.create_histogram("latency", "s")
        latency.record(0)
        for value in small:
            latency.record(value)
        service.export()
        for _ in range(59):
            latency.record(100.0)
        service.export()
    histogram = last_histogram(server, project, "latency_seconds")
    assert (histogram.count_int, histogram.zero_count_int) == (100, 1)
    assert histogram.sum == pytest.approx(sum(small) + 5900)
    counted = expected_buckets([*small, *[100.0] * 59], histogram.schema)
    assert buckets(histogram.positive_spans, histogram.positive_deltas) == counted


def test_exemplars_stand_at_their_buckets(server: Server, exporter: Export, project: str) -> None:
    span = trace.NonRecordingSpan(
        trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    )
    with shop(exporter(project, {})) as service:
        wait = service.meter.create_histogram(
            "wait", "s", explicit_bucket_boundaries_advisory=[1.0, 5.0]
        )
        count = service.meter.create_counter("waits")
        wait.record(3.0, context=trace.set_span_in_context(span, context.Context()))
        count.add(1, context=trace.set_span_in_context(span, context.Context()))
        service.export()
    now = time.time()
    period = {"start": str(now - 60), "end": str(now + 60)}
    found = ask(server, project, "/api/v1/query_exemplars", query="wait_seconds_bucket", **period)
    assert [each["seriesLabels"]["le"] for each in found] == ["5"]
    exemplar = found[0]["exemplars"][0]
    assert exemplar["labels"] == {"trace_id": f"{0xABC:032x}", "span_id": f"{0xDEF:016x}"}
    assert float(exemplar["value"]) == 3
    found = ask(server, project, "/api/v1/query_exemplars", query="waits_total", **period)
    assert found[0]["exemplars"][0]["labels"]["trace_id"] == f"{0xABC:032x}"


def test_a_restart_keeps_increases_right(tmp_path: Path) -> None:
    obsd = obsd_server(tmp_path, "--receivers", "http", "--no-self-monitoring")
    exporter = HttpExporter(f"{obsd.url}/v1/metrics", preferred_temporality=DELTA)
    with running(obsd), shop(exporter) as service:
        orders = service.meter.create_counter("orders")
        orders.add(5)
        service.export()
        obsd.kill()
        obsd.start()
        orders.add(7)
        service.export()
        data = obsd.data("/api/v1/query", {"query": "orders_total[5m]"})
        samples = [float(value) for _, value in data["result"][0]["values"]]
    # Before the first one there is a zero, too, if the SDK was there for more than a millisecond.
    assert samples[-3:] == [5, 0, 7]
