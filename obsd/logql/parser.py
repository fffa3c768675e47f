"""LogQL text to a checked syntax tree."""

from __future__ import annotations

from obsd.logql.ast import Expr, LogQuery
from obsd.model.matcher import Matcher


def parse(text: str) -> Expr:
    """The checked tree of a query; repeated queries cost a dictionary lookup.

    Raises:
        LogqlParseError: where and why the text is no LogQL.
    """
    raise NotImplementedError


def parse_log_query(text: str) -> LogQuery:
    """A query that has to be one for lines, as those of a tail.

    Raises:
        LogqlParseError: it is something else.
    """
    raise NotImplementedError


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """A selector alone, as `match[]` has it; `{}` means every stream.

    Raises:
        LogqlParseError: it is something else.
    """
    raise NotImplementedError
