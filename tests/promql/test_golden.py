"""Our own scripts: data, query and expected result as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.runner import InProcess, run_file

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("path", sorted(DATA.glob("*.test")), ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    outcomes = list(run_file(path, InProcess()))
    assert outcomes
    assert [str(o) for o in outcomes if o.problem] == []
