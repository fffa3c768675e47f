"""The span engine against a list, through writes, flushes, merges, deletions and crashes."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from obsd.model.budget import QueryBudget
from obsd.model.span import Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode, TraceSummary
from obsd.model.span_predicate import (
    AllOf,
    AllSpans,
    AnyOf,
    CompareField,
    Constant,
    Field,
    HasField,
    NotSpan,
    SpanPredicate,
)
from obsd.services.span_store import TraceOrder, TraceSearch
from obsd.tracestore.engine import SpanEngine
from tests.oracles.otlp_spans import decode
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_NS
from tests.tracestore.spans_written import RANKS, every_page, open_engine, write

HOUR_NS = 3_600_000_000_000
TRACES = [f"{number:032x}" for number in (1, 2, 3, 255, 1 << 127)]
SPANS = [f"{number:016x}" for number in (1, 2, 3, 1 << 63)]

# Few words and values, so that they meet.
texts = st.sampled_from(["", "get", "GET", "a.b", "7", "Été", "user-77"])
leaves = st.one_of(
    texts,
    st.sampled_from([0, 7, -7, 2**53 + 1, -(2**63), 2**63 - 1]),
    st.sampled_from([7.0, 7.5, -0.5, 1e300, float("inf")]),
    st.booleans(),
    st.binary(max_size=2),
    st.none(),
)
values = st.one_of(
    leaves,
    st.lists(leaves, max_size=3),
    st.dictionaries(st.sampled_from(["a", "b"]), leaves, max_size=2),
)
keys = st.sampled_from(["a", "a.b", "b", "c"])
attributes = st.dictionaries(keys, values, max_size=3)
counts = st.sampled_from([0, 0, 1, 300])


@st.composite
def a_span(draw: st.DrawFn) -> Span:
    trace = draw(st.integers(0, len(TRACES) - 1))
    service = draw(st.sampled_from(["", "api", "web", "db"]))
    # The spans of one trace start on one day: segments of a day are merged with each other.
    start_ns = NOW_NS - trace * 10 * HOUR_NS + draw(st.integers(-5, 5)) * 1_000_000
    resource = draw(st.dictionaries(st.sampled_from(["host", "b"]), leaves, max_size=2))
    events = st.builds(
        SpanEvent, st.just(start_ns), st.sampled_from(["", "exception", "e"]), attributes, counts
    )
    links = st.builds(
        SpanLink,
        st.sampled_from(TRACES),
        st.sampled_from(SPANS),
        st.sampled_from(["", "k=v"]),
        attributes,
        counts,
        counts,
    )
    return Span(
        trace_id=TRACES[trace],
        span_id=draw(st.sampled_from(SPANS)),
        parent_id=draw(st.sampled_from(["", *SPANS])),
        name=draw(st.sampled_from(["", "GET /", "SELECT", "a"])),
        kind=draw(st.sampled_from(SpanKind)),
        start_ns=start_ns,
        end_ns=start_ns + draw(st.sampled_from([0, 1, 1_000_000, 5_000_000_000])),
        service=service,
        status=draw(st.sampled_from(StatusCode)),
        status_message=draw(st.sampled_from(["", "down"])),
        attributes=draw(attributes),
        resource={**({"service.name": service} if service else {}), **resource},
        scope=draw(
            st.builds(
                Scope,
                st.sampled_from(["", "http"]),
                st.sampled_from(["", "1"]),
                attributes,
                counts,
                st.sampled_from(["", "https://s"]),
            )
        ),
        events=tuple(draw(st.lists(events, max_size=2))),
        links=tuple(draw(st.lists(links, max_size=2))),
        trace_state=draw(st.sampled_from(["", "a=b"])),
        flags=draw(st.sampled_from([0, 1, 257])),
        dropped_attributes=draw(counts),
        dropped_events=draw(counts),
        dropped_links=draw(counts),
        resource_schema_url=draw(st.sampled_from(["", "https://r"])),
    )


INTRINSIC = [
    "name",
    "service",
    "kind",
    "status",
    "status_message",
    "duration",
    "start",
    "trace_id",
    "span_id",
    "parent_id",
    "scope.name",
    "scope.version",
    "event.name",
    "link.trace_id",
    "link.span_id",
]
fields = st.one_of(
    st.builds(Field, st.sampled_from(["span", "resource", "scope", "event", "link", "any"]), keys),
    st.builds(Field, st.just("resource"), st.sampled_from(["host", "service.name"])),
    st.builds(Field, st.just("intrinsic"), st.sampled_from(INTRINSIC)),
)
constants = st.one_of(
    texts,
    st.sampled_from(["GET /", "api", "exception", TRACES[0], SPANS[1]]),
    st.sampled_from([0, 1, 2, 7, -7, 1_000_000, 2**53 + 1, NOW_NS]),
    st.sampled_from([7.0, 7.5, float("inf")]),
    st.booleans(),
)
tests = st.one_of(
    st.builds(CompareField, fields, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), constants),
    st.builds(
        CompareField,
        fields,
        st.sampled_from(["=~", "!~"]),
        st.sampled_from(["[A-Z]+", "a.*", "", "get|GET /", ".*7"]),
    ),
    st.builds(HasField, fields),
)
predicates: st.SearchStrategy[SpanPredicate] = st.recursive(
    st.one_of(st.just(AllSpans()), tests, tests),
    lambda inner: st.one_of(
        st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(NotSpan, inner),
    ),
    max_leaves=4,
)
starts = st.integers(-5, 5).map(lambda ms: NOW_NS + ms * 1_000_000)
hours = st.integers(0, 60).map(lambda number: NOW_NS - number * HOUR_NS)


def exact(value: object) -> object:
    """What tells values apart that are the same to Python: 7, 7.0 and True. Maps have no order."""
    match value:
        case dict():
            return sorted((key, str(exact(item))) for key, item in value.items())
        case list() | tuple():
            return [exact(item) for item in value]
        case SpanEvent() | SpanLink() | Scope() | Span():
            return [exact(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return repr(value)


def in_order(spans: Iterable[Span]) -> list[str]:
    return [str(exact(span)) for span in spans]


def exactly(spans: Iterable[Span]) -> list[str]:
    """Spans in an order of their own."""
    return sorted(in_order(spans))


def typed(value: Constant) -> tuple[str, Constant]:
    return type(value).__name__, value


class EngineAgainstList(RuleBasedStateMachine):
    """Nothing that was written is lost, changed or seen twice, and searches find what matches."""

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.generation = 0
        self.model = MemorySpans(NOW_NS)
        self.pending: set[str] = set()  # Traces that are deleted, and not erased yet.
        self.engine = self.open()

    def open(self) -> SpanEngine:
        return open_engine(self.root / str(self.generation))

    @rule(written=st.lists(a_span(), max_size=12))
    def write(self, written: list[Span]) -> None:
        # What comes of a deleted trace before it is erased is deleted, too.
        kept = [span for span in written if span.trace_id not in self.pending]
        outcome = write(self.engine, kept)
        assert (outcome.accepted, outcome.rejected) == (len(kept), {})
        if kept:
            self.model.add(kept)

    @rule()
    def flush(self) -> None:
        self.engine.flush()
        self.model.flush()

    @rule()
    def merge_one(self) -> None:
        if self.engine.compact() and self.pending:
            self.erased()

    @rule()
    def settle(self) -> None:
        self.engine.settle()
        self.model.flush()
        self.pending.clear()

    def erased(self) -> None:
        self.pending.clear()
        self.model.flush()

    @rule(predicate=predicates, start=hours, length=st.integers(1, 60))
    def delete(self, predicate: SpanPredicate, start: int, length: int) -> None:
        end = start + length * HOUR_NS
        doomed = {span.trace_id for span in self.model._found(predicate, start, end)}
        wanted = sum(span.trace_id in doomed for span in self.model.kept)
        assert self.engine.count_deletable(predicate, start, end, QueryBudget()) == wanted
        deletion = self.engine.delete(predicate, start, end, QueryBudget())
        assert deletion.matched == wanted
        self.model.delete(predicate, start, end, QueryBudget())
        self.pending |= doomed

    @rule()
    def erase(self) -> None:
        if self.engine.erase():
            self.erased()
        assert all(each.done_ms is not None for each in self.engine.deletions())

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = self.open()
        self.model.flush()

    @rule()
    def crash(self) -> None:
        """What is on disk now is all that the next start sees."""
        before = self.root / str(self.generation)
        self.generation += 1
        shutil.copytree(before, self.root / str(self.generation))
        self.engine.close()
        shutil.rmtree(before)
        self.engine = self.open()

    @invariant()
    def every_trace_is_there_once(self) -> None:
        if not hasattr(self, "engine"):
            return
        for trace_id in TRACES:
            found = self.engine.trace(trace_id, QueryBudget())
            wanted = self.model.trace(trace_id, QueryBudget())
            assert exactly(found) == exactly(wanted)
            assert [s.start_ns for s in found] == [s.start_ns for s in wanted]
        assert self.engine.last_row() == self.model.last_row()

    @rule(predicate=predicates, after=st.integers(-1, 20), limit=st.integers(1, 50))
    def follow(self, predicate: SpanPredicate, after: int, limit: int) -> None:
        # Who follows may or may not be shown what is deleted.
        found, last = self.engine.arrived(after, 1000, predicate, QueryBudget())
        wanted, through = self.model.arrived(after, 1000, predicate, QueryBudget())
        gone = {span.trace_id for span in self.model.arrivals} - {
            span.trace_id for span in self.model.kept
        }
        shown = [span for span in found if span.trace_id not in gone]
        if not self.model.gone:
            assert in_order(shown) == in_order(wanted)
        assert last == through
        first, at = self.engine.arrived(after, limit, predicate, QueryBudget())
        assert in_order(first) == in_order(found[:limit])
        rest, _ = self.engine.arrived(at, 1000, predicate, QueryBudget())
        assert in_order(rest) == in_order(found[limit:])

    @rule(
        predicate=predicates,
        start=hours,
        length=st.integers(1, 60),
        limit=st.integers(1, 4),
        order=st.sampled_from(TraceOrder),
        least=st.sampled_from([None, None, 1, 2_000_000]),
        most=st.sampled_from([None, None, 2_000_000, 6_000_000_000]),
    )
    def search(
        self,
        predicate: SpanPredicate,
        start: int,
        length: int,
        limit: int,
        order: TraceOrder,
        least: int | None,
        most: int | None,
    ) -> None:
        end = start + length * HOUR_NS
        search = TraceSearch(predicate, start, end, limit, order, least, most)
        found = every_page(self.engine, search)
        all_of_it = TraceSearch(predicate, start, end, 1000, order, least, most)
        wanted = self.model.search(all_of_it, QueryBudget()).traces
        ranks = [RANKS[order](trace) for trace in found]
        assert ranks == sorted(ranks, reverse=True)
        assert sorted(map(repr, map(plain, found))) == sorted(map(repr, map(plain, wanted)))

    @rule(
        predicate=predicates,
        start=starts,
        length=st.integers(1, 8_000_000),
        limit=st.integers(1, 40),
    )
    def spans(self, predicate: SpanPredicate, start: int, length: int, limit: int) -> None:
        asked = (predicate, start, start + length)
        found = self.engine.spans(*asked, limit, QueryBudget())
        wanted = self.model.spans(*asked, 1000, QueryBudget())
        assert [s.start_ns for s in found] == [s.start_ns for s in wanted[:limit]]
        assert not Counter(exactly(found)) - Counter(exactly(wanted))

    @rule(predicate=predicates, of=st.lists(fields, max_size=3), start=hours)
    def scan(self, predicate: SpanPredicate, of: list[Field], start: int) -> None:
        asked = (predicate, of, start, start + 30 * HOUR_NS, QueryBudget())
        found, wanted = (
            Counter(
                (
                    int(turn.start_ns[at]),
                    int(turn.duration_ns[at]),
                    *(
                        None if code[at] < 0 else typed(known[code[at]])
                        for code, known in zip(turn.codes, turn.values, strict=True)
                    ),
                    turn.trace_ids[at],
                )
                for turn in store.scan(*asked, trace_ids=True)
                if turn.trace_ids is not None
                for at in range(len(turn.start_ns))
            )
            for store in (self.engine, self.model)
        )
        assert found == wanted

    @rule(start=hours, length=st.integers(1, 60))
    def names(self, start: int, length: int) -> None:
        span = (start, start + length * HOUR_NS)
        assert self.engine.services(*span, QueryBudget()) == self.model.services(
            *span, QueryBudget()
        )
        for service in ("api", "db", "none"):
            assert self.engine.operations(service, *span, QueryBudget()) == self.model.operations(
                service, *span, QueryBudget()
            )
        if not self.pending:
            found = self.engine.field_names(*span, 1000, QueryBudget())
            assert set(found) == set(self.model.field_names(*span, 1000, QueryBudget()))

    @rule(field=fields, predicate=predicates, start=hours, limit=st.integers(1, 3))
    def field_values(self, field: Field, predicate: SpanPredicate, start: int, limit: int) -> None:
        asked = (field, predicate, start, start + 30 * HOUR_NS)
        wanted = {
            typed(value): count
            for value, count in self.model.field_values(*asked, 1000, QueryBudget())
        }
        found = self.engine.field_values(*asked, 1000, QueryBudget())
        assert {typed(value): count for value, count in found} == wanted
        assert [count for _, count in found] == sorted(wanted.values(), reverse=True)
        first = self.engine.field_values(*asked, limit, QueryBudget())
        assert [count for _, count in first] == [count for _, count in found[:limit]]

    @rule()
    def export(self) -> None:
        for trace_id in TRACES:
            packed = self.engine.otlp(trace_id, QueryBudget())
            found = [] if packed is None else decode(packed).spans
            assert exactly(found) == exactly(self.model.trace(trace_id, QueryBudget()))

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
            shutil.rmtree(self.root)


def plain(trace: TraceSummary) -> object:
    """A summary without what is not told: which of several roots or first spans is shown."""
    services = sorted(trace.services.items())
    return (
        trace.trace_id,
        trace.start_ns,
        trace.duration_ns,
        trace.spans,
        trace.errors,
        services,
    )


TestEngineAgainstList = EngineAgainstList.TestCase
TestEngineAgainstList.settings = settings(max_examples=40, stateful_step_count=25)
