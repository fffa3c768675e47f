"""OTLP metrics in Prometheus' model: docs/otlp-metrics.md.

A request becomes remote write requests in one native pass, and those go the way of all others, so
that replay needs to know nothing of OTLP. What is kept here is each project's sums of deltas.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from obsd import _native
from obsd.config.tree import OtlpConfig
from obsd.model.clock import Clock
from obsd.model.errors import TooLargeError, UndecodableError
from obsd.services.projects import Projects
from obsd.tsdb.write import WriteOutcome

# A request of a resource with many labels becomes several writes of about this size.
_PIECE_BYTES: Final = 32 << 20
_MAX_MESSAGES: Final = 5
_MAX_BYTES: Final = 1 << 30
# What the engine says of exemplars, which are no points.
_NOT_POINTS: Final = frozenset({"out_of_order_exemplar", "invalid_exemplar"})

Write = Callable[[str, bytes], Awaitable[WriteOutcome]]
"""Project and remote write 1.0 request to what became of it, once it is durable."""


@dataclass(frozen=True, slots=True)
class OtlpOutcome:
    """What became of an export.

    Attributes:
        points: data points that are stored.
        rejected: refused points by reason.
        messages: the first few refusals in words.
    """

    points: int
    rejected: dict[str, int]
    messages: list[str]

    def describe(self) -> str:
        """What was refused, in counts and then in the first few cases; empty for nothing."""
        if not self.rejected:
            return ""
        counts = ", ".join(f"{reason}: {count}" for reason, count in sorted(self.rejected.items()))
        return "; ".join((counts, *self.messages))


class OtlpMetrics:
    """Takes exports. `write` is called on the event loop."""

    def __init__(
        self,
        projects: Projects,
        write: Write,
        pool: Executor,
        config: OtlpConfig,
        lookback_ms: int,
        clock: Clock,
    ) -> None:
        self._projects = projects
        self._write = write
        self._pool = pool
        self._config = config
        self._lookback_ms = lookback_ms
        self._clock = clock
        self._lock = threading.Lock()
        self._converters: dict[str, _native.OtlpMetrics] = {}  # Under the lock.

    async def write(self, project_id: str, body: bytes) -> OtlpOutcome:
        """Store an `ExportMetricsServiceRequest`; return once it is durable.

        Raises:
            BadInputError, TooLargeError, OverloadedError, StorageUnavailableError: it is to be
                sent again or not, as a whole; doing so does no harm.
        """
        if not body:
            return OtlpOutcome(0, {}, [])
        loop = asyncio.get_running_loop()
        requests, points, rejected, messages = await loop.run_in_executor(
            self._pool, self._convert, project_id, body
        )
        refused = 0
        for request in requests:
            outcome = await self._write(project_id, request)
            for reason, count in outcome.rejected.items():
                if reason not in _NOT_POINTS:
                    refused += count
                    # Samples were counted, and a point may have many.
                    count = min(count, points)
                    rejected[reason] = min(points, rejected.get(reason, 0) + count)
            if refused:
                messages += outcome.messages
        return OtlpOutcome(max(0, points - refused), rejected, messages[:_MAX_MESSAGES])

    def _convert(
        self, project_id: str, body: bytes
    ) -> tuple[list[bytes], int, dict[str, int], list[str]]:
        engine = self._projects.engine(project_id)
        now_ms = self._clock.now_ms()
        min_ms, max_ms = engine.acceptable_times(now_ms)
        try:
            return self._converter(project_id).convert(body, now_ms, min_ms, max_ms, _PIECE_BYTES)
        except _native.TooLargeError as error:
            raise TooLargeError("metrics with the labels of their resources", _MAX_BYTES) from error
        except ValueError as error:
            raise UndecodableError(str(error)) from error

    def _converter(self, project_id: str) -> _native.OtlpMetrics:
        with self._lock:
            found = self._converters.get(project_id)
            if found is None:
                found = self._converters[project_id] = self._new_converter()
            return found

    def _new_converter(self) -> _native.OtlpMetrics:
        config = self._config
        return _native.OtlpMetrics(
            strategy=config.translation_strategy,
            promoted=list(config.promote_resource_attributes),
            promote_all=config.promote_all_resource_attributes,
            ignored=list(config.ignore_resource_attributes),
            keep_identifying=config.keep_identifying_resource_attributes,
            promote_scope=config.promote_scope_metadata,
            custom_buckets=config.convert_histograms_to_nhcb,
            lookback_ms=self._lookback_ms,
            delta_idle_ms=round(config.delta_idle_s * 1000),
            delta_memory_bytes=config.delta_memory_bytes,
        )
