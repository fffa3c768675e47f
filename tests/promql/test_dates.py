"""Parts of dates against the standard library's calendar."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from obsd.promql import dates

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001
def test_every_part_is_the_calendars(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    seconds = np.array([(moment - EPOCH) // timedelta(seconds=1)], dtype=np.float64)
    parts = {
        dates.year: moment.year,
        dates.month: moment.month,
        dates.day_of_month: moment.day,
        dates.day_of_week: moment.isoweekday() % 7,
        dates.day_of_year: moment.timetuple().tm_yday,
        dates.days_in_month: monthrange(moment.year, moment.month)[1],
        dates.hour: moment.hour,
        dates.minute: moment.minute,
    }
    for part, expected in parts.items():
        assert part(seconds)[0] == expected, part.__name__


def test_what_is_no_time_is_gos_date_of_it() -> None:
    with np.errstate(all="ignore"):
        nowhere = np.array([np.nan, np.inf, -1e300])
        assert dates.year(nowhere).tolist() == [292277026596.0] * 3
        assert dates.month(nowhere).tolist() == [12.0] * 3
        assert dates.day_of_month(nowhere).tolist() == [4.0] * 3
        assert dates.hour(nowhere).tolist() == [15.0] * 3
