"""Durations that depend on the query: arithmetic over literals, `step()` and `range()`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from obsd.model.errors import QueryError
from obsd.promql import ast

_MAX_S: Final = (1 << 63) / 1e9
_OPERATIONS: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": math.fmod,
    "^": math.pow,
    "min_of": min,
    "max_of": max,
}


def evaluate_duration_ms(
    duration: ast.Duration, query_range_ms: tuple[int, int, int], *, signed: bool
) -> int:
    """Milliseconds; `query_range_ms` is the whole query's start, end and step.

    Raises:
        QueryError: the result is no duration: not finite, too large, or not positive where it must.
    """
    if isinstance(duration, int):
        return duration
    where = f"{duration.span.start}:{duration.span.end}"
    try:
        seconds = _seconds(duration, query_range_ms)
    except ZeroDivisionError:
        raise QueryError(f"{where}: division by zero") from None
    except (OverflowError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise QueryError(f"{where}: duration is NaN or infinite")
    if seconds <= 0 and not signed:
        raise QueryError(f"{where}: duration must be greater than 0")
    if abs(seconds) > _MAX_S:
        raise QueryError(f"{where}: duration is out of range")
    return int(seconds * 1000)


def _seconds(
    node: ast.NumberLiteral | ast.DurationOp, query_range_ms: tuple[int, int, int]
) -> float:
    if isinstance(node, ast.NumberLiteral):
        return node.value
    start_ms, end_ms, step_ms = query_range_ms
    if node.op == "step":
        return step_ms / 1000
    if node.op == "range":
        return (end_ms - start_ms) / 1000
    assert node.right is not None, "only step and range stand alone"
    left = 0.0 if node.left is None else _seconds(node.left, query_range_ms)
    return _OPERATIONS[node.op](left, _seconds(node.right, query_range_ms))
