"""The rate of arrivals."""

from __future__ import annotations

import pytest

from obsd.services.arrivals import WINDOW_S, ArrivalRate


def test_the_rate_is_the_mean_of_the_window() -> None:
    rate = ArrivalRate()
    assert rate.per_second == 0
    rate.record(0, 100)
    assert rate.per_second == 0
    rate.record(2, 300)
    assert rate.per_second == pytest.approx(100)
    rate.record(2 + WINDOW_S, 300)
    assert rate.per_second == 0
