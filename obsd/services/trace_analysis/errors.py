"""Where an error began and whom it hit."""

from __future__ import annotations

from dataclasses import dataclass

from obsd.services.trace_analysis.tree import Node, TraceTree


@dataclass(frozen=True, slots=True)
class ErrorOrigin:
    """A span that failed without a child that did, and what failed because of it.

    Attributes:
        path: the failed spans above it, up to the last one in a row.
        reaches_root: the whole trace failed by it.
        message: of the exception, else of the status.
    """

    node: Node
    type: str
    message: str
    path: list[Node]
    reaches_root: bool


def error_origins(tree: TraceTree) -> list[ErrorOrigin]:
    """The origins of errors, those that reached the root first, then the earliest."""
    origins = []
    for node in tree.nodes():
        if not node.span.is_error or any(child.span.is_error for child in node.children):
            continue
        path = []
        for above in node.ancestors():
            if not above.span.is_error:
                break
            path.append(above)
        top = path[-1] if path else node
        kind, message = exception_of(node)
        origins.append(ErrorOrigin(node, kind, message, path, top.parent is None))
    return sorted(origins, key=lambda o: (not o.reaches_root, o.node.end_ns))


def exception_of(node: Node) -> tuple[str, str]:
    """Type and message of what a span's last exception says, else of its status."""
    for event in reversed(node.span.events):
        if event.name == "exception":
            kind = event.attributes.get("exception.type")
            message = event.attributes.get("exception.message")
            return _text(kind), _text(message) or node.span.status_message
    kind = node.span.attributes.get("error.type")
    return _text(kind), node.span.status_message


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
