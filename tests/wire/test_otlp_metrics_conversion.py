"""OTLP metrics in Prometheus' model: a table of cases for each rule of docs/otlp-metrics.md."""

from __future__ import annotations

import contextlib
import math
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
    Summary,
    SummaryDataPoint,
)

from obsd.model.clock import ManualClock
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.write import Wire
from tests.ingest.otlp_points import (
    CUMULATIVE,
    DELTA,
    attributes,
    counter,
    export,
    gauge,
    histogram,
    number,
    request,
)
from tests.protobuf.native_histograms import buckets
from tests.wire.otlp_conversion import NOW_MS, Converted, converted, converter

SECOND_NS = 1_000_000_000
NOW_NS = NOW_MS * 1_000_000
CLOCK = ManualClock(NOW_MS)
STALE = 0x7FF0_0000_0000_0002
NO_RECORDED_VALUE = 1


def bits(value: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def one_histogram(found: Converted, name: str = "h") -> Any:
    (each,) = [each for labels, each in found.histograms.items() if ("__name__", name) in labels]
    (message,) = each
    return message


def exponential(temporality: int = CUMULATIVE, **fields: Any) -> Metric:
    point = ExponentialHistogramDataPoint(**({"time_unix_nano": NOW_NS, "sum": 1.0} | fields))
    data = ExponentialHistogram(data_points=[point], aggregation_temporality=temporality)
    return Metric(name="h", exponential_histogram=data)


def bounded(**fields: Any) -> HistogramDataPoint:
    defaults = {"time_unix_nano": NOW_NS, "sum": 3.5, "count": 6}
    shape = {"explicit_bounds": [0.5, 10], "bucket_counts": [1, 2, 3]}
    return HistogramDataPoint(**(defaults | shape | fields))


# Labels


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (True, "true"),
        (-7, "-7"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e21, "1e+21"),
        (math.inf, "+Inf"),
        (b"\xff\x00", "/wA="),
        ([1, "a", None, [True]], '[1,"a",null,[true]]'),
        ({"b": 1.5, "a": {'"': "\n"}}, r'{"a":{"\"":"\n"},"b":1.5}'),
    ],
)
def test_texts_of_attributes(value: Any, expected: str) -> None:
    body = export(gauge("g", number(1, NOW_NS, {"key": value})))
    (labels,) = converted(body, strategy="NoTranslation").of("g")
    assert dict(labels)["key"] == expected


def test_keys_that_collide_are_joined_in_order() -> None:
    point = number(1, NOW_NS, {"a-b": "3", "a.b": "1", "a_b": "2", "": "x", "__name__": "y"})
    assert converted(export(gauge("g", point))).values("g") == {"a_b=3;1;2 job=shop": 1}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"service.name": "a"}, {"job": "a"}),
        ({"service.name": "a", "service.namespace": "b"}, {"job": "b/a"}),
        ({"service.namespace": "b"}, {}),
        ({"service.name": "a", "service.instance.id": "i"}, {"job": "a", "instance": "i"}),
        ({}, {"job": "own", "instance": "own"}),
    ],
)
def test_job_and_instance(resource: dict[str, str], expected: dict[str, str]) -> None:
    point = number(1, NOW_NS, {"job": "own", "instance": "own"})
    (labels,) = converted(export(gauge("g", point), resource=resource)).of("g")
    assert dict(labels) == {"job": "own", "instance": "own"} | expected


RESOURCE = {"service.name": "shop", "k8s.pod.name": "p1", "host": "h1"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"job": "shop"}),
        ({"promoted": ["k8s.pod.name"]}, {"job": "shop", "k8s_pod_name": "p1"}),
        (
            {"promote_all": True, "ignored": ["service.name"]},
            {"job": "shop", "k8s_pod_name": "p1", "host": "own"},
        ),
        ({"promoted": ["service.name"]}, {"job": "shop", "service_name": "shop"}),
    ],
)
def test_promoted_attributes(options: dict[str, Any], expected: dict[str, str]) -> None:
    body = export(gauge("g", number(1, NOW_NS, {"host": "own"})), resource=RESOURCE)
    (labels,) = converted(body, **options).of("g")
    assert dict(labels) == {"host": "own"} | expected


def test_scopes_are_labels_where_that_is_wanted() -> None:
    scope = InstrumentationScope(name="lib", version="2", attributes=attributes({"a.b": True}))
    body = export(gauge("g", number(1, NOW_NS)), scope=scope, schema_url="http://s")
    assert converted(body).values("g") == {"job=shop": 1}
    (labels,) = converted(body, promote_scope=True).of("g")
    assert dict(labels) == {
        "job": "shop",
        "otel_scope_a_b": "true",
        "otel_scope_name": "lib",
        "otel_scope_version": "2",
        "otel_scope_schema_url": "http://s",
    }


def test_labels_that_are_remembered_are_those_of_their_resource() -> None:
    native = converter()
    labels = {"le": "mine", "a": "b"}
    metrics = [
        gauge("g", number(1, NOW_NS, labels)),
        histogram("h", bounded(attributes=attributes(labels))),
    ]
    for job in ("one", "two", "one"):
        found = converted(export(*metrics, resource={"service.name": job}), native)
        assert found.values("g") == {f"a=b job={job} le=mine": 1}
        assert found.values("h_sum") == {f"a=b job={job}": 3.5}
    # The same bytes, cut elsewhere.
    for labels in ({"a": "b", "c": "d"}, {"a": "d", "c": "b"}, {"a": "b"}, {}):
        found = converted(export(gauge("g", number(1, NOW_NS, labels)), resource={}), native)
        assert found.values("g") == {" ".join(f"{k}={v}" for k, v in labels.items()): 1}


# target_info


def test_target_info_says_what_a_resource_has() -> None:
    resource = RESOURCE | {"service.instance.id": "i"}
    body = export(gauge("g", number(1, NOW_NS)), resource=resource)
    assert converted(body).values("target_info") == {
        "host=h1 instance=i job=shop k8s_pod_name=p1": 1
    }
    (labels,) = converted(body, keep_identifying=True).of("target_info")
    assert dict(labels)["service_instance_id"] == "i"
    assert dict(labels)["service_name"] == "shop"


@pytest.mark.parametrize(
    "resource", [{}, {"host": "h"}, {"service.name": "a", "service.namespace": "b"}]
)
def test_a_resource_that_says_nothing_has_no_target_info(resource: dict[str, str]) -> None:
    assert (
        converted(export(gauge("g", number(1, NOW_NS)), resource=resource)).of("target_info") == {}
    )


def test_target_info_spans_the_points_of_a_request() -> None:
    times = [NOW_NS + seconds * SECOND_NS for seconds in (0, 400, 301)]
    body = export(*[gauge("g", number(1, time_ns)) for time_ns in times], resource=RESOURCE)
    (samples,) = converted(body).of("target_info").values()
    assert [(ts - NOW_MS, value) for ts, value in samples] == [
        (0, 1),
        (150_000, 1),
        (300_000, 1),
        (400_000, 1),
    ]


def test_target_info_is_written_once() -> None:
    metrics = [gauge("g", number(1, NOW_NS))]
    body = request([(RESOURCE, metrics), (RESOURCE, metrics)]).SerializeToString()
    assert list(converted(body).of("target_info").values()) == [[(NOW_MS, 1)]]


def test_target_info_of_points_years_apart_is_bounded() -> None:
    body = export(gauge("g", number(1, 1), number(1, NOW_NS)), resource=RESOURCE)
    (samples,) = converted(body).of("target_info").values()
    assert len(samples) <= 1_002
    assert (samples[0][0], samples[-1][0]) == (0, NOW_MS)


# Numbers


def test_numbers() -> None:
    whole = NumberDataPoint(as_int=-(1 << 53), time_unix_nano=NOW_NS)
    up_down = Metric(
        name="up.down", sum=Sum(data_points=[whole], aggregation_temporality=CUMULATIVE)
    )
    found = converted(
        export(gauge("g", number(0.25, NOW_NS)), counter("c", number(3, NOW_NS)), up_down)
    )
    assert found.points == 3
    assert found.rejected == {}
    assert found.values("g") == {"job=shop": 0.25}
    assert found.values("c_total") == {"job=shop": 3}
    assert found.values("up_down") == {"job=shop": -(1 << 53)}


def test_a_point_without_a_time_is_of_now() -> None:
    assert list(converted(export(gauge("g", number(1, 0)))).of("g").values()) == [[(NOW_MS, 1)]]


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (gauge("", number(1, NOW_NS)), "invalid_name"),
        (gauge("…", number(1, NOW_NS)), "invalid_name"),
        (gauge("g", NumberDataPoint(time_unix_nano=NOW_NS)), "no_value"),
        (counter("c", number(1, NOW_NS), temporality=0), "unspecified_temporality"),
        (counter("c", number(1, NOW_NS), temporality=7), "unspecified_temporality"),
        (counter("c", number(-1, NOW_NS), temporality=DELTA), "negative_delta"),
        (histogram("h", bounded(), temporality=0), "unspecified_temporality"),
        (histogram("h", bounded(bucket_counts=[1, 2])), "invalid_buckets"),
        (histogram("h", bounded(explicit_bounds=[10, 0.5])), "invalid_buckets"),
        (histogram("h", bounded(bucket_counts=[])), "invalid_buckets"),
        (exponential(temporality=0), "unspecified_temporality"),
        (exponential(scale=-5), "unsupported_scale"),
        (exponential(count=1), "invalid_count"),
        (exponential(count=1, zero_count=2), "invalid_count"),
        (
            exponential(count=1, positive={"offset": (1 << 31) - 1, "bucket_counts": [1]}),
            "invalid_buckets",
        ),
        (gauge("g", number(1, 1)), "too_old"),
        (gauge("g", number(1, NOW_NS + 601 * SECOND_NS)), "too_far_in_future"),
    ],
)
def test_what_cannot_be_stored_is_refused_alone(metric: Metric, reason: str) -> None:
    body = export(metric, gauge("good", number(1, NOW_NS)))
    found = converted(body, times=(NOW_MS - 1000, NOW_MS + 600_000))
    assert found.rejected == {reason: 1}
    assert len(found.messages) == 1
    assert found.points == 1
    assert {dict(labels)["__name__"] for labels in found.samples} == {"good"}


def test_an_exponential_histogram_without_a_sum_is_refused() -> None:
    point = ExponentialHistogramDataPoint(time_unix_nano=NOW_NS, count=1, zero_count=1)
    data = ExponentialHistogram(data_points=[point], aggregation_temporality=CUMULATIVE)
    found = converted(export(Metric(name="h", exponential_histogram=data)))
    assert found.rejected == {"no_sum": 1}


def test_text_that_is_no_utf8_is_refused_alone() -> None:
    points = [number(1, NOW_NS, {"a": "WXYZ"}), number(2, NOW_NS, {"a": "fine"})]
    found = converted(export(gauge("g", *points)).replace(b"WXYZ", b"\xff\xfe\xfd\xfc"))
    assert found.rejected == {"invalid_attributes": 1}
    assert found.values("g") == {"a=fine job=shop": 2}


def test_all_points_of_a_bad_resource_are_refused() -> None:
    body = export(gauge("g", *[number(1, NOW_NS)] * 3), resource={"service.name": "WXYZ"})
    found = converted(body.replace(b"WXYZ", b"\xff\xfe\xfd\xfc"))
    assert (found.points, found.rejected) == (0, {"invalid_attributes": 3})


# Histograms


def test_histograms_become_cumulative_buckets() -> None:
    found = converted(export(histogram("h", bounded(), unit="s")))
    assert found.values("h_seconds_bucket") == {
        "job=shop le=0.5": 1,
        "job=shop le=10": 3,
        "job=shop le=+Inf": 6,
    }
    assert found.values("h_seconds_count") == {"job=shop": 6}
    assert found.values("h_seconds_sum") == {"job=shop": 3.5}


def test_a_histogram_without_sum_or_buckets() -> None:
    point = HistogramDataPoint(time_unix_nano=NOW_NS, count=6)
    found = converted(export(histogram("h", point)))
    assert found.values("h_bucket") == {"job=shop le=+Inf": 6}
    assert found.values("h_count") == {"job=shop": 6}
    assert found.of("h_sum") == {}


@pytest.mark.parametrize(
    ("bound", "expected"),
    [(1.0, "1"), (0.005, "0.005"), (1e21, "1" + "0" * 21), (1e-7, "0.0000001"), (-2.5, "-2.5")],
)
def test_bounds_are_plain_decimals(bound: float, expected: str) -> None:
    point = bounded(explicit_bounds=[bound], bucket_counts=[1, 5])
    labels = converted(export(histogram("h", point))).of("h_bucket")
    assert {dict(each)["le"] for each in labels} == {expected, "+Inf"}


def test_a_bound_at_infinity_is_there_once() -> None:
    point = bounded(explicit_bounds=[1, math.inf], bucket_counts=[1, 5, 0])
    found = converted(export(histogram("h", point)))
    assert found.values("h_bucket") == {"job=shop le=1": 1, "job=shop le=+Inf": 6}


def test_an_attribute_le_gives_way() -> None:
    point = bounded(attributes=attributes({"le": "mine"}))
    found = converted(export(histogram("h", point)), custom_buckets=False)
    assert found.values("h_bucket")["job=shop le=10"] == 3
    assert found.values("h_count") == {"job=shop": 6}


def test_histograms_become_native_ones_of_custom_buckets() -> None:
    found = converted(export(histogram("h", bounded())), custom_buckets=True)
    assert found.samples == {}
    message = one_histogram(found)
    assert (message.schema, list(message.custom_values)) == (-53, [0.5, 10])
    assert (message.count_int, message.sum, message.timestamp) == (6, 3.5, NOW_MS)
    assert buckets(message.positive_spans, message.positive_deltas) == {0: 1, 1: 2, 2: 3}
    assert (message.zero_threshold, message.reset_hint) == (0, 0)


# Exponential histograms


def test_exponential_histograms_become_native_ones() -> None:
    metric = exponential(
        scale=3,
        count=22,
        zero_count=2,
        zero_threshold=0.25,
        positive={"offset": -2, "bucket_counts": [1, 0, 3, 0, 0, 0, 4]},
        negative={"offset": 5, "bucket_counts": [12]},
    )
    message = one_histogram(converted(export(metric)))
    assert (message.schema, message.count_int, message.zero_count_int) == (3, 22, 2)
    assert message.zero_threshold == 0.25
    # An index stands for the upper bound here, and for the lower one in OTLP.
    assert buckets(message.positive_spans, message.positive_deltas) == {-1: 1, 1: 3, 5: 4}
    assert buckets(message.negative_spans, message.negative_deltas) == {6: 12}
    assert len(message.positive_spans) == 2


def test_the_zero_threshold_has_a_default() -> None:
    metric = exponential(count=1, zero_count=1)
    assert one_histogram(converted(export(metric))).zero_threshold == 1e-128


@pytest.mark.parametrize("scale", [-4, 0, 8, 9, 11, 20])
@pytest.mark.parametrize("offset", [-9, -8, -1, 0, 1, 7])
def test_fine_scales_are_merged_down(scale: int, offset: int) -> None:
    counts = list(range(1, 20))
    metric = exponential(
        scale=scale,
        count=2 * sum(counts),
        positive={"offset": offset, "bucket_counts": counts},
        negative={"offset": offset, "bucket_counts": counts},
    )
    message = one_histogram(converted(export(metric)))
    assert message.schema == min(scale, 8)
    expected: dict[int, int] = {}
    for place, count in enumerate(counts):
        index = math.floor((offset + place) / 2 ** max(0, scale - 8)) + 1
        expected[index] = expected.get(index, 0) + count
    assert buckets(message.positive_spans, message.positive_deltas) == expected
    assert buckets(message.negative_spans, message.negative_deltas) == expected


# Summaries


def test_summaries() -> None:
    quantiles = [{"quantile": 0.5, "value": 1.5}, {"quantile": 1, "value": 9}]
    point = SummaryDataPoint(
        time_unix_nano=NOW_NS,
        count=4,
        sum=12,
        quantile_values=quantiles,
        attributes=attributes({"quantile": "mine"}),
    )
    found = converted(export(Metric(name="s", unit="ms", summary=Summary(data_points=[point]))))
    assert found.values("s_milliseconds") == {
        "job=shop quantile=0.5": 1.5,
        "job=shop quantile=1": 9,
    }
    assert found.values("s_milliseconds_sum") == {"job=shop": 12}
    assert found.values("s_milliseconds_count") == {"job=shop": 4}


# Staleness


def test_points_without_a_recorded_value_are_stale_markers() -> None:
    flags = {"flags": NO_RECORDED_VALUE, "time_unix_nano": NOW_NS}
    summary = SummaryDataPoint(quantile_values=[{"quantile": 0.5}], **flags)
    found = converted(
        export(
            gauge("g", NumberDataPoint(**flags)),
            counter("c", NumberDataPoint(**flags), temporality=DELTA),
            histogram("h", HistogramDataPoint(explicit_bounds=[1], **flags)),
            Metric(name="s", summary=Summary(data_points=[summary])),
            resource={},
        )
    )
    assert (found.points, found.rejected) == (4, {})
    # As bits, since NaN is not itself.
    assert {bits(sample[1]) for samples in found.samples.values() for sample in samples} == {STALE}
    assert {dict(labels)["__name__"] for labels in found.samples} == {
        *("g", "c_total", "s", "s_sum", "s_count", "h_sum", "h_count", "h_bucket")
    }
    assert len(found.of("h_bucket")) == 2


def test_stale_native_histograms() -> None:
    point = ExponentialHistogramDataPoint(time_unix_nano=NOW_NS, flags=NO_RECORDED_VALUE)
    data = ExponentialHistogram(data_points=[point], aggregation_temporality=CUMULATIVE)
    message = one_histogram(converted(export(Metric(name="h", exponential_histogram=data))))
    assert bits(message.sum) == STALE


# Exemplars


def example(value: float, **fields: Any) -> Exemplar:
    ids = {"trace_id": bytes(range(16)), "span_id": bytes(range(8))}
    return Exemplar(as_double=value, time_unix_nano=NOW_NS + 1_000_000, **(ids | fields))


IDS = {"trace_id": bytes(range(16)).hex(), "span_id": bytes(range(8)).hex()}


def test_exemplars_of_numbers() -> None:
    point = number(3, NOW_NS, exemplars=[example(1, filtered_attributes=attributes({"a.b": 1}))])
    found = converted(export(counter("c", point), resource={}))
    assert found.exemplars == {(("__name__", "c_total"),): [(IDS | {"a_b": "1"}, 1.0, NOW_MS + 1)]}


def test_attributes_that_are_too_long_are_left_out_of_an_exemplar() -> None:
    room = 128 - sum(len(name) + len(value) for name, value in IDS.items())
    for length, kept in ((room - 1, {"a": "ä" * (room - 1)}), (room, {})):
        filtered = attributes({"a": "ä" * length})
        point = number(3, NOW_NS, exemplars=[example(1, filtered_attributes=filtered)])
        ((found, *_),) = converted(export(gauge("g", point))).exemplars.values()
        assert found[0] == IDS | kept


@pytest.mark.parametrize(
    ("value", "le"), [(-1, "0.5"), (0.5, "0.5"), (0.6, "10"), (10, "10"), (11, "+Inf")]
)
def test_exemplars_of_histograms_are_at_their_bucket(value: float, le: str) -> None:
    found = converted(export(histogram("h", bounded(exemplars=[example(value)]))))
    ((labels, _),) = found.exemplars.items()
    assert dict(labels)["le"] == le


def test_exemplars_of_native_histograms() -> None:
    metric = exponential(count=1, zero_count=1, exemplars=[example(0), example(1)])
    (found,) = converted(export(metric)).exemplars.values()
    assert [value for _, value, _ in found] == [0, 1]


# Metadata


def test_metadata() -> None:
    point = number(1, NOW_NS)
    metrics = [gauge("g", point, unit="1"), counter("c", point, unit="By/s")]
    metrics += [histogram("h", bounded(), unit="{x}"), exponential(count=1, zero_count=1)]
    metrics += [Metric(name="s", unit="s", summary=Summary())]
    for metric in metrics:
        metric.description = f"about {metric.name}"
    metrics.append(metrics[0])
    assert converted(export(*metrics)).metadata == [
        ("g_ratio", 2, "about g", ""),
        ("c_bytes_per_second_total", 1, "about c", "bytes_per_second"),
        ("h", 3, "about h", ""),
        ("s_seconds", 5, "about s", "seconds"),
    ]


# Deltas


def delta(value: float, start_s: float, end_s: float, **labels: str) -> NumberDataPoint:
    start, end = (NOW_NS + round(s * SECOND_NS) for s in (start_s, end_s))
    return number(value, end, labels, start_time_unix_nano=start)


def test_deltas_add_up_from_zero() -> None:
    native = converter()
    body = export(
        counter("c", delta(5, 0, 10), delta(7, 10, 20), temporality=DELTA),
        counter("c", delta(1, 0, 10, a="b"), temporality=DELTA),
        resource={},
    )
    found = converted(body, native)
    assert found.of("c_total")[()] == [
        (NOW_MS + 1, 0),
        (NOW_MS + 10_000, 5),
        (NOW_MS + 20_000, 12),
    ]
    assert found.values("c_total")["a=b"] == 1
    # The next request goes on with it, and a gap begins again.
    body = export(counter("c", delta(1, 20, 30), delta(2, 31, 40), temporality=DELTA), resource={})
    assert converted(body, native).of("c_total")[()] == [
        (NOW_MS + 30_000, 13),
        (NOW_MS + 31_001, 0),
        (NOW_MS + 40_000, 2),
    ]


def test_a_request_that_comes_again_changes_nothing() -> None:
    native = converter()
    body = export(counter("c", delta(5, 0, 10), temporality=DELTA))
    first, second = converted(body, native), converted(body, native)
    assert first.samples == second.samples


def test_late_deltas_are_refused() -> None:
    native = converter()
    converted(export(counter("c", delta(5, 0, 10), temporality=DELTA)), native)
    late = converted(export(counter("c", delta(5, 0, 9), temporality=DELTA)), native)
    assert (late.points, late.rejected, late.samples) == (0, {"late_delta": 1}, {})


def test_kinds_and_labels_are_told_apart() -> None:
    native = converter(strategy="NoTranslation")
    up_down = Metric(
        name="c", sum=Sum(data_points=[delta(9, 0, 10)], aggregation_temporality=DELTA)
    )
    converted(export(counter("c", delta(5, 0, 10), temporality=DELTA)), native)
    found = converted(export(up_down), native)
    # Not a counter, so no zero is before it.
    assert list(found.of("c").values()) == [[(NOW_MS + 10_000, 9)]]


def test_a_stale_point_ends_a_run() -> None:
    native = converter()
    converted(export(counter("c", delta(5, 0, 10), temporality=DELTA)), native)
    gone = NumberDataPoint(time_unix_nano=NOW_NS + 20 * SECOND_NS, flags=NO_RECORDED_VALUE)
    converted(export(counter("c", gone, temporality=DELTA)), native)
    assert native.expire(NOW_MS) == 0
    found = converted(export(counter("c", delta(2, 20, 30), temporality=DELTA)), native)
    assert found.values("c_total") == {"job=shop": 2}


def test_idle_runs_are_forgotten() -> None:
    native = converter(delta_idle_ms=60_000)
    converted(export(counter("c", delta(5, 0, 10), temporality=DELTA)), native)
    assert native.expire(NOW_MS + 60_000) == 1
    assert native.expire(NOW_MS + 60_001) == 0


def test_memory_for_deltas_is_bounded() -> None:
    native = converter(delta_memory_bytes=50_000)
    points = [delta(1, 0, 10, id=str(i)) for i in range(2_000)]
    found = converted(export(counter("c", *points, temporality=DELTA)), native)
    assert found.rejected["delta_limit"] == 2_000 - found.points
    assert 100 < found.points < 1_000
    assert native.expire(NOW_MS) == found.points
    # Those that are there go on.
    points = [delta(1, 10, 20, id=str(i)) for i in range(found.points)]
    again = converted(export(counter("c", *points, temporality=DELTA)), native)
    assert again.rejected == {}
    assert set(again.values("c_total").values()) == {2}


def test_delta_histograms_add_up() -> None:
    native = converter()
    starts = [(NOW_NS, NOW_NS + 10 * SECOND_NS), (NOW_NS + 10 * SECOND_NS, NOW_NS + 20 * SECOND_NS)]
    for start, end in starts:
        point = bounded(start_time_unix_nano=start, time_unix_nano=end)
        body = export(histogram("h", point, temporality=DELTA), resource={})
        found = converted(body, native)
    assert found.values("h_bucket") == {"le=0.5": 2, "le=10": 6, "le=+Inf": 12}
    assert found.values("h_sum") == {"": 7}


def test_delta_exponential_histograms_add_up_at_the_coarser_scale() -> None:
    native = converter()
    for place, (scale, offset) in enumerate([(1, -3), (0, 2)]):
        metric = exponential(
            DELTA,
            scale=scale,
            start_time_unix_nano=NOW_NS + place * SECOND_NS,
            time_unix_nano=NOW_NS + (place + 1) * SECOND_NS,
            count=4,
            positive={"offset": offset, "bucket_counts": [1, 1, 2]},
        )
        found = converted(export(metric), native)
    message = one_histogram(found)
    assert (message.schema, message.count_int, message.sum) == (0, 8, 2)
    # -3, -2 and -1 of scale 1 are -2, -1 and -1 of scale 0; one more as native ones.
    assert buckets(message.positive_spans, message.positive_deltas) == {
        -1: 1,
        0: 3,
        3: 1,
        4: 1,
        5: 2,
    }


# Requests


def test_large_requests_are_written_in_pieces() -> None:
    body = export(gauge("g", *[number(i, NOW_NS, {"i": i}) for i in range(500)]))
    bodies, points, _, _ = converter().convert(body, NOW_MS, 0, NOW_MS, 1_000)
    assert len(bodies) > 10
    assert points == 500
    assert len(converted(body, piece_bytes=1_000).of("g")) == 500


def test_what_stands_behind_its_points_still_counts() -> None:
    """Protobuf has fields in any order."""
    whole = export(counter("c", number(1, NOW_NS), unit="s"), resource=RESOURCE)
    message = request([]).FromString(whole).resource_metrics[0]
    metric = message.scope_metrics[0].metrics[0]
    points, named = Metric(sum=metric.sum), Metric(name=metric.name, unit=metric.unit)
    turned = points.SerializeToString() + named.SerializeToString()
    scope = b"\x12" + bytes([len(turned)]) + turned
    resource = message.resource.SerializeToString()
    inner = b"\x12" + bytes([len(scope)]) + scope + b"\x0a" + bytes([len(resource)]) + resource
    body = b"\x0a" + bytes([len(inner)]) + inner
    assert converted(body).samples == converted(whole).samples


def any_histogram(draw: st.DrawFn, temporality: int) -> Metric:
    counts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=5))
    size = len(counts) - 1
    bounds = sorted(draw(st.sets(st.floats(-9, 9), min_size=size, max_size=size)))
    point = bounded(
        explicit_bounds=bounds,
        bucket_counts=counts,
        count=sum(counts),
        time_unix_nano=NOW_NS + draw(st.integers(0, 9)) * SECOND_NS,
    )
    return histogram(draw(NAMES), point, temporality=temporality)


def any_exponential(draw: st.DrawFn, temporality: int) -> Metric:
    sides = {}
    for side in ("positive", "negative"):
        counts = draw(st.lists(st.integers(0, 5), max_size=8))
        sides[side] = {"offset": draw(st.integers(-99, 99)), "bucket_counts": counts}
    zeros = draw(st.integers(0, 5))
    total = zeros + sum(sum(side["bucket_counts"]) for side in sides.values())
    metric = exponential(
        temporality, scale=draw(st.integers(-4, 12)), count=total, zero_count=zeros, **sides
    )
    metric.name = draw(NAMES)
    return metric


def any_number(draw: st.DrawFn, temporality: int) -> Metric:
    labels = draw(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3))
    points = [delta(draw(st.floats(0, 9)), 0, draw(st.integers(1, 9)), **labels) for _ in range(2)]
    return counter(draw(NAMES), *points, temporality=temporality)


NAMES = st.sampled_from(["a", "b.c", "_d", "9"])


@st.composite
def any_metric(draw: st.DrawFn) -> Metric:
    make = draw(st.sampled_from([any_histogram, any_exponential, any_number]))
    return make(draw, draw(st.sampled_from([DELTA, CUMULATIVE])))


@given(
    exports=st.lists(st.lists(any_metric(), max_size=4), max_size=3),
    custom_buckets=st.booleans(),
    strategy=st.sampled_from(["UnderscoreEscapingWithSuffixes", "NoTranslation"]),
)
def test_the_engine_takes_all_that_is_not_refused_here(
    exports: list[list[Metric]], custom_buckets: bool, strategy: str
) -> None:
    native = converter(custom_buckets=custom_buckets, strategy=strategy)
    with tempfile.TemporaryDirectory() as directory:
        engine = MetricsEngine.open(Path(directory), EngineOptions(retention_ms=None), CLOCK)
        try:
            for metrics in exports:
                body = export(*metrics, resource=RESOURCE)
                bodies, points, refused, _ = native.convert(body, NOW_MS, 0, 1 << 62, 1 << 20)
                sent = [getattr(m, m.WhichOneof("data")).data_points for m in metrics]
                assert points + sum(refused.values()) == sum(map(len, sent))
                assert refused.keys() <= {"late_delta"}
                for each in bodies:
                    outcome = engine.write(each, Wire.REMOTE_WRITE_1, lambda _: None)
                    assert outcome.rejected == {}
        finally:
            engine.close()


def convert_or_refuse(body: bytes) -> None:
    """Anything but an answer or a refusal in words fails."""
    with contextlib.suppress(ValueError):
        converted(body)


@given(body=st.binary(max_size=200))
def test_arbitrary_bytes_never_crash(body: bytes) -> None:
    convert_or_refuse(body)


@given(data=st.data())
def test_damaged_requests_never_crash(data: st.DataObject) -> None:
    metrics = [
        counter("c", delta(5, 0, 10, a="b"), temporality=DELTA),
        histogram("h", bounded(exemplars=[example(1)])),
        exponential(count=1, scale=9, positive={"offset": -3, "bucket_counts": [1]}),
    ]
    body = bytearray(export(*metrics, resource=RESOURCE))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    convert_or_refuse(bytes(body))


def test_what_is_no_request_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="cannot decode protobuf: message ends early"):
        converted(export(gauge("g", number(1, NOW_NS)))[:-1])
