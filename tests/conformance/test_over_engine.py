"""The same scripts, and our own, over the real engine with its native range functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.over_engine import OverEngine
from tests.conformance.runner import run_file
from tests.conformance.test_conformance import SCRIPTS

OWN = Path(__file__).parents[1] / "promql" / "data"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[OverEngine]:
    target = OverEngine(tmp_path)
    yield target
    target.close()


@pytest.mark.parametrize("script", SCRIPTS)
def test_shared_script(script: str, engine: OverEngine, shared_dir: Path) -> None:
    path = shared_dir / "conformance" / "promql" / f"{script}.test"
    failed = [str(o) for o in run_file(path, engine) if o.problem and not o.excuse]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("path", sorted(OWN.glob("*.test")), ids=lambda path: path.stem)
def test_own_script(path: Path, engine: OverEngine) -> None:
    assert [str(o) for o in run_file(path, engine) if o.problem] == []
