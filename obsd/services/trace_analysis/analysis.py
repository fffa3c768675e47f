"""All that is said of one trace: docs/trace-analysis.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obsd.services.trace_analysis.baselines import Baseline, Bottleneck, Operation, bottlenecks
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
        path: the critical path, from the end to the start.
    """

    tree: TraceTree
    path: Sequence[Section]
    services: Sequence[Share]
    operations: Sequence[Share]
    kinds: Sequence[Share]
    bottlenecks: Sequence[Bottleneck]
    findings: Sequence[Finding]
    errors: Sequence[ErrorOrigin]


def trace_path(spans: Sequence[Span]) -> tuple[TraceTree, list[Section]]:
    """The tree of a trace and its critical path."""
    tree = build_tree(spans)
    return tree, critical_path(tree.main) if tree.main is not None else []


def analyze(
    tree: TraceTree, path: Sequence[Section], known: Mapping[Operation, Baseline]
) -> TraceAnalysis:
    """Analyse a trace against what is normal for its operations."""
    return TraceAnalysis(
        tree,
        path,
        break_down(tree, path, by_service),
        break_down(tree, path, by_operation),
        break_down(tree, path, by_kind),
        bottlenecks(path, known),
        find_all(tree, path),
        error_origins(tree),
    )
