"""Grouping accuracy of the template miner over labelled logs of eight systems.

One miner's configuration for all of them, and each system's lines as they are in `content.csv`.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from statistics import mean
from typing import Final

import pytest

from obsd._native import PatternMiner

SYSTEMS: Final = (
    "Apache",
    "BGL",
    "HPC",
    "HealthApp",
    "Mac",
    "OpenStack",
    "Spark",
    "Windows",
)
LEAST_OF_ONE: Final = 0.95
LEAST_MEAN: Final = 0.98
LINES_PER_CPU_SECOND: Final = 500_000
"""Of lines that were seen before; a machine of its own does a million and a half or more."""


def grouping_accuracy(groups: Sequence[Hashable], truth: Sequence[Hashable]) -> float:
    """The share of lines whose group is exactly the lines of their true template."""
    of_group: defaultdict[Hashable, list[int]] = defaultdict(list)
    of_template: defaultdict[Hashable, list[int]] = defaultdict(list)
    for line, (group, template) in enumerate(zip(groups, truth, strict=True)):
        of_group[group].append(line)
        of_template[template].append(line)
    right = {tuple(lines) for lines in of_template.values()}
    return sum(len(lines) for lines in of_group.values() if tuple(lines) in right) / len(truth)


def column(path: Path, name: str) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row[name] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def loghub(shared_dir: Path) -> Path:
    return shared_dir / "data" / "loghub"


def accuracy(directory: Path, batch: int) -> float:
    """As it is after the lines came in batches of so many."""
    lines = column(directory / "content.csv", "Content")
    miner = PatternMiner()
    ids: list[int] = []
    for first in range(0, len(lines), batch):
        ids += miner.learn(lines[first : first + batch]).tolist()
    # A pattern of the first batches may have become part of another since.
    groups = [(miner.resolve(number) or (number,))[0] for number in ids]
    return grouping_accuracy(groups, column(directory / "truth.csv", "EventId"))


def test_lines_are_grouped_as_their_templates_are(loghub: Path) -> None:
    found = {system: accuracy(loghub / system, 2000) for system in SYSTEMS}
    assert min(found.values()) >= LEAST_OF_ONE, found
    assert mean(found.values()) >= LEAST_MEAN, found


def test_lines_that_come_a_few_at_a_time_are_grouped_alike(loghub: Path) -> None:
    found = {system: accuracy(loghub / system, 37) for system in SYSTEMS}
    assert mean(found.values()) >= LEAST_MEAN, found


def test_the_order_of_lines_does_not_matter(loghub: Path) -> None:
    for system in ("BGL", "OpenStack"):
        lines = column(loghub / system / "content.csv", "Content")
        forwards = PatternMiner().learn(lines).tolist()
        backwards = PatternMiner().learn(lines[::-1]).tolist()
        assert forwards == backwards[::-1]


def test_known_lines_are_told_apart_at_the_speed_of_ingest(loghub: Path) -> None:
    lines = [
        line for system in SYSTEMS for line in column(loghub / system / "content.csv", "Content")
    ]
    miner = PatternMiner()
    miner.learn(lines)
    began_s = time.process_time()
    miner.learn(lines * 10)
    took_s = time.process_time() - began_s
    assert 10 * len(lines) / took_s >= LINES_PER_CPU_SECOND
