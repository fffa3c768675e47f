"""`/api/v1/monitoring/logs/patterns`: what a search's records say: docs/log-patterns.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import NotFoundError
from obsd.api.keys import LOGS
from obsd.api.log_entry import log_entry
from obsd.api.monitoring_logs import LogRange
from obsd.api.params import InvalidParameterError, Params, parse_duration_ms, read_params
from obsd.model.rfc3339 import format_rfc3339_ns

if TYPE_CHECKING:
    from obsd.services.log_patterns import Pattern, PatternDetail, PatternReport
    from obsd.services.pattern_values import HoleSummary

PATH: Final = "/api/v1/monitoring/logs/patterns"
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000

_DEFAULT_STEPS: Final = 60
_SECOND_NS: Final = 1_000_000_000


async def patterns(request: web.Request) -> web.Response:
    """`GET`: the patterns of the records that match, and what became of them."""
    from obsd.services.log_patterns import LogPatterns

    params = await read_params(request)
    logs = request.app[LOGS]
    asked = LogRange.of(params, logs.now_ns())
    step_ns = _step(params, asked)
    report = await LogPatterns(logs).report(
        project_of(request),
        asked.query,
        asked.start_ns,
        asked.end_ns,
        step_ns,
        _limit(params),
        compare=_compare(params),
    )
    return _json(_report(report, asked, step_ns))


async def pattern(request: web.Request) -> web.Response:
    """`GET …/{id}`: one pattern, what stands in its holes, and some records."""
    from obsd.services.log_patterns import LogPatterns

    params = await read_params(request)
    logs = request.app[LOGS]
    asked = LogRange.of(params, logs.now_ns())
    step_ns = _step(params, asked)
    pattern_id = request.match_info["id"]
    detail = await LogPatterns(logs).pattern(
        project_of(request), pattern_id, asked.query, asked.start_ns, asked.end_ns, step_ns
    )
    if detail is None:
        raise NotFoundError(f"there is no pattern {pattern_id[:64]!r} in this project")
    return _json(_detail(detail, asked, step_ns))


def _step(params: Params, asked: LogRange) -> int:
    if not (text := params.text("step")):
        range_ns = asked.end_ns - asked.start_ns
        return -(-range_ns // (_DEFAULT_STEPS * _SECOND_NS)) * _SECOND_NS or _SECOND_NS
    try:
        step_ns = int(parse_duration_ms(text) * 1_000_000)
    except ValueError as error:
        raise InvalidParameterError("step", error) from error
    if step_ns <= 0:
        raise InvalidParameterError("step", "it must be longer than nothing")
    return step_ns


def _limit(params: Params) -> int:
    limit = params.count("limit")
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidParameterError("limit", f"expected 1 to {MAX_LIMIT}")
    return limit


def _compare(params: Params) -> bool:
    compare = params.text("compare") or "previous"
    if compare not in ("previous", "none"):
        raise InvalidParameterError("compare", "expected previous or none")
    return compare == "previous"


def _report(report: PatternReport, asked: LogRange, step_ns: int) -> dict[str, Any]:
    previous = None
    if report.previous_total is not None:
        previous = {
            "from": format_rfc3339_ns(report.previous_start_ns),
            "to": format_rfc3339_ns(asked.start_ns),
            "total": report.previous_total,
        }
    return {
        "patterns": [_pattern(each) for each in report.patterns],
        "patterns_total": report.found,
        "total": report.total,
        "previous": previous,
        **_times(asked, step_ns),
    }


def _times(asked: LogRange, step_ns: int) -> dict[str, Any]:
    steps = -(-(asked.end_ns - asked.start_ns) // step_ns)
    times = [(asked.start_ns + step * step_ns) / _SECOND_NS for step in range(steps)]
    return {"step": step_ns / _SECOND_NS, "timestamps": times}


def _pattern(pattern: Pattern) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": pattern.id,
        "template": pattern.template,
        "holes": [{"name": name, "type": kind} for name, kind in pattern.holes],
        "query": pattern.query,
        "count": pattern.count,
        "share": pattern.share,
        "counts": pattern.counts,
        "first_seen": _time(pattern.first_ns),
        "last_seen": _time(pattern.last_ns),
        "levels": pattern.levels,
        "services": pattern.services,
        "sample": None if pattern.sample is None else log_entry(pattern.sample),
    }
    if (change := pattern.change) is not None:
        shown |= {
            "status": change.status,
            "previous_count": change.previous,
            "factor": change.factor,
            "z": change.z,
        }
    return shown


def _time(time_ns: int) -> str | None:
    return format_rfc3339_ns(time_ns) if time_ns else None


def _detail(detail: PatternDetail, asked: LogRange, step_ns: int) -> dict[str, Any]:
    return {
        **_pattern(detail.pattern),
        "examined": detail.examined,
        "variables": [_hole(hole) for hole in detail.holes],
        "examples": [log_entry(record) for record in detail.examples],
        **_times(asked, step_ns),
    }


def _hole(hole: HoleSummary) -> dict[str, Any]:
    return {
        "name": hole.name,
        "type": hole.type,
        "unique": hole.unique,
        "top": [{"value": value, "count": count} for value, count in hole.top],
        "numbers": hole.numbers and msgspec.to_builtins(hole.numbers),
    }


def _json(data: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), content_type="application/json")


def routes() -> list[web.RouteDef]:
    return [web.get(PATH, patterns), web.get(PATH + "/{id}", pattern)]
