"""`obsd/tsdb/engine.py` when the disk refuses, files are lost, and series are forgotten."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from obsd import _native
from obsd.model.budget import QueryBudget
from obsd.model.errors import CorruptDataError, OverloadedError
from obsd.model.labels import Labels
from obsd.tsdb.parts import PartSet
from obsd.tsdb.reader import Reader
from tests.tsdb.test_engine import ALL, DAY_MS, NOW_MS, OPTIONS, Lab, series


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "metrics")
    yield lab
    lab.engine.close()


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


def expire_some(lab: Lab) -> None:
    """Eight series, of which only the last one has a sample that is kept."""
    lab.write(*((series(f"old{n}"), [(NOW_MS, 1.0)]) for n in range(8)))
    lab.engine.flush()
    lab.clock.advance_ms(DAY_MS + 1)
    lab.write((series("old7"), [(NOW_MS + DAY_MS, 7.0)]))
    lab.engine.flush()


def test_labels_stay_right_when_forgotten_series_could_not_be_written(
    failing: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_some(failing)
    monkeypatch.setattr("obsd.tsdb.series_log.replace_file", refuse)
    with pytest.raises(OSError, match="No space"):
        failing.engine.apply_retention()
    monkeypatch.undo()
    failing.write((series("new"), [(NOW_MS + DAY_MS, 1.0)]))
    failing.engine.flush()
    for _ in range(2):
        assert failing.names() == ["new", "old7"]
        assert failing.values("old7") == [(NOW_MS + DAY_MS, 7.0)]
        failing.restart()


@pytest.mark.parametrize("lost", ["everything", "the last record"])
def test_a_registry_that_lacks_series_of_the_parts_is_not_started_with(
    failing: Lab, lost: str
) -> None:
    failing.write((series("m"), [(NOW_MS, 1.0)]))
    failing.engine.close()
    path = failing.directory / "series"
    whole = path.read_bytes()
    if lost == "everything":
        path.unlink()
    else:
        path.write_bytes(whole[:-1])
    with pytest.raises(CorruptDataError, match="parts refer to"):
        failing.engine.open(failing.directory, OPTIONS, failing.clock)
    assert not path.exists() or path.read_bytes() == whole[:-1]
    path.write_bytes(whole)
    failing.engine = failing.engine.open(failing.directory, OPTIONS, failing.clock)
    assert failing.values("m") == [(NOW_MS, 1.0)]


def test_a_damaged_part_is_left_out_on_a_full_disk_too(
    failing: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing.write((series("m"), [(NOW_MS, 1.0)]))
    failing.engine.flush()
    failing.write((series("m"), [(NOW_MS + 1, 2.0)]))
    failing.engine.flush()
    part = min((failing.directory / "parts").glob("*.part"))
    data = bytearray(part.read_bytes())
    data[20] ^= 1
    part.write_bytes(data)
    failing.restart()
    monkeypatch.setattr("obsd.tsdb.parts.replace_file", refuse)
    assert failing.values("m") == [(NOW_MS + 1, 2.0)]
    monkeypatch.undo()
    assert [p.name for p in (failing.directory / "quarantine").iterdir()] == [part.name]
    failing.restart()
    assert failing.values("m") == [(NOW_MS + 1, 2.0)]


def test_a_part_is_moved_before_the_manifest_leaves_it_out(
    failing: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing.write((series("m"), [(NOW_MS, 1.0)]))
    failing.engine.flush()
    publish, there = PartSet._publish, []

    def look_then_publish(parts: PartSet, files: list[object]) -> None:
        there.append(list(parts.directory.glob("*.part")))
        publish(parts, files)  # type: ignore[arg-type]

    monkeypatch.setattr(PartSet, "_publish", look_then_publish)
    parts = PartSet.open(failing.directory / "parts", failing.directory / "quarantine")
    assert parts.quarantine(parts.files[0].path, "test")
    assert there == [[]]


def test_a_query_that_meets_forgetting_starts_again(
    failing: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_some(failing)
    ids = Reader.ids

    def ids_then_forget(reader: Reader, matchers: object) -> object:
        found = ids(reader, matchers)  # type: ignore[arg-type]
        failing.engine.apply_retention()
        return found

    monkeypatch.setattr(Reader, "ids", ids_then_forget)
    columns = failing.engine.select(ALL, 0, NOW_MS + 2 * DAY_MS, QueryBudget())
    assert columns.labels == (Labels.of(series("old7")),)
    assert failing.engine.series([], 0, NOW_MS + 2 * DAY_MS) == [Labels.of(series("old7"))]


def test_a_closed_engine_takes_no_writes(failing: Lab) -> None:
    failing.engine.close()
    with pytest.raises(OverloadedError, match="closed"):
        failing.write((series("m"), [(NOW_MS, 1.0)]))
    failing.engine = failing.engine.open(failing.directory, OPTIONS, failing.clock)


def test_an_engine_that_does_not_start_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / "0000000001.wal").write_bytes(b"OBSDWAL9")
    before = threading.active_count()
    with pytest.raises(CorruptDataError, match="magic"):
        Lab(tmp_path)
    assert threading.active_count() == before


def test_series_are_registered_while_labels_are_being_made(failing: Lab) -> None:
    """Making objects may run the garbage collector, and that any Python code of any thread."""
    failing.write((series("m"), [(NOW_MS, 1.0)]))
    registry = failing.engine._registry
    waiting: list[bool] = []

    def register(phase: str, _: object) -> None:
        if phase == "start" and not waiting:
            write = threading.Thread(
                target=failing.write, args=[(series("other"), [(NOW_MS, 1.0)])], daemon=True
            )
            waiting.append(True)
            write.start()
            write.join(timeout=5)
            waiting[0] = write.is_alive()

    ids = np.zeros(1000, np.uint32)
    gc.callbacks.append(register)
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        registry.labels(ids)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(register)
    assert waiting == [False]
    assert isinstance(registry, _native.Registry)
