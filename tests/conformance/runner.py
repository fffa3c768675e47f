"""Runs test scripts against anything that answers queries, and says which cases pass.

`Target` is what is tested: in process it is the evaluator over the storage in memory; a server
over HTTP fits it as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError, QueryError
from obsd.model.labels import Labels
from obsd.promql import (
    ColumnsValue,
    Evaluator,
    MatrixValue,
    Result,
    ScalarValue,
    StringValue,
    VectorValue,
)
from tests.conformance.not_yet import Scene, not_yet
from tests.conformance.notation import (
    Aspect,
    Eval,
    Expectation,
    Load,
    Series,
    range_vector_times,
    read_sections,
)
from tests.promql.memory_storage import MemoryStorage

TOLERANCE = 1e-6
MINUTE_MS = 60_000


class Target(Protocol):
    """A store that can be filled, emptied and asked."""

    def clear(self) -> None:
        """Forget everything."""

    def load(self, load: Load) -> None:
        """Take samples."""

    def instant(self, query: str, time_ms: int) -> Result:
        """Raises QueryError or BadInputError when the query fails."""

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Result:
        """Raises QueryError or BadInputError when the query fails."""


class InProcess:
    """The evaluator over a dict."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._evaluator = Evaluator(self._storage)

    def clear(self) -> None:
        self._storage.clear()

    def load(self, load: Load) -> None:
        for series in load.series:
            samples = [
                (i * load.interval_ms, point)
                for i, point in enumerate(series.points)
                if isinstance(point, float)
            ]
            if samples:
                self._storage.add(series.labels, samples)

    def instant(self, query: str, time_ms: int) -> Result:
        return self._evaluator.instant(query, time_ms, QueryBudget())

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Result:
        return self._evaluator.range(query, start_ms, end_ms, step_ms, QueryBudget())


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case went; `problem` is None when it passed, `excuse` why it may fail for now."""

    file: str
    case: Eval
    problem: str | None
    excuse: str | None

    def __str__(self) -> str:
        return f"{self.file}:{self.case.line}: {self.case.query}: {self.problem}"


def run_file(path: Path, target: Target) -> Iterator[Outcome]:
    for section in read_sections(path):
        target.clear()
        scene = Scene(path.name)
        for command in section.commands:
            if isinstance(command, Load):
                target.load(command)
                scene.add(command)
            else:
                problem = _problem(command, target)
                excuse = not_yet(command, scene) if problem else None
                yield Outcome(path.name, command, problem, excuse)


class MismatchError(Exception):
    """The answer is not the expected one."""


def _problem(case: Eval, target: Target) -> str | None:
    try:
        if case.is_instant:
            _check_instant(case, target)
        else:
            result = _asked(
                case, lambda: target.range(case.query, case.start_ms, case.end_ms, case.step_ms)
            )
            if result is not None:
                _check_matrix(case, result)
                _check_annotations(case, result)
    except MismatchError as mismatch:
        return str(mismatch)
    return None


def _asked(case: Eval, ask: Callable[[], Result]) -> Result | None:
    """The answer, or None for a failure that was expected."""
    failures = case.having(Aspect.FAIL)
    try:
        result = ask()
    except (QueryError, BadInputError) as error:
        if not failures:
            raise MismatchError(f"failed: {error}") from error
        for failure in failures:
            if not failure.fits(str(error)):
                raise MismatchError(f"failed with {error}, not {failure.text}") from error
        return None
    if failures:
        raise MismatchError(f"did not fail, but gave {result.value}")
    return result


def _check_instant(case: Eval, target: Target) -> None:
    result = _asked(case, lambda: target.instant(case.query, case.start_ms))
    if result is None:
        return
    _check_value(case, result)
    _check_annotations(case, result)
    if isinstance(result.value, VectorValue) and not case.having(Aspect.ORDERED):
        # The middle step of a range must give the same; another step must not disturb it.
        around = target.range(
            case.query, case.start_ms - MINUTE_MS, case.start_ms + MINUTE_MS, MINUTE_MS
        )
        assert isinstance(around.value, MatrixValue)
        middle = {
            labels: float(values[1])
            for labels, values, present in zip(
                around.value.labels, around.value.values, around.value.present, strict=True
            )
            if present[1]
        }
        _check_vector("middle of a range", middle, _expected_vector(case))


def _check_value(case: Eval, result: Result) -> None:
    match result.value:
        case ScalarValue(value=value):
            expected = case.scalar
            if expected is None or not almost_equal(value, expected):
                raise MismatchError(f"got {value}, not {expected}")
        case StringValue(value=text):
            wanted = [e.text for e in case.having(Aspect.STRING)]
            if wanted != [text]:
                raise MismatchError(f"got {text!r}, not {wanted}")
        case VectorValue(labels=labels, values=values):
            got = dict(zip(labels, values.tolist(), strict=True))
            if len(got) < len(labels):
                raise MismatchError("got a label set twice")
            expected_vector = _expected_vector(case)
            _check_vector("instant", got, expected_vector)
            if case.having(Aspect.ORDERED) and list(got) != list(expected_vector):
                raise MismatchError(f"got the order {list(got)}")
        case ColumnsValue():
            _check_columns(case, result.value)
        case MatrixValue():
            raise MismatchError("got a matrix from an instant query")


def _expected_vector(case: Eval) -> dict[Labels, float]:
    return {s.labels: _float(s) for s in case.series if s.points}


def _float(series: Series) -> float:
    if series.has_histograms:
        raise MismatchError("a histogram is expected")
    (point,) = series.points
    assert isinstance(point, float)
    return point


def _check_vector(what: str, got: dict[Labels, float], expected: dict[Labels, float]) -> None:
    if set(got) != set(expected):
        extra, missing = set(got) - set(expected), set(expected) - set(got)
        raise MismatchError(f"{what}: got {extra} that is not expected, missed {missing}")
    for labels, value in expected.items():
        if not almost_equal(got[labels], value):
            raise MismatchError(f"{what}: got {got[labels]!r} for {labels}, not {value!r}")


def _check_columns(case: Eval, value: ColumnsValue) -> None:
    (expectation,) = case.having(Aspect.RANGE_VECTOR)
    times = range_vector_times(expectation)
    columns = value.columns
    got = {
        labels: list(
            zip(
                columns.timestamps[low:high].tolist(),
                columns.values[low:high].tolist(),
                strict=True,
            )
        )
        for labels, low, high in zip(
            columns.labels, columns.offsets[:-1], columns.offsets[1:], strict=True
        )
    }
    expected = {
        s.labels: [(t, p) for t, p in zip(times, s.points, strict=False) if p is not None]
        for s in case.series
    }
    if got != expected:
        raise MismatchError(f"got {got}, not {expected}")


def _check_matrix(case: Eval, result: Result) -> None:
    value = result.value
    assert isinstance(value, MatrixValue)
    expected = {s.labels: _padded(s, value.values.shape[1]) for s in case.series if any_point(s)}
    got = {
        labels: np.where(present, values, ABSENT)
        for labels, values, present in zip(value.labels, value.values, value.present, strict=True)
    }
    presence = dict(zip(value.labels, value.present.tolist(), strict=True))
    if set(got) != set(expected):
        extra, missing = set(got) - set(expected), set(expected) - set(got)
        raise MismatchError(f"got {extra} that is not expected, missed {missing}")
    for labels, points in expected.items():
        for step, point in enumerate(points):
            there = presence[labels][step]
            if there != (point is not None):
                raise MismatchError(f"step {step} of {labels}: presence is {there}")
            if point is not None and not almost_equal(float(got[labels][step]), point):
                raise MismatchError(
                    f"step {step} of {labels}: got {got[labels][step]!r}, not {point!r}"
                )


ABSENT = 0.0


def any_point(series: Series) -> bool:
    return any(point is not None for point in series.points)


def _padded(series: Series, step_count: int) -> list[float | None]:
    if series.has_histograms:
        raise MismatchError("histograms are expected")
    points = [p if isinstance(p, float) else None for p in series.points]
    return points + [None] * (step_count - len(points))


def _check_annotations(case: Eval, result: Result) -> None:
    _check_messages(
        "warning", result.warnings, case.having(Aspect.WARN), case.having(Aspect.NO_WARN)
    )
    _check_messages("info", result.infos, case.having(Aspect.INFO), case.having(Aspect.NO_INFO))


def _check_messages(
    what: str,
    messages: Sequence[str],
    expected: Sequence[Expectation],
    refused: Sequence[Expectation],
) -> None:
    if refused and messages:
        raise MismatchError(f"got an unwanted {what}: {messages}")
    for expectation in expected:
        if not any(expectation.fits(message) for message in messages):
            raise MismatchError(f"no {what} fits {expectation.text!r}: {messages}")
    for message in messages:
        if expected and not any(e.fits(message) for e in expected):
            raise MismatchError(f"{what} not expected: {message}")


def almost_equal(a: float, b: float) -> bool:
    """Within the tolerance of the notation; NaN equals NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if a == b:
        return True
    size = abs(a) + abs(b)
    if a == 0 or b == 0 or size < np.finfo(np.float64).tiny:
        return abs(a - b) < TOLERANCE * np.finfo(np.float64).tiny
    return abs(a - b) / min(size, np.finfo(np.float64).max) < TOLERANCE
