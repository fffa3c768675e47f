"""PromQL: text to a checked tree, and the tree to values over a small storage Protocol."""

from obsd.promql.ast_json import expr_to_json
from obsd.promql.evaluate import Evaluator
from obsd.promql.parser import parse, parse_selector
from obsd.promql.printer import format_expr, pretty
from obsd.promql.storage import Storage
from obsd.promql.value import (
    ColumnsValue,
    MatrixValue,
    Result,
    ScalarValue,
    StringValue,
    Value,
    VectorValue,
)

__all__ = [
    "ColumnsValue",
    "Evaluator",
    "MatrixValue",
    "Result",
    "ScalarValue",
    "Storage",
    "StringValue",
    "Value",
    "VectorValue",
    "expr_to_json",
    "format_expr",
    "parse",
    "parse_selector",
    "pretty",
]
