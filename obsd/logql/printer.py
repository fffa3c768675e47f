"""Queries as text."""

from __future__ import annotations

from obsd.logql.ast import Expr


def print_expr(expr: Expr) -> str:
    """The query on one line; `parse` reads it back as the same tree."""
    raise NotImplementedError


def format_query(text: str) -> str:
    """The query as people like to read it: long ones over several lines.

    Raises:
        LogqlParseError: it is none.
    """
    raise NotImplementedError
