"""Texts of values are those that the engine searches and shows."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.model.log_text import double_text, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("a\n", "a\n"),
        (True, "true"),
        (-5, "-5"),
        (b"\x00\xff", "00ff"),
        ([1, None, "é\x01"], '[1,null,"é\\u0001"]'),
        ({"a": [True, math.inf]}, '{"a":[true,"inf"]}'),
    ],
)
def test_texts_of_values(value: Any, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (500.0, "500.0"),
        (1e16, "1e16"),
        (1.5e-7, "1.5e-7"),
        (0.00001, "0.00001"),
        (-0.000015, "-0.000015"),
        (1e-6, "1e-6"),
        (math.nan, "NaN"),
        (-math.inf, "-inf"),
        (-0.0, "-0.0"),
    ],
)
def test_texts_of_doubles(number: float, text: str) -> None:
    assert double_text(number) == text


@given(st.floats(allow_nan=False))
def test_a_double_reads_back(number: float) -> None:
    assert float(double_text(number)) == number


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).filter(lambda value: isinstance(value, list | dict))
)  # fmt: skip
def test_lists_and_maps_are_json(value: Any) -> None:
    assert json.loads(text_of(value)) == value
