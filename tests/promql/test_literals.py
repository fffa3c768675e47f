"""Numbers, durations and strings, to text and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.model.go_strings import quote, unquote
from obsd.promql.literals import (
    format_duration,
    format_general,
    format_number,
    format_plain,
    parse_duration_ms,
    parse_number,
)


@given(st.floats(allow_nan=False))
def test_numbers_read_back(value: float) -> None:
    for write in (format_number, format_plain, format_general):
        text = write(value)
        sign = -1 if text.startswith("-") else 1
        assert sign * parse_number(text.lstrip("+-")) == value


@pytest.mark.parametrize(
    ("value", "general", "plain"),
    [
        (1.1, "1.1", "1.1"), (2.0, "2", "2"), (-0.0, "-0", "-0"), (0.0001, "0.0001", "0.0001"),
        (1e20, "1" + "0" * 20, "1" + "0" * 20), (1e21, "1e+21", "1" + "0" * 21),
        (1e-5, "1e-05", "0.00001"), (1.5e300, "1.5e+300", "15" + "0" * 299),
        (math.inf, "+Inf", "+Inf"), (math.nan, "NaN", "NaN"),
    ],
)  # fmt: skip
def test_numbers_in_messages_and_in_queries(value: float, general: str, plain: str) -> None:
    assert (format_general(value), format_plain(value)) == (general, plain)


@given(st.integers(0, 9 * 10**12))
def test_durations_read_back(duration_ms: int) -> None:
    assert parse_duration_ms(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0s"), (90_000, "1m30s"), (604_800_000, "1w"), (691_200_000, "8d"), (-1, "-1ms"),
        (31_536_000_000, "1y"),
    ],
)  # fmt: skip
def test_durations_are_short(duration_ms: int, text: str) -> None:
    assert format_duration(duration_ms) == text


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "1s1m", "1h1h", "9999999y"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration_ms(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_read_back(text: str) -> None:
    assert unquote(quote(text)) == text


@given(st.binary())
def test_bytes_that_are_no_text_read_back(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert unquote(quote(text)) == text
