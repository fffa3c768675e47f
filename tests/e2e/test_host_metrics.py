"""obsd's own collector against Debian's node_exporter, through the panels of a real dashboard.

First the collectors alone: both are read in the same moment and given to one Prometheus in one
scrape, so that the two answers to a query differ by what the collectors say and by nothing else.
Then all of obsd: a server that watches its own host, asked over HTTP, against that Prometheus.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import socket
import statistics
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from obsd.services.host import HostCollector
from tests.e2e.processes import (
    Server,
    free_port,
    installed,
    obsd_server,
    prometheus_server,
    running,
    wait_until,
)

DASHBOARD = "data/grafana-dashboards/node-exporter-full.json"
RATE_INTERVAL_S = 12
COMPARED_STEPS = 8
SAMPLES_WITHIN_S = 90.0

# Debian hides the loopback interface and what is mounted below /run, /mnt and /media. These are
# node_exporter's own defaults, which are obsd's too. Processes are off by default, and widen
# what is compared.
FLAGS = (
    "--collector.netdev.device-exclude=^$",
    "--collector.filesystem.mount-points-exclude="
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
    "--collector.processes",
    "--collector.cpu.info",
    "--collector.textfile.directory=",
    "--log.level=error",
)

# What a query tells of the collecting process itself: there the two must differ in value.
OF_THE_COLLECTOR = re.compile(r"\b(process_|node_scrape_collector_)")
# node_exporter also lists collectors of hardware and services that no panel shows.
ONLY_NODE_EXPORTER_FAMILIES = re.compile(r"(go_|promhttp_|node_processes_threads_state)")
# Those, and what tells of the collector or comes and goes between two readings.
OTHER_SERIES = re.compile(
    r"go_|promhttp_|node_processes_|node_scrape_collector_|node_exporter_build_info"
)
# Whose text speaks of the program that collects.
OWN_HELP = {"node_exporter_build_info", "node_dmi_info"}

Series = dict[tuple[tuple[str, str], ...], dict[float, float]]  # Labels -> time -> value.


@dataclass(frozen=True)
class Panel:
    title: str
    expr: str


@dataclass
class Comparison:
    """Panel queries, by what became of them."""

    with_data: list[Panel] = field(default_factory=list)
    also_at_obsd: list[Panel] = field(default_factory=list)
    agreeing: list[Panel] = field(default_factory=list)
    without_any: list[Panel] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def summary(self) -> str:
        return (
            f"{len(self.with_data)} of {len(self.with_data) + len(self.without_any)} queries have "
            f"data at node_exporter, {len(self.also_at_obsd)} at obsd too, "
            f"{len(self.agreeing)} agree\n" + "\n".join(self.remarks)
        )


def panels_of(dashboard: Path) -> list[Panel]:
    """Every query of every panel, rows that are folded included."""
    found: list[Panel] = []

    def walk(panels: list[dict]) -> None:
        for panel in panels:
            found.extend(
                Panel(panel["title"], target["expr"])
                for target in panel.get("targets", [])
                if target.get("expr")
            )
            walk(panel.get("panels", []))

    walk(json.loads(dashboard.read_text())["panels"])
    return found


def substitute(expr: str, job: str, node: str, rate_interval_s: int = RATE_INTERVAL_S) -> str:
    """What Grafana makes of a query before it sends it."""
    for variable, value in (
        ("$__rate_interval", f"{rate_interval_s}s"),
        ("$__interval", "1s"),
        ("$job", job),
        ("$node", node),
    ):
        expr = expr.replace(variable, value)
    assert "$" not in expr, f"a variable that this test does not know: {expr}"
    return expr


class QueryApi:
    """A server that speaks Prometheus' HTTP API."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def range(self, query: str, start_s: int, end_s: int, step_s: int) -> Series:
        span = {"start": str(start_s), "end": str(end_s), "step": str(step_s)}
        data = self._server.data("/api/v1/query_range", {"query": query, **span})
        return {
            labels_of(one["metric"]): {at: float(value) for at, value in one["values"]}
            for one in data["result"]
        }

    def value(self, query: str) -> float:
        result = self._server.data("/api/v1/query", {"query": query})["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def label_values(self, label: str, selector: str) -> list[str]:
        return self._server.data(f"/api/v1/label/{label}/values", {"match[]": selector})

    def wait_for_samples(self) -> None:
        """Until there are more than any panel looks back."""
        needed = RATE_INTERVAL_S + COMPARED_STEPS + 2
        count = 'count_over_time(node_load1{job="node"}[5m])'
        wait_until(
            lambda: self.value(count) >= needed, f"{needed} samples are there", SAMPLES_WITHIN_S
        )


def labels_of(metric: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in metric.items() if k not in ("job", "instance")))


@dataclass(frozen=True)
class Tolerance:
    """How far apart values may be, since the machine works between the two readings.

    A part of the value, or that much near 0 (of a CPU, a percent), of one of the reference's
    values so many seconds around: where one reading falls between two of the other, its value lies
    between theirs.
    """

    relative: float
    absolute: float
    seconds: int

    def difference(self, found: float | None, expected: list[float]) -> float:
        """1 is just tolerable."""
        if found is None:
            return math.inf
        if math.isnan(found):
            return 0.0 if any(math.isnan(value) for value in expected) else math.inf
        nearest = min(max(found, min(expected)), max(expected))
        return abs(found - nearest) / max(self.absolute, self.relative * abs(nearest))


SAME_MOMENT = Tolerance(0.03, 0.05, 0)  # Some milliseconds apart.
SAME_SECOND = Tolerance(0.1, 0.25, 1)


def agree(mine: Series, theirs: Series, tolerance: Tolerance) -> str | None:
    """None when the same series have the same values at the median step, else what differs."""
    if mine.keys() != theirs.keys():
        missing, extra = theirs.keys() - mine.keys(), mine.keys() - theirs.keys()
        return f"series missing {sorted(missing)[:3]}, extra {sorted(extra)[:3]}"
    for labels, expected in theirs.items():
        found = mine[labels]
        # A series may come and go, such as the count of processes in a state.
        around = range(-tolerance.seconds, tolerance.seconds + 1)
        differences = [
            tolerance.difference(
                found.get(at), [expected[at + s] for s in around if at + s in expected]
            )
            for at in expected
        ]
        if not statistics.median(differences) <= 1:
            values = f"found {list(found.values())}, expected {list(expected.values())}"
            return f"{dict(labels)}: {values}"
    return None


def compare(
    panels: list[Panel],
    ask_obsd: Callable[[str], Series],
    ask_reference: Callable[[str], Series],
    tolerance: Tolerance,
) -> Comparison:
    comparison = Comparison()
    for panel in panels:
        theirs = ask_reference(panel.expr)
        if not theirs:
            comparison.without_any.append(panel)
            continue
        comparison.with_data.append(panel)
        mine = ask_obsd(panel.expr)
        if not mine:
            comparison.remarks.append(f"no data: {panel.title}: {panel.expr}")
            continue
        comparison.also_at_obsd.append(panel)
        if OF_THE_COLLECTOR.search(panel.expr):
            # Another process, so other values: only what is there can be the same.
            theirs_labels = {labels for labels in theirs if labels in mine}
            problem = None if theirs_labels else "no series in common"
        else:
            problem = agree(mine, theirs, tolerance)
        if problem is None:
            comparison.agreeing.append(panel)
        else:
            comparison.remarks.append(f"differs: {panel.title}: {panel.expr}: {problem}")
    return comparison


@pytest.fixture(scope="module")
def node_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port = free_port()
    command = [
        installed("prometheus-node-exporter"),
        f"--web.listen-address=127.0.0.1:{port}",
        *FLAGS,
    ]
    log = tmp_path_factory.mktemp("node_exporter") / "log"
    server = Server("node_exporter", command, port=port, log=log, ready_path="/")
    with running(server):
        yield server


class BothAtOnce:
    """An HTTP server whose every answer is a fresh reading of both collectors."""

    def __init__(self, reference: Server, scratch: Path) -> None:
        # Kept open: a connection that is there for one reading only would show in its sockets.
        self._reference = http.client.HTTPConnection("127.0.0.1", reference.port, timeout=30)
        self._collector = HostCollector()
        self._scratch = scratch
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # One connection: it would show in the sockets too.

            def do_GET(self) -> None:
                body = exporter.read()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: pytest shows what fails."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True  # They wait for the next request of a scraper.

    def read(self) -> bytes:
        self._work()
        reference: list[bytes] = []
        thread = threading.Thread(target=lambda: reference.append(self._read_reference()))
        thread.start()
        mine = self._collector.collect()
        thread.join()
        return relabel(reference[0], "reference", "there") + relabel(mine, "node", "here")

    def _read_reference(self) -> bytes:
        self._reference.request("GET", "/metrics")
        return self._reference.getresponse().read()

    def close(self) -> None:
        self._reference.close()
        self.server.server_close()

    def _work(self) -> None:
        """Give disks and memory something to do, so that not all is 0 on a quiet machine."""
        with self._scratch.open("wb") as file:
            file.write(bytes(1 << 20))
            file.flush()


def relabel(text: bytes, job: str, instance: str) -> bytes:
    """Samples with the labels of their target; TYPE and HELP do not matter to a scrape."""
    target = f'job="{job}",instance="{instance}"'
    lines = []
    for line in text.decode().splitlines():
        if line.startswith("#"):
            continue
        if (brace := line.find("{")) >= 0:
            lines.append(f"{line[: brace + 1]}{target},{line[brace + 1 :]}")
        else:
            name, _, value = line.partition(" ")
            lines.append(f"{name}{{{target}}} {value}")
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture(scope="module")
def both(node_exporter: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    exporter = BothAtOnce(node_exporter, tmp_path_factory.mktemp("work") / "scratch")
    thread = threading.Thread(target=exporter.server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{exporter.server.server_address[1]}"
    finally:
        exporter.server.shutdown()
        thread.join()
        exporter.close()


@pytest.fixture(scope="module")
def prometheus(both: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueryApi]:
    """A Prometheus that has scraped both for longer than a query looks back."""
    configuration = f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: both
    honor_labels: true
    static_configs: [{{targets: ["{both}"]}}]
"""
    directory = tmp_path_factory.mktemp("prometheus")
    with running(prometheus_server(directory, configuration)) as server:
        api = QueryApi(server)
        api.wait_for_samples()
        yield api


def ask(api: QueryApi, job: str, node: str, end_s: int) -> Callable[[str], Series]:
    """Asks as a panel does, for the last steps before `end_s`."""
    start_s = end_s - COMPARED_STEPS + 1
    return lambda expr: api.range(substitute(expr, job, node), start_s, end_s, 1)


def last_sample_s(api: QueryApi, job: str) -> int:
    return int(api.value(f'max(timestamp(node_load1{{job="{job}"}}))'))


def assert_95_percent(comparison: Comparison) -> None:
    print(comparison.summary())  # noqa: T201 - pytest shows it with -rA, and when this fails
    queries = len(comparison.with_data)
    assert queries > 200, comparison.summary()
    assert len(comparison.also_at_obsd) >= 0.95 * queries, comparison.summary()
    assert len(comparison.agreeing) >= 0.95 * queries, comparison.summary()


def test_the_collector_has_the_data_of_node_exporter(
    prometheus: QueryApi, shared_dir: Path
) -> None:
    end_s = last_sample_s(prometheus, "node")
    comparison = compare(
        panels_of(shared_dir / DASHBOARD),
        ask(prometheus, "node", "here", end_s),
        ask(prometheus, "reference", "there", end_s),
        SAME_MOMENT,
    )
    assert_95_percent(comparison)


@pytest.fixture(scope="module")
def obsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueryApi]:
    """A server that has watched its host for longer than a query looks back."""
    every_second = {"OBSD_SELF_MONITORING__INTERVAL": "1s"}
    server = obsd_server(tmp_path_factory.mktemp("obsd"), environment=every_second)
    with running(server):
        api = QueryApi(server)
        api.wait_for_samples()
        yield api


def test_a_server_has_the_data_of_node_exporter_about_its_own_host(
    obsd: QueryApi, prometheus: QueryApi, shared_dir: Path
) -> None:
    end_s = min(last_sample_s(obsd, "node"), last_sample_s(prometheus, "reference"))
    comparison = compare(
        panels_of(shared_dir / DASHBOARD),
        ask(obsd, "node", socket.gethostname(), end_s),
        ask(prometheus, "reference", "there", end_s),
        SAME_SECOND,
    )
    assert_95_percent(comparison)


def test_the_variables_of_the_dashboard_resolve(obsd: QueryApi) -> None:
    host = socket.gethostname()
    assert obsd.label_values("job", "node_uname_info") == ["node"]
    assert obsd.label_values("nodename", 'node_uname_info{job="node"}') == [host]
    selector = f'node_uname_info{{job="node", nodename="{host}"}}'
    assert obsd.label_values("instance", selector) == [host]


def families_of(text: str) -> dict[str, tuple[str, str]]:
    """Family -> type and help."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))
    return {name: (types[name], helps[name]) for name in types}


def series_of(text: str) -> set[str]:
    return {line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")}


def canonical(series: str) -> str:
    """The series with its labels in order, and without those that are empty."""
    name, _, rest = series.partition("{")
    labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest)
    return f"{name}{sorted(pair for pair in labels if pair[1])}"


def test_series_have_the_labels_of_node_exporter(node_exporter: Server) -> None:
    theirs = {canonical(series) for series in series_of(node_exporter.request("/metrics").text)}
    mine = {canonical(series) for series in series_of(HostCollector().collect().decode())}
    missing = {series for series in theirs - mine if not OTHER_SERIES.match(series)}
    assert missing == set()


def test_families_have_the_types_and_help_of_node_exporter(node_exporter: Server) -> None:
    theirs = families_of(node_exporter.request("/metrics").text)
    mine = families_of(HostCollector().collect().decode())
    expected = {
        name: family
        for name, family in theirs.items()
        if not ONLY_NODE_EXPORTER_FAMILIES.match(name)
    }
    assert expected.keys() - mine.keys() == set()
    differing = {
        name: (mine[name], family)
        for name, family in expected.items()
        if name not in OWN_HELP and mine[name] != family
    }
    assert differing == {}
