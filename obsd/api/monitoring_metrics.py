"""`/api/v1/monitoring/metrics`: metrics as plain JSON. docs/api/monitoring.md."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.errors import ErrorRenderer, render_json
from obsd.api.keys import METRICS
from obsd.api.params import InvalidParameterError, Params, parse_duration_ms, read_params
from obsd.api.prometheus_query import parse_query
from obsd.api.relative_time import parse_time_or_relative_ms
from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError
from obsd.model.labels import METRIC_NAME
from obsd.model.metadata import Metadata
from obsd.promql import Evaluator, MatrixValue
from obsd.services.metric_encoding import Metric, RejectedMetricsError
from obsd.services.metrics_collector import MAX_POINTS

PATH: Final = "/api/v1/monitoring/metrics"
MAX_COMPRESSED_BYTES: Final = 32 << 20
MAX_DECOMPRESSED_BYTES: Final = 128 << 20
MAX_METRICS: Final = 100_000

_DEFAULT_RANGE_MS: Final = 3_600_000
_DEFAULT_POINTS: Final = 240  # About what a small chart can show.

# A time in seconds from here on would be after the year 5000, so it is in milliseconds.
_MILLISECONDS_FROM: Final = 1e11

MetricType = Literal[
    "unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"
]


class MetricModel(msgspec.Struct, forbid_unknown_fields=True):
    """One sample of one series.

    Attributes:
        timestamp: Unix seconds with a fraction, or RFC 3339; None means now.
    """

    name: Annotated[str, msgspec.Meta(min_length=1)]
    value: float
    timestamp: float | datetime | None = None
    labels: dict[Annotated[str, msgspec.Meta(min_length=1)], str] = {}
    type: MetricType = "unknown"
    help: str = ""
    unit: str = ""

    def to_metric(self) -> Metric:
        """The service's form."""
        described = self.type != "unknown" or self.help or self.unit
        metadata = Metadata(self.type, self.help, self.unit) if described else None
        return Metric(self.name, self.value, _milliseconds(self.timestamp), self.labels, metadata)


class MetricsModel(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST."""

    metrics: Annotated[list[MetricModel], msgspec.Meta(max_length=MAX_METRICS)]


class TimeSeriesData(msgspec.Struct):
    """One series of a result, as columns that charts take as they are.

    Attributes:
        name: the metric's name, "" where the query made another metric of it.
        labels: all other labels.
        timestamps: Unix seconds, increasing.
        values: one a timestamp; null where it is no finite number.
    """

    name: str
    labels: dict[str, str]
    timestamps: list[float]
    values: list[float]


_decoder = msgspec.json.Decoder(MetricsModel)


def _milliseconds(timestamp: float | datetime | None) -> int | None:
    match timestamp:
        case None:
            return None
        case datetime():
            if timestamp.tzinfo is None:
                raise BadInputError(
                    "timestamp without a time zone: add Z, or an offset like +02:00"
                )
            return round(timestamp.timestamp() * 1000)
        case _:
            scale = 1 if abs(timestamp) >= _MILLISECONDS_FROM else 1000
            if abs(timestamp) >= 1e17:
                raise BadInputError(f"timestamp {timestamp:g} is out of range")
            return round(timestamp * scale)


async def post_metrics(request: web.Request) -> web.Response:
    """`POST`: store samples, `{"metrics": [Metric, …]}`."""
    body = await read_body(
        request,
        max_compressed=MAX_COMPRESSED_BYTES,
        max_decompressed=MAX_DECOMPRESSED_BYTES,
        allowed=ANY_CODING,
    )
    try:
        model = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadInputError(f"invalid metrics: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"the body is no JSON: {error}") from error
    metrics = [metric.to_metric() for metric in model.metrics]
    try:
        accepted = await request.app[METRICS].collect_metrics(project_of(request), metrics)
    except RejectedMetricsError as error:
        return _partly(error)
    return _json({"accepted": accepted})


def _partly(error: RejectedMetricsError) -> web.Response:
    outcome = error.outcome
    refused = {
        "type": "rejected_metrics",
        "message": str(error),
        "rejected": outcome.rejected,
    }
    return _json({"error": refused, "accepted": outcome.samples}, status=400)


async def get_metrics(request: web.Request) -> web.Response:
    """`GET`: a PromQL query over a time range, `{"data": [TimeSeriesData, …]}`."""
    params = await read_params(request)
    query = params.text("query")
    if not query:
        raise InvalidParameterError("query", "it is missing; give a PromQL expression")
    start_ms, end_ms, step_ms = time_range(params, time.time_ns() // 1_000_000)
    metrics = request.app[METRICS]
    budget = metrics.new_budget()
    data, warnings = await metrics.evaluate(
        project_of(request),
        budget,
        lambda evaluator: evaluate(evaluator, query, (start_ms, end_ms, step_ms), budget),
    )
    return _json({"data": msgspec.Raw(data), "warnings": warnings})


def time_range(params: Params, now_ms: int) -> tuple[int, int, int]:
    """Start, end and step: by default the last hour, in steps that suit a chart.

    Raises:
        BadInputError: they make no range, or one of too many points.
    """
    end_ms = _time(params, "end", now_ms, now_ms)
    start_ms = _time(params, "start", now_ms, end_ms - _DEFAULT_RANGE_MS)
    if end_ms < start_ms:
        raise InvalidParameterError("end", "it is before start")
    if text := params.text("step"):
        try:
            step_ms = int(parse_duration_ms(text))
        except ValueError as error:
            raise InvalidParameterError("step", error) from error
    else:
        # Whole seconds at round times, so that a chart that is drawn again does not shimmer.
        step_ms = -(-(end_ms - start_ms) // (_DEFAULT_POINTS * 1000)) * 1000 or 1000
        start_ms -= start_ms % step_ms
        if not params.text("end"):
            end_ms += -end_ms % step_ms  # So that what came just now is in.
    if step_ms <= 0:
        raise InvalidParameterError("step", "it must be at least 1 ms")
    if (end_ms - start_ms) // step_ms > MAX_POINTS:
        raise InvalidParameterError(
            "step", f"it gives more than {MAX_POINTS:,} points a series; make it longer"
        )
    return start_ms, end_ms, step_ms


def _time(params: Params, name: str, now_ms: int, default_ms: int) -> int:
    if not (text := params.text(name)):
        return default_ms
    try:
        return parse_time_or_relative_ms(text, now_ms)
    except ValueError as error:
        raise InvalidParameterError(name, error) from error


def evaluate(
    evaluator: Evaluator, query: str, times: tuple[int, int, int], budget: QueryBudget
) -> tuple[bytes, tuple[str, ...]]:
    """The result as JSON, and warnings. In the query pool."""
    parse_query(query)
    result = evaluator.range(query, *times, budget)
    matrix = result.value
    assert isinstance(matrix, MatrixValue), "a range query gives a matrix"
    return msgspec.json.encode(_series(matrix)), result.warnings


def _series(matrix: MatrixValue) -> list[TimeSeriesData]:
    steps = matrix.start_ms + matrix.step_ms * np.arange(matrix.values.shape[1])
    times_s = steps / 1000
    return [
        TimeSeriesData(
            labels.get(METRIC_NAME),
            {name: value for name, value in labels if name != METRIC_NAME},
            times_s[present].tolist(),
            values[present].tolist(),
        )
        for labels, values, present in zip(
            matrix.labels, matrix.values, matrix.present, strict=True
        )
    ]


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(data), content_type="application/json"
    )


def routes() -> list[web.RouteDef]:
    return [web.get(PATH, get_metrics), web.post(PATH, post_metrics)]


def error_renderers() -> dict[str, ErrorRenderer]:
    return {"/api/v1/monitoring/": render_json}
