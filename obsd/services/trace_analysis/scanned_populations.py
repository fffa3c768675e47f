"""Populations of spans, read from where they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from obsd.model.span_predicate import AllOf, Field, NotSpan
from obsd.services.trace_analysis.baselines import NAME, SERVICE
from obsd.services.trace_analysis.populations import PopulationComparison, compare_populations

if TYPE_CHECKING:
    from obsd.model.budget import QueryBudget
    from obsd.model.span_predicate import SpanPredicate
    from obsd.services.span_store import SpanStore

MAX_FIELDS: Final = 200
"""Fields of two populations that are compared."""

_INTRINSICS: Final = (
    SERVICE,
    NAME,
    Field("intrinsic", "kind"),
    Field("intrinsic", "status"),
    Field("intrinsic", "status_message"),
)


def compare_in(
    store: SpanStore,
    selected: SpanPredicate,
    within: SpanPredicate,
    start_ns: int,
    end_ns: int,
    budget: QueryBudget,
) -> PopulationComparison:
    """What sets the selected spans apart from the others of `within`."""
    attributes = store.field_names(start_ns, end_ns, MAX_FIELDS, budget)
    fields = (*_INTRINSICS, *attributes)
    chosen = store.scan(AllOf((within, selected)), fields, start_ns, end_ns, budget)
    others = store.scan(AllOf((within, NotSpan(selected))), fields, start_ns, end_ns, budget)
    return compare_populations(chosen, others, fields)
