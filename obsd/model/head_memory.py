"""What the heads of all engines of a process take together: the limit is one for all of them."""

from __future__ import annotations

from collections.abc import Callable


class HeadMemory:
    """Counts the heads of several engines. Thread-safe: every operation is one of a dict."""

    def __init__(self) -> None:
        self._sizes: dict[int, Callable[[], int]] = {}

    def add(self, key: int, size_bytes: Callable[[], int]) -> None:
        """Count one more engine."""
        self._sizes[key] = size_bytes

    def remove(self, key: int) -> None:
        """Do not count an engine any more."""
        self._sizes.pop(key, None)

    def total_bytes(self) -> int:
        """Of all engines."""
        return sum(size_bytes() for size_bytes in list(self._sizes.values()))

    def mean_bytes(self) -> int:
        """Of one engine, rounded down: some engine has at least that much."""
        return self.total_bytes() // max(1, len(self._sizes))
