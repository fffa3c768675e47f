"""Which parts to merge, and doing it.

Flushed parts (level 0) hold any times. The oldest run of them is merged into partitions of two
hours (level 1); within a partition, runs of parts of like size are merged; and when no more is
expected of a partition, all its parts become one with the smallest encodings (level 2).

Invariant: every level 0 part has a higher sequence than every partition part, since the oldest
flushes are merged first. So a run that is contiguous among its partition's parts is contiguous
among all parts with samples of these times, and merging it keeps "the later sequence wins".
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from obsd import _native
from obsd.tsdb import filenames
from obsd.tsdb.parts import PartFile, PartSet

log = logging.getLogger(__name__)

FLUSHED: Final = 0
MERGED: Final = 1
FINAL: Final = 2


@dataclass(frozen=True, slots=True)
class CompactionOptions:
    """When merges are due.

    Attributes:
        partition_ms: length of a partition.
        flushed_run: level 0 parts that make a merge worthwhile.
        merged_run: parts of like size in a partition that do. More of them mean fewer rewrites of
            a sample, and more parts to read for a query.
        max_run: parts of one merge at most.
        slack_ms: how long after its end a partition waits for late samples before its final merge.
        hot_samples: parts of so many samples that are not final come from flushes by size: writes
            come fast, and merges only keep up while they leave the choice of encodings, which
            doubles their cost, to the final ones.
        smallest: choose the smallest encodings of hot parts too.
        late_share: late parts of a final partition are merged into it when they reach this share
            of its size, or are `merged_run` many: a trickle must not rewrite it again and again.
    """

    partition_ms: int = 2 * 3600 * 1000
    flushed_run: int = 8
    merged_run: int = 8
    max_run: int = 16
    slack_ms: int = 10 * 60 * 1000
    late_share: float = 0.25
    hot_samples: int = 1_000_000
    smallest: bool = False


@dataclass(frozen=True, slots=True)
class MergePlan:
    """Parts to be merged, ascending by sequence, and the level of the result."""

    inputs: tuple[PartFile, ...]
    level: int


def choose_merge(
    files: Sequence[PartFile], now_ms: int, options: CompactionOptions
) -> MergePlan | None:
    """The most urgent merge; None when none is due. `files` ascend by sequence."""
    flushed = [file for file in files if file.stats.level == FLUSHED]
    if len(flushed) >= options.flushed_run:
        return MergePlan(tuple(flushed[: options.max_run]), MERGED)
    partitions: defaultdict[tuple[int, int], list[PartFile]] = defaultdict(list)
    for file in files:
        if file.stats.partition is not None:
            partitions[file.stats.partition].append(file)
    for partition in sorted(partitions):
        if plan := _choose_in_partition(partition, partitions[partition], flushed, now_ms, options):
            return plan
    return None


def _choose_in_partition(
    partition: tuple[int, int],
    parts: list[PartFile],
    flushed: list[PartFile],
    now_ms: int,
    options: CompactionOptions,
) -> MergePlan | None:
    start_ms, length_ms = partition
    end_ms = start_ms + length_ms
    if end_ms + options.slack_ms > now_ms:
        return _choose_like_sized(parts, options)
    final = [file for file in parts if file.stats.level == FINAL]
    late = [file for file in parts if file.stats.level != FINAL]
    if not final:
        overlapping = any(f.stats.min_ts < end_ms and f.stats.max_ts >= start_ms for f in flushed)
        if overlapping:
            return MergePlan(tuple(flushed[: options.max_run]), MERGED)
        return MergePlan(tuple(parts), FINAL)
    late_bytes = sum(file.stats.size_bytes for file in late)
    final_bytes = sum(file.stats.size_bytes for file in final)
    if len(late) >= options.merged_run or late_bytes > options.late_share * final_bytes:
        return MergePlan(tuple(parts), FINAL)
    return None


def _choose_like_sized(parts: list[PartFile], options: CompactionOptions) -> MergePlan | None:
    """The longest run, newest first, in which no part is much larger than the others.

    The largest is less than half of the run, so that a sample's part doubles with each rewrite.
    """
    for length in range(min(len(parts), options.max_run), options.merged_run - 1, -1):
        for first in range(len(parts) - length, -1, -1):
            run = parts[first : first + length]
            sizes = [file.stats.size_bytes for file in run]
            if 2 * max(sizes) <= sum(sizes):
                return MergePlan(tuple(run), MERGED)
    return None


def compact_once(
    parts: PartSet, now_ms: int, options: CompactionOptions, drop_before_ms: int | None = None
) -> bool:
    """Do the most urgent merge; False when none is due.

    A damaged input is set aside, and the merge is left to the next call. Not to be called from two
    threads at once.

    Raises:
        OSError: the disk refuses; the parts are as before.
    """
    plan = choose_merge(parts.files, now_ms, options)
    if plan is None:
        return False
    run_merge(parts, plan, options, drop_before_ms)
    return True


def _chooses_encodings(plan: MergePlan, options: CompactionOptions) -> bool:
    if options.smallest or plan.level == FINAL:
        return True
    return all(file.stats.samples < options.hot_samples for file in plan.inputs)


def run_merge(
    parts: PartSet,
    plan: MergePlan,
    options: CompactionOptions,
    drop_before_ms: int | None = None,
) -> None:
    """Merge the inputs of a plan and publish the outputs in their place."""
    seq_min = min(file.stats.seq_min for file in plan.inputs)
    seq_max = max(file.stats.seq_max for file in plan.inputs)
    prefix = parts.directory / filenames.part_prefix(seq_min, seq_max, plan.level)
    try:
        outputs = _native.merge_parts(
            [file.part for file in plan.inputs],
            prefix,
            plan.level,
            options.partition_ms,
            _chooses_encodings(plan, options),
            drop_before_ms,
        )
    except _native.CorruptError as error:
        path, detail = error.args
        known = Path(path) in {file.path for file in plan.inputs}
        if not parts.quarantine(Path(path), detail) and not known:
            raise
        return
    parts.replace(plan.inputs, [Path(path) for path, _ in outputs])
