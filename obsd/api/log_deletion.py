"""`/api/v1/monitoring/logs/delete`: deleting log records by query. docs/api/logs.md."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import NotFoundError
from obsd.api.json_body import json_response, read_json
from obsd.api.keys import LOGS
from obsd.api.params import InvalidParameterError
from obsd.api.relative_time import parse_time_or_relative_ns
from obsd.model.deletion import Deletion
from obsd.model.rfc3339 import format_rfc3339_ns
from obsd.services.log_aggregator import LogQuery

PATH: Final = "/api/v1/monitoring/logs/delete"

_MAX_BODY_BYTES: Final = 1 << 20
_MAX_TIME_NS: Final = (1 << 63) - 1


class DeleteModel(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the POST. All of query and times must be there: nothing is deleted by default."""

    query: str
    from_: str | int | float = msgspec.field(name="from")
    to: str | int | float
    level: list[str] = []
    service: list[str] = []

    def to_query(self) -> LogQuery:
        """The service's form."""
        if not self.query.strip() and not self.level and not self.service:
            raise InvalidParameterError("query", "it must say what to delete; * is everything")
        return LogQuery(self.query, tuple(self.level), tuple(self.service))


class DeletionEntry(msgspec.Struct):
    """A deletion as the API shows it.

    Attributes:
        state: pending, then done.
        files_rewritten: files that were written anew, or removed.
        error: why the last attempt to write files anew failed; "" without one.
    """

    id: str
    created: str
    from_: str = msgspec.field(name="from")
    to: str
    matched: int
    state: str
    done: str | None
    files_rewritten: int
    error: str


def deletion_entry(deletion: Deletion) -> DeletionEntry:
    """The entry of a deletion."""
    done_ms = deletion.done_ms
    return DeletionEntry(
        id=deletion.id,
        created=format_rfc3339_ns(deletion.created_ms * 1_000_000),
        from_=format_rfc3339_ns(deletion.start_ns),
        to=format_rfc3339_ns(deletion.end_ns),
        matched=deletion.matched,
        state="pending" if done_ms is None else "done",
        done=None if done_ms is None else format_rfc3339_ns(done_ms * 1_000_000),
        files_rewritten=deletion.files,
        error=deletion.failure,
    )


async def delete(request: web.Request) -> web.Response:
    """`POST`: delete what matches and is there now; with `dry_run=1`, only count it."""
    asked = await read_json(request, DeleteModel, _MAX_BODY_BYTES)
    logs = request.app[LOGS]
    now_ns = logs.now_ns()
    start_ns, end_ns = _time("from", asked.from_, now_ns), _time("to", asked.to, now_ns)
    query, project_id = asked.to_query(), project_of(request)
    if request.query.get("dry_run", "0") not in ("", "0", "false"):
        return json_response(
            {"matched": await logs.deletions.count(project_id, query, start_ns, end_ns)}
        )
    deletion = await logs.deletions.delete(project_id, query, start_ns, end_ns)
    return json_response(deletion_entry(deletion), status=202)


def _time(name: str, value: str | float, now_ns: int) -> int:
    try:
        time_ns = parse_time_or_relative_ns(str(value), now_ns)
    except ValueError as error:
        raise InvalidParameterError(name, error) from error
    return min(max(time_ns, 0), _MAX_TIME_NS)


async def list_all(request: web.Request) -> web.Response:
    """`GET`: every deletion that is not done, and the last ones that are; oldest first."""
    deletions = await request.app[LOGS].deletions.list(project_of(request))
    return json_response({"deletions": [deletion_entry(each) for each in deletions]})


async def show(request: web.Request) -> web.Response:
    """`GET …/delete/{id}`: one deletion."""
    wanted = request.match_info["id"]
    for each in await request.app[LOGS].deletions.list(project_of(request)):
        if each.id == wanted:
            return json_response(deletion_entry(each))
    raise NotFoundError(f"there is no deletion {wanted[:80]!r}")


def routes() -> list[web.RouteDef]:
    return [
        web.post(PATH, delete),
        web.get(PATH, list_all),
        web.get(PATH + "/{id}", show),
    ]
