"""Times, durations and limits as Loki reads them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict, MultiDictProxy

from obsd.api.loki_params import LokiParams, parse_duration_ns, parse_time_ns
from obsd.api.params import Params
from obsd.model.errors import BadInputError

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


def params(**values: str) -> LokiParams:
    return LokiParams(Params(MultiDictProxy(MultiDict(values))), NOW)


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("0", 0),
        ("1700000000", NOW),
        ("4000000000", 4_000_000_000 * SECOND),
        ("17000000000", 17_000_000_000),
        ("1700000000000000001", NOW + 1),
        ("-5", -5 * SECOND),
        ("1700000000.5", NOW + SECOND // 2),
        ("1700000000.123456", NOW + 123_000_000),
        ("1.7e9", NOW),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T22:13:20.000000001Z", NOW + 1),
        ("2023-11-14T23:13:20.5+01:00", NOW + SECOND // 2),
    ],
)
def test_ten_digits_are_seconds_and_more_are_nanoseconds(text: str, time_ns: int) -> None:
    assert parse_time_ns(text) == time_ns


@pytest.mark.parametrize(
    "text", ["", "x", "1e", "99999999999999999999", "1_000", "²", "-", "1.2.3", "9999999999"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot parse|out of range"):
        parse_time_ns(text)


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("1500ms", 1_500_000_000),
        ("15", 15 * SECOND),
        ("0.25", SECOND // 4),
        ("1h30m", 5400 * SECOND),
        ("1d", 86_400 * SECOND),
        ("2w", 14 * 86_400 * SECOND),
        ("-1", -SECOND),
    ],
)
def test_a_step_is_seconds_or_a_duration(text: str, duration_ns: int) -> None:
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize("text", ["", "1.5s", "s", "1m1h", "NaN", "inf", "1e300", "9" * 30 + "y"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="to a valid duration"):
        parse_duration_ns(text)


@given(text=st.one_of(st.text(), st.from_regex(r"[0-9.eEsmhdwy:TZ+-]{0,30}")))
def test_any_text_is_a_value_or_an_error_of_ours(text: str) -> None:
    for parse in (parse_time_ns, parse_duration_ns):
        try:
            assert abs(parse(text)) < 1 << 63
        except ValueError:
            continue


@given(seconds=st.floats(0, 4e9).filter(lambda s: "." in repr(s) and "e" not in repr(s)))
def test_fractions_of_seconds_are_to_the_millisecond(seconds: float) -> None:
    assert math.isclose(parse_time_ns(repr(seconds)) / SECOND, seconds, abs_tol=0.000_6)


def test_the_default_is_the_last_hour() -> None:
    of = params().range()
    assert (of.start_ns, of.end_ns) == (NOW - 3600 * SECOND, NOW + 1_000_000)
    assert params(since="5m").range().start_ns == NOW - 300 * SECOND
    # Before an end in the past, and before now where the end is yet to come.
    assert params(end="1000", since="10s").range().start_ns == 990 * SECOND
    assert params(end="4000000000", since="10s").range().start_ns == NOW - 10 * SECOND
    assert params(start="7", since="10s").range().start_ns == 7 * SECOND


def test_a_default_step_is_a_250th_in_whole_seconds() -> None:
    for hours, seconds in ((0.01, 1), (1, 14), (24, 345)):
        asked = params(start="0", end=str(int(hours * 3600)))
        assert asked.step_ns(asked.range()) == seconds * SECOND
    sub = params(start="0", end="1", step="0.0015")
    assert sub.step_ns(sub.range()) == 1_000_000


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"start": "2", "end": "1"}, "end timestamp must not be before or equal to start time"),
        ({"start": "x"}, "could not parse 'start' parameter"),
        ({"since": "x"}, "could not parse 'since' parameter"),
        ({"step": "0"}, "zero or negative query resolution step widths are not accepted"),
        ({"step": "0.0001"}, "zero or negative query resolution step widths are not accepted"),
        ({"start": "0", "end": "11001", "step": "1"}, "exceeded maximum resolution of 11,000"),
        ({"interval": "-1"}, "interval must be >= 0"),
        ({"limit": "0"}, "limit must be a positive value"),
        ({"limit": "x"}, "could not parse 'limit' parameter"),
        ({"limit": str(1 << 33)}, "out of range"),
        ({"direction": "up"}, "invalid direction 'up'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_lokis_words(values: dict[str, str], text: str) -> None:
    with pytest.raises(BadInputError, match=text):
        read_all(params(**values))


def read_all(asked: LokiParams) -> None:
    asked.step_ns(asked.range())
    asked.interval_ns()
    asked.limit()
    asked.direction()


def test_11_000_steps_are_allowed() -> None:
    asked = params(start="0", end="11000", step="1")
    assert asked.step_ns(asked.range()) == SECOND
