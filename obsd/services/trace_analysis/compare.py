"""Two traces side by side: what one has that the other lacks, and what took longer.

Spans are matched from the roots down: children of matched spans match when they are of the same
service, name and kind, the n-th of one with the n-th of the other in order of time. What is left of
either side was added or removed with all that is below it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from obsd.model.log_record import Value
from obsd.model.span import SpanKind
from obsd.services.trace_analysis.breakdown import self_time_ns
from obsd.services.trace_analysis.tree import Node, TraceTree

_Key = tuple[str, str, SpanKind]


@dataclass(frozen=True, slots=True)
class SpanPair:
    """A span of either trace in the same place; one of them is None where the other has no match.

    Attributes:
        depth: how many spans are above it.
    """

    before: Node | None
    after: Node | None
    depth: int

    @property
    def change(self) -> str:
        """`added`, `removed`, `changed` (status or attributes) or `same`."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        one, other = self.before.span, self.after.span
        is_same = one.status is other.status and not changed_attributes(self)
        return "same" if is_same else "changed"

    @property
    def duration_change_ns(self) -> int:
        """By how much longer the second one took; of one alone, plus or minus its duration."""
        before = self.before.duration_ns if self.before else 0
        after = self.after.duration_ns if self.after else 0
        return after - before

    @property
    def self_change_ns(self) -> int:
        """The same of the time in which no child ran."""
        before = self_time_ns(self.before) if self.before else 0
        after = self_time_ns(self.after) if self.after else 0
        return after - before


@dataclass(frozen=True, slots=True)
class OperationChange:
    """An operation in both traces."""

    service: str
    name: str
    before_spans: int
    after_spans: int
    before_ns: int
    after_ns: int
    before_errors: int
    after_errors: int


@dataclass(frozen=True, slots=True)
class TraceComparison:
    """The outcome.

    Attributes:
        pairs: in the order of a waterfall: parents before children, siblings by time.
        operations: those whose time changed the most first.
    """

    pairs: list[SpanPair]
    operations: list[OperationChange]


def compare_traces(before: TraceTree, after: TraceTree) -> TraceComparison:
    """Compare two traces by structure."""
    pairs: list[SpanPair] = []
    stack = [(pair, 0) for pair in reversed(_match(before.roots, after.roots))]
    while stack:
        (one, other), depth = stack.pop()
        pairs.append(SpanPair(one, other, depth))
        below = _match(one.children if one else (), other.children if other else ())
        stack += [(pair, depth + 1) for pair in reversed(below)]
    return TraceComparison(pairs, _operations(before, after))


def changed_attributes(pair: SpanPair) -> dict[str, tuple[Value | None, Value | None]]:
    """The attributes that differ between the spans of a pair."""
    if pair.before is None or pair.after is None:
        return {}
    one, other = pair.before.span.attributes, pair.after.span.attributes
    names = sorted(set(one) | set(other))
    both = ((name, one.get(name), other.get(name)) for name in names)
    return {name: (a, b) for name, a, b in both if type(a) is not type(b) or a != b}


def _match(before: Sequence[Node], after: Sequence[Node]) -> list[tuple[Node | None, Node | None]]:
    waiting: defaultdict[_Key, list[Node]] = defaultdict(list)
    for node in reversed(after):
        waiting[_key(node)].append(node)
    pairs: list[tuple[Node | None, Node | None]] = []
    for node in before:
        same = waiting[_key(node)]
        pairs.append((node, same.pop() if same else None))
    pairs += [(None, node) for nodes in waiting.values() for node in nodes]
    origin = _origin(before), _origin(after)
    pairs.sort(key=lambda pair: _place(pair, origin))
    return pairs


def _origin(nodes: Iterable[Node]) -> int:
    return min((node.start_ns for node in nodes), default=0)


def _place(pair: tuple[Node | None, Node | None], origin: tuple[int, int]) -> int:
    """Where a pair stands among its siblings: the start of its first span, from the first one's."""
    before, after = pair
    if before is not None:
        return before.start_ns - origin[0]
    assert after is not None
    return after.start_ns - origin[1]


def _key(node: Node) -> _Key:
    return node.span.service, node.span.name, node.span.kind


def _operations(before: TraceTree, after: TraceTree) -> list[OperationChange]:
    sums: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 6)
    for side, tree in enumerate((before, after)):
        for node in tree.nodes():
            values = sums[node.span.service, node.span.name]
            values[side] += 1
            values[2 + side] += self_time_ns(node)
            values[4 + side] += node.span.is_error
    changes = [OperationChange(*key, *values) for key, values in sums.items()]
    changes.sort(key=lambda c: (-abs(c.after_ns - c.before_ns), c.service, c.name))
    return changes
