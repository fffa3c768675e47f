from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obsd.tsdb.compaction import (
    FINAL,
    MERGED,
    CompactionOptions,
    choose_merge,
    compact_once,
)
from obsd.tsdb.parts import PartSet
from obsd.tsdb.retention import apply_retention
from tests.tsdb.part_files import Samples, bits, flush, read_all

HOUR_MS = 3600 * 1000
OPTIONS = CompactionOptions(flushed_run=2, merged_run=2, max_run=3)


def open_parts(directory: Path) -> PartSet:
    return PartSet.open(directory / "parts", directory / "quarantine")


def compact_all(parts: PartSet, now_ms: int, options: CompactionOptions = OPTIONS) -> int:
    merges = 0
    while compact_once(parts, now_ms, options):
        merges += 1
        assert merges < 1000
    return merges


def test_nothing_is_due_for_few_flushes(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    flush(parts, {(1, 0): 1.0})
    assert choose_merge(parts.files, 0, OPTIONS) is None
    assert not compact_once(parts, 100 * HOUR_MS, OPTIONS)


def test_the_oldest_flushes_are_merged_first(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    for value in range(5):
        flush(parts, {(1, 0): float(value)})
    plan = choose_merge(parts.files, 0, OPTIONS)
    assert plan is not None
    assert [file.stats.seq_min for file in plan.inputs] == [1, 2, 3]
    assert plan.level == MERGED


def test_flushes_are_split_into_partitions_that_close(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    flush(parts, {(1, -1): 1.0, (1, HOUR_MS): 2.0})
    flush(parts, {(1, HOUR_MS): 3.0, (1, 2 * HOUR_MS): 4.0})
    compact_all(parts, 4 * HOUR_MS)
    found = [(f.stats.partition, f.stats.level, f.stats.samples) for f in parts.files]
    length_ms = 2 * HOUR_MS
    assert found == [
        ((-length_ms, length_ms), FINAL, 1),
        ((0, length_ms), FINAL, 1),
        ((length_ms, length_ms), MERGED, 1),
    ]
    assert read_all(parts.files)[1, HOUR_MS] == 3.0


def test_a_trickle_of_late_samples_does_not_rewrite_a_final_part(tmp_path: Path) -> None:
    options = CompactionOptions(flushed_run=1, merged_run=4)
    parts = open_parts(tmp_path)
    flush(parts, {(i, i * 1000): float(i) / 7 for i in range(2000)})
    compact_all(parts, 10 * HOUR_MS, options)
    rewrites = 0
    for late in range(12):
        flush(parts, {(1, late): 1.0})
        compact_all(parts, 10 * HOUR_MS, options)
        rewrites += [file.stats.level for file in parts.files] == [FINAL]
    assert rewrites == 3
    assert read_all(parts.files)[1, 11] == 1.0


def test_a_damaged_input_is_set_aside_and_the_rest_is_merged(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    damaged = flush(parts, {(1, 0): 1.0})
    flush(parts, {(1, 1): 2.0})
    flush(parts, {(1, 2): 3.0})
    with damaged.path.open("r+b") as file:
        file.seek(18)
        file.write(b"\xff\xff")
    compact_all(parts, 10 * HOUR_MS)
    assert read_all(parts.files) == {(1, 1): 2.0, (1, 2): 3.0}
    assert parts.quarantined == 1


class CrashError(Exception):
    """The process would be gone now."""


class FileOperations:
    """Counts what the parts do to the disk, and crashes before a chosen operation."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        for owner, name in [
            (os, "fsync"),
            (Path, "replace"),
            (Path, "unlink"),
            (Path, "open"),
        ]:
            patch.setattr(owner, name, self._guard(getattr(owner, name)))

    def _guard(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.left is not None:
                if self.left == 0:
                    raise CrashError
                self.left -= 1
            return operation(*args, **kwargs)

        return guarded


VALUES = st.one_of(st.integers(0, 50).map(float), st.floats())
BATCH = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(-20, 20).map(lambda n: n * 900_000)),
    VALUES,
    min_size=1,
    max_size=30,
)
STEP = st.one_of(
    st.tuples(st.just("flush"), BATCH),
    st.tuples(st.just("compact"), st.integers(-10, 20)),
    st.tuples(st.just("reopen"), st.none()),
    st.tuples(st.just("crash"), st.integers(0, 12)),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEP, max_size=14))
def test_parts_hold_what_was_written_whatever_happens(steps: list[tuple[str, Any]]) -> None:
    """Flushes, merges, reopenings and crashes between any two file operations, against a dict."""
    directory = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        operations = FileOperations(patch)
        parts = open_parts(directory)
        expected: Samples = {}
        for action, argument in steps:
            if action == "flush":
                before = dict(expected)
                after = {**expected, **argument}
                try:
                    flush(parts, argument)
                    expected = after
                except CrashError:
                    parts = recover(directory, operations)
                    found = bits(read_all(parts.files))
                    assert found in (bits(before), bits(after))
                    expected = before if found == bits(before) else after
            elif action == "compact":
                try:
                    compact_all(parts, argument * HOUR_MS)
                except CrashError:
                    parts = recover(directory, operations)
            elif action == "reopen":
                parts = recover(directory, operations)
            else:
                operations.left = argument
            assert bits(read_all(parts.files)) == bits(expected)
        assert bits(read_all(recover(directory, operations).files)) == bits(expected)
        assert parts.quarantined == 0
    shutil.rmtree(directory)


def recover(directory: Path, operations: FileOperations) -> PartSet:
    operations.left = None
    return open_parts(directory)


def test_a_full_disk_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = open_parts(tmp_path)
    flush(parts, {(1, 0): 1.0})
    flush(parts, {(1, 0): 2.0})
    before = parts.files

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            compact_once(parts, 0, OPTIONS)
    assert parts.files == before
    assert compact_once(parts, 0, OPTIONS)
    assert read_all(parts.files) == {(1, 0): 2.0}


def test_retention_follows_the_newest_sample_of_a_part(tmp_path: Path) -> None:
    parts = open_parts(tmp_path)
    flush(parts, {(1, 0): 1.0, (1, 5 * HOUR_MS): 2.0})
    flush(parts, {(1, 3 * HOUR_MS): 3.0})
    assert apply_retention(parts, 6 * HOUR_MS, 2 * HOUR_MS) == 1
    assert read_all(parts.files) == {(1, 0): 1.0, (1, 5 * HOUR_MS): 2.0}
