"""Parts of dates in UTC, from Unix seconds: arithmetic on arrays, for any year.

The calendar is Howard Hinnant's `civil_from_days`, https://howardhinnant.github.io/date_algorithms.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from obsd.model.samples import BoolArray, FloatArray, IntArray

_DAY_S: Final = 86_400
_TOO_LARGE_S: Final = 2.0**63
_ORIGIN_S: Final = 9_223_372_028_715_321_600  # From Go's earliest year, -292277022399, to 1970.
_MONTH_DAYS: Final = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DAYS_BEFORE: Final = np.concatenate(([0], np.cumsum(_MONTH_DAYS)[:-1]))


@dataclass(frozen=True, slots=True)
class CivilDate:
    """Year, month from 1, and day from 1, of many dates at once."""

    year: IntArray
    month: IntArray
    day: IntArray

    @classmethod
    def of_days(cls, days: IntArray) -> CivilDate:
        """From days since 1970-01-01."""
        shifted = days + 719_468  # Years begin in March, so that a leap day ends one.
        era = shifted // 146_097
        of_era = shifted - era * 146_097
        year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
        of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
        march_month = (5 * of_year + 2) // 153
        day = of_year - (153 * march_month + 2) // 5 + 1
        month = np.where(march_month < 10, march_month + 3, march_month - 9)
        return cls(year_of_era + era * 400 + (month <= 2), month, day)

    @property
    def is_leap(self) -> BoolArray:
        year = self.year
        leap: BoolArray = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        return leap


def _split(values: FloatArray) -> tuple[IntArray, IntArray]:
    """Days since 1970-01-01, and seconds of the day.

    What is no 64-bit integer counts as the least one, and years wrap around: as Go's dates.
    """
    seconds = np.where(np.abs(values) < _TOO_LARGE_S, values, -_TOO_LARGE_S).astype(np.int64)
    since_origin = seconds.view(np.uint64) + np.uint64(_ORIGIN_S)
    days = (since_origin // _DAY_S).astype(np.int64) - _ORIGIN_S // _DAY_S
    return days, (since_origin % _DAY_S).astype(np.int64)


def _date(values: FloatArray) -> CivilDate:
    return CivilDate.of_days(_split(values)[0])


def day_of_month(values: FloatArray) -> FloatArray:
    return _date(values).day.astype(np.float64)


def day_of_week(values: FloatArray) -> FloatArray:
    """Sunday is 0; 1970-01-01 was a Thursday."""
    return ((_split(values)[0] + 4) % 7).astype(np.float64)


def day_of_year(values: FloatArray) -> FloatArray:
    date = _date(values)
    leap_day = date.is_leap & (date.month > 2)
    days: IntArray = _DAYS_BEFORE[date.month - 1] + date.day + leap_day
    return days.astype(np.float64)


def days_in_month(values: FloatArray) -> FloatArray:
    date = _date(values)
    days: IntArray = _MONTH_DAYS[date.month - 1] + (date.is_leap & (date.month == 2))
    return days.astype(np.float64)


def hour(values: FloatArray) -> FloatArray:
    return (_split(values)[1] // 3600).astype(np.float64)


def minute(values: FloatArray) -> FloatArray:
    return (_split(values)[1] % 3600 // 60).astype(np.float64)


def month(values: FloatArray) -> FloatArray:
    return _date(values).month.astype(np.float64)


def year(values: FloatArray) -> FloatArray:
    return _date(values).year.astype(np.float64)


DatePart = Callable[[FloatArray], FloatArray]
