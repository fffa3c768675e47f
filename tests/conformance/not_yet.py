"""The one place that says which cases may fail for now, by the feature that they need.

A case that passes is never excused, so that nothing here can hide a regression of what works.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from obsd.model.errors import QueryParseError
from obsd.model.labels import METRIC_NAME, Labels
from obsd.promql import ast, parse
from tests.conformance.notation import Eval, Load
from tests.promql.memory_storage import matches


@dataclass(slots=True)
class Scene:
    """What is loaded, as far as it matters here."""

    file: str
    histograms: list[Labels] = field(default_factory=list)
    has_start_timestamps: bool = False

    def add(self, load: Load) -> None:
        self.histograms += [s.labels for s in load.series if s.has_histograms]
        if load.with_custom_buckets:
            self.histograms += [_of_buckets(s.labels) for s in load.series]
        self.has_start_timestamps |= load.with_start_timestamps


def _of_buckets(labels: Labels) -> Labels:
    """The native histogram that a series of a classic one becomes part of."""
    name = labels.get(METRIC_NAME)
    for suffix in ("_bucket", "_count", "_sum"):
        name = name.removesuffix(suffix)
    return labels.drop(frozenset({"le"})).with_label(METRIC_NAME, name)


def not_yet(case: Eval, scene: Scene) -> str | None:
    """The feature that a case needs and obsd does not have yet."""
    if scene.has_start_timestamps:
        return "start timestamps"
    if any(series.has_histograms for series in case.series):
        return "native histograms"
    try:
        expr = parse(case.query)
    except QueryParseError:
        return None
    for node in ast.walk(expr):
        if isinstance(node, ast.Call) and node.function == "info":
            return "info()"
        if isinstance(node, ast.VectorSelector):
            if node.anchored or node.smoothed:
                return "anchored and smoothed selectors"
            if any(_selects(node, labels) for labels in scene.histograms):
                return "native histograms"
    return None


def _selects(selector: ast.VectorSelector, labels: Labels) -> bool:
    return all(matches(matcher, labels.get(matcher.name)) for matcher in selector.matchers)
