"""What is normal for an operation, and which spans of a trace took longer than that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from obsd.model.span_predicate import AllOf, AnyOf, CompareField, Field, SpanPredicate
from obsd.services.trace_analysis.critical_path import Section
from obsd.services.trace_analysis.tree import Node

if TYPE_CHECKING:
    import numpy.typing as npt

    from obsd.services.span_store import SpanColumns

Operation = tuple[str, str]
"""Service and span name."""

SERVICE: Final = Field("intrinsic", "service")
NAME: Final = Field("intrinsic", "name")
MIN_SPANS: Final = 20
"""Spans of an operation from which on its percentiles mean something."""

MAX_OPERATIONS: Final = 100
MAX_SPANS: Final = 200_000
"""Spans that are looked at for the baselines of one trace; enough for a p99 of rare operations."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """How long an operation takes; nanoseconds."""

    spans: int
    p50_ns: int
    p95_ns: int
    p99_ns: int

    @property
    def is_known(self) -> bool:
        return self.spans >= MIN_SPANS


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """A span of the critical path that took longer than its operation usually does.

    Attributes:
        critical_ns: its part of the critical path, without its children's.
        baseline: None where too few spans of the operation are known to say what is usual.
        factor: how many times the usual duration it took; None without a baseline.
    """

    node: Node
    critical_ns: int
    baseline: Baseline | None
    factor: float | None

    @property
    def is_unusual(self) -> bool:
        return self.baseline is not None and self.node.duration_ns > self.baseline.p95_ns


def operations_of(path: Sequence[Section]) -> list[Operation]:
    """The operations of a critical path, those with the longest part first."""
    parts: defaultdict[Operation, int] = defaultdict(int)
    for section in path:
        parts[section.node.span.service, section.node.span.name] += section.duration_ns
    return sorted(parts, key=lambda each: -parts[each])[:MAX_OPERATIONS]


def predicate_of(operations: Iterable[Operation]) -> SpanPredicate:
    """The spans of these operations."""
    return AnyOf(
        tuple(
            AllOf((CompareField(SERVICE, "=", service), CompareField(NAME, "=", name)))
            for service, name in operations
        )
    )


def baselines(columns: Iterable[SpanColumns]) -> dict[Operation, Baseline]:
    """The baselines of operations, from spans scanned with the fields `SERVICE` and `NAME`."""
    durations: defaultdict[Operation, list[npt.NDArray[np.int64]]] = defaultdict(list)
    seen = 0
    for each in columns:
        services, names = each.codes
        for operation, mask in _groups(services, names, each):
            durations[operation].append(each.duration_ns[mask])
        seen += len(each.duration_ns)
        if seen >= MAX_SPANS:
            break
    return {key: _baseline(np.concatenate(parts)) for key, parts in durations.items()}


def _groups(
    services: npt.NDArray[np.int32], names: npt.NDArray[np.int32], columns: SpanColumns
) -> Iterable[tuple[Operation, npt.NDArray[np.bool_]]]:
    width = len(columns.values[1]) + 1
    keys = (services.astype(np.int64) + 1) * width + names + 1
    for key in np.unique(keys).tolist():
        service, name = key // width - 1, key % width - 1
        operation = (
            str(columns.values[0][service]) if service >= 0 else "",
            str(columns.values[1][name]) if name >= 0 else "",
        )
        yield operation, keys == key


def _baseline(durations: npt.NDArray[np.int64]) -> Baseline:
    p50, p95, p99 = np.quantile(durations, (0.5, 0.95, 0.99), method="higher").tolist()
    return Baseline(len(durations), p50, p95, p99)


def bottlenecks(
    path: Sequence[Section], known: Mapping[Operation, Baseline], *, limit: int = 10
) -> list[Bottleneck]:
    """The spans with most of the critical path; those that are slower than usual come first."""
    parts: defaultdict[Node, int] = defaultdict(int)
    for section in path:
        parts[section.node] += section.duration_ns
    found = []
    for node, critical_ns in parts.items():
        baseline = known.get((node.span.service, node.span.name))
        if baseline is not None and not baseline.is_known:
            baseline = None
        factor = node.duration_ns / max(baseline.p50_ns, 1) if baseline else None
        found.append(Bottleneck(node, critical_ns, baseline, factor))
    found.sort(key=lambda b: (not b.is_unusual, -b.critical_ns, b.node.start_ns))
    return found[:limit]
