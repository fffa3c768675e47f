"""The spans of a trace as a tree, with the clocks of its machines made to agree.

A span whose parent is not there is a root. Where parents form a circle, the earliest span of it
becomes one. The main root, from which analysis begins, has no parent at all and no link into the
trace if there is such a root, and of those the largest tree; of equal ones, the earliest.

Clocks. The server's span of a call lies within the client's, whatever the machines' clocks say.
Where it does not, and could by its length, the server's span and everything below it is moved so
that the time on the way there and back is the same. Only a SERVER span below a CLIENT one of
another service is moved: in one process there is one clock, and messages take whatever time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from obsd.model.span import Span, SpanKind

_RECEIVES = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})


@dataclass(slots=True, eq=False)
class Node:
    """A span in its place.

    Attributes:
        start_ns, end_ns: as corrected.
        skew_ns: by how much it was moved; 0 mostly.
        children: by start.
    """

    span: Span
    start_ns: int
    end_ns: int
    skew_ns: int = 0
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns

    def walk(self) -> Iterator[Node]:
        """The node and all below it, parents before children."""
        left = [self]
        while left:
            node = left.pop()
            yield node
            left += reversed(node.children)

    def ancestors(self) -> Iterator[Node]:
        """Its parent, and so on up to the root."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent


@dataclass(frozen=True, slots=True)
class TraceTree:
    """A trace.

    Attributes:
        roots: the main one first; none of a trace without spans.
    """

    roots: list[Node]

    @property
    def main(self) -> Node | None:
        return self.roots[0] if self.roots else None

    def nodes(self) -> Iterator[Node]:
        """All spans, tree by tree, parents before children."""
        for root in self.roots:
            yield from root.walk()


def build_tree(spans: Sequence[Span], *, correct_clocks: bool = True) -> TraceTree:
    """The tree of a trace's spans, in whatever order they come.

    Of spans with the same id, as the two halves of an RPC that share one have, a SERVER span is the
    child of the other.
    """
    nodes = [Node(span, span.start_ns, span.end_ns) for span in _by_start(spans)]
    by_id: dict[str, Node] = {}
    shared: list[Node] = []
    for node in sorted(nodes, key=lambda node: node.span.kind in _RECEIVES):
        if node.span.span_id in by_id:
            shared.append(node)
        else:
            by_id[node.span.span_id] = node
    for node in nodes:
        node.parent = by_id.get(node.span.parent_id)
    for node in shared:
        node.parent = by_id[node.span.span_id]
    _cut_circles(nodes)
    for node in nodes:
        if node.parent is not None:
            node.parent.children.append(node)
    roots = [node for node in nodes if node.parent is None]
    roots.sort(key=lambda root: _rank(root, by_id))
    tree = TraceTree(roots)
    if correct_clocks:
        for node in tree.nodes():
            _correct(node)
        for node in tree.nodes():
            node.children.sort(key=lambda child: (child.start_ns, child.end_ns))
    return tree


def _rank(root: Node, by_id: Mapping[str, Node]) -> tuple[bool, bool, int, int]:
    """Where a root stands among roots, the main one first."""
    span = root.span
    follows = any(link.span_id in by_id for link in span.links if link.trace_id == span.trace_id)
    return bool(span.parent_id), follows, -sum(1 for _ in root.walk()), root.start_ns


def _by_start(spans: Sequence[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: (span.start_ns, -span.end_ns, span.span_id))


def _cut_circles(nodes: Sequence[Node]) -> None:
    """Nodes come by start, so the first one of a circle that is seen is its earliest."""
    good: set[int] = set()
    for node in nodes:
        path: list[Node] = []
        seen: set[int] = set()
        at: Node | None = node
        while at is not None and id(at) not in good and id(at) not in seen:
            seen.add(id(at))
            path.append(at)
            at = at.parent
        if at is not None and id(at) in seen:
            circle = path[path.index(at) :]
            min(circle, key=lambda each: (each.start_ns, each.span.span_id)).parent = None
        good |= seen


def _correct(node: Node) -> None:
    parent = node.parent
    if parent is None or not _is_call(parent, node):
        return
    fits = parent.start_ns <= node.start_ns and node.end_ns <= parent.end_ns
    if fits or node.duration_ns > parent.duration_ns:
        return
    way_ns = (parent.duration_ns - node.duration_ns) // 2
    moved_ns = parent.start_ns + way_ns - node.start_ns
    for each in node.walk():
        each.start_ns += moved_ns
        each.end_ns += moved_ns
        each.skew_ns += moved_ns


def _is_call(parent: Node, child: Node) -> bool:
    """Whether the two are the ends of one call between services that waits for its answer."""
    return (
        parent.span.kind is SpanKind.CLIENT
        and child.span.kind is SpanKind.SERVER
        and parent.span.service != child.span.service
    )
