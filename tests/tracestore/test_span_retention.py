"""Retention: every trace for a day, then those that tell most, then none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.span import StatusCode
from obsd.tracestore import filenames
from obsd.tracestore.engine import SpanEngine
from obsd.tracestore.options import SpanOptions
from tests.services.spans import NOW_MS, make_span
from tests.tracestore.spans_written import DAY_MS, DAY_NS, MS_NS, traces_of, write

MIDNIGHT_MS = NOW_MS // DAY_MS * DAY_MS
OPTIONS = SpanOptions(sampled_share=0.1, sampled_slowest=3, granule_spans=64, merge_run=2)
COUNT = 400
PINNED = 77

Open = Callable[[SpanOptions], SpanEngine]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(MIDNIGHT_MS + DAY_MS // 2)


@pytest.fixture
def open_engine(tmp_path: Path, clock: ManualClock) -> Iterator[Open]:
    engines: list[SpanEngine] = []

    def open_one(options: SpanOptions) -> SpanEngine:
        engines.append(SpanEngine.open(tmp_path / "traces", options, clock))
        engines[-1].pinned.append(lambda start_ns, end_ns: [PINNED.to_bytes(16, "big")])
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


def fill(engine: SpanEngine, numbers: range, at_ns: int = MIDNIGHT_MS * MS_NS) -> None:
    """Traces of two operations, each a little slower; every fiftieth with an error below."""
    spans = []
    for number in numbers:
        start_ns = at_ns + number * 1_000_000
        name = ("read", "write")[number % 2]
        times = {"start_ns": start_ns, "end_ns": start_ns + number + 10}
        trace = number << 64 | number * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        trace = PINNED if number == PINNED else trace
        spans.append(make_span(trace, 1, name=name, **times))
        status = StatusCode.ERROR if number % 50 == 0 else StatusCode.UNSET
        spans.append(make_span(trace, 2, parent_id=f"{1:016x}", status=status, **times))
    write(engine, spans)
    engine.flush()


def test_a_day_s_traces_are_sampled_when_all_are_old(
    open_engine: Open, clock: ManualClock, tmp_path: Path
) -> None:
    engine = open_engine(OPTIONS)
    fill(engine, range(1, COUNT // 2))
    fill(engine, range(COUNT // 2, COUNT + 1))
    assert engine.apply_retention() == 0
    clock.advance_ms(DAY_MS)
    engine.apply_retention()
    kept = {trace.start_ns // 1_000_000 - MIDNIGHT_MS: trace for trace in traces_of(engine)}
    assert {n for n in range(1, COUNT + 1) if n % 50 == 0} <= set(kept), "one with an error is gone"
    slowest = set(range(COUNT - 5, COUNT + 1))
    assert slowest <= set(kept), "one of the slowest is gone"
    assert PINNED in kept
    assert all(trace.spans == 2 for trace in kept.values()), "a trace is in pieces"
    by_chance = len(kept) - len(slowest) - COUNT // 50
    assert 15 <= by_chance <= 80, f"{by_chance} of {COUNT} are kept by chance, expected a tenth"
    stats = engine.stats()
    assert (stats.segments, stats.segment_spans) == (1, 2 * len(kept))
    assert stats.sampled_out == 2 * (COUNT - len(kept))
    # It is done with that day, after a restart too; and if not, the same stay.
    (before,) = (tmp_path / "traces" / "segments").glob("*.spans")
    engine.close()
    for forget in (False, True):
        if forget:
            (tmp_path / "traces" / filenames.SAMPLED).write_bytes(b"{")
        engine = open_engine(OPTIONS)
        assert engine.apply_retention() == int(forget)
        (after,) = (tmp_path / "traces" / "segments").glob("*.spans")
        assert (after == before) != forget
        assert len(traces_of(engine)) == len(kept)
        engine.close()
    listed = json.loads((tmp_path / "traces" / filenames.SAMPLED).read_bytes())
    assert listed == {"version": 1, "segments": [after.name]}


def test_the_other_traces_go_after_a_week(open_engine: Open, clock: ManualClock) -> None:
    engine = open_engine(OPTIONS)
    fill(engine, range(1, 100))
    clock.advance_ms(2 * DAY_MS)
    engine.apply_retention()
    assert 0 < len(traces_of(engine)) < 99
    clock.advance_ms(5 * DAY_MS)
    assert traces_of(engine) == []  # Hidden at once, removed when it is its turn.
    assert engine.apply_retention() == 1
    assert engine.stats().segments == 0
    outcome = write(engine, [make_span(1, 1, start_ns=MIDNIGHT_MS * MS_NS)])
    assert outcome.rejected == {"too_old": 1}


@pytest.mark.parametrize(
    "options",
    [
        SpanOptions(retention_ms=None),
        SpanOptions(retention_ms=30 * DAY_MS),
    ],
)
def test_what_is_kept_longer_than_samples_is_not_sampled(
    open_engine: Open, clock: ManualClock, options: SpanOptions
) -> None:
    engine = open_engine(options)
    fill(engine, range(1, 100))
    clock.advance_ms(29 * DAY_MS)
    assert engine.apply_retention() == 0
    assert len(traces_of(engine)) == 99
    clock.advance_ms(2 * DAY_MS)
    engine.apply_retention()
    assert len(traces_of(engine)) == (99 if options.retention_ms is None else 0)


def test_spans_that_come_late_join_a_sampled_day(open_engine: Open, clock: ManualClock) -> None:
    engine = open_engine(OPTIONS)
    fill(engine, range(1, COUNT))
    clock.advance_ms(2 * DAY_MS)
    engine.apply_retention()
    (slowest,) = (t for t in traces_of(engine) if t.start_ns == (MIDNIGHT_MS + COUNT - 1) * MS_NS)
    late = make_span(
        int(slowest.trace_id, 16), 3, start_ns=slowest.start_ns, end_ns=slowest.start_ns + 1
    )
    write(engine, [late])
    engine.flush()
    engine.apply_retention()
    assert engine.stats().segments == 1
    assert len(engine.trace(slowest.trace_id, QueryBudget())) == 3


def test_a_day_is_not_sampled_while_some_of_it_is_new(
    open_engine: Open, clock: ManualClock
) -> None:
    engine = open_engine(OPTIONS)
    fill(engine, range(1, 100))
    fill(engine, range(1000, 1100), MIDNIGHT_MS * MS_NS + DAY_NS * 9 // 20)
    clock.advance_ms(DAY_MS * 9 // 10)
    engine.apply_retention()
    assert len(traces_of(engine)) == 199
