"""Short ways to write OTLP metrics requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

DELTA = 1
CUMULATIVE = 2
SHOP = {"service.name": "shop"}


def any_value(value: Any) -> AnyValue:
    match value:
        case AnyValue():
            return value
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            out = AnyValue()
            out.array_value.values.extend(any_value(each) for each in value)
            return out
        case dict():
            out = AnyValue()
            out.kvlist_value.values.extend(attributes(value))
            return out
    return AnyValue(string_value=value)


def attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def number(
    value: float, time_ns: int, labels: Mapping[str, Any] | None = None, **fields: Any
) -> NumberDataPoint:
    return NumberDataPoint(
        as_double=value, time_unix_nano=time_ns, attributes=attributes(labels or {}), **fields
    )


def gauge(name: str, *points: NumberDataPoint, unit: str = "") -> Metric:
    return Metric(name=name, unit=unit, gauge=Gauge(data_points=points))


def counter(
    name: str, *points: NumberDataPoint, temporality: int = CUMULATIVE, unit: str = ""
) -> Metric:
    data = Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=True)
    return Metric(name=name, unit=unit, sum=data)


def histogram(
    name: str, *points: HistogramDataPoint, temporality: int = CUMULATIVE, unit: str = ""
) -> Metric:
    data = Histogram(data_points=points, aggregation_temporality=temporality)
    return Metric(name=name, unit=unit, histogram=data)


def export(
    *metrics: Metric,
    resource: Mapping[str, Any] = SHOP,
    scope: InstrumentationScope | None = None,
    schema_url: str = "",
) -> bytes:
    return request([(resource, metrics)], scope, schema_url).SerializeToString()


def request(
    resources: Sequence[tuple[Mapping[str, Any], Sequence[Metric]]],
    scope: InstrumentationScope | None = None,
    schema_url: str = "",
) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest(
        resource_metrics=[
            ResourceMetrics(
                resource=Resource(attributes=attributes(resource)),
                scope_metrics=[ScopeMetrics(scope=scope, metrics=metrics, schema_url=schema_url)],
            )
            for resource, metrics in resources
        ]
    )
