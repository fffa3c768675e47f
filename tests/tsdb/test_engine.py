"""`obsd/tsdb/engine.py`: what is accepted, refused and kept, and what a restart gives back."""

from __future__ import annotations

import dataclasses
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import cramjam
import pytest

from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import (
    BadInputError,
    StorageUnavailableError,
    TooLargeError,
    TooManySamplesError,
    UndecodableError,
)
from obsd.model.labels import Labels
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.metadata import Metadata
from obsd.model.samples import STALE_NAN_BITS, RollupSpec
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.write import Wire, WriteOutcome
from tests.e2e.wire import write_body

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
OPTIONS = EngineOptions(retention_ms=DAY_MS)
ALL = [Matcher(MatchOp.NOT_EQUAL, "__name__", "")]


class Lab:
    """An engine that can be restarted with other options."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(NOW_MS)
        self.engine = MetricsEngine.open(directory, OPTIONS, self.clock)

    def restart(self, **changes: int | None) -> None:
        self.engine.close()
        options = dataclasses.replace(OPTIONS, **changes)
        self.engine = MetricsEngine.open(self.directory, options, self.clock)

    def send(self, body: bytes, wire: Wire = Wire.REMOTE_WRITE_1) -> WriteOutcome:
        durable = threading.Event()
        outcome = self.engine.write(body, wire, lambda _: durable.set())
        assert durable.wait(timeout=10)
        return outcome

    def write(self, *series: tuple[dict[str, str], Sequence[tuple[int, float]]]) -> WriteOutcome:
        return self.send(write_body(series))

    def values(self, name: str) -> list[tuple[int, float]]:
        matchers = [Matcher(MatchOp.EQUAL, "__name__", name)]
        columns = self.engine.select(matchers, 0, NOW_MS + DAY_MS, QueryBudget())
        return list(zip(columns.timestamps.tolist(), columns.values.tolist(), strict=True))

    def names(self) -> list[str]:
        return self.engine.label_values("__name__", [], 0, NOW_MS + DAY_MS)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "metrics")
    yield lab
    lab.engine.close()


def series(name: str, **labels: str) -> dict[str, str]:
    return {"__name__": name} | labels


def test_samples_outside_of_the_times_are_refused_one_by_one(lab: Lab) -> None:
    too_old, too_late = NOW_MS - DAY_MS - 1, NOW_MS + 600_001
    samples = [(too_old, 1.0), (NOW_MS - DAY_MS, 2.0), (NOW_MS + 600_000, 3.0), (too_late, 4.0)]
    outcome = lab.write((series("m"), samples))
    assert outcome.samples == 2
    assert outcome.rejected == {"too_old": 1, "too_far_in_future": 1}
    assert outcome.messages == [
        f"too old sample: m{{}} at {too_old} ms is before the retention limit of "
        f"{NOW_MS - DAY_MS} ms",
        f"out of bounds: m{{}} at {too_late} ms is after the limit of {NOW_MS + 600_000} ms",
    ]
    assert lab.values("m") == samples[1:3]


def test_with_retention_forever_nothing_is_too_old(lab: Lab) -> None:
    lab.restart(retention_ms=None)
    assert lab.write((series("m"), [(0, 1.0)])).rejected == {}
    assert lab.values("m") == [(0, 1.0)]


@pytest.mark.parametrize(
    ("labels", "reason", "message"),
    [
        ({"job": "a"}, "invalid_labels", "no metric name"),
        ({"__name__": "m", "": "x"}, "invalid_labels", "empty name"),
        ({"__name__": "m"} | {f"l{i}": "x" for i in range(64)}, "label_limit", "has 65 labels"),
        ({"__name__": "m", "n" * 1025: "x"}, "label_limit", "1025 bytes, the limit is 1024"),
        ({"__name__": "m", "n": "x" * 8193}, "label_limit", "8193 bytes, the limit is 8192"),
    ],
)
def test_a_bad_series_is_refused_and_its_neighbours_are_kept(
    lab: Lab, labels: dict[str, str], reason: str, message: str
) -> None:
    bad = (labels, [(NOW_MS, 1.0), (NOW_MS + 1, 1.0)])
    outcome = lab.write(
        (series("before"), [(NOW_MS, 1.0)]), bad, (series("after"), [(NOW_MS, 1.0)])
    )
    assert outcome.rejected == {reason: 2}
    assert message in outcome.messages[0]
    assert lab.names() == ["after", "before"]


def test_labels_may_come_unsorted_and_empty_ones_count_as_absent(lab: Lab) -> None:
    lab.write(({"b": "1", "__name__": "m", "a": "2", "c": ""}, [(NOW_MS, 1.0)]))
    lab.write(({"a": "2", "b": "1", "__name__": "m"}, [(NOW_MS + 1, 2.0)]))
    assert lab.engine.series([], 0, NOW_MS + 1) == [Labels.of(series("m", a="2", b="1"))]
    assert lab.values("m") == [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]


def test_duplicate_label_names_and_bad_utf8_are_refused(lab: Lab) -> None:
    def label(name: bytes, value: bytes) -> bytes:
        pair = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(value)]) + value
        return b"\x0a" + bytes([len(pair)]) + pair

    sample = b"\x12\x09\x09" + struct.pack("<d", 1.0)
    name = label(b"__name__", b"m")
    for extra, message in [
        (label(b"a", b"1") + label(b"a", b"2"), 'label "a" is there twice'),
        (label(b"a", b"\xff"), "is not UTF-8"),
        (label(b"\xff", b"a"), "is not UTF-8"),
    ]:
        one = name + extra + sample
        body = b"\x0a" + bytes([len(one)]) + one
        outcome = lab.send(bytes(cramjam.snappy.compress_raw(body)))
        assert outcome.rejected == {"invalid_labels": 1}
        assert message in outcome.messages[0]


def test_the_series_limit_refuses_new_series_only_and_replay_agrees(lab: Lab) -> None:
    lab.restart(max_active_series=2)
    for n in range(4):
        outcome = lab.write((series(f"m{n}"), [(NOW_MS, 1.0)]))
        assert outcome.rejected == ({} if n < 2 else {"series_limit": 1})
    assert lab.write((series("m0"), [(NOW_MS + 1, 2.0)])).rejected == {}
    lab.restart(max_active_series=2)
    assert lab.names() == ["m0", "m1"]
    assert lab.values("m0") == [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]


@pytest.mark.parametrize(
    "body", [b"", b"\x05abc", b"not snappy at all", b"\x04\x0c\xff\xff\xff\xff"]
)
def test_what_is_no_request_is_refused_whole(lab: Lab, body: bytes) -> None:
    with pytest.raises(UndecodableError, match=r"snappy|protobuf"):
        lab.send(body)


def test_a_bomb_is_refused_by_its_declared_size(lab: Lab) -> None:
    with pytest.raises(TooLargeError, match="134217728"):
        lab.send(b"\xff\xff\xff\xff\x0f")


def test_a_stale_marker_is_kept_bit_for_bit_and_ends_the_series(lab: Lab) -> None:
    stale = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
    lab.write((series("m"), [(NOW_MS, 1.0), (NOW_MS + 1000, stale)]))
    lab.engine.flush()
    columns = lab.engine.select(ALL, 0, NOW_MS + DAY_MS, QueryBudget())
    assert columns.values.view("uint64").tolist()[1] == STALE_NAN_BITS
    spec = RollupSpec("instant", NOW_MS, NOW_MS + 1000, 1000, 300_000)
    matrix = lab.engine.rollup(ALL, spec, QueryBudget())
    assert matrix.present.tolist() == [[True, False]]


def test_a_retried_request_changes_nothing(lab: Lab) -> None:
    body = write_body([(series("m"), [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)])])
    for _ in range(3):
        assert lab.send(body).rejected == {}
    assert lab.values("m") == [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]
    lab.engine.flush()
    lab.send(body)
    assert lab.values("m") == [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]


def test_metadata_survives_flush_and_restart(lab: Lab) -> None:
    # MetricMetadata{type: counter, metric_family_name: "m", help: "h", unit: "u"}
    message = b"\x08\x01\x12\x01m\x22\x01h\x2a\x01u"
    body = bytes(cramjam.snappy.compress_raw(b"\x1a" + bytes([len(message)]) + message))
    assert lab.send(body).metadata == 1
    expected = {"m": Metadata("counter", "h", "u")}
    for prepare in (lambda: None, lab.restart, lab.engine.flush, lab.restart):
        prepare()
        assert lab.engine.metadata() == expected
    assert lab.engine.metadata("other") == {}


def test_a_query_stops_at_its_sample_limit(lab: Lab) -> None:
    lab.write((series("m"), [(NOW_MS + n, float(n)) for n in range(100)]))
    with pytest.raises(TooManySamplesError, match="limit 99"):
        lab.engine.select(ALL, 0, NOW_MS + DAY_MS, QueryBudget(max_samples=99))


def test_a_result_too_large_to_hold_is_refused_before_it_is_made(lab: Lab) -> None:
    lab.write(*((series(f"m{n}"), [(NOW_MS, 1.0)]) for n in range(10)))
    spec = RollupSpec("instant", 0, 10**15, 1, 10**15)
    with pytest.raises(TooManySamplesError, match="limit 50000000"):
        lab.engine.rollup(ALL, spec, QueryBudget())


def test_queries_see_only_the_range_that_they_ask_for(lab: Lab) -> None:
    lab.write((series("early"), [(NOW_MS - 1000, 1.0)]), (series("late"), [(NOW_MS, 2.0)]))
    assert lab.engine.label_values("__name__", [], NOW_MS - 1000, NOW_MS - 1) == ["early"]
    assert lab.engine.label_names([ALL], NOW_MS + 1, NOW_MS + 2) == []
    assert lab.engine.series([ALL], NOW_MS, NOW_MS) == [Labels.of(series("late"))]


def test_regular_expressions_are_anchored_and_checked(lab: Lab) -> None:
    lab.write(*((series(n), [(NOW_MS, 1.0)]) for n in ("cpu", "cpu_total", "gpu")))
    found = lab.engine.series([[Matcher(MatchOp.REGEX, "__name__", "cpu|gp.")]], 0, NOW_MS)
    assert [labels.get("__name__") for labels in found] == ["cpu", "gpu"]
    with pytest.raises(BadInputError, match="invalid matcher"):
        lab.engine.series([[Matcher(MatchOp.REGEX, "__name__", "(")]], 0, NOW_MS)


def test_expired_parts_go_and_their_series_are_forgotten(lab: Lab) -> None:
    lab.write(*((series(f"old{n}"), [(NOW_MS, 1.0)]) for n in range(8)))
    lab.engine.flush()
    lab.clock.advance_ms(DAY_MS)
    lab.write((series("old0"), [(NOW_MS + DAY_MS, 2.0)]), (series("new"), [(NOW_MS + DAY_MS, 1.0)]))
    lab.engine.flush()
    assert lab.engine.apply_retention() == 0
    lab.clock.advance_ms(1)
    assert lab.engine.apply_retention() == 1
    assert lab.engine.stats().registered_series == 2
    # One of the forgotten comes back, while the registry's ids have changed under its sender.
    assert lab.write((series("old3"), [(NOW_MS + DAY_MS, 3.0)])).rejected == {}
    for _ in range(2):
        assert lab.names() == ["new", "old0", "old3"]
        assert lab.values("old0") == [(NOW_MS + DAY_MS, 2.0)]
        lab.restart()


def test_a_request_decoded_before_series_are_forgotten_is_decoded_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write(*((series(f"m{n}"), [(NOW_MS, 1.0)]) for n in range(8)))
    lab.engine.flush()
    lab.clock.advance_ms(DAY_MS + 1)
    decode = MetricsEngine._decode

    def decode_then_forget(engine: MetricsEngine, *arguments: object) -> object:
        batch = decode(engine, *arguments)
        engine.apply_retention()
        return batch

    monkeypatch.setattr(MetricsEngine, "_decode", decode_then_forget)
    lab.write((series("m2"), [(NOW_MS + DAY_MS, 2.0)]))
    monkeypatch.undo()
    assert lab.names() == ["m2"]
    lab.restart()
    assert lab.values("m2") == [(NOW_MS + DAY_MS, 2.0)]


def test_a_disk_that_refuses_a_flush_loses_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write((series("m"), [(NOW_MS, 1.0)]))

    def refuses(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("obsd.tsdb.parts.replace_file", refuses)
    with pytest.raises(StorageUnavailableError, match="No space left"):
        lab.engine.flush()
    assert lab.values("m") == [(NOW_MS, 1.0)]
    assert lab.engine.flush_due()
    lab.write((series("m"), [(NOW_MS + 1, 2.0)]))
    monkeypatch.undo()
    lab.engine.flush()
    assert not lab.engine.flush_due()
    assert lab.engine.stats().wal_bytes == 0
    lab.restart()
    assert lab.values("m") == [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]
