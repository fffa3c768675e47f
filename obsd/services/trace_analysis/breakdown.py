"""Where the time of a trace went: the self time of spans, by service, operation and kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from obsd.services.trace_analysis.critical_path import Section
from obsd.services.trace_analysis.tree import Node, TraceTree

KIND_NAMES: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")


@dataclass(slots=True)
class Share:
    """What a group of spans took; nanoseconds.

    Attributes:
        total_ns: of the spans, each as a whole.
        self_ns: in which none of their children ran.
        critical_ns: on the critical path.
    """

    key: str
    spans: int = 0
    errors: int = 0
    total_ns: int = 0
    self_ns: int = 0
    critical_ns: int = 0


def self_time_ns(node: Node) -> int:
    """The time of a span in which none of its children ran."""
    pieces = [
        (max(child.start_ns, node.start_ns), min(child.end_ns, node.end_ns))
        for child in node.children
    ]
    return node.duration_ns - covered_ns(pieces)


def covered_ns(pieces: Iterable[tuple[int, int]]) -> int:
    """The length of the union of intervals; empty and negative ones have none."""
    covered, reached = 0, None
    for start, end in sorted(pieces):
        begin = start if reached is None else max(start, reached)
        if end > begin:
            covered += end - begin
            reached = end
    return covered


def by_service(node: Node) -> str:
    return node.span.service


def by_operation(node: Node) -> str:
    return f"{node.span.service}: {node.span.name}"


def by_kind(node: Node) -> str:
    return KIND_NAMES[node.span.kind]


def break_down(tree: TraceTree, path: Sequence[Section], key: Callable[[Node], str]) -> list[Share]:
    """What groups of spans took, those with the longest part of the critical path first."""
    shares: dict[str, Share] = {}
    for node in tree.nodes():
        share = shares.setdefault(key(node), Share(key(node)))
        share.spans += 1
        share.errors += node.span.is_error
        share.total_ns += node.duration_ns
        share.self_ns += self_time_ns(node)
    for section in path:
        shares[key(section.node)].critical_ns += section.duration_ns
    return sorted(shares.values(), key=lambda s: (-s.critical_ns, -s.self_ns, s.key))
