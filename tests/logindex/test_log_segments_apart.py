"""Segments that are damaged or cannot be read, also where the disk refuses what is to be done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from obsd import _native
from obsd.logindex import filenames
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import StorageUnavailableError
from obsd.model.log_predicate import Everything, Prefix
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, write

EVER = (-(1 << 62), 1 << 62)
Open = Callable[[], LogEngine]


@pytest.fixture
def open_engine(tmp_path: Path) -> Iterator[Open]:
    engines: list[LogEngine] = []

    def open_one() -> LogEngine:
        options = LogOptions(granule_rows=16, merge_run=3)
        engines.append(LogEngine.open(tmp_path, options, ManualClock(NOW_MS)))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


def write_segments(engine: LogEngine, count: int) -> None:
    for number in range(count):
        write(engine, [record(f"line {number}", NOW_NS + number)])
        engine.flush()


def bodies(engine: LogEngine) -> list[object]:
    return [
        each.body
        for each in engine.search(
            Everything(), *EVER, 1_000, None, QueryBudget(), newest_first=False
        ).records
    ]


def segments(directory: Path) -> list[Path]:
    return sorted((directory / filenames.SEGMENTS_DIRECTORY).glob("*.logs"))


def damage(path: Path) -> None:
    """Without its first half, behind the back of whoever has mapped it."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(bytes(size // 2))


def listed(directory: Path) -> list[str]:
    path = directory / filenames.SEGMENTS_DIRECTORY / filenames.MANIFEST
    names: list[str] = json.loads(path.read_bytes())["segments"]
    return names


@pytest.mark.parametrize("moves", [True, False])
def test_a_search_goes_on_though_the_disk_refuses(
    open_engine: Open, tmp_path: Path, moves: bool
) -> None:
    engine = open_engine()
    write_segments(engine, 3)
    _, damaged, _ = segments(tmp_path)
    damage(damaged)
    manifest = tmp_path / filenames.SEGMENTS_DIRECTORY / f"{filenames.MANIFEST}.tmp"
    manifest.mkdir()
    quarantine = tmp_path / filenames.QUARANTINE_DIRECTORY
    if not moves:
        quarantine.touch()  # No directory.
    assert bodies(engine) == ["line 0", "line 2"]
    assert engine.stats().quarantined_segments == 1
    assert damaged.exists() is not moves

    again = open_engine()  # After a crash before the disk has room.
    assert bodies(again) == ["line 0", "line 2"]
    assert again.stats().quarantined_segments == 1

    manifest.rmdir()
    if not moves:
        quarantine.unlink()
    write(engine, [record("line 3", NOW_NS + 3)])
    engine.flush()
    assert not damaged.exists()
    assert (quarantine / damaged.name).exists()
    assert damaged.name not in listed(tmp_path)
    assert bodies(open_engine()) == ["line 0", "line 2", "line 3"]


def test_a_segment_that_cannot_be_read_is_left_out_until_it_can(
    open_engine: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_segments(open_engine(), 3)
    _, unread, _ = segments(tmp_path)
    moved = tmp_path / "elsewhere"
    unread.rename(moved)
    unread.mkdir()
    engine = open_engine()
    assert bodies(engine) == ["line 0", "line 2"]
    assert "cannot be read" in caplog.text
    write(engine, [record("line 3", NOW_NS + 3)])
    engine.settle()
    engine.close()
    assert bodies(open_engine()) == ["line 0", "line 2", "line 3"]
    assert unread.name in listed(tmp_path)
    unread.rmdir()
    moved.rename(unread)
    assert bodies(open_engine()) == [f"line {n}" for n in range(4)]


def test_what_is_deleted_is_not_back_when_a_segment_can_be_read_again(
    open_engine: Open, tmp_path: Path
) -> None:
    write_segments(open_engine(), 5)
    first = segments(tmp_path)[0]
    moved = tmp_path / "elsewhere"
    first.rename(moved)
    first.mkdir()
    engine = open_engine()
    engine.delete(Prefix("body", "line"), *EVER, QueryBudget())
    assert engine.compact()  # Merges are done all the same.
    with pytest.raises(StorageUnavailableError, match="cannot be read"):
        engine.compact()
    (deletion,) = engine.deletions()
    assert deletion.done_ms is None
    assert first.name in deletion.failure
    engine.close()
    first.rmdir()
    moved.rename(first)
    engine = open_engine()
    assert bodies(engine) == []
    assert engine.compact()
    assert engine.deletions()[0].done_ms is not None
    assert segments(tmp_path) == []


def test_other_directories_among_segments_are_left_alone(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    write_segments(engine, 1)
    of_others = [
        segments(tmp_path)[0].with_name(name) for name in ("lost+found", "x.logs", "x.tmp")
    ]
    for path in of_others:
        path.mkdir()
    engine.delete(Everything(), *EVER, QueryBudget())
    assert engine.compact()
    engine.close()
    assert bodies(open_engine()) == []
    assert all(path.is_dir() for path in of_others)


def test_a_merge_whose_output_is_damaged_changes_nothing(
    open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine()
    write_segments(engine, 3)
    inputs = segments(tmp_path)
    merge = _native.merge_log_segments

    def merge_badly(files: Sequence[_native.LogSegment], path: Path, *how: Any) -> bool:
        written = merge(files, path, *how)
        damage(path)
        return written

    with monkeypatch.context() as patched:
        patched.setattr(_native, "merge_log_segments", merge_badly)
        with pytest.raises(StorageUnavailableError, match="just after it was written"):
            engine.compact()
    assert segments(tmp_path) == inputs
    assert engine.stats().quarantined_segments == 0
    assert engine.compact()
    assert bodies(engine) == ["line 0", "line 1", "line 2"]
