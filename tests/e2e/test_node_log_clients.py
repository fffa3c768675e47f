"""Node.js's clients of Elasticsearch, Splunk and Loki, each into the port of its protocol."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Server, free_port, installed, obsd_server, running

CLIENTS = Path(__file__).parent.parent / "clients" / "httplogs"
RECEIVERS = ("elasticsearch", "splunk", "loki")
COUNT = 120


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in RECEIVERS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[Server]:
    listen = {f"OBSD_SERVER__{n.upper()}_LISTEN": f"127.0.0.1:{p}" for n, p in ports.items()}
    directory = tmp_path_factory.mktemp("node-clients")
    with running(
        obsd_server(directory, "--receivers", ",".join(RECEIVERS), environment=listen)
    ) as obsd:
        yield obsd


def send(client: str, port: int, **options: Any) -> Any:
    """What the client says of COUNT records."""
    assert (CLIENTS / "node_modules").is_dir(), f"npm ci in {CLIENTS}"
    url = f"http://127.0.0.1:{port}"
    arguments = json.dumps({"client": client, "url": url, "count": COUNT, **options})
    done = subprocess.run(
        [installed("node", "nodejs"), str(CLIENTS / "send.js"), arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def total(server: Server, query: str) -> int:
    answer = server.request("/api/v1/monitoring/logs", {"query": query})
    assert answer.status == 200, answer.text
    return answer.json()["total"]


@pytest.mark.parametrize("compression", [False, True])
def test_elasticsearch_8(server: Server, ports: dict[str, int], compression: bool) -> None:
    index = f"node-{compression}".lower()
    answer = send("elasticsearch", ports["elasticsearch"], compression=compression, index=index)
    assert answer == {"version": "9.0.0", "taken": COUNT, "count": COUNT}
    assert total(server, f"_index:{index} number:>=100") == COUNT - 100


@pytest.mark.parametrize("batched", [False, True])
def test_splunk_logging(server: Server, ports: dict[str, int], batched: bool) -> None:
    before = total(server, "source:node level:error")
    answers = send("splunk", ports["splunk"], batched=batched)["answers"]
    assert answers == [{"text": "Success", "code": 0}] * (1 if batched else COUNT)
    assert total(server, "source:node level:error") == before + COUNT
    assert total(server, "sourcetype:lines message.number:119 host.name:h1") >= 1


@pytest.mark.parametrize("as_json", [False, True])
def test_winston_loki(server: Server, ports: dict[str, int], as_json: bool) -> None:
    before = total(server, "service:node level:warn")
    send("winston-loki", ports["loki"], json=as_json)
    assert total(server, "service:node level:warn") == before + COUNT


def test_pino_loki(server: Server, ports: dict[str, int]) -> None:
    send("pino-loki", ports["loki"])
    assert total(server, "service:pino level:error") == COUNT
    assert total(server, "service:pino number:7") == 1
