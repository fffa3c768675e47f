"""Whether a service is well, against its own past, and why.

A verdict needs enough calls to mean something, and a change that chance does not explain: shares of
errors are compared by a two-proportion z-test, durations by their 95th percentile, which is known
to a bucket, so that only a doubling counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, Protocol

State = Literal["healthy", "degraded", "failing", "unknown"]

MIN_CALLS: Final = 20
"""With fewer, a share or a percentile says nothing."""
MIN_BASELINE: Final = 50

MIN_Z: Final = 4.0
"""By chance alone, one comparison of thirty thousand comes to this."""
DEGRADED_ERRORS: Final = 0.01
FAILING_ERRORS: Final = 0.1
NEW_DEGRADED_ERRORS: Final = 0.05
"""Without a past; a new service may have its first errors."""
NEW_FAILING_ERRORS: Final = 0.25
SLOWER: Final = 2.0
MIN_SLOWER_S: Final = 0.005


class Counted(Protocol):
    """Calls of a range."""

    @property
    def count(self) -> float: ...

    @property
    def error_rate(self) -> float: ...

    def quantile_s(self, q: float) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Health:
    """A verdict, and why, in words."""

    state: State
    reason: str


def judge(calls: Counted, baseline: Counted, seconds: tuple[float, float]) -> Health:
    """The verdict on calls of a range against those of the one before; both have their length."""
    now_s, before_s = seconds
    has_past = baseline.count >= MIN_BASELINE
    usual_rate = baseline.count / before_s if before_s else 0.0
    if calls.count < MIN_CALLS:
        if has_past and not calls.count and usual_rate * now_s >= MIN_CALLS:
            return Health("degraded", f"no calls, where {usual_rate:.3g} a second are usual")
        return Health("unknown", f"{calls.count:.0f} calls are too few to tell")
    return (
        _by_errors(calls, baseline if has_past else None)
        or _by_duration(calls, baseline if has_past else None)
        or _well(calls, has_past)
    )


def _by_errors(calls: Counted, baseline: Counted | None) -> Health | None:
    share = calls.error_rate
    if baseline is None:
        if share < NEW_DEGRADED_ERRORS:
            return None
        state: State = "failing" if share >= NEW_FAILING_ERRORS else "degraded"
        return Health(state, f"{_percent(share)} of calls fail; there is no past to compare with")
    usual = baseline.error_rate
    if share < max(DEGRADED_ERRORS, 2 * usual) or _z(calls, baseline) < MIN_Z:
        return None
    state = "failing" if share >= max(FAILING_ERRORS, min(5 * usual, 0.5)) else "degraded"
    return Health(state, f"{_percent(share)} of calls fail, where {_percent(usual)} are usual")


def _z(calls: Counted, baseline: Counted) -> float:
    total = calls.count + baseline.count
    pooled = (calls.error_rate * calls.count + baseline.error_rate * baseline.count) / total
    spread = math.sqrt(pooled * (1 - pooled) * (1 / calls.count + 1 / baseline.count))
    return (calls.error_rate - baseline.error_rate) / spread if spread else math.inf


def _by_duration(calls: Counted, baseline: Counted | None) -> Health | None:
    if baseline is None:
        return None
    now, usual = calls.quantile_s(0.95), baseline.quantile_s(0.95)
    if now is None or usual is None or now < SLOWER * usual or now - usual < MIN_SLOWER_S:
        return None
    return Health("degraded", f"95 % take up to {_time(now)}, where {_time(usual)} are usual")


def _well(calls: Counted, has_past: bool) -> Health:
    if has_past:
        return Health("healthy", "errors and durations are as usual")
    return Health("healthy", f"{_percent(calls.error_rate)} of calls fail")


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
