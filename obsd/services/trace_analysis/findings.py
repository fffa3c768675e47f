"""What to fix: patterns of spans that cost time and need not.

Each finding names its spans and the time that it stands for. Thresholds are of one trace; what is
normal for an operation is the business of `bottlenecks`.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from obsd.services.trace_analysis.breakdown import covered_ns
from obsd.services.trace_analysis.critical_path import Section
from obsd.services.trace_analysis.tree import Node, TraceTree

MIN_REPEATED: Final = 5
"""Calls of one kind, one after the other, that look like a loop around a query."""

MIN_RETRIES: Final = 3
MIN_SEQUENTIAL: Final = 3
MIN_SHARE: Final = 0.1
"""Of the trace; what takes less is not worth a finding."""

_VARIABLE: Final = re.compile(
    r"'[^']{0,1000}'|\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\b|\b\d+(?:\.\d+)?\b"
)
_LISTS: Final = re.compile(r"\(\s*\?(?:\s*,\s*\?)*\s*\)")
_STATEMENTS: Final = ("db.query.text", "db.statement", "url.full", "http.url", "rpc.method")


class FindingKind(Enum):
    """What was found; the value is for people and programs."""

    REPEATED_CALLS = "n_plus_one"
    RETRIES = "retry_storm"
    SEQUENTIAL = "sequential_calls"
    GAP = "uncovered_gap"
    CLOCK_SKEW = "clock_skew"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        node: the span in which it happens.
        spans: those that take part, by start.
        cost_ns: the time that it takes, of which much could be saved.
        detail: a sentence that says what and what to do.
    """

    kind: FindingKind
    node: Node
    spans: list[Node]
    cost_ns: int
    detail: str


def find_all(tree: TraceTree, path: Sequence[Section]) -> list[Finding]:
    """Every finding of a trace, the dearest first."""
    main = tree.main
    if main is None:
        return []
    least_ns = max(1, int(main.duration_ns * MIN_SHARE))
    findings = [
        *(f for node in tree.nodes() for f in _of_children(node)),
        *_gaps(path, least_ns),
        *_skews(tree),
    ]
    worth = [f for f in findings if f.cost_ns >= least_ns or f.kind is FindingKind.CLOCK_SKEW]
    return sorted(worth, key=lambda f: (-f.cost_ns, f.node.start_ns))


def _of_children(node: Node) -> Iterator[Finding]:
    alike: defaultdict[tuple[str, str, str], list[Node]] = defaultdict(list)
    for child in node.children:
        alike[child.span.service, child.span.name, statement(child)].append(child)
    told: set[int] = set()
    for (service, name, _), calls in alike.items():
        if finding := _retries(node, calls) or _repeated(node, service, name, calls):
            told |= {id(call) for call in finding.spans}
            yield finding
    rest = [child for child in node.children if id(child) not in told]
    if finding := _sequential(node, rest):
        yield finding


def statement(node: Node) -> str:
    """What a call asks, without the values that differ from call to call."""
    attributes = node.span.attributes
    text = next((v for n in _STATEMENTS if isinstance(v := attributes.get(n), str)), "")
    return _LISTS.sub("(?)", _VARIABLE.sub("?", text[:10_000]))


def _retries(node: Node, calls: list[Node]) -> Finding | None:
    """The same call again and again because it failed."""
    failed = [call for call in calls if call.span.is_error]
    # All but the last: a call that went well is not repeated for its failure.
    if len(failed) < max(MIN_RETRIES, len(calls) - 1) or not _in_sequence(calls):
        return None
    name = calls[0].span.name
    cost_ns = covered_ns((call.start_ns, call.end_ns) for call in calls)
    outcome = "never succeeded" if calls[-1].span.is_error else "succeeded at last"
    detail = (
        f"{name} failed {len(failed)} times in a row and {outcome}; back off, bound the retries,"
        " or fail early"
    )
    return Finding(FindingKind.RETRIES, node, calls, cost_ns, detail)


def _repeated(node: Node, service: str, name: str, calls: list[Node]) -> Finding | None:
    if len(calls) < MIN_REPEATED or not _in_sequence(calls):
        return None
    cost_ns = covered_ns((call.start_ns, call.end_ns) for call in calls)
    detail = (
        f"{name} ({service or 'unknown service'}) is called {len(calls)} times, one after the"
        " other; ask for all at once"
    )
    return Finding(FindingKind.REPEATED_CALLS, node, calls, cost_ns, detail)


def _in_sequence(calls: Sequence[Node]) -> bool:
    """Whether most of them begin after the one before has ended."""
    after = sum(a.end_ns <= b.start_ns for a, b in itertools.pairwise(calls))
    return after >= 0.8 * (len(calls) - 1)


def _sequential(node: Node, calls: list[Node]) -> Finding | None:
    """Calls to different places, one after the other, that could go side by side.

    Whether one needs the answer of another is nothing that spans tell: a finding is a question.
    """
    runs: list[list[Node]] = []
    for call in calls:
        if runs and runs[-1][-1].end_ns <= call.start_ns:
            runs[-1].append(call)
        else:
            runs.append([call])
    run = max(runs, key=len, default=[])
    places = {(call.span.service, call.span.name) for call in run}
    if len(run) < MIN_SEQUENTIAL or len(places) < MIN_SEQUENTIAL:
        return None
    saved_ns = sum(call.duration_ns for call in run) - max(call.duration_ns for call in run)
    detail = (
        f"{len(run)} calls run one after the other; if they do not need each other's answers, side"
        f" by side they would save up to {saved_ns / 1e6:.1f} ms"
    )
    return Finding(FindingKind.SEQUENTIAL, node, run, saved_ns, detail)


def _gaps(path: Sequence[Section], least_ns: int) -> Iterator[Finding]:
    """Long stretches of the critical path in a span that has children, but none there."""
    for section in path:
        if section.node.children and section.duration_ns >= least_ns:
            detail = (
                f"{section.node.span.name} spends {section.duration_ns / 1e6:.1f} ms in which none"
                " of its spans run; there may be work without instrumentation"
            )
            yield Finding(
                FindingKind.GAP, section.node, [section.node], section.duration_ns, detail
            )


def _skews(tree: TraceTree) -> Iterator[Finding]:
    for node in tree.nodes():
        parent = node.parent
        if node.skew_ns and (parent is None or parent.skew_ns != node.skew_ns):
            detail = (
                f"the clock of {node.span.service} is off by {-node.skew_ns / 1e6:.1f} ms against"
                f" that of {parent.span.service if parent else 'its caller'}; times are corrected"
            )
            yield Finding(FindingKind.CLOCK_SKEW, node, [node], abs(node.skew_ns), detail)
