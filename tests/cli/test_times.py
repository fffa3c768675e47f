"""Times as people give them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.cli.times import format_time, parse_time_s

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("now", NOW),
        ("NOW", NOW),
        ("-1h", NOW - 3600),
        ("now-1h30m", NOW - 5400),
        ("now + 5m", NOW + 300),
        ("+5m", NOW + 300),
        ("0", 0),
        ("1700000000.5", 1_700_000_000.5),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14 22:13:20", NOW),
        ("2023-11-14", 1_699_920_000),
        ("1969-12-31T23:59:59Z", -1),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time_s(text, NOW) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "-1fortnight", "1h", "1e99", "9" * 30])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|duration|year"):
        parse_time_s(text, NOW)


@given(st.integers(-(10**12), 10**14))
def test_a_time_survives_its_text(milliseconds: int) -> None:
    assert parse_time_s(format_time(milliseconds / 1000), NOW) == pytest.approx(
        milliseconds / 1000, abs=1e-4
    )


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse_time_s(text, NOW), float)
