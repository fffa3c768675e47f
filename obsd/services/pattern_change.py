"""Whether a pattern became more or less frequent, from its counts now and in the window before.

Were the rate the same in both windows, which are equally long, counts n and m of independent
events would differ by chance alone: sqrt(n + 3/8) has a variance of about 1/4 whatever n is
(Anscombe 1948), so z = sqrt(2) * (sqrt(n + 3/8) - sqrt(m + 3/8)) is about normal. Log lines come
in bursts; where the counts by step of the window before vary more than such events would, by a
factor (their variance over their mean), z is divided by its root. A change counts when z is beyond
what chance does in one of a hundred windows to any of all the patterns that are compared, the rate
is at least twice or at most half of what it was, and there are enough records at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

from obsd.model.samples import IntArray

MIN_COUNT: Final = 10
"""Records that the more frequent window has at least when the change counts."""

MIN_FACTOR: Final = 2.0
"""How many times as frequent, or as rare, it is at least."""

_CHANCE: Final = 0.01
_OFFSET: Final = 3 / 8


class Status(StrEnum):
    """What became of a pattern since the window before."""

    NEW = "new"
    SURGING = "surging"
    VANISHED = "vanished"
    DECLINING = "declining"
    STEADY = "steady"


@dataclass(frozen=True, slots=True)
class Change:
    """How a pattern changed.

    Attributes:
        previous: records in the window before.
        factor: records now for each one before; None where there was none.
        z: how far that is from chance, in standard deviations; positive for more.
    """

    status: Status
    previous: int
    factor: float | None
    z: float


def dispersion(counts: IntArray) -> float:
    """How many times the counts' variance is that of independent events; at least 1."""
    mean = float(counts.mean()) if counts.size else 0.0
    if counts.size < 2 or mean == 0.0:
        return 1.0
    return max(1.0, float(counts.var(ddof=1)) / mean)


def change_of(count: int, before: IntArray, compared: int) -> Change:
    """What became of a pattern.

    Args:
        count: its records now.
        before: its counts by step in the window before.
        compared: how many patterns there are that chance could have changed.
    """
    previous = int(before.sum())
    distance = math.sqrt(count + _OFFSET) - math.sqrt(previous + _OFFSET)
    z = math.sqrt(2 / dispersion(before)) * distance
    factor = count / previous if previous else None
    return Change(_status(count, previous, z, compared), previous, factor, z)


def _status(count: int, previous: int, z: float, compared: int) -> Status:
    if not previous:
        return Status.NEW
    if not count:
        return Status.VANISHED
    limit = NormalDist().inv_cdf(1 - _CHANCE / max(compared, 1) / 2)
    enough = max(count, previous) >= MIN_COUNT and abs(z) >= limit
    if enough and count >= MIN_FACTOR * previous:
        return Status.SURGING
    if enough and previous >= MIN_FACTOR * count:
        return Status.DECLINING
    return Status.STEADY
