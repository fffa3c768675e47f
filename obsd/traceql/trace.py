"""A whole trace, as a query looks at it: its spans by start, and who called whom.

Spans are numbered by their place. A span whose parent has not come begins a tree of its own; so
does one whose ancestors go in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

from obsd.model.span import ServiceSpans, Span, SpanKind, TraceSummary

NO_PARENT: Final = -1


class Trace:
    """The spans of one trace, at least one; they must not change."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans: Final = spans

    @cached_property
    def parents(self) -> list[int]:
        """The place of each span's parent, or -1."""
        places: dict[str, list[int]] = {}
        for at, span in enumerate(self.spans):
            places.setdefault(span.span_id, []).append(at)
        found = [
            _parent(self.spans, at, places.get(span.parent_id, ()))
            for at, span in enumerate(self.spans)
        ]
        return _without_circles(found)

    @cached_property
    def children(self) -> list[list[int]]:
        """The places of each span's children, by start."""
        children: list[list[int]] = [[] for _ in self.spans]
        for at, parent in enumerate(self.parents):
            if parent != NO_PARENT:
                children[parent].append(at)
        return children

    @cached_property
    def downwards(self) -> list[int]:
        """All places, a parent before its children."""
        order = [at for at, parent in enumerate(self.parents) if parent == NO_PARENT]
        for at in order:  # It grows while it is read.
            order += self.children[at]
        return order

    @cached_property
    def root(self) -> int:
        """The place of the root, or where that has not come, of the earliest span."""
        return next((at for at, span in enumerate(self.spans) if not span.parent_id), 0)

    @cached_property
    def end_ns(self) -> int:
        return max(span.end_ns for span in self.spans)

    @cached_property
    def duration_ns(self) -> int:
        return self.end_ns - self.spans[0].start_ns

    @cached_property
    def nested_sets(self) -> list[tuple[int, int]]:
        """Where a walk over the trees of the roots enters and leaves each span; (0, 0) elsewhere.

        A span is below another one if its numbers are between that one's.
        """
        numbers = [(0, 0)] * len(self.spans)
        bound = 1
        for root, span in enumerate(self.spans):
            if span.parent_id:
                continue
            walk = [(root, False)]
            while walk:
                at, left = walk.pop()
                if left:
                    numbers[at] = (numbers[at][0], bound)
                else:
                    numbers[at] = (bound, 0)
                    walk.append((at, True))
                    walk += [(child, False) for child in reversed(self.children[at])]
                bound += 1
        return numbers

    def nested_parent(self, at: int) -> int:
        """The parent's left number: -1 of a root, and 0 where it is not known."""
        if not self.spans[at].parent_id:
            return -1
        parent = self.parents[at]
        return 0 if parent == NO_PARENT else self.nested_sets[parent][0]

    def summary(self) -> TraceSummary:
        """What a list of traces shows of it."""
        services: dict[str, ServiceSpans] = {}
        for span in self.spans:
            so_far = services.get(span.service, ServiceSpans(0, 0))
            errors = so_far.errors + span.is_error
            services[span.service] = ServiceSpans(so_far.spans + 1, errors)
        root = self.spans[self.root]
        return TraceSummary(
            trace_id=root.trace_id,
            root_service=root.service,
            root_name=root.name,
            start_ns=self.spans[0].start_ns,
            duration_ns=self.duration_ns,
            spans=len(self.spans),
            errors=sum(each.errors for each in services.values()),
            services=services,
        )


def _parent(spans: Sequence[Span], at: int, candidates: Sequence[int]) -> int:
    """Of two spans of one id, as Zipkin has them of a call, the one that fits the child's kind."""
    wanted = SpanKind.CLIENT if spans[at].kind is SpanKind.SERVER else SpanKind.SERVER
    others = [candidate for candidate in candidates if candidate != at]
    if not spans[at].parent_id or not others:
        return NO_PARENT
    return next((each for each in others if spans[each].kind is wanted), others[0])


def _without_circles(parents: list[int]) -> list[int]:
    """The parents, but for spans that are above themselves."""
    state = [0] * len(parents)  # 0: not seen; 1: on the way; 2: leads to a top.
    result = list(parents)
    for first in range(len(parents)):
        way = []
        at = first
        while at != NO_PARENT and state[at] == 0:
            state[at] = 1
            way.append(at)
            at = result[at]
        if at != NO_PARENT and state[at] == 1:
            result[at] = NO_PARENT
        for each in way:
            state[each] = 2
    return result
