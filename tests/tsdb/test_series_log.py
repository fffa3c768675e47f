"""`obsd/tsdb/series_log.py`: series keep their ids through restarts, torn tails and forgetting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd import _native
from obsd.model.errors import CorruptDataError
from obsd.tsdb.series_log import SeriesLog
from tests.e2e.wire import write_body

label_values = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
label_sets = st.dictionaries(
    label_values.filter(lambda n: n != "__name__"), label_values, max_size=5
)


def register(registry: _native.Registry, labels: dict[str, str]) -> None:
    body = write_body([({"__name__": "m"} | labels, [(0, 1.0)])])
    batch = registry.decode(body, False, 1 << 20, 64, 1024, 8192, 1 << 20, -1, 1, ())
    assert batch.samples == 1, batch.messages


def series(log: SeriesLog) -> dict[int, tuple[tuple[str, str], ...]]:
    ids = log.registry.select([])
    return dict(zip(ids.tolist(), log.registry.labels(ids), strict=True))


@given(st.lists(st.lists(label_sets, max_size=5), max_size=4))
def test_synced_series_are_there_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[dict[str, str]]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "series"
    log = SeriesLog(path)
    for batch in batches:
        for labels in batch:
            register(log.registry, labels)
        log.sync()
    before = series(log)
    log.close()
    again = SeriesLog(path)
    assert series(again) == before
    # Nothing of it is new to the second start.
    for labels in (labels for batch in batches for labels in batch):
        register(again.registry, labels)
    assert series(again) == before
    again.close()


def test_a_torn_last_record_is_cut_off(tmp_path: Path) -> None:
    log = SeriesLog(tmp_path / "series")
    register(log.registry, {"a": "1"})
    log.sync()
    whole = (tmp_path / "series").stat().st_size
    register(log.registry, {"a": "2"})
    log.sync()
    log.close()
    data = (tmp_path / "series").read_bytes()
    for length in range(whole, len(data)):
        (tmp_path / "series").write_bytes(data[:length])
        log = SeriesLog(tmp_path / "series")
        assert series(log) == {0: (("__name__", "m"), ("a", "1"))}
        log.close()
        assert (tmp_path / "series").stat().st_size == whole


def test_a_file_without_its_seed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "series").write_bytes(b"OBSDSER1")
    with pytest.raises(CorruptDataError, match="no seed"):
        SeriesLog(tmp_path / "series")


def test_forgotten_series_come_back_under_new_ids(tmp_path: Path) -> None:
    log = SeriesLog(tmp_path / "series")
    for value in "123":
        register(log.registry, {"a": value})
    log.sync()
    log.forget_all_but(np.array([1], dtype=np.uint32))
    # The highest id stays, so that it is never given out again.
    assert sorted(series(log)) == [1, 2]
    register(log.registry, {"a": "1"})
    log.sync()
    after = series(log)
    assert sorted(after) == [1, 2, 3]
    assert after[3] == (("__name__", "m"), ("a", "1"))
    log.close()
    log = SeriesLog(tmp_path / "series")
    assert series(log) == after
    log.close()


def test_the_documented_example_decodes(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "format" / "series.md"
    block = page.read_text().split("```hex\n")[1].split("```")[0]
    example = bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()))
    (tmp_path / "series").write_bytes(example)
    log = SeriesLog(tmp_path / "series")
    assert series(log) == {0: (("__name__", "up"),)}
    log.close()
