"""The critical path: the sections of spans that decided how long a trace took.

Method, as the Jaeger UI documents it: walk back from the end of the root. At each moment the span
that counts is the child that finished last before it; until it started, its own children count in
the same way, then the walk goes on in the parent, with the child that finished last before that
start. The time between children is the parent's. A child that outlives its parent is cut at the
parent's end, one that starts before it at its start, and one wholly outside does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

from obsd.services.trace_analysis.tree import Node


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a span that lies on the critical path; corrected nanoseconds since 1970."""

    node: Node
    start_ns: int
    end_ns: int

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns


@dataclass(slots=True)
class _Frame:
    """A span that the walk is in, and how far back it has come."""

    node: Node
    start_ns: int
    at_ns: int
    children: list[tuple[int, int, Node]]  # (end, start, node), cut to the span, by end.


def critical_path(root: Node) -> list[Section]:
    """The sections from the end of the root to its start; together as long as the root."""
    sections: list[Section] = []
    stack = [_frame(root, root.start_ns, root.end_ns)]
    while stack:
        frame = stack[-1]
        child = _last_finished(frame)
        if child is None:
            _add(sections, frame.node, frame.start_ns, frame.at_ns)
            stack.pop()
            continue
        end_ns, start_ns, node = child
        _add(sections, frame.node, end_ns, frame.at_ns)
        frame.at_ns = start_ns
        stack.append(_frame(node, start_ns, end_ns))
    return sections


def _last_finished(frame: _Frame) -> tuple[int, int, Node] | None:
    """The child that finished last before where the walk is; it is taken away."""
    while frame.children:
        child = frame.children.pop()
        if child[0] <= frame.at_ns and child[1] < frame.at_ns:
            return child
    return None


def _frame(node: Node, start_ns: int, end_ns: int) -> _Frame:
    children = []
    for child in node.children:
        cut_start, cut_end = max(child.start_ns, start_ns), min(child.end_ns, end_ns)
        if cut_start < cut_end:
            children.append((cut_end, cut_start, child))
    children.sort(key=lambda child: child[:2])
    return _Frame(node, start_ns, end_ns, children)


def _add(sections: list[Section], node: Node, start_ns: int, end_ns: int) -> None:
    if start_ns < end_ns:
        sections.append(Section(node, start_ns, end_ns))
