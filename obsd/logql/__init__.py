"""LogQL: parsed, printed, and evaluated over a small storage Protocol."""

from __future__ import annotations

from obsd.logql.ast import Expr, LogQuery, MetricExpr, is_metric, log_queries
from obsd.logql.errors import (
    LogqlParseError,
    PipelineError,
    SeriesLimitError,
    VectorMatchError,
)
from obsd.logql.evaluate import Limits, run_instant, run_range
from obsd.logql.format import format_query
from obsd.logql.log_query import Direction, run_log_query
from obsd.logql.parser import parse, parse_log_query, parse_matchers
from obsd.logql.pipeline import LineProcessor, ProcessedLine
from obsd.logql.printer import print_expr
from obsd.logql.pushdown import matchers_predicate, stream_predicate
from obsd.logql.result import (
    LogEntry,
    LogStream,
    LogStreams,
    Matrix,
    QueryStats,
    Scalar,
    Vector,
)
from obsd.logql.storage import Storage

__all__ = [
    "Direction",
    "Expr",
    "Limits",
    "LineProcessor",
    "LogEntry",
    "LogQuery",
    "LogStream",
    "LogStreams",
    "LogqlParseError",
    "Matrix",
    "MetricExpr",
    "PipelineError",
    "ProcessedLine",
    "QueryStats",
    "Scalar",
    "SeriesLimitError",
    "Storage",
    "Vector",
    "VectorMatchError",
    "format_query",
    "is_metric",
    "log_queries",
    "matchers_predicate",
    "parse",
    "parse_log_query",
    "parse_matchers",
    "print_expr",
    "run_instant",
    "run_log_query",
    "run_range",
    "stream_predicate",
]
