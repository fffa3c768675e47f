"""What a query must keep to beyond its grammar; messages are Loki's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from obsd.logql import ast
from obsd.logql.errors import LogqlParseError
from obsd.logql.label_tests import compile_matcher
from obsd.logql.stages import compile_stage
from obsd.logql.unwrap import compile_unwrap
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.regex import InvalidRegexError, compile_anchored

MAX_DEPTH: Final = 300  # Evaluation and printing recurse.

NO_MATCHER: Final = (
    "queries require at least one regexp or equality matcher that does not have an "
    'empty-compatible value. For instance, app=~".*" does not meet this requirement, but '
    'app=~".+" will'
)

_WITHOUT_UNWRAP: Final = frozenset(
    {"absent_over_time", "bytes_over_time", "bytes_rate", "count_over_time", "rate"}
)
_WITH_UNWRAP: Final = ast.RANGE_OPERATIONS - {"bytes_over_time", "bytes_rate", "count_over_time"}
_GROUPED: Final = frozenset(
    {
        "avg_over_time",
        "first_over_time",
        "last_over_time",
        "max_over_time",
        "min_over_time",
        "quantile_over_time",
        "stddev_over_time",
        "stdvar_over_time",
    }
)


def checked_matcher(op: MatchOp, name: str, value: str) -> Matcher:
    """A matcher.

    Raises:
        LogqlParseError: its regular expression is none.
    """
    if op in {MatchOp.REGEX, MatchOp.NOT_REGEX}:
        try:
            compile_anchored(value)
        except InvalidRegexError as error:
            raise LogqlParseError(str(error)) from None
    return Matcher(op, name, value)


def check(expr: ast.Expr) -> None:
    """See that a tree means something.

    Raises:
        LogqlParseError: it does not.
    """
    _check_depth(expr)
    for node in ast.walk(expr):
        match node:
            case ast.LogQuery():
                _check_log_query(node)
            case ast.RangeAggregation():
                _check_range_aggregation(node)
            case ast.VectorAggregation():
                _check_vector_aggregation(node)
            case ast.LabelReplace():
                checked_matcher(MatchOp.REGEX, node.source, node.regex)


def check_matchers(matchers: Sequence[Matcher]) -> None:
    """See that a selector does not mean every stream there is.

    Raises:
        LogqlParseError: it does.
    """
    if all(compile_matcher(matcher)("") for matcher in matchers):
        raise LogqlParseError(NO_MATCHER)


def _check_log_query(query: ast.LogQuery) -> None:
    check_matchers(query.matchers)
    for stage in query.stages:
        compile_stage(stage)


def _check_range_aggregation(node: ast.RangeAggregation) -> None:
    op, unwrap = node.op, node.range.unwrap
    if node.grouping is not None and op not in _GROUPED:
        raise LogqlParseError(f"grouping not allowed for {op} aggregation")
    if unwrap is not None and op not in _WITH_UNWRAP:
        raise LogqlParseError(f"invalid aggregation {op} with unwrap")
    if unwrap is None and op not in _WITHOUT_UNWRAP:
        raise LogqlParseError(f"invalid aggregation {op} without unwrap")
    if op == "quantile_over_time" and node.param is None:
        raise LogqlParseError(f"parameter required for operation {op}")
    if op != "quantile_over_time" and node.param is not None:
        raise LogqlParseError(f"parameter {node.param:g} not supported for operation {op}")
    _check_log_query(node.range.query)
    if unwrap is not None:
        compile_unwrap(unwrap)


def _check_vector_aggregation(node: ast.VectorAggregation) -> None:
    op, param = node.op, node.param
    if op in ast.VECTOR_OPERATIONS_WITH_PARAM:
        if param is None:
            raise LogqlParseError(f"parameter required for operation {op}")
        if param <= 0:
            raise LogqlParseError(f"invalid parameter (must be greater than 0) {op}({param}")
    elif param is not None:
        raise LogqlParseError(f"unsupported parameter for operation {op}({param},")
    if op == "approx_topk" and node.grouping is not None:
        raise LogqlParseError("grouping not allowed for approx_topk aggregation")
    if op in {"sort", "sort_desc"} and node.grouping is not None and node.grouping.labels:
        raise LogqlParseError("sort and sort_desc doesn't allow grouping by ")


def _check_depth(expr: ast.Expr) -> None:
    pending: list[tuple[ast.Expr | ast.LabelTest, int]] = [(expr, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise LogqlParseError("expression is nested too deeply")
        below: list[ast.Expr | ast.LabelTest] = []
        match node:
            case ast.AndFilter(left, right) | ast.OrFilter(left, right):
                below = [left, right]
            case ast.LogQuery():
                below = [s.test for s in node.stages if isinstance(s, ast.LabelFilter)]
            case ast.RangeAggregation():
                below = [node.range.query]
                if node.range.unwrap is not None:
                    below += node.range.unwrap.filters
            case ast.VectorAggregation() | ast.LabelReplace() | ast.Binary():
                below = list(ast.children(node))
        pending.extend((each, depth + 1) for each in below)
