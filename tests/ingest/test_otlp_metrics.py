"""OTLP metrics over a real socket: dispatch, answers, and what queries find."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
import zstandard
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    Summary,
    SummaryDataPoint,
)

from obsd.config import Config
from obsd.config.tree import OtlpConfig
from obsd.ingest.otlp_metrics import PATHS
from obsd.ingest.otlp_metrics_json import metrics_request_from_json
from obsd.model.clock import ManualClock
from obsd.model.errors import OverloadedError, StorageUnavailableError, UndecodableError
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.options import EngineOptions
from tests.api.running_app import RunningApp, running_app
from tests.ingest.otlp_points import (
    CUMULATIVE,
    DELTA,
    attributes,
    counter,
    export,
    gauge,
    histogram,
    number,
)

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json; charset=utf-8"}
NOW_S = 1_800_000_000
NOW_NS = NOW_S * 1_000_000_000
BODY = export(gauge("up.now", number(1.5, NOW_NS, {"a.b": "c"})))
STORED = [({"__name__": "up_now", "a_b": "c", "job": "shop"}, "1.5")]
TOO_LATE = gauge("late", number(1, NOW_NS + 10**15))


async def values(app: RunningApp, query: str, time_s: float = NOW_S) -> list[tuple[dict, str]]:
    data = await app.data("/api/v1/query", {"query": query, "time": str(time_s)})
    return [(sample["metric"], sample["value"][1]) for sample in data["result"]]


def clocked(tmp_path, **options: Any):
    return running_app(tmp_path, clock=ManualClock(NOW_S * 1000), **options)


@pytest.fixture
async def app(tmp_path):
    async with clocked(tmp_path) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_stores_a_request(app: RunningApp, path: str) -> None:
    answer = await app.post(path, BODY, headers=PROTOBUF)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"] == "application/x-protobuf"
    assert await values(app, "up_now") == STORED


async def test_json_is_stored_and_answered_with_an_empty_object(app: RunningApp) -> None:
    tree = {
        "resourceMetrics": [
            {
                "resource": {
                    "attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]
                },
                "scopeMetrics": [
                    {
                        "metrics": [
                            {
                                "name": "up.now",
                                "gauge": {
                                    "dataPoints": [
                                        {
                                            "timeUnixNano": str(NOW_NS),
                                            "asDouble": 1.5,
                                            "attributes": [
                                                {"key": "a.b", "value": {"stringValue": "c"}}
                                            ],
                                        }
                                    ]
                                },
                            }
                        ]
                    }
                ],
            }
        ]
    }
    answer = await app.post("/v1/metrics", json.dumps(tree), headers=JSON)
    assert (answer.status, answer.json) == (200, {})
    assert await values(app, "up_now") == STORED


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("identity", bytes),
    ],
)
async def test_codings(app: RunningApp, coding: str, encode: Any) -> None:
    headers = PROTOBUF | {"Content-Encoding": coding}
    answer = await app.post("/v1/metrics", encode(BODY), headers=headers)
    assert answer.status == 200
    assert await values(app, "up_now") == STORED


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        PROTOBUF | {"Content-Encoding": "snappy"},
    ],
)
async def test_other_types_and_codings_are_415(app: RunningApp, headers: dict) -> None:
    answer = await app.post("/v1/metrics", b"whatever", headers=headers)
    assert answer.status == 415


@pytest.mark.parametrize(("body", "headers"), [(b"", PROTOBUF), (b"{}", JSON)])
async def test_an_empty_request_is_a_success(app: RunningApp, body: bytes, headers: dict) -> None:
    answer = await app.post("/v1/metrics", body, headers=headers)
    assert answer.status == 200


async def test_undecodable_bodies_are_answered_in_their_type(app: RunningApp) -> None:
    answer = await app.post("/v1/metrics", BODY[:-1], headers=PROTOBUF)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/x-protobuf"
    status = Status.FromString(answer.body)
    assert (status.code, "message ends early" in status.message) == (3, True)
    answer = await app.post("/v1/metrics", b'{"resourceMetrics": 1}', headers=JSON)
    assert (answer.status, answer.json["code"]) == (400, 3)
    assert "$.resourceMetrics: expected an array" in answer.json["message"]


async def test_what_is_refused_is_counted_and_the_rest_is_stored(tmp_path) -> None:
    body = export(TOO_LATE, gauge("up.now", number(1.5, NOW_NS, {"a.b": "c"})))
    async with clocked(tmp_path) as app:
        answer = await app.post("/v1/metrics", body, headers=PROTOBUF)
        assert answer.status == 200
        partial = ExportMetricsServiceResponse.FromString(answer.body).partial_success
        assert partial.rejected_data_points == 1
        assert "too_far_in_future: 1" in partial.error_message
        assert '"late"' in partial.error_message
        tree = json_format.MessageToJson(ExportMetricsServiceRequest.FromString(body))
        answer = await app.post("/v1/metrics", tree, headers=JSON)
        assert answer.json["partialSuccess"]["rejectedDataPoints"] == "1"
        assert await values(app, "up_now") == STORED


async def test_what_the_engine_refuses_is_counted_as_points(tmp_path) -> None:
    options = EngineOptions(retention_ms=None, max_active_series=2)
    points = [HistogramDataPoint(time_unix_nano=NOW_NS, count=1, sum=1) for _ in range(2)]
    for place, point in enumerate(points):
        point.attributes.extend(attributes({"place": place}))
    async with clocked(tmp_path, options=options) as app:
        body = export(histogram("h", *points))
        answer = await app.post("/v1/metrics", body, headers=PROTOBUF)
        partial = ExportMetricsServiceResponse.FromString(answer.body).partial_success
        assert 1 <= partial.rejected_data_points <= 2
        assert "series_limit" in partial.error_message


@pytest.mark.parametrize("error", [OverloadedError("full", 7), StorageUnavailableError("disk")])
async def test_what_may_come_again_is_503(tmp_path, monkeypatch, error: Exception) -> None:
    body = export(counter("c", number(5, NOW_NS, start_time_unix_nano=1), temporality=DELTA))

    def refuse(*_: Any) -> None:
        raise error

    async with clocked(tmp_path) as app:
        with monkeypatch.context() as patch:
            patch.setattr(MetricsEngine, "write", refuse)
            answer = await app.post("/v1/metrics", body, headers=PROTOBUF)
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert Status.FromString(answer.body).code == 14
        # A delta is not added twice.
        answer = await app.post("/v1/metrics", body, headers=PROTOBUF)
        assert (answer.status, answer.body) == (200, b"")
        assert await values(app, "c_total") == [({"__name__": "c_total", "job": "shop"}, "5")]


async def test_a_bomb_is_413(app: RunningApp) -> None:
    headers = PROTOBUF | {"Content-Encoding": "gzip"}
    bomb = gzip.compress(bytes(65 << 20), 1)
    answer = await app.post("/v1/metrics", bomb, headers=headers)
    assert answer.status == 413
    assert Status.FromString(answer.body).code == 8


async def test_projects_have_sums_of_their_own(tmp_path) -> None:
    async with clocked(tmp_path) as app:
        for project in ("one", "two", "one"):
            shift = 10**9 if project == "one" else 0
            body = export(counter("c", number(5, NOW_NS - shift), temporality=DELTA))
            headers = PROTOBUF | {"X-Scope-OrgID": project}
            assert (await app.post("/v1/metrics", body, headers=headers)).status == 200
        query = {"query": "c_total", "time": str(NOW_S)}
        for project in ("one", "two"):
            answer = await app.get("/api/v1/query", query, headers={"X-Scope-OrgID": project})
            assert answer.json["data"]["result"][0]["value"][1] == "5"


async def test_metadata_and_exemplars_are_found(app: RunningApp) -> None:
    exemplar = Exemplar(as_double=2, time_unix_nano=NOW_NS, trace_id=bytes(range(16)))
    metric = counter("c", number(5, NOW_NS, exemplars=[exemplar]), unit="s")
    metric.description = "Seconds."
    assert (await app.post("/v1/metrics", export(metric), headers=PROTOBUF)).body == b""
    assert await app.data("/api/v1/metadata") == {
        "c_seconds_total": [{"type": "counter", "help": "Seconds.", "unit": "seconds"}]
    }
    period = {"query": "c_seconds_total", "start": str(NOW_S - 1), "end": str(NOW_S + 1)}
    (series,) = await app.data("/api/v1/query_exemplars", period)
    assert series["exemplars"][0]["labels"] == {"trace_id": bytes(range(16)).hex()}


async def test_the_configuration_decides(tmp_path) -> None:
    otlp = OtlpConfig(
        translation_strategy="NoTranslation", promote_resource_attributes=("service.name",)
    )
    async with clocked(tmp_path, config=Config(otlp=otlp)) as app:
        await app.post("/v1/metrics", BODY, headers=PROTOBUF)
        expected = {"__name__": "up.now", "a.b": "c", "job": "shop", "service.name": "shop"}
        assert await values(app, '{"up.now"}') == [(expected, "1.5")]


# JSON


def to_json(body: bytes) -> Any:
    """Protobuf's own JSON, but ids in hexadecimal digits, as OTLP has it."""
    tree = json_format.MessageToDict(ExportMetricsServiceRequest.FromString(body))
    for metric in tree["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]:
        for data in metric.values():
            if isinstance(data, dict):
                for point in data["dataPoints"]:
                    for exemplar in point.get("exemplars", []):
                        exemplar["traceId"] = bytes(range(16)).hex().upper()
                        exemplar["spanId"] = bytes(range(8)).hex()
    return tree


def every_kind() -> bytes:
    exemplar = Exemplar(
        as_int=-3,
        time_unix_nano=NOW_NS,
        trace_id=bytes(range(16)),
        span_id=bytes(range(8)),
        filtered_attributes=attributes({"f": b"\x00\xff"}),
    )
    common = {"time_unix_nano": NOW_NS + 1, "start_time_unix_nano": NOW_NS - 7}
    point = HistogramDataPoint(
        count=3,
        sum=float("inf"),
        explicit_bounds=[0.5, 1],
        bucket_counts=[1, 0, 2],
        exemplars=[exemplar],
        attributes=attributes({"a": [1, {"b": True}], "c": 1.5}),
        flags=1,
        **common,
    )
    exponential = ExponentialHistogramDataPoint(
        count=9,
        sum=0,
        scale=-3,
        zero_count=2,
        zero_threshold=1e-9,
        positive={"offset": -4, "bucket_counts": [1, 300]},
        negative={"offset": 3, "bucket_counts": [1]},
        exemplars=[exemplar],
        **common,
    )
    summary = SummaryDataPoint(
        count=1, sum=2, quantile_values=[{"quantile": 0.5, "value": float("nan")}], **common
    )
    data = ExponentialHistogram(data_points=[exponential], aggregation_temporality=CUMULATIVE)
    return export(
        gauge("g", number(0, NOW_NS, exemplars=[exemplar])),
        counter("c", number(1, NOW_NS), temporality=DELTA, unit="s"),
        histogram("h", point),
        Metric(name="e", exponential_histogram=data),
        Metric(name="s", description="Summary.", summary=Summary(data_points=[summary])),
    )


def test_json_of_every_kind_is_the_protobuf_that_it_stands_for() -> None:
    body = every_kind()
    found = metrics_request_from_json(json.dumps(to_json(body)).encode())
    # As texts, since NaN is not itself.
    assert str(ExportMetricsServiceRequest.FromString(found)) == str(
        ExportMetricsServiceRequest.FromString(body)
    )


def one_point(point: dict, kind: str = "sum", **data: Any) -> bytes:
    metric = {"name": "m", kind: {"dataPoints": [point], **data}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()


@pytest.mark.parametrize("as_text", [True, False])
def test_integers_of_64_bits_are_exact(as_text: bool) -> None:
    def shown(value: int) -> Any:
        return str(value) if as_text else value

    body = one_point(
        {
            "timeUnixNano": shown(1_800_000_000_123_456_789),
            "asInt": shown(-((1 << 62) + 1)),
            "unknown_key": [1],
            "attributes": None,
        },
        aggregationTemporality="AGGREGATION_TEMPORALITY_DELTA",
        isMonotonic=True,
    )
    request = ExportMetricsServiceRequest.FromString(metrics_request_from_json(body))
    data = request.resource_metrics[0].scope_metrics[0].metrics[0].sum
    assert (data.aggregation_temporality, data.is_monotonic) == (DELTA, True)
    point = data.data_points[0]
    assert (point.time_unix_nano, point.as_int) == (1_800_000_000_123_456_789, -((1 << 62) + 1))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[", "the body is no JSON"),
        (b"[]", r"\$: expected an object"),
        (one_point({"asInt": 1.5}), r"dataPoints\[0\].asInt: expected an integer"),
        (one_point({"asDouble": "x"}), "asDouble: expected a number"),
        (one_point({"bucketCounts": 1}, "histogram"), "bucketCounts: expected an array"),
        (one_point({"explicitBounds": ["x"]}, "histogram"), "explicitBounds"),
        (one_point({}, isMonotonic=1), "isMonotonic: expected true or false"),
        (one_point({"exemplars": [{"traceId": "xyz"}]}), "expected hexadecimal digits"),
    ],
)
def test_errors_name_the_place(body: bytes, message: str) -> None:
    with pytest.raises(UndecodableError, match=message):
        metrics_request_from_json(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("resourceMetrics", "scopeMetrics", "metrics", "name", "gauge", "histogram"),
                    *("exponentialHistogram", "dataPoints", "asInt", "positive", "bucketCounts"),
                    *("offset", "attributes", "key", "value", "intValue", "exemplars", "sum"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(tree=json_values)
def test_any_json_is_a_request_or_an_error_of_ours(tree: Any) -> None:
    try:
        body = metrics_request_from_json(json.dumps(tree).encode())
    except UndecodableError:
        return
    ExportMetricsServiceRequest.FromString(body)
