"""Counts that outlive the records."""

from __future__ import annotations

import re
import shutil
import zlib
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.durable.records import frame, iter_records
from obsd.logindex.aggregates import (
    MAGIC,
    MINUTE_NS,
    Aggregates,
    GroupCounts,
    PatternCounts,
    SegmentCounts,
)
from obsd.logindex.engine import LogEngine
from obsd.logindex.filenames import SegmentName
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import CorruptDataError
from obsd.model.log_predicate import Everything
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, write

DAY_MS = 86_400_000
DAY_NS = DAY_MS * 1_000_000
OPTIONS = LogOptions(retention_ms=2 * DAY_MS, aggregate_retention_ms=10 * DAY_MS, granule_rows=8)
NAME = SegmentName(1, 2, 0, 20_000)
FORMAT = Path(__file__).parents[2] / "docs" / "format" / "log-aggregates.md"


def counts(engine: LogEngine, start_ns: int, step_ns: int = DAY_NS, by=("level",)) -> dict:
    found = engine.count_kept(
        Everything(), lambda *_: True, start_ns, NOW_NS + 20 * DAY_NS, step_ns, by, QueryBudget()
    )
    return {labels: row.tolist() for labels, row in found}


def total(engine: LogEngine) -> int:
    return sum(sum(row) for row in counts(engine, NOW_NS - 30 * DAY_NS).values())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@settings(max_examples=25, deadline=None)
@given(
    ages_s=st.lists(st.integers(0, 172_000), min_size=1, max_size=40),
    steps=st.lists(st.sampled_from(["flush", "settle", "restart", "day", "retention"]), max_size=8),
)
def test_no_count_changes_when_records_go(
    tmp_path_factory: pytest.TempPathFactory, ages_s: list[int], steps: list[str]
) -> None:
    directory, clock = tmp_path_factory.mktemp("counts"), ManualClock(NOW_MS)
    engine = LogEngine.open(directory, OPTIONS, clock)
    times = [NOW_NS - age_s * 1_000_000_000 for age_s in ages_s]
    write(engine, [record(f"r{n}", time_ns) for n, time_ns in enumerate(times)])
    for step in [*steps, "flush", "day", "day", "day", "day", "retention"]:
        match step:
            case "flush":
                engine.flush()
            case "settle":
                engine.settle()
            case "restart":
                engine.close()
                engine = LogEngine.open(directory, OPTIONS, clock)
            case "day":
                clock.advance_ms(DAY_MS)
            case "retention":
                engine.apply_retention()
        start_ns = (NOW_NS - 3 * DAY_NS) // MINUTE_NS * MINUTE_NS
        found = counts(engine, start_ns, by=())
        expected = Counter((time_ns - start_ns) // DAY_NS for time_ns in times)
        if clock.now_ms() - NOW_MS < 5 * DAY_MS:
            assert {i: n for i, n in enumerate(found[()]) if n} == expected
    engine.close()


def test_records_that_are_gone_leave_their_counts(tmp_path: Path, clock: ManualClock) -> None:
    engine = LogEngine.open(tmp_path, OPTIONS, clock)
    minute_ns = NOW_NS // MINUTE_NS * MINUTE_NS
    write(engine, [record(f"r{n}", minute_ns + n) for n in range(5)])
    engine.flush()
    clock.advance_ms(4 * DAY_MS)
    before = counts(engine, minute_ns)
    assert engine.apply_retention() == 1
    assert engine.stats().segments == 0
    assert counts(engine, minute_ns) == before
    assert sum(map(sum, before.values())) == 5
    # A minute counts at the start of the span where it begins before.
    assert sum(map(sum, counts(engine, minute_ns + 1).values())) == 5
    assert counts(engine, minute_ns + MINUTE_NS) == {}
    clock.advance_ms(9 * DAY_MS)
    engine.apply_retention()
    assert counts(engine, minute_ns) == {}
    engine.close()


def test_only_what_is_asked_for_is_counted(tmp_path: Path, clock: ManualClock) -> None:
    aggregates = Aggregates(tmp_path)
    groups = [
        GroupCounts("api", "error", [0, 1], [3, 4]),
        GroupCounts("api", "info", [1], [5]),
        GroupCounts("web", "error", [2], [6]),
    ]
    aggregates.write(SegmentName(1, 1, 0, 0), SegmentCounts(groups))

    def found(by: list[str], keep) -> dict:
        totals: dict = {}
        aggregates.add_counts(totals, set(), (0, 3 * MINUTE_NS), MINUTE_NS, by, keep)
        return {key: row.tolist() for key, row in totals.items()}

    assert found(["service"], lambda *_: True) == {("api",): [3, 9, 0], ("web",): [0, 0, 6]}
    assert found([], lambda _, level: level == "error") == {(): [3, 4, 6]}
    assert found(["level", "service"], lambda service, _: service == "web") == {
        ("error", "web"): [0, 0, 6]
    }


def test_a_crash_before_the_segment_goes_counts_nothing_twice(
    tmp_path: Path, clock: ManualClock
) -> None:
    engine = LogEngine.open(tmp_path / "a", OPTIONS, clock)
    write(engine, [record(f"r{n}", NOW_NS) for n in range(5)])
    engine.flush()
    engine.close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    clock.advance_ms(4 * DAY_MS)
    gone = LogEngine.open(tmp_path / "a", OPTIONS, clock)
    gone.apply_retention()
    gone.close()
    shutil.copytree(
        tmp_path / "a" / "aggregates", tmp_path / "b" / "aggregates", dirs_exist_ok=True
    )
    both = LogEngine.open(tmp_path / "b", OPTIONS, clock)
    assert total(both) == 5
    both.apply_retention()
    assert total(both) == 5
    both.close()


def test_a_damaged_file_is_left_out(tmp_path: Path) -> None:
    aggregates = Aggregates(tmp_path)
    aggregates.write(NAME, SegmentCounts([GroupCounts("api", "error", [28_800_000], [1])]))
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CorruptDataError):
            aggregates.read(NAME)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(CorruptDataError):
            aggregates.read(NAME)
    totals: dict[tuple[str, ...], np.ndarray] = {}
    aggregates.add_counts(totals, set(), (0, 1 << 62), 1 << 61, [], lambda *_: True)
    assert totals == {}


def test_the_example_of_the_format_is_read(tmp_path: Path) -> None:
    aggregates = Aggregates(tmp_path)
    example = re.findall(r"```text\n([0-9a-f\n]+)```", FORMAT.read_text())[-1]
    aggregates.write(NAME, SegmentCounts())
    [path] = tmp_path.iterdir()
    path.write_bytes(bytes.fromhex(example))
    minutes = [29_497_680, 29_497_681]
    assert aggregates.read(NAME) == SegmentCounts(
        [GroupCounts("api", "error", minutes, [3, 2])],
        [PatternCounts("6c1a9d0e5b7f2384", minutes, [3, 2])],
    )


def test_counts_by_pattern_outlive_the_records_without_their_words(
    tmp_path: Path, clock: ManualClock
) -> None:
    engine = LogEngine.open(tmp_path, OPTIONS, clock)
    minute_ns = NOW_NS // MINUTE_NS * MINUTE_NS
    texts = [f"user {n} came in" for n in range(30)] + [f"disk {n} is full" for n in range(20)]
    write(engine, [record(text, minute_ns + n) for n, text in enumerate(texts)])
    engine.flush()

    def by_pattern() -> dict:
        found = engine.count_patterns_kept(minute_ns, minute_ns + DAY_NS, DAY_NS, QueryBudget())
        return {labels: row.tolist() for labels, row in found}

    before = by_pattern()
    assert sorted(before.values()) == [[20], [30]]
    clock.advance_ms(4 * DAY_MS)
    engine.apply_retention()
    assert engine.stats().segments == 0
    assert by_pattern() == before
    [path] = (tmp_path / "aggregates").iterdir()
    kept = zlib.decompress(next(iter_records(path, MAGIC)).payload)
    assert b"disk" not in kept
    engine.close()


@pytest.mark.parametrize(
    "counted",
    [
        [[["api", "info", [1, 2], [1]]], []],
        [[], [["id", [1], [1, 2]]]],
        [[["api", "info", [1 << 60], [1]]], []],
        [[["api", "info", [1], [1 << 63]]], []],
        [[["api", "info", [1], [-1]]], []],
    ],
)
def test_counts_that_make_no_sense_are_damage(tmp_path: Path, counted: object) -> None:
    aggregates = Aggregates(tmp_path)
    payload = zlib.compress(msgspec.msgpack.encode(counted))
    (tmp_path / f"{NAME.stem}.counts").write_bytes(b"".join([MAGIC, *frame(payload)]))
    with pytest.raises(CorruptDataError):
        aggregates.read(NAME)


def test_counts_do_not_unpack_to_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obsd.logindex.aggregates.MAX_BYTES", 1000)
    aggregates = Aggregates(tmp_path)
    aggregates.write(NAME, SegmentCounts([GroupCounts("x" * 900, "info", [1], [1])]))
    assert aggregates.read(NAME).groups
    aggregates.write(NAME, SegmentCounts([GroupCounts("x" * 1000, "info", [1], [1])]))
    with pytest.raises(CorruptDataError):
        aggregates.read(NAME)


def test_any_number_of_services_leaves_exact_counts(tmp_path: Path, clock: ManualClock) -> None:
    engine = LogEngine.open(tmp_path, OPTIONS, clock)
    # More groups than a day of minutes has room for at one time.
    write(
        engine,
        [record(f"r{n}", NOW_NS - n * 10**10, service=f"s{n}") for n in range(8_000)],
        distinct=True,
    )
    engine.settle()
    before = counts(engine, NOW_NS - 30 * DAY_NS, by=("service",))
    clock.advance_ms(4 * DAY_MS)
    assert engine.apply_retention() > 0
    after = counts(engine, NOW_NS - 30 * DAY_NS, by=("service",))
    assert {group: sum(row) for group, row in after.items()} == {
        group: sum(row) for group, row in before.items()
    }
    engine.close()


def test_what_a_file_may_not_hold_is_counted_without_its_service(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("obsd.logindex.aggregates.MAX_KEPT_BYTES", 100)
    engine = LogEngine.open(tmp_path, OPTIONS, clock)
    services = ["often"] * 5 + [f"s{n}" for n in range(20)]
    write(engine, [record(f"r{n}", service=service) for n, service in enumerate(services)])
    engine.settle()
    clock.advance_ms(4 * DAY_MS)
    engine.apply_retention()
    after = counts(engine, NOW_NS - 30 * DAY_NS, by=("service",))
    assert sum(after["often",]) == 5
    assert sum(map(sum, after.values())) == 25
    assert sum(after["",]) > 10
    engine.close()


def test_a_segment_that_is_set_aside_meanwhile_does_not_hold_retention_up(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LogEngine.open(tmp_path, OPTIONS, clock)
    for days in (0, 1):
        write(engine, [record("x", NOW_NS - days * DAY_NS)])
        engine.flush()
    keep = engine._aggregates.write

    def keep_and_quarantine(name: SegmentName, kept: SegmentCounts) -> None:
        keep(name, kept)
        first = engine._catalog.live.segments[0]
        if first.name == name:
            engine._catalog.quarantine(first.path, "a search finds it damaged")

    monkeypatch.setattr(engine._aggregates, "write", keep_and_quarantine)
    clock.advance_ms(10 * DAY_MS)
    engine.apply_retention()
    assert engine.stats().segments == 0
    engine.close()
