"""The metrics engine against a dictionary, through writes, flushes, merges and crashes."""

from __future__ import annotations

import shutil
import struct
import tempfile
import threading
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.labels import Labels
from obsd.model.matcher import Matcher, MatchOp
from obsd.tsdb.engine import MetricsEngine
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.write import Wire
from tests.e2e.wire import write_body

HOUR_MS = 3_600_000
OPTIONS = EngineOptions(retention_ms=None, partition_ms=2 * HOUR_MS)

# Few series and times, so that samples meet: duplicates, overwrites and late ones are common. The
# times span several partitions, on both sides of 1970.
names = st.sampled_from(["a", "b", "c"])
times = st.integers(-40, 40).map(lambda n: n * HOUR_MS // 8)
values = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf")]),
    st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]),
)
samples = st.lists(st.tuples(names, times, values), min_size=1, max_size=30)


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def labels_of(name: str) -> dict[str, str]:
    return {"__name__": "m", "series": name}


class EngineAgainstDictionary(RuleBasedStateMachine):
    """Of equal series and time the last write wins; nothing else is lost, changed or added."""

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.generation = 0
        self.stored: dict[str, dict[int, bytes]] = {}
        self.engine = self.open()

    def open(self) -> MetricsEngine:
        return MetricsEngine.open(self.root / str(self.generation), OPTIONS, ManualClock())

    @rule(written=samples)
    def write(self, written: list[tuple[str, int, float]]) -> None:
        durable = threading.Event()
        body = write_body((labels_of(name), [(ts, value)]) for name, ts, value in written)
        outcome = self.engine.write(body, Wire.REMOTE_WRITE_1, lambda _: durable.set())
        assert outcome.samples == len(written)
        assert durable.wait(timeout=10)
        for name, ts, value in written:
            self.stored.setdefault(name, {})[ts] = bits(value)

    @rule()
    def flush(self) -> None:
        self.engine.flush()

    @rule()
    def merge_one(self) -> None:
        self.engine.compact()

    @rule()
    def merge_all(self) -> None:
        while self.engine.compact():
            pass

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = self.open()

    @rule()
    def crash(self) -> None:
        """What is on disk now is all that the next start sees."""
        before = self.root / str(self.generation)
        self.generation += 1
        shutil.copytree(before, self.root / str(self.generation))
        self.engine.close()
        shutil.rmtree(before)
        self.engine = self.open()

    @invariant()
    def every_sample_is_there_once(self) -> None:
        if not hasattr(self, "engine"):
            return
        everything = [Matcher(MatchOp.EQUAL, "__name__", "m")]
        columns = self.engine.select(everything, -(10**12), 10**12, QueryBudget())
        found = {}
        for i, labels in enumerate(columns.labels):
            own = slice(columns.offsets[i], columns.offsets[i + 1])
            timestamps = columns.timestamps[own].tolist()
            assert timestamps == sorted(set(timestamps))
            raw = columns.values[own].tobytes()
            cells = [raw[at : at + 8] for at in range(0, len(raw), 8)]
            found[labels] = dict(zip(timestamps, cells, strict=True))
        assert found == {Labels.of(labels_of(n)): s for n, s in self.stored.items()}

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
            shutil.rmtree(self.root)


TestEngineAgainstDictionary = EngineAgainstDictionary.TestCase
TestEngineAgainstDictionary.settings = settings(max_examples=40, stateful_step_count=25)
