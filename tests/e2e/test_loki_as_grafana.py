"""Grafana's calls to a Loki data source, on a real server that real clients have written to."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import logging_loki
import pytest
import websockets
from loki_logger_handler.loki_logger_handler import LokiLoggerHandler
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from tests.e2e.processes import Answer, Server, free_port, obsd_server, running, wait_until

API = "/loki/api/v1"
CATEGORIZE = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
DEADLINE_S = 30.0

SHOP, CART, TILL = 40, 30, 24
"""Lines of python-logging-loki, of loki-logger-handler, and of the OpenTelemetry SDK."""
TOTAL = SHOP + CART + TILL
TILL_LABELS = {
    "k8s_namespace_name": "prod",
    "service_instance_id": "till-1",
    "service_name": "till",
}


@pytest.fixture(scope="module")
def loki_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, loki_port: int) -> Iterator[Server]:
    listen = {"OBSD_SERVER__LOKI_LISTEN": f"127.0.0.1:{loki_port}"}
    directory = tmp_path_factory.mktemp("loki")
    arguments = ("--receivers", "http,loki", "--no-self-monitoring")
    with running(obsd_server(directory, *arguments, environment=listen)) as obsd:
        send_shop(loki_port)
        send_cart(obsd)
        send_till(obsd)
        yield obsd


def quiet_logger(name: str, handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    return logger


def raise_error(record: logging.LogRecord) -> None:
    """The handler's own way would swallow it."""
    raise AssertionError(record) from sys.exc_info()[1]


def send_shop(port: int) -> None:
    """Every fourth line is an error; all are logfmt."""
    url = f"http://127.0.0.1:{port}{API}/push"
    handler = logging_loki.LokiHandler(url, tags={"app": "shop"}, version="1")
    handler.handleError = raise_error
    logger = quiet_logger("e2e.shop", handler)
    for number in range(SHOP):
        level = logging.ERROR if number % 4 == 0 else logging.INFO
        logger.log(level, "order=%d took=%dms", number, number % 5, extra={"tags": {"zone": "a"}})
    logger.removeHandler(handler)
    handler.close()


def send_cart(server: Server) -> None:
    """JSON lines with structured metadata."""
    handler = LokiLoggerHandler(
        url=f"{server.url}{API}/push",
        labels={"app": "cart"},
        timeout=0.05,
        enable_structured_loki_metadata=True,
        loki_metadata={"region": "eu"},
    )
    logger = quiet_logger("e2e.cart", handler)
    for number in range(CART):
        logger.warning("basket %d", number)
    wait_until(
        lambda: stats(server, '{app="cart"}')["entries"] == CART, "the cart is sent", DEADLINE_S
    )
    logger.removeHandler(handler)


def send_till(server: Server) -> None:
    """Through OpenTelemetry: index labels, and other attributes of the resource."""
    provider = LoggerProvider(
        Resource.create(
            {
                "service.name": "till",
                "k8s.namespace.name": "prod",
                "host.name": "h1",
                "service.instance.id": "till-1",
            }
        )
    )
    exporter = OTLPLogExporter(f"{server.url}/v1/logs")
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    handler = LoggingHandler(logger_provider=provider)
    logger = quiet_logger("e2e.till", handler)
    for number in range(TILL):
        logger.info("receipt %d", number, extra={"cashier": number % 3})
    assert provider.force_flush()
    logger.removeHandler(handler)
    provider.shutdown()


def times() -> dict[str, str]:
    """As Grafana gives them: nanoseconds."""
    now_ns = time.time_ns()
    return {"start": str(now_ns - 3600 * 10**9), "end": str(now_ns + 10**9)}


def get(server: Server, path: str, headers: Any = None, **parameters: str) -> Answer:
    answer = server.request(API + path, times() | parameters, headers=headers)
    assert answer.status == 200, answer.text
    return answer


def ask(server: Server, path: str, headers: Any = None, **parameters: str) -> Any:
    return get(server, path, headers, **parameters).json()


def stats(server: Server, query: str) -> Any:
    return ask(server, "/index/stats", query=query)


def test_the_health_test(server: Server) -> None:
    answer = server.request(
        f"{API}/query",
        {"query": "vector(1)+vector(1)", "time": "4000000000", "direction": "backward"},
    )
    assert answer.status == 200
    assert answer.json()["data"]["result"] == [{"metric": {}, "value": [4000000000, "2"]}]


def test_labels_and_their_values(server: Server) -> None:
    labels = ask(server, "/labels")["data"]
    assert set(labels) >= {
        "app",
        "k8s_namespace_name",
        "logger",
        "service_name",
        "severity",
        "zone",
    }
    assert labels == sorted(labels)
    assert "host_name" not in labels
    assert ask(server, "/label/service_name/values")["data"] == ["cart", "shop", "till"]
    assert ask(server, "/label/app/values", query='{zone="a"}')["data"] == ["shop"]
    assert ask(server, "/label/severity/values")["data"] == ["error", "info"]


def test_series_and_stats(server: Server) -> None:
    shop = {"app": "shop", "logger": "e2e.shop", "service_name": "shop", "zone": "a"}
    found = ask(server, "/series", **{"match[]": '{app="shop"}'})["data"]
    assert found == [shop | {"severity": level} for level in ("error", "info")]
    [till] = ask(server, "/series", **{"match[]": '{service_name="till"}'})["data"]
    assert till == TILL_LABELS
    assert stats(server, '{service_name=~".+"}')["entries"] == TOTAL
    found = stats(server, '{app="shop"}')
    size = sum(len(f"order={n} took={n % 5}ms") for n in range(SHOP))
    assert found == {"streams": 2, "chunks": 2, "entries": SHOP, "bytes": size}


def test_lines_with_labels_by_category(server: Server) -> None:
    parameters = {"direction": "backward", "limit": "1000", "step": "1500ms"}
    data = ask(server, "/query_range", CATEGORIZE, query='{app="cart"} | json', **parameters)[
        "data"
    ]
    assert data["encodingFlags"] == ["categorize-labels"]
    values = [value for stream in data["result"] for value in stream["values"]]
    assert len(values) == CART
    ordered = sorted(values, key=lambda value: int(value[0]))
    assert [value[2]["parsed"]["message"] for value in ordered] == [
        f"basket {n}" for n in range(CART)
    ]
    assert {value[2]["structuredMetadata"]["region"] for value in values} == {"eu"}
    assert data["stats"]["summary"]["totalEntriesReturned"] == CART

    data = ask(server, "/query_range", CATEGORIZE, query='{service_name="till"}', **parameters)[
        "data"
    ]
    [stream] = data["result"]
    assert stream["stream"] == TILL_LABELS
    assert [line for _, line, _ in stream["values"]] == [
        f"receipt {n}" for n in reversed(range(TILL))
    ]
    metadata = stream["values"][0][2]["structuredMetadata"]
    assert metadata["host_name"] == "h1"
    assert metadata["cashier"] == str((TILL - 1) % 3)
    assert (metadata["detected_level"], metadata["severity_number"]) == ("info", "9")


def test_lines_without_categories_have_all_labels(server: Server) -> None:
    query = '{service_name="till"} | cashier="2"'
    data = ask(server, "/query_range", query=query)["data"]
    assert "encodingFlags" not in data
    lines = [value for stream in data["result"] for value in stream["values"]]
    assert len(lines) == TILL // 3
    assert all(len(value) == 2 for value in lines)
    assert {stream["stream"]["cashier"] for stream in data["result"]} == {"2"}


def test_the_volume_histogram(server: Server) -> None:
    query = 'sum by (level, detected_level) (count_over_time({service_name=~".+"}[1m]))'
    data = ask(server, "/query_range", query=query, step="60000ms")["data"]
    assert data["resultType"] == "matrix"
    counts: Counter[str] = Counter()
    for series in data["result"]:
        for _, value in series["values"]:
            counts[series["metric"]["detected_level"]] += int(value)
    assert counts == {"error": SHOP // 4, "info": SHOP * 3 // 4 + TILL, "warn": CART}


def test_metrics_over_parsed_lines(server: Server) -> None:
    now = str(time.time_ns() + 10**9)
    for query, expected in (
        ('sum(count_over_time({app="shop"} | logfmt | took > 3ms [1h]))', SHOP // 5),
        ('sum(sum_over_time({app="shop"} | logfmt | unwrap order [1h]))', sum(range(SHOP))),
        ('max(max_over_time({app="shop"} | logfmt | unwrap duration(took) [1h]))', 0.004),
        ('count(count by (cashier) (count_over_time({service_name="till"}[1h])))', 3),
    ):
        data = ask(server, "/query", query=query, time=now)["data"]
        assert [float(each["value"][1]) for each in data["result"]] == [expected], query


def test_volumes(server: Server) -> None:
    data = ask(server, "/index/volume", query='{service_name=~".+"}', limit="1000")["data"]
    assert data["resultType"] == "vector"
    sizes = {each["metric"]["service_name"]: int(each["value"][1]) for each in data["result"]}
    assert sizes["till"] == sum(len(f"receipt {n}") for n in range(TILL))
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    over_time = ask(
        server, "/index/volume_range", query="{}", targetLabels="service_name", step="300s"
    )["data"]
    assert {
        each["metric"]["service_name"]: sum(int(size) for _, size in each["values"])
        for each in over_time["result"]
    } == sizes


def test_detected_fields_and_labels(server: Server) -> None:
    found = ask(server, "/detected_fields", query='{app="shop"}', limit="1000")["fields"]
    fields = {each["label"]: each for each in found}
    assert fields["order"] | {"label": "order"} == {
        "label": "order",
        "type": "int",
        "cardinality": SHOP,
        "parsers": [],  # obsd has made a field of it when it came.
    }
    assert fields["took"]["type"] == "duration"
    values = ask(server, "/detected_field/took/values", query='{app="shop"}')["values"]
    assert values == [f"{n}ms" for n in range(5)]
    labels = ask(server, "/detected_labels")["detectedLabels"]
    assert {"label": "service_name", "cardinality": 3} in labels


def test_patterns(server: Server) -> None:
    found = ask(server, "/patterns", query='{service_name="till"}', step="60s")
    assert found["status"] == "success"
    [pattern] = found["data"]
    assert (pattern["pattern"], pattern["level"]) == ("receipt <_>", "info")
    assert sum(count for _, count in pattern["samples"]) == TILL
    assert all(time % 60 == 0 for time, _ in pattern["samples"])
    query = f'sum(count_over_time({{service_name="till"}} |> `{pattern["pattern"]}` [1h]))'
    now = str(time.time_ns() + 10**9)
    [sample] = ask(server, "/query", query=query, time=now)["data"]["result"]
    assert sample["value"][1] == str(TILL)


def test_an_error_is_text(server: Server) -> None:
    answer = server.request(f"{API}/query_range", {"query": '{app="shop"'})
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert answer.text.startswith("parse error")


def test_the_own_listener_answers_queries_too(server: Server, loki_port: int) -> None:
    own = Server("loki", [], port=loki_port, log=server.log)
    assert own.request("/ready").status == 200
    assert stats(own, '{service_name=~".+"}')["entries"] == TOTAL
    answer = get(own, "/query_range", {"Accept-Encoding": "gzip"}, query='{app="shop"}')
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body))["status"] == "success"
    assert ask(own, "/status/buildinfo")["version"]


def test_logql_in_the_terminal(server: Server) -> None:
    def run(query: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "obsd.cli.main", "logs", "--logql", query]
        return subprocess.run(
            [*command, "--url", server.url, *options], capture_output=True, text=True, check=False
        )

    shown = run('{app="shop"} |= "order=1" | logfmt', "--fields", "message,order")
    assert shown.returncode == 0, shown.stderr
    wanted = [n for n in range(SHOP) if str(n).startswith("1")]
    assert shown.stdout.splitlines() == [f"order={n} took={n % 5}ms  {n}" for n in wanted]
    numbers = run('sum by (app) (count_over_time({app="shop"}[1h]))', "--json")
    assert numbers.returncode == 0, numbers.stderr
    [series] = json.loads(numbers.stdout)["result"]
    assert (series["metric"], series["values"][-1][1]) == ({"app": "shop"}, str(SHOP))
    wrong = run('{app="shop"} | |')
    assert wrong.returncode == 2
    assert "parse error" in wrong.stderr
    assert "^" in wrong.stderr


def push(server: Server, app: str, lines: list[str]) -> None:
    now_ns = time.time_ns()
    values = [[str(now_ns + number), line] for number, line in enumerate(lines)]
    body = json.dumps({"streams": [{"stream": {"app": app}, "values": values}]}).encode()
    headers = {"Content-Type": "application/json"}
    answer = server.request(f"{API}/push", method="POST", body=body, headers=headers)
    assert (answer.status, answer.body) == (204, b"")


def lines_of(frame: str | bytes) -> list[str]:
    return [value[1] for stream in json.loads(frame)["streams"] for value in stream["values"]]


def tail_url(server: Server, query: str) -> str:
    return f"ws://127.0.0.1:{server.port}{API}/tail?query={query}&limit=3&delay_for=0"


async def test_the_tail_with_websockets(server: Server) -> None:
    await asyncio.to_thread(push, server, "ws", [f"old {n}" for n in range(5)])
    async with websockets.connect(tail_url(server, '{app="ws"}')) as socket:
        found: list[str] = []
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < 3:
                found += lines_of(await socket.recv())
            await asyncio.to_thread(push, server, "ws", [f"new {n}" for n in range(250)])
            while len(found) < 253:
                found += lines_of(await socket.recv())
            await (await socket.ping())
    assert found == ["old 2", "old 3", "old 4", *(f"new {n}" for n in range(250))]


async def test_the_tail_with_aiohttp_through_a_pipeline(server: Server) -> None:
    async with aiohttp.ClientSession() as session:
        url = tail_url(server, '{app="aio"} |= "keep"')
        async with session.ws_connect(url, headers=CATEGORIZE) as socket:
            lines = [f"{'keep' if n % 2 else 'drop'} {n}" for n in range(100)]
            await asyncio.to_thread(push, server, "aio", lines)
            found: list[str] = []
            async with asyncio.timeout(DEADLINE_S):
                while len(found) < 50:
                    frame = await socket.receive_str()
                    assert json.loads(frame)["encodingFlags"] == ["categorize-labels"]
                    found += lines_of(frame)
    assert found == lines[1::2]


async def test_a_reader_that_does_not_read_loses_lines_and_is_told(server: Server) -> None:
    line = "z" * 20_000
    batches, size = 40, 50
    # A reader with room for one message; the sockets between have room for a few megabytes.
    async with websockets.connect(
        tail_url(server, '{app="slow"}'), max_queue=1, max_size=None, compression=None
    ) as socket:
        for batch in range(batches):
            lines = [f"{batch * size + n} {line}" for n in range(size)]
            await asyncio.to_thread(push, server, "slow", lines)
        shown: list[str] = []
        dropped: list[Any] = []
        async with asyncio.timeout(DEADLINE_S):
            while not dropped:
                frame = await socket.recv()
                shown += lines_of(frame)
                dropped += json.loads(frame).get("dropped_entries", [])
    numbers = [int(each.split()[0]) for each in shown]
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < batches * size
    assert all(each["labels"]["app"] == "slow" for each in dropped)
    assert all(int(each["timestamp"]) > 0 for each in dropped)


def test_a_tail_without_an_upgrade_is_a_400(server: Server) -> None:
    answer = server.request(f"{API}/tail", {"query": '{app="ws"}'})
    assert answer.status == 400
    assert "WebSocket" in answer.text
