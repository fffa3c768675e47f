"""`/api/v1/monitoring/logs`: search, counts over time, and fields. docs/api/logs.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import ErrorRenderer, render_json
from obsd.api.keys import LOGS
from obsd.api.params import InvalidParameterError, Params, parse_duration_ms, read_params
from obsd.api.relative_time import parse_time_or_relative_ns
from obsd.model.errors import BadInputError
from obsd.model.field_statistics import FieldStatistics
from obsd.services.log_aggregator import MAX_STEPS, LogQuery

PATH: Final = "/api/v1/monitoring/logs"
MAX_LIMIT: Final = 10_000
DEFAULT_LIMIT: Final = 100
DEFAULT_FIELD_LIMIT: Final = 50

_DEFAULT_RANGE_NS: Final = 3_600_000_000_000
_DEFAULT_STEPS: Final = 60
_SECOND_NS: Final = 1_000_000_000
_MAX_TIME_NS: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class LogRange:
    """What records, of which time: from `start_ns` on, before `end_ns`."""

    query: LogQuery
    start_ns: int
    end_ns: int

    @staticmethod
    def of(params: Params, now_ns: int) -> LogRange:
        """From the parameters; by default the last hour.

        Raises:
            BadInputError: they make no range.
        """
        # Records of the current moment may be stamped a little ahead of this machine's clock.
        end_ns = _time(params, "to", now_ns, now_ns + _SECOND_NS)
        start_ns = _time(params, "from", now_ns, min(end_ns, now_ns) - _DEFAULT_RANGE_NS)
        if end_ns < start_ns:
            raise InvalidParameterError("to", "it is before from")
        query = LogQuery(params.text("query"), _names(params, "level"), _names(params, "service"))
        return LogRange(query, start_ns, end_ns)


def _time(params: Params, name: str, now_ns: int, default_ns: int) -> int:
    if not (text := params.text(name)):
        return default_ns
    try:
        time_ns = parse_time_or_relative_ns(text, now_ns)
    except ValueError as error:
        raise InvalidParameterError(name, error) from error
    return min(max(time_ns, 0), _MAX_TIME_NS)


def _names(params: Params, name: str) -> tuple[str, ...]:
    """`name[]=a&name[]=b`, or without brackets, or `name=a,b`."""
    texts = params.all(f"{name}[]") + params.all(name)
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def _limit(params: Params, default: int, least: int = 1) -> int:
    limit = params.count("limit")
    if limit is None:
        return default
    if not least <= limit <= MAX_LIMIT:
        raise InvalidParameterError("limit", f"expected {least} to {MAX_LIMIT}")
    return limit


def _newest_first(params: Params) -> bool:
    order = params.text("order") or "desc"
    if order not in ("asc", "desc"):
        raise InvalidParameterError("order", "expected asc or desc")
    return order == "desc"


async def search(request: web.Request) -> web.Response:
    """`GET`: a page of the records that match."""
    params = await read_params(request)
    logs = request.app[LOGS]
    asked = LogRange.of(params, logs.now_ns())
    page = await logs.search_entries(
        project_of(request),
        asked.query,
        asked.start_ns,
        asked.end_ns,
        _limit(params, DEFAULT_LIMIT, least=0),
        params.text("cursor") or None,
        newest_first=_newest_first(params),
    )
    return _json(
        {
            "logs": msgspec.Raw(page.entries),
            "total": page.total,
            "total_exact": page.total_exact,
            "next_cursor": page.next_cursor,
        }
    )


@dataclass(frozen=True, slots=True)
class Function:
    """What is made of a field's values in a step."""

    name: str
    quantile: float | None = None

    @staticmethod
    def of(params: Params) -> Function | None:
        """From `function` and, of `quantile`, `q`; None for the plain count of records.

        Raises:
            InvalidParameterError: there is no such function.
        """
        name = params.text("function") or "count"
        if name == "quantile" or re.fullmatch(r"p\d{1,2}(\.\d{1,3})?", name, re.ASCII):
            text = params.text("q") if name == "quantile" else name[1:]
            try:
                share = float(text) / (1 if name == "quantile" else 100)
            except ValueError as error:
                raise InvalidParameterError("q", error) from error
            if not 0 <= share <= 1:
                raise InvalidParameterError("q", "expected 0 to 1")
            return Function(name, share)
        if name == "count" and not params.text("field"):
            return None
        if name not in ("count", "unique", "min", "max", "avg", "sum"):
            expected = "count, unique, min, max, avg, sum, quantile, or p50 and the like"
            raise InvalidParameterError("function", f"expected {expected}")
        return Function(name)

    def value(self, found: FieldStatistics) -> float | None:
        """None where no value is a number."""
        match self.name:
            case "count":
                return found.records
            case "unique":
                return found.unique
        if not found.numbers:
            return None
        match self.name:
            case "min":
                return found.min
            case "max":
                return found.max
            case "avg":
                return found.sum / found.numbers
            case "sum":
                return found.sum
        return found.quantiles[0]


async def aggregate(request: web.Request) -> web.Response:
    """`GET …/aggregate`: how many records match in each step, by fields or in all."""
    params = await read_params(request)
    logs = request.app[LOGS]
    asked = LogRange.of(params, logs.now_ns())
    step_ns = _step(params, asked.end_ns - asked.start_ns)
    start_ns = asked.start_ns - asked.start_ns % step_ns
    by = _names(params, "by")
    steps = -(-(asked.end_ns - start_ns) // step_ns)
    if steps > MAX_STEPS:  # Before there is a list of them.
        raise BadInputError(f"more than {MAX_STEPS:,} steps; make them longer")
    shown = {
        "by": by,
        "step": step_ns / _SECOND_NS,
        "timestamps": [(start_ns + step * step_ns) / _SECOND_NS for step in range(steps)],
    }
    if function := Function.of(params):
        if not (field := params.text("field")):
            raise InvalidParameterError("field", f"{function.name} needs a field")
        groups = await logs.field_statistics(
            project_of(request),
            asked.query,
            field,
            start_ns,
            asked.end_ns,
            step_ns,
            by,
            () if function.quantile is None else (function.quantile,),
        )
        return _json(shown | _of_field(function, field, groups, steps))
    rows = await logs.aggregate_logs(
        project_of(request),
        asked.query,
        start_ns,
        asked.end_ns,
        step_ns,
        by,
    )
    series = [
        {
            "value": ", ".join(values),
            "values": values,
            "total": int(counts.sum()),
            "counts": counts.tolist(),
        }
        for values, counts in rows
    ]
    return _json(shown | {"series": series, "total": sum(int(counts.sum()) for _, counts in rows)})


def _of_field(
    function: Function,
    field: str,
    groups: Sequence[tuple[tuple[str, ...], Mapping[int, FieldStatistics]]],
    steps: int,
) -> dict[str, object]:
    cells = [found for _, by_step in groups for found in by_step.values()]
    if function.name == "unique":
        exact = all(found.unique_exact for found in cells)
    else:
        exact = function.quantile is None or all(found.quantiles_exact for found in cells)
    series = [
        {
            "value": ", ".join(values),
            "values": values,
            "points": [
                None if (found := by_step.get(step)) is None else function.value(found)
                for step in range(steps)
            ],
        }
        for values, by_step in groups
    ]
    return {"function": function.name, "field": field, "exact": exact, "series": series}


_QUANTILES: Final = (0.5, 0.95, 0.99)
_NAN: Final = float("nan")
_NOTHING: Final = FieldStatistics(0, 0, True, 0, _NAN, _NAN, _NAN, (_NAN,) * 3, True)


def _summary(found: FieldStatistics) -> dict[str, object]:
    """What a list of a field's values shows of all of them."""
    numbers: dict[str, object] | None = None
    if found.numbers:
        p50, p95, p99 = found.quantiles
        numbers = {
            "count": found.numbers,
            "min": found.min,
            "max": found.max,
            "avg": found.sum / found.numbers,
            "sum": found.sum,
            "p50": p50,
            "p95": p95,
            "p99": p99,
            "exact": found.quantiles_exact,
        }
    return {
        "records": found.records,
        "unique": found.unique,
        "unique_exact": found.unique_exact,
        "type": "number" if found.records and found.numbers == found.records else "text",
        "numbers": numbers,
    }


def _step(params: Params, range_ns: int) -> int:
    if not (text := params.text("step")):
        # Whole seconds at round times, so that a chart that is drawn again does not shimmer.
        return -(-range_ns // (_DEFAULT_STEPS * _SECOND_NS)) * _SECOND_NS or _SECOND_NS
    try:
        step_ns = int(parse_duration_ms(text) * 1_000_000)
    except ValueError as error:
        raise InvalidParameterError("step", error) from error
    if step_ns <= 0:
        raise InvalidParameterError("step", "it must be longer than nothing")
    return step_ns


async def fields(request: web.Request) -> web.Response:
    """`GET …/fields`: the fields that matching records have, or the top values of one."""
    params = await read_params(request)
    logs = request.app[LOGS]
    asked = LogRange.of(params, logs.now_ns())
    limit = _limit(params, DEFAULT_FIELD_LIMIT)
    project_id = project_of(request)
    if name := params.text("field"):
        span = (asked.start_ns, asked.end_ns)
        values = await logs.field_values(project_id, asked.query, name, *span, limit)
        groups = await logs.field_statistics(
            project_id, asked.query, name, *span, max(span[1] - span[0], 1), (), _QUANTILES
        )
        found = [cell for _, by_step in groups for cell in by_step.values()]
        shown = {
            "field": name,
            "values": [{"value": v, "count": n} for v, n in values.counts],
            "max_error": values.max_error,
        }
        return _json(shown | _summary(found[0] if found else _NOTHING))
    names = await logs.field_names(project_id, asked.query, asked.start_ns, asked.end_ns, limit)
    return _json(
        {
            "fields": [{"name": name, "count": count} for name, count in names.counts],
            "max_error": names.max_error,
        }
    )


def _json(data: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), content_type="application/json")


def routes() -> list[web.RouteDef]:
    return [
        web.get(PATH, search),
        web.get(PATH + "/aggregate", aggregate),
        web.get(PATH + "/fields", fields),
    ]


def error_renderers() -> dict[str, ErrorRenderer]:
    return {PATH: render_json}
