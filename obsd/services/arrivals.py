"""How fast samples arrive now, over the last half minute."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 30.0
INTERVAL_S: Final = 2.0


class ArrivalRate:
    """Readings of a total that only grows; event loop only."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, int]] = deque()

    def record(self, now_s: float, total: int) -> None:
        """Take a reading; those older than the window are let go."""
        self._readings.append((now_s, total))
        while now_s - self._readings[0][0] > WINDOW_S:
            self._readings.popleft()

    @property
    def per_second(self) -> float:
        """The mean over the window; 0 until there are two readings."""
        if len(self._readings) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._readings[0], self._readings[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0
