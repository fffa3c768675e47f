"""`| unwrap`: the number in a label as a line's sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from obsd.logql import ast
from obsd.logql.errors import LogqlParseError
from obsd.logql.label_tests import compile_test
from obsd.logql.line import Line
from obsd.logql.literals import parse_bytes, parse_go_duration_ns, parse_go_float

SAMPLE_ERROR: Final = "SampleExtractionErr"


@lru_cache(maxsize=1024)
def compile_unwrap(unwrap: ast.Unwrap) -> Callable[[Line], float | None]:
    """A line's sample; None where the line has none, or a filter behind it says so.

    Raises:
        LogqlParseError: a filter is none.
    """
    convert = _CONVERSIONS[unwrap.conversion]
    label = unwrap.label
    try:
        tests = [compile_test(test) for test in unwrap.filters]
    except ValueError as error:
        raise LogqlParseError(f"stage '| unwrap {label}' : {error}") from None

    def sample(line: Line) -> float | None:
        text = line.get(label)
        if not text:
            return None
        value = 0.0
        try:
            value = convert(text)
        except ValueError as error:
            line.fail(SAMPLE_ERROR, str(error))
        for test in tests:
            if not test(line):
                return None
        return value

    return sample


def _seconds(text: str) -> float:
    return parse_go_duration_ns(text) / 1e9


_CONVERSIONS: Final[dict[str, Callable[[str], float]]] = {
    "": parse_go_float,
    "bytes": parse_bytes,
    "duration": _seconds,
    "duration_seconds": _seconds,
}
