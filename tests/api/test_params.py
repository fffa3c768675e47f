"""Parameters: times, durations, limits, and forms."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict, MultiDictProxy

from obsd.api.label_escaping import unescape_label_name
from obsd.api.params import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    InvalidParameterError,
    Params,
    parse_duration_ms,
    parse_time_ms,
)
from obsd.api.relative_time import parse_time_or_relative_ms
from obsd.model.errors import BadInputError


def params(**values: str) -> Params:
    return Params(MultiDictProxy(MultiDict(values)))


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("1700000000", 1_700_000_000_000),
        ("1700000000.1234", 1_700_000_000_123),
        ("-1.5", -1500),
        ("1.7e9", 1_700_000_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500),
        ("1969-12-31T23:59:59.25Z", -750),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123),
        ("-292273086-05-16T16:47:06Z", MIN_TIME_MS),
        ("292277025-08-18T07:12:54.999999999Z", MAX_TIME_MS),
    ],
)
def test_times_are_seconds_or_rfc3339(text: str, milliseconds: int):
    assert parse_time_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "now", "NaN", "inf", "1e300", "2023-13-01T00:00:00Z", "٣"])
def test_other_texts_are_no_time(text: str):
    with pytest.raises(ValueError, match="to a valid timestamp"):
        parse_time_ms(text)


moments = st.datetimes(
    datetime(1900, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(moments)
def test_rfc3339_is_exact_to_the_millisecond(moment: datetime):
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert parse_time_ms(moment.isoformat()) == expected


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("15", 15_000), ("0.5", 500), ("1h30m", 5_400_000), ("1d", 86_400_000), ("5ms", 5)],
)
def test_durations_are_seconds_or_units(text: str, milliseconds: int):
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "x", "1m1h", "5 m", "1e30", "300y"])
def test_other_texts_are_no_duration(text: str):
    with pytest.raises(ValueError, match="to a valid duration"):
        parse_duration_ms(text)


@given(st.text())
def test_any_text_is_a_time_or_an_error(text: str):
    for parse in (parse_time_ms, parse_duration_ms):
        with suppress(ValueError):
            assert isinstance(parse(text), int | float)


def test_errors_name_the_parameter():
    with pytest.raises(
        InvalidParameterError, match=r'^invalid parameter "start": cannot parse "x"'
    ):
        params(start="x").time_ms("start", 0)
    with pytest.raises(BadInputError, match=r'^invalid parameter "limit": '):
        params(limit="-1").limit()
    with pytest.raises(BadInputError, match=r'^invalid parameter "match\[\]": 1:'):
        params(**{"match[]": "up{"}).matcher_sets()


def test_a_limit_of_0_is_none():
    assert params(limit="0").limit() is None
    assert params().limit() is None
    assert params(limit="7").limit() == 7


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("job", "job"),
        ("U__http_2e_status", "http.status"),
        ("U__a__b", "a_b"),
        ("U___1f600_", "\N{GRINNING FACE}"),
        ("U__a_zz_", "U__a_zz_"),
        ("U__a_", "U__a_"),
        ("U__a_d800_", "U__a_d800_"),
        ("U__", ""),
    ],
)
def test_escaped_label_names(text: str, name: str):
    assert unescape_label_name(text) == name


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_name_has_an_escaped_form(name: str):
    escaped = "".join(
        "__" if c == "_" else c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in name
    )
    assert unescape_label_name("U__" + escaped) == name


def test_relative_times():
    assert parse_time_or_relative_ms("now", 5_000_000) == 5_000_000
    assert parse_time_or_relative_ms("-1h", 5_000_000) == 1_400_000
    assert parse_time_or_relative_ms("now-5m", 5_000_000) == 4_700_000
    assert parse_time_or_relative_ms("1700000000", 0) == 1_700_000_000_000
    with pytest.raises(ValueError, match="duration"):
        parse_time_or_relative_ms("-xh", 0)
