"""Times of syslog: years and zones that are not said, leap seconds, and what is no time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.ingest.syslog_time import MONTHS, bsd_ns, rfc3339_ns
from obsd.model.time_zone import parse_time_zone

BERLIN = ZoneInfo("Europe/Berlin")


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000


def bsd(text: str, now: str, zone: tzinfo | None = UTC) -> int | None:
    month, day, time = text.split()
    return bsd_ns(month, day, None, time, None, zone, ns(now))


@pytest.mark.parametrize(
    ("now", "text", "wanted"),
    [
        ("2026-11-24T12:00:00Z", "Nov 24 11:00:00", "2026-11-24T11:00:00Z"),
        ("2026-11-24T12:00:00Z", "Nov 30 11:00:00", "2026-11-30T11:00:00Z"),
        ("2026-11-24T12:00:00Z", "Dec 2 11:00:00", "2025-12-02T11:00:00Z"),
        # Around the turn of the year, with clocks that differ.
        ("2027-01-01T00:00:10Z", "Dec 31 23:59:59", "2026-12-31T23:59:59Z"),
        ("2026-12-31T23:59:50Z", "Jan 1 00:00:05", "2027-01-01T00:00:05Z"),
        # A 29th of February is of the last leap year.
        ("2027-03-01T00:00:00Z", "Feb 29 12:00:00", "2024-02-29T12:00:00Z"),
        ("2028-03-01T00:00:00Z", "Feb 29 12:00:00", "2028-02-29T12:00:00Z"),
    ],
)
def test_the_year_is_the_latest_that_can_be(now: str, text: str, wanted: str) -> None:
    assert bsd(text, now) == ns(wanted)


def test_zones() -> None:
    now = "2026-11-24T12:00:00Z"
    assert bsd("Jul 1 12:00:00", now, BERLIN) == ns("2026-07-01T10:00:00Z")
    assert bsd("Nov 1 12:00:00", now, BERLIN) == ns("2026-11-01T11:00:00Z")
    local = datetime(2026, 11, 1, 12).astimezone()
    assert bsd("Nov 1 12:00:00", now, None) == ns(local.isoformat())
    assert rfc3339_ns("2026-07-01T12:00:00", BERLIN) == ns("2026-07-01T10:00:00Z")
    assert rfc3339_ns("2026-07-01T12:00:00Z", BERLIN) == ns("2026-07-01T12:00:00Z")


def test_years_and_fractions_that_are_said() -> None:
    now_ns = ns("2026-11-24T12:00:00Z")
    found = bsd_ns("Nov", "3", "1999", "01:02:03", "5", UTC, now_ns)
    assert found == ns("1999-11-03T01:02:03.500Z")
    assert bsd_ns("Nov", "3", "2030", "01:02:03", None, UTC, now_ns) == ns("2030-11-03T01:02:03Z")
    assert bsd_ns("Nov", "3", "1969", "01:02:03", None, UTC, now_ns) is None
    assert bsd_ns("Feb", "30", None, "01:02:03", None, UTC, now_ns) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-24T13:57:01.123456789Z", 123_456_789),
        ("2026-11-24T13:57:01.1Z", 100_000_000),
        ("2026-11-24t13:57:01,25z", 250_000_000),
        ("2026-11-24 13:57:01+00:00", 0),
        ("2026-11-24T15:57:01+0200", 0),
        ("2026-11-24T13:57:01.1234567891Z", 123_456_789),
    ],
)
def test_forms_of_rfc_3339(text: str, wanted: int) -> None:
    assert rfc3339_ns(text, UTC) == ns("2026-11-24T13:57:01Z") + wanted


def test_a_leap_second_is_the_one_before_it() -> None:
    assert rfc3339_ns("2016-12-31T23:59:60Z", UTC) == ns("2016-12-31T23:59:59Z")


@pytest.mark.parametrize(
    "text", ["", "-", "now", "2026-13-01T00:00:00Z", "2026-11-24", "1969-01-01T00:00:00Z",
             "9999-12-31T23:59:59-23:59", "2026-11-24T13:57:01+99:99", "2026-11-24T24:00:01Z"]
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    found = rfc3339_ns(text, UTC)
    assert found is None or text.startswith("9999")


@given(st.integers(366 * 86_400, 130 * 365 * 86_400), st.integers(0, 86_400 * 350))
def test_a_time_without_a_year_is_found_within_a_year(now_s: int, ago_s: int) -> None:
    now = datetime.fromtimestamp(now_s, UTC)
    sent = now - timedelta(seconds=ago_s)
    text = f"{MONTHS[sent.month - 1]} {sent.day} {sent:%H:%M:%S}"
    assert bsd(text, now.isoformat()) == int(sent.timestamp()) * 1_000_000_000


@pytest.mark.parametrize("text", ["local", "UTC", "utc", "+02:00", "-0530", "Europe/Berlin"])
def test_zones_by_name(text: str) -> None:
    zone = parse_time_zone(text)
    assert (zone is None) == (text == "local")


@pytest.mark.parametrize(
    "text", ["", "Mars/Olympus", "+25:00", "../../etc/passwd", "+2", "a" * 999]
)
def test_what_is_no_zone(text: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        parse_time_zone(text)
