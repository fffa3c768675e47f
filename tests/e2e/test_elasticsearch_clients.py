"""Elasticsearch's and OpenSearch's clients, and rsyslog, into a real server's port for them."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import elasticsearch
import elasticsearch.helpers
import elasticsearch7
import elasticsearch7.helpers
import opensearchpy
import opensearchpy.helpers
import pytest

from tests.e2e.processes import Server, free_port, installed, obsd_server, running, wait_until

RSYSLOG_MODULE = Path("/usr/lib/x86_64-linux-gnu/rsyslog/omelasticsearch.so")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Server]:
    listen = {
        "OBSD_SERVER__ELASTICSEARCH_LISTEN": f"127.0.0.1:{port}",
        "OBSD_SERVER__LOKI_LISTEN": f"127.0.0.1:{free_port()}",
    }
    directory = tmp_path_factory.mktemp("elasticsearch")
    obsd = obsd_server(directory, "--receivers", "elasticsearch,loki", environment=listen)
    with running(obsd):
        yield obsd


def search(server: Server, query: str, project: str = "default") -> Any:
    parameters = {"query": query, "limit": "1000"}
    answer = server.request(
        "/api/v1/monitoring/logs", parameters, headers={"X-Scope-OrgID": project}
    )
    assert answer.status == 200, answer.text
    return answer.json()


def actions(index: str, count: int) -> Iterator[dict[str, Any]]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for number in range(count):
        yield {
            "_op_type": "create" if number % 2 else "index",
            "_index": index,
            "_id": f"{index}-{number}",
            "@timestamp": now,
            "message": f"order {number} was taken",
            "log": {"level": "error" if number % 10 == 0 else "info"},
            "service": {"name": "shop"},
            "number": number,
        }


# Version 9 asks for a product check and its own media types and sends by PUT; version 7 checks the
# product, too; OpenSearch's does neither.
CLIENTS = {
    "elasticsearch": (elasticsearch.Elasticsearch, elasticsearch.helpers),
    "elasticsearch7": (elasticsearch7.Elasticsearch, elasticsearch7.helpers),
    "opensearch": (opensearchpy.OpenSearch, opensearchpy.helpers),
}


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.filterwarnings("ignore:The 'body' parameter is deprecated")
def test_official_clients_send_in_bulk(server, port: int, name: str, compress: bool) -> None:
    kind, helpers = CLIENTS[name]
    index = f"{name}-{compress}".lower()
    headers = {"X-Scope-OrgID": index}
    sent = list(actions(index, 100))
    client = kind(f"http://127.0.0.1:{port}", headers=headers, http_compress=compress)
    try:
        assert client.ping()
        assert client.info()["version"]["number"] == "9.0.0"
        assert helpers.bulk(client, copy.deepcopy(sent)) == (100, [])
        # Once more, as after a lost answer: `create` says that they are there already.
        done, errors = helpers.bulk(client, copy.deepcopy(sent), raise_on_error=False)
        assert done == 50
        assert {error["create"]["status"] for error in errors} == {409}
        assert client.count(index=index)["count"] == 100
        query = {"query": {"query_string": {"query": "level:error taken"}}}
        assert client.count(index=index, body=query)["count"] == 10
        assert client.indices.exists(index=index)
        assert not client.indices.exists(index="absent")
        assert client.cluster.health()["status"] == "green"
        made = client.index(index=index, body={"message": "by itself", "number": 1000})
        assert made["result"] == "created"
        client.indices.refresh(index=index)
        client.indices.put_index_template(name="t", body={"index_patterns": ["t-*"]})
        assert client.indices.exists_index_template(name="t")
    finally:
        client.close()
    assert search(server, "", index)["total"] == 101
    assert search(server, "service:shop number:>=90 number:<100", index)["total"] == 10
    [record] = search(server, "number:7", index)["logs"]
    assert record["message"] == "order 7 was taken"
    assert record["resource"] == {"_index": index, "service.name": "shop"}
    assert record["attributes"] == {"_id": f"{index}-7", "number": 7}


def test_errors_of_items_reach_the_client(port: int) -> None:
    with elasticsearch.Elasticsearch(f"http://127.0.0.1:{port}") as client:
        found = list(
            elasticsearch.helpers.streaming_bulk(
                client,
                [
                    {"_index": "e", "message": "good"},
                    {"_op_type": "delete", "_index": "e", "_id": "1"},
                    {"_index": "e", "message": "old", "@timestamp": "1999-01-01"},
                ],
                raise_on_error=False,
            )
        )
        assert [ok for ok, _ in found] == [True, False, False]
        with pytest.raises(elasticsearch.BadRequestError, match="older than"):
            client.index(index="e", document={"message": "old", "@timestamp": "1999-01-01"})
        client.create(index="e", id="1", document={"message": "twice"})
        with pytest.raises(elasticsearch.ConflictError):
            client.create(index="e", id="1", document={"message": "twice"})


def call(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    server = Server("elasticsearch", [], port=port, log=Path(os.devnull))
    return server.request(path, method=method, body=body, headers=headers)


def test_the_calls_of_filebeat(server: Server, port: int) -> None:
    """In their order at its start, as its public source has them."""
    project = {"X-Scope-OrgID": "filebeat"}
    as_json = {**project, "Content-Type": "application/json", "Accept": "application/json"}
    version = call(port, "GET", "/", **as_json).json()["version"]
    assert version["number"].count(".") == 2
    assert version["build_flavor"] == "default"
    licence = call(port, "GET", "/_license?human=false", **as_json).json()["license"]
    assert (licence["type"], licence["status"]) == ("basic", "active")
    for path, text in (
        ("/_ilm/policy/filebeat", b'{"policy":{"phases":{}}}'),
        ("/_index_template/filebeat-9.0.0", b'{"index_patterns":["filebeat-9.0.0"]}'),
        ("/_data_stream/filebeat-9.0.0", b"{}"),
        ("/_ingest/pipeline/filebeat-9.0.0-nginx-access", b'{"processors":[]}'),
    ):
        assert call(port, "GET", path, **as_json).status == 404
        done = call(port, "PUT", path, text, **as_json)
        assert (done.status, done.json()) == (200, {"acknowledged": True})
        assert call(port, "GET", path, **as_json).status == 200
    event = {
        "@timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "message": "GET /cart 500",
        "agent": {"type": "filebeat", "version": "9.0.0"},
        "host": {"name": "web-1"},
        "ecs": {"version": "8.0.0"},
    }
    action = b'{"create":{"_index":"filebeat-9.0.0","pipeline":"p"}}\n'
    answer = call(
        port,
        "POST",
        "/_bulk?filter_path=errors%2Citems.%2A.error%2Citems.%2A.status",
        b"".join(
            action + json.dumps(event | {"log": {"offset": offset}}).encode() + b"\n"
            for offset in (12, 26)
        ),
        **as_json,
    )
    # It walks these item by item, and wants an object of one key in each.
    created = {"create": {"status": 201}}
    assert answer.json() == {"errors": False, "items": [created, created]}
    assert search(server, "host.name:web-1 cart", "filebeat")["total"] == 2


def test_the_calls_of_logstash_fluent_bit_and_vector(server: Server, port: int) -> None:
    project = {"X-Scope-OrgID": "others", "Content-Type": "application/json"}
    assert call(port, "HEAD", "/", **project).headers["x-elastic-product"] == "Elasticsearch"
    assert call(port, "GET", "/_license", **project).status == 200
    template = "/_index_template/ecs-logstash"
    assert call(port, "HEAD", template, **project).status == 404
    assert call(port, "PUT", template, b'{"index_patterns":["ecs-logstash-*"]}', **project).json()
    assert call(port, "HEAD", template, **project).status == 200
    nodes = call(port, "GET", "/_nodes/http", **project).json()["nodes"]
    assert [node["http"]["publish_address"] for node in nodes.values()] == [f"127.0.0.1:{port}"]
    assert call(port, "GET", "/_cluster/health", **project).json()["status"] == "green"
    ndjson = {**project, "Content-Type": "application/x-ndjson"}
    fluent_bit = (
        b'{"create":{"_index":"fluent-bit","_type":"_doc"}}\n{"@timestamp":"2%s","log":"l"}\n'
    )
    moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())[1:].encode()
    answer = call(port, "POST", "/_bulk", fluent_bit % moment, **ndjson)
    assert answer.json()["errors"] is False
    vector = b'{"index":{"_index":"vector-2026.01.01"}}\n{"message":"m","timestamp":"2%s"}\n'
    answer = call(port, "POST", "/_bulk?timeout=60s", vector % moment, **ndjson)
    assert answer.json()["items"][0]["index"]["status"] == 201
    assert search(server, "", "others")["total"] == 2


def test_the_port_has_elasticsearchs_root_and_the_others_have_not(
    server: Server, port: int
) -> None:
    assert call(port, "GET", "/").json()["tagline"] == "You Know, for Search"
    assert call(port, "GET", "/-/healthy").text == "obsd is healthy\n"
    assert call(port, "GET", "/api/v1/query").json()["status"] == 404
    assert server.request("/").headers["content-type"].startswith("text/html")
    assert server.request("/es/").json()["tagline"] == "You Know, for Search"


@contextmanager
def rsyslogd(directory: Path, port: int) -> Iterator[int]:
    """Debian's rsyslog with a UDP port, sending to Elasticsearch, with files of its own."""
    udp_port = free_port()
    template = (
        r'template(name="json" type="list" option.jsonf="on") {'
        r' property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")'
        r' property(outname="host" name="hostname" format="jsonf")'
        r' property(outname="severity" name="syslogseverity-text" format="jsonf")'
        r' property(outname="app" name="app-name" format="jsonf")'
        r' property(outname="message" name="msg" format="jsonf") }'
    )
    configuration = directory / "rsyslog.conf"
    configuration.write_text(
        f"""global(workDirectory="{directory}")
module(load="imudp")
module(load="{RSYSLOG_MODULE}")
input(type="imudp" address="127.0.0.1" port="{udp_port}")
{template}
action(type="omelasticsearch" server="127.0.0.1" serverport="{port}" template="json"
       searchIndex="syslog" searchType="" bulkmode="on" errorfile="{directory}/refused"
       queue.type="LinkedList" queue.dequeuebatchsize="100" action.resumeRetryCount="-1"
       action.resumeInterval="1")
"""
    )
    pid_file = directory / "rsyslog.pid"
    with (directory / "rsyslog.log").open("wb") as log:
        process = subprocess.Popen(
            [
                installed("rsyslogd", "rsyslog"),
                *("-n", "-f", str(configuration), "-i", str(pid_file)),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: pid_file.exists() and is_bound(udp_port), "rsyslog listens", 20)
        yield udp_port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def is_bound(udp_port: int) -> bool:
    ports = {line.split()[1].split(":")[1] for line in udp_table().splitlines()[1:]}
    return f"{udp_port:04X}" in ports


def udp_table() -> str:
    return Path("/proc/net/udp").read_text()


def test_rsyslog_sends_in_bulk_and_waits_while_obsd_is_away(tmp_path: Path) -> None:
    assert RSYSLOG_MODULE.exists(), "apt-get install rsyslog-elasticsearch"
    port = free_port()
    obsd = obsd_server(
        tmp_path,
        *("--receivers", "elasticsearch", "--no-self-monitoring"),
        environment={"OBSD_SERVER__ELASTICSEARCH_LISTEN": f"127.0.0.1:{port}"},
    )
    with (
        running(obsd),
        rsyslogd(tmp_path, port) as udp_port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):

        def send(numbers: range) -> None:
            for number in numbers:
                now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                line = f"<163>1 {now} router bgp - - - neighbour {number} is down"
                sender.sendto(line.encode(), ("127.0.0.1", udp_port))

        def total() -> int:
            return search(obsd, "service:bgp")["total"]

        send(range(50))
        wait_until(lambda: total() >= 50, "rsyslog's first lines are there", 30)
        obsd.kill()
        send(range(50, 100))
        obsd.start()
        wait_until(lambda: total() >= 100, "rsyslog's other lines are there", 40)
        found = search(obsd, "service:bgp level:error")["logs"]
        numbers = sorted(int(entry["message"].split()[1]) for entry in found)
        assert numbers == list(range(100))
        assert found[0]["resource"] == {
            "_index": "syslog",
            "host.name": "router",
            "service.name": "bgp",
        }
    refused = tmp_path / "refused"
    assert not refused.exists() or not refused.read_bytes()
