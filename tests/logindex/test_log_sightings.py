"""Records by kind add up to all of them, and each kind has the newest of its own."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.log_predicate import Everything, Token
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, write

HOUR_NS = 3_600_000_000_000
OPTIONS = LogOptions(retention_ms=None, granule_rows=7, merge_run=2)

BODIES = st.sampled_from(["user {} is gone", "disk {} of x{} is full", "no digits", "5{} apples"])
RECORDS = st.lists(st.tuples(BODIES, st.integers(0, 99), st.integers(0, 3)), max_size=30)


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(RECORDS, max_size=4), settle=st.booleans(), cut=st.integers(-1, 60))
def test_kinds_add_up(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[tuple[str, int, int]]],
    settle: bool,
    cut: int,
) -> None:
    engine = LogEngine.open(tmp_path_factory.mktemp("kinds"), OPTIONS, ManualClock(NOW_MS))
    wanted: list[tuple[str, str, int]] = []
    for batch in batches:
        made = []
        for text, number, hours in batch:
            time_ns = NOW_NS - hours * HOUR_NS - len(wanted)
            body = text.format(number, number)
            wanted.append((text, body, time_ns))
            made.append(record(body, time_ns))
        if made:
            write(engine, made)
        if settle:
            engine.settle()
    after = min(cut, len(wanted) - 1)
    found = engine.sightings(
        after, engine.last_row(), Everything(), [], ["body"], HOUR_NS, QueryBudget()
    )
    texts = {body: text for text, body, _ in wanted}
    counted: Counter[tuple[str, int]] = Counter()
    for each in found:
        assert each.first_ns <= each.last_ns == each.sample.time_ns
        assert each.step_ns == each.last_ns // HOUR_NS * HOUR_NS
        counted[texts[str(each.sample.body)], each.step_ns] += each.count
    assert counted == Counter(
        (text, time_ns // HOUR_NS * HOUR_NS) for text, _, time_ns in wanted[after + 1 :]
    )
    assert len(found) <= max(1, len(wanted))
    engine.close()


def test_only_what_matches_is_told_by_the_texts_of_fields(tmp_path) -> None:
    engine = LogEngine.open(tmp_path, OPTIONS, ManualClock(NOW_MS))
    bodies = ["refused 1", "refused 2", "taken 3"]
    write(
        engine,
        [
            record(text, NOW_NS + n, attributes={"user": f"u{n % 2}"})
            for n, text in enumerate(bodies)
        ],
    )
    found = engine.sightings(
        -1, 2, Token(None, "refused"), ["user"], ["body", "nothing"], HOUR_NS, QueryBudget()
    )
    told = sorted((list(each.texts), each.count, each.sample.body) for each in found)
    assert told == [(["u0"], 1, "refused 1"), (["u1"], 1, "refused 2")]
    engine.close()
