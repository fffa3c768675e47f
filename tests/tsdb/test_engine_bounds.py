"""`obsd/tsdb/engine.py`: nothing that a sender does takes memory or disk without bound."""

from __future__ import annotations

import dataclasses
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cramjam
import pytest

from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import OverloadedError, TooLargeError
from obsd.model.head_memory import HeadMemory
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.samples import STALE_NAN_BITS, RollupSpec
from obsd.tsdb.engine import MetricsEngine
from tests.tsdb.test_engine import ALL, DAY_MS, NOW_MS, OPTIONS, Lab, series

METADATA = b"\x1a\x05\x08\x01\x12\x01m"  # MetricMetadata{type: counter, metric_family_name: "m"}


@pytest.fixture
def bounded(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "metrics")
    yield lab
    lab.engine.close()


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def histogram_body(name: str, times_ms: range, ballast: bytes = b"") -> bytes:
    """Histograms that are staleness markers, with a field that nobody knows."""
    name_label = field(1, field(1, b"__name__") + field(2, name.encode()))
    sum_field = varint(3 << 3 | 1) + struct.pack("<Q", STALE_NAN_BITS)
    histograms = [
        field(4, sum_field + varint(15 << 3) + varint(ts) + field(99, ballast)) for ts in times_ms
    ]
    return bytes(cramjam.snappy.compress_raw(field(1, name_label + b"".join(histograms))))


def test_registered_series_are_bounded_and_make_room_again(bounded: Lab) -> None:
    bounded.restart(max_active_series=2)
    for n in range(10):
        outcome = bounded.write((series(f"m{n}"), [(NOW_MS, 1.0)]))
        assert outcome.rejected == ({} if n < 8 else {"series_limit": 1})
        bounded.engine.flush()
        bounded.engine._flushed_series = 0
    assert "over the limit of registered series: there are 8" in outcome.messages[0]
    bounded.clock.advance_ms(DAY_MS + 1)
    bounded.engine.apply_retention()
    assert bounded.write((series("m9"), [(NOW_MS + DAY_MS, 1.0)])).rejected == {}


def test_series_that_store_nothing_are_forgotten(bounded: Lab) -> None:
    bounded.restart(max_active_series=2)
    for n in range(8):
        bounded.write((series(f"m{n}"), [(NOW_MS - 2 * DAY_MS, 1.0)]))
    outcome = bounded.write((series("m"), [(NOW_MS, 1.0)]))
    assert outcome.rejected == {"series_limit": 1}
    assert bounded.engine.apply_retention() == 0
    assert bounded.write((series("m"), [(NOW_MS, 1.0)])).rejected == {}


def test_a_1_0_series_without_anything_is_not_registered(bounded: Lab) -> None:
    assert bounded.write((series("m"), [])).rejected == {}
    assert bounded.engine.stats().registered_series == 0


def test_histogram_series_count_as_active(bounded: Lab) -> None:
    bounded.restart(max_active_series=2)
    for n in range(3):
        outcome = bounded.send(histogram_body(f"m{n}", range(NOW_MS, NOW_MS + 1)))
    assert outcome.rejected == {"series_limit": 1}
    assert bounded.engine.stats().active_series == 2


def test_large_histograms_of_one_series_can_be_flushed(bounded: Lab) -> None:
    for first in range(0, 80, 20):
        times_ms = range(NOW_MS + first, NOW_MS + first + 20)
        assert bounded.send(histogram_body("m", times_ms, bytes(1_000_000))).histograms == 20
    bounded.engine.flush()
    columns = bounded.engine.select(ALL, NOW_MS, NOW_MS + 100, QueryBudget())
    assert columns.histograms is not None
    assert columns.histograms.timestamps.tolist() == list(range(NOW_MS, NOW_MS + 80))


def test_a_histogram_too_large_is_refused(bounded: Lab) -> None:
    outcome = bounded.send(histogram_body("m", range(NOW_MS, NOW_MS + 1), bytes(1 << 20)))
    assert outcome.rejected == {"invalid_histogram": 1}
    assert "the limit is 1048576" in outcome.messages[0]


def test_a_request_of_nothing_but_empty_series_is_too_large(bounded: Lab) -> None:
    body = bytes(cramjam.snappy.compress_raw(b"\x0a\x00" * (2 << 20)))
    bounded.restart(max_decompressed_bytes=4 << 20)
    with pytest.raises(TooLargeError):
        bounded.send(body)


def test_what_stores_nothing_is_not_logged(bounded: Lab) -> None:
    for _ in range(3):
        assert bounded.write((series("m"), [(0, 1.0)])).rejected == {"too_old": 1}
    assert bounded.engine.stats().wal_bytes == 0


def test_a_wal_of_metadata_alone_is_flushed(bounded: Lab) -> None:
    bounded.send(bytes(cramjam.snappy.compress_raw(METADATA)))
    assert not bounded.engine.flush_due()
    bounded.clock.advance_ms(OPTIONS.flush_interval_ms)
    assert bounded.engine.flush_due()
    bounded.engine.flush()
    assert not bounded.engine.flush_due()
    assert bounded.engine.stats().wal_bytes == 0
    bounded.restart()
    assert list(bounded.engine.metadata()) == ["m"]


def test_a_large_wal_is_flushed_however_little_is_of_use(tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, flush_wal_bytes=10_000)
    lab = Lab(tmp_path / "metrics")
    lab.engine.close()
    lab.engine = MetricsEngine.open(tmp_path / "metrics", options, lab.clock)
    lab.write((series("m"), [(NOW_MS, 1.0)]))
    assert not lab.engine.flush_due()
    while lab.engine.stats().wal_bytes < 10_000:
        lab.write((series("m"), [(0, float(n)) for n in range(200)] + [(NOW_MS, 1.0)]))
    assert lab.engine.flush_due()
    lab.engine.close()


def test_times_at_the_ends_of_what_there_is(bounded: Lab) -> None:
    """Nothing overflows where samples, ranges, windows and offsets are as far as they can be."""
    bounded.restart(retention_ms=None, max_future_ms=2**62)
    oldest, newest = -(2**62), NOW_MS + 2**62
    samples = [(oldest, 1.0), (oldest + 1, 2.0), (0, 3.0), (newest, 4.0)]
    assert bounded.write((series("m"), samples)).rejected == {}
    ends = (-(2**63), 2**63 - 1)
    for _ in range(3):
        columns = bounded.engine.select(ALL, *ends, QueryBudget())
        assert list(zip(columns.timestamps.tolist(), columns.values.tolist(), strict=True)) == (
            samples
        )
        assert len(bounded.engine.series([], -(10**30), 10**30)) == 1
        bounded.engine.settle()
    far = 2**63 - 1
    for start_ms in (-far, -1, 0, far):
        for window_ms in (1, far):
            for offset_ms in (-far, 0, far):
                for function in ("instant", "rate", "deriv", "resets", "last_over_time"):
                    spec = RollupSpec(function, start_ms, start_ms, far, window_ms, offset_ms)
                    bounded.engine.rollup(ALL, spec, QueryBudget())


def test_heads_of_all_engines_share_one_limit(tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, max_head_bytes=8 << 20)
    memory, clock = HeadMemory(), ManualClock(NOW_MS)
    labs = [Lab(tmp_path / str(n)) for n in range(3)]
    for lab in labs:
        lab.engine.close()
        lab.engine = MetricsEngine.open(lab.directory, options, clock, memory)
    large, idle, other = labs
    large.write(*((series(f"m{n}"), [(NOW_MS, 1.0)]) for n in range(120_000)))
    other.write((series("m"), [(NOW_MS, 1.0)]))
    assert large.engine.flush_due()
    assert not idle.engine.flush_due()
    assert not other.engine.flush_due()
    other.write(*((series(f"m{n}"), [(NOW_MS, 1.0)]) for n in range(40_000)))
    with pytest.raises(OverloadedError, match="head is full"):
        idle.write((series("m"), [(NOW_MS, 1.0)]))
    large.engine.flush()
    idle.write((series("m"), [(NOW_MS, 1.0)]))
    for lab in labs:
        lab.engine.close()
    assert memory.total_bytes() == 0


def test_other_threads_run_while_a_regular_expression_is_compiled(bounded: Lab) -> None:
    costly = Matcher(MatchOp.REGEX, "a", r"(?:\pL\pN){60}")
    compiling = threading.Thread(target=bounded.engine.series, args=([[costly]], 0, 1), daemon=True)
    started_s = before_s = time.monotonic()
    longest_s = 0.0
    compiling.start()
    while compiling.is_alive():
        compiling.join(timeout=0.001)
        now_s = time.monotonic()
        longest_s, before_s = max(longest_s, now_s - before_s), now_s
    assert longest_s < (time.monotonic() - started_s) / 2
