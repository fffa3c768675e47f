"""What doctor says about a project's traces: whole or not, and which file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsd.durable.records import frame
from obsd.model.finding import Level
from obsd.tracestore import filenames
from obsd.tracestore.inspect import inspect
from obsd.tracestore.wal_record import MAGIC
from tests.services.spans import make_span
from tests.tracestore.spans_written import open_engine, write


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Two segments, and a span in the WAL."""
    engine = open_engine(tmp_path / "traces")
    for first in (1, 100):
        write(engine, [make_span(n, 1) for n in range(first, first + 50)])
        engine.flush()
    write(engine, [make_span(1000, 1)])
    yield tmp_path / "traces"
    engine.close()


def segment_paths(directory: Path) -> list[Path]:
    return sorted((directory / filenames.SEGMENTS_DIRECTORY).glob(f"*{filenames.SEGMENT_SUFFIX}"))


def problems(directory: Path) -> list[tuple[Level, str]]:
    return [(f.level, f.subject) for f in inspect(directory) if f.level is not Level.OK]


def test_a_running_engine_is_found_whole(directory: Path) -> None:
    findings = inspect(directory)
    assert {f.level for f in findings} == {Level.OK}
    assert [f.message for f in findings] == ["1 records", "2 whole segments with 100 spans"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_a_damaged_span_segment_is_named(directory: Path, share: float) -> None:
    first, second = segment_paths(directory)
    data = bytearray(first.read_bytes())
    data[int((len(data) - 1) * share)] ^= 1
    first.write_bytes(bytes(data))
    assert problems(directory) == [(Level.ERROR, f"span segment {first.name}")]
    assert inspect(directory)[-1].message == "1 whole segments with 50 spans"
    second.unlink()
    assert problems(directory) == [
        (Level.ERROR, f"span segment {first.name}"),
        (Level.ERROR, f"span segment {second.name}"),
    ]


def test_a_damaged_span_manifest_and_wal_are_told(directory: Path) -> None:
    (directory / filenames.SEGMENTS_DIRECTORY / filenames.MANIFEST).write_bytes(b"{")
    (path,) = (directory / filenames.WAL_DIRECTORY).iterdir()
    path.write_bytes(MAGIC + b"".join(frame(b"too short")))
    assert problems(directory) == [
        (Level.ERROR, f"span WAL segment {path.name}"),
        (Level.ERROR, "span manifest"),
    ]


def test_an_empty_directory_has_nothing_wrong(tmp_path: Path) -> None:
    assert problems(tmp_path) == []
