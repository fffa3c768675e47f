"""`compare({ … })`: which values of which attributes a selection of spans has more often.

There is a series for each frequent value among the selected spans (`__meta_type` is `selection`)
and among the others (`baseline`), and one for all spans that have the attribute at all
(`selection_total`, `baseline_total`).

Spans are read twice, first for the values that are most frequent, then for when these were; so what
is held is bounded whatever the number of values.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from obsd.traceql import ast
from obsd.traceql.batches import Source
from obsd.traceql.check import type_of
from obsd.traceql.printer import print_named
from obsd.traceql.series import Row
from obsd.traceql.spansets import key_of
from obsd.traceql.steps import Steps
from obsd.traceql.value import Duration, Value

META_TYPE: Final = "__meta_type"

_MAX_FIELDS: Final = 500
_MAX_VALUES: Final = 10_000  # Of an attribute, that are counted at all.
_INTRINSICS: Final = (
    ast.Intrinsic("name"),
    ast.Intrinsic("status"),
    ast.Intrinsic("statusMessage"),
    ast.Intrinsic("kind"),
    ast.Intrinsic("instrumentation:name"),
    ast.Intrinsic("instrumentation:version"),
    ast.Intrinsic("event:name"),
)
_SCOPES: Final[dict[str, ast.Scope]] = {
    "span": "span",
    "resource": "resource",
    "scope": "instrumentation",
    "event": "event",
    "link": "link",
}


@dataclass(slots=True)
class _Side:
    """The selection, or the others.

    Attributes:
        parts: pipelines with the time that each is about.
        counts: of each field, how often each value was seen.
        totals: of each field, spans that have it, by step.
        kept: of each field, the values that get a series, by step.
    """

    name: str
    parts: list[tuple[ast.Pipeline, int, int]]
    counts: list[dict[Hashable, tuple[Value, int]]] = field(default_factory=list)
    totals: list[NDArray[np.float64]] = field(default_factory=list)
    kept: list[dict[Hashable, tuple[Value, NDArray[np.float64]]]] = field(default_factory=list)


def compare(
    source: Source,
    pipeline: ast.Pipeline,
    comparison: ast.Compare,
    steps: Steps,
) -> list[Row]:
    """The series, of up to `_MAX_FIELDS` attributes."""
    names = source.store.field_names(steps.first_ns, steps.end_ns, _MAX_FIELDS, source.budget)
    fields: list[ast.Named] = [
        *_INTRINSICS,
        *(ast.Attribute(_SCOPES[each.scope], each.name) for each in names),
    ]
    rows: list[Row] = []
    for side in _sides(pipeline, comparison, steps):
        _count(source, side, fields, steps)
        _follow(source, side, fields, steps, comparison.top)
        rows += _rows(side, fields)
    return rows


def _sides(pipeline: ast.Pipeline, comparison: ast.Compare, steps: Steps) -> tuple[_Side, _Side]:
    selected = ast.Pipeline((*pipeline.stages, comparison.selection))
    others = ast.Pipeline((*pipeline.stages, _complement(comparison.selection)))
    first_ns, end_ns = steps.first_ns, steps.end_ns
    if not comparison.end_ns:
        selection = _Side("selection", [(selected, first_ns, end_ns)])
        return selection, _Side("baseline", [(others, first_ns, end_ns)])
    # The selection's time is open to the left, as steps are.
    from_ns = min(max(comparison.start_ns + 1, first_ns), end_ns)
    to_ns = min(max(comparison.end_ns + 1, from_ns), end_ns)
    outside = [(pipeline, first_ns, from_ns), (pipeline, to_ns, end_ns)]
    selection = _Side("selection", [(selected, from_ns, to_ns)])
    return selection, _Side("baseline", [(others, from_ns, to_ns), *outside])


def _complement(selection: ast.SpansetFilter) -> ast.SpansetFilter:
    condition = selection.condition
    if type_of(condition) != "bool":  # `!x` would want a boolean.
        condition = ast.Binary("=", condition, ast.Static(value=True))
    return ast.SpansetFilter(ast.Not(condition))


def _columns_of(
    source: Source, side: _Side, fields: Sequence[ast.Named], steps: Steps
) -> Iterator[tuple[int, NDArray[np.int32], Sequence[Value], NDArray[np.int64]]]:
    """Each field's codes and values, with the steps of the spans."""
    for pipeline, start_ns, end_ns in side.parts:
        for batch in source.batches(pipeline, fields, start_ns, end_ns):
            places = steps.places(batch.start_ns)
            for at, column in enumerate(batch.columns):
                there = column.codes >= 0
                if there.any():
                    yield at, column.codes[there], column.values, places[there]


def _count(source: Source, side: _Side, fields: Sequence[ast.Named], steps: Steps) -> None:
    side.counts = [{} for _ in fields]
    side.totals = [np.zeros(steps.count) for _ in fields]
    for at, codes, values, places in _columns_of(source, side, fields, steps):
        side.totals[at] += np.bincount(places, minlength=steps.count)
        counts = side.counts[at]
        here = np.bincount(codes, minlength=len(values))
        for code in np.flatnonzero(here).tolist():
            value, count = values[code], int(here[code])
            if isinstance(value, Duration) or value == "":
                continue
            key = key_of(value)
            known = counts.get(key)
            if known is not None:
                counts[key] = (value, known[1] + count)
            elif len(counts) < _MAX_VALUES:
                counts[key] = (value, count)


def _follow(
    source: Source, side: _Side, fields: Sequence[ast.Named], steps: Steps, top: int
) -> None:
    """By step, the values that are most frequent."""
    side.kept = [{} for _ in fields]
    held = 0
    for at, counts in enumerate(side.counts):
        ranked = sorted(counts.items(), key=lambda item: (-item[1][1], str(item[1][0])))
        held += len(ranked[:top])
        source.budget.reserve(held * steps.count)
        for key, (value, _) in ranked[:top]:
            side.kept[at][key] = (value, np.zeros(steps.count))
    for at, codes, values, places in _columns_of(source, side, fields, steps):
        kept = side.kept[at]
        for code in np.unique(codes).tolist():
            found = kept.get(key_of(values[code]))
            if found is not None:
                found[1][:] += np.bincount(places[codes == code], minlength=steps.count)


def _rows(side: _Side, fields: Sequence[ast.Named]) -> Iterator[Row]:
    for at, named in enumerate(fields):
        if not side.kept[at]:
            continue
        name = print_named(named)
        for value, counts in side.kept[at].values():
            yield Row(((META_TYPE, side.name), (name, value)), counts)
        yield Row(((META_TYPE, f"{side.name}_total"), (name, None)), side.totals[at])
