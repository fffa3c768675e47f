"""The native counters against the plain ones: any order, repeats, and a restart anywhere."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd import _native
from obsd.config.tree import SpanMetricsConfig
from obsd.model.span import Span, SpanKind, StatusCode
from tests.oracles.span_metrics import Expected, Values
from tests.services.span_metrics.counted import (
    NOW_MS,
    arrivals,
    batch,
    new_counters,
    read_samples,
    span,
    traces,
)
from tests.wire.protobuf_fields import decode_write_request

PLAIN = SpanMetricsConfig(dimensions=("region", "http.route"), target_info=False)
DIMENSIONS = {"region": "region", "http.route": "http_route"}
WAIT_MS = 10_000


def same(found: Values, expected: Values) -> None:
    assert found.keys() == expected.keys()
    for series, value in expected.items():
        assert math.isclose(found[series], value, rel_tol=1e-12), series


@settings(max_examples=80)
@given(traces(), st.integers(0, 1 << 32), st.integers(0, 8))
def test_counters_are_exact_in_any_order_and_through_restarts(
    spans: list[Span], seed: int, repeats: int
) -> None:
    requests = arrivals(spans, seed, repeats)
    expected = Expected(DIMENSIONS)
    expected.count(spans)
    moments = random.Random(seed)
    counters, row, saved = new_counters(PLAIN), 0, b""
    log: list[tuple[_native.SpanBatch, int, int]] = []  # What the write-ahead log has.
    for request in requests:
        now_ms = NOW_MS + moments.randrange(WAIT_MS - 1)
        now_ms = max(now_ms, log[-1][2]) if log else now_ms
        each = batch(request)
        log.append((each, row, now_ms))
        counters.count_batch(each, row, now_ms)
        row += each.spans
        if moments.random() < 0.3:
            counters.expire(now_ms)
            saved = counters.encode()
        if moments.random() < 0.3:
            # A crash: all behind what was saved is replayed.
            counters = new_counters(PLAIN)
            if saved:
                counters.restore(saved)
            for replayed in log:
                counters.count_batch(*replayed)
    assert counters.row == row - 1
    counters.expire(NOW_MS + 2 * WAIT_MS)
    same(read_samples(counters.samples(NOW_MS, False)), expected.seconds())
    totals = counters.totals()
    assert (totals["spans"], totals["repeated"]) == (
        len(spans),
        sum(map(len, requests)) - len(spans),
    )
    assert (totals["unpaired"], totals["pending"]) == (expected.unpaired, 0)


def test_a_message_is_a_request_to_each_who_takes_it() -> None:
    sent = span(2, 1, kind=SpanKind.PRODUCER, service="front", ms=0)
    taken = [span(n, 2, kind=SpanKind.CONSUMER, service=f"taker-{n}") for n in (3, 4)]
    counters = new_counters()
    counters.count_batch(batch([taken[0], sent, taken[1]]), 0, NOW_MS)
    counters.expire(NOW_MS + WAIT_MS)
    assert edges(counters) == {("front", "taker-3"): 1, ("front", "taker-4"): 1}
    values = read_samples(counters.samples(NOW_MS, False))
    queued = "traces_service_graph_request_messaging_system_seconds_count"
    assert sum(value for (name, _), value in values.items() if name == queued) == 2


@settings(max_examples=40)
@given(traces(12), st.integers(0, 1 << 32))
def test_counters_never_fall(spans: list[Span], seed: int) -> None:
    counters, row = new_counters(PLAIN), 0
    before: Values = {}
    moments = random.Random(seed)
    now_ms = NOW_MS
    for request in arrivals(spans, seed, 3):
        each = batch(request)
        now_ms += moments.randrange(WAIT_MS)
        counters.count_batch(each, row, now_ms)
        row += each.spans
        after = read_samples(counters.samples(now_ms, False))
        assert all(after[series] >= value for series, value in before.items())
        before = after


@given(st.binary(max_size=200))
def test_any_bytes_are_a_checkpoint_or_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        new_counters().restore(data)


def test_the_example_of_the_format_is_read() -> None:
    page = (Path(__file__).parents[3] / "docs" / "format" / "span-metrics.md").read_text()
    example = page.partition("## Example")[2].split("```")[1].removeprefix("text")
    counters = new_counters(
        SpanMetricsConfig(latency_buckets=(1.0,), graph_buckets=(1.0,), target_info=False)
    )
    counters.restore(bytes.fromhex(example))
    values = read_samples(counters.samples(NOW_MS, False))
    labels = {
        "service": "a",
        "span_name": "b",
        "span_kind": "SPAN_KIND_CLIENT",
        "status_code": "STATUS_CODE_UNSET",
    }
    assert values["traces_spanmetrics_calls_total", frozenset(labels.items())] == 1
    assert values["traces_spanmetrics_latency_sum", frozenset(labels.items())] == 0.001
    assert (counters.row, counters.totals()["pending"]) == (0, 1)


CLIENT = span(2, 1, kind=SpanKind.CLIENT, service="front", ms=9, attributes={"peer.service": "x"})
SERVER = span(3, 2, service="cart")


def edges(counters: _native.SpanCounters, now_ms: int = NOW_MS) -> dict[tuple[str, str], float]:
    values = read_samples(counters.samples(now_ms, False))
    return {
        (dict(labels)["client"], dict(labels)["server"]): value
        for (name, labels), value in values.items()
        if name == "traces_service_graph_request_total"
    }


@pytest.mark.parametrize("order", [(CLIENT, SERVER), (SERVER, CLIENT)])
def test_the_other_side_is_waited_for(order: tuple[Span, Span]) -> None:
    counters = new_counters()
    counters.count_batch(batch([order[0]]), 0, NOW_MS)
    counters.count_batch(batch([order[1]]), 1, NOW_MS + WAIT_MS - 1)
    assert edges(counters) == {("front", "cart"): 1}
    late = new_counters()
    late.count_batch(batch([order[0]]), 0, NOW_MS)
    late.count_batch(batch([order[1]]), 1, NOW_MS + WAIT_MS)
    late.expire(NOW_MS + 2 * WAIT_MS)
    assert edges(late) == {("front", "x"): 1}
    assert late.totals()["unpaired"] == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_sides_may_share_an_id(order: tuple[int, int]) -> None:
    server = span(2, 1, attributes={"zipkin.shared": True})
    counters = new_counters()
    for row, place in enumerate(order):
        counters.count_batch(batch([(CLIENT, server)[place]]), row, NOW_MS)
    assert edges(counters) == {("front", "cart"): 1}


def test_exemplars_lead_to_the_last_span_of_a_bucket() -> None:
    counters = new_counters()
    counters.count_batch(batch([span(1, ms=3), span(2, ms=3.5), span(3, ms=900)]), 0, NOW_MS)
    found = {}
    for series in decode_write_request(counters.samples(NOW_MS + 5, False)[0]).series:
        labels = dict(series.labels)
        for exemplar, value, time_ms in series.exemplars:
            found[labels["le"]] = (dict(exemplar)["span_id"], value, time_ms)
            assert dict(exemplar)["trace_id"] == f"{1:032x}"
    assert found == {
        "0.004": (f"{2:016x}", 0.0035, NOW_MS + 5),
        "1.024": (f"{3:016x}", 0.9, NOW_MS + 5),
    }


def test_series_begin_at_zero_before_their_first_value() -> None:
    counters = new_counters()
    counters.count_batch(batch([span(1)]), 0, NOW_MS)

    def calls() -> list[tuple[int, float]]:
        return [
            sample
            for body in counters.samples(NOW_MS + 1, False)
            for series in decode_write_request(body).series
            if dict(series.labels)["__name__"] == "traces_spanmetrics_calls_total"
            for sample in series.samples
        ]

    begun = [(NOW_MS - 15_000, 0.0), (NOW_MS + 1, 1.0)]
    assert calls() == begun
    assert calls() == begun, "nobody has said that they are stored"
    counters.confirm()
    assert calls() == begun[1:]


def test_resources_are_targets_and_instances_labels() -> None:
    resource = {
        "service.namespace": "shop",
        "service.instance.id": "i-1",
        "host.name": "web-1",
        "k8s.pod.name": "cart-7",
    }
    counters = new_counters(SpanMetricsConfig(instance_labels=True))
    counters.count_batch(batch([span(1, resource=resource)]), 0, NOW_MS)
    values = read_samples(counters.samples(NOW_MS, True))
    target = {"job": "shop/cart", "instance": "i-1"}
    info = {**target, "host_name": "web-1", "k8s_pod_name": "cart-7"}
    assert values["traces_target_info", frozenset(info.items())] == 1
    operation = {
        **target,
        "service": "cart",
        "span_name": "GET /cart",
        "span_kind": "SPAN_KIND_SERVER",
        "status_code": "STATUS_CODE_UNSET",
    }
    assert values["traces_spanmetrics_calls_total", frozenset(operation.items())] == 1


def test_what_finds_no_room_is_counted_together() -> None:
    config = SpanMetricsConfig(max_series=19, target_info=False)
    counters = new_counters(config)
    failed = StatusCode.ERROR
    spans = [span(n, 99, kind=SpanKind.INTERNAL, status=failed, name=f"n{n}") for n in range(1, 6)]
    counters.count_batch(batch(spans), 0, NOW_MS)
    calls = {
        labels: value
        for (name, labels), value in read_samples(counters.samples(NOW_MS, False)).items()
        if name == "traces_spanmetrics_calls_total"
    }
    assert calls.pop(frozenset({("metric_overflow", "true")})) == 4
    assert list(calls.values()) == [1]
    assert counters.totals()["overflowed"] == 4


def test_series_end_when_nothing_is_added_for_long() -> None:
    counters = new_counters(SpanMetricsConfig(idle_s=60))
    counters.count_batch(batch([span(1)]), 0, NOW_MS)
    counters.expire(NOW_MS + WAIT_MS)
    assert counters.samples(NOW_MS + WAIT_MS, False)
    counters.confirm()
    assert counters.take_changes()
    counters.forget_idle(NOW_MS + WAIT_MS + 60_001)
    assert counters.take_changes()
    assert counters.samples(NOW_MS + WAIT_MS + 60_001, False) == []
    assert counters.totals()["series"] == 0
