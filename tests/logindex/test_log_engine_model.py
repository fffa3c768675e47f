"""The log engine against a list, through writes, flushes, merges, restarts and crashes."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from obsd.api.log_entry import log_entry
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.logindex.reader import Weight
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.log_predicate import (
    And,
    Compare,
    Equals,
    Everything,
    Exists,
    Not,
    Or,
    Phrase,
    Predicate,
    Prefix,
    Range,
    Regex,
    Substring,
    Token,
    Wildcard,
)
from obsd.model.log_record import LogRecord
from tests.logindex.matching import body_text, field_value, group_text, matches, number
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, request, write

HOUR_NS = 3_600_000_000_000
OPTIONS = LogOptions(retention_ms=None, granule_rows=7, merge_run=3)
EVER = (-(1 << 62), 1 << 62)

# Few words, fields and times, so that they meet; days on both sides of midnight.
words = st.sampled_from(["get", "GET", "a1", "7", "77", "Été", "x_9", "user", "8f"])
separators = st.sampled_from([" ", ".", "=", "/", " \x11", '"', "\n"])
texts = st.lists(st.tuples(words, separators), max_size=6).map(
    lambda pairs: "".join(word + separator for word, separator in pairs)
)
leaves = st.one_of(
    texts,
    st.sampled_from(["", "7", "7.0", "true"]),
    st.sampled_from([0, 7, -7, 77, 2**53 + 1, -(2**63), 2**63 - 1]),
    st.sampled_from([7.0, 7.5, -7.0, 1e300, float("inf")]),
    st.booleans(),
    st.binary(max_size=3),
    st.none(),
)
values = st.one_of(
    leaves,
    st.lists(leaves, max_size=3),
    st.dictionaries(st.sampled_from(["a", "b", "c.d"]), leaves, max_size=2),
)
keys = st.sampled_from(["a", "a.b", "b", "c", "service.name"])
# A body that is a map or list is searched as JSON, whose doubles and bytes are not Python's.
plain = st.one_of(texts, st.sampled_from([0, 7, -7]), st.booleans(), st.none())
bodies = st.one_of(
    texts,
    leaves,
    st.lists(plain, max_size=3),
    st.dictionaries(st.sampled_from(["a", "b", "c.d"]), plain, max_size=2),
)


@st.composite
def a_record(draw: st.DrawFn) -> LogRecord:
    service = draw(st.sampled_from(["", "api", "Web-1"]))
    return record(
        draw(bodies),
        NOW_NS - draw(st.integers(0, 60)) * HOUR_NS,
        severity_number=draw(st.sampled_from([0, 1, 9, 17, 24])),
        severity_text=draw(st.sampled_from(["", "INFO", "err", "odd"])),
        service=service,
        trace_id=draw(st.sampled_from(["", "0af7" * 8])),
        span_id=draw(st.sampled_from(["", "8f" * 8])),
        resource=draw(st.dictionaries(st.sampled_from(["host", "b"]), leaves, max_size=2)),
        attributes=draw(
            st.dictionaries(keys.filter(lambda k: k != "service.name"), values, max_size=3)
        ),
    )


prose = st.sampled_from([None, "body"])
named = st.sampled_from(
    ["service", "trace_id", "span_id", "a", "a.b", "b", "c.d", "body.a", "host"]
)
fields = st.one_of(prose, named)
lowered = words.map(str.lower)
parts = st.one_of(lowered, texts.map(str.lower), st.sampled_from(["e", "7", " ", "a1 "]))
bounds = st.sampled_from([7, 7.0, -7, 7.5, 2**53 + 1, "g", "user"])
ops = st.sampled_from(["<", "<=", ">", ">="])
times = st.integers(0, 60).map(lambda hours: NOW_NS - hours * HOUR_NS)
tests = st.one_of(
    st.builds(Token, fields, lowered),
    st.builds(Phrase, fields, st.lists(lowered, min_size=1, max_size=3).map(tuple)),
    st.builds(Substring, fields, parts),
    st.builds(Prefix, fields, lowered),
    st.builds(Wildcard, fields, st.sampled_from(["*7", "g?t", "*", "a*1", "\\*"])),
    st.builds(Regex, fields, st.sampled_from(["[A-Z]+", "7+", "^get.", "r$"])),
    st.builds(Equals, named, st.sampled_from(["7", "7.0", "api", "true", "get", "-7", "web-1"])),
    st.builds(Equals, st.just("level"), st.sampled_from(["info", "error", "fatal"])),
    st.builds(Compare, named, ops, bounds),
    st.builds(Compare, st.just("time"), ops, times),
    st.builds(Range, named, bounds, bounds, st.booleans(), st.booleans()),
    st.builds(Exists, st.one_of(named, st.sampled_from(["level", "time", "body"]))),
)
predicates: st.SearchStrategy[Predicate] = st.recursive(
    st.one_of(st.just(Everything()), tests),
    lambda inner: st.one_of(
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=4,
)


def in_json(records: list[LogRecord]) -> object:
    """The records as the product's API shows them."""
    return json.loads(msgspec.json.encode([log_entry(record) for record in records]))


WEIGHTS: tuple[Weight, ...] = ("records", "bytes")


class EngineAgainstList(RuleBasedStateMachine):
    """Nothing that was written is lost, changed or seen twice, and searches find what matches."""

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.generation = 0
        self.stored: list[LogRecord] = []
        self.identities: set[bytes] = set()
        self.engine = self.open()

    def open(self) -> LogEngine:
        return LogEngine.open(self.root / str(self.generation), OPTIONS, ManualClock(NOW_MS))

    @rule(written=st.lists(a_record(), max_size=10))
    def write(self, written: list[LogRecord]) -> None:
        outcome = write(self.engine, written)
        assert outcome.accepted == len(written)
        assert not outcome.rejected
        for item in written:
            identity = request([item])  # To Python, 7 and 7.0 are equal.
            if identity not in self.identities:
                self.identities.add(identity)
                self.stored.append(item)

    @rule()
    def flush(self) -> None:
        self.engine.flush()

    @rule()
    def merge_one(self) -> None:
        self.engine.compact()

    @rule()
    def settle(self) -> None:
        self.engine.settle()

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = self.open()

    @rule()
    def crash(self) -> None:
        """What is on disk now is all that the next start sees."""
        before = self.root / str(self.generation)
        self.generation += 1
        shutil.copytree(before, self.root / str(self.generation))
        self.engine.close()
        shutil.rmtree(before)
        self.engine = self.open()

    def newest_first(self) -> list[LogRecord]:
        numbered = enumerate(self.stored)
        ordered = sorted(numbered, key=lambda item: (-item[1].time_ns, -item[0]))
        return [item for _, item in ordered]

    @invariant()
    def everything_is_there_once(self) -> None:
        if not hasattr(self, "engine"):
            return
        page = self.engine.search(Everything(), *EVER, 1000, None, QueryBudget())
        assert (page.records, page.total) == (self.newest_first(), len(self.stored))
        assert page.next_cursor is None

    @rule(predicate=predicates, start=times, hours=st.integers(1, 60), limit=st.integers(1, 5))
    def search(self, predicate: Predicate, start: int, hours: int, limit: int) -> None:
        end = start + hours * HOUR_NS
        wanted = [
            item
            for item in self.newest_first()
            if start <= item.time_ns < end and matches(predicate, item)
        ]
        found: list[LogRecord] = []
        cursor = None
        while True:
            asked = (predicate, start, end, limit, cursor)
            page = self.engine.search(*asked, QueryBudget())
            assert page.total == len(wanted)
            entries = self.engine.search_entries(*asked, QueryBudget())
            assert (entries.total, entries.next_cursor) == (page.total, page.next_cursor)
            assert json.loads(entries.entries) == in_json(page.records)
            found += page.records
            cursor = page.next_cursor
            if cursor is None:
                break
            assert len(page.records) == limit
        assert found == wanted

    @rule(
        predicate=predicates,
        start=times,
        hours=st.integers(1, 60),
        by=st.lists(st.one_of(named, st.sampled_from(["level", "body"])), max_size=3),
        weight=st.sampled_from(WEIGHTS),
    )
    def count(
        self, predicate: Predicate, start: int, hours: int, by: list[str], weight: Weight
    ) -> None:
        end, step = start + hours * HOUR_NS, 7 * HOUR_NS
        groups = self.engine.count_over_time(predicate, start, end, step, by, QueryBudget(), weight)
        steps = -(-hours // 7)
        expected: dict[tuple[str, ...], list[int]] = {} if by else {(): [0] * steps}
        for item in self.stored:
            if start <= item.time_ns < end and matches(predicate, item):
                of_item = tuple(group_text(item, field) for field in by)
                counts = expected.setdefault(of_item, [0] * steps)
                size = len((body_text(item.body) or "").encode())
                counts[(item.time_ns - start) // step] += 1 if weight == "records" else size
        assert [(group, counts.tolist()) for group, counts in groups] == sorted(expected.items())

    @rule(
        predicate=predicates,
        start=times,
        hours=st.integers(1, 60),
        field=st.one_of(named, st.sampled_from(["level", "body"])),
        by=st.lists(named, max_size=2),
    )
    def statistics(
        self, predicate: Predicate, start: int, hours: int, field: str, by: list[str]
    ) -> None:
        end, step = start + hours * HOUR_NS, 7 * HOUR_NS
        asked = (predicate, field, start, end, step, by, (0.0, 0.5, 1.0))
        expected: dict[tuple[str, ...], dict[int, list[str]]] = {}
        for item in self.stored:
            own = item.body if field == "body" else field_value(item, field)
            if start <= item.time_ns < end and matches(predicate, item) and own is not None:
                group = tuple(group_text(item, name) for name in by)
                steps = expected.setdefault(group, {})
                steps.setdefault((item.time_ns - start) // step, []).append(group_text(item, field))
        found = dict(self.engine.field_statistics(*asked, QueryBudget()))
        assert {group: set(steps) for group, steps in found.items()} == {
            group: set(steps) for group, steps in expected.items()
        }
        for group, steps in expected.items():
            for at, texts in steps.items():
                cell = found[group][at]
                numbers = sorted(float(n) for text in texts if (n := number(text)) is not None)
                assert (cell.records, cell.unique) == (len(texts), len(set(texts)))
                assert (cell.unique_exact, cell.quantiles_exact) == (True, True)
                assert cell.numbers == len(numbers)
                if numbers:
                    middle = numbers[int(0.5 * (len(numbers) - 1) + 0.5)]
                    assert (cell.min, cell.max) == (numbers[0], numbers[-1])
                    assert cell.quantiles == (numbers[0], middle, numbers[-1])

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
            shutil.rmtree(self.root)


TestEngineAgainstList = EngineAgainstList.TestCase
TestEngineAgainstList.settings = settings(max_examples=40, stateful_step_count=25)
