"""PromQL text to a checked syntax tree, through a cache; `obsd.promql.syntax` reads the text."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from obsd.model.errors import QueryParseError
from obsd.promql import ast

CACHED_QUERIES: Final = 4096  # A dashboard has tens of queries; an entry costs a few kilobytes.
MAX_CACHED_LENGTH: Final = 10_000  # So that the cache stays within some tens of megabytes.
MAX_QUERY_LENGTH: Final = 1_000_000  # A parse is linear, but seconds of it would be a denial.


def parse(text: str) -> ast.Expr:
    """The checked tree of a query; repeated queries cost a dictionary lookup.

    Raises:
        QueryParseError: where and why the text is no PromQL.
    """
    return _parse(text) if len(text) > MAX_CACHED_LENGTH else _cached_parse(text)


def _parse(text: str) -> ast.Expr:
    if len(text) > MAX_QUERY_LENGTH:
        raise QueryParseError(f"query is longer than {MAX_QUERY_LENGTH} characters", 1, 1)
    if not text.strip():
        raise QueryParseError("no expression found in input", 1, 1)
    from obsd.promql.syntax import read_expr

    return read_expr(text)


_cached_parse = lru_cache(maxsize=CACHED_QUERIES)(_parse)


def parse_selector(text: str) -> ast.VectorSelector:
    """A query that has to be a plain selector, as `match[]` parameters are.

    Raises:
        QueryParseError: it is something else.
    """
    expr = parse(text)
    if not isinstance(expr, ast.VectorSelector) or expr.offset or expr.at is not None:
        from obsd.promql.lexer import error_at

        raise error_at(text, expr.span, "expected a vector selector without modifiers")
    return expr
