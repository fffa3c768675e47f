"""`/api/v1/monitoring/errors`: groups of errors and what people decided about them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import NotFoundError
from obsd.api.json_body import json_response, read_json
from obsd.api.keys import ERRORS, LOGS
from obsd.api.log_entry import log_entry
from obsd.api.params import InvalidParameterError, Params, read_params
from obsd.api.relative_time import parse_time_or_relative_ns
from obsd.model.errors import BadInputError
from obsd.model.rfc3339 import format_rfc3339_ns
from obsd.services.error_tracking.group_store import SORTS, GroupQuery
from obsd.services.error_tracking.groups import ErrorGroup, ErrorState

PATH: Final = "/api/v1/monitoring/errors"
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 1_000
MAX_OFFSET: Final = 100_000
MAX_CHANGED: Final = 10_000
_MAX_TIME_NS: Final = (1 << 63) - 1
_MAX_BODY_BYTES: Final = 1 << 20


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """What to do with groups; of one group, `ids` is left out."""

    state: str
    ids: list[str] = msgspec.field(default_factory=list)


async def search(request: web.Request) -> web.Response:
    """`GET`: one page of groups."""
    params = await read_params(request)
    query = _query(params, request.app[LOGS].now_ns())
    groups, total = await request.app[ERRORS].search(project_of(request), query)
    return json_response({"errors": [_shown(group) for group in groups], "total": total})


async def show(request: web.Request) -> web.Response:
    """`GET`: one group with its newest record."""
    tracker, project_id = request.app[ERRORS], project_of(request)
    group = await _find(request)
    sample = await tracker.sample(project_id, group)
    return json_response(_shown(group) | {"sample": None if sample is None else log_entry(sample)})


async def change_one(request: web.Request) -> web.Response:
    """`PATCH`: set the state of a group."""
    group, change = await _find(request), await read_json(request, Change, _MAX_BODY_BYTES)
    if change.ids:
        raise BadInputError('"ids" is for changes of several errors; the path names this one')
    tracker, project_id = request.app[ERRORS], project_of(request)
    await tracker.set_state(project_id, [group.id], _state(change.state))
    return json_response(_shown(await _find(request)))


async def change_several(request: web.Request) -> web.Response:
    """`POST`: set the state of several groups."""
    change = await read_json(request, Change, _MAX_BODY_BYTES)
    if not 0 < len(change.ids) <= MAX_CHANGED:
        raise BadInputError(f'"ids": expected 1 to {MAX_CHANGED} ids of errors')
    changed = await request.app[ERRORS].set_state(
        project_of(request), change.ids, _state(change.state)
    )
    return json_response({"changed": changed})


async def _find(request: web.Request) -> ErrorGroup:
    fingerprint = request.match_info["id"]
    group = await request.app[ERRORS].get(project_of(request), fingerprint)
    if group is None:
        raise NotFoundError(f"there is no error {fingerprint[:64]!r} in this project")
    return group


def _state(name: str) -> ErrorState:
    try:
        return ErrorState(name)
    except ValueError:
        states = ", ".join(state.value for state in ErrorState)
        raise InvalidParameterError("state", f"expected one of {states}") from None


def _query(params: Params, now_ns: int) -> GroupQuery:
    state, sort = params.text("state"), params.text("sort") or SORTS[0]
    if sort not in SORTS:
        raise InvalidParameterError("sort", f"expected one of {', '.join(SORTS)}")
    return GroupQuery(
        text=params.text("query"),
        state=_state(state) if state else None,
        service=params.text("service") or None,
        start_ns=_time(params, "from", now_ns),
        end_ns=_time(params, "to", now_ns),
        sort=sort,
        limit=_number(params, "limit", DEFAULT_LIMIT, MAX_LIMIT),
        offset=_number(params, "offset", 0, MAX_OFFSET),
    )


def _time(params: Params, name: str, now_ns: int) -> int | None:
    if not (text := params.text(name)):
        return None
    try:
        time_ns = parse_time_or_relative_ns(text, now_ns)
    except ValueError as error:
        raise InvalidParameterError(name, error) from error
    return min(max(time_ns, 0), _MAX_TIME_NS)


def _number(params: Params, name: str, default: int, most: int) -> int:
    number = params.count(name)
    if number is None:
        return default
    if not 0 <= number <= most:
        raise InvalidParameterError(name, f"expected 0 to {most}")
    return number


def _shown(group: ErrorGroup) -> dict[str, Any]:
    return {
        "id": group.id,
        "type": group.type,
        "message": group.template,
        "culprit": group.culprit,
        "level": group.level,
        "state": group.state.value,
        "state_since": format_rfc3339_ns(group.state_ns),
        "regressed": group.regressed,
        "regressions": group.regressions,
        "first_seen": format_rfc3339_ns(group.first_ns),
        "last_seen": format_rfc3339_ns(group.last_ns),
        "count": group.count,
        "services": group.services,
        "versions": group.versions,
        "traces": [
            {
                "trace_id": trace.trace_id,
                "service": trace.service,
                "timestamp": format_rfc3339_ns(trace.time_ns),
            }
            for trace in group.traces
        ],
        "frames": [
            {"function": function, "file": file, "line": line}
            for function, file, line in group.frames
        ],
        "hours": [
            {"timestamp": format_rfc3339_ns(hour_ns), "count": count}
            for hour_ns, count in group.hours.items()
        ],
    }


def routes() -> list[web.RouteDef]:
    return [
        web.get(PATH, search),
        web.post(PATH, change_several),
        web.get(PATH + "/{id}", show),
        web.patch(PATH + "/{id}", change_one),
    ]
