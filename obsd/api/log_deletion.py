"""`/api/v1/monitoring/logs/delete`: deleting log records by query. docs/api/logs.md."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.deletion_entry import deletion_entry, deletion_time
from obsd.api.errors import NotFoundError
from obsd.api.json_body import json_response, read_json
from obsd.api.keys import LOGS
from obsd.api.params import InvalidParameterError
from obsd.services.log_aggregator import LogQuery

PATH: Final = "/api/v1/monitoring/logs/delete"

_MAX_BODY_BYTES: Final = 1 << 20


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


async def delete(request: web.Request) -> web.Response:
    """`POST`: delete what matches and is there now; with `dry_run=1`, only count it."""
    asked = await read_json(request, DeleteModel, _MAX_BODY_BYTES)
    logs = request.app[LOGS]
    now_ns = logs.now_ns()
    start_ns, end_ns = (
        deletion_time("from", asked.from_, now_ns),
        deletion_time("to", asked.to, now_ns),
    )
    predicate, project_id = asked.to_query().to_predicate(now_ns), project_of(request)
    if request.query.get("dry_run", "0") not in ("", "0", "false"):
        return json_response(
            {"matched": await logs.deletions.count(project_id, predicate, start_ns, end_ns)}
        )
    deletion = await logs.deletions.delete(project_id, predicate, start_ns, end_ns)
    return json_response(deletion_entry(deletion), status=202)


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
