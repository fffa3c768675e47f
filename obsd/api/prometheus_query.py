"""Prometheus' HTTP API, queries: docs/api/prometheus.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import ErrorRenderer
from obsd.api.keys import METRICS
from obsd.api.params import InvalidParameterError, Params, read_params
from obsd.api.prometheus_envelope import TRUNCATED, envelope, json_response, render_error
from obsd.api.prometheus_routes import PREFIXES, get_and_post
from obsd.api.result_json import encode_value
from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError, QueryParseError
from obsd.promql import Evaluator, Result, parse
from obsd.promql.ast import Expr
from obsd.services.metrics_collector import MAX_POINTS


@dataclass(frozen=True, slots=True)
class _Timings:
    """Seconds on the way to a result."""

    parsed: float
    queued: float
    evaluated: float
    encoded: float


async def query(request: web.Request) -> web.Response:
    """`GET, POST /api/v1/query`: a query's value at one time."""
    params = await read_params(request)
    time_ms = params.time_ms("time", time.time_ns() // 1_000_000)
    lookback_ms = _lookback_ms(params)
    return await _evaluate(
        request,
        params,
        lambda evaluator, expr, budget: evaluator.instant(
            expr, time_ms, budget, lookback_ms=lookback_ms
        ),
    )


async def query_range(request: web.Request) -> web.Response:
    """`GET, POST /api/v1/query_range`: a query's values at every step of a range."""
    params = await read_params(request)
    start_ms = params.required_time_ms("start")
    end_ms = params.required_time_ms("end")
    if end_ms < start_ms:
        raise InvalidParameterError("end", "end timestamp must not be before start time")
    step_ms = int(params.required_duration_ms("step"))
    if step_ms <= 0:
        raise InvalidParameterError(
            "step",
            "zero or negative query resolution step widths are not accepted. "
            "Try a positive integer",
        )
    if (end_ms - start_ms) // step_ms > MAX_POINTS:
        raise BadInputError(
            f"exceeded maximum resolution of {MAX_POINTS:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    lookback_ms = _lookback_ms(params)
    return await _evaluate(
        request,
        params,
        lambda evaluator, expr, budget: evaluator.range(
            expr, start_ms, end_ms, step_ms, budget, lookback_ms=lookback_ms
        ),
    )


async def _evaluate(
    request: web.Request,
    params: Params,
    run: Callable[[Evaluator, str, QueryBudget], Result],
) -> web.Response:
    metrics = request.app[METRICS]
    text = params.text("query")
    limit = params.limit()
    wants_stats = bool(params.text("stats"))
    timeout_ms = params.duration_ms("timeout")
    budget = metrics.new_budget(None if timeout_ms is None else timeout_ms / 1000)
    arrived_s = time.perf_counter()

    def work(evaluator: Evaluator) -> bytes:
        started_s = time.perf_counter()
        parse_query(text)
        parsed_s = time.perf_counter()
        try:
            result = run(evaluator, text, budget)
        except BadInputError as error:
            raise InvalidParameterError("query", error) from error
        evaluated_s = time.perf_counter()
        encoded = encode_value(result.value, limit)
        timings = _Timings(
            parsed_s - started_s,
            started_s - arrived_s,
            evaluated_s - parsed_s,
            time.perf_counter() - evaluated_s,
        )
        warnings = (*result.warnings, TRUNCATED) if encoded.truncated else result.warnings
        stats = _stats(timings, budget) if wants_stats else None
        return envelope(encoded.data(stats), warnings, result.infos)

    return json_response(await metrics.evaluate(project_of(request), budget, work))


def parse_query(text: str, name: str = "query") -> Expr:
    """Parse a query parameter.

    Raises:
        InvalidParameterError: it is no PromQL.
    """
    try:
        return parse(text)
    except QueryParseError as error:
        raise InvalidParameterError(name, error) from error


def _lookback_ms(params: Params) -> int | None:
    lookback_ms = params.duration_ms("lookback_delta")
    if lookback_ms is None:
        return None
    if lookback_ms < 1:
        raise InvalidParameterError("lookback_delta", "it must be at least 1 ms")
    return int(lookback_ms)


def _stats(timings: _Timings, budget: QueryBudget) -> bytes:
    return msgspec.json.encode(
        {
            "timings": {
                "evalTotalTime": timings.evaluated + timings.encoded,
                "resultSortTime": 0,
                "queryPreparationTime": timings.parsed,
                "innerEvalTime": timings.evaluated,
                "execQueueTime": timings.queued,
                "execTotalTime": timings.parsed
                + timings.queued
                + timings.evaluated
                + timings.encoded,
            },
            "samples": {"totalQueryableSamples": budget.samples, "peakSamples": budget.samples},
        }
    )


def routes() -> list[web.RouteDef]:
    return [
        *get_and_post("/api/v1/query", query),
        *get_and_post("/api/v1/query_range", query_range),
    ]


def error_renderers() -> dict[str, ErrorRenderer]:
    return {prefix + "/api/v1/": render_error for prefix in PREFIXES}
