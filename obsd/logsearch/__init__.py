"""The search language for logs: text to what the log engine understands. docs/logs.md."""

from obsd.logsearch.compile import compile_query, own_name, to_predicate
from obsd.logsearch.parser import parse
from obsd.logsearch.printer import format_query

__all__ = ["compile_query", "format_query", "own_name", "parse", "to_predicate"]
