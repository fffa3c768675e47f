"""What traces tell: `…/{id}/analysis`, `…/compare` and `…/populations`. docs/api/traces.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from obsd.api.auth import project_of
from obsd.api.errors import NotFoundError
from obsd.api.json_body import json_response, rendered_response
from obsd.api.keys import TRACES
from obsd.api.monitoring_traces import PATH
from obsd.api.params import InvalidParameterError, Params, read_params
from obsd.api.trace_analysis_entry import analysis_entry, comparison_entry, populations_entry
from obsd.api.trace_params import span_conditions, time_range
from obsd.model.span_predicate import AllSpans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obsd.model.budget import QueryBudget
    from obsd.model.span import Span
    from obsd.services.span_store import SpanStore
    from obsd.services.trace_analysis.populations import PopulationComparison

_SELECT: Final = "select_"


async def analysis(request: web.Request) -> web.Response:
    """`GET …/{id}/analysis`: where the time went, what failed, what to fix."""
    trace_id = request.match_info["id"]
    found = await request.app[TRACES].analyze_trace(project_of(request), trace_id)
    if found is None or found.tree.main is None:
        raise NotFoundError(f"there is no trace {trace_id[:80]!r}")
    known = found.tree.main.span.trace_id
    return await rendered_response(lambda: analysis_entry(known, found))


async def compare(request: web.Request) -> web.Response:
    """`GET …/compare?before=&after=`: two traces side by side."""
    from obsd.services.trace_analysis.compare import compare_traces
    from obsd.services.trace_analysis.tree import build_tree

    params = await read_params(request)
    traces: list[Sequence[Span]] = []
    for name in ("before", "after"):
        if not (trace_id := params.text(name)):
            raise InvalidParameterError(name, "expected the id of a trace")
        spans = await request.app[TRACES].trace(project_of(request), trace_id)
        if not spans:
            raise NotFoundError(f"there is no trace {trace_id[:80]!r}")
        traces.append(spans)
    before, after = traces

    def make() -> object:
        found = compare_traces(build_tree(before), build_tree(after))
        return comparison_entry(before[0].trace_id, after[0].trace_id, found)

    return await rendered_response(make)


async def populations(request: web.Request) -> web.Response:
    """`GET …/populations`: what sets the spans of `select_…` apart from the others."""
    params = await read_params(request)
    traces = request.app[TRACES]
    asked = time_range(params, traces.now_ns())
    within = span_conditions(params)
    selected = span_conditions(_selection(params))
    if isinstance(selected, AllSpans):
        raise InvalidParameterError(
            "select_error", "say which spans: select_error=true, select_min_span_duration=1s, …"
        )

    def work(store: SpanStore, budget: QueryBudget) -> PopulationComparison:
        from obsd.services.trace_analysis.scanned_populations import compare_in

        return compare_in(store, selected, within, asked.start_ns, asked.end_ns, budget)

    return json_response(populations_entry(await traces.read(project_of(request), work)))


def _selection(params: Params) -> Params:
    """The parameters whose names begin with `select_`, without that."""
    values = MultiDict(
        (name.removeprefix(_SELECT), value)
        for name, value in params.values.items()
        if name.startswith(_SELECT)
    )
    return Params(MultiDictProxy(values))


def routes() -> list[web.RouteDef]:
    return [
        web.get(f"{PATH}/compare", compare),
        web.get(f"{PATH}/populations", populations),
        web.get(f"{PATH}/{{id}}/analysis", analysis),
    ]
