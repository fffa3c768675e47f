"""Tempo's query API, TraceQL metrics: docs/api/tempo.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.json_body import rendered_response
from obsd.api.keys import TRACES
from obsd.api.tempo_params import PREFIX, TempoParams, read_tempo_params
from obsd.api.tempo_search import attributes
from obsd.model.errors import BadInputError

if TYPE_CHECKING:
    from obsd.api.otlp_json import Json
    from obsd.model.budget import QueryBudget
    from obsd.services.span_store import SpanStore
    from obsd.traceql.result import MetricsResult, Series, TraceExemplar

MAX_STEPS: Final = 11_000
MAX_SERIES: Final = 1_000
MAX_EXEMPLARS: Final = 1_000
DEFAULT_EXEMPLARS: Final = 100
_HOUR_NS: Final = 3_600_000_000_000
_SECOND_NS: Final = 1_000_000_000
_DEFAULT_STEPS: Final = 120


async def query_range(request: web.Request) -> web.Response:
    """`GET …/metrics/query_range`: series over time."""
    params = await read_tempo_params(request)
    start_ns, end_ns = params.range_ns(_HOUR_NS)
    step_ns = params.duration_ns("step") or _step_of(end_ns - start_ns)
    if (end_ns - start_ns) // step_ns > MAX_STEPS:
        raise BadInputError(
            f"exceeded maximum resolution of {MAX_STEPS:,} points per series: make the step longer"
        )
    exemplars = params.count("exemplars", DEFAULT_EXEMPLARS, MAX_EXEMPLARS)
    text = _query(params)

    def work(store: SpanStore, budget: QueryBudget) -> MetricsResult:
        from obsd.traceql.metrics import query_range as evaluate

        return evaluate(store, text, start_ns, end_ns, step_ns, budget, MAX_SERIES, exemplars)

    found = await request.app[TRACES].read(project_of(request), work)
    timestamps = found.timestamps_ms.tolist()
    return await rendered_response(
        lambda: _answer(found, [_series(each, timestamps) for each in found.series])
    )


async def query(request: web.Request) -> web.Response:
    """`GET …/metrics/query`: one number for the whole range."""
    params = await read_tempo_params(request)
    start_ns, end_ns = params.range_ns(_HOUR_NS)
    text = _query(params)

    def work(store: SpanStore, budget: QueryBudget) -> MetricsResult:
        from obsd.traceql.metrics import query_instant

        return query_instant(store, text, start_ns, end_ns, budget, MAX_SERIES)

    found = await request.app[TRACES].read(project_of(request), work)
    return await rendered_response(
        lambda: _answer(found, [_instant(each) for each in found.series if _is_there(each)])
    )


def _is_there(series: Series) -> bool:
    return bool(len(series.values)) and not math.isnan(series.values[-1])


def _query(params: TempoParams) -> str:
    text = params.text("q") or params.text("query")
    if not text:
        raise BadInputError("invalid q: it is required")
    return text


def _step_of(range_ns: int) -> int:
    """About 120 steps of whole seconds."""
    return max(range_ns // (_DEFAULT_STEPS * _SECOND_NS), 1) * _SECOND_NS


def _answer(found: MetricsResult, series: list[Json]) -> Json:
    answer: Json = {"series": series, "metrics": {"inspectedSpans": str(found.stats.spans)}}
    if found.truncated:
        answer |= {"status": "PARTIAL", "message": f"only {MAX_SERIES} series are shown"}
    return answer


def _series(series: Series, timestamps: list[int]) -> Json:
    samples = [
        {"timestampMs": str(time_ms), "value": value}
        for time_ms, value in zip(timestamps, series.values.tolist(), strict=True)
        if not math.isnan(value)
    ]
    return {
        "labels": attributes(series.labels),
        "promLabels": _prometheus_labels(series),
        "samples": samples,
        "exemplars": [_exemplar(each) for each in series.exemplars],
    }


def _instant(series: Series) -> Json:
    return {
        "labels": attributes(series.labels),
        "promLabels": _prometheus_labels(series),
        "value": float(series.values[-1]),
    }


def _prometheus_labels(series: Series) -> str:
    """The labels as a selector, which tells one series from another."""
    texts = (f'{name}="{_escaped(str(value))}"' for name, value in series.labels)
    return "{" + ", ".join(texts) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _exemplar(exemplar: TraceExemplar) -> Json:
    return {
        "labels": attributes(exemplar.labels),
        "value": exemplar.value,
        "timestampMs": str(exemplar.timestamp_ms),
    }


def routes() -> list[web.RouteDef]:
    return [
        web.get(f"{PREFIX}/metrics/query_range", query_range),
        web.get(f"{PREFIX}/metrics/query", query),
    ]
