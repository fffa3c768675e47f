"""A real Prometheus scrapes, and remote-writes to obsd; both must give the same answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.answers import differences, same_value
from tests.e2e.lab import lab_target
from tests.e2e.processes import (
    Server,
    installed,
    node_exporter_server,
    obsd_server,
    prometheus_server,
    running,
    wait_until,
)

SCRAPES = 31
# What comes before a range query's start. Prometheus 3 extrapolates a counter's first seconds
# otherwise than 2.42; no window that extrapolates may begin before its series.
LEAD_S = 11
SCRAPE_TIMEOUT_S = 90.0
MS = 1000

CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - {{job_name: node, static_configs: [{{targets: ["127.0.0.1:{node}"]}}]}}
  - {{job_name: lab, static_configs: [{{targets: ["127.0.0.1:{lab}"]}}]}}
  - {{job_name: prometheus, static_configs: [{{targets: ["{{own}}"]}}]}}
remote_write:
  - url: {obsd}/api/v1/write
    send_exemplars: true
    metadata_config: {{send: true, send_interval: 2s}}
    # One shard sends in order, so that the last sample's arrival tells that all are there.
    queue_config: {{max_shards: 1, batch_send_deadline: 200ms}}
"""

INSTANT_QUERIES = [
    "up",
    "lab_value",
    "-lab_value",
    'lab_requests_total{path=~".*größe"}',
    'node_cpu_seconds_total{mode!="idle",cpu=~"0|1"}',
    '{__name__=~"lab_.+_bucket",le!="+Inf"}',
    "node_memory_MemTotal_bytes - node_memory_MemFree_bytes",
    "rate(lab_requests_total[10s])",
    "rate(node_cpu_seconds_total[8s])",
    "increase(lab_restarting_total[15s])",
    "irate(lab_restarting_total[10s])",
    "delta(lab_value[10s])",
    "idelta(lab_value[10s])",
    "resets(lab_restarting_total[20s])",
    "changes(lab_value[20s])",
    'deriv(lab_value{kind!="infinite"}[12s])',
    'predict_linear(lab_value{kind=~"fraction|sawtooth"}[12s], 3600)',
    "avg_over_time(lab_value[10s])",
    'sum_over_time(lab_value{kind!="nan"}[7s])',
    "min_over_time(lab_value[10s]) or max_over_time(up[10s])",
    "stddev_over_time(lab_requests_total[10s])",
    "quantile_over_time(0.3, lab_requests_total[10s])",
    "last_over_time(lab_gone[30s])",
    "present_over_time(lab_flapping[9s])",
    "count_over_time(up[10m])",
    "lab_gone",
    "absent(lab_gone)",
    'absent_over_time(lab_gone{job="lab"}[5s])',
    "sum by (mode) (rate(node_cpu_seconds_total[10s]))",
    "avg without (cpu, mode) (node_cpu_seconds_total)",
    'count by (job) ({__name__!=""})',
    "topk(3, node_cpu_seconds_total)",
    "bottomk by (cpu) (1, node_cpu_seconds_total)",
    "quantile(0.9, node_cpu_seconds_total)",
    'count_values("value", up)',
    "stdvar(lab_requests_total)",
    "group(up) by (job)",
    "histogram_quantile(0.9, rate(lab_duration_seconds_bucket[10s]))",
    "histogram_quantile(0.5, sum by (le) (prometheus_http_request_duration_seconds_bucket))",
    "rate(lab_duration_seconds_sum[10s]) / rate(lab_duration_seconds_count[10s])",
    "lab_requests_total / on (path) group_left sum by (path) (lab_requests_total)",
    "lab_requests_total * on (job, instance) group_left (version) lab_build_info",
    "lab_value > bool 0",
    "lab_value >= 0 and lab_value < 100",
    "up unless on (job) lab_build_info",
    'lab_value{kind!="huge"} % 2 ^ 2 ^ 0.5',
    "lab_requests_total offset 5s",
    "lab_requests_total @ end() - lab_requests_total offset 3s",
    "max_over_time(rate(lab_requests_total[5s])[12s:1s])",
    "sum(sum_over_time(deriv(lab_requests_total[6s])[10s:2s] offset 2s))",
    'label_replace(up, "host", "$1", "instance", "(.*):.*")',
    'label_join(lab_build_info, "all", "-", "version", "revision")',
    "round(lab_value, 0.5)",
    "clamp(lab_value, -1, 1)",
    "sgn(lab_value) + abs(lab_value)",
    "ln(lab_requests_total) + sqrt(lab_requests_total)",
    "timestamp(lab_value) - time()",
    "hour(timestamp(up)) * on () group_left () day_of_month()",
    "scalar(lab_build_info) * 2",
    "vector(time())",
    "time()",
    '"a string"',
    "lab_value[5s]",
    "lab_requests_total @ {early}",
    "sort_desc(lab_requests_total)",
]

RANGE_QUERIES = [
    "lab_value",
    "lab_flapping",
    "lab_gone",
    "up == 1",
    "rate(lab_requests_total[5s])",
    "increase(lab_restarting_total[7s])",
    "sum by (mode) (irate(node_cpu_seconds_total[5s]))",
    "histogram_quantile(0.99, sum by (le) (rate(lab_duration_seconds_bucket[5s])))",
    "avg_over_time(lab_value[4s])",
    "max_over_time(lab_flapping[3s])",
    "topk(2, node_cpu_seconds_total)",
    "count(node_cpu_seconds_total)",
    "node_load1 / on (instance) node_load5",
    "lab_requests_total - lab_requests_total offset 2s",
    "lab_requests_total @ start()",
    "deriv(lab_restarting_total[6s])",
    "avg_over_time(sum(rate(lab_requests_total[4s]))[6s:1s])",
    "absent(lab_flapping)",
    "changes(lab_restarting_total[10s]) > 2",
    "prometheus_tsdb_head_series",
    "time() - timestamp(up)",
    "42",
]

BAD_QUERIES = [
    "up{",
    "rate(up)",
    "sum by (job) up",
    "up * on (job) node_cpu_seconds_total",
    "{}",
    "up[5s]",  # As a range query.
    "nonsense(up)",
]


@dataclass(frozen=True, slots=True)
class Lab:
    """The servers, with data that is in both, and the times to ask about."""

    obsd: Server
    prometheus: Server
    directory: Path
    early_ms: int
    late_ms: int

    def instant(self, server: Server, query: str, **parameters: str) -> Any:
        query = query.replace("{early}", seconds(self.early_ms))
        time = {"time": seconds(self.late_ms)}
        return server.data("/api/v1/query", {"query": query, **time, **parameters})

    def range(self, server: Server, query: str, step: str) -> Any:
        times = {"start": seconds(self.early_ms), "end": seconds(self.late_ms), "step": step}
        return server.data("/api/v1/query_range", {"query": query, **times})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("prometheus")
    with ExitStack() as stack:
        target_port = stack.enter_context(lab_target())
        node = stack.enter_context(running(node_exporter_server(directory)))
        obsd = stack.enter_context(running(obsd_server(directory, "--no-self-monitoring")))
        configuration = CONFIGURATION.format(node=node.port, lab=target_port, obsd=obsd.url)
        prometheus = stack.enter_context(
            running(
                prometheus_server(directory, configuration, "--enable-feature=exemplar-storage")
            )
        )
        early_ms, late_ms = settled_times(obsd, prometheus)
        yield Lab(obsd, prometheus, directory, early_ms, late_ms)


def settled_times(obsd: Server, prometheus: Server) -> tuple[int, int]:
    """Two times whose samples are in both servers, at no whole second's distance from any scrape.

    Prometheus 2.42 has a window's left end in the window, obsd (as Prometheus 3) has not; windows
    that end on such a time have no sample on either end.
    """
    wait_until(
        lambda: min(scrape_counts(prometheus), default=0) >= SCRAPES,
        f"there are {SCRAPES} scrapes of each target",
        SCRAPE_TIMEOUT_S,
    )
    scrapes = {
        entry["metric"]["job"]: [round(float(at) * MS) for at, _ in entry["values"]]
        for entry in prometheus.data("/api/v1/query", {"query": "up[10m]"})["result"]
    }
    phase = quiet_phase({at % MS for times in scrapes.values() for at in times})
    first, last = max(min(times) for times in scrapes.values()), min(map(max, scrapes.values()))
    late_ms = (last // MS - 2) * MS + phase
    wait_until(
        lambda: arrived_ms(obsd, len(scrapes)) > late_ms + MS,
        "the scrapes are in obsd",
        SCRAPE_TIMEOUT_S,
    )
    return (first // MS + LEAD_S) * MS + phase, late_ms


def scrape_counts(server: Server) -> list[float]:
    """How often each of the three targets was scraped; empty until all of them were."""
    result = server.data("/api/v1/query", {"query": "sum_over_time(up[10m])"})["result"]
    return [float(entry["value"][1]) for entry in result] if len(result) == 3 else []


def quiet_phase(phases: set[int]) -> int:
    """The milliseconds of a second that are farthest from every given one."""
    return max(range(MS), key=lambda p: min(min((p - q) % MS, (q - p) % MS) for q in phases | {0}))


def arrived_ms(obsd: Server, targets: int) -> float:
    """The time of the newest scrape of that target which is farthest behind."""
    result = obsd.data("/api/v1/query", {"query": "timestamp(up)"})["result"]
    return min(float(e["value"][1]) for e in result) * MS if len(result) == targets else 0


def seconds(time_ms: int) -> str:
    return f"{time_ms / MS:.3f}"


@pytest.mark.parametrize("query", INSTANT_QUERIES)
def test_instant_query_agrees_with_prometheus(lab: Lab, query: str) -> None:
    expected = lab.instant(lab.prometheus, query)
    actual = lab.instant(lab.obsd, query)
    assert differences(expected, actual) == []
    if query.startswith("sort"):
        assert [e["value"][1] for e in actual["result"]] == [
            e["value"][1] for e in expected["result"]
        ]


@pytest.mark.parametrize("step", ["1", "3"])
@pytest.mark.parametrize("query", RANGE_QUERIES)
def test_range_query_agrees_with_prometheus(lab: Lab, query: str, step: str) -> None:
    expected = lab.range(lab.prometheus, query, step)
    assert differences(expected, lab.range(lab.obsd, query, step)) == []


def test_queries_have_something_to_compare(lab: Lab) -> None:
    """A query list that finds nothing would prove nothing."""
    empty = [q for q in INSTANT_QUERIES if not lab.instant(lab.prometheus, q)["result"]]
    assert empty == ["lab_gone"]
    assert [q for q in RANGE_QUERIES if not lab.range(lab.prometheus, q, "1")["result"]] == []


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_bad_query_is_refused_like_prometheus(lab: Lab, query: str) -> None:
    times = {"start": seconds(lab.early_ms), "end": seconds(lab.late_ms)}
    parameters = {"query": query, "step": "5", **times}
    expected = lab.prometheus.request("/api/v1/query_range", parameters)
    actual = lab.obsd.request("/api/v1/query_range", parameters)
    assert actual.status == expected.status
    assert actual.json()["errorType"] == expected.json()["errorType"]
    assert actual.json()["status"] == "error"
    assert actual.json()["error"]


def test_queries_can_be_posted_as_forms(lab: Lab) -> None:
    parameters = {"query": "sum by (job) (up)", "time": seconds(lab.late_ms)}
    expected = lab.prometheus.request("/api/v1/query", parameters, method="POST").json()
    actual = lab.obsd.request("/api/v1/query", parameters, method="POST").json()
    assert len(expected["data"]["result"]) == 3
    assert differences(expected["data"], actual["data"]) == []


@pytest.mark.parametrize(
    "query", ["lab_value", "sum by (mode) (rate(node_cpu_seconds_total[10s]))", "time()"]
)
def test_query_command_gives_the_same_as_prometheus(lab: Lab, query: str) -> None:
    answered = run_query(lab, query, "--time", seconds(lab.late_ms))
    assert differences(lab.instant(lab.prometheus, query), answered) == []


@pytest.mark.parametrize("query", ["rate(lab_requests_total[5s])", "lab_flapping"])
def test_query_command_gives_the_same_range_as_prometheus(lab: Lab, query: str) -> None:
    times = ("--start", seconds(lab.early_ms), "--end", seconds(lab.late_ms), "--step", "1s")
    answered = run_query(lab, query, *times)
    assert differences(lab.range(lab.prometheus, query, "1"), answered) == []


def run_query(lab: Lab, query: str, *arguments: str) -> Any:
    command = [sys.executable, "-m", "obsd.cli.main", "query", query]
    ended = subprocess.run(
        [*command, "--url", lab.obsd.url, "--format", "json", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


SELECTORS = [
    ["up"],
    ["lab_requests_total", 'node_cpu_seconds_total{mode="idle"}'],
    ['{job="lab"}'],
    ['{__name__=~"lab_.*",path!=""}'],
    ["lab_flapping", "no_such_metric"],
]


@pytest.mark.parametrize("selectors", SELECTORS)
def test_series_and_labels_agree_with_prometheus(lab: Lab, selectors: list[str]) -> None:
    expected = [listing(lab, lab.prometheus, path, selectors) for path in LISTINGS]
    actual = [listing(lab, lab.obsd, path, selectors) for path in LISTINGS]
    assert expected[0]
    assert actual == expected


LISTINGS = [
    "/api/v1/series",
    "/api/v1/labels",
    "/api/v1/label/__name__/values",
    "/api/v1/label/job/values",
    "/api/v1/label/no_such_label/values",
]


def test_labels_without_a_selector_agree_with_prometheus(lab: Lab) -> None:
    for path in LISTINGS[1:]:
        assert listing(lab, lab.obsd, path, []) == listing(lab, lab.prometheus, path, [])


def listing(lab: Lab, server: Server, path: str, selectors: list[str]) -> list[Any]:
    """What the path lists, in one order: that of series is the server's own."""
    parameters = [("match[]", selector) for selector in selectors]
    parameters += [("start", seconds(lab.early_ms)), ("end", seconds(lab.late_ms))]
    found = server.data(path, parameters)
    return sorted(found, key=lambda e: sorted(e.items())) if path.endswith("series") else found


def test_metadata_agrees_with_prometheus(lab: Lab) -> None:
    expected = lab.prometheus.data("/api/v1/metadata")
    assert expected["lab_duration_seconds"] == [
        {"type": "histogram", "help": "How long it took.", "unit": "seconds"}
    ]
    # Targets that disagree on a family's help have several entries; remote write carries one.
    agreed = {family: entries for family, entries in expected.items() if len(entries) == 1}

    def missing() -> dict[str, Any]:
        actual = lab.obsd.data("/api/v1/metadata")
        return {f: e for f, e in agreed.items() if actual.get(f) != e}

    wait_until(lambda: not missing(), "the metadata is in obsd", 15)
    one = lab.obsd.data("/api/v1/metadata", {"metric": "lab_duration_seconds"})
    assert one == {"lab_duration_seconds": expected["lab_duration_seconds"]}


@pytest.mark.parametrize("query", ["lab_requests_total", "lab_duration_seconds_bucket", "up"])
def test_exemplars_agree_with_prometheus(lab: Lab, query: str) -> None:
    times = {"start": seconds(lab.early_ms), "end": seconds(lab.late_ms)}
    expected = lab.prometheus.data("/api/v1/query_exemplars", {"query": query, **times})
    actual = lab.obsd.data("/api/v1/query_exemplars", {"query": query, **times})
    assert bool(expected) == (query != "up")
    assert exemplars(actual) == exemplars(expected)


def exemplars(data: list[dict[str, Any]]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        json.dumps(entry["seriesLabels"], sort_keys=True): [
            (e["labels"], float(e["value"]), e["timestamp"]) for e in entry["exemplars"]
        ]
        for entry in data
    }


def test_federation_gives_what_prometheus_holds(lab: Lab) -> None:
    match = [("match[]", '{job="lab",__name__!="lab_flapping"}'), ("match[]", "up")]
    expected = federated(lab.prometheus.request("/federate", match).text)
    actual = federated(lab.obsd.request("/federate", match).text)
    assert len(expected) > 10
    assert actual.keys() == expected.keys()
    held = lab.prometheus.data("/api/v1/query", {"query": '{job="lab"}[1m]'})["result"]
    held += lab.prometheus.data("/api/v1/query", {"query": "up[1m]"})["result"]
    times = {tuple(sorted(e["metric"].items())): dict(e["values"]) for e in held}
    for labels, (value, time_ms) in actual.items():
        assert same_value(float(times[labels][time_ms / MS]), value), labels


def federated(text: str) -> dict[tuple[tuple[str, str], ...], tuple[float, int]]:
    """Text exposition as labels -> (value, time in ms)."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            parsed = re.fullmatch(r"(\w+)\{(.*)\} (\S+) (\d+)", line)
            assert parsed is not None, line
            name, labels, value, time_ms = parsed.groups()
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
            named = [(key, json.loads(f'"{text}"')) for key, text in pairs]
            key = tuple(sorted([("__name__", name), *((k, v) for k, v in named if v)]))
            found[key] = (float(value), int(time_ms))
    return found


def test_another_prometheus_reads_back_what_was_written(lab: Lab) -> None:
    configuration = f"remote_read: [{{url: {lab.obsd.url}/api/v1/read, read_recent: true}}]\n"
    reader = prometheus_server(lab.directory, configuration, name="reader")
    with running(reader):
        for query in ("lab_value", "rate(lab_requests_total[10s])", "lab_gone", "up[10m]"):
            expected = lab.instant(lab.prometheus, query)
            assert differences(expected, lab.instant(reader, query)) == [], query
        for query in ("lab_flapping", "sum by (mode) (irate(node_cpu_seconds_total[5s]))"):
            expected = lab.range(lab.prometheus, query, "1")
            assert differences(expected, lab.range(reader, query, "1")) == [], query


def test_promtool_queries_obsd(lab: Lab) -> None:
    ended = subprocess.run(
        [installed("promtool", "prometheus"), "query", "series", "--match=up", lab.obsd.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert sorted(re.findall(r'job="(\w+)"', ended.stdout)) == ["lab", "node", "prometheus"]


def test_answers_stay_the_same_in_parts_and_after_a_kill(lab: Lab) -> None:
    """What the tests above compared was in memory; now most of it is on disk."""
    assert lab.obsd.request("/api/v1/admin/flush", method="POST").status < 300
    assert disagreements(lab) == {}
    lab.obsd.kill()
    lab.obsd.start()
    assert disagreements(lab) == {}


def disagreements(lab: Lab) -> dict[str, list[str]]:
    """Queries that obsd and Prometheus answer differently, and how."""
    found = {}
    for query in INSTANT_QUERIES:
        found[query] = differences(lab.instant(lab.prometheus, query), lab.instant(lab.obsd, query))
    for query in RANGE_QUERIES:
        expected = lab.range(lab.prometheus, query, "2")
        found[f"{query} over a range"] = differences(expected, lab.range(lab.obsd, query, "2"))
    return {query: how for query, how in found.items() if how}
