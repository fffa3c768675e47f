"""The shared test scripts against the evaluator in process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.notation import Eval, read_sections
from tests.conformance.runner import InProcess, Outcome, run_file

SCRIPTS = (
    "aggregators", "at_modifier", "collision", "duration_expression", "extended_vectors",
    "fill-modifier", "functions", "histograms", "info", "limit", "literals",
    "name_label_dropping", "native_histograms", "operators", "range_queries", "selectors",
    "staleness", "start_timestamps", "subquery", "trig_functions", "type_and_unit",
)  # fmt: skip

LEAST_PASSED = 600
"""Of all scripts together, so that nothing can come to pass by being excused."""


@pytest.fixture(scope="module")
def outcomes(shared_dir: Path) -> dict[str, list[Outcome]]:
    directory = shared_dir / "conformance" / "promql"
    return {name: list(run_file(directory / f"{name}.test", InProcess())) for name in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_case_of_what_is_built_passes(
    script: str, outcomes: dict[str, list[Outcome]]
) -> None:
    failed = [str(o) for o in outcomes[script] if o.problem and not o.excuse]
    assert not failed, "\n".join(failed)


def test_most_cases_pass_and_the_rest_is_excused(outcomes: dict[str, list[Outcome]]) -> None:
    every = [outcome for found in outcomes.values() for outcome in found]
    counts = Counter(o.excuse or ("failed" if o.problem else "passed") for o in every)
    assert counts["passed"] >= LEAST_PASSED, counts


def test_every_script_is_run(shared_dir: Path) -> None:
    found = {path.stem for path in (shared_dir / "conformance" / "promql").glob("*.test")}
    assert found == set(SCRIPTS)


def test_no_command_of_a_script_is_overlooked(shared_dir: Path) -> None:
    for path in (shared_dir / "conformance" / "promql").glob("*.test"):
        stripped = map(str.strip, path.read_text().splitlines())
        lines = [line for line in stripped if line.startswith("eval")]
        commands = [c for section in read_sections(path) for c in section.commands]
        assert sum(isinstance(c, Eval) for c in commands) == len(lines), path.name
