"""TraceQL: parsed, printed, and evaluated over a small storage Protocol."""

from __future__ import annotations

from obsd.traceql.ast import Query
from obsd.traceql.conditions import condition_of
from obsd.traceql.errors import NotMetricsError, NotTraceSearchError, TraceqlParseError
from obsd.traceql.metrics import query_instant, query_range
from obsd.traceql.parser import parse, parse_field
from obsd.traceql.printer import print_named, print_query
from obsd.traceql.pushdown import field_of
from obsd.traceql.result import (
    FoundSpan,
    FoundSpans,
    FoundTrace,
    MetricsResult,
    QueryStats,
    SearchResult,
    Series,
    TraceExemplar,
)
from obsd.traceql.search import search
from obsd.traceql.storage import Storage

__all__ = [
    "FoundSpan",
    "FoundSpans",
    "FoundTrace",
    "MetricsResult",
    "NotMetricsError",
    "NotTraceSearchError",
    "Query",
    "QueryStats",
    "SearchResult",
    "Series",
    "Storage",
    "TraceExemplar",
    "TraceqlParseError",
    "condition_of",
    "field_of",
    "parse",
    "parse_field",
    "print_named",
    "print_query",
    "query_instant",
    "query_range",
    "search",
]
