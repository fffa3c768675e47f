"""The table of functions: sorted, whole, and documented."""

from __future__ import annotations

import re
from pathlib import Path

from obsd.promql import ast
from obsd.promql.functions import FUNCTIONS
from tests.oracles.rollup import FUNCTIONS as RANGE_FUNCTIONS

PAGE = Path(__file__).parents[2] / "docs" / "promql.md"


def test_the_table_is_sorted() -> None:
    assert list(FUNCTIONS) == sorted(FUNCTIONS)


def test_every_range_function_is_one_of_the_storage() -> None:
    own = {"absent_over_time", "holt_winters"}
    for name, function in FUNCTIONS.items():
        if ast.ValueType.MATRIX in function.args and name not in own:
            assert name in RANGE_FUNCTIONS


def test_every_function_is_documented() -> None:
    text = PAGE.read_text()
    words = set(re.findall(r"[a-z_0-9]+", text))
    prefixes = set(re.findall(r"`([a-z]+)_`", text))
    hyperbolic = {"sin", "cos", "tan"}
    for name in (*FUNCTIONS, *ast.AGGREGATIONS):
        base = name.removesuffix("h").removeprefix("a")
        documented = (
            name in words
            or (name.endswith("_over_time") and name.removesuffix("_over_time") in prefixes)
            or name.startswith("ts_of_")
            or (name.startswith("histogram_") and "histogram_count" in words)
            or base in hyperbolic
        )
        assert documented, name
