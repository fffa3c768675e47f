"""Splunk's logging handlers of Python into a real server, on the port that is theirs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from splunk_handler import SplunkHandler
from splunk_hec_handler import SplunkHecHandler

from tests.e2e.processes import Server, free_port, obsd_server, running, wait_until

TOKEN = "00000000-0000-0000-0000-000000000000"
CHANNEL = "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Server]:
    listen = {"OBSD_SERVER__SPLUNK_LISTEN": f"127.0.0.1:{port}"}
    directory = tmp_path_factory.mktemp("splunk")
    obsd = obsd_server(directory, "--receivers", "splunk", environment=listen)
    with running(obsd):
        yield obsd


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("shop.splunk")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def search(server: Server, query: str) -> Any:
    answer = server.request("/api/v1/monitoring/logs", {"query": query, "limit": "1000"})
    assert answer.status == 200, answer.text
    return answer.json()


def test_splunk_handler(server: Server, port: int, logger: logging.Logger) -> None:
    handler = SplunkHandler(
        host="127.0.0.1",
        port=port,
        token=TOKEN,
        index="main",
        protocol="http",
        verify=False,
        hostname="h1",
        source="orders",
        sourcetype="shop",
        flush_interval=0.2,
    )
    logger.addHandler(handler)
    for number in range(100):
        logger.warning("order %d was late", number)
    handler.force_flush()
    wait_until(
        lambda: search(server, "sourcetype:shop")["total"] == 100, "the handler has sent all", 20
    )
    [record] = search(server, '"order 42 was late"')["logs"]
    assert record["resource"]["host.name"] == "h1"
    assert record["resource"]["source"] == "orders"
    assert record["resource"]["index"] == "main"
    assert record["message"] == "order 42 was late"


def test_splunk_hec_handler(server: Server, port: int, logger: logging.Logger) -> None:
    handler = SplunkHecHandler(
        "127.0.0.1", TOKEN, port=port, proto="http", ssl_verify=False, source="cart", hostname="h2"
    )
    logger.addHandler(handler)
    for number in range(20):
        logger.error("payment %d failed", number)
    logger.info({"cart": 7, "items": ["a", "b"]})
    assert search(server, "source:cart failed level:error")["total"] == 20
    [record] = search(server, "source:cart cart:7")["logs"]
    assert record["attributes"]["items"] == ["a", "b"]
    assert record["resource"]["host.name"] == "h2"


def test_what_is_acknowledged_survives_a_kill(server: Server, port: int) -> None:
    collector = Server("splunk", [], port=port, log=server.log)
    headers = {"Authorization": f"Splunk {TOKEN}", "X-Splunk-Request-Channel": CHANNEL}
    body = b"".join(b'{"event":"kept %d","sourcetype":"durable"}' % n for n in range(50))
    answer = collector.request("/services/collector", method="POST", body=body, headers=headers)
    ack_id = answer.json()["ackId"]
    asked = json.dumps({"acks": [ack_id, ack_id + 1]}).encode()
    answer = collector.request(
        "/services/collector/ack", method="POST", body=asked, headers=headers
    )
    assert answer.json() == {"acks": {str(ack_id): True, str(ack_id + 1): False}}
    server.kill()
    server.start()
    assert search(server, "sourcetype:durable kept")["total"] == 50
    health = collector.request("/services/collector/health")
    assert health.json() == {"text": "HEC is healthy", "code": 17}
