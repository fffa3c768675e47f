"""Label filters as functions of a line.

A filter that compares numbers lets a line through whose label is none, and notes the error: only a
filter on `__error__` leaves it out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from obsd.logql import ast
from obsd.logql.ip_filter import compile_ip
from obsd.logql.line import ERROR, ERROR_DETAILS, Line
from obsd.logql.literals import parse_bytes, parse_go_duration_ns, parse_go_float
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.regex import compile_anchored

LABEL_FILTER_ERROR: Final = "LabelFilterErr"

LabelTest = Callable[[Line], bool]
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@lru_cache(maxsize=4096)
def compile_matcher(matcher: Matcher) -> Callable[[str], bool]:
    """Whether a label's value passes; "" stands for a label that is not there."""
    wanted = matcher.value
    match matcher.op:
        case MatchOp.EQUAL:
            return wanted.__eq__
        case MatchOp.NOT_EQUAL:
            return wanted.__ne__
    matches = lru_cache(maxsize=1024)(compile_anchored(wanted).matches)
    if matcher.op is MatchOp.REGEX:
        return matches
    return lambda value: not matches(value)


def compile_test(test: ast.LabelTest) -> LabelTest:
    """The function of a filter.

    Raises:
        ValueError: it cannot be one.
    """
    match test:
        case ast.StringFilter(matcher):
            return _string(matcher)
        case ast.IpFilter():
            return _ip(test)
        case ast.NumberFilter():
            return _number(test.label, test.op, test.value, parse_go_float)
        case ast.DurationFilter():
            return _number(test.label, test.op, test.value_ns, parse_go_duration_ns)
        case ast.BytesFilter():
            return _number(test.label, test.op, test.value_bytes, parse_bytes)
        case ast.AndFilter(left, right):
            first, second = compile_test(left), compile_test(right)

            # Both are asked, since either may note an error.
            def both(line: Line) -> bool:
                passes = first(line)
                return second(line) and passes

            return both
        case ast.OrFilter(left, right):
            first, second = compile_test(left), compile_test(right)
            return lambda line: first(line) or second(line)


def names_of(test: ast.LabelTest) -> frozenset[str]:
    """The labels that a filter looks at."""
    match test:
        case ast.StringFilter(matcher):
            return frozenset({matcher.name})
        case ast.AndFilter(left, right) | ast.OrFilter(left, right):
            return names_of(left) | names_of(right)
        case _:
            return frozenset({test.label})


def _string(matcher: Matcher) -> LabelTest:
    passes, name = compile_matcher(matcher), matcher.name
    if name == ERROR:
        return lambda line: passes(line.error)
    if name == ERROR_DETAILS:
        return lambda line: passes(line.error_details)

    def test(line: Line) -> bool:
        value = line.parsed.get(name)
        if value is None:
            value = line.get(name) or ""
        return passes(value)

    return test


def _ip(test: ast.IpFilter) -> LabelTest:
    found, label, negated = compile_ip(test.pattern), test.label, test.negated

    def passes(line: Line) -> bool:
        if line.error:
            return True
        value = line.get(label)
        return value is not None and found(value) != negated

    return passes


def _number(
    label: str, op: ast.CompareOp, wanted: float, parse: Callable[[str], float]
) -> LabelTest:
    compare = _COMPARE[op]

    def passes(line: Line) -> bool:
        value = line.get(label)
        if value is None:
            return False
        try:
            return compare(parse(value), wanted)
        except ValueError as error:
            if not line.error:
                line.fail(LABEL_FILTER_ERROR, str(error))
            return True

    return passes
