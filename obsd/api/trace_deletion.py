"""`/api/v1/monitoring/traces/delete`: deleting traces by query. docs/api/traces.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.deletion_entry import deletion_entry, deletion_time
from obsd.api.errors import NotFoundError
from obsd.api.json_body import json_response, read_json
from obsd.api.keys import TRACES
from obsd.api.params import InvalidParameterError

if TYPE_CHECKING:
    from obsd.model.span_predicate import SpanPredicate

PATH: Final = "/api/v1/monitoring/traces/delete"
_MAX_BODY_BYTES: Final = 1 << 20


class DeleteModel(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the POST. All of it must be there: nothing is deleted by default."""

    query: str
    from_: str | int | float = msgspec.field(name="from")
    to: str | int | float

    def to_predicate(self) -> SpanPredicate:
        """The engine's form.

        Raises:
            InvalidParameterError: the query is no plain filter of spans.
            TraceqlParseError: it cannot be read.
        """
        from obsd.traceql import ast
        from obsd.traceql.parser import parse
        from obsd.traceql.pushdown import plan_pipeline

        expr = parse(self.query).expr
        if isinstance(expr, ast.Pipeline):
            plan = plan_pipeline(expr)
            if plan.exact:
                return plan.predicate
        raise InvalidParameterError(
            "query", "to delete, it must be one filter of spans, such as { .user.id = 7 }"
        )


async def delete(request: web.Request) -> web.Response:
    """`POST`: delete the traces that match and are there; with `dry_run=1`, only count spans."""
    asked = await read_json(request, DeleteModel, _MAX_BODY_BYTES)
    traces = request.app[TRACES]
    now_ns = traces.now_ns()
    start_ns = deletion_time("from", asked.from_, now_ns)
    end_ns = deletion_time("to", asked.to, now_ns)
    predicate, project_id = asked.to_predicate(), project_of(request)
    if request.query.get("dry_run", "0") not in ("", "0", "false"):
        return json_response(
            {"matched": await traces.deletions.count(project_id, predicate, start_ns, end_ns)}
        )
    deletion = await traces.deletions.delete(project_id, predicate, start_ns, end_ns)
    return json_response(deletion_entry(deletion), status=202)


async def list_all(request: web.Request) -> web.Response:
    """`GET`: every deletion that is not done, and the last ones that are; oldest first."""
    deletions = await request.app[TRACES].deletions.list(project_of(request))
    return json_response({"deletions": [deletion_entry(each) for each in deletions]})


async def show(request: web.Request) -> web.Response:
    """`GET …/delete/{id}`: one deletion."""
    wanted = request.match_info["id"]
    for each in await request.app[TRACES].deletions.list(project_of(request)):
        if each.id == wanted:
            return json_response(deletion_entry(each))
    raise NotFoundError(f"there is no deletion {wanted[:80]!r}")


def routes() -> list[web.RouteDef]:
    return [
        web.post(PATH, delete),
        web.get(PATH, list_all),
        web.get(PATH + "/{id}", show),
    ]
