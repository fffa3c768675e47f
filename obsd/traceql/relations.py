"""Relations between spans of a trace: which of the right side's spans have what on the left.

`>>` of `{ a } >> { b }` takes the spans b that are below some a. Those with `!` take the spans of
the right side that have none, and those with `&` take the spans of both sides that are related. A
span is no relative of itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from typing import Final

from obsd.traceql.trace import NO_PARENT, Trace

Relation = Callable[[Trace, Set[int], Set[int]], Set[int]]


def _children(trace: Trace, left: Set[int], right: Set[int]) -> Set[int]:
    return {at for at in right if trace.parents[at] in left}


def _parents(trace: Trace, left: Set[int], right: Set[int]) -> Set[int]:
    above = {trace.parents[at] for at in left}
    return right & above


def _descendants(trace: Trace, left: Set[int], right: Set[int]) -> Set[int]:
    below: set[int] = set()
    for at in trace.downwards:
        parent = trace.parents[at]
        if parent != NO_PARENT and (parent in left or parent in below):
            below.add(at)
    return right & below


def _ancestors(trace: Trace, left: Set[int], right: Set[int]) -> Set[int]:
    above: set[int] = set()
    for at in reversed(trace.downwards):
        parent = trace.parents[at]
        if parent != NO_PARENT and (at in left or at in above):
            above.add(parent)
    return right & above


def _siblings(trace: Trace, left: Set[int], right: Set[int]) -> Set[int]:
    families = Counter(_family(trace, at) for at in left)
    return {at for at in right if families[_family(trace, at)] > (at in left)}


def _family(trace: Trace, at: int) -> int | str:
    """What siblings share: their parent, or its id if it has not come; roots have none."""
    parent = trace.parents[at]
    return trace.spans[at].parent_id if parent == NO_PARENT else parent


def _none_of(relation: Relation) -> Relation:
    return lambda trace, left, right: right - relation(trace, left, right)


def _both_of(relation: Relation, inverse: Relation) -> Relation:
    return lambda trace, left, right: relation(trace, left, right) | inverse(trace, right, left)


_PLAIN: Final[dict[str, Relation]] = {
    ">": _children,
    "<": _parents,
    ">>": _descendants,
    "<<": _ancestors,
    "~": _siblings,
}
_INVERSE: Final = {">": "<", "<": ">", ">>": "<<", "<<": ">>", "~": "~"}
RELATIONS: Final[dict[str, Relation]] = {
    **_PLAIN,
    **{f"!{op}": _none_of(relation) for op, relation in _PLAIN.items()},
    **{f"&{op}": _both_of(relation, _PLAIN[_INVERSE[op]]) for op, relation in _PLAIN.items()},
}
