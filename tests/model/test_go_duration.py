"""Durations as Go has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.model.go_duration import MAX_NS, format_go_duration, parse_go_duration_ns


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("1.5s", 1_500_000_000),
        ("100ms", 100_000_000),
        ("5us", 5_000),
        ("5µs", 5_000),
        ("7ns", 7),
        ("1h2m3.5s", 3_723_500_000_000),
        (".5ms", 500_000),
        ("-2s", -2_000_000_000),
        ("0", 0),
        ("0.3s", 300_000_000),
    ],
)
def test_durations_are_read(text: str, expected_ns: int) -> None:
    assert parse_go_duration_ns(text) == expected_ns


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1.5", "1d", "1s ", "1,5s", "9999999999h", "1s" * 200]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_go_duration_ns(text)


@given(st.text(max_size=300))
def test_any_text_is_a_duration_or_an_error(text: str) -> None:
    try:
        duration_ns = parse_go_duration_ns(text)
    except ValueError:
        return
    assert abs(duration_ns) <= MAX_NS


@given(st.integers(-MAX_NS, MAX_NS))
def test_what_is_shown_is_about_what_it_was(duration_ns: int) -> None:
    shown = parse_go_duration_ns(format_go_duration(duration_ns))
    assert abs(shown - duration_ns) <= max(abs(duration_ns) * 0.02, 0)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [(0, "0ns"), (999, "999ns"), (1_500, "1.5µs"), (2_000_000, "2ms"), (61_000_000_000, "1m1s")],
)
def test_durations_are_shown_shortly(duration_ns: int, text: str) -> None:
    assert format_go_duration(duration_ns) == text
