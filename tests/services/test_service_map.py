"""Maps out of series: nodes, edges, and what is no service of its own."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from obsd.model.clock import ManualClock
from obsd.model.samples import Columns
from obsd.services.metric_encoding import Metric
from obsd.services.metrics_collector import Executors, MetricsCollector
from obsd.services.projects import Projects
from obsd.services.service_map import (
    CHUNK_MS,
    Calls,
    Map,
    ServiceMap,
    baseline_ms,
    increases_of,
)
from obsd.tsdb.options import EngineOptions

T0 = 1_700_000_000_000
MINUTE = 60_000
BUCKETS = ("0.1", "0.2", "+Inf")


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[Projects]:
    opened = Projects(tmp_path, EngineOptions(retention_ms=None), ManualClock(T0))
    yield opened
    opened.close()


@pytest_asyncio.fixture
async def metrics(projects: Projects) -> AsyncIterator[MetricsCollector]:
    with ThreadPoolExecutor(2) as ingest, ThreadPoolExecutor(2) as query:
        yield MetricsCollector(projects, Executors(ingest, query), clock=ManualClock(T0))


class Writer:
    """Counters that grow evenly from zero."""

    def __init__(self, start_ms: int, end_ms: int, step_ms: int = MINUTE) -> None:
        self.metrics: list[Metric] = []
        self._times = range(start_ms, end_ms + 1, step_ms)

    def add(self, name: str, total: float, **labels: str) -> None:
        last = len(self._times) - 1
        self.metrics += [
            Metric(name, total * place / last, time_ms, labels)
            for place, time_ms in enumerate(self._times)
        ]

    def operation(self, service: str, kind: str, totals: tuple[float, float, float]) -> None:
        """Calls by bucket, of which the last ones fail."""
        *good, slowest = totals
        labels = {"service": service, "span_kind": f"SPAN_KIND_{kind}", "span_name": "x"}
        name = "traces_spanmetrics_calls_total"
        self.add(name, sum(good), status_code="STATUS_CODE_UNSET", **labels)
        self.add(name, slowest, status_code="STATUS_CODE_ERROR", **labels)
        for place, le in enumerate(BUCKETS):
            below = sum(totals[: place + 1])
            self.add("traces_spanmetrics_latency_bucket", below, le=le, **labels)

    def edge(self, client: str, server: str, connection: str, total: float, failed: float) -> None:
        labels = {"client": client, "server": server}
        if connection:
            labels["connection_type"] = connection
        self.add("traces_service_graph_request_total", total, **labels)
        self.add("traces_service_graph_request_failed_total", failed, **labels)
        for le in BUCKETS:
            name = "traces_service_graph_request_server_seconds_bucket"
            self.add(name, total, le=le, **labels)


def shop(start_ms: int, end_ms: int) -> list[Metric]:
    writer = Writer(start_ms, end_ms)
    writer.operation("front", "SERVER", (80, 15, 5))
    writer.operation("front", "CLIENT", (900, 0, 0))
    writer.operation("cart", "SERVER", (60, 0, 0))
    writer.operation("batch", "INTERNAL", (30, 0, 0))
    writer.edge("user", "front", "virtual_node", 100, 5)
    writer.edge("front", "cart", "", 60, 0)
    writer.edge("cart", "shop-db", "database", 40, 10)
    writer.edge("cart", "orders", "messaging_system", 20, 0)
    writer.edge("orders", "front", "messaging_system", 20, 0)
    writer.add("traces_spanmetrics_calls_total", 70, metric_overflow="true")
    writer.add("traces_service_graph_request_total", 70, metric_overflow="true")
    return writer.metrics


def summary(found: Map) -> dict[str, tuple[str, int, float]]:
    return {
        node.name: (node.type, round(node.calls.count), round(node.calls.error_rate, 2))
        for node in found.nodes
    }


async def test_nodes_and_edges_of_a_range(metrics: MetricsCollector) -> None:
    start, end = T0 - 60 * MINUTE, T0
    await metrics.collect_metrics("default", shop(start, end))
    found = await ServiceMap(metrics).map("default", start, end)
    assert summary(found) == {
        "batch": ("service", 30, 0.0),
        "cart": ("service", 60, 0.0),
        "front": ("service", 100, 0.05),
        "orders": ("queue", 20, 0.0),
        "shop-db": ("database", 40, 0.25),
        "user": ("user", 100, 0.05),
    }
    assert [(edge.client, edge.server, edge.connection) for edge in found.edges] == [
        ("cart", "orders", "messaging_system"),
        ("cart", "shop-db", "database"),
        ("front", "cart", ""),
        ("orders", "front", "messaging_system"),
        ("user", "front", "virtual_node"),
    ]
    front = next(node for node in found.nodes if node.name == "front")
    assert front.calls.quantile_s(0.5) == pytest.approx(0.0625, rel=0.01)
    assert front.calls.quantile_s(0.9) == pytest.approx(0.1 + 0.1 * 10 / 15, rel=0.01)
    assert front.calls.quantile_s(0.99) == pytest.approx(0.2)
    assert round(found.uncounted) == 70
    assert {node.health.state for node in found.nodes if node.name in ("front", "cart")} == {
        "degraded",
        "healthy",
    }


async def test_a_node_that_fell_silent_is_still_there(metrics: MetricsCollector) -> None:
    await metrics.collect_metrics("default", shop(T0 - 300 * MINUTE, T0 - 100 * MINUTE))
    found = await ServiceMap(metrics).map("default", T0 - 60 * MINUTE, T0)
    assert summary(found)["front"] == ("service", 0, 0.0)
    assert summary(found)["shop-db"][0] == "database"
    assert found.edges == []
    front = next(node for node in found.nodes if node.name == "front")
    assert round(front.baseline.count) == 100


async def test_long_ranges_are_read_in_pieces(metrics: MetricsCollector) -> None:
    start, end = T0 - 3 * CHUNK_MS // 2, T0
    await metrics.collect_metrics("default", shop(start, end))
    found = await ServiceMap(metrics).increases("default", start, end)
    assert found.edges["front", "cart", ""].count == pytest.approx(60, rel=0.02)


async def test_without_series_the_map_is_empty(metrics: MetricsCollector) -> None:
    assert await ServiceMap(metrics).map("nobody", T0 - MINUTE, T0) == Map([], [], 0.0)


def test_quantiles_where_little_is_known() -> None:
    assert Calls().quantile_s(0.5) is None
    above = Calls(3)
    above.below_s |= {float("inf"): 3.0}
    assert above.quantile_s(0.5) == 0.0
    above.below_s |= {0.1: 0.0, 0.2: 0.0}
    assert above.quantile_s(0.5) == 0.2


def test_the_past_of_a_range_has_its_length_at_least() -> None:
    hour = 60 * MINUTE
    assert [baseline_ms(each) // hour for each in (MINUTE, hour, 10 * hour, 240 * hour)] == [
        1,
        6,
        24,
        240,
    ]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(50, 7), (90, 9), (110, 10), (150, 12)], 3),  # Behind 100: 12 less the 9 that were there.
        ([(110, 0), (120, 5)], 5),
        ([(110, 4), (120, 5)], 1),
        ([(90, 9), (110, 10), (120, math.nan), (130, 0), (140, 2)], 3),
        ([(90, 9)], 0),
        ([(100, 9), (101, 10)], 1),
        ([], 0),
    ],
)
def test_increases_are_exact(samples: list[tuple[int, float]], expected: float) -> None:
    columns = Columns(
        labels=((),),
        offsets=np.array([0, len(samples)], dtype=np.int64),
        timestamps=np.array([at for at, _ in samples], dtype=np.int64),
        values=np.array([value for _, value in samples], dtype=np.float64),
    )
    assert increases_of(columns, 100) == [expected]
