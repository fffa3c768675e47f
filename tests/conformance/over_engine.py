"""The evaluator over the real metrics engine: what users get, short of HTTP."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from obsd import _native
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.promql import Evaluator, Result
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.write import Wire
from tests.conformance.notation import Load


class OverEngine:
    """A new engine, in a directory of its own, for each section of a script."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        self._engine: MetricsEngine | None = None

    def clear(self) -> None:
        self.close()
        self._count += 1
        options = EngineOptions(retention_ms=None)
        directory = self._directory / str(self._count)
        self._engine = MetricsEngine.open(directory, options, ManualClock())

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def load(self, load: Load) -> None:
        labels, times, values = [], [], []
        for series in load.series:
            for i, point in enumerate(series.points):
                if isinstance(point, float):
                    labels.append(list(series.labels))
                    times.append(i * load.interval_ms)
                    values.append(point)
        body = _native.encode_write_request(
            labels, np.array(times, np.int64), np.array(values, np.float64)
        )
        outcome = self._opened.write(body, Wire.REMOTE_WRITE_1, lambda _error: None)
        assert outcome.rejected == {}, outcome.messages

    def instant(self, query: str, time_ms: int) -> Result:
        return Evaluator(self._opened).instant(query, time_ms, QueryBudget())

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Result:
        return Evaluator(self._opened).range(query, start_ms, end_ms, step_ms, QueryBudget())

    @property
    def _opened(self) -> MetricsEngine:
        assert self._engine is not None, "clear() comes first"
        return self._engine
