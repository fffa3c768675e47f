"""Line filters as functions of a line's text."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from obsd.logql import ast
from obsd.logql.ip_filter import compile_ip
from obsd.logql.pattern import compile_filter_pattern
from obsd.model.regex import compile_unanchored

LineTest = Callable[[str], bool]


@lru_cache(maxsize=1024)
def compile_line_filter(stage: ast.LineFilter) -> LineTest:
    """Whether a line passes.

    Raises:
        ValueError: a regular expression, a pattern or an address is none.
    """
    tests = [_test(stage.op, match) for match in stage.alternatives]
    if len(tests) == 1:
        only = tests[0]
        return _negation(only) if stage.op.startswith("!") else only
    if stage.op.startswith("!"):
        return lambda text: not any(test(text) for test in tests)
    return lambda text: any(test(text) for test in tests)


def _test(op: ast.LineOp, match: ast.LineMatch) -> LineTest:
    if match.is_ip:
        if op not in {"|=", "!="}:
            raise ValueError(f"ip: invalid operation {op}, only |= and != are supported")
        return compile_ip(match.text)
    match op:
        case "|=" | "!=":
            wanted = match.text
            return lambda text: wanted in text
        case "|~" | "!~":
            search = compile_unanchored(match.text).search
            return lambda text: search(text) is not None
        case _:
            return compile_filter_pattern(match.text)


def _negation(test: LineTest) -> LineTest:
    return lambda text: not test(text)
