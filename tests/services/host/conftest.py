"""Trees of /proc and /sys files that tests write by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from obsd.services.host.family import Family
from obsd.services.host.sources import HostPaths

Write = Callable[[dict[str, str]], HostPaths]


@pytest.fixture
def tree(tmp_path: Path) -> Write:
    """Writes files below `proc/`, `sys/` and `root/`, and returns where they are."""

    def write(files: dict[str, str]) -> HostPaths:
        for directory in ("proc", "sys", "root"):
            (tmp_path / directory).mkdir(exist_ok=True)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return HostPaths(tmp_path / "proc", tmp_path / "sys", tmp_path / "root")

    return write


@pytest.fixture
def values() -> Callable[[list[Family]], dict[str, float]]:
    """Series, as `name{label=value,...}`, of families."""

    def flatten(families: list[Family]) -> dict[str, float]:
        found = {}
        for family in families:
            for labels, value in family.samples:
                inner = ",".join(f"{name}={text}" for name, text in sorted(labels.items()))
                key = f"{family.name}{{{inner}}}" if inner else family.name
                assert key not in found, f"twice: {key}"
                found[key] = value
        return found

    return flatten
