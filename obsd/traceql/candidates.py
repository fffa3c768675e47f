"""Ids of traces with spans that match, the newest first, found a window of time after the other.

A search stops at its limit, so that it looks at the newest few seconds first, and at four times as
much whenever that was not enough. What it holds is the ids of one window.

Where a query asks something of the root, traces whose root is near the window, and another one, are
left out. (A trace with several roots minutes apart may be left out for its later one.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from obsd.model.budget import QueryBudget
from obsd.model.span_predicate import AllOf, NotSpan, SpanPredicate
from obsd.traceql.pushdown import ROOT
from obsd.traceql.result import QueryStats
from obsd.traceql.storage import Storage

_FIRST_SHARE: Final = 256  # Of the range, for the first window; then it grows fourfold.
_LEAST_NS: Final = 1_000_000_000
_MOST_NS: Final = 60_000_000_000  # Of the first one, since a range may be all time.
_GROWTH: Final = 4
_CUT: Final = 16
_MANY: Final = 1_000  # So many ids in a window are enough: it need not grow.
_ROOT_BEFORE_NS: Final = 300_000_000_000  # Roots are looked for so far around a window.
_ROOT_AFTER_NS: Final = 60_000_000_000
MAX_HELD: Final = 100_000  # Ids of a window; some 10 MB. One that has more is cut.


def newest_first(
    store: Storage,
    predicate: SpanPredicate,
    start_ns: int,
    end_ns: int,
    budget: QueryBudget,
    stats: QueryStats,
    root: SpanPredicate | None = None,
) -> Iterator[str]:
    """Each trace once, by its newest span that matches and starts in the range.

    `root` is a predicate that the root has to match.
    """
    seen: set[str] = set()
    width_ns = min(max((end_ns - start_ns) // _FIRST_SHARE, _LEAST_NS), _MOST_NS)
    while start_ns < end_ns:
        budget.check()
        first_ns = max(start_ns, end_ns - width_ns)
        newest = _window(store, predicate, first_ns, end_ns, budget, stats)
        if newest is None:
            width_ns = max((end_ns - first_ns) // _CUT, 1)
            continue
        out = seen
        if root is not None and newest:
            near = (max(first_ns - _ROOT_BEFORE_NS, 0), end_ns + _ROOT_AFTER_NS)
            out = seen | _with_other_roots(store, root, *near, budget)
        for trace_id in sorted(newest.keys() - out, key=lambda each: (-newest[each], each)):
            seen.add(trace_id)
            yield trace_id
        end_ns = first_ns
        if len(newest) < _MANY:
            width_ns *= _GROWTH


def _window(
    store: Storage,
    predicate: SpanPredicate,
    start_ns: int,
    end_ns: int,
    budget: QueryBudget,
    stats: QueryStats,
) -> dict[str, int] | None:
    """The start of the newest span of each trace; None if there are too many to hold."""
    newest: dict[str, int] = {}
    for columns in store.scan(predicate, (), start_ns, end_ns, budget, trace_ids=True):
        budget.check()
        stats.spans += len(columns.start_ns)
        assert columns.trace_ids is not None, "they were asked for"
        starts, ids = columns.start_ns.tolist(), columns.trace_ids
        # In ascending order the newest one is what stays.
        here = {ids[at]: starts[at] for at in np.argsort(columns.start_ns, kind="stable")}
        for trace_id, start in here.items():
            if start >= newest.get(trace_id, start):
                newest[trace_id] = start
        if len(newest) > MAX_HELD and end_ns - start_ns > 1:
            return None
    return newest


def _with_other_roots(
    store: Storage, root: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
) -> set[str]:
    """Traces with a root in the range and none that matches; nothing if these are too many."""
    others = _ids(store, AllOf((ROOT, NotSpan(root))), start_ns, end_ns, budget)
    fitting = _ids(store, AllOf((ROOT, root)), start_ns, end_ns, budget) if others else set()
    return set() if others is None or fitting is None else others - fitting


def _ids(
    store: Storage, predicate: SpanPredicate, start_ns: int, end_ns: int, budget: QueryBudget
) -> set[str] | None:
    found: set[str] = set()
    for columns in store.scan(predicate, (), start_ns, end_ns, budget, trace_ids=True):
        budget.check()
        assert columns.trace_ids is not None, "they were asked for"
        found.update(columns.trace_ids)
        if len(found) > MAX_HELD:
            return None
    return found
