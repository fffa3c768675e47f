"""What one query may spend: time, samples, and the patience of its client."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from obsd.model.errors import QueryCanceledError, QueryTimeoutError, TooManySamplesError


@dataclass(slots=True)
class QueryBudget:
    """Checked between slices of work, by the evaluator and by engines; one for each query.

    `cancel` may be called from any thread; everything else belongs to the query's thread.
    """

    max_samples: int = 50_000_000
    timeout_s: float = 120.0
    samples: int = 0
    _deadline_s: float = field(init=False)
    _canceled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._deadline_s = time.monotonic() + self.timeout_s

    def cancel(self) -> None:
        """Make the query stop at its next check."""
        self._canceled = True

    def charge(self, samples: int) -> None:
        """Count samples read.

        Raises:
            TooManySamplesError: the query has read more than it may.
        """
        self.samples += samples
        if self.samples > self.max_samples:
            raise TooManySamplesError(self.max_samples)
        self.check()

    def reserve(self, values: int) -> None:
        """Say how many values are about to be held at one time, before memory is taken for them.

        Raises:
            TooManySamplesError: they are more than the samples that the query may read.
        """
        if values > self.max_samples:
            raise TooManySamplesError(self.max_samples)
        self.check()

    def check(self) -> None:
        """Stop here if the query must not go on.

        Raises:
            QueryCanceledError: its client has gone.
            QueryTimeoutError: its time is over.
        """
        if self._canceled:
            raise QueryCanceledError
        if time.monotonic() > self._deadline_s:
            raise QueryTimeoutError(self.timeout_s)
