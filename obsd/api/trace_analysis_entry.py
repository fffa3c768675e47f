"""The analysis of traces as the product API shows it: docs/api/traces.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obsd.api.log_entry import json_value
from obsd.api.trace_entry import milliseconds
from obsd.services.trace_analysis.breakdown import self_time_ns
from obsd.services.trace_analysis.compare import changed_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obsd.services.trace_analysis.analysis import TraceAnalysis
    from obsd.services.trace_analysis.baselines import Bottleneck
    from obsd.services.trace_analysis.breakdown import Share
    from obsd.services.trace_analysis.compare import SpanPair, TraceComparison
    from obsd.services.trace_analysis.critical_path import Section
    from obsd.services.trace_analysis.errors import ErrorOrigin
    from obsd.services.trace_analysis.findings import Finding
    from obsd.services.trace_analysis.populations import PopulationComparison
    from obsd.services.trace_analysis.tree import Node

Json = dict[str, object]


def analysis_entry(trace_id: str, analysis: TraceAnalysis) -> Json:
    """An analysis; offsets are from the first start of the trace, by corrected clocks."""
    origin_ns = min(node.start_ns for node in analysis.tree.nodes())
    end_ns = max(node.end_ns for node in analysis.tree.nodes())
    return {
        "trace_id": trace_id,
        "start_ns": str(origin_ns),
        "duration_ms": milliseconds(end_ns - origin_ns),
        "spans": list(_spans(analysis, origin_ns)),
        "critical_path": [_section(each, origin_ns) for each in reversed(analysis.critical_path)],
        "services": _shares(analysis.services),
        "operations": _shares(analysis.operations),
        "kinds": _shares(analysis.kinds),
        "bottlenecks": [_bottleneck(each) for each in analysis.bottlenecks],
        "findings": [_finding(each) for each in analysis.findings],
        "errors": [_error(each) for each in analysis.errors],
    }


def _spans(analysis: TraceAnalysis, origin_ns: int) -> Iterator[Json]:
    """Each span in the order of a waterfall."""
    critical: dict[int, int] = {}
    for section in analysis.critical_path:
        place = id(section.node)
        critical[place] = critical.get(place, 0) + section.duration_ns
    depths: dict[int, int] = {}
    for node in analysis.tree.nodes():
        depth = depths[id(node)] = depths[id(node.parent)] + 1 if node.parent is not None else 0
        yield {
            **span_name(node),
            "parent_id": node.span.parent_id,
            "depth": depth,
            "offset_ms": milliseconds(node.start_ns - origin_ns),
            "duration_ms": milliseconds(node.duration_ns),
            "self_ms": milliseconds(self_time_ns(node)),
            "critical_ms": milliseconds(critical.get(id(node), 0)),
            "skew_ms": milliseconds(node.skew_ns),
            "error": node.span.is_error,
        }


def span_name(node: Node) -> Json:
    """What tells a reader which span is meant."""
    span = node.span
    return {"span_id": span.span_id, "service": span.service, "operation": span.name}


def _section(section: Section, origin_ns: int) -> Json:
    return {
        **span_name(section.node),
        "offset_ms": milliseconds(section.start_ns - origin_ns),
        "duration_ms": milliseconds(section.duration_ns),
    }


def _shares(shares: Sequence[Share]) -> list[Json]:
    return [
        {
            "key": share.key,
            "spans": share.spans,
            "errors": share.errors,
            "total_ms": milliseconds(share.total_ns),
            "self_ms": milliseconds(share.self_ns),
            "critical_ms": milliseconds(share.critical_ns),
        }
        for share in shares
    ]


def _bottleneck(each: Bottleneck) -> Json:
    baseline = each.baseline
    return {
        **span_name(each.node),
        "duration_ms": milliseconds(each.node.duration_ns),
        "critical_ms": milliseconds(each.critical_ns),
        "unusual": each.is_unusual,
        "factor": each.factor,
        "baseline": None
        if baseline is None
        else {
            "spans": baseline.spans,
            "p50_ms": milliseconds(baseline.p50_ns),
            "p95_ms": milliseconds(baseline.p95_ns),
            "p99_ms": milliseconds(baseline.p99_ns),
        },
    }


def _finding(finding: Finding) -> Json:
    return {
        "kind": finding.kind.value,
        "in": span_name(finding.node),
        "span_ids": [node.span.span_id for node in finding.spans],
        "cost_ms": milliseconds(finding.cost_ns),
        "detail": finding.detail,
    }


def _error(origin: ErrorOrigin) -> Json:
    return {
        **span_name(origin.node),
        "type": origin.type,
        "message": origin.message,
        "reaches_root": origin.reaches_root,
        "path": [span_name(node) for node in origin.path],
    }


def comparison_entry(before: str, after: str, comparison: TraceComparison) -> Json:
    """Two traces side by side."""
    return {
        "before": before,
        "after": after,
        "spans": [_pair(pair) for pair in comparison.pairs],
        "operations": [
            {
                "service": each.service,
                "operation": each.name,
                "before": {
                    "spans": each.before_spans,
                    "self_ms": milliseconds(each.before_ns),
                    "errors": each.before_errors,
                },
                "after": {
                    "spans": each.after_spans,
                    "self_ms": milliseconds(each.after_ns),
                    "errors": each.after_errors,
                },
            }
            for each in comparison.operations
        ],
    }


def _pair(pair: SpanPair) -> Json:
    node = pair.before or pair.after
    assert node is not None
    return {
        "service": node.span.service,
        "operation": node.span.name,
        "depth": pair.depth,
        "change": pair.change,
        "before": _side(pair.before),
        "after": _side(pair.after),
        "duration_change_ms": milliseconds(pair.duration_change_ns),
        "self_change_ms": milliseconds(pair.self_change_ns),
        "attributes": {
            name: [json_value(one), json_value(other)]
            for name, (one, other) in changed_attributes(pair).items()
        },
    }


def _side(node: Node | None) -> Json | None:
    if node is None:
        return None
    return {
        "span_id": node.span.span_id,
        "duration_ms": milliseconds(node.duration_ns),
        "error": node.span.is_error,
    }


def populations_entry(found: PopulationComparison) -> Json:
    """What sets two populations apart."""
    return {
        "selected": found.selected,
        "others": found.others,
        "fields": [
            {
                "scope": each.field.scope,
                "name": each.field.name,
                "score": each.score,
                "values": [
                    {
                        "value": share.value,
                        "until": share.until,
                        "selected": share.selected,
                        "others": share.others,
                        "difference": share.difference,
                        "ratio": share.ratio,
                    }
                    for share in each.values
                ],
            }
            for each in found.fields
        ],
        "ids": [{"scope": field.scope, "name": field.name} for field in found.ids],
    }
