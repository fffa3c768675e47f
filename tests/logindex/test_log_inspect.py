"""`obsd/logindex/inspect.py`: every kind of damage in a project's directory is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsd.durable.records import frame
from obsd.durable.wal import segment_name
from obsd.logindex import filenames
from obsd.logindex.engine import LogEngine
from obsd.logindex.inspect import inspect
from obsd.logindex.options import LogOptions
from obsd.logindex.wal_record import MAGIC
from obsd.model.clock import ManualClock
from obsd.model.finding import Level
from tests.logindex.otlp_requests import NOW_MS, record, write


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Two segments and a WAL segment, while the engine runs."""
    engine = LogEngine.open(tmp_path / "logs", LogOptions(), ManualClock(NOW_MS))
    for text in ("a", "b"):
        write(engine, [record(f"{text} {n}") for n in range(50)])
        engine.flush()
    write(engine, [record("c")])
    yield tmp_path / "logs"
    engine.close()


def segment_paths(directory: Path) -> list[Path]:
    found = (directory / filenames.SEGMENTS_DIRECTORY).glob(f"*{filenames.SEGMENT_SUFFIX}")
    return sorted(found)


def problems(directory: Path) -> list[tuple[Level, str]]:
    return [(f.level, f.subject) for f in inspect(directory) if f.level is not Level.OK]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_running_engine_is_found_whole(directory: Path) -> None:
    findings = inspect(directory)
    assert {f.level for f in findings} == {Level.OK}
    assert [f.message for f in findings] == ["1 records", "2 whole segments with 100 records"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_damaged_segment_is_named(directory: Path, share: float) -> None:
    first, second = segment_paths(directory)
    flip(first, int(first.stat().st_size * share))
    assert problems(directory) == [(Level.ERROR, f"log segment {first.name}")]
    assert inspect(directory)[-1].message == "1 whole segments with 50 records"
    second.unlink()
    assert problems(directory) == [
        (Level.ERROR, f"log segment {first.name}"),
        (Level.ERROR, f"log segment {second.name}"),
    ]


def test_a_damaged_manifest_and_what_is_set_aside_are_told(directory: Path) -> None:
    (directory / filenames.SEGMENTS_DIRECTORY / filenames.MANIFEST).write_bytes(b"{")
    quarantined = directory / filenames.QUARANTINE_DIRECTORY / "x.logs"
    quarantined.parent.mkdir(exist_ok=True)
    quarantined.write_bytes(b"x")
    assert problems(directory) == [
        (Level.ERROR, "log manifest"),
        (Level.WARNING, str(quarantined)),
    ]


def test_a_wal_that_is_torn_or_damaged_is_told(directory: Path) -> None:
    (path,) = (directory / filenames.WAL_DIRECTORY).iterdir()
    whole = path.read_bytes()
    subject = f"log WAL segment {path.name}"
    path.write_bytes(whole + b"torn")
    assert problems(directory) == [(Level.WARNING, subject)]
    path.write_bytes(b"not a log" + whole)
    assert problems(directory) == [(Level.ERROR, subject)]
    path.write_bytes(MAGIC + b"".join(frame(b"too short")))
    assert problems(directory) == [(Level.ERROR, subject)]
    path.write_bytes(whole)
    (path.parent / segment_name(99)).write_bytes(b"")
    assert (Level.ERROR, f"log WAL segment {segment_name(99)}") not in problems(directory)


def test_an_empty_directory_has_nothing_wrong(tmp_path: Path) -> None:
    assert problems(tmp_path) == []
