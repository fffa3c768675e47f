"""`obsd/tsdb/inspect.py`: every kind of damage in a project's directory is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.finding import Level
from obsd.model.matcher import Matcher, MatchOp
from obsd.tsdb import filenames
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.inspect import inspect
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.write import Wire
from tests.e2e.wire import write_body

NOW_MS = 1_700_000_000_000
ALL = [Matcher(MatchOp.NOT_EQUAL, "__name__", "")]


def write(engine: MetricsEngine, name: str) -> None:
    samples = [(NOW_MS + n, n / 7) for n in range(50)]
    engine.write(write_body([({"__name__": name}, samples)]), Wire.REMOTE_WRITE_1, lambda _: None)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A series registry, two parts and a WAL segment, while the engine runs."""
    engine = MetricsEngine.open(tmp_path / "metrics", EngineOptions(), ManualClock(NOW_MS))
    for name in ("a", "b"):
        write(engine, name)
        engine.flush()
    write(engine, "c")
    yield tmp_path / "metrics"
    engine.close()


def part_paths(directory: Path) -> list[Path]:
    return sorted((directory / filenames.PARTS_DIRECTORY).glob(f"*{filenames.PART_SUFFIX}"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def problems(directory: Path) -> list[tuple[Level, str]]:
    return [(f.level, f.subject) for f in inspect(directory) if f.level is not Level.OK]


def test_a_running_engine_is_found_whole(directory: Path) -> None:
    findings = inspect(directory)
    assert {f.level for f in findings} == {Level.OK}
    assert findings[-1].message == "2 whole parts with 100 samples"


def test_each_damage_is_found_where_it_is(directory: Path) -> None:
    first, _ = part_paths(directory)
    flip(first, 40)
    (segment,) = (directory / filenames.WAL_DIRECTORY).iterdir()
    with segment.open("ab") as file:
        file.write(b"torn")
    flip(directory / filenames.SERIES, 0)
    assert problems(directory) == [
        (Level.ERROR, "series registry"),
        (Level.WARNING, f"WAL segment {segment.name}"),
        (Level.ERROR, f"part {first.name}"),
    ]


def test_a_damaged_part_is_set_aside_by_the_query_that_meets_it(tmp_path: Path) -> None:
    engine = MetricsEngine.open(tmp_path / "metrics", EngineOptions(), ManualClock(NOW_MS))
    for name in ("a", "b"):
        write(engine, name)
        engine.flush()
    damaged, _ = part_paths(tmp_path / "metrics")
    flip(damaged, 40)
    columns = engine.select(ALL, 0, NOW_MS + 100, QueryBudget())
    assert [labels.get("__name__") for labels in columns.labels] == ["b"]
    assert engine.stats().quarantined_parts == 1
    kept = tmp_path / "metrics" / filenames.QUARANTINE_DIRECTORY / damaged.name
    assert kept.exists()
    assert problems(tmp_path / "metrics") == [(Level.WARNING, str(kept))]
    engine.close()


def test_damaged_wal_segments_stay_after_the_flush_that_deletes_the_wal(tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    engine = MetricsEngine.open(directory, EngineOptions(), ManualClock(NOW_MS))
    for name in ("a", "b"):
        write(engine, name)
    engine._wal.close()  # As a crash leaves it: not flushed.
    (segment,) = (directory / filenames.WAL_DIRECTORY).iterdir()
    flip(segment, 60)
    damaged = segment.read_bytes()
    for _ in range(2):
        engine = MetricsEngine.open(directory, EngineOptions(), ManualClock(NOW_MS))
        assert engine.label_values("__name__", [], 0, NOW_MS + 100) == ["b"]
        engine._wal.close()
    engine = MetricsEngine.open(directory, EngineOptions(), ManualClock(NOW_MS))
    engine.flush()
    (kept,) = (directory / filenames.QUARANTINE_DIRECTORY).iterdir()
    assert kept.read_bytes() == damaged
    assert engine.stats().quarantined_parts == 0
    engine.close()
