"""Verdicts: a change that chance does not explain, said in words."""

from __future__ import annotations

import pytest

from obsd.services.service_health import judge
from obsd.services.service_map import Calls

HOURS = (3600.0, 6 * 3600.0)


def calls(count: float, errors: float = 0, slow: float = 0) -> Calls:
    """Most take up to 100 ms; `slow` of them up to a second."""
    found = Calls(count, errors)
    found.below_s |= {0.1: count - slow, 1.0: count, float("inf"): count}
    return found


@pytest.mark.parametrize(
    ("now", "before", "state", "reason"),
    [
        (calls(1000), calls(6000), "healthy", "errors and durations are as usual"),
        (calls(1000, 100), calls(6000, 600), "healthy", "errors and durations are as usual"),
        (calls(1000, 5), calls(6000), "healthy", "errors and durations are as usual"),
        (calls(1000, 30), calls(6000, 6), "degraded", "3 % of calls fail, where 0.1 % are usual"),
        (calls(1000, 400), calls(6000, 60), "failing", "40 % of calls fail, where 1 % are usual"),
        (calls(25, 1), calls(100, 1), "healthy", "errors and durations are as usual"),
        (calls(1000, 1000), calls(6000), "failing", "100 % of calls fail, where 0 % are usual"),
        (calls(1000, 0, 200), calls(6000), "degraded", "95 % take up to 775 ms, where 95 ms are"),
        (calls(0), calls(6000), "degraded", "no calls, where 0.278 a second are usual"),
        (calls(0), calls(60), "unknown", "0 calls are too few to tell"),
        (calls(19, 19), calls(6000), "unknown", "19 calls are too few to tell"),
        (calls(100, 10), calls(0), "degraded", "10 % of calls fail; there is no past"),
        (calls(100, 50), calls(49), "failing", "50 % of calls fail; there is no past"),
        (calls(100, 1), calls(0), "healthy", "1 % of calls fail"),
    ],
)
def test_a_verdict_has_its_reason(now: Calls, before: Calls, state: str, reason: str) -> None:
    health = judge(now, before, HOURS)
    assert (health.state, health.reason[: len(reason)]) == (state, reason)


def test_everything_failing_before_and_now_is_no_change() -> None:
    assert judge(calls(100, 100), calls(600, 600), HOURS).state == "healthy"
