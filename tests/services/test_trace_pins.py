"""Traces that exemplars lead to are named to sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from obsd.model.clock import ManualClock
from obsd.services.projects import Projects
from obsd.services.span_store import SpanStore
from obsd.services.trace_pins import pin_exemplars
from obsd.tsdb.options import EngineOptions
from obsd.tsdb.write import Wire
from tests.protobuf.prometheus_messages import compressed, write_request
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_MS, NOW_NS

HOUR_NS = 3_600_000_000_000
LONG, SHORT = "ab" * 16, "cd" * 8


def with_exemplars(exemplars: list[tuple[str, str, int]]) -> bytes:
    """A remote write request of a series with these labels and times of exemplars."""
    message: Any = write_request([({"__name__": "seconds"}, [(NOW_MS, 1.0)])])
    for name, value, time_ms in exemplars:
        exemplar = message.timeseries[0].exemplars.add(value=1.0, timestamp=time_ms)
        exemplar.labels.add(name=name, value=value)
    return compressed(message)


def test_what_exemplars_name_is_pinned(tmp_path: Path) -> None:
    projects = Projects(tmp_path, EngineOptions(), ManualClock(NOW_MS))
    store = MemorySpans()
    pin_exemplars(projects, "team", cast(SpanStore, store))
    (pinned,) = store.pinned
    span = (NOW_NS - HOUR_NS, NOW_NS)
    assert list(pinned(*span)) == []
    assert projects.on_disk() == []
    exemplars = [
        ("trace_id", "11" * 16, NOW_MS - 2 * 3_600_000),
        ("trace_id", LONG, NOW_MS - 3000),
        ("traceID", SHORT, NOW_MS - 2000),
        ("trace_id", "no id", NOW_MS - 1000),
        ("user", "22" * 16, NOW_MS),
    ]
    projects.engine("team").write(with_exemplars(exemplars), Wire.REMOTE_WRITE_1, lambda _: None)
    try:
        assert set(pinned(*span)) == {bytes.fromhex(LONG), bytes(8) + bytes.fromhex(SHORT)}
    finally:
        projects.close()
