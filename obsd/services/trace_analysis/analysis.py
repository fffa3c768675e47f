"""All that is said of one trace: docs/trace-analysis.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obsd.services.trace_analysis.baselines import (
    Baseline,
    Bottleneck,
    Operation,
    bottlenecks,
    operations_of,
)
from obsd.services.trace_analysis.breakdown import (
    Share,
    break_down,
    by_kind,
    by_operation,
    by_service,
)
from obsd.services.trace_analysis.critical_path import Section, critical_path
from obsd.services.trace_analysis.errors import ErrorOrigin, error_origins
from obsd.services.trace_analysis.findings import Finding, find_all
from obsd.services.trace_analysis.tree import TraceTree, build_tree

if TYPE_CHECKING:
    from obsd.model.span import Span


@dataclass(frozen=True, slots=True)
class TraceAnalysis:
    """The analysis of a trace; times are corrected ones, in nanoseconds.

    Attributes:
        tree: the main root first; what hangs under no known span is a root of its own.
        critical_path: of the main root, from its end to its start.
        services, operations, kinds: where the time went, by each of these.
        bottlenecks: of the critical path, those that are slower than usual first.
    """

    tree: TraceTree
    critical_path: Sequence[Section]
    services: Sequence[Share]
    operations: Sequence[Share]
    kinds: Sequence[Share]
    bottlenecks: Sequence[Bottleneck]
    findings: Sequence[Finding]
    errors: Sequence[ErrorOrigin]


def analyze(
    spans: Sequence[Span],
    baselines_of: Callable[[Sequence[Operation]], Mapping[Operation, Baseline]] = lambda _: {},
) -> TraceAnalysis:
    """Analyse a trace against what is normal for the operations on its critical path."""
    tree = build_tree(spans)
    path = critical_path(tree.main) if tree.main is not None else []
    return TraceAnalysis(
        tree=tree,
        critical_path=path,
        services=break_down(tree, path, by_service),
        operations=break_down(tree, path, by_operation),
        kinds=break_down(tree, path, by_kind),
        bottlenecks=bottlenecks(path, baselines_of(operations_of(path))),
        findings=find_all(tree, path),
        errors=error_origins(tree),
    )
